// Any bytes as a URL and as an address: what is accepted reads the same after it was written.

#include "http/url.h"

#include "async/check.h"
#include "io/address.h"

#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto url = ambit::http::parse_url(text)) {
    CHECK(!url->host.empty() && url->port != 0 && url->path.starts_with('/'));
    const auto again = ambit::http::parse_url(to_string(*url));
    CHECK(again.has_value());
    CHECK(*again == *url);
    CHECK(origin(*again) == origin(*url));
  } else {
    CHECK(!url.error().message.empty());
  }
  if (const auto address = ambit::io::parse_address(text)) {
    CHECK(ambit::io::parse_address(to_string(*address)) == address);
  }
  return 0;
}
