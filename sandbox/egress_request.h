#pragma once

// What a jail says to the proxy, read and judged: a request's head, the rule that permits it, the
// placeholders of secrets in it, and the server name of a TLS hello. Pure; everything that two
// programs could read in two ways is refused.

#include "agents/ports.h"
#include "async/result.h"
#include "http/message.h"
#include "http/request_parser.h"
#include "http/url.h"

#include <tl/expected.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ambit::sandbox::egress {

constexpr std::size_t head_bytes_max = 32 << 10;
constexpr std::size_t hello_bytes_max = 16 << 10;

using Refusal = http::Refusal;
template <class T>
using Judged = tl::expected<T, Refusal>;

struct Head {
  std::string method;
  http::Url url;  // of a tunnel: scheme https, no path
  bool is_tunnel = false;
  http::RequestHead fields;
  std::string rewritten;  // the head as a server would get it, for the parser of bodies
};

// One whole head, from the request line to the empty line.
Judged<Head> read_head(std::string_view text);

// A rule that makes no sense, said in words.
Result<void> check_rule(const agents::EgressRule& rule);

struct Permit {
  const agents::EgressRule* rule = nullptr;
  http::Url url;  // where it really goes: an http request to an https origin goes by TLS
};
Judged<Permit> find_rule(std::span<const agents::EgressRule> rules, const Head& head);

// The secrets of one call. The jail knows placeholders; a placeholder is replaced in a header of a
// request to an origin whose rule names the secret, and refused everywhere else.
class Secrets {
 public:
  struct Secret {
    std::string name;
    std::string placeholder;
    std::string value;
  };
  explicit Secrets(std::vector<Secret> all = {}) : all_(std::move(all)) {}
  [[nodiscard]] const std::vector<Secret>& all() const { return all_; }
  // "ambit-secret-" and 32 hexadecimal digits.
  static std::string placeholder(std::span<const std::uint8_t, 16> random);
  static bool mentions(std::string_view text);
  // In place; adds the names of those filled in to `used`.
  Judged<void> fill(std::string& value, const agents::EgressRule& rule,
                    std::vector<std::string>& used) const;

 private:
  std::vector<Secret> all_;
};

// Puts placeholders back where a server repeats the secrets that it was sent. Holds back as many
// bytes as could be the beginning of one.
class Scrubber {
 public:
  explicit Scrubber(std::vector<Secrets::Secret> secrets);
  std::string feed(std::string_view part);
  std::string finish() { return std::exchange(held_, std::string()); }

 private:
  void replace();
  std::vector<Secrets::Secret> secrets_;
  std::size_t longest_ = 0;
  std::string held_;
};

// What is passed on: no header that speaks of one connection, none that names us.
http::Headers end_to_end(const http::Headers& headers);

struct Hello {
  bool is_complete = false;  // false: more bytes are needed
  std::string server_name;   // lower case
};
// The first bytes of a tunnel. A refusal: no TLS, or a hello without a name.
Judged<Hello> read_hello(std::string_view bytes);

}  // namespace ambit::sandbox::egress
