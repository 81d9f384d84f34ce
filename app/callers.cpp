#include "app/callers.h"

#include "a2a/door.h"
#include "io/file.h"

#include <sstream>

namespace ambit::app {
namespace {

constexpr std::size_t tokens_bytes_max = 1 << 20;
constexpr std::size_t name_bytes_max = 256;

// A name goes into records and headers, and never holds what tells names apart.
bool is_name(std::string_view name) {
  if (name.empty() || name.size() > name_bytes_max) return false;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) return false;
  }
  return true;
}

}  // namespace

// "TOKEN NAME" a line; '#' begins a comment.
Result<std::vector<std::pair<std::string, std::string>>> read_callers(const std::string& path) {
  std::vector<std::pair<std::string, std::string>> callers;
  std::istringstream lines(TRY(io::read_file(path, tokens_bytes_max)));
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string token;
    std::string name;
    std::string more;
    words >> token >> name >> more;
    if (token.empty()) continue;
    if (name.empty() || !more.empty()) {
      return Err(Code::invalid, path + ":" + std::to_string(number) +
                                    ": write a token and the name of its caller: \"TOKEN NAME\"");
    }
    if (token.size() < 16) {
      return Err(Code::invalid, path + ":" + std::to_string(number) +
                                    ": the token is shorter than 16 characters; make one with: "
                                    "openssl rand -hex 32");
    }
    callers.emplace_back(std::move(token), std::move(name));
  }
  if (callers.empty()) return Err(Code::invalid, path + " names no caller");
  return callers;
}

std::vector<OptionSpec> Callers::options() {
  return {
      {"tokens", "FILE", "who may call: a line is \"TOKEN NAME\" (default: $AMBIT_TOKEN)"},
      {"jwks", "FILE", "also take tokens (JWT) signed by these keys; needs --issuer, --audience"},
      {"issuer", "NAME", "who issues them"},
      {"audience", "NAME", "what they name as their audience: this server"},
      {"proxy-header", "NAME", "also believe this header of a proxy that checks certificates"}};
}

Result<void> Callers::read_keys(const Options& options, const Context& context) {
  const std::string file = options.text("jwks");
  if (file.empty()) return {};
  const std::string issuer = options.text("issuer");
  governance::TokenOptions token;
  token.audience = options.text("audience");
  if (issuer.empty() || token.audience.empty()) {
    return Err(Code::invalid, "--jwks needs --issuer and --audience, which every token must name");
  }
  const std::string path = absolute(context, file);
  const std::string text = TRY(io::read_file(path, tokens_bytes_max));
  auto keys = governance::keys_from_jwks(text, issuer);
  if (!keys) return Err(std::move(keys).error().context(path));
  if (keys->empty()) return Err(Code::invalid, path + " holds no key for ES256 or RS256");
  verifier_ = TRY(governance::TokenVerifier::create(std::move(*keys), token));
  return {};
}

Result<Callers> Callers::read(const Options& options, const Context& context) {
  Callers callers;
  const std::string tokens = options.text("tokens");
  const auto token = context.environment.find("AMBIT_TOKEN");
  if (!tokens.empty()) {
    callers.tokens_ = TRY(read_callers(absolute(context, tokens)));
  } else if (token != context.environment.end() && token->second.size() >= 16) {
    callers.tokens_.emplace_back(token->second, "operator");
  }
  TRY(callers.read_keys(options, context));
  callers.proxy_header_ = options.text("proxy-header");
  if (callers.tokens_.empty() && !callers.verifier_ && callers.proxy_header_.empty()) {
    return Err(Code::invalid,
               "who may call? Give --tokens FILE (a line is \"TOKEN NAME\"), or set AMBIT_TOKEN to "
               "16 characters or more, for instance: export AMBIT_TOKEN=$(openssl rand -hex 32)");
  }
  return callers;
}

std::optional<std::string> Callers::name_of(const http::RequestHead& head, std::int64_t now_s) {
  if (auto known = a2a::bearer_tokens(tokens_)(head)) return known;
  const std::string_view key = head.headers.find("X-API-Key").value_or("");
  if (!key.empty()) {
    http::RequestHead as_bearer;
    as_bearer.headers.set("Authorization", "Bearer " + std::string(key));
    return a2a::bearer_tokens(tokens_)(as_bearer);
  }
  const std::string_view authorization = head.headers.find("Authorization").value_or("");
  constexpr std::string_view bearer = "Bearer ";
  if (verifier_ && http::same_name(authorization.substr(0, bearer.size()), bearer)) {
    const auto claims = verifier_->verify(authorization.substr(bearer.size()), now_s);
    if (claims && is_name(claims->subject)) return claims->subject;
    return std::nullopt;
  }
  if (proxy_header_.empty() || head.headers.count(proxy_header_) != 1) return std::nullopt;
  const std::string name(*head.headers.find(proxy_header_));
  return is_name(name) ? std::optional<std::string>(name) : std::nullopt;
}

}  // namespace ambit::app
