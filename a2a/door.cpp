#include "a2a/door.h"

#include "a2a/card_signature.h"
#include "a2a/rest_route.h"
#include "http/event_stream.h"
#include "http/target.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::a2a {
namespace {

using http::Header;
using http::Headers;
using rpc::Json;

constexpr std::size_t write_bytes = 32 << 10;  // of events that are sent together
constexpr std::string_view a2a_json = "application/a2a+json";
constexpr std::string_view plain_json = "application/json";
constexpr const char* card_path = "/.well-known/agent-card.json";
constexpr const char* jwks_path = "/.well-known/jwks.json";

std::string trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return std::string(text);
}

// FNV-1a: a tag only has to differ when the card does.
std::string tag_of(std::string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  }
  return "\"" + std::to_string(hash) + "\"";
}

// In 0.3, whose specification leaves REST's errors open, clients read JSON-RPC's members; both
// stand there then.
Json error_json(const Failure& failure, Version version = Version::v1_0) {
  const FaultRow& row = row_of(failure.fault);
  Json error = {{"code", row.http_status}, {"status", row.status}, {"message", failure.message}};
  Json details = details_of(failure);
  if (!details.empty()) error["details"] = std::move(details);
  Json json = Json::object();
  if (version != Version::v1_0) {
    json["code"] = row.rpc_code;
    json["message"] = failure.message;
  }
  json["error"] = std::move(error);
  return json;
}

std::string rpc_error(const Json& id, const Failure& failure) {
  Json error = {{"code", row_of(failure.fault).rpc_code}, {"message", failure.message}};
  Json details = details_of(failure);
  if (!details.empty()) error["data"] = std::move(details);
  Json json = {{"jsonrpc", "2.0"}, {"id", id}};
  json["error"] = std::move(error);
  return rpc::compact(json);
}

struct RpcRequest {
  Json id;
  bool has_id = false;
  std::string method;
  rpc::Value params;
};

// Fills in `id` as soon as it is known, so that an error can name it.
Answer<void> read_rpc(rpc::Value& message, RpcRequest& request) {
  Json& json = message.edit();
  if (!json.is_object()) {
    return Fail(Fault::invalid_request, "a request must be one JSON object; batches are not taken");
  }
  const auto id = json.find("id");
  if (id != json.end() && (id->is_string() || id->is_number() || id->is_null())) request.id = *id;
  const auto version = json.find("jsonrpc");
  if (version == json.end() || *version != "2.0") {
    return Fail(Fault::invalid_request, "jsonrpc: must be \"2.0\"");
  }
  request.has_id = id != json.end();
  if (request.has_id && (id->is_structured() || id->is_boolean())) {
    return Fail(Fault::invalid_request, "id: must be a string or a number");
  }
  const auto method = json.find("method");
  if (method == json.end() || !method->is_string()) {
    return Fail(Fault::invalid_request, "method: must be a string");
  }
  request.method = method->get<std::string>();
  const auto params = json.find("params");
  if (params != json.end() && !params->is_object() && !params->is_null()) {
    return Fail(Fault::invalid_params, "params: must be an object");
  }
  if (params != json.end() && params->is_object()) request.params = rpc::Value(std::move(*params));
  return {};
}

std::string rest_media_type(const http::RequestHead& head) {
  for (const char* name : {"Accept", "Content-Type"}) {
    const auto value = head.headers.find(name);
    if (value && value->find(a2a_json) != std::string_view::npos) return std::string(a2a_json);
  }
  return std::string(plain_json);
}

bool is_same_secret(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
  }
  return difference == 0;
}

}  // namespace

Door::Door(Service& service, std::int64_t changed_unix_s, DoorOptions options,
           Authenticate authenticate)
    : service_(service),
      options_(std::move(options)),
      authenticate_(std::move(authenticate)),
      changed_(http::http_date(changed_unix_s)) {
  const AgentCard& card = service_.options().card;
  pure_ = card_text(card, CardShape::pure);
  hybrid_ = card_text(card, CardShape::hybrid);
  jwks_.text = rpc::compact(jose::jwks_of(options_.keys));
  jwks_.tag = tag_of(jwks_.text);
}

