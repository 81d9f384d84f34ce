#include "rpc/pattern.h"

#include <catch2/catch.hpp>

#include <string>
#include <vector>

namespace ambit::rpc {
namespace {

bool found(const std::string& expression, const std::string& text) {
  const auto pattern = Pattern::compile(expression);
  REQUIRE(pattern.has_value());
  return pattern->found_in(text);
}

}  // namespace

TEST_CASE("a pattern is found anywhere unless it is anchored", "[rpc]") {
  struct Row {
    const char* expression;
    const char* text;
    bool found;
  };
  const std::vector<Row> rows = {
      {"", "", true},
      {"b", "abc", true},
      {"^b", "abc", false},
      {"^abc$", "abc", true},
      {"^(foo|ba[rz])$", "baz", true},
      {"^(foo|ba[rz])$", "bax", false},
      {"^(a|b|c)d$", "cd", true},
      {"^(a|b|c)d$", "ad", true},
      {"^a*b+c?$", "bbc", true},
      {"^a*b+c?$", "ac", false},
      {"^[a-z]{2,4}$", "a", false},
      {"^[a-z]{2,4}$", "abcd", true},
      {"^[a-z]{2,4}$", "abcde", false},
      {"^[a-z]{2,}$", "abcdefgh", true},
      {"^(ab){2}$", "abab", true},
      {"^(ab){2}$", "ababab", false},
      {"^(a{1,2}){2}$", "aaa", true},
      {"^(a{1,2}){2}$", "aaaaa", false},
      {"^x{$", "x{", true},
      {"^INC-\\d{4}$", "INC-1007", true},
      {"^\\w+@\\w+\\.[a-z]+$", "me@host.org", true},
      {"^[^\\s]+$", "a b", false},
      {"^[\\d-]+$", "1-2", true},
      {"^\\S$", "\xe2\x80\x83", false},
      {"^.$", "\xc3\xa4", true},
      {"^.$", "\n", false},
      {"^\\u00e4$", "\xc3\xa4", true},
      {"^[\\u{1F600}-\\u{1F64F}]$", "\xf0\x9f\x98\x80", true},
      {"\\bweb\\b", "on web 3", true},
      {"\\bweb\\b", "cobweb", false},
      {"\\Bweb", "cobweb", true},
      {"^(?:a|(?<name>b))c$", "bc", true},
      {"^(|a)*$", "aaa", true},
      {"^a*?$", "aaa", true},
      {"(^|,)x(,|$)", "a,x", true},
  };
  for (const Row& row : rows) {
    INFO(row.expression << " in " << row.text);
    CHECK(found(row.expression, row.text) == row.found);
  }
}

TEST_CASE("what needs backtracking is refused by name, what is wrong by place", "[rpc]") {
  const auto fault = [](const char* expression) { return Pattern::compile(expression).error(); };
  CHECK(fault("^(?=a)").message == "a lookahead at character 2 is not supported");
  CHECK(fault("(?<!a)b").code == Code::unsupported);
  CHECK(fault("(a)\\1").message == "a back reference at character 4 is not supported");
  CHECK(fault("\\p{L}").code == Code::unsupported);
  CHECK(fault("(a").message == "a group that is not closed at character 2");
  CHECK(fault("a)").message == "a \")\" that closes nothing at character 1");
  CHECK(fault("[a").code == Code::invalid);
  CHECK(fault("[z-a]").code == Code::invalid);
  CHECK(fault("*a").message == "nothing to repeat at character 0");
  CHECK(fault("a{3,2}").code == Code::invalid);
  CHECK(fault("\\").code == Code::invalid);
  CHECK(fault("\\y").code == Code::invalid);
  CHECK(fault("a{5000}").code == Code::invalid);
  CHECK(fault("((a{100}){100}){100}").code == Code::exhausted);
  CHECK(fault(std::string(200, '(').c_str()).code == Code::exhausted);
}

TEST_CASE("a pattern that makes others hang takes linear time", "[rpc]") {
  CHECK_FALSE(found("^(a+)+$", std::string(20000, 'a') + "b"));
  CHECK_FALSE(found("^(a|aa|a*)*$", std::string(20000, 'a') + "b"));
}

}  // namespace ambit::rpc
