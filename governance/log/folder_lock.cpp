#include "log/folder_lock.h"

#include <sys/file.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <unistd.h>

namespace ambit::log {

Error file_error(const std::string& doing, const std::string& path, int number) {
  const std::string what = "cannot " + doing + " " + path + ": ";
  switch (number) {
    case EROFS:
      return {Code::denied, what + "the file system is read-only"};
    case EACCES:
    case EPERM:
      return {Code::denied, what + "no permission"};
    case ENOSPC:
      return {Code::exhausted, what + "the disk is full"};
    case ENOENT:
      return {Code::not_found, what + "it does not exist"};
    case ENOTDIR:
      return {Code::invalid, what + "it is not a folder"};
    default:
      return {Code::unavailable, what + std::strerror(number)};
  }
}

Result<std::unique_ptr<FolderLock>> FolderLock::take(const std::string& folder) {
  std::error_code failed;
  const bool fresh = std::filesystem::create_directories(folder, failed);
  if (failed) return Err(file_error("make the log folder", folder, failed.value()));
  if (fresh) {
    std::filesystem::permissions(folder, std::filesystem::perms::owner_all, failed);
    if (failed) return Err(file_error("set the mode of", folder, failed.value()));
  }
  const std::string path = folder + "/lock";
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (file < 0) return Err(file_error("open", path, errno));
  std::unique_ptr<FolderLock> lock(new FolderLock(file));
  if (::flock(file, LOCK_EX | LOCK_NB) != 0) {
    std::array<char, 32> owner{};
    const ssize_t length = ::pread(file, owner.data(), owner.size() - 1, 0);
    const std::string who = length > 0 ? " (process " + std::string(owner.data()) + ")" : "";
    return Err(Code::conflict, "log " + folder + ": another program" + who +
                                   " is writing to it; end that one or choose another log folder");
  }
  // For people only: a failure to note the number changes nothing.
  const std::string own = std::to_string(::getpid());
  if (::ftruncate(file, 0) == 0) {
    const ssize_t written = ::pwrite(file, own.data(), own.size(), 0);
    static_cast<void>(written);
  }
  return lock;
}

FolderLock::~FolderLock() {
  ::close(file_);
}

}  // namespace ambit::log
