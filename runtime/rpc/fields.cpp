#include "rpc/fields.h"

#include <nlohmann/json.hpp>

#include <utility>

namespace ambit::rpc {

std::string path_at(const std::string& path, std::size_t index) {
  return path + "[" + std::to_string(index) + "]";
}

Fields::Fields(const Json& json, std::string path) : json_(json), path_(std::move(path)) {
  if (!json_.is_object()) fail(path_, "must be an object");
}

std::string Fields::path(const char* key) const {
  return path_ + "." + key;
}

void Fields::fail(const std::string& at, const std::string& what) {
  if (!fault_) fault_ = Error{Code::invalid, at + ": " + what};
}

void Fields::fail(Error error) {
  if (!fault_) fault_ = std::move(error);
}

Result<void> Fields::result() const {
  if (fault_) return Err(*fault_);
  return {};
}

const Json* Fields::find(const char* key) const {
  if (!json_.is_object()) return nullptr;
  const auto at = json_.find(key);
  return at == json_.end() ? nullptr : &*at;
}

template <class T, class Is>
void Fields::get(const char* key, T& out, Is is, const char* what, bool required) {
  const Json* member = find(key);
  if (member == nullptr) {
    if (required) fail(path(key), "is missing");
    return;
  }
  if (!is(*member)) {
    fail(path(key), what);
    return;
  }
  if constexpr (std::is_same_v<T, Value>) {
    out = Value(*member);
  } else if constexpr (requires { typename T::value_type; } && !std::is_same_v<T, std::string>) {
    out = member->get<typename T::value_type>();
  } else {
    out = member->get<T>();
  }
}

namespace {
bool is_string(const Json& json) {
  return json.is_string();
}
bool is_number(const Json& json) {
  return json.is_number();
}
bool is_bool(const Json& json) {
  return json.is_boolean();
}
bool is_object(const Json& json) {
  return json.is_object();
}
bool is_any(const Json& /*json*/) {
  return true;
}
bool is_integer(const Json& json) {
  if (!json.is_number_integer()) return false;
  return !json.is_number_unsigned() || json.get<std::uint64_t>() <= std::uint64_t{INT64_MAX};
}
constexpr const char* a_string = "must be a string";
constexpr const char* a_number = "must be a number";
constexpr const char* an_integer = "must be an integer of 64 bits";
constexpr const char* a_bool = "must be true or false";
constexpr const char* an_object = "must be an object";
}  // namespace

void Fields::read(const char* key, std::string& out) {
  get(key, out, is_string, a_string, true);
}
void Fields::read(const char* key, std::int64_t& out) {
  get(key, out, is_integer, an_integer, true);
}
void Fields::read(const char* key, double& out) {
  get(key, out, is_number, a_number, true);
}
void Fields::read(const char* key, bool& out) {
  get(key, out, is_bool, a_bool, true);
}
void Fields::read(const char* key, Value& out) {
  get(key, out, is_any, "", true);
}
void Fields::read_object(const char* key, Value& out) {
  get(key, out, is_object, an_object, true);
}
void Fields::read(const char* key, std::vector<std::string>& out) {
  const Json* array = find_array(key, true);
  if (array == nullptr) return;
  for (std::size_t i = 0; i < array->size(); ++i) {
    if (!(*array)[i].is_string()) {
      fail(path_at(path(key), i), a_string);
      return;
    }
    out.push_back((*array)[i].get<std::string>());
  }
}
void Fields::maybe(const char* key, std::string& out) {
  get(key, out, is_string, a_string, false);
}
void Fields::maybe(const char* key, std::optional<std::string>& out) {
  get(key, out, is_string, a_string, false);
}
void Fields::maybe(const char* key, std::optional<std::int64_t>& out) {
  get(key, out, is_integer, an_integer, false);
}
void Fields::maybe(const char* key, std::optional<double>& out) {
  get(key, out, is_number, a_number, false);
}
void Fields::maybe(const char* key, std::optional<bool>& out) {
  get(key, out, is_bool, a_bool, false);
}
void Fields::maybe(const char* key, Value& out) {
  get(key, out, is_any, "", false);
}
void Fields::maybe_object(const char* key, Value& out) {
  get(key, out, is_object, an_object, false);
}

const Json* Fields::find_array(const char* key, bool required) {
  const Json* member = find(key);
  if (member == nullptr && required) fail(path(key), "is missing");
  if (member != nullptr && !member->is_array()) {
    fail(path(key), "must be an array");
    return nullptr;
  }
  return member;
}

const Json* Fields::find_object(const char* key, bool required) {
  const Json* member = find(key);
  if (member == nullptr && required) fail(path(key), "is missing");
  if (member != nullptr && !member->is_object()) {
    fail(path(key), an_object);
    return nullptr;
  }
  return member;
}

}  // namespace ambit::rpc
