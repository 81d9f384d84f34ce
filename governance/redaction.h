#pragma once

// Redaction: what the record never gets to hold, by rules of the fleet file. It stands before the
// journal and takes members of JSON, or kinds of text, out of the payloads of an event; the event's
// body then says what was taken, and nothing else of it. What the agents read and do is not
// changed. A session that goes on after a crash reads the redacted text, since no other is left.

#include "agents/ports.h"
#include "async/result.h"

#include <string>
#include <string_view>
#include <vector>

namespace ambit::governance {

struct RedactionRule {
  std::string of;          // "prompt", "instructions", "message", "arguments", "result", "*"
  std::string tool = "*";  // whose arguments and results: a name, or its beginning and a star
  std::vector<std::string> paths;     // "to.iban"
  std::vector<std::string> patterns;  // "email", "number", "secret"
};

// Addresses of mail; numbers of at least eight digits, also in groups; words that look like keys.
// Each becomes "[redacted]". How many there were.
std::size_t redact_text(std::string& text, const std::vector<std::string>& patterns);

class Redaction {
 public:
  // Errors (invalid): a part, a path or a pattern that there is not.
  static Result<Redaction> create(std::vector<RedactionRule> rules);

  // The body gets a member "redacted": ["arguments.to.iban", "result:email"], if anything was.
  void apply(agents::Event& event) const;
  [[nodiscard]] bool empty() const { return rules_.empty(); }

 private:
  explicit Redaction(std::vector<RedactionRule> rules) : rules_(std::move(rules)) {}

  std::vector<RedactionRule> rules_;
};

// What a recorded body says was taken out of it; empty: nothing.
std::vector<std::string> redacted_in(std::string_view body);

}  // namespace ambit::governance
