// ambit memory list | get | search: what agents remember, for people, with where it came from. They
// read alone: what changes a memory is an action of an agent, and on the record.

#include "app/audit_options.h"
#include "app/command.h"
#include "io/utc.h"
#include "memory/store.h"

#include <nlohmann/json.hpp>

namespace ambit::app {
namespace {

using Json = nlohmann::ordered_json;
using memory::Entry;
using memory::Store;

constexpr std::int64_t usual_most = 1000;

Result<std::unique_ptr<Store>> memories_of(const Options& options, const Context& context) {
  const std::string state = state_of(options, context);
  auto store = Store::open(state + "/memory", Store::Mode::read);
  if (store || store.error().code != Code::not_found) return store;
  return Err(Code::not_found,
             "no agent has kept anything in " + state + "; a fleet file gives agents a \"memory\"");
}

Json entry_json(const Entry& entry) {
  Json out = {{"key", entry.key},
              {"value", entry.value},
              {"trust", to_string(entry.trust)},
              {"sources", entry.sources},
              {"tainted", entry.tainted},
              {"agent", entry.agent},
              {"session", entry.session},
              {"run", entry.run},
              {"person", entry.person},
              {"written", io::utc_text(entry.written_unix_ms * 1'000'000)}};
  if (entry.expires_unix_ms > 0) {
    out["expires"] = io::utc_text(entry.expires_unix_ms * 1'000'000);
  }
  return out;
}

std::string beginning(const std::string& text, std::size_t most) {
  return text.size() > most ? text.substr(0, most) + "..." : text;
}

void print_entry(const Entry& entry, bool json) {
  if (json) {
    print(entry_json(entry).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
    return;
  }
  // Quoted: nobody knows what an agent was told to keep.
  print(padded(json_text(entry.key), 24) + " " + padded(entry.agent, 14) + " " +
        padded(std::string(to_string(entry.trust)), 10) + " " +
        json_text(beginning(entry.value, 60)) + "\n");
}

Result<int> list(const Options& options, const Context& context) {
  const auto store = TRY(memories_of(options, context));
  const bool json = options.flag("json");
  const auto limit = TRY(options.integer("limit", usual_most, 1, 1'000'000));
  if (options.positional().empty()) {
    for (const memory::SpaceFacts& space : TRY(store->spaces())) {
      const Json line = {
          {"memory", space.name}, {"entries", space.entries}, {"bytes", space.bytes}};
      print(json ? line.dump() + "\n"
                 : padded(space.name, 34) + padded(std::to_string(space.entries), 10) +
                       std::to_string(space.bytes) + "\n");
    }
    return 0;
  }
  const auto listing =
      TRY(store->list(options.positional()[0], options.text("prefix"), options.text("after"),
                      static_cast<std::size_t>(limit), now_ms()));
  for (const Entry& entry : listing.entries) print_entry(entry, json);
  if (listing.more && !json) print("... and more: --after " + listing.entries.back().key + "\n");
  return 0;
}

Result<int> get(const Options& options, const Context& context) {
  const auto store = TRY(memories_of(options, context));
  const std::string& space = options.positional()[0];
  const std::string& key = options.positional()[1];
  const auto entry = TRY(store->get(space, key, now_ms()));
  if (!entry) return Err(Code::not_found, "the memory " + space + " holds no \"" + key + "\"");
  print(entry_json(*entry).dump(options.flag("json") ? -1 : 2, ' ', false,
                                Json::error_handler_t::replace) +
        "\n");
  return 0;
}

Result<int> search(const Options& options, const Context& context) {
  const auto store = TRY(memories_of(options, context));
  const auto limit = TRY(options.integer("limit", 10, 1, 1000));
  const auto hits = TRY(store->search(options.positional()[0], options.positional()[1],
                                      static_cast<std::size_t>(limit), now_ms()));
  for (const memory::Hit& hit : hits) print_entry(hit.entry, options.flag("json"));
  return 0;
}

Command command_of(std::string name, std::string arguments, std::string summary,
                   std::vector<OptionSpec> more, std::size_t least, std::size_t most,
                   Result<int> (*run)(const Options&, const Context&)) {
  std::vector<OptionSpec> options = {state_option()};
  options.insert(options.end(), more.begin(), more.end());
  options.push_back({"json", "", "as JSON, one object a line"});
  return {
      std::move(name),
      std::move(arguments),
      std::move(summary),
      std::move(options),
      least,
      most,
      [run](const Options& given, const Context& context) { return status(run(given, context)); }};
}

}  // namespace

std::vector<Command> memory_commands() {
  return {
      command_of("memory list", "[MEMORY]", "list the memories, or what one holds",
                 {{"prefix", "TEXT", "keys that begin like this"},
                  {"after", "KEY", "keys that come after this one"},
                  {"limit", "N", "at most N entries (default 1000)"}},
                 0, 1, list),
      command_of("memory get", "MEMORY KEY", "show one entry with where it came from", {}, 2, 2,
                 get),
      command_of("memory search", "MEMORY WORDS", "find entries by words in them, the best first",
                 {{"limit", "N", "at most N entries (default 10)"}}, 2, 2, search)};
}

}  // namespace ambit::app
