// Any bytes as a request to the proxy and as a tunnel's hello: what is accepted names one host, as
// every other reader of it would, and secrets leave no way but by their rule.

#include "sandbox/egress_request.h"

#include "async/check.h"

#include <array>
#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ambit::sandbox;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  static const std::vector<ambit::agents::EgressRule> rules = {
      {"https://api.example.com", {"GET", "POST"}, {"KEY"}, false, false},
      {"https://*.example.org:8443", {}, {}, false, false},
      {"https://git.example.com", {}, {}, true, false},
      {"http://10.0.0.5:8080", {"*"}, {}, false, true}};
  // The proxy gives what it has read up to the first empty line.
  const std::size_t blank = text.find("\r\n\r\n");
  const auto head =
      egress::read_head(text.substr(0, blank == std::string_view::npos ? text.size() : blank + 4));
  if (head) {
    const std::string& host = head->url.host;
    INVARIANT(!host.empty());
    INVARIANT(host.find_first_of("@/\\ \r\n%?#") == std::string::npos);
    INVARIANT(host.find('\0') == std::string::npos);
    INVARIANT(head->rewritten.find("\r\n\r\n") == head->rewritten.size() - 4);
    if (const auto permit = egress::find_rule(rules, *head)) {
      INVARIANT(permit->url.host == host);
      INVARIANT(host == "api.example.com" || host.ends_with(".example.org") ||
                host == "git.example.com" || host == "10.0.0.5");
    }
    for (const auto& header : egress::end_to_end(head->fields.headers))
      INVARIANT(header.value.find_first_of("\r\n") == std::string::npos);
  } else {
    INVARIANT(head.error().status >= 400);
  }
  const auto hello = egress::read_hello(text);
  if (hello && hello->is_complete) INVARIANT(!hello->server_name.empty());
  // However the bytes are cut, a secret does not get through.
  static const egress::Secrets secrets(
      {{"KEY", egress::Secrets::placeholder(std::array<std::uint8_t, 16>{}), "hunter2"}});
  egress::Scrubber scrubber(secrets.all());
  std::string said;
  const std::size_t half = size / 2;
  said += scrubber.feed(text.substr(0, half));
  said += scrubber.feed(text.substr(half));
  said += scrubber.finish();
  INVARIANT(said.find("hunter2") == std::string::npos);
  std::string value(text);
  std::vector<std::string> used;
  const bool filled = secrets.fill(value, rules[1], used).has_value();
  INVARIANT(!filled || value == text);
  return 0;
}
