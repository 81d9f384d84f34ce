// What an agent has kept whole, as resources: for the caller who asked for its sessions, and for
// nobody else.

#include "agents/artifacts.h"
#include "mcp/fleet_tools.h"
#include "runtime/agents/scripted.h"
#include "served.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ambit::mcp {
namespace {

using rpc::Json;

// Stands for a hash: 64 digits, the same for the same bytes.
std::string digest_of(std::string_view bytes) {
  std::string digits = std::to_string(std::hash<std::string_view>()(bytes));
  return std::string(64 - digits.size(), '0') + digits;
}

struct Keeper {
  io::UvWorld world;
  agents::TableGuard guard;
  agents::MemoryJournal journal;
  agents::Roster roster;
  agents::Artifacts artifacts{{journal, roster, digest_of}, {}};
  std::unique_ptr<FleetTools> tools;
  Server server{world.world().clock, world.world().entropy, options()};
  Served served{server};

  ServerOptions options() {
    ServerOptions made;
    made.page_items = 2;
    made.before_list = [this]() { return tools->refresh(); };
    return made;
  }
  explicit Keeper(std::vector<std::string> offered = {"artifact__read"}) {
    FleetToolsOptions made;
    made.run = "run";
    made.session = "mcp-clerk";
    made.agent.name = "clerk";
    made.agent.tools = std::move(offered);
    made.is_shared = true;
    agents::Ports ports{guard, journal, {}};
    ports.artifacts = &artifacts;
    tools = std::make_unique<FleetTools>(server, std::vector<agents::Toolbox*>{&artifacts}, ports,
                                         made);
    REQUIRE(run(tools->refresh()));
  }
  template <class T>
  T run(Task<T> task) {
    return run_task(world.loop(), std::move(task));
  }
  // As a session of this agent does that this person asked for; the resource's URI.
  std::string keep(const std::string& person, const std::string& bytes,
                   const std::string& agent = "clerk") {
    const auto kept =
        artifacts.keep({"task-of-" + person, "s", agent, person, "read", person}, bytes);
    REQUIRE(kept);
    return "ambit://artifact/" + digest_of(bytes);
  }
  std::unique_ptr<Client> client(EraChoice era, const std::string& person) {
    ClientOptions made;
    made.era = era;
    auto fresh = std::make_unique<Client>(served.connect(person), made);
    REQUIRE(run(fresh->connect()).has_value());
    return fresh;
  }
  std::vector<std::string> listed(Client& client) {
    const auto all = run(client.list_all("resources/list", "resources"));
    REQUIRE(all);
    std::vector<std::string> uris;
    for (const Json& one : all->json()) uris.push_back(one["uri"].get<std::string>());
    return uris;
  }
  rpc::Reply read(Client& client, const std::string& uri) {
    Value where = Json{{"uri", uri}};
    auto reply = run(client.request("resources/read", std::move(where)));
    REQUIRE(reply);
    return std::move(*reply);
  }
  std::size_t recorded(const std::string& type) const {
    return static_cast<std::size_t>(
        std::count_if(journal.events.begin(), journal.events.end(),
                      [&](const agents::Event& event) { return event.type == type; }));
  }
};

}  // namespace

