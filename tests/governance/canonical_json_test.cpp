#include "log/canonical_json.h"

#include <catch2/catch.hpp>

using ambit::log::canonical_json;

namespace {

std::string canonical(std::string_view text) {
  const auto result = canonical_json(text);
  return result ? *result : "error: " + result.error().message;
}

}  // namespace

TEST_CASE("members are sorted and blanks left out", "[canonical_json]") {
  CHECK(canonical(" { \"b\" : [ 1 , true , null ] , \"a\" : { } } ") ==
        R"({"a":{},"b":[1,true,null]})");
}

TEST_CASE("members are sorted by UTF-16 code units", "[canonical_json]") {
  // RFC 8785, section 3.2.3.
  CHECK(
      canonical(R"({"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7})") ==
      "{\"\\r\":2,\"1\":4,\"\xC2\x80\":6,\"\xC3\xB6\":7,\"\xE2\x82\xAC\":1,\"\xF0\x9F\x98\x80\":5,"
      "\"\xEF\xAC\xB3\":3}");
}

TEST_CASE("strings have the shortest escapes", "[canonical_json]") {
  CHECK(canonical(R"("\u0041\/\u000a\u001f\"\\\u007f\u00e9")") ==
        "\"A/\\n\\u001f\\\"\\\\\x7F\xC3\xA9\"");
}

TEST_CASE("numbers are written as ECMAScript writes them", "[canonical_json]") {
  // RFC 8785, appendix B, and the edges of the notations.
  CHECK(canonical("0") == "0");
  CHECK(canonical("-0.0") == "0");
  CHECK(canonical("1.0") == "1");
  CHECK(canonical("333333333.33333329") == "333333333.3333333");
  CHECK(canonical("1E30") == "1e+30");
  CHECK(canonical("4.50") == "4.5");
  CHECK(canonical("2e-3") == "0.002");
  CHECK(canonical("0.000000000000000000000000001") == "1e-27");
  CHECK(canonical("1e20") == "100000000000000000000");
  CHECK(canonical("1e21") == "1e+21");
  CHECK(canonical("0.000001") == "0.000001");
  CHECK(canonical("0.0000001") == "1e-7");
  CHECK(canonical("-1.25e-9") == "-1.25e-9");
  CHECK(canonical("5e-324") == "5e-324");
  CHECK(canonical("1.7976931348623157e308") == "1.7976931348623157e+308");
  CHECK(canonical("9007199254740991") == "9007199254740991");
  CHECK(canonical("1e19") == "10000000000000000000");
  CHECK(canonical("10000000000000000000") == "10000000000000000000");
  CHECK(canonical("-9007199254740991") == "-9007199254740991");
}

TEST_CASE("what has no one meaning is refused", "[canonical_json]") {
  CHECK_THAT(canonical("9007199254740993"), Catch::StartsWith("error: the number"));
  CHECK_THAT(canonical("-9223372036854775808"), Catch::StartsWith("error: the number"));
  CHECK_THAT(canonical(R"({"a":1,"a":2})"), Catch::Contains("given twice"));
  CHECK_THAT(canonical(R"({"a":{"b":1,"b":2}})"), Catch::Contains("given twice"));
  CHECK_THAT(canonical("{"), Catch::StartsWith("error: this is not JSON"));
  CHECK_THAT(canonical(""), Catch::StartsWith("error: this is not JSON"));
  CHECK_THAT(canonical("\"\xFF\""), Catch::StartsWith("error: this is not JSON"));
  CHECK_THAT(canonical("1e400"), Catch::StartsWith("error"));
  CHECK_THAT(canonical(std::string(80, '[') + std::string(80, ']')), Catch::Contains("64 levels"));
}

TEST_CASE("what is canonical stays as it is", "[canonical_json]") {
  const std::string once = canonical(R"({"z":[1.5,{"y":"\u00fc","x":-7}],"a":""})");
  CHECK(canonical(once) == once);
}
