#pragma once

// A JSON text with comments, read into nodes that know their place, so that a mistake can be shown
// with path, line and column. Strict otherwise: RFC 8259, no duplicate keys, no trailing commas;
// bounded in size and depth. For the files that people write (fleet files); messages on the wire
// use nlohmann::json.

#include "async/result.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ambit::agents {

struct Node {
  enum class Kind { null, boolean, integer, number, string, array, object };
  struct Member;

  Kind kind = Kind::null;
  bool boolean = false;
  std::int64_t integer = 0;  // kind integer; also the value of `number` when it is one
  double number = 0;
  std::string string;  // kind string; the literal of integer and number
  std::vector<Node> items;
  std::vector<Member> members;  // in file order
  int line = 1;
  int column = 1;
  std::shared_ptr<const std::string> file{};  // absent: the text that was read first

  [[nodiscard]] const Node* find(std::string_view key) const;
  // Compact JSON, members in file order.
  [[nodiscard]] std::string to_json() const;
};

struct Node::Member {
  std::string key;
  int line = 1;
  int column = 1;
  Node value;
};

std::string_view to_string(Node::Kind kind);

// Errors: "line 3, column 7: expected ',' or '}' but found '\"tools\"'".
Result<Node> parse_document(std::string_view text);

// A JSON string literal with its quotes.
std::string json_quoted(std::string_view text);

}  // namespace ambit::agents
