#include "agents/document.h"

#include <catch2/catch.hpp>

namespace ambit::agents {

TEST_CASE("a document keeps order, kinds and places", "[agents]") {
  const auto node = parse_document(
      "// top\n{\"b\": 1, /* x */ \"a\": [true, null, 1.5, \"\\u00e9\\ud83d\\ude00\"]}\n");
  REQUIRE(node);
  REQUIRE(node->members.size() == 2);
  CHECK(node->members[0].key == "b");
  const Node* list = node->find("a");
  REQUIRE(list != nullptr);
  CHECK(list->line == 2);
  CHECK(list->column == 23);
  CHECK(list->items[3].string == "\xC3\xA9\xF0\x9F\x98\x80");
  CHECK(node->to_json() == "{\"b\":1,\"a\":[true,null,1.5,\"\xC3\xA9\xF0\x9F\x98\x80\"]}");
}

TEST_CASE("each fault of a document is named with its place", "[agents]") {
  const std::pair<const char*, const char*> cases[] = {
      {"", "line 1, column 1: expected a value but found the end of the file"},
      {"{\"a\" 1}", "line 1, column 6: expected ':' after the key \"a\" but found '1'"},
      {"{\"a\":1,}", "line 1, column 8: a comma before '}': remove it"},
      {"[1,]", "line 1, column 4: a comma before ']': remove it"},
      {"{a:1}", "line 1, column 2: expected a key in double quotes but found 'a'"},
      {"{\"a\":1 \"b\":2}", "line 1, column 8: expected ',' or '}' but found '\"b'"},
      {"[\n 01]", "line 2, column 3: expected ',' or ']' but found '1'"},
      {"\"abc", "line 1, column 1: this string is never closed: add a double quote"},
      {"\"\\x\"", "line 1, column 2: an unknown escape in a string: use \\\\ for a backslash"},
      {"\"\\ud800\"", "line 1, column 8: half a surrogate pair in a string"},
      {"/* x", "line 1, column 1: this comment is never closed: add */"},
      {"{} {}", "line 1, column 4: expected the end of the file but found '{'"},
      {"tru", "line 1, column 1: expected a value but found 'tru'"},
      {"1e999", "line 1, column 6: the number 1e999 is out of range"},
      {"{\"a\":1,\"a\":2}", "line 1, column 8: the key \"a\" is there already, in line 1"},
  };
  for (const auto& [text, message] : cases) {
    const auto node = parse_document(text);
    INFO(text);
    REQUIRE_FALSE(node);
    CHECK(node.error().message == message);
  }
}

TEST_CASE("nesting is bounded", "[agents]") {
  const auto node = parse_document(std::string(100'000, '['));
  REQUIRE_FALSE(node);
  CHECK(node.error().message == "line 1, column 66: nested deeper than 64 levels");
}

}  // namespace ambit::agents
