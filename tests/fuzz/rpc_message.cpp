// Any bytes: decode() gives a message or an error, and what it gives survives being written and
// read again.

#include "async/check.h"
#include "rpc/message.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ambit::rpc;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto message = decode(text);
  if (!message) return 0;
  const std::string line = std::visit([](const auto& said) { return encode(said); }, *message);
  INVARIANT(line.find('\n') == std::string::npos);
  const auto again = decode(line);
  INVARIANT(again.has_value());
  INVARIANT(*again == *message);
  return 0;
}