Door::CardText Door::card_text(const AgentCard& card, CardShape shape) const {
  Json json = to_json(card, shape);
  // A key that cannot sign is the operator's fault, who sees a card without a signature.
  if (!options_.keys.empty()) {
    static_cast<void>(sign_card(json, options_.keys.front(), options_.jwks_url));
  }
  CardText made;
  made.text = rpc::compact(json);
  made.tag = tag_of(made.text);
  return made;
}

Task<void> Door::handle(http::Exchange& exchange) {
  const std::string& path = exchange.request().path;
  const bool is_below = path.starts_with(options_.base);
  std::string rest = is_below ? path.substr(options_.base.size()) : path;
  const bool is_rpc = is_below && (rest.empty() || rest == "/");
  if (rest == card_path) {
    co_await give_card(exchange);
  } else if (rest == jwks_path && !options_.keys.empty()) {
    const Headers headers({{"Content-Type", "application/jwk-set+json"}});
    co_await give(exchange, jwks_, headers);
  } else if (is_rpc) {
    co_await handle_rpc(exchange);
  } else {
    if (!is_below) rest.clear();
    co_await handle_rest(exchange, std::move(rest));
  }
}

Task<void> Door::give_card(http::Exchange& exchange) {
  const auto version = version_of(exchange.request());
  const bool wants_1_0 = version && *version == Version::v1_0;
  const Headers headers({{"Content-Type", std::string(plain_json)},
                         {"Last-Modified", changed_},
                         {"Vary", "A2A-Version"}});
  co_await give(exchange, wants_1_0 || !options_.speaks_0_3 ? pure_ : hybrid_, headers);
}

// What everybody may know and keep for a while.
Task<void> Door::give(http::Exchange& exchange, CardText text, Headers headers) {
  const http::RequestHead& head = exchange.request();
  if (head.method != "GET" && head.method != "HEAD") {
    const Headers allow({{"Allow", "GET, HEAD"}});
    co_await exchange.respond(405, allow, "");
    co_return;
  }
  headers.set("Cache-Control", "max-age=" + std::to_string(options_.card_max_age_seconds));
  headers.set("ETag", text.tag);
  const auto known = split_list(head.headers.find("If-None-Match").value_or(""));
  const bool is_known = std::any_of(known.begin(), known.end(), [&](const std::string& tag) {
    return tag == "*" || tag == text.tag || tag == "W/" + text.tag;
  });
  std::string body = is_known ? "" : std::move(text.text);
  co_await exchange.respond(is_known ? 304 : 200, std::move(headers), std::move(body));
}

std::optional<Call> Door::call_of(const http::RequestHead& head) const {
  Call call;
  call.caller = "anonymous";
  if (authenticate_) {
    auto caller = authenticate_(head);
    if (!caller) return std::nullopt;
    call.caller = std::move(*caller);
  }
  for (const Header& header : head.headers) {
    if (!http::same_name(header.name, "A2A-Extensions") &&
        !http::same_name(header.name, "X-A2A-Extensions")) {
      continue;
    }
    for (std::string& uri : split_list(header.value)) call.extensions.push_back(std::move(uri));
  }
  return call;
}

Headers Door::extension_headers(const Call& call) const {
  const std::string activated = activated_extensions(service_.options().card, call);
  Headers headers;
  if (!activated.empty()) headers.add("A2A-Extensions", activated);
  return headers;
}

Task<void> Door::refuse_caller(http::Exchange& exchange) {
  const Failure failure{Fault::unauthenticated,
                        "send \"Authorization: Bearer TOKEN\" with a token of this agent", ""};
  Headers headers({{"Content-Type", std::string(plain_json)}, {"WWW-Authenticate", "Bearer"}});
  std::string text = rpc::compact(error_json(failure));
  co_await exchange.respond(401, std::move(headers), std::move(text));
}

Answer<std::optional<Version>> Door::version_of(const http::RequestHead& head) const {
  std::string named(head.headers.find("A2A-Version").value_or(""));
  const auto query = http::split_query(head.query);
  if (named.empty() && query) {
    for (const auto& [name, value] : *query) {
      if (http::same_name(name, "A2A-Version")) named = value;
    }
  }
  if (named.empty()) return std::nullopt;
  if (named == "1.0") return Version::v1_0;
  if (named == "0.3" && options_.speaks_0_3) return Version::v0_3;
  return Fail(Fault::version_not_supported,
              "A2A-Version " + rpc::compact(Json(named)) + " is not spoken here; use 1.0");
}

