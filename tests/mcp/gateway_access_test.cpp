// Who sees and uses what behind a gateway: lists, calls, and everything beside them that could
// tell somebody what is not theirs to know.

#include "mcp/gateway.h"
#include "served.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace ambit::mcp {
namespace {

using rpc::Json;

Task<Result<Value>> giving(Value value) {
  co_return value;
}

// One upstream with something of each kind, and what a caller may.
struct Counter {
  io::UvWorld world;
  Server desk{world.world().clock, world.world().entropy, {}};
  Served desk_served{desk};
  std::unique_ptr<Gateway> gateway;
  Server front{world.world().clock, world.world().entropy, options()};
  Served front_served{front};
  std::map<std::string, std::set<std::string>> may;  // caller -> names
  std::vector<std::string> decided;
  std::vector<std::string> arrived;  // at the upstream

  Counter() {
    const Json schema = {{"type", "object"}};
    for (const std::string& name : {std::string("pay"), std::string("look")}) {
      ServerTool tool;
      tool.definition = Json{{"name", name}, {"inputSchema", schema}};
      tool.run = [this, name](Value arguments, Call&) {
        arrived.push_back(name + " " + arguments.text());
        return giving(text_result("did " + name));
      };
      REQUIRE(desk.add(std::move(tool)).has_value());
    }
    ServerPrompt prompt;
    prompt.definition = Json::parse(R"({"name":"greet","arguments":[{"name":"who"}]})");
    prompt.get = [this](Value, Call&) {
      arrived.emplace_back("greet");
      return giving(Json::parse(R"({"messages":[]})"));
    };
    REQUIRE(desk.add(std::move(prompt)).has_value());
    for (const char* key : {"uri", "uriTemplate"}) {
      ServerResource resource;
      const std::string uri = key == std::string("uri") ? "note://today" : "note://{day}/all";
      resource.definition = Json{{key, uri}, {"name", "notes"}};
      resource.read = [this](Value where, Call&) {
        arrived.push_back(where.json()["uri"].get<std::string>());
        return giving(Json::parse(R"({"contents":[{"uri":"note://x","text":"hi"}]})"));
      };
      REQUIRE(desk.add(std::move(resource)).has_value());
    }
    desk.set_completion([this](Value, Call&) {
      arrived.emplace_back("completion");
      return giving(Json::parse(R"({"completion":{"values":["Ann"]}})"));
    });
    GatewayOptions made;
    made.permits = [this](const std::string& caller, const std::string& name,
                          const Value& arguments) -> Result<Value> {
      decided.push_back(caller + " " + name + " " + arguments.text());
      if (arguments.json().contains("amount") && arguments.json()["amount"] > 100) {
        return Err(Code::denied, "denied: at most 100");
      }
      Value changed = arguments;
      if (changed.json().contains("iban")) changed.edit()["iban"] = "[redacted]";
      return changed;
    };
    gateway = std::make_unique<Gateway>(front, made);
    gateway->add("desk", desk_served.connector());
  }
  ServerOptions options() {
    ServerOptions made;
    made.before_list = [this]() { return gateway->refresh(); };
    made.offers = [this](const std::string& caller, const std::string& name) {
      return may[caller].contains(name);
    };
    return made;
  }
  template <class T>
  T run(Task<T> task) {
    return run_task(world.loop(), std::move(task));
  }
  std::unique_ptr<Client> client(const std::string& caller, EraChoice era) {
    ClientOptions made;
    made.era = era;
    auto fresh = std::make_unique<Client>(front_served.connect(caller), made);
    REQUIRE(run(fresh->connect()).has_value());
    return fresh;
  }
  std::size_t count(Client& client, const char* method, const char* key) {
    const auto all = run(client.list_all(method, key));
    INFO(method << ": " << (all ? "" : all.error().message));
    REQUIRE(all.has_value());
    return all->json().size();
  }
  // The fault's message, or the result.
  std::string ask(Client& client, const std::string& method, const char* params) {
    const auto reply = run(client.request(method, Value(Json::parse(params))));
    REQUIRE(reply.has_value());
    return reply->fault ? "fault: " + reply->fault->message : reply->result.text();
  }
};

const std::set<std::string> everything = {"mcp__desk__pay", "mcp__desk__look", "mcp__desk__greet",
                                          "mcp__desk__note://today", "mcp__desk__note://{day}/all"};

}  // namespace

TEST_CASE("each caller of a gateway is shown what is theirs, in lists of every kind",
          "[mcp][gateway][access]") {
  for (const EraChoice era : {EraChoice::legacy, EraChoice::modern}) {
    Counter counter;
    counter.may["ann"] = everything;
    counter.may["bob"] = {"mcp__desk__look"};
    const auto ann = counter.client("ann", era);
    const auto bob = counter.client("bob", era);
    const auto stranger = counter.client("eve", era);
    const auto counts = [&](Client& client) {
      return std::vector<std::size_t>{
          counter.count(client, "tools/list", "tools"),
          counter.count(client, "prompts/list", "prompts"),
          counter.count(client, "resources/list", "resources"),
          counter.count(client, "resources/templates/list", "resourceTemplates")};
    };
    CHECK(counts(*ann) == std::vector<std::size_t>{2, 1, 1, 1});
    CHECK(counts(*bob) == std::vector<std::size_t>{1, 0, 0, 0});
    CHECK(counts(*stranger) == std::vector<std::size_t>{0, 0, 0, 0});
  }
}

TEST_CASE("what a caller is not shown is not there, by whatever way it is asked for",
          "[mcp][gateway][access]") {
  for (const EraChoice era : {EraChoice::legacy, EraChoice::modern}) {
    Counter counter;
    counter.may["ann"] = everything;
    counter.may["bob"] = {"mcp__desk__look"};
    const auto ann = counter.client("ann", era);
    const auto bob = counter.client("bob", era);
    REQUIRE(counter.count(*ann, "tools/list", "tools") == 2);
    const std::vector<std::pair<std::string, const char*>> ways = {
        {"tools/call", R"({"name":"mcp__desk__pay","arguments":{}})"},
        {"prompts/get", R"({"name":"mcp__desk__greet","arguments":{}})"},
        {"resources/read", R"({"uri":"note://today"})"},
        {"resources/read", R"({"uri":"note://monday/all"})"},
        {"completion/complete",
         R"({"ref":{"type":"ref/prompt","name":"mcp__desk__greet"},"argument":{"name":"who","value":"A"}})"},
        {"completion/complete",
         R"({"ref":{"type":"ref/resource","uri":"note://{day}/all"},"argument":{"name":"day","value":"m"}})"}};
    for (const auto& [method, params] : ways) {
      INFO(method << " " << params);
      CHECK_THAT(counter.ask(*bob, method, params), Catch::StartsWith("fault: "));
      CHECK(counter.arrived.empty());
      CHECK(counter.decided.empty());
    }
    for (const auto& [method, params] : ways) {
      INFO(method << " " << params);
      CHECK_THAT(counter.ask(*ann, method, params), !Catch::StartsWith("fault: "));
    }
    CHECK(counter.arrived.size() == ways.size());
    if (era == EraChoice::legacy) {
      const char* note = R"({"uri":"note://today"})";
      CHECK_THAT(counter.ask(*bob, "resources/subscribe", note), Catch::StartsWith("fault: "));
      CHECK(counter.front.watched().empty());
      CHECK_THAT(counter.ask(*ann, "resources/subscribe", note), !Catch::StartsWith("fault: "));
      CHECK(counter.front.watched().size() == 1);
    }
  }
}

TEST_CASE("each call is decided with its arguments, and made with those that are left",
          "[mcp][gateway][access]") {
  Counter counter;
  counter.may["ann"] = everything;
  const auto ann = counter.client("ann", EraChoice::modern);
  REQUIRE(counter.count(*ann, "tools/list", "tools") == 2);
  const std::string much =
      counter.ask(*ann, "tools/call", R"({"name":"mcp__desk__pay","arguments":{"amount":101}})");
  CHECK_THAT(much, Catch::Contains("denied: at most 100") && Catch::Contains(R"("isError":true)"));
  CHECK(counter.arrived.empty());
  CHECK_THAT(counter.ask(*ann, "tools/call",
                         R"({"name":"mcp__desk__pay","arguments":{"amount":7,"iban":"X1"}})"),
             Catch::Contains("did pay"));
  CHECK(counter.arrived == std::vector<std::string>{R"(pay {"amount":7,"iban":"[redacted]"})"});
  CHECK_THAT(counter.ask(*ann, "resources/read", R"({"uri":"note://monday/all"})"),
             Catch::Contains("hi"));
  CHECK(counter.decided.back() ==
        R"(ann mcp__desk__note://monday/all {"uri":"note://monday/all"})");
}

}  // namespace ambit::mcp
