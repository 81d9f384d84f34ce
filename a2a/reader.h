#pragma once

// Reader: the members of one JSON object in the manner of ProtoJSON (null is absent, unknown
// members are ignored, task_id is read as taskId), collecting the first fault of a whole request
// with its path. Internal to a2a.

#include "a2a/failure.h"
#include "rpc/value.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ambit::a2a {

class Reader {
 public:
  // `json` and `fault` must outlive the reader; an empty `path` is the request itself.
  Reader(const rpc::Json& json, std::string path, std::optional<Failure>& fault)
      : json_(json), path_(std::move(path)), fault_(fault) {
    if (!json_.is_object()) fail("", "must be an object");
  }

  [[nodiscard]] const rpc::Json* find(const char* key) const {
    if (!json_.is_object()) return nullptr;
    auto at = json_.find(key);
    if (at == json_.end()) at = json_.find(proto_name(key));
    return at == json_.end() || at->is_null() ? nullptr : &*at;
  }
  [[nodiscard]] bool has(const char* key) const { return find(key) != nullptr; }

  std::string text(const char* key) {
    const rpc::Json* member = find(key);
    if (member == nullptr) return "";
    if (member->is_string()) return member->get<std::string>();
    fail(key, "must be a string");
    return "";
  }
  std::string required_text(const char* key) {
    std::string value = text(key);
    if (value.empty()) fail(key, "is missing or empty");
    return value;
  }
  bool flag(const char* key) {
    const rpc::Json* member = find(key);
    if (member == nullptr) return false;
    if (!member->is_boolean()) fail(key, "must be true or false");
    return member->is_boolean() && member->get<bool>();
  }
  // A number of 32 bits, maybe as text, as ProtoJSON allows.
  std::optional<std::int64_t> number(const char* key) {
    const rpc::Json* member = find(key);
    if (member == nullptr) return std::nullopt;
    if (member->is_number_integer() && member->get<std::int64_t>() >= INT32_MIN &&
        member->get<std::int64_t>() <= INT32_MAX) {
      return member->get<std::int64_t>();
    }
    fail(key, "must be an integer of 32 bits");
    return std::nullopt;
  }
  rpc::Value object(const char* key) {
    const rpc::Json* member = find(key);
    if (member == nullptr) return {};
    if (!member->is_object()) {
      fail(key, "must be an object");
      return {};
    }
    return rpc::Value(*member);
  }
  std::vector<std::string> texts(const char* key) {
    std::vector<std::string> values;
    const rpc::Json* member = array(key);
    if (member == nullptr) return values;
    for (const rpc::Json& value : *member) {
      if (!value.is_string()) {
        fail(key, "must hold strings alone");
        return {};
      }
      values.push_back(value.get<std::string>());
    }
    return values;
  }
  const rpc::Json* array(const char* key) {
    const rpc::Json* member = find(key);
    if (member == nullptr || member->is_array()) return member;
    fail(key, "must be an array");
    return nullptr;
  }

  [[nodiscard]] std::string path(const std::string& key) const {
    if (path_.empty()) return key;
    return key.empty() ? path_ : path_ + "." + key;
  }
  // Only the first fault counts.
  void fail(const std::string& key, const std::string& what, Fault fault = Fault::invalid_params) {
    const std::string at = path(key);
    if (!fault_) fault_ = Failure{fault, (at.empty() ? "params" : at) + ": " + what, at};
  }
  std::optional<Failure>& fault() { return fault_; }

 private:
  // "task_id" for "taskId".
  static std::string proto_name(const char* key) {
    std::string name;
    for (; *key != '\0'; ++key) {
      const bool is_upper = *key >= 'A' && *key <= 'Z';
      if (is_upper) name += '_';
      name += is_upper ? static_cast<char>(*key + 32) : *key;
    }
    return name;
  }

  const rpc::Json& json_;
  std::string path_;
  std::optional<Failure>& fault_;
};

}  // namespace ambit::a2a
