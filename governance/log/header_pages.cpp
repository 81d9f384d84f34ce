#include "log/store.h"

#include <algorithm>
#include <array>
#include <cerrno>
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

}  // namespace ambit::log
