#include "agents/fleet.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

namespace ambit::agents {
namespace {

std::string slurp(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream out;
  out << in.rdbuf();
  return out.str();
}

FleetFile parse(const std::string& text) {
  FleetContext context;
  context.directory = "/fleet";
  context.file_exists = [](const std::string& path) { return path != "/fleet/other.gguf"; };
  context.environment = [](const std::string&) { return std::optional<std::string>(); };
  return parse_fleet(text, context);
}

}  // namespace

TEST_CASE("a sound fleet file becomes a complete fleet", "[agents]") {
  const FleetFile file = parse(slurp(TEST_DATA "/agents/sound.json"));
  REQUIRE(file.problems.empty());
  const Fleet& fleet = file.fleet;
  CHECK(fleet.name == "desk");
  CHECK(fleet.model("small")->file == "/fleet/model.gguf");
  CHECK(fleet.profile("logs")->read_paths == std::vector<std::string>{"/fleet/logs"});
  CHECK(fleet.profile("logs")->wall_ms == 5000);
  CHECK(fleet.profile("logs")->output_bytes == 16 * 1024);
  CHECK(fleet.mcp_servers.at(0).environment.at(0).second == "read");
  CHECK(fleet.tools.at(0).spec.read_only);
  CHECK(fleet.tools.at(0).spec.idempotent);
  const AgentSpec& clerk = *fleet.agent("clerk");
  CHECK(clerk.offers("search"));
  CHECK(clerk.offers("mcp__registry__lookup"));
  CHECK_FALSE(clerk.offers("delete"));
  CHECK(clerk.limits == Limits{8, 6, 4000, 30'000});
  CHECK(fleet.limits == Limits{-1, -1, 1'000'000, -1, -1, -1});
  CHECK(fleet.policies == std::vector<std::string>{"/fleet/desk.cedar"});
}

TEST_CASE("an agent is offered to callers from outside only where its a2a key says so",
          "[agents]") {
  const std::string sound = slurp(TEST_DATA "/agents/sound.json");
  const auto with = [&](const std::string& exposure) {
    std::string text = sound;
    const std::string before = "\"clerk\": {";
    const std::size_t at = text.find(before);
    REQUIRE(at != std::string::npos);
    return parse(text.insert(at + before.size(), "\"a2a\": " + exposure + ", "));
  };
  CHECK_FALSE(parse(sound).fleet.agent("clerk")->a2a);
  const FleetFile plain = with("{}");
  REQUIRE(plain.problems.empty());
  REQUIRE(plain.fleet.agent("clerk")->a2a);
  CHECK(plain.fleet.agent("clerk")->a2a->version == "1");
  const FleetFile rich = with(R"({"version": "2.1", "tags": ["desk"], "examples": ["Work it."]})");
  REQUIRE(rich.problems.empty());
  CHECK(rich.fleet.agent("clerk")->a2a->version == "2.1");
  CHECK(rich.fleet.agent("clerk")->a2a->tags == std::vector<std::string>{"desk"});
  CHECK(rich.fleet.agent("clerk")->a2a->examples == std::vector<std::string>{"Work it."});
  const FleetFile wrong = with(R"({"exampels": []})");
  REQUIRE(wrong.problems.size() == 1);
  CHECK(wrong.problems[0].path == "agents.clerk.a2a.exampels");
  CHECK(wrong.problems[0].message.find("did you mean \"examples\"?") != std::string::npos);
  CHECK(with("true").problems.size() == 1);
}

TEST_CASE("an agent's latency class is one of three, or nobody's choice", "[agents]") {
  const auto with = [](const std::string& name) {
    std::string text = slurp(TEST_DATA "/agents/sound.json");
    const std::string before = "\"clerk\": {";
    const std::size_t at = text.find(before);
    REQUIRE(at != std::string::npos);
    return parse(text.insert(at + before.size(), "\"class\": " + name + ", "));
  };
  CHECK_FALSE(parse(slurp(TEST_DATA "/agents/sound.json")).fleet.agent("clerk")->latency);
  CHECK(with("\"interactive\"").fleet.agent("clerk")->latency == LatencyClass::interactive);
  CHECK(with("\"batch\"").fleet.agent("clerk")->latency == LatencyClass::batch);
  const FleetFile wrong = with("\"bach\"");
  REQUIRE(wrong.problems.size() == 1);
  CHECK(wrong.problems[0].path == "agents.clerk.class");
  CHECK(wrong.problems[0].message.find("did you mean \"batch\"?") != std::string::npos);
}

TEST_CASE("a fleet may be written in several files, each mistake with its own", "[agents]") {
  std::map<std::string, std::string> files;
  const auto read = [&files](const std::string& text) {
    FleetContext context;
    context.directory = "/fleet";
    context.read_file = [&files](const std::string& path) -> Result<std::string> {
      const auto at = files.find(path);
      if (at == files.end()) return Err(Code::not_found, "there is no file " + path);
      return at->second;
    };
    return parse_fleet(text, context);
  };
  const std::string models = R"("models":{"m":{"provider":"embedded","model":"m.gguf"}})";
  const std::string agents = R"("agents":{"a":{"model":"m","owner":"o"}})";
  const std::string policies = R"("policies":["p.cedar"])";
  const std::string rest = R"("workflow":{"agent":"a","prompt":"go"})";
  const std::string whole = "{" + models + "," + agents + "," + policies + "," + rest + "}";
  REQUIRE(read(whole).problems.empty());

  files["/fleet/parts/models.json"] = "// ours\n{" + models + R"(,"include":["../agents.json"]})";
  files["/fleet/agents.json"] = "{" + agents + "," + policies + "}";
  const FleetFile parts = read(R"({"include":["parts/models.json"],)" + rest + "}");
  for (const Problem& problem : parts.problems) INFO(problem.file + ": " + problem.message);
  REQUIRE(parts.problems.empty());
  CHECK(parts.fleet.agent("a") != nullptr);
  // Wherever it is named, a path of the fleet is relative to the fleet file.
  CHECK(parts.fleet.model("m")->file == "/fleet/m.gguf");
  CHECK(parts.fleet.policies == std::vector<std::string>{"/fleet/p.cedar"});
  // What is kept of it needs no other file.
  files.clear();
  const FleetFile again = read(parts.fleet.source);
  CHECK(again.problems.empty());
  CHECK(again.fleet.agent("a") != nullptr);

  const auto problem_of = [&](const std::string& text) {
    const FleetFile file = read(text);
    REQUIRE(file.problems.size() == 1);
    return file.problems[0];
  };
  const std::string includes_x = R"({"include":["x.json"],)" + whole.substr(1);
  CHECK(problem_of(includes_x).message == "there is no file /fleet/x.json");
  CHECK(problem_of(includes_x).path == "include[0]");
  files["/fleet/x.json"] = "{\n \"include\": [\"y.json\"]\n}";
  files["/fleet/y.json"] = R"({"include":["./x.json"]})";
  CHECK(problem_of(includes_x).message ==
        "the includes go round: /fleet/x.json includes /fleet/y.json includes /fleet/x.json");
  CHECK(problem_of(includes_x).file == "/fleet/y.json");
  files["/fleet/y.json"] = "{\n" + agents + "}";
  const Problem twice = problem_of(includes_x);
  CHECK(twice.message == "there is one of this name already, in the fleet file, line 1");
  CHECK(twice.path == "agents.a");
  CHECK(twice.file == "/fleet/y.json");
  CHECK(twice.line == 2);
  files["/fleet/y.json"] = "{\n" + rest + "}";
  CHECK(problem_of(includes_x).path == "workflow");
  CHECK(problem_of(includes_x).file == "/fleet/y.json");
  files["/fleet/y.json"] = R"({"models":{"n":{"modle":"n.gguf"}}})";
  CHECK(read(includes_x).problems.front().file == "/fleet/y.json");
  for (int n = 0; n < 20; ++n) {
    files["/fleet/d" + std::to_string(n) + ".json"] =
        R"({"include":["d)" + std::to_string(n + 1) + R"(.json"]})";
  }
  CHECK_THAT(problem_of(R"({"include":["d0.json"],)" + whole.substr(1)).message,
             Catch::StartsWith("too many includes: at most 8 deep"));
  files["/fleet/x.json"] = "[]";
  CHECK(problem_of(includes_x).file == "/fleet/x.json");
  files["/fleet/x.json"] = "{";
  CHECK_THAT(problem_of(includes_x).message, Catch::StartsWith("/fleet/x.json: line 1"));
}

TEST_CASE("a fleet of models and policies alone is sound, and has no workflow", "[agents]") {
  const std::string models =
      R"({"models":{"m":{"provider":"embedded","model":"m.gguf"}},"policies":["p.cedar"])";
  const FleetFile alone = parse_fleet(models + "}", {});
  REQUIRE(alone.problems.empty());
  CHECK(alone.fleet.agents.empty());
  CHECK(alone.fleet.workflow.agent.empty());
  const std::string agents = R"(,"agents":{"a":{"model":"m","owner":"o"}})";
  const FleetFile idle = parse_fleet(models + agents + "}", {});
  CHECK(idle.problems.empty());
  CHECK(idle.fleet.workflow.agent.empty());
  // Whoever is to run something must be there, and so must models and policies.
  const auto problem_of = [](const std::string& text) {
    const FleetFile file = parse_fleet(text, {});
    REQUIRE(file.problems.size() == 1);
    return file.problems[0].path + ": " + file.problems[0].message;
  };
  CHECK(problem_of(models + R"(,"workflow":{"agent":"a","prompt":"go"}})") ==
        "workflow.agent: there is no agent \"a\"; none is defined");
  CHECK(problem_of(models + R"(,"workflow":{"prompt":"go"}})") ==
        "workflow: the key \"agent\" is missing");
  CHECK(problem_of(R"({"policies":["p.cedar"]})") == "(top): the key \"models\" is missing");
  CHECK(problem_of(R"({"models":{}})") == "(top): the key \"policies\" is missing");
}

TEST_CASE("the command of a tool takes values from the environment, which hold no placeholders",
          "[agents]") {
  std::string text = slurp(TEST_DATA "/agents/sound.json");
  const std::string before = "\"tools\": {";
  const std::size_t at = text.find(before);
  REQUIRE(at != std::string::npos);
  text.insert(at + before.size(), R"("look": {"description": "Looks.",
    "command": ["${BIN:-/usr/bin}/look", "${DATA}", "$${literal}", "${arguments}"]}, )");
  FleetContext context;
  context.directory = "/fleet";
  const auto found = [&](const std::string& name) -> std::optional<std::string> {
    if (name == "DATA") return "in ${arguments}";
    return std::nullopt;
  };
  context.environment = found;
  const FleetFile file = parse_fleet(text, context);
  REQUIRE(file.problems.empty());
  CHECK(file.fleet.tools.at(0).command == std::vector<std::string>{"/usr/bin/look",
                                                                   "in $${arguments}",
                                                                   "$${literal}", "${arguments}"});
  CHECK(parse(text).problems.size() == 1);
}

TEST_CASE("an MCP server over HTTP has a URL and headers, and no jail", "[agents]") {
  std::string text = slurp(TEST_DATA "/agents/sound.json");
  const std::size_t from = text.find("\"mcpServers\": ") + 14;
  const std::size_t to = text.find('\n', from);
  text.replace(from, to - from,
               R"({"registry": {"type": "http", "url": "https://example.com/${HOST:-a}/mcp",
                   "headers": {"Authorization": "Bearer ${TOKEN:-t}"}}},)");
  const FleetFile file = parse(text);
  INFO((file.problems.empty() ? "" : file.problems[0].message));
  REQUIRE(file.problems.empty());
  const McpServerSpec& server = file.fleet.mcp_servers.at(0);
  CHECK(server.url == "https://example.com/a/mcp");
  REQUIRE(server.headers.size() == 1);
  CHECK(server.headers[0] == std::pair<std::string, std::string>("Authorization", "Bearer t"));
  CHECK(server.command.empty());
}

