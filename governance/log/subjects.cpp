#include "log/subjects.h"

#include "io/file.h"
#include "lmdb/key.h"
#include "log/folder_lock.h"
#include "log/sha256.h"

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <unistd.h>
#include <utility>

namespace ambit::log {
namespace {

// The file: this line, then for each subject its number (8), its key (32), the length of its name
// (2), the name, and the first 8 bytes of the SHA-256 of all that, in rising order of numbers; for
// erased ones number 0 and the next free number instead of a key.
constexpr std::string_view magic_text = "ambit-subjects/1\n";
constexpr std::size_t name_bytes_max = 512;
constexpr std::size_t fixed_bytes = 8 + 32 + 2;
constexpr std::size_t sum_bytes = 8;
constexpr std::size_t entry_bytes_max = fixed_bytes + name_bytes_max + sum_bytes;
constexpr std::size_t read_bytes = std::size_t{1} << 20;  // of the file, at a time
// What stands for a subject in memory grows by a quarter, its slot by a half at seven tenths.
constexpr std::size_t slots_min = 64;

using lmdb::append_number;
using lmdb::number_at;

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

// The length that an entry says it has; what is cut off of its head reads as zeros.
std::size_t said_length(std::string_view bytes) {
  std::string head(bytes.substr(0, fixed_bytes));
  head.resize(fixed_bytes, '\0');
  return fixed_bytes + number_at(head, 40, 2) + sum_bytes;
}

std::uint32_t tag_of(std::string_view name) {
  return static_cast<std::uint32_t>(number_at(bytes_of(sha256(name)), 0, 4));
}

// Overwrites a file from its beginning to its end, so that no key stays in free blocks. What the
// device itself keeps of overwritten blocks is beyond us.
int overwrite(int file) {
  const off_t length = ::lseek(file, 0, SEEK_END);
  const std::string zeros(1U << 16, '\0');
  for (off_t done = 0; done < length;) {
    const auto part =
        static_cast<std::size_t>(std::min<off_t>(length - done, static_cast<off_t>(zeros.size())));
    const ssize_t count = ::pwrite(file, zeros.data(), part, done);
    if (count < 0 && errno != EINTR) return errno;
    if (count > 0) done += count;
  }
  return ::fsync(file) == 0 ? 0 : errno;
}

}  // namespace

struct Subjects::Entry {
  std::uint64_t number = 0;
  SubjectKey key{};
  std::string name;
  std::size_t length = 0;

