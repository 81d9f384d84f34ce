// ambit artifact list | get: what agents' tools gave and was too large for their conversations, as
// the record keeps it.

#include "agents/artifacts.h"
#include "app/audit_options.h"
#include "app/command.h"
#include "io/utc.h"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <optional>

namespace ambit::app {
namespace {

using Json = nlohmann::ordered_json;

Result<void> list_artifacts(const Options& options, const Context& context) {
  const std::string folder = TRY(journal_of(options, context));
  const auto reader = TRY(log::LogReader::open(folder));
  log::Filter filter = TRY(filter_of(options));
  filter.type = agents::artifact_event;
  const bool json = options.flag("json");
  return reader->for_each(filter, [&](const log::Leaf& leaf) {
    const auto facts = agents::artifact_of(leaf.type, leaf.body);
    if (!facts) return true;
    const Json line = {{"artifact", facts->id},
                       {"bytes", facts->bytes},
                       {"tool", facts->tool},
                       {"run", leaf.run},
                       {"session", leaf.session},
                       {"agent", leaf.agent},
                       {"time", io::utc_text(leaf.unix_ns)},
                       {"index", leaf.index}};
    print(json ? line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n"
               : padded(facts->id.substr(0, 19), 21) + padded(std::to_string(facts->bytes), 10) +
                     padded(facts->tool, 24) + leaf.session + "\n");
    return true;
  });
}

// By its id, or the beginning of it that means only one content.
Result<void> get_artifact(const Options& options, const Context& context) {
  const std::string& wanted = options.positional()[0];
  const std::string id = wanted.starts_with("sha256:") ? wanted : "sha256:" + wanted;
  const std::string folder = TRY(journal_of(options, context));
  const auto reader = TRY(log::LogReader::open(folder));
  log::Filter filter;
  filter.type = agents::artifact_event;
  std::optional<std::uint64_t> index;
  std::string found;
  bool is_one = true;
  TRY(reader->for_each(filter, [&](const log::Leaf& leaf) {
    const auto facts = agents::artifact_of(leaf.type, leaf.body);
    if (!facts || !facts->id.starts_with(id)) return true;
    is_one = is_one && (found.empty() || found == facts->id);
    found = facts->id;
    index = leaf.index;
    return true;
  }));
  if (!index) return Err(Code::not_found, "the record keeps no artifact " + id);
  if (!is_one) return Err(Code::invalid, "more than one artifact begins with " + id);
  const log::ProvenRecord record = TRY(reader->get(*index));
  for (const agents::Payload& payload : record.payloads) {
    if (payload.name != agents::artifact_payload) continue;
    if ("sha256:" + log::to_hex(log::sha256(payload.bytes)) != found) {
      std::fputs("ambit: something of it was redacted before it was recorded\n", stderr);
    }
    print(payload.bytes);
    return {};
  }
  return Err(Code::not_found,
             found + (record.expired.empty() ? ": its subject was erased" : ": it has expired"));
}

Command command_for(std::string name, std::string arguments, std::string summary,
                    std::vector<OptionSpec> options, std::size_t words,
                    Result<void> (*run)(const Options&, const Context&)) {
  return {std::move(name),
          std::move(arguments),
          std::move(summary),
          std::move(options),
          words,
          words,
          [run](const Options& given, const Context& context) {
            return read_apart([&] { return run(given, context); });
          }};
}

}  // namespace

std::vector<Command> artifact_commands() {
  return {command_for("artifact list", "", "list results that were too large for a conversation",
                      filter_options({{"json", "", "one JSON object a line"}}), 0, list_artifacts),
          command_for("artifact get", "SHA256", "print one as it was, by its name or its beginning",
                      {state_option()}, 1, get_artifact)};
}

}  // namespace ambit::app