TEST_CASE("an MCP server on a Unix socket has a path, and a user that it runs as", "[agents]") {
  std::string text = slurp(TEST_DATA "/agents/sound.json");
  const std::size_t from = text.find("\"mcpServers\": ") + 14;
  const std::size_t to = text.find('\n', from);
  text.replace(from, to - from,
               R"({"registry": {"url": "unix://${RUN:-/run}/registry.sock", "user": "mcp"},
                   "spelt": {"type": "stdio", "url": "unix:///run/a%20b.sock"}},)");
  const FleetFile file = parse(text);
  INFO((file.problems.empty() ? "" : file.problems[0].message));
  REQUIRE(file.problems.empty());
  const McpServerSpec& server = file.fleet.mcp_servers.at(0);
  CHECK(server.socket == "/run/registry.sock");
  CHECK(server.user == "mcp");
  CHECK(server.url.empty());
  CHECK(server.jail == "shared");
  CHECK(file.fleet.mcp_servers.at(1).socket == "/run/a%20b.sock");
  CHECK(socket_path("unix:///" + std::string(106, 'a')).has_value());
  for (const std::string& wrong :
       {std::string("unix:"), std::string("unix:/run/x"), std::string("unix://run/x"),
        std::string("unix:///"), std::string("http:///run/x"), "unix:///" + std::string(107, 'a'),
        std::string("unix:///a\0b", 11)}) {
    INFO(wrong);
    CHECK_FALSE(socket_path(wrong).has_value());
  }
}

