#pragma once

// Fields: reads the members of a JSON object into a struct and remembers the first thing that is
// wrong, with its path ("$.tools[2].name: must be a string"). Unknown members are ignored:
// protocols grow.

#include "rpc/value.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ambit::rpc {

class Fields {
 public:
  // `json` must outlive this reader. Not an object: every read fails.
  Fields(const Json& json, std::string path);

  // Required members.
  void read(const char* key, std::string& out);
  void read(const char* key, std::int64_t& out);
  void read(const char* key, double& out);
  void read(const char* key, bool& out);
  void read(const char* key, std::vector<std::string>& out);
  void read(const char* key, Value& out);         // any value
  void read_object(const char* key, Value& out);  // an object
  // Members that may be missing; null counts as wrong, as the schemas say.
  void maybe(const char* key, std::string& out);
  void maybe(const char* key, std::optional<std::string>& out);
  void maybe(const char* key, std::optional<std::int64_t>& out);
  void maybe(const char* key, std::optional<double>& out);
  void maybe(const char* key, std::optional<bool>& out);
  void maybe(const char* key, Value& out);
  void maybe_object(const char* key, Value& out);

  // The member, or null if it is missing.
  [[nodiscard]] const Json* find(const char* key) const;
  // The same for an array or object; anything else is remembered as a fault.
  const Json* find_array(const char* key, bool required);
  const Json* find_object(const char* key, bool required);
  [[nodiscard]] std::string path(const char* key) const;

  void fail(const std::string& at, const std::string& what);
  // Remembers a failure of a part that was read elsewhere.
  void fail(Error error);
  [[nodiscard]] bool ok() const { return !fault_.has_value(); }
  [[nodiscard]] Result<void> result() const;

 private:
  template <class T, class Is>
  void get(const char* key, T& out, Is is, const char* what, bool required);

  const Json& json_;
  std::string path_;
  std::optional<Error> fault_;
};

// "$.tools" + 3 -> "$.tools[3]"
std::string path_at(const std::string& path, std::size_t index);

}  // namespace ambit::rpc
