// What a gateway carries from one era to the other beside calls: questions to a client that has to
// come back for its call, news of lists and resources, tasks of both kinds, skills.

#include "mcp/gateway.h"
#include "mcp/skill_reader.h"
#include "served.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ambit::mcp {
namespace {

using rpc::Json;

constexpr const char* form =
    R"({"message":"Who?","requestedSchema":{"type":"object","properties":{"name":{"type":"string"}}}})";
constexpr const char* note_uri = "note://today";

Task<Result<Value>> give(Value given) {
  co_return given;
}
Json definition_of(const std::string& name) {
  return {{"name", name}, {"description", "A tool"}, {"inputSchema", {{"type", "object"}}}};
}

// One upstream, the gateway, its server, and a client that answers every question.
struct Ferry {
  io::UvWorld world;
  Server desk{world.world().clock, world.world().entropy, {}};
  Served desk_served{desk};
  std::unique_ptr<Gateway> gateway;
  Server front{world.world().clock, world.world().entropy, options()};
  Served front_served{front};
  std::set<std::string> refused;  // grants
  std::vector<std::string> asked;
  std::vector<std::string> news;
  int runs = 0;

  explicit Ferry(EraChoice inside) {
    GatewayOptions made;
    made.client.era = inside;
    gateway = std::make_unique<Gateway>(front, made);
    gateway->add("desk", desk_served.connector());
  }
  ServerOptions options() {
    ServerOptions made;
    made.before_list = [this]() { return gateway->refresh(); };
    made.offers = [this](const std::string&, const std::string& name) {
      return !refused.contains(name);
    };
    return made;
  }
  void add(const std::string& name, Handler run, TaskSupport tasks = TaskSupport::none) {
    ServerTool tool{Value(definition_of(name)), std::move(run), {}, tasks};
    REQUIRE(desk.add(std::move(tool)).has_value());
  }
  void add_note() {
    ServerResource note;
    note.definition = Json{{"uri", note_uri}, {"name", "today"}};
    note.read = [](Value, Call&) {
      return give(Json::parse(R"({"contents":[{"uri":"note://today","text":"hi"}]})"));
    };
    REQUIRE(desk.add(std::move(note)).has_value());
  }
  template <class T>
  T run(Task<T> task) {
    return run_task(world.loop(), std::move(task));
  }
  void until(const std::function<bool()>& holds) {
    run([](const std::function<bool()>& done) -> Task<int> {
      for (int tries = 0; tries < 2000 && !done(); ++tries) {
        co_await delay(std::chrono::milliseconds(5));
      }
      co_return 0;
    }(holds));
    CHECK(holds());
  }
  std::unique_ptr<Client> client(EraChoice era) {
    ClientOptions made;
    made.era = era;
    made.capabilities = Json::parse(R"({"elicitation":{}})");
    made.on_input = [this](std::string method, Value) {
      asked.push_back(method);
      return give(Json::parse(R"({"action":"accept","content":{"name":"Ann"}})"));
    };
    made.on_change = [this](const std::string& method, const Value&) { news.push_back(method); };
    auto fresh = std::make_unique<Client>(front_served.connect(), made);
    REQUIRE(run(fresh->connect()).has_value());
    REQUIRE(run(fresh->list_tools()).has_value());
    return fresh;
  }
  std::string call(Client& client, const std::string& tool) {
    const auto answer = run(client.call_tool(tool, Json::object()));
    if (!answer) return answer.error().message;
    if (answer->fault) return answer->fault->message;
    return answer->result.content.at(0).text;
  }
  [[nodiscard]] bool heard(const std::string& method) const {
    return std::find(news.begin(), news.end(), method) != news.end();
  }
};

struct Asks {
  Ferry& ferry;
  Task<Result<Value>> operator()(Value, Call& call) const { return twice(ferry, call); }
  static Task<Result<Value>> twice(Ferry& ferry, Call& call) {
    ++ferry.runs;
    std::string names;
    for (const char* key : {"first", "second"}) {
      Value question = Json::parse(form);
      const Value answer = co_await ok(call.ask(key, "elicitation/create", std::move(question)));
      names += answer.json()["content"]["name"].get<std::string>() + " ";
    }
    co_return text_result(names + "have answered");
  }
};

}  // namespace

TEST_CASE("a legacy tool that asks runs once, however often its modern client comes back",
          "[mcp][gateway]") {
  Ferry ferry(EraChoice::legacy);
  ferry.add("ask", Asks{ferry});
  const auto client = ferry.client(EraChoice::modern);
  CHECK(ferry.call(*client, "mcp__desk__ask") == "Ann Ann have answered");
  CHECK(ferry.asked.size() == 2);
  CHECK(ferry.runs == 1);
}

TEST_CASE("a call that waits for answers goes to whoever made it, and to nobody else",
          "[mcp][gateway]") {
  Ferry ferry(EraChoice::legacy);
  ferry.add("ask", Asks{ferry});
  ClientOptions made;
  made.era = EraChoice::modern;
  made.capabilities = Json::parse(R"({"elicitation":{}})");
  Client client(ferry.front_served.connect(), made);
  REQUIRE(ferry.run(client.connect()).has_value());
  REQUIRE(ferry.run(client.list_tools()).has_value());
  const Json params = {{"name", "mcp__desk__ask"}, {"arguments", Json::object()}};
  const auto first = ferry.run(client.request("tools/call", Value(params)));
  REQUIRE(first.has_value());
  const Json asks = first->result.json();
  REQUIRE(asks["resultType"] == "input_required");
  Json again = params;
  again["requestState"] = asks["requestState"];
  for (const auto& [key, question] : asks["inputRequests"].items()) {
    again["inputResponses"][key] = Json::parse(R"({"action":"accept","content":{"name":"Bo"}})");
  }
  // Another call with the same state is not this one.
  Json other = again;
  other["arguments"]["more"] = true;
  const auto stolen = ferry.run(client.request("tools/call", Value(other)));
  REQUIRE(stolen.has_value());
  CHECK(stolen->fault.has_value());
  const auto second = ferry.run(client.request("tools/call", Value(again)));
  REQUIRE(second.has_value());
  REQUIRE(second->result.json()["resultType"] == "input_required");
  Json last = params;
  last["requestState"] = second->result.json()["requestState"];
  for (const auto& [key, question] : second->result.json()["inputRequests"].items()) {
    last["inputResponses"][key] = Json::parse(R"({"action":"accept","content":{"name":"Cy"}})");
  }
  const auto third = ferry.run(client.request("tools/call", Value(last)));
  REQUIRE(third.has_value());
  CHECK(third->result.json()["content"][0]["text"] == "Bo Cy have answered");
  CHECK(ferry.runs == 1);
  // It has ended: its state leads nowhere any more, and the tool is not run again.
  const auto late = ferry.run(client.request("tools/call", Value(last)));
  REQUIRE(late.has_value());
  CHECK(late->result.json().value("isError", false));
  CHECK(ferry.runs == 1);
}

TEST_CASE("what changes at an upstream is told to the clients of both eras", "[mcp][gateway]") {
  for (const EraChoice outside : {EraChoice::modern, EraChoice::legacy}) {
    for (const EraChoice inside : {EraChoice::modern, EraChoice::legacy}) {
      INFO("outside " << static_cast<int>(outside) << ", inside " << static_cast<int>(inside));
      Ferry ferry(inside);
      ferry.add("ask", Asks{ferry});
      ferry.add("leaf", Asks{ferry});
      ferry.add_note();
      const auto client = ferry.client(outside);
      Interests wanted;
      wanted.tools = true;
      wanted.uris = {note_uri};
      client->hear_of(wanted);
      ferry.until([&] { return ferry.desk.watched().contains(note_uri); });
      ferry.desk.resource_updated(note_uri);
      ferry.until([&] { return ferry.heard("notifications/resources/updated"); });
      REQUIRE(ferry.desk.remove_tool("leaf"));
      ferry.until([&] { return ferry.heard("notifications/tools/list_changed"); });
      client->hear_of({});
      ferry.until([&] { return ferry.desk.watched().empty(); });
    }
  }
}

TEST_CASE("a tool that is only called as a task is one through the gateway, in both eras",
          "[mcp][gateway]") {
  for (const EraChoice outside : {EraChoice::modern, EraChoice::legacy}) {
    for (const EraChoice inside : {EraChoice::modern, EraChoice::legacy}) {
      INFO("outside " << static_cast<int>(outside) << ", inside " << static_cast<int>(inside));
      Ferry ferry(inside);
      ferry.add("ask", Asks{ferry}, TaskSupport::required);
      const auto client = ferry.client(outside);
      CHECK(ferry.call(*client, "mcp__desk__ask") == "Ann Ann have answered");
      // A modern tool that asks before its call is a task is run anew, by its own server.
      if (inside == EraChoice::legacy) CHECK(ferry.runs == 1);
      if (outside == EraChoice::modern) continue;
      // And as a task of the gateway's own.
      int tasks = 0;
      CallOptions options;
      options.on_task = [&tasks]() { ++tasks; };
      Value params =
          Json{{"name", "mcp__desk__ask"}, {"arguments", Json::object()}, {"task", Json::object()}};
      const auto done =
          ferry.run(client->request("tools/call", std::move(params), std::move(options)));
      REQUIRE(done.has_value());
      REQUIRE_FALSE(done->fault.has_value());
      CHECK(done->result.json()["content"][0]["text"] == "Ann Ann have answered");
      CHECK(tasks == 1);
    }
  }
}

TEST_CASE("prompts are completed and templates read where they come from", "[mcp][gateway]") {
  Ferry ferry(EraChoice::automatic);
  Json prompt = {{"name", "greet"}};
  REQUIRE(
      ferry.desk
          .add(ServerPrompt{Value(std::move(prompt)),
                            [](Value, Call&) { return give(Json::parse(R"({"messages":[]})")); }})
          .has_value());
  ServerResource pages;
  pages.definition = Json{{"uriTemplate", "page://{n}"}, {"name", "pages"}};
  pages.read = [](Value where, Call&) {
    Json contents = {{"uri", where.json()["uri"]}, {"text", "a page"}};
    return give(Json{{"contents", Json::array({contents})}});
  };
  REQUIRE(ferry.desk.add(std::move(pages)).has_value());
  ferry.desk.set_completion([](Value params, Call&) {
    const std::string name = params.json()["ref"].value("name", "a template");
    return give(Json{{"completion", {{"values", Json::array({name})}}}});
  });
  const auto client = ferry.client(EraChoice::automatic);
  Value read = Json{{"uri", "page://7"}};
  const auto page = ferry.run(client->request("resources/read", std::move(read)));
  REQUIRE(page.has_value());
  CHECK(page->result.json()["contents"][0]["text"] == "a page");
  for (const auto& [about, expected] :
       {std::pair(R"({"type":"ref/prompt","name":"mcp__desk__greet"})", "greet"),
        std::pair(R"({"type":"ref/resource","uri":"page://7"})", "a template")}) {
    Value params = Json{{"ref", Json::parse(about)}, {"argument", {{"name", "n"}, {"value", ""}}}};
    const auto reply = ferry.run(client->request("completion/complete", std::move(params)));
    REQUIRE(reply.has_value());
    CHECK(reply->result.json()["completion"]["values"][0] == expected);
  }
}

namespace {

std::shared_ptr<const Skill> refunds(const std::string& more) {
  auto made =
      make_skill({{"SKILL.md", "---\nname: refunds\ndescription: How to refund\n---\n# Do\n"},
                  {"references/MORE.md", more}});
  REQUIRE(made.has_value());
  return std::make_shared<const Skill>(std::move(*made));
}

}  // namespace

TEST_CASE("an upstream's skills are offered below its name, with their digests, to who may",
          "[mcp][gateway][skills]") {
  for (const EraChoice inside : {EraChoice::modern, EraChoice::legacy}) {
    Ferry ferry(inside);
    const auto skill = refunds("more of it");
    REQUIRE(ferry.desk.add(ServerSkill{skill, {}}).has_value());
    const auto client = ferry.client(EraChoice::modern);
    // Declared from the first list on: a client that came before connects again.
    const auto knows = ferry.client(EraChoice::modern);
    SkillReader reader(*knows);
    const auto list = ferry.run(reader.list());
    REQUIRE(list.has_value());
    REQUIRE(list->skills.size() == 1);
    const SkillEntry entry = list->skills[0];
    CHECK(entry.uri == "skill://desk/refunds/SKILL.md");
    REQUIRE(entry.resources.size() == 2);
    for (std::size_t i = 0; i < 2; ++i) {
      CHECK(entry.resources[i].digest == skill->entry.resources[i].digest);
      const auto bytes = ferry.run(reader.read(entry, entry.resources[i].uri));
      REQUIRE(bytes.has_value());
      CHECK(*bytes == skill->files.at(skill->entry.resources[i].uri));
    }
    // The files are there once, and only below the server's name.
    const auto files = ferry.run(knows->list_all("resources/list", "resources"));
    REQUIRE(files.has_value());
    for (const Json& one : files->json()) {
      CHECK(one["uri"].get<std::string>().starts_with("skill://desk/refunds/"));
    }
    ferry.refused.insert("mcp__desk__skill__refunds");
    const auto none = ferry.run(reader.list());
    REQUIRE(none.has_value());
    CHECK(none->skills.empty());
    CHECK_FALSE(ferry.run(reader.get(entry.uri)).has_value());
    CHECK_FALSE(ferry.run(reader.read(entry, entry.uri)).has_value());
  }
}

TEST_CASE("a skill that has changed is withheld, and a file that is not what was said is not given",
          "[mcp][gateway][skills]") {
  Ferry ferry(EraChoice::automatic);
  REQUIRE(ferry.desk.add(ServerSkill{refunds("more of it"), {}}).has_value());
  (void)ferry.client(EraChoice::modern);
  const auto client = ferry.client(EraChoice::modern);
  SkillReader reader(*client);
  const auto list = ferry.run(reader.list());
  REQUIRE(list.has_value());
  REQUIRE(list->skills.size() == 1);
  const SkillEntry entry = list->skills[0];
  REQUIRE(ferry.desk.remove_skill("skill://refunds/SKILL.md"));
  REQUIRE(ferry.desk.add(ServerSkill{refunds("other word"), {}}).has_value());
  // Not listed again yet: the gateway holds what comes against what it has offered.
  const std::string more = "skill://desk/refunds/references/MORE.md";
  const auto changed = ferry.run(reader.read(entry, more));
  REQUIRE_FALSE(changed.has_value());
  CHECK(changed.error().message.find("another digest") != std::string::npos);
  const auto now = ferry.run(reader.list());
  REQUIRE(now.has_value());
  CHECK(now->skills.empty());
  REQUIRE(ferry.gateway->quarantined().size() == 1);
  CHECK(ferry.gateway->quarantined()[0].name == "skill:skill://desk/refunds/SKILL.md");
  REQUIRE(ferry.gateway->approve("skill:skill://desk/refunds/SKILL.md").has_value());
  const auto again = ferry.run(reader.list());
  REQUIRE(again.has_value());
  REQUIRE(again->skills.size() == 1);
  CHECK(ferry.run(reader.read(again->skills[0], more)).has_value());
}

}  // namespace ambit::mcp