TEST_CASE("a profile names its origins, its service class and whether it asks", "[agents]") {
  const std::string sound = slurp(TEST_DATA "/agents/sound.json");
  const auto with = [&](const std::string& profile) {
    std::string text = sound;
    const std::string before = "\"profiles\": {";
    const std::size_t at = text.find(before);
    REQUIRE(at != std::string::npos);
    return parse(text.insert(at + before.size(), "\"mine\": " + profile + ", "));
  };
  const FleetFile file = with(
      R"({"extends": "net", "service": "warm", "asks": true, "egress": [
          {"url": "https://api.example.com", "methods": ["GET"], "private": true},
          {"url": "https://git.example.com", "tunnel": true}]})");
  REQUIRE(file.problems.empty());
  const Profile& made = *file.fleet.profile("mine");
  CHECK(made.level == "net");
  CHECK(made.service == "warm");
  CHECK(made.asks);
  REQUIRE(made.egress.size() == 2);
  CHECK(made.egress[0].origin == "https://api.example.com");
  CHECK(made.egress[0].methods == std::vector<std::string>{"GET"});
  CHECK(made.egress[0].is_private);
  CHECK(made.egress[1].tunnel);
  const auto fault = [&](const std::string& profile) {
    const FleetFile wrong = with(profile);
    return wrong.problems.empty() ? std::string() : wrong.problems[0].message;
  };
  CHECK(fault(R"({"extends": "fs-read", "egress": []})").find("network") != std::string::npos);
  CHECK(fault(R"({"extends": "net", "egress": [{"url": "api.example.com"}]})").find("origin") !=
        std::string::npos);
  CHECK(fault(R"({"extends": "net", "egress": [{"url": "https://a.b", "tunnel": true,
                  "methods": ["GET"]}]})")
            .find("tunnel") != std::string::npos);
  CHECK(fault(R"({"extends": "net", "egress": [{"url": "https://a.b", "secrets": ["K"]}]})")
            .find("no variable K") != std::string::npos);
  CHECK(fault(R"({"service": "hot"})").find("service class") != std::string::npos);
  CHECK(fault(R"({"asks": true})").find("asks for paths") != std::string::npos);
  // Less than a full jail must be said in words, and a network needs one of its own.
  CHECK(made.isolation == "full");
  const FleetFile reduced = with(R"({"extends": "fs-read", "isolation": "reduced-if-needed"})");
  REQUIRE(reduced.problems.empty());
  CHECK(reduced.fleet.profile("mine")->isolation == "reduced-if-needed");
  CHECK(fault(R"({"isolation": "none"})").find("isolation") != std::string::npos);
  CHECK(fault(R"({"extends": "net", "isolation": "reduced-if-needed"})").find("network") !=
        std::string::npos);
}

