#pragma once

// The operating log: one JSON line an event on a stream (stderr), named noun.verb, for the people
// who run the program. No prompts and no secrets go here. The audit record is another thing
// (governance/log).

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace ambit {

class Log {
 public:
  enum class Level { debug, info, warn, error };
  using Value = std::variant<std::string_view, std::int64_t, double, bool>;
  struct Field {
    std::string_view name;
    Value value;
  };
  using Sink = std::function<void(std::string_view line)>;

  Log(Level level, Sink sink) : level_(level), sink_(std::move(sink)) {}
  // A log that says nothing.
  Log() : level_(Level::error) {}

  void debug(std::string_view event, std::initializer_list<Field> fields = {}) const {
    write(Level::debug, event, fields);
  }
  void info(std::string_view event, std::initializer_list<Field> fields = {}) const {
    write(Level::info, event, fields);
  }
  void warn(std::string_view event, std::initializer_list<Field> fields = {}) const {
    write(Level::warn, event, fields);
  }
  void error(std::string_view event, std::initializer_list<Field> fields = {}) const {
    write(Level::error, event, fields);
  }

 private:
  void write(Level level, std::string_view event, std::initializer_list<Field> fields) const;

  Level level_;
  Sink sink_;
};

}  // namespace ambit