Answer<rpc::Value> Door::read_json(const http::RequestHead& head, std::string_view body,
                                   bool may_be_empty) const {
  if (may_be_empty && body.empty()) return rpc::Value(Json::object());
  const std::string type = http::media_type(head.headers);
  if (type != plain_json && type != a2a_json) {
    return Fail(Fault::content_type_not_supported, "Content-Type: must be application/json");
  }
  auto value = rpc::Value::parse(body, options_.parse);
  if (value) return std::move(*value);
  const bool is_too_large = value.error().code == Code::exhausted;
  return Fail(is_too_large ? Fault::invalid_request : Fault::parse_error, value.error().message);
}

Task<void> Door::handle_rpc(http::Exchange& exchange) {
  const http::RequestHead& head = exchange.request();
  // Who looks there with a browser or a client of 0.3 finds the card.
  if (head.method == "GET" || head.method == "HEAD") {
    co_await give_card(exchange);
    co_return;
  }
  if (head.method != "POST") {
    const Headers allow({{"Allow", "GET, HEAD, POST"}});
    co_await exchange.respond(405, allow, "");
    co_return;
  }
  auto call = call_of(head);
  if (!call) {
    co_await refuse_caller(exchange);
    co_return;
  }
  auto body = co_await exchange.read_all();
  if (!body) co_return;
  RpcRequest request;
  std::optional<Failure> failure;
  std::optional<Operation> operation;
  Version version = Version::v1_0;
  if (auto message = read_json(head, *body, false); !message) {
    failure = message.error();
  } else if (auto read = read_rpc(*message, request); !read) {
    failure = read.error();
  } else if (auto named = version_of(head); !named) {
    failure = named.error();
  } else {
    // Names say which version a client speaks that does not name one.
    const bool is_old = options_.speaks_0_3 && !find_method(Version::v1_0, request.method);
    version = named->value_or(is_old ? Version::v0_3 : Version::v1_0);
    operation = find_method(version, request.method);
    if (!operation) {
      failure = Failure{Fault::method_not_found,
                        "there is no method " + rpc::compact(Json(request.method)), ""};
    } else if (!request.has_id && version == Version::v1_0) {
      // Clients of 0.3 may leave it out, and are answered all the same.
      failure = Failure{Fault::invalid_request, "id: must be a string or a number", ""};
    }
  }
  Headers headers = extension_headers(*call);
  std::string text;
  if (!failure) {
    auto outcome = co_await perform(service_, *operation, version, std::move(*call),
                                    std::move(request.params));
    const std::string before =
        "{\"jsonrpc\":\"2.0\",\"id\":" + rpc::compact(request.id) + ",\"result\":";
    if (!outcome) {
      failure = outcome.error();
    } else if (is_streaming(*operation)) {
      co_await send_events(exchange, std::move(outcome->stream), version, before, "}",
                           std::move(headers));
      co_return;
    } else {
      text = before + outcome->result + "}";
    }
  }
  if (failure) text = rpc_error(request.id, *failure);
  // Such a client of 0.3 reads nothing but events.
  if (failure && version == Version::v0_3 && operation && is_streaming(*operation) &&
      head.headers.find("Accept") == "text/event-stream") {
    co_await send_one_event(exchange, std::move(text), std::move(headers));
    co_return;
  }
  headers.set("Content-Type", std::string(plain_json));
  co_await exchange.respond(200, std::move(headers), std::move(text));
}

