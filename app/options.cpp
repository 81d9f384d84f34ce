#include "app/options.h"

#include "agents/fleet.h"

#include <algorithm>
#include <charconv>

namespace ambit::app {

Result<Options> Options::parse(const std::vector<std::string>& arguments,
                               const std::vector<OptionSpec>& specs, std::size_t positional_least,
                               std::size_t positional_most) {
  Options options;
  bool only_positional = false;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "--" && !only_positional) {
      only_positional = true;
      continue;
    }
    if (only_positional || !argument.starts_with("--")) {
      if (!only_positional && argument.size() > 1 && argument.front() == '-') {
        return Err(Code::invalid, "there are no short flags: \"" + argument + "\"");
      }
      options.positional_.push_back(argument);
      continue;
    }
    const std::size_t equals = argument.find('=');
    const std::string name = argument.substr(2, equals == std::string::npos ? equals : equals - 2);
    const auto spec = std::find_if(specs.begin(), specs.end(),
                                   [&](const OptionSpec& known) { return known.name == name; });
    if (spec == specs.end()) {
      std::vector<std::string> names;
      for (const OptionSpec& known : specs) names.push_back(known.name);
      const auto near = agents::suggestion(name, names);
      return Err(Code::invalid,
                 "there is no flag --" + name + (near ? "; did you mean --" + *near + "?" : ""));
    }
    if (spec->placeholder.empty()) {
      if (equals != std::string::npos) return Err(Code::invalid, "--" + name + " takes no value");
      options.values_[name] = "";
    } else if (equals != std::string::npos) {
      options.values_[name] = argument.substr(equals + 1);
    } else if (i + 1 < arguments.size()) {
      options.values_[name] = arguments[++i];
    } else {
      return Err(Code::invalid,
                 "--" + name + " needs a value: --" + name + " " + spec->placeholder);
    }
  }
  if (options.positional_.size() < positional_least)
    return Err(Code::invalid, "an argument is missing");
  if (options.positional_.size() > positional_most) {
    return Err(Code::invalid,
               "one argument too many: \"" + options.positional_[positional_most] + "\"");
  }
  return options;
}

std::string Options::text(std::string_view name, const std::string& fallback) const {
  const auto at = values_.find(std::string(name));
  return at != values_.end() ? at->second : fallback;
}

Result<std::int64_t> Options::integer(std::string_view name, std::int64_t fallback,
                                      std::int64_t least, std::int64_t most) const {
  const auto at = values_.find(std::string(name));
  if (at == values_.end()) return fallback;
  std::int64_t value = 0;
  const char* last = at->second.data() + at->second.size();
  const auto [end, error] = std::from_chars(at->second.data(), last, value);
  if (error != std::errc() || end != last || value < least || value > most) {
    return Err(Code::invalid, "--" + std::string(name) + " must be a whole number from " +
                                  std::to_string(least) + " to " + std::to_string(most) +
                                  ", not \"" + at->second + "\"");
  }
  return value;
}

}  // namespace ambit::app
