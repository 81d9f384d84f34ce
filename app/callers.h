#pragma once

// Who may call a server of ours, and under which name: fixed tokens (as a bearer token or in
// X-API-Key), tokens that somebody else has signed (JWT), and a header of a proxy that has checked
// a client's certificate. What is not asked for on the command line is not taken.

#include "app/command.h"
#include "governance/token.h"
#include "http/request_parser.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ambit::app {

class Callers {
 public:
  // For a command's list of options.
  static std::vector<OptionSpec> options();
  // Errors say what to give; nobody at all is an error as well.
  static Result<Callers> read(const Options& options, const Context& context);

  // None: not known.
  std::optional<std::string> name_of(const http::RequestHead& head, std::int64_t now_s);

 private:
  Callers() = default;
  Result<void> read_keys(const Options& options, const Context& context);

  std::vector<std::pair<std::string, std::string>> tokens_;  // (token, name)
  std::optional<governance::TokenVerifier> verifier_;
  std::string proxy_header_;
};

// "TOKEN NAME" a line; '#' begins a comment.
Result<std::vector<std::pair<std::string, std::string>>> read_callers(const std::string& path);

}  // namespace ambit::app