TEST_CASE("every mistake in a fleet file gives its clear message", "[agents]") {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(TEST_DATA "/agents/mistakes")) {
    if (entry.path().extension() == ".json") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  CHECK(files.size() >= 20);
  for (const auto& path : files) {
    std::string messages;
    for (const Problem& problem : parse(slurp(path)).problems) {
      messages += std::to_string(problem.line) + ":" + std::to_string(problem.column) + ": " +
                  (problem.path.empty() ? "" : problem.path + ": ") + problem.message + "\n";
    }
    INFO(path.filename().string() << " gives\n" << messages);
    CHECK(messages == slurp(std::filesystem::path(path).replace_extension(".txt")));
  }
}

TEST_CASE("mistakes in workflows, quotas and models are found with their places", "[agents]") {
  const auto messages = [](const std::string& more, const std::string& workflow) {
    const FleetFile file = parse(R"({"models": {"m": {"model": "m.gguf"},
      "far": {"provider": "openai", "model": "x", "baseUrl": "https://api.example.com/v1"}},
      "policies": ["p.cedar"], "agents": {"a": {"model": "m"}, "b": {"model": "m")" +
                                 more + R"(}}, "workflow": )" + workflow + "}");
    std::string all;
    for (const Problem& problem : file.problems)
      all += problem.path + ": " + problem.message + "\n";
    return all;
  };
  const std::string single = R"({"agent": "a", "prompt": "x"})";
  CHECK(messages("", single).empty());
  CHECK(messages("", R"({"pattern": "sequential", "steps": ["a", "c"], "prompt": "x"})") ==
        "workflow.steps[1]: there is no agent \"c\"; there are: a, b\n");
  CHECK(messages("",
                 R"({"pattern": "parallel", "branches": ["a"], "join": "race", "prompt": "x"})") ==
        "workflow.join: needs \"then\", the agent that goes on\n");
  CHECK(messages("", R"({"pattern": "graph", "nodes": {"x": "a", "y": "b"}, "prompt": "x",
                         "edges": [{"from": "x", "to": "y"}, {"from": "y", "to": "x"}]})") ==
        "workflow: the edges form a circle through \"x\"; give the one that goes back a bound: "
        "\"times\": 3\n");
  CHECK(messages("", R"({"pattern": "graph", "nodes": {"x": "a"}, "prompt": "x",
                         "edges": [{"from": "x", "to": "z", "when": "maybe"}]})")
            .find("workflow.edges[0].to: there is no node \"z\"; there are: x\n") !=
        std::string::npos);
  CHECK(messages(R"(, "subAgents": ["c"])", single) ==
        "agents.b.subAgents[0]: there is no agent \"c\"; there are: a, b\n");
  const FleetFile far = parse(R"({"models": {"far": {"provider": "openai", "model": "x",
      "baseUrl": "https://api.example.com/v1"}}, "policies": ["p.cedar"],
      "agents": {"a": {"model": "far", "dataResidency": "local"}},
      "quotas": [{"name": "q", "per": "week", "most": 1}], "workflow": )" +
                              single + "}");
  REQUIRE(far.problems.size() == 2);
  CHECK(far.problems[0].message.find("must not leave this machine") != std::string::npos);
  CHECK(far.problems[1].path == "quotas[0].per");
}

