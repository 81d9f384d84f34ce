// Any bytes as requests of one connection: wherever they are cut, the same requests come out,
// bounded and without anything that another server could read in another way.

#include "async/check.h"
#include "http/request_parser.h"

#include <cstdint>
#include <vector>

using namespace ambit::http;

namespace {

struct Seen {
  std::vector<RequestHead> heads;
  std::vector<std::string> bodies;
  RequestParser::State last = RequestParser::State::head;
  Refusal refusal;
  friend bool operator==(const Seen&, const Seen&) = default;
};

Seen parse(std::string_view bytes, std::size_t step) {
  using State = RequestParser::State;
  RequestLimits limits;
  limits.head_bytes_max = 400;
  limits.target_bytes_max = 100;
  limits.headers_max = 8;
  limits.body_bytes_max = 1000;
  RequestParser parser(limits);
  Seen seen;
  std::string body;
  while (!bytes.empty() && parser.state() != State::refused) {
    parser.feed(bytes.substr(0, step));
    bytes.remove_prefix(std::min(step, bytes.size()));
    body += parser.take_body();
    while (parser.state() == State::done) {
      INVARIANT(body.size() <= limits.body_bytes_max);
      seen.heads.push_back(parser.head());
      seen.bodies.push_back(std::exchange(body, std::string()));
      parser.next();
      body += parser.take_body();
    }
  }
  seen.last = parser.state();
  seen.refusal = parser.refusal();
  return seen;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const Seen whole = parse(bytes, size + 1);
  INVARIANT(parse(bytes, 1) == whole);
  INVARIANT(parse(bytes, 7) == whole);
  for (const RequestHead& head : whole.heads) {
    INVARIANT(is_token(head.method));
    INVARIANT(head.path.starts_with('/') || head.path == "*");
    INVARIANT(!(head.is_chunked && head.content_length));
    INVARIANT(head.headers.count("Content-Length") + head.headers.count("Transfer-Encoding") <= 1);
    INVARIANT(head.headers.count("Host") <= 1);
    for (const Header& header : head.headers) {
      INVARIANT(is_token(header.name) && is_header_value(header.value));
    }
  }
  if (whole.last == RequestParser::State::refused) {
    INVARIANT(whole.refusal.status >= 400 && !whole.refusal.message.empty());
  }
  return 0;
}
