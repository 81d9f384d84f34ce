#include "a2a/directory.h"

#include "a2a/card_signature.h"
#include "http/url.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>

namespace ambit::a2a {
namespace {

constexpr const char* well_known = "/.well-known/agent-card.json";

// Seconds from Cache-Control: max-age, 0 where nothing may be kept.
Duration age_of(const http::Headers& headers) {
  const std::string_view control = headers.find("Cache-Control").value_or("");
  const std::size_t at = control.find("max-age=");
  if (at == std::string_view::npos || control.find("no-store") != std::string_view::npos) {
    return Duration(0);
  }
  std::int64_t seconds = 0;
  std::from_chars(control.data() + at + 8, control.data() + control.size(), seconds);
  return std::chrono::seconds(std::clamp<std::int64_t>(seconds, 0, 1'000'000));
}

}  // namespace

void Directory::keep(const std::string& url, const http::Headers& headers,
                     std::shared_ptr<const FoundCard> card) {
  if (!kept_.contains(url) && kept_.size() >= options_.cards_max) {
    const auto oldest = std::min_element(
        kept_.begin(), kept_.end(),
        [](const auto& a, const auto& b) { return a.second.fetched < b.second.fetched; });
    kept_.erase(oldest);
  }
  Kept& kept = kept_[url];
  kept.card = std::move(card);
  kept.tag = std::string(headers.find("ETag").value_or(""));
  kept.fetched = Loop::current().now();
  kept.age_max = std::min(age_of(headers), options_.age_max);
}

Task<Answer<std::shared_ptr<const FoundCard>>> Directory::fetch(std::string url) {
  const auto at = kept_.find(url);
  const bool is_known = at != kept_.end();
  if (is_known && Loop::current().now() - at->second.fetched < at->second.age_max) {
    co_return at->second.card;
  }
  http::Request request;
  request.url = url;
  request.headers.set("Accept", "application/json");
  request.headers.set("A2A-Version", "1.0");
  if (!options_.token.empty()) request.headers.set("Authorization", "Bearer " + options_.token);
  if (is_known && !at->second.tag.empty()) request.headers.set("If-None-Match", at->second.tag);
  auto response = co_await http_.send(std::move(request));
  if (!response) co_return Fail(Fault::unreachable, response.error().message);
  const auto known = kept_.find(url);
  if (response->status == 304 && known != kept_.end()) {
    known->second.fetched = Loop::current().now();
    known->second.age_max = std::min(age_of(response->headers), options_.age_max);
    co_return known->second.card;
  }
  if (response->status == 404 || response->status == 405) {
    co_return std::shared_ptr<const FoundCard>();
  }
  if (response->status != 200) {
    co_return tl::unexpected<Failure>(failure_of_http(
        response->status, url + " answered " + std::to_string(response->status), rpc::Json()));
  }
  rpc::ParseLimits limits;
  limits.bytes_max = options_.card_bytes_max;
  auto json = rpc::Value::parse(response->body, limits);
  if (!json) co_return Fail(Fault::invalid_agent_response, url + ": " + json.error().message);
  auto card = read_card(json->json());
  if (!card) co_return Fail(Fault::invalid_agent_response, url + ": " + card.error().message);
  auto found = std::make_shared<FoundCard>();
  if (!options_.trusted.empty()) {
    auto signer = verify_card(json->json(), options_.trusted);
    if (!signer) co_return Fail(signer.error().fault, url + ": " + signer.error().message);
    found->signed_by = std::move(*signer);
  }
  found->card = std::move(*card);
  found->json = std::move(*json);
  found->url = url;
  std::shared_ptr<const FoundCard> kept = std::move(found);
  keep(url, response->headers, kept);
  co_return kept;
}

Task<Answer<std::shared_ptr<const FoundCard>>> Directory::find(std::string url) {
  const auto parts = http::parse_url(url);
  if (!parts) co_return Fail(Fault::invalid_params, parts.error().message);
  std::vector<std::string> places;
  if (parts->path.ends_with(".json")) {
    places.push_back(url);
  } else {
    std::string path = parts->path;
    while (path.ends_with('/')) path.pop_back();
    places.push_back(http::origin(*parts) + path + well_known);
    if (!path.empty()) places.push_back(http::origin(*parts) + well_known);
  }
  for (const std::string& place : places) {
    auto found = co_await fetch(place);
    if (!found) co_return tl::unexpected<Failure>(found.error());
    if (*found) co_return std::move(*found);
  }
  co_return Fail(Fault::invalid_agent_response, "there is no agent card at " + places.front());
}

}  // namespace ambit::a2a