TEST_CASE("placeholders are replaced once and unknown ones are errors", "[agents]") {
  auto value = [](std::string_view name) -> std::optional<std::string> {
    return name == "a" ? std::optional<std::string>("${b}") : std::nullopt;
  };
  CHECK(expand("x${a}y", value).value() == "x${b}y");
  CHECK(expand("$${a}", value).value() == "${a}");
  CHECK(expand("${c}", value).error().message == "nothing is known as ${c}");
  CHECK(expand("${a", value).error().message ==
        "\"${\" without \"}\"; write \"$${\" for the text itself");
}

TEST_CASE("a suggestion is near what was written, or absent", "[agents]") {
  const std::vector<std::string> known = {"tools", "model", "maxTurns"};
  CHECK(suggestion("tolls", known) == "tools");
  CHECK(suggestion("MaxTurn", known) == "maxTurns");
  CHECK_FALSE(suggestion("completely", known));
}

namespace {

// A small sound fleet, with more members at the top.
FleetFile with(const std::string& more) {
  return parse(R"({"name":"f","models":{"m":{"provider":"scripted","model":"s.json"}},
    "tools":{"pay":{"description":"d","command":["true"]}},
    "mcpServers":{"bank":{"command":"bank"}},
    "agents":{"clerk":{"model":"m","tools":["pay"],"owner":"ada","autonomyLevel":3}},
    "policies":["p.cedar"],"workflow":{"agent":"clerk","prompt":"go"},)" +
               more + "}");
}

std::string problem_of(const std::string& more) {
  const FleetFile file = with(more);
  return file.problems.empty() ? "sound" : file.problems[0].path + ": " + file.problems[0].message;
}

}  // namespace