TEST_CASE("a caller finds what was kept for him page by page, and reads it whole", "[mcp]") {
  for (const EraChoice era : {EraChoice::legacy, EraChoice::modern}) {
    Keeper keeper;
    const std::string text(40'000, 'x');
    const std::string bytes = std::string("\0\xff", 2) + text;
    std::vector<std::string> uris = {keeper.keep("ann", text), keeper.keep("ann", bytes)};
    for (const char* more : {"one", "two", "three"}) uris.push_back(keeper.keep("ann", more));
    std::sort(uris.begin(), uris.end());
    const auto ann = keeper.client(era, "ann");
    CHECK(keeper.listed(*ann) == uris);
    const auto templates =
        keeper.run(ann->list_all("resources/templates/list", "resourceTemplates"));
    REQUIRE(templates);
    REQUIRE(templates->json().size() == 1);
    CHECK(templates->json()[0]["uriTemplate"] == "ambit://artifact/{sha256}");

    const std::string text_uri = "ambit://artifact/" + digest_of(text);
    const rpc::Reply whole = keeper.read(*ann, text_uri);
    REQUIRE_FALSE(whole.fault);
    const Json& contents = whole.result.json()["contents"][0];
    CHECK(contents["uri"] == text_uri);
    CHECK(contents["mimeType"] == "text/plain");
    CHECK(contents["text"] == text);
    const rpc::Reply binary = keeper.read(*ann, "ambit://artifact/" + digest_of(bytes));
    REQUIRE_FALSE(binary.fault);
    CHECK(binary.result.json()["contents"][0]["mimeType"] == "application/octet-stream");
    CHECK(binary.result.json()["contents"][0]["blob"].get<std::string>().starts_with("AP94eHh4"));
    // Each was a call of artifact__read for her, and the record does not hold the bytes again.
    CHECK(keeper.recorded("action.decided") == 2);
    CHECK(keeper.guard.seen.back().on_behalf_of == "ann");
    CHECK(keeper.guard.seen.back().tool == "artifact__read");
    for (const agents::Event& event : keeper.journal.events) {
      if (event.type == "action.outcome") CHECK(event.payloads.at(0).bytes.empty());
    }
  }
}

TEST_CASE("nobody sees, reads or learns of what was kept for another", "[mcp]") {
  for (const EraChoice era : {EraChoice::legacy, EraChoice::modern}) {
    Keeper keeper;
    const std::string hers = keeper.keep("ann", "of ann");
    const std::string others = keeper.keep("ann", "of another agent of ann", "other");
    const std::string nobodys = keeper.keep("", "of nobody");
    const std::string both = keeper.keep("ann", "of both");
    keeper.keep("bob", "of both");
    const std::string none = "ambit://artifact/" + digest_of("of none");
    const auto ann = keeper.client(era, "ann");
    const auto bob = keeper.client(era, "bob");
    CHECK(keeper.listed(*bob) == std::vector<std::string>{both});
    CHECK(keeper.listed(*ann).size() == 2);
    CHECK_FALSE(keeper.read(*bob, both).fault);
    const auto unlike = [](std::string message, const std::string& uri) {
      const std::size_t at = message.find(uri);
      return at == std::string::npos ? message : message.replace(at, uri.size(), "URI");
    };
    const rpc::Reply missing = keeper.read(*bob, none);
    REQUIRE(missing.fault);
    for (const std::string& uri : {hers, others, nobodys}) {
      const rpc::Reply refused = keeper.read(*bob, uri);
      REQUIRE(refused.fault);
      CHECK(refused.fault->code == missing.fault->code);
      CHECK(unlike(refused.fault->message, uri) == unlike(missing.fault->message, none));
    }
    CHECK(keeper.read(*ann, others).fault);
    CHECK(keeper.read(*ann, "ambit://artifact/").fault);
    CHECK(keeper.read(*ann, hers + "/..").fault);
    CHECK(keeper.recorded("action.decided") == 1);  // the one that was bob's own
  }
}

TEST_CASE("what is kept is there only for who may call artifact__read", "[mcp]") {
  Keeper closed({"grep"});
  const std::string uri = closed.keep("ann", "of ann");
  const auto without = closed.client(EraChoice::modern, "ann");
  CHECK(closed.listed(*without).empty());
  CHECK(closed.read(*without, uri).fault);
  Keeper keeper;
  keeper.keep("ann", "of ann");
  keeper.guard.verdicts["artifact__read"] = agents::Verdict::deny;
  const auto ann = keeper.client(EraChoice::modern, "ann");
  const rpc::Reply denied = keeper.read(*ann, uri);
  REQUIRE(denied.fault);
  CHECK(denied.fault->message.find("denied by policy") != std::string::npos);
  CHECK(keeper.recorded("action.outcome") == 1);
}

TEST_CASE("what was erased is not given any more, whatever memory holds", "[mcp]") {
  Keeper keeper;
  const std::string uri = keeper.keep("ann", "of ann");
  const auto ann = keeper.client(EraChoice::modern, "ann");
  REQUIRE_FALSE(keeper.read(*ann, uri).fault);
  std::erase_if(keeper.journal.events,
                [](const agents::Event& event) { return event.type == agents::artifact_event; });
  CHECK(keeper.read(*ann, uri).fault);
}

}  // namespace ambit::mcp
