#include "memory/tools.h"

#include "agents/json_writer.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace ambit::memory {
namespace {

using agents::JsonWriter;
using agents::MemorySpec;
using agents::Outcome;
using agents::OutcomeKind;
using agents::Remembered;
using agents::ToolCall;
using agents::ToolSpec;
using agents::Trust;
using nlohmann::json;

// What a session reads of one result; well below what it is cut at.
constexpr std::size_t result_bytes_max = 28 << 10;
constexpr std::size_t excerpt_bytes_max = 1 << 10;
constexpr std::size_t sources_max = 8;
constexpr std::size_t entries_most = 100;
constexpr std::size_t entries_usual = 50;
constexpr std::size_t hits_most = 20;
constexpr std::size_t hits_usual = 5;

constexpr std::string_view key_schema =
    R"("key":{"type":"string","minLength":1,"maxLength":200,"description":"Its name."})";

std::string object_schema(std::string_view properties, std::string_view required) {
  return R"({"type":"object","properties":{)" + std::string(properties) + R"(},"required":[)" +
         std::string(required) + R"(],"additionalProperties":false})";
}

// Done once however often it is asked for; what was there before is gone.
ToolSpec writing(std::string name, std::string description, std::string schema) {
  ToolSpec spec;
  spec.name = std::move(name);
  spec.description = std::move(description);
  spec.input_schema = std::move(schema);
  spec.idempotent = true;
  return spec;
}

ToolSpec reading(std::string name, std::string description, std::string schema) {
  ToolSpec spec = writing(std::move(name), std::move(description), std::move(schema));
  spec.read_only = true;
  spec.destructive = false;
  return spec;
}

// At most so many bytes, whole characters.
std::string_view beginning(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  std::size_t end = bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end);
}

// What a value is to who reads it: what another person said, nobody in this session has said.
Remembered remembered(const Entry& entry, const std::string& store, const std::string& person,
                      std::size_t bytes_max) {
  Remembered value;
  value.key = entry.key;
  value.value = beginning(entry.value, bytes_max);
  value.cut = value.value.size() < entry.value.size();
  value.trust = entry.trust;
  const bool is_theirs = !person.empty() && person == entry.person;
  if (value.trust == Trust::user && !is_theirs) value.trust = Trust::unknown;
  value.sources = {"memory:" + store};
  value.sources.insert(value.sources.end(), entry.sources.begin(), entry.sources.end());
  value.tainted = entry.tainted;
  value.agent = entry.agent;
  value.session = entry.session;
  return value;
}

std::string text_of(const Remembered& value) {
  std::string text;
  append_json(text, value);
  return text;
}

std::string read_text(const std::optional<Entry>& entry, const std::string& key,
                      const std::string& store, const std::string& person) {
  std::string text;
  if (!entry) {
    JsonWriter(text)
        .begin_object()
        .key("key")
        .text(key)
        .key("found")
        .boolean(false)
        .key("tainted")
        .boolean(false)
        .end_object();
    return text;
  }
  // Escapes make a text longer; what does not fit is cut.
  std::size_t room = result_bytes_max;
  text = text_of(remembered(*entry, store, person, room));
  while (text.size() > result_bytes_max && room > 0) {
    room /= 2;
    text = text_of(remembered(*entry, store, person, room));
  }
  return text;
}

// {"entries":[...],"more":...,"tainted":...}: as many as fit.
class Entries {
 public:
  void add(const Entry& entry, const std::string& json_text) {
    more_ = more_ || text_.size() + json_text.size() > result_bytes_max;
    if (more_) return;
    text_ += (text_.empty() ? "" : ",") + json_text;
    tainted_ = tainted_ || entry.tainted;
  }
  std::string text(bool more) {
    return "{\"entries\":[" + text_ + "],\"more\":" + (more || more_ ? "true" : "false") +
           ",\"tainted\":" + (tainted_ ? "true" : "false") + "}";
  }

 private:
  std::string text_;
  bool more_ = false;
  bool tainted_ = false;
};

std::string listed_text(const Listing& listing) {
  Entries entries;
  for (const Entry& entry : listing.entries) {
    std::string one;
    JsonWriter(one)
        .begin_object()
        .key("key")
        .text(entry.key)
        .key("bytes")
        .integer(static_cast<std::int64_t>(entry.value.size()))
        .key("agent")
        .text(entry.agent)
        .key("tainted")
        .boolean(entry.tainted)
        .end_object();
    entries.add(entry, one);
  }
  return entries.text(listing.more);
}

