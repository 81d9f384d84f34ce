#include "log/subjects.h"

#include "io/file.h"
#include "log/folder_lock.h"
#include "log/sha256.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <unistd.h>

namespace ambit::log {
namespace {

// The file: this line, then for each subject its number (8), its key (32), the length of its name
// (2), the name, and the first 8 bytes of the SHA-256 of all that; for an erased one number 0 and
// the next free number instead of a key.
constexpr std::string_view magic_text = "ambit-subjects/1\n";
constexpr std::size_t file_bytes_max = std::size_t{1} << 30;
constexpr std::size_t name_bytes_max = 512;
constexpr std::size_t fixed_bytes = 8 + 32 + 2;
constexpr std::size_t sum_bytes = 8;

void append_number(std::string& out, std::uint64_t number, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    out += static_cast<char>((number >> shift) & 0xFF);
  }
}

std::uint64_t number_at(std::string_view bytes, std::size_t count) {
  std::uint64_t number = 0;
  for (const char c : bytes.substr(0, count)) {
    number = (number << 8) | static_cast<unsigned char>(c);
  }
  return number;
}

std::string entry_bytes(std::uint64_t number, std::string_view name, const SubjectKey& key) {
  std::string bytes;
  append_number(bytes, number, 8);
  bytes.append(reinterpret_cast<const char*>(key.data()), key.size());
  append_number(bytes, name.size(), 2);
  bytes += name;
  bytes += bytes_of(sha256(bytes)).substr(0, sum_bytes);
  return bytes;
}

// The entry that keeps numbers from being given twice after the last subject was erased.
std::string next_entry(std::uint64_t next) {
  SubjectKey in_place_of_key{};
  std::string digits;
  append_number(digits, next, 8);
  std::memcpy(in_place_of_key.data(), digits.data(), digits.size());
  return entry_bytes(0, "", in_place_of_key);
}

// Writes `bytes` at `offset` and waits until they are on the disk.
Result<void> write_at(const std::string& path, std::size_t offset, std::string_view bytes) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return Err(file_error("write", path, errno));
  int failed = 0;
  while (!bytes.empty() && failed == 0) {
    const ssize_t count = ::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0) {
      failed = errno == EINTR ? 0 : errno;
    } else {
      bytes.remove_prefix(static_cast<std::size_t>(count));
      offset += static_cast<std::size_t>(count);
    }
  }
  if (failed == 0 && ::ftruncate(file, static_cast<off_t>(offset)) != 0) failed = errno;
  if (failed == 0 && ::fsync(file) != 0) failed = errno;
  ::close(file);
  if (failed != 0) return Err(file_error("write", path, failed));
  return {};
}

}  // namespace

Result<std::unique_ptr<Subjects>> Subjects::load(const std::string& folder) {
  std::unique_ptr<Subjects> made(new Subjects(folder + "/subjects"));
  std::error_code failed;
  if (!std::filesystem::exists(made->path_, failed)) return made;
  const std::string bytes = TRY(io::read_file(made->path_, file_bytes_max));
  auto parsed = made->parse(bytes);
  if (!parsed) return Err(std::move(parsed).error().context(made->path_));
  return made;
}

Result<void> Subjects::parse(std::string_view bytes) {
  // A crash while the file was made can leave a part of its first line.
  if (magic_text.starts_with(bytes.substr(0, magic_text.size())) &&
      bytes.size() < magic_text.size())
    return {};
  if (!bytes.starts_with(magic_text)) return Err(Code::invalid, "this is no list of subjects");
  good_bytes_ = magic_text.size();
  while (bytes.size() - good_bytes_ >= fixed_bytes + sum_bytes) {
    const std::string_view rest = bytes.substr(good_bytes_);
    const std::size_t name_bytes = number_at(rest.substr(40), 2);
    const std::size_t length = fixed_bytes + name_bytes + sum_bytes;
    if (rest.size() < length) break;
    const std::string_view body = rest.substr(0, length - sum_bytes);
    if (bytes_of(sha256(body)).substr(0, sum_bytes) != rest.substr(length - sum_bytes, sum_bytes)) {
      if (rest.size() == length) break;  // cut off by a crash, in a block of zeros
      return Err(Code::invalid, "it is damaged at byte " + std::to_string(good_bytes_));
    }
    const std::uint64_t number = number_at(body, 8);
    if (number == 0) {
      next_ = std::max(next_, number_at(body.substr(8), 8));
    } else {
      Entry entry;
      entry.name = std::string(body.substr(fixed_bytes));
      std::memcpy(entry.key.data(), body.data() + 8, entry.key.size());
      numbers_[entry.name] = number;
      keys_[number] = std::move(entry);
      next_ = std::max(next_, number + 1);
    }
    good_bytes_ += length;
  }
  return {};
}

Result<std::uint64_t> Subjects::number_of(std::string_view subject, const FillRandom& random) {
  if (const auto known = find(subject)) return *known;
  if (subject.empty() || subject.size() > name_bytes_max) {
    return Err(Code::invalid, "a subject's name has 1 to 512 bytes");
  }
  Entry entry;
  entry.name = std::string(subject);
  random(entry.key);
  const std::uint64_t number = next_;
  std::string bytes = good_bytes_ == 0 ? std::string(magic_text) : "";
  bytes += entry_bytes(number, subject, entry.key);
  TRY(write_at(path_, good_bytes_, bytes));
  good_bytes_ += bytes.size();
  ++next_;
  numbers_[entry.name] = number;
  keys_[number] = std::move(entry);
  return number;
}

std::optional<std::uint64_t> Subjects::find(std::string_view subject) const {
  const auto at = numbers_.find(subject);
  if (at == numbers_.end()) return std::nullopt;
  return at->second;
}

const SubjectKey* Subjects::key_of(std::uint64_t number) const {
  const auto at = keys_.find(number);
  return at == keys_.end() ? nullptr : &at->second.key;
}

Result<void> Subjects::erase(std::uint64_t number) {
  const auto at = keys_.find(number);
  if (at == keys_.end()) {
    return Err(Code::not_found, "there is no subject " + std::to_string(number));
  }
  numbers_.erase(at->second.name);
  keys_.erase(at);
  std::string bytes(magic_text);
  bytes += next_entry(next_);
  for (const auto& [each, entry] : keys_) bytes += entry_bytes(each, entry.name, entry.key);
  // The old blocks first: a rename alone would leave the key in free space. What the device itself
  // keeps of overwritten blocks is beyond us.
  const int old = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
  TRY(io::write_file(path_, bytes, 0600));
  good_bytes_ = bytes.size();
  if (old >= 0) {
    const std::string link = "/proc/self/fd/" + std::to_string(old);
    const int again = ::open(link.c_str(), O_WRONLY | O_CLOEXEC);
    const off_t length = ::lseek(old, 0, SEEK_END);
    const std::string zeros(1U << 16, '\0');
    for (off_t done = 0; again >= 0 && done < length;) {
      const auto part = static_cast<std::size_t>(
          std::min<off_t>(length - done, static_cast<off_t>(zeros.size())));
      const ssize_t count = ::pwrite(again, zeros.data(), part, done);
      if (count <= 0) break;
      done += count;
    }
    if (again >= 0) {
      ::fsync(again);
      ::close(again);
    }
    ::close(old);
  }
  return {};
}

}  // namespace ambit::log