Task<void> Door::handle_rest(http::Exchange& exchange, std::string path) {
  const http::RequestHead& head = exchange.request();
  // Below /v1 a client that names no other version speaks 0.3.
  auto named = version_of(head);
  const bool is_old = path.starts_with("/v1/") && named &&
                      named->value_or(Version::v0_3) == Version::v0_3 && options_.speaks_0_3;
  const Version version = is_old ? Version::v0_3_proto : Version::v1_0;
  const RestRoute route =
      is_old ? find_old_rest_route(head.method, path) : find_rest_route(head.method, path);
  auto call = call_of(head);
  if (!call) {
    co_await refuse_caller(exchange);
    co_return;
  }
  std::string body;
  if (route.operation && route.has_body) {
    auto read = co_await exchange.read_all();
    if (!read) co_return;
    body = std::move(*read);
  }
  std::optional<Failure> failure;
  rpc::Value params;
  if (!route.operation) {
    failure = Failure{Fault::method_not_found,
                      route.is_known ? "this path does not take the method " + head.method
                                     : "there is nothing at this path",
                      ""};
  } else if (!named) {
    failure = named.error();
  } else if (!is_old && named->value_or(Version::v1_0) != Version::v1_0) {
    failure = Failure{Fault::version_not_supported, "the paths of 0.3 begin with /v1/", ""};
  } else if (auto json = read_json(head, body,
                                   body.empty() && route.operation != Operation::send &&
                                       route.operation != Operation::stream);
             !json) {
    failure = json.error();
  } else if (auto merged = rest_params(route, head.query, std::move(*json)); !merged) {
    failure = merged.error();
  } else {
    params = std::move(*merged);
  }
  if (!failure) {
    co_await answer_rest(exchange, *route.operation, version, std::move(*call), std::move(params));
    co_return;
  }
  const bool is_wrong_method = !route.operation && route.is_known;
  Headers headers({{"Content-Type", rest_media_type(head)}});
  const int status = is_wrong_method ? 405 : row_of(failure->fault).http_status;
  std::string text = rpc::compact(error_json(*failure, version));
  co_await exchange.respond(status, std::move(headers), std::move(text));
}

Task<void> Door::answer_rest(http::Exchange& exchange, Operation operation, Version version,
                             Call call, rpc::Value params) {
  Headers headers = extension_headers(call);
  auto outcome = co_await perform(service_, operation, version, std::move(call), std::move(params));
  if (outcome && is_streaming(operation)) {
    co_await send_events(exchange, std::move(outcome->stream), version, "", "", std::move(headers));
    co_return;
  }
  headers.set("Content-Type", rest_media_type(exchange.request()));
  const int status = outcome ? 200 : row_of(outcome.error().fault).http_status;
  const bool is_nothing = outcome && outcome->result == "null";
  std::string text = "{}";
  if (!outcome) text = rpc::compact(error_json(outcome.error(), version));
  if (outcome && !is_nothing) text = std::move(outcome->result);
  co_await exchange.respond(status, std::move(headers), std::move(text));
}

Task<void> Door::send_one_event(http::Exchange& exchange, std::string text, Headers headers) {
  http::EventStream events(exchange, options_.heartbeat);
  auto sent = co_await events.open(std::move(headers));
  if (sent) sent = co_await events.send("data: " + text + "\n\n");
  if (sent) co_await events.end();
}

Task<void> Door::send_events(http::Exchange& exchange, SubscriptionHandle stream, Version version,
                             std::string before, std::string after, Headers headers) {
  http::EventStream events(exchange, options_.heartbeat);
  auto opened = co_await events.open(std::move(headers));
  if (!opened) co_return;
  const auto line = [&](const Update& update) {
    return "data: " + before + event_text(update, version) + after + "\n\n";
  };
  while (true) {
    auto update = co_await events.receive(stream->queue());
    if (!update) {
      if (update.error().code != Code::closed || exchange.is_broken()) co_return;
      break;
    }
    std::string text = line(**update);
    while (text.size() < write_bytes) {
      auto more = stream->queue().try_receive();
      if (!more) break;
      text += line(**more);
    }
    auto sent = co_await events.send(std::move(text));
    if (!sent) co_return;
  }
  // A stream that was cut must not look whole: its client may subscribe again.
  if (!stream->was_dropped()) co_await events.end();
}

Authenticate bearer_tokens(std::vector<std::pair<std::string, std::string>> callers) {
  return
      [callers = std::move(callers)](const http::RequestHead& head) -> std::optional<std::string> {
        const std::string_view value = head.headers.find("Authorization").value_or("");
        const std::size_t blank = std::min(value.find(' '), value.size());
        if (!http::same_name(value.substr(0, blank), "Bearer")) return std::nullopt;
        const std::string token = trimmed(value.substr(blank));
        std::optional<std::string> found;
        for (const auto& [secret, caller] : callers) {
          if (!secret.empty() && is_same_secret(secret, token)) found = caller;
        }
        return found;
      };
}

}  // namespace ambit::a2a
