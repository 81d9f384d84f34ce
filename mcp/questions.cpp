#include "mcp/questions.h"

#include "http/url.h"
#include "mcp/hidden_text.h"
#include "mcp/json_text.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <string_view>

namespace ambit::mcp {
namespace {

using rpc::Json;

constexpr std::size_t question_bytes_max = 256 << 10;

// Letters and digits alone, small: "API-Key", "apiKey" and "api key" are one.
std::string folded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c >= 'A' && c <= 'Z') out += static_cast<char>(c - 'A' + 'a');
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9')) out += c;
  }
  return out;
}

bool names_a_secret(std::string_view text) {
  static constexpr std::array<std::string_view, 20> words = {
      "password",   "passwd",       "passphrase",   "passcode",       "apikey",
      "secretkey",  "clientsecret", "accesstoken",  "authtoken",      "bearertoken",
      "privatekey", "seedphrase",   "recoverycode", "onetimecode",    "creditcard",
      "cardnumber", "cvv",          "pincode",      "socialsecurity", "credentials"};
  const std::string plain = folded(text);
  return std::any_of(words.begin(), words.end(),
                     [&](std::string_view word) { return plain.find(word) != std::string::npos; });
}

std::optional<std::string> fault_of_form(const Json& params) {
  const Json schema = params.value("requestedSchema", Json::object());
  const Json fields = schema.is_object() ? schema.value("properties", Json::object()) : Json();
  if (!fields.is_object()) return "its form is none";
  bool takes_text = false;
  for (const auto& [name, field] : fields.items()) {
    const std::string type = text_of(field, "type");
    takes_text = takes_text || (type == "string" && !field.contains("enum"));
    if (type != "string" && type != "number" && type != "integer") continue;
    const bool is_secret = text_of(field, "format") == "password" || names_a_secret(name) ||
                           names_a_secret(text_of(field, "title")) ||
                           names_a_secret(text_of(field, "description"));
    if (is_secret) return "its form asks for a secret (\"" + name + "\")";
  }
  if (takes_text && names_a_secret(text_of(params, "message"))) {
    return "it asks for a secret in a form";
  }
  return std::nullopt;
}

std::optional<std::string> fault_of_link(const Json& params) {
  const std::string text = text_of(params, "url");
  const auto url = http::parse_url(text);
  const bool loopback = url && (url->host == "127.0.0.1" || url->host == "localhost");
  // What stands before an '@' looks like the host and is none; parse_url() refuses it.
  if (!url || (!url->is_https && !loopback)) return "its link is no https URL";
  return std::nullopt;
}

}  // namespace

std::optional<std::string> why_not_ask(const std::string& method, const Value& params) {
  const std::string text = params.text();
  if (text.size() > question_bytes_max) {
    return "it is longer than " + std::to_string(question_bytes_max) + " bytes";
  }
  if (method != "elicitation/create") return std::nullopt;
  if (!params.json().is_object()) return "it has no parameters";
  if (hides_text(text) || hides_text(text_of(params.json(), "message"))) {
    return "it has hidden characters";
  }
  return text_of(params.json(), "mode") == "url" ? fault_of_link(params.json())
                                                 : fault_of_form(params.json());
}

}  // namespace ambit::mcp