TEST_CASE("a fleet file says what its operator knows of tools", "[agents]") {
  const FleetFile file = with(R"("toolFacts":{
    "pay":{"reversibility":"irreversible","risk":"high","effect":"message"},
    "mcp__bank__*":{"trusted":true,"trustedFields":["id"]}},"evaluateOnly":true)");
  for (const Problem& problem : file.problems) UNSCOPED_INFO(problem.path + problem.message);
  REQUIRE(file.problems.empty());
  CHECK(file.fleet.evaluate_only);
  CHECK(file.fleet.agent("clerk")->autonomy_level == 3);
  REQUIRE(file.fleet.tool_facts.size() == 2);
  CHECK(file.fleet.tool_facts[0] ==
        ToolFactsSpec{"pay", false, {}, "irreversible", "high", "message"});
  CHECK(file.fleet.tool_facts[1] ==
        ToolFactsSpec{"mcp__bank__*", true, {"id"}, "", "medium", "tool_call"});
  CHECK_THAT(problem_of(R"("toolFacts":{"payy":{}})"), Catch::Contains("did you mean \"pay\""));
  CHECK_THAT(problem_of(R"("toolFacts":{"pay":{"risk":"huge"}})"),
             Catch::StartsWith("toolFacts.pay.risk"));
  CHECK_THAT(problem_of(R"("toolFacts":{"pay":{"risky":true}})"), Catch::Contains("risky"));
}

TEST_CASE("a skill of a fleet file is a folder, and to its agents a tool", "[agents]") {
  std::string text = slurp(TEST_DATA "/agents/sound.json");
  const auto with = [&](const std::string& skills, const std::string& tool) {
    std::string made = text;
    made.insert(made.find('{') + 1, "\"skills\": " + skills + ", ");
    const std::size_t at = made.find("\"tools\": [");
    REQUIRE(at != std::string::npos);
    return parse(made.insert(at + 10, "\"" + tool + "\", "));
  };
  const FleetFile good = with(R"(["skills/refunds/"])", "skill__refunds");
  REQUIRE(good.problems.empty());
  CHECK(good.fleet.skills == std::vector<SkillSpec>{{"refunds", "/fleet/skills/refunds"}});
  CHECK(good.fleet.agent("clerk")->offers("skill__refunds"));
  CHECK(with(R"(["skills/refunds"])", "skill__refund").problems.at(0).message ==
        R"(there is no tool "skill__refund"; did you mean "skill__refunds"?)");
  CHECK(with(R"(["a/refunds", "b/refunds"])", "skill__refunds").problems.size() == 1);
  CHECK(with(R"(["."])", "skill__refunds").problems.size() == 2);
}

TEST_CASE("a memory has bounds, and its tools belong to the agents that have it", "[agents]") {
  const std::string sound = slurp(TEST_DATA "/agents/sound.json");
  const auto with = [&](const std::string& memory, const std::string& agent) {
    std::string text = sound;
    const std::string before = "\"clerk\": {";
    text.insert(text.find(before) + before.size(), agent);
    return parse(text.insert(text.find('{') + 1, "\"memory\": " + memory + ","));
  };
  const FleetFile file =
      with(R"({"notes": {"scope": "shared", "maxEntries": 7, "maxEntryBytes": "2KiB",
                         "maxBytes": "1MiB", "timeToLive": "7d"}, "own": {}})",
           R"("memory": ["notes"], "disallowedTools": ["memory__notes__delete"],)");
  for (const Problem& problem : file.problems) UNSCOPED_INFO(problem.path << problem.message);
  REQUIRE(file.problems.empty());
  CHECK(file.fleet.memories ==
        std::vector<MemorySpec>{{"notes", true, 7, 2048, 1 << 20, 7 * 86'400'000LL}, {"own"}});
  const AgentSpec& clerk = *file.fleet.agent("clerk");
  CHECK(clerk.offers("memory__notes__put"));
  CHECK_FALSE(clerk.offers("memory__notes__delete"));
  CHECK_FALSE(clerk.offers("memory__own__get"));
  AgentSpec all;
  all.tools = {"*", "mem*"};
  CHECK_FALSE(all.offers("memory__notes__get"));
  const auto problem = [&](const std::string& memory, const std::string& agent) {
    const FleetFile wrong = with(memory, agent);
    return wrong.problems.empty()
               ? ""
               : wrong.problems.front().path + ": " + wrong.problems.front().message;
  };
  CHECK(problem(R"({"notes": {}})", R"("memory": ["note"],)") ==
        "agents.clerk.memory[0]: there is no memory \"note\"; did you mean \"notes\"?");
  CHECK(problem(R"({"notes": {"maxEntry": 1}})", "").starts_with("memory.notes"));
  CHECK(problem(R"({"notes": {"scope": "all"}})", "").starts_with("memory.notes.scope: "));
  CHECK(problem(R"({"notes": {"maxEntryBytes": "25KiB"}})", "").starts_with("memory.notes.maxE"));
  CHECK(problem(R"({"a__b": {}})", "").starts_with("memory.a__b: a memory's name holds no"));
  const FleetFile tool = parse(
      std::string(sound).replace(sound.find("\"mcp__registry__*\""), 18, R"("memory__notes__*")"));
  REQUIRE_FALSE(tool.problems.empty());
  CHECK(tool.problems.front().message == R"(an agent gets a memory's tools by "memory": ["NAME"])");
}

