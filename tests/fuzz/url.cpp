// Any bytes as a URL and as an address: what is accepted reads the same after it was written.

#include "http/url.h"

#include "async/check.h"
#include "io/address.h"

#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto url = ambit::http::parse_url(text)) {
    INVARIANT(!url->host.empty() && url->port != 0 && url->path.starts_with('/'));
    const auto again = ambit::http::parse_url(to_string(*url));
    INVARIANT(again.has_value());
    INVARIANT(*again == *url);
    INVARIANT(origin(*again) == origin(*url));
  } else {
    INVARIANT(!url.error().message.empty());
  }
  if (const auto address = ambit::io::parse_address(text)) {
    INVARIANT(ambit::io::parse_address(to_string(*address)) == address);
  }
  return 0;
}
