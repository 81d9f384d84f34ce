#include "console/access.h"

#include <algorithm>

namespace ambit::console {
namespace {

constexpr std::size_t token_bytes_least = 16;
constexpr std::int64_t minute_ms = 60'000;

}  // namespace

std::string_view to_string(Role role) {
  return role == Role::owner ? "owner" : "reviewer";
}

Result<Role> role_named(std::string_view name) {
  if (name == "reviewer") return Role::reviewer;
  if (name == "owner") return Role::owner;
  return Err(Code::invalid,
             "there is no role \"" + std::string(name) + "\"; there are: reviewer, owner");
}

Result<void> Access::add_token(std::string_view token, Person person) {
  if (token.size() < token_bytes_least) {
    return Err(Code::invalid, "the token of " + person.name +
                                  " is shorter than 16 characters; make one with: openssl rand "
                                  "-hex 32");
  }
  if (!tokens_.emplace(log::sha256(token), std::move(person)).second) {
    return Err(Code::invalid, "a token is given twice");
  }
  return {};
}

void Access::add_code(const std::string& secret, Person person, std::int64_t now_ms) {
  codes_[log::sha256(secret)] = {std::move(person), now_ms + code_ms};
}

Result<Person> Access::log_in(std::string_view given, const std::string& secret,
                              std::int64_t now_ms) {
  if (now_ms - failures_since_ms_ > minute_ms) {
    failures_since_ms_ = now_ms;
    failures_ = 0;
  }
  if (failures_ >= failures_max) {
    return Err(Code::exhausted, "too many wrong tokens; wait a minute");
  }
  const log::Hash hash = log::sha256(given);
  std::optional<Person> person = by_token(given);
  if (const auto code = codes_.find(hash); !person && code != codes_.end()) {
    if (now_ms < code->second.until_ms) person = code->second.person;
    codes_.erase(code);
  }
  if (!person) {
    ++failures_;
    return Err(Code::denied, "this token or link is not good (any more); ask for a new one");
  }
  if (sessions_.size() >= sessions_max) {
    sessions_.erase(std::min_element(
        sessions_.begin(), sessions_.end(),
        [](const auto& a, const auto& b) { return a.second.used_ms < b.second.used_ms; }));
  }
  sessions_[log::sha256(secret)] = {*person, now_ms, now_ms};
  return *person;
}

void Access::log_out(std::string_view cookie) {
  sessions_.erase(log::sha256(cookie));
}

std::optional<Person> Access::by_cookie(std::string_view cookie, std::int64_t now_ms) {
  const auto at = sessions_.find(log::sha256(cookie));
  if (at == sessions_.end()) return std::nullopt;
  if (now_ms - at->second.began_ms > session_ms || now_ms - at->second.used_ms > idle_ms) {
    sessions_.erase(at);
    return std::nullopt;
  }
  at->second.used_ms = now_ms;
  return at->second.person;
}

std::optional<Person> Access::by_token(std::string_view token) const {
  const auto at = tokens_.find(log::sha256(token));
  if (at == tokens_.end()) return std::nullopt;
  return at->second;
}

}  // namespace ambit::console
