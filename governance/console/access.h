#pragma once

// Access: who may use the console, and as what. A token (by header, or given once at the page) or a
// link that works once makes a session, which a cookie carries. Pure: time and random bytes come
// from outside. Tokens are kept as hashes.

#include "async/result.h"
#include "log/sha256.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace ambit::console {

// A reviewer reads, annotates and signs off; an owner also answers what the fleet asks. Nobody
// edits: what people do here are records too.
enum class Role : std::uint8_t { reviewer, owner };
std::string_view to_string(Role role);
Result<Role> role_named(std::string_view name);

struct Person {
  std::string name;
  Role role = Role::reviewer;
  friend bool operator==(const Person&, const Person&) = default;
};

class Access {
 public:
  static constexpr std::int64_t code_ms = 15 * 60'000;         // a link is good for so long
  static constexpr std::int64_t session_ms = 8 * 60 * 60'000;  // a login
  static constexpr std::int64_t idle_ms = 60 * 60'000;         // without a request
  static constexpr std::size_t sessions_max = 256;
  static constexpr std::size_t failures_max = 30;  // a minute

  // Error: shorter than 16 characters, or given already.
  Result<void> add_token(std::string_view token, Person person);
  // `secret` is 64 hex digits at random; the link's code.
  void add_code(const std::string& secret, Person person, std::int64_t now_ms);

  // A session for a token or a code; `secret` becomes its cookie. A code is used up by this.
  // Errors: denied; exhausted (too many wrong ones).
  Result<Person> log_in(std::string_view given, const std::string& secret, std::int64_t now_ms);
  void log_out(std::string_view cookie);
  // Whose request this is, by its cookie or its bearer token.
  std::optional<Person> by_cookie(std::string_view cookie, std::int64_t now_ms);
  [[nodiscard]] std::optional<Person> by_token(std::string_view token) const;

 private:
  struct Session {
    Person person;
    std::int64_t began_ms = 0;
    std::int64_t used_ms = 0;
  };
  struct CodeKept {
    Person person;
    std::int64_t until_ms = 0;
  };
  std::map<log::Hash, Person> tokens_;
  std::map<log::Hash, CodeKept> codes_;
  std::map<log::Hash, Session> sessions_;
  std::int64_t failures_since_ms_ = 0;
  std::size_t failures_ = 0;
};

}  // namespace ambit::console
