#pragma once

// Holds a folder for this process (flock on the file `lock` in it), so that two processes never
// write one log. The kernel lets go when the process ends, however it ends.

#include "async/result.h"

#include <memory>
#include <string>

namespace ambit::log {

class FolderLock {
 public:
  // Makes the folder (mode 0700) if it is not there. Errors: conflict, denied, exhausted.
  static Result<std::unique_ptr<FolderLock>> take(const std::string& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  explicit FolderLock(int file) : file_(file) {}
  int file_;
};

// An Error for a failed system call on a file.
Error file_error(const std::string& doing, const std::string& path, int number);

}  // namespace ambit::log
