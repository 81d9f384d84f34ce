#include "io/file.h"

#include "io/descriptor.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>
#include <utility>

namespace ambit::io {
namespace {

Error failed(const std::string& what, int reason) {
  Code code = Code::unavailable;
  switch (reason) {
    case ENOENT:
    case ENOTDIR:
      code = Code::not_found;
      break;
    case EACCES:
    case EPERM:
    case EROFS:
      code = Code::denied;
      break;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EMFILE:
    case ENFILE:
      code = Code::exhausted;
      break;
    case ENAMETOOLONG:
    case EINVAL:
    case EISDIR:
    case ELOOP:
      code = Code::invalid;
      break;
    default:
      break;
  }
  return Error{code, what + ": " + std::strerror(reason)};
}

// Removes the file beside unless it took its place.
class Temporary {
 public:
  explicit Temporary(std::string path) : path_(std::move(path)) {}
  ~Temporary() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  void keep() { path_.clear(); }

 private:
  std::string path_;
};

bool write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor, bytes.data(), bytes.size());
    if (count < 0 && errno != EINTR) return false;
    if (count > 0) bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

Result<std::string> read_file(const std::string& path, std::size_t bytes_max) {
  const std::string what = "read " + path;
  if (path.find('\0') != std::string::npos)
    return Err(Code::invalid, "read a file: a zero byte in its path");
  // O_NONBLOCK: opening a named pipe must not wait for a writer.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) return Err(failed(what, errno));
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return Err(failed(what, errno));
  if (S_ISDIR(status.st_mode)) return Err(failed(what, EISDIR));
  if (!S_ISREG(status.st_mode)) return Err(Code::invalid, what + ": not a regular file");
  const auto too_long = [&] {
    return Err(Code::exhausted, what + ": longer than " + std::to_string(bytes_max) + " bytes");
  };
  if (static_cast<std::uintmax_t>(status.st_size) > bytes_max) return too_long();
  std::string bytes;
  // The size is a hint only (/proc says 0; a log grows while it is read).
  std::size_t room = static_cast<std::size_t>(status.st_size) + 1;
  while (true) {
    const std::size_t have = bytes.size();
    bytes.resize(have + room);
    const ssize_t count = ::read(file.get(), bytes.data() + have, room);
    const int reason = errno;
    bytes.resize(have + (count > 0 ? static_cast<std::size_t>(count) : 0));
    if (count < 0 && reason != EINTR) return Err(failed(what, reason));
    if (bytes.size() > bytes_max) return too_long();
    if (count == 0) return bytes;
    room = bytes.size() < 4096 ? 4096 : bytes.size();
  }
}

Result<void> write_file(const std::string& path, std::string_view bytes, unsigned mode) {
  std::string_view part = bytes;
  return write_file_parts(
      path, [&part]() -> Result<std::string_view> { return std::exchange(part, {}); }, mode);
}

Result<void> write_file_parts(const std::string& path, const NextPart& next, unsigned mode) {
  const std::string what = "write " + path;
  if (path.empty() || path.find('\0') != std::string::npos) {
    return Err(Code::invalid, "write a file: the path is empty or holds a zero byte");
  }
  std::string beside = path + std::string(beside_mark) + "XXXXXX";
  Descriptor file(::mkostemp(beside.data(), O_CLOEXEC));
  if (file.get() < 0) return Err(failed(what, errno));
  Temporary temporary(beside);
  if (::fchmod(file.get(), static_cast<mode_t>(mode)) != 0) return Err(failed(what, errno));
  for (std::string_view part = TRY(next()); !part.empty(); part = TRY(next())) {
    if (!write_all(file.get(), part)) return Err(failed(what, errno));
  }
  if (::fsync(file.get()) != 0 || file.close() != 0 ||
      ::rename(beside.c_str(), path.c_str()) != 0) {
    return Err(failed(what, errno));
  }
  temporary.keep();
  const Descriptor folder(::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  // Some file systems cannot sync a folder; then the rename itself is all there is.
  if (folder.get() < 0 || (::fsync(folder.get()) != 0 && errno != EINVAL))
    return Err(failed(what, errno));
  return {};
}

}  // namespace ambit::io
