// Catalogues that are too large to be shown whole: what a client sees of them, and whether the
// right tool is found.

#include "io/uv_world.h"
#include "large_catalogue.h"
#include "mcp/server.h"
#include "support/run_task.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

namespace ambit::mcp {
namespace {

using rpc::Json;

std::vector<Asked> questions() {
  std::vector<Asked> all = asked_questions(TEST_DATA "/mcp/tool_questions.txt");
  REQUIRE(all.size() == 100);
  return all;
}
std::vector<Json> catalogue(std::size_t count) {
  return large_catalogue(questions(), count);
}

Task<Result<Value>> say_name(Value arguments, Call& /*call*/) {
  co_return text_result("called with " + arguments.text());
}

struct House {
  io::UvWorld world;
  Server server;
  explicit House(std::size_t tools, ServerOptions options = {})
      : server(world.world().clock, world.world().entropy, std::move(options)) {
    for (Json& one : catalogue(tools)) {
      ServerTool tool{Value(std::move(one)), say_name, {}, TaskSupport::none};
      REQUIRE(server.add(std::move(tool)).has_value());
    }
  }
  Json ask(const std::string& method, Json params) {
    struct Deaf final : Wire {
      Task<Result<void>> notify(std::string /*method*/, Value /*params*/) override {
        co_return Result<void>();
      }
      Task<Result<rpc::Reply>> ask(std::string asked, Value /*params*/) override {
        co_return Err(Code::unsupported, asked);
      }
    } deaf;
    params["_meta"][meta_version] = modern_version;
    params["_meta"][meta_client_capabilities] = Json::object();
    rpc::Request request{rpc::Id(std::int64_t{1}), method, Value(std::move(params))};
    const Answer answer =
        run_task(world.loop(), server.answer(std::move(request), nullptr, deaf, "ann"));
    if (answer.reply.fault) return Json{{"fault", answer.reply.fault->message}};
    return answer.reply.result.json();
  }
  Json call(const std::string& tool, Json arguments) {
    return ask("tools/call", Json{{"name", tool}, {"arguments", std::move(arguments)}});
  }
  static std::string text(const Json& result) { return result["content"][0]["text"]; }
};

}  // namespace

TEST_CASE("of 100 questions to 2,000 tools the right one is among the first five",
          "[mcp][search]") {
  ToolSearch search;
  for (const Json& one : catalogue(2000)) search.add(one);
  REQUIRE(search.size() == 2000);
  int first = 0;
  int in_five = 0;
  for (const Asked& asked : questions()) {
    const auto found = search.find(asked.question, 5);
    const auto at = std::find(found.begin(), found.end(), asked.tool);
    first += at == found.begin() && !found.empty() ? 1 : 0;
    in_five += at != found.end() ? 1 : 0;
    INFO(asked.question << " wants " << asked.tool);
    if (at == found.end()) std::cout << "not found: " << asked.question << "\n";
  }
  std::size_t whole = 0;
  for (const Json& one : catalogue(2000)) whole += rpc::compact(one).size();
  House house(2000);
  const std::size_t shown = rpc::compact(house.ask("tools/list", Json::object())["tools"]).size();
  std::cout << "tool search: right tool first " << first << ", in the first five " << in_five
            << " of 100; shown " << shown << " bytes of definitions in place of " << whole << "\n";
  CHECK(in_five >= 95);
  CHECK(shown * 100 < whole);
}

TEST_CASE("a large catalogue is searched, described and called through three tools",
          "[mcp][search]") {
  House house(300);
  const Json listed = house.ask("tools/list", Json::object());
  REQUIRE(listed["tools"].size() == 3);
  const Json found =
      Json::parse(House::text(house.call("search_tools", Json{{"query", "refund a payment"}})));
  REQUIRE(!found.empty());
  CHECK(found[0]["name"] == "stripe_create_refund");
  const Json described =
      Json::parse(House::text(house.call("describe_tool", Json{{"name", "stripe_create_refund"}})));
  CHECK(described["inputSchema"]["properties"].contains("id"));
  const Json arguments = {{"id", "p1"}};
  CHECK(House::text(house.call("call_tool",
                               Json{{"name", "stripe_create_refund"}, {"arguments", arguments}})) ==
        R"(called with {"id":"p1"})");
  CHECK(House::text(house.call("stripe_create_refund", arguments)) == R"(called with {"id":"p1"})");
  // What does not fit is refused by the tool's own schema.
  CHECK(house.call("call_tool", Json{{"name", "stripe_create_refund"},
                                     {"arguments", {{"id", 7}}}})["isError"] == true);
  CHECK(house.call("call_tool", Json{{"name", "nothing"}}).contains("fault"));
  CHECK(house.call("describe_tool", Json{{"name", "nothing"}})["isError"] == true);
  CHECK(house.call("search_tools", Json::object())["isError"] == true);
  CHECK(house.call("search_tools", Json{{"query", "xyzzy"}})["isError"] == true);
}

TEST_CASE("nobody finds a tool that is not theirs to see", "[mcp][search]") {
  ServerOptions options;
  options.offers = [](const std::string& /*principal*/, const std::string& tool) {
    return tool != "stripe_create_refund";
  };
  House house(300, std::move(options));
  const std::string found =
      House::text(house.call("search_tools", Json{{"query", "refund a payment"}, {"limit", 20}}));
  CHECK(found.find("stripe_create_refund") == std::string::npos);
  CHECK(house.call("describe_tool", Json{{"name", "stripe_create_refund"}})["isError"] == true);
  CHECK(house.call("call_tool", Json{{"name", "stripe_create_refund"}}).contains("fault"));
}

TEST_CASE("a catalogue of usual size is shown whole", "[mcp][search]") {
  House house(120);
  CHECK(house.ask("tools/list", Json::object())["tools"].size() == 120);
  CHECK(house.call("search_tools", Json{{"query", "refund"}}).contains("fault"));
}

TEST_CASE("words meet whatever their endings and cases", "[mcp][search]") {
  CHECK(search_words("deletingFiles") == search_words("delete a file"));
  CHECK(search_words("the and of").empty());
  ToolSearch search;
  search.add(definition("a_tool", "Renders dashboards"));
  CHECK(search.find("render dashboard", 5) == std::vector<std::string>{"a_tool"});
  search.remove("a_tool");
  CHECK(search.find("render dashboard", 5).empty());
  CHECK(search.size() == 0);
}

}  // namespace ambit::mcp