std::string found_text(const std::vector<Hit>& hits, const std::string& store,
                       const std::string& person) {
  Entries entries;
  for (const Hit& hit : hits) {
    entries.add(hit.entry, text_of(remembered(hit.entry, store, person, excerpt_bytes_max)));
  }
  return entries.text(false);
}

std::string flag_text(const std::string& key, std::string_view name, bool value) {
  std::string text;
  JsonWriter(text).begin_object().key("key").text(key).key(name).boolean(value).end_object();
  return text;
}

std::string member(const json& object, const char* name) {
  const auto at = object.find(name);
  return at != object.end() && at->is_string() ? at->get<std::string>() : "";
}

std::size_t limit_of(const json& object, std::size_t usual, std::size_t most) {
  const auto at = object.find("limit");
  if (at == object.end() || !at->is_number_integer()) return usual;
  const auto wanted = at->get<std::int64_t>();
  return wanted < 1 ? 1 : std::min(static_cast<std::size_t>(wanted), most);
}

}  // namespace

std::vector<ToolSpec> tools_of(const MemorySpec& spec) {
  const std::string prefix = std::string(agents::memory_prefix) + spec.name + "__";
  const std::string what =
      "the memory \"" + spec.name + (spec.is_shared ? "\", which other agents share" : "\"");
  const std::string key(key_schema);
  return {reading(prefix + "get", "Read one entry of " + what + ", by its key.",
                  object_schema(key, "\"key\"")),
          reading(prefix + "list", "List the keys of " + what + ", in their order.",
                  object_schema(
                      R"("prefix":{"type":"string","description":"What they begin with."},)"
                      R"("after":{"type":"string","description":"The last key seen so far."},)"
                      R"("limit":{"type":"integer","minimum":1,"maximum":100})",
                      "")),
          reading(prefix + "search", "Find the entries of " + what + " by words in them.",
                  object_schema(R"("query":{"type":"string","minLength":1},)"
                                R"("limit":{"type":"integer","minimum":1,"maximum":20})",
                                "\"query\"")),
          writing(prefix + "put", "Keep a text in " + what + "; what has the same key goes.",
                  object_schema(key + R"(,"value":{"type":"string","description":"The text."})",
                                R"("key","value")")),
          writing(prefix + "delete", "Delete one entry of " + what + ", by its key.",
                  object_schema(key, "\"key\""))};
}

// Who calls. Of a session that the roster does not know, nothing is believed.
struct MemoryTools::Caller {
  std::string session;
  std::string run;
  std::string agent;
  std::string person;
  bool tainted = true;
  bool is_ours = false;  // it goes on after a crash, so its calls may come twice
};

// All that a worker needs of one call.
struct MemoryTools::Request {
  std::shared_ptr<Store> store;
  Space space;
  std::string operation;
  Entry entry;  // of a read: its key alone
  std::string prefix;
  std::string after;
  std::string query;
  std::size_t limit = 0;
  std::string once;
  std::string person;
  std::int64_t now_ms = 0;
  Result<std::string> answer;

  void run() {
    const std::string& store_name = space.bounds.name;
    if (operation == "get") {
      answer = store->get(space.name, entry.key, now_ms).map([&](const auto& found) {
        return read_text(found, entry.key, store_name, person);
      });
    } else if (operation == "list") {
      answer = store->list(space.name, prefix, after, limit, now_ms).map(listed_text);
    } else if (operation == "search") {
      answer = store->search(space.name, query, limit, now_ms).map([&](const auto& hits) {
        return found_text(hits, store_name, person);
      });
    } else if (operation == "put") {
      const std::string key = entry.key;
      answer = store->put(space, std::move(entry), once, now_ms).map([&](bool replaced) {
        return flag_text(key, "replaced", replaced);
      });
    } else {
      answer = store->erase(space, entry.key, once, now_ms).map([&](bool was_there) {
        return flag_text(entry.key, "deleted", was_there);
      });
    }
  }
};

MemoryTools::MemoryTools(ToolsPorts ports, std::vector<MemorySpec> specs,
                         std::shared_ptr<Store> store)
    : ports_(std::move(ports)), specs_(std::move(specs)), store_(std::move(store)) {}

