#pragma once

// Command-line arguments of one command: long flags, `--name value` or `--name=value`, and
// positional ones. A wrong flag is one error that names the right one.

#include "async/result.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::app {

struct OptionSpec {
  std::string name;         // without the dashes
  std::string placeholder;  // "N", "FILE"; empty: a flag without a value
  std::string help;
};

class Options {
 public:
  static Result<Options> parse(const std::vector<std::string>& arguments,
                               const std::vector<OptionSpec>& specs, std::size_t positional_least,
                               std::size_t positional_most);

  [[nodiscard]] bool flag(std::string_view name) const {
    return values_.contains(std::string(name));
  }
  [[nodiscard]] std::string text(std::string_view name, const std::string& fallback = "") const;
  // Within [least, most], or an error that names the flag.
  [[nodiscard]] Result<std::int64_t> integer(std::string_view name, std::int64_t fallback,
                                             std::int64_t least, std::int64_t most) const;
  [[nodiscard]] const std::vector<std::string>& positional() const { return positional_; }

 private:
  std::map<std::string, std::string> values_;
  std::vector<std::string> positional_;
};

}  // namespace ambit::app
