#pragma once

// What a chat template computes with: values, and the functions of texts and numbers that its
// filters, methods and tests share.

#include "inference/template_tree.h"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ambit::inference::jinja {

// A list sorts stably; std::stable_sort of GNU 12 uses what C++17 deprecates.
template <class Item, class Less>
void sort_stably(std::vector<Item>& items, Less less) {
  std::list<Item> list(std::make_move_iterator(items.begin()),
                       std::make_move_iterator(items.end()));
  list.sort(less);
  items.assign(std::make_move_iterator(list.begin()), std::make_move_iterator(list.end()));
}

// What an expression gives: a value of its own, or a reference to one that a variable holds.
class Value {
 public:
  Value() = default;
  Value(Json own) : own_(std::move(own)) {}  // NOLINT: a value is what it holds
  static Value reference(const Json& to) {
    Value value;
    value.to_ = &to;
    return value;
  }
  static Value undefined() { return Value(Json(Json::value_t::discarded)); }
  [[nodiscard]] const Json& get() const { return to_ != nullptr ? *to_ : own_; }
  [[nodiscard]] Json take() && {
    if (to_ != nullptr) return *to_;
    return std::move(own_);
  }
  [[nodiscard]] bool is_undefined() const { return get().is_discarded(); }
  [[nodiscard]] bool owns() const { return to_ == nullptr; }

 private:
  Json own_;
  const Json* to_ = nullptr;
};

bool truth(const Json& value);

// As Python's str.
std::string to_text(const Json& value);

const std::string& text_of(const Json& value);

std::string strip(std::string_view text, std::string_view characters, bool left, bool right);

std::string replaced(std::string_view text, std::string_view from, std::string_view to);

std::string cased(std::string text, bool upper);

std::string capitalized(std::string text);

std::string titled(std::string text);

// The beginning of a text, for a message.
std::string shown(std::string_view text);

// Strings count in characters, as the templates' authors expect: where each begins, and the end.
std::vector<std::uint32_t> character_starts(std::string_view text);

std::size_t length_of(const Json& value);

bool is_real(const Json& value);

struct Macro {
  const Statement* statement;
};

struct Arguments {
  std::vector<Json> plain;
  std::map<std::string, Json> named;
  [[nodiscard]] const Json* at(std::size_t index, const std::string& name) const {
    if (index < plain.size()) return &plain[index];
    const auto found = named.find(name);
    return found == named.end() ? nullptr : &found->second;
  }
};

}  // namespace ambit::inference::jinja