Task<Result<std::vector<ToolSpec>>> MemoryTools::list() {
  std::vector<ToolSpec> all;
  for (const MemorySpec& spec : specs_) {
    for (ToolSpec& tool : tools_of(spec)) all.push_back(std::move(tool));
  }
  co_return all;
}

MemoryTools::Caller MemoryTools::caller_of(const std::string& session) const {
  Caller caller;
  caller.session = session;
  if (const agents::Roster::Entry* entry = ports_.roster.find(session)) {
    caller.run = entry->run;
    caller.agent = entry->agent.name;
    caller.person = entry->state.requester;
    caller.tainted = entry->state.tainted;
    caller.is_ours = true;
  } else if (ports_.agent_of) {
    caller.agent = ports_.agent_of(session);
  }
  return caller;
}

// What the guard knows of where the value was read. What a session that has read anything made up
// may be that in other words.
void MemoryTools::trace(Entry& entry, const Caller& caller, const ToolCall& call) const {
  agents::Action action;
  action.agent = caller.agent;
  action.session = caller.session;
  action.tool = call.name;
  action.arguments = call.arguments;
  ports_.guard.trace(action);
  const auto origin = std::find_if(action.origins.begin(), action.origins.end(),
                                   [](const auto& one) { return one.argument == "value"; });
  if (origin == action.origins.end()) return;
  entry.trust = origin->trust;
  if (entry.trust == Trust::unknown && caller.tainted) entry.trust = Trust::untrusted;
  for (const std::string& source : origin->sources) {
    if (entry.sources.size() < sources_max) entry.sources.push_back(source);
  }
}

Result<MemoryTools::Request> MemoryTools::request_of(const std::string& session,
                                                     const ToolCall& call) const {
  const agents::MemoryTool named = agents::memory_tool(call.name);
  const auto spec = std::find_if(specs_.begin(), specs_.end(),
                                 [&](const MemorySpec& one) { return one.name == named.store; });
  constexpr std::array<std::string_view, 5> operations = {"get", "list", "search", "put", "delete"};
  if (spec == specs_.end() ||
      std::find(operations.begin(), operations.end(), named.operation) == operations.end()) {
    return Err(Code::not_found, "there is no tool \"" + call.name + "\"");
  }
  const json arguments = json::parse(call.arguments, nullptr, false);
  if (!arguments.is_object()) return Err(Code::invalid, "the arguments are not a JSON object");
  const Caller caller = caller_of(session);
  if (!spec->is_shared && caller.agent.empty()) {
    return Err(Code::denied, "nobody knows which agent's memory the session " + session + " has");
  }
  Request request;
  request.store = store_;
  request.space = {spec->is_shared ? spec->name : spec->name + "/" + caller.agent, *spec};
  request.operation = named.operation;
  request.now_ms = ports_.clock.unix_ns() / 1'000'000;
  request.person = caller.person;
  request.prefix = member(arguments, "prefix");
  request.after = member(arguments, "after");
  request.query = member(arguments, "query");
  request.limit = named.operation == "search" ? limit_of(arguments, hits_usual, hits_most)
                                              : limit_of(arguments, entries_usual, entries_most);
  Entry& entry = request.entry;
  entry.key = member(arguments, "key");
  if (named.operation != "put" && named.operation != "delete") return request;
  if (caller.is_ours) request.once = caller.run + '\0' + session + '\0' + call.id;
  entry.value = member(arguments, "value");
  entry.run = caller.run;
  entry.session = session;
  entry.agent = caller.agent;
  entry.person = caller.person;
  entry.tainted = caller.tainted;
  trace(entry, caller, call);
  return request;
}

Task<Outcome> MemoryTools::call(std::string session, ToolCall call) {
  auto made = request_of(session, call);
  if (!made) {
    const bool is_bad = made.error().code == Code::invalid;
    co_return Outcome::failed(is_bad ? OutcomeKind::bad_arguments : OutcomeKind::refused,
                              std::move(made.error().message));
  }
  // A worker goes on with it when nobody waits any more.
  auto request = std::make_shared<Request>(std::move(*made));
  std::function<void()> work = [request] { request->run(); };
  co_await ports_.workers.run(std::move(work));
  Outcome outcome;
  if (request->answer) {
    outcome.content = std::move(*request->answer);
  } else {
    outcome = Outcome::failed(OutcomeKind::tool_error, std::move(request->answer.error().message));
  }
  co_return outcome;
}

}  // namespace ambit::memory