TEST_CASE("compaction is a choice of an agent, and must leave room", "[agents]") {
  const std::string sound = slurp(TEST_DATA "/agents/sound.json");
  const auto with = [&](const std::string& compaction) {
    std::string text = sound;
    const std::string before = "\"clerk\": {";
    return parse(
        text.insert(text.find(before) + before.size(), "\"compaction\": " + compaction + ","));
  };
  CHECK_FALSE(parse(sound).fleet.agent("clerk")->compaction);
  const FleetFile usual = with("{}");
  REQUIRE(usual.problems.empty());
  CHECK(usual.fleet.agent("clerk")->compaction == CompactionSpec{});
  const FleetFile other = with(R"({"threshold": 0.5, "keep": 0.1, "maxTokens": 99,
                                   "instructions": "In three lines."})");
  REQUIRE(other.problems.empty());
  CHECK(other.fleet.agent("clerk")->compaction == CompactionSpec{0.5, 0.1, 99, "In three lines."});
  const FleetFile tight = with(R"({"threshold": 0.3, "keep": 0.25})");
  REQUIRE(tight.problems.size() == 1);
  CHECK(tight.problems[0].path == "agents.clerk.compaction");
  CHECK(tight.problems[0].message.find("window of 4096 tokens") != std::string::npos);
  CHECK(with(R"({"treshold": 0.5})").problems.at(0).message.find("did you mean") !=
        std::string::npos);
}

TEST_CASE("a fleet file says who is asked when, and who is told", "[agents]") {
  const FleetFile file = with(R"("approvals":{"expireAfter":"1h","levels":[
    {"after":"5m","people":["eve"]},{"after":"20m","people":["*"]}]})");
  REQUIRE(file.problems.empty());
  CHECK(file.fleet.approval_levels ==
        std::vector<ApprovalLevelSpec>{{300'000, {"eve"}}, {1'200'000, {"*"}}});
  CHECK_THAT(
      problem_of(R"("approvals":{"expireAfter":"5m","levels":[{"after":"5m","people":["e"]}]})"),
      Catch::Contains("before the request expires"));
  CHECK_THAT(problem_of(R"("approvals":{"levels":[{"after":"2m","people":["e"]},
                                                  {"after":"1m","people":["f"]}]})"),
             Catch::Contains("later than the level before"));
  CHECK_THAT(problem_of(R"("approvals":{"webhook":{"url":"https://h","secretEnv":"NONE"}})"),
             Catch::Contains("the environment has no variable NONE"));
}

TEST_CASE("a fleet file says what its record never gets to hold", "[agents]") {
  const FleetFile file = with(R"("record":{"redact":[
    {"of":"arguments","tool":"pay","paths":["iban"]},{"of":"*","patterns":["email"]}]})");
  REQUIRE(file.problems.empty());
  CHECK(file.fleet.redactions ==
        std::vector<RedactionSpec>{{"arguments", "pay", {"iban"}, {}}, {"*", "*", {}, {"email"}}});
  CHECK_THAT(problem_of(R"("record":{"redact":[{"of":"answers","patterns":["email"]}]})"),
             Catch::Contains("part of a record"));
  CHECK_THAT(problem_of(R"("record":{"redact":[{"of":"prompt","paths":["x"]}]})"),
             Catch::Contains("members of JSON"));
  CHECK_THAT(problem_of(R"("record":{"redact":[{"of":"prompt"}]})"), Catch::Contains("say either"));
}

}  // namespace ambit::agents