  // At the beginning of `bytes`; none: it is cut off, or not what was written.
  static std::optional<Entry> parse(std::string_view bytes) {
    if (bytes.size() < fixed_bytes + sum_bytes) return std::nullopt;
    const std::size_t length = said_length(bytes);
    if (length > entry_bytes_max || bytes.size() < length) return std::nullopt;
    const std::string_view body = bytes.substr(0, length - sum_bytes);
    if (bytes_of(sha256(body)).substr(0, sum_bytes) !=
        bytes.substr(length - sum_bytes, sum_bytes)) {
      return std::nullopt;
    }
    Entry entry;
    entry.number = number_at(body, 0, 8);
    std::memcpy(entry.key.data(), body.data() + 8, entry.key.size());
    entry.name = std::string(body.substr(fixed_bytes));
    entry.length = length;
    return entry;
  }
};

Error Subjects::error(const char* doing) const {
  return file_error(doing, path_, errno);
}

Result<std::unique_ptr<Subjects>> Subjects::load(const std::string& folder, std::size_t bytes_max) {
  std::unique_ptr<Subjects> made(new Subjects(folder + "/subjects", bytes_max));
  TRY(made->reload());
  return made;
}

Result<void> Subjects::reload() {
  is_loaded_ = false;
  places_.clear();
  slots_.clear();
  next_ = 1;
  good_bytes_ = 0;
  file_bytes_ = 0;
  is_writable_ = false;
  file_.reset(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  if (file_.get() < 0) {
    if (errno != ENOENT) return Err(error("read"));
  } else {
    TRY(read_more());
  }
  is_loaded_ = true;
  return {};
}

Result<void> Subjects::refresh() {
  struct stat now{};
  struct stat known{};
  const bool is_there = ::stat(path_.c_str(), &now) == 0;
  if (!is_there && errno != ENOENT) return Err(error("read"));
  if (!is_there && file_.get() < 0) return {};
  // A file that is held open keeps its number: the same number is the same file.
  const bool is_same = is_there && file_.get() >= 0 && ::fstat(file_.get(), &known) == 0 &&
                       known.st_dev == now.st_dev && known.st_ino == now.st_ino;
  const auto length = static_cast<std::uint64_t>(now.st_size);
  if (!is_same || length < good_bytes_) return reload();
  if (length == file_bytes_ && file_bytes_ == good_bytes_) return {};
  return read_more();
}

// The entries from good_bytes_ to the end of the file.
Result<void> Subjects::read_more() {
  struct stat status{};
  if (::fstat(file_.get(), &status) != 0) return Err(error("read"));
  file_bytes_ = static_cast<std::uint64_t>(status.st_size);
  if (file_bytes_ > bytes_max_) {
    return Err(Code::exhausted,
               path_ + ": it is longer than " + std::to_string(bytes_max_) + " bytes");
  }
  if (good_bytes_ == 0) {
    const bool is_begun = TRY(read_magic());
    if (!is_begun) return {};
  }
  std::string window;
  std::size_t used = 0;
  for (;;) {
    if (window.size() - used < entry_bytes_max) {
      const std::uint64_t next = good_bytes_ + (window.size() - used);
      window.erase(0, used);
      used = 0;
      window += TRY(read(next, std::min<std::uint64_t>(read_bytes, file_bytes_ - next)));
    }
    const std::string_view rest = std::string_view(window).substr(used);
    if (rest.empty()) return {};
    const auto entry = Entry::parse(rest);
    if (!entry) {
      // A crash cuts off what was written last, and what is cut off may read as zeros.
      if (TRY(is_zero_from(good_bytes_ + said_length(rest)))) return {};
      return Err(Code::invalid, path_ + ": it is damaged at byte " + std::to_string(good_bytes_));
    }
    TRY(add(*entry, good_bytes_));
    good_bytes_ += entry->length;
    used += entry->length;
  }
}

// Whether the file has its first line; a crash while it was made can leave a part of that.
Result<bool> Subjects::read_magic() {
  std::string first = TRY(read(0, std::min<std::uint64_t>(magic_text.size(), file_bytes_)));
  if (first == magic_text) {
    good_bytes_ = magic_text.size();
    return true;
  }
  first.erase(first.find_last_not_of('\0') + 1);
  const bool is_cut_off = magic_text.starts_with(first) && TRY(is_zero_from(first.size()));
  if (!is_cut_off) return Err(Code::invalid, path_ + ": this is no list of subjects");
  return false;
}

Result<bool> Subjects::is_zero_from(std::uint64_t offset) const {
  while (offset < file_bytes_) {
    const std::string part =
        TRY(read(offset, std::min<std::uint64_t>(read_bytes, file_bytes_ - offset)));
    if (part.empty()) return true;
    if (part.find_first_not_of('\0') != std::string::npos) return false;
    offset += part.size();
  }
  return true;
}

// Up to `count` bytes: less at the end.
Result<std::string> Subjects::read(std::uint64_t offset, std::size_t count) const {
  std::string bytes(count, '\0');
  std::size_t done = 0;
  while (done < count) {
    const ssize_t got =
        ::pread(file_.get(), bytes.data() + done, count - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno != EINTR) return Err(error("read"));
    if (got == 0) break;
    if (got > 0) done += static_cast<std::size_t>(got);
  }
  bytes.resize(done);
  return bytes;
}

Result<void> Subjects::add(const Entry& entry, std::uint64_t offset) {
  if (entry.number == 0) {
    next_ = std::max(next_, number_at(bytes_of(entry.key), 0, 8));
    return {};
  }
  if (!places_.empty() && entry.number <= places_.back().number) {
    return Err(Code::invalid, path_ + ": it is damaged at byte " + std::to_string(offset) +
                                  ": its numbers do not rise");
  }
  if (places_.size() == places_.capacity()) {
    places_.reserve(places_.size() + places_.size() / 4 + slots_min);
  }
  places_.push_back({entry.number, offset});
  next_ = std::max(next_, entry.number + 1);
  if (10 * places_.size() > 7 * slots_.size()) {
    const std::vector<Slot> old =
        std::exchange(slots_, std::vector<Slot>(slots_.size() + slots_.size() / 2 + slots_min));
    for (const Slot& slot : old) {
      if (slot.entry != 0) insert(slot.tag, slot.entry);
    }
  }
  insert(tag_of(entry.name), static_cast<std::uint32_t>(places_.size()));
  return {};
}

void Subjects::insert(std::uint32_t tag, std::uint32_t entry) {
  std::size_t at = (std::uint64_t{tag} * slots_.size()) >> 32;
  while (slots_[at].entry != 0) at = at + 1 == slots_.size() ? 0 : at + 1;
  slots_[at] = {tag, entry};
}

Result<Subjects::Entry> Subjects::entry_at(std::uint64_t offset) const {
  auto entry = offset < good_bytes_
                   ? Entry::parse(TRY(read(offset, entry_bytes_max)))
                   : Entry::parse(std::string_view(pending_).substr(offset - good_bytes_));
  if (!entry) {
    return Err(Code::invalid, path_ + ": it is damaged at byte " + std::to_string(offset));
  }
  return std::move(*entry);
}

Result<std::optional<std::uint64_t>> Subjects::find(std::string_view subject) const {
  if (slots_.empty()) return std::optional<std::uint64_t>();
  const std::uint32_t tag = tag_of(subject);
  std::size_t at = (std::uint64_t{tag} * slots_.size()) >> 32;
  for (; slots_[at].entry != 0; at = at + 1 == slots_.size() ? 0 : at + 1) {
    if (slots_[at].tag != tag) continue;
    const Place& place = places_[slots_[at].entry - 1];
    const Entry entry = TRY(entry_at(place.offset));
    if (entry.name == subject) return std::optional(place.number);
  }
  return std::optional<std::uint64_t>();
}

const Subjects::Place* Subjects::place_of(std::uint64_t number) const {
  const auto at =
      std::lower_bound(places_.begin(), places_.end(), number,
                       [](const Place& place, std::uint64_t each) { return place.number < each; });
  return at == places_.end() || at->number != number ? nullptr : &*at;
}

Result<std::optional<Subject>> Subjects::get(std::uint64_t number) const {
  const Place* const place = place_of(number);
  if (place == nullptr) return std::optional<Subject>();
  Entry entry = TRY(entry_at(place->offset));
  if (entry.number != number) {
    return Err(Code::invalid, path_ + ": it is damaged at byte " + std::to_string(place->offset));
  }
  return std::optional(Subject{std::move(entry.name), entry.key});
}

std::vector<std::uint64_t> Subjects::numbers() const {
  std::vector<std::uint64_t> all;
  all.reserve(places_.size());
  for (const Place& place : places_) all.push_back(place.number);
  return all;
}

std::size_t Subjects::index_bytes() const {
  return places_.capacity() * sizeof(Place) + slots_.capacity() * sizeof(Slot);
}

Result<std::uint64_t> Subjects::number_of(std::string_view subject, const FillRandom& random) {
  if (!is_loaded_) TRY(reload());
  const auto known = TRY(find(subject));
  if (known) return *known;
  if (subject.empty() || subject.size() > name_bytes_max) {
    return Err(Code::invalid, "a subject's name has 1 to 512 bytes");
  }
  Entry entry;
  entry.number = next_;
  entry.name = std::string(subject);
  const std::size_t length = fixed_bytes + subject.size() + sum_bytes;
  const std::uint64_t offset = std::max(good_bytes_, magic_text.size()) + pending_.size();
  if (offset + length > bytes_max_) {
    return Err(Code::exhausted, path_ + ": it has reached its greatest size of " +
                                    std::to_string(bytes_max_) +
                                    " bytes; erase subjects, let payloads expire (ambit audit "
                                    "expire) or start a new log");
  }
  random(entry.key);
  TRY(open_to_write());
  pending_ += entry_bytes(entry.number, subject, entry.key);
  TRY(add(entry, offset));
  return entry.number;
}

// The first line is there, and nothing behind the last whole entry.
Result<void> Subjects::open_to_write() {
  if (good_bytes_ == 0) {
    TRY(io::write_file(path_, magic_text, 0600));
    good_bytes_ = magic_text.size();
    file_bytes_ = good_bytes_;
    is_writable_ = false;
  }
  if (is_writable_) return {};
  file_.reset(::open(path_.c_str(), O_RDWR | O_CLOEXEC));
  if (file_.get() < 0) return Err(error("write"));
  is_writable_ = true;
  return {};
}

Result<void> Subjects::sync() {
  if (pending_.empty()) return {};
  // What a crash or a failed write has left must not stand behind what is shorter.
  if (file_bytes_ > good_bytes_) {
    if (::ftruncate(file_.get(), static_cast<off_t>(good_bytes_)) != 0 ||
        ::fsync(file_.get()) != 0) {
      return Err(error("write"));
    }
  }
  file_bytes_ = good_bytes_ + pending_.size();
  for (std::size_t done = 0; done < pending_.size();) {
    const ssize_t count = ::pwrite(file_.get(), pending_.data() + done, pending_.size() - done,
                                   static_cast<off_t>(good_bytes_ + done));
    if (count < 0 && errno != EINTR) return Err(error("write"));
    if (count > 0) done += static_cast<std::size_t>(count);
  }
  if (::fdatasync(file_.get()) != 0) return Err(error("write"));
  ++syncs_;
  good_bytes_ = file_bytes_;
  pending_ = std::string();
  return {};
}

Result<void> Subjects::erase(std::vector<std::uint64_t> numbers) {
  std::sort(numbers.begin(), numbers.end());
  for (const std::uint64_t number : numbers) {
    if (place_of(number) == nullptr) {
      return Err(Code::not_found, "there is no subject " + std::to_string(number));
    }
  }
  if (numbers.empty()) return {};
  TRY(sync());
  // What a crash has left of an earlier attempt holds keys too.
  const std::filesystem::path path(path_);
  std::error_code failed;
  for (const auto& each : std::filesystem::directory_iterator(path.parent_path(), failed)) {
    const std::string name = each.path().filename();
    if (!name.starts_with(path.filename().string() + std::string(io::beside_mark))) continue;
    const io::Descriptor left(::open(each.path().c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
    if (left.get() >= 0) (void)overwrite(left.get());
    std::filesystem::remove(each.path(), failed);
  }
  const io::Descriptor old(::open(path_.c_str(), O_WRONLY | O_CLOEXEC));
  if (old.get() < 0) return Err(error("write"));
  TRY(write_without(numbers));
  // A rename alone would leave the keys in free space.
  const int reason = overwrite(old.get());
  TRY(reload());
  if (reason != 0) return Err(file_error("overwrite what was", path_, reason));
  return {};
}

Result<void> Subjects::write_without(const std::vector<std::uint64_t>& numbers) {
  bool is_begun = false;
  std::size_t at = 0;
  std::string part;
  const io::NextPart next = [&]() -> Result<std::string_view> {
    part.clear();
    if (!std::exchange(is_begun, true)) {
      part.append(magic_text);
      part += next_entry(next_);
    }
    for (; at < places_.size() && part.size() < read_bytes; ++at) {
      const Place& place = places_[at];
      if (std::binary_search(numbers.begin(), numbers.end(), place.number)) continue;
      const Entry entry = TRY(entry_at(place.offset));
      part += entry_bytes(entry.number, entry.name, entry.key);
    }
    return std::string_view(part);
  };
  return io::write_file_parts(path_, next, 0600);
}

Result<void> SharedSubjects::refresh() {
  const std::lock_guard lock(mutex_);
  if (subjects_ == nullptr) {
    subjects_ = TRY(Subjects::load(folder_));
    return {};
  }
  auto done = subjects_->refresh();
  if (!done) subjects_.reset();
  return done;
}

Result<std::optional<Subject>> SharedSubjects::get(std::uint64_t number) {
  const std::lock_guard lock(mutex_);
  if (subjects_ == nullptr) subjects_ = TRY(Subjects::load(folder_));
  auto found = subjects_->get(number);
  if (found) return found;
  // Erased in this moment, and its place overwritten.
  subjects_ = TRY(Subjects::load(folder_));
  return subjects_->get(number);
}

}  // namespace ambit::log
