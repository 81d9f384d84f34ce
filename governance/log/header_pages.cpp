#include "log/store.h"

#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace ambit::log {

Result<void> check_header_pages(const std::string& data_file) {
  // LMDB writes its two header pages in turn. Of each: 16 bytes of page header, magic, version,
  // then the transaction number at byte 144. The pages are as large as the system's.
  const int file = ::open(data_file.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) {
    return Err(Code::not_found,
               data_file + ": cannot be read: " + std::string(std::strerror(errno)));
  }
  std::array<std::uint64_t, 2> transactions{};
  std::array<std::uint32_t, 2> magics{};
  bool complete = true;
  for (std::size_t page = 0; page < 2; ++page) {
    const auto start = static_cast<off_t>(page) * sysconf(_SC_PAGESIZE);
    complete = complete && ::pread(file, &magics[page], 4, start + 16) == 4 &&
               ::pread(file, &transactions[page], 8, start + 144) == 8;
  }
  ::close(file);
  constexpr std::uint32_t magic_text = 0xBEEFC0DE;
  if (!complete || magics[0] != magic_text || magics[1] != magic_text) {
    return Err(Code::invalid, data_file + " is damaged: its header pages are not those of a log");
  }
  const auto [low, high] = std::minmax(transactions[0], transactions[1]);
  if (high - low > 1 || (high == low && high != 0)) {
    return Err(Code::invalid, data_file + " is damaged: its header pages disagree");
  }
  return {};
}

Result<void> check_last_write(const std::string& folder) {
  enum Verdict : int { whole = 0, torn = 1, not_readable = 2 };
  const pid_t child = ::fork();
  if (child < 0) {
    return Err(Code::unavailable, folder + ": cannot start a process to check it: " +
                                      std::string(std::strerror(errno)));
  }
  if (child == 0) {
    for (const int signal : {SIGSEGV, SIGBUS, SIGABRT}) ::signal(signal, SIG_DFL);
    auto store = Store::open(folder, Store::Mode::read, 0);
    if (!store) ::_exit(not_readable);
    const auto snapshot = (*store)->snapshot();
    if (!snapshot) ::_exit(not_readable);
    ::_exit(snapshot->check_transaction() ? whole : torn);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  // What cannot be opened at all, opening it says better.
  if (WIFEXITED(status) && WEXITSTATUS(status) != torn) return {};
  return Err(Code::invalid, folder + "/data.mdb is damaged: the disk has lost a part of the last " +
                                "write; ambit audit verify names the place, restore a copy");
}

}  // namespace ambit::log
