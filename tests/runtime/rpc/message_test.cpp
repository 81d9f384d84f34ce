#include "rpc/message.h"

#include "rpc/binder.h"
#include "rpc/fields.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <string>

namespace ambit::rpc {
namespace {

std::string fault_of(const std::string& text) {
  const auto message = decode(text);
  return message ? "none" : message.error().message;
}

}  // namespace

TEST_CASE("the three messages survive the wire", "[rpc]") {
  const Request request{Id(std::int64_t{7}), "tools/list", Json{{"cursor", "x"}}};
  CHECK(std::get<Request>(*decode(encode(request))) == request);
  const Request named{Id(std::string("a")), "ping", {}};
  CHECK(std::get<Request>(*decode(encode(named))) == named);
  const Notification notification{"notifications/initialized", {}};
  CHECK(std::get<Notification>(*decode(encode(notification))) == notification);
  Reply reply;
  reply.id = Id(std::int64_t{7});
  reply.result = Json{{"ok", true}};
  CHECK(std::get<Reply>(*decode(encode(reply))) == reply);
  Reply fault;
  fault.id = Id(std::int64_t{8});
  fault.fault = Fault{-32022, "too new", Json{{"supported", {"a", "b", "c"}}}};
  CHECK(std::get<Reply>(*decode(encode(fault))) == fault);
}

TEST_CASE("a message that is wrong is named by its path", "[rpc]") {
  CHECK(fault_of("{") == "not JSON: wrong at byte 2");
  CHECK(fault_of("[]") == "$: a JSON-RPC batch; send one message at a time");
  CHECK(fault_of("7") == "$: must be an object");
  CHECK(fault_of(R"({"id":1,"method":"x"})") == "$.jsonrpc: must be \"2.0\"");
  CHECK(fault_of(R"({"jsonrpc":"2.0","id":1.5,"method":"x"})") ==
        "$.id: must be a string or an integer");
  CHECK(fault_of(R"({"jsonrpc":"2.0","id":null,"method":"x"})") ==
        "$.id: must be a string or an integer");
  CHECK(fault_of(R"({"jsonrpc":"2.0","id":18446744073709551615,"method":"x"})") ==
        "$.id: must be a string or an integer of 64 bits");
  CHECK(fault_of(R"({"jsonrpc":"2.0","id":1,"method":7})") == "$.method: must be a string");
  CHECK(fault_of(R"({"jsonrpc":"2.0","id":1,"method":"x","params":7})") ==
        "$.params: must be an object or an array");
  CHECK(fault_of(R"({"jsonrpc":"2.0","id":1})") == "$.result: is missing");
  CHECK(fault_of(R"({"jsonrpc":"2.0","result":1})") == "$.id: is missing");
  CHECK(fault_of(R"({"jsonrpc":"2.0","id":1,"error":{"code":"x","message":"m"}})") ==
        "$.error.code: must be an integer of 64 bits");
  CHECK(fault_of(R"({"jsonrpc":"2.0","id":1,"result":1,"error":{"code":1,"message":"m"}})") ==
        "$: holds both result and error; a reply has one of them");
  CHECK(fault_of("{\"jsonrpc\":\"2.0\",\"method\":\"\xff\"}").rfind("not JSON", 0) == 0);
}

TEST_CASE("text is bounded before anything is built from it", "[rpc]") {
  ParseLimits limits;
  limits.bytes_max = 100;
  CHECK(Value::parse(std::string(101, ' '), limits).error().code == Code::exhausted);
  limits = {};
  limits.depth_max = 3;
  CHECK(Value::parse("[[[1]]]", limits).has_value());
  CHECK(Value::parse("[[[[1]]]]", limits).error().code == Code::exhausted);
  CHECK(Value::parse(R"(["[[[[[[", "\"[[[["])", limits).has_value());
  limits.members_max = 2;
  CHECK(Value::parse(R"({"a":1,"b":{"c":1,"d":2}})", limits).has_value());
  CHECK(Value::parse(R"({"a":1,"b":2,"c":3})", limits).error().code == Code::exhausted);
  limits.values_max = 3;
  CHECK(Value::parse("[1,2,3,4,5]", limits).error().code == Code::exhausted);
}

TEST_CASE("an object keeps its order, and has one canonical text", "[rpc]") {
  const Value value = *Value::parse(R"({"path":"x","content":[1.0,2.5,-0.0],"b":{"z":1,"a":2}})");
  CHECK(value.text() == R"({"path":"x","content":[1.0,2.5,-0.0],"b":{"z":1,"a":2}})");
  CHECK(canonical(value.json()) == R"({"b":{"a":2,"z":1},"content":[1,2.5,0],"path":"x"})");
  CHECK(value == *Value::parse(R"({"b":{"a":2,"z":1},"content":[1,2.5,0],"path":"x"})"));
  CHECK_FALSE(same(Json(-1), Json(18446744073709551615ULL)));
  CHECK(utf8_prefix("a\xc3\xa4z", 2) == "a");
  CHECK(utf8_prefix("a\xc3\xa4z", 3) == "a\xc3\xa4");
}

TEST_CASE("each code has one number, and each number one code", "[rpc]") {
  for (const Code code :
       {Code::invalid, Code::denied, Code::conflict, Code::exhausted, Code::timeout, Code::closed,
        Code::unavailable, Code::unsupported, Code::internal}) {
    CHECK(to_code(to_fault_code(code)) == code);
  }
  CHECK(to_fault_code(Code::not_found) == invalid_params);
  CHECK(to_code(-32022) == Code::unsupported);
  CHECK(to_code(12345) == Code::internal);
}

}  // namespace ambit::rpc
