// ambit a2a card|send|stream|get|list|cancel|subscribe URL: any A2A agent from the command line.

#include "a2a/client.h"
#include "a2a/directory.h"
#include "app/command.h"
#include "async/race.h"
#include "http/curl_client.h"
#include "io/file.h"
#include "io/uuid.h"
#include "io/uv_world.h"

#ifdef AMBIT_GRPC
#include "grpc_door/grpc_client.h"
#endif

#include <nlohmann/json.hpp>

#include <cstdio>

namespace ambit::app {
namespace {

using rpc::Json;

struct Asked {
  std::string url;
  std::string text;  // of the message, or a task's id
  a2a::ClientOptions client;
  a2a::SendRequest request;
  a2a::ListRequest list;
  std::optional<std::int64_t> history;
  bool json = false;
  bool extended = false;
  std::vector<jose::Key> trusted;
};

// What a command does with the agent; its value is the exit code.
using Work = std::function<Task<a2a::Answer<int>>(a2a::RemoteAgent&, const Asked&)>;

void print_json(const Json& json) {
  print(rpc::compact(json) + "\n");
}

std::string text_of(const std::vector<a2a::Part>& parts) {
  std::string text;
  for (const a2a::Part& part : parts) {
    switch (part.kind) {
      case a2a::Part::Kind::text:
        text += part.text;
        break;
      case a2a::Part::Kind::data:
        text += part.data.text();
        break;
      case a2a::Part::Kind::url:
        text += "[file " + part.text + "]";
        break;
      case a2a::Part::Kind::raw:
        text +=
            "[file " + part.filename + ", " + std::to_string(part.text.size() * 3 / 4) + " bytes]";
        break;
    }
  }
  return text;
}

// What came from somewhere else must not steer a terminal.
std::string printable(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    out += (byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7F ? '?' : c;
  }
  return out;
}

std::string state_name(a2a::TaskState state) {
  std::string name(a2a::to_string(state));
  name.erase(0, std::string_view("TASK_STATE_").size());
  for (char& c : name) c = c == '_' ? '-' : static_cast<char>(c + 32);
  return name;
}

void print_task(const a2a::TaskRecord& task, bool with_artifacts) {
  print("task " + printable(task.id) + "  " + state_name(task.status.state) + "  context " +
        printable(task.context_id) + "\n");
  if (task.status.message) print(printable(text_of(task.status.message->parts)) + "\n");
  if (!with_artifacts) return;
  for (const a2a::Artifact& artifact : task.artifacts) {
    print(printable(text_of(artifact.parts)) + "\n");
  }
}

int code_of(a2a::TaskState state) {
  const bool is_bad = state == a2a::TaskState::failed || state == a2a::TaskState::rejected;
  return is_bad ? 1 : 0;
}

Task<a2a::Answer<int>> do_send(a2a::RemoteAgent& agent, const Asked& asked) {
  auto reply = co_await agent.send(asked.request);
  if (!reply) co_return tl::unexpected<a2a::Failure>(reply.error());
  if (const auto* message = std::get_if<a2a::Message>(&*reply)) {
    if (asked.json) {
      print_json(a2a::to_json(*message));
    } else {
      print(printable(text_of(message->parts)) + "\n");
    }
    co_return 0;
  }
  const auto& task = std::get<a2a::TaskRecord>(*reply);
  if (asked.json) {
    print_json(a2a::to_json(task));
  } else {
    print_task(task, true);
  }
  co_return code_of(task.status.state);
}

// Prints the words as they come. After a break the whole task comes again: what is printed already
// is counted, not repeated.
class Follower {
 public:
  void show(const a2a::StreamEvent& event) {
    if (const auto* task = std::get_if<a2a::TaskRecord>(&event)) {
      state(task->status);
      std::string all;
      for (const a2a::Artifact& artifact : task->artifacts) all += text_of(artifact.parts);
      words(all.size() > printed_ ? all.substr(printed_) : "");
    } else if (const auto* message = std::get_if<a2a::Message>(&event)) {
      words(text_of(message->parts));
    } else if (const auto* status = std::get_if<a2a::StatusUpdate>(&event)) {
      state(status->status);
    } else if (const auto* chunk = std::get_if<a2a::ArtifactUpdate>(&event)) {
      // Other words in the place of those that stand there.
      if (!chunk->append && chunk->artifact.id == artifact_) {
        end_line();
        printed_ = 0;
      }
      artifact_ = chunk->artifact.id;
      words(text_of(chunk->artifact.parts));
    }
  }
  [[nodiscard]] int code() const { return code_of(state_); }
  void end_line() {
    if (!at_line_start_) print("\n");
    at_line_start_ = true;
  }

 private:
  void words(const std::string& text) {
    if (text.empty()) return;
    printed_ += text.size();
    print(printable(text));
    std::fflush(stdout);
    at_line_start_ = text.back() == '\n';
  }
  void state(const a2a::TaskStatus& status) {
    if (status.state == state_) return;
    state_ = status.state;
    end_line();
    std::fprintf(stderr, "%s%s\n", state_name(state_).c_str(),
                 status.message ? (": " + printable(text_of(status.message->parts))).c_str() : "");
  }

  a2a::TaskState state_ = a2a::TaskState::unspecified;
  std::size_t printed_ = 0;
  std::string artifact_;  // whose words came last
  bool at_line_start_ = true;
};

Task<a2a::Answer<int>> follow(std::unique_ptr<a2a::RemoteStream> stream, bool json) {
  Follower follower;
  bool is_named = false;
  while (true) {
    auto event = co_await stream->next();
    if (!event) co_return tl::unexpected<a2a::Failure>(event.error());
    if (!*event) break;
    if (json) {
      print_json(a2a::to_json(**event));
      std::fflush(stdout);
      continue;
    }
    if (!is_named && !stream->task_id().empty()) {
      std::fprintf(stderr, "task %s\n", printable(stream->task_id()).c_str());
      is_named = true;
    }
    follower.show(**event);
  }
  follower.end_line();
  co_return follower.code();
}

Task<a2a::Answer<int>> do_stream(a2a::RemoteAgent& agent, const Asked& asked) {
  auto stream = co_await agent.stream(asked.request);
  if (!stream) co_return tl::unexpected<a2a::Failure>(stream.error());
  co_return co_await follow(std::move(*stream), asked.json);
}

Task<a2a::Answer<int>> do_subscribe(a2a::RemoteAgent& agent, const Asked& asked) {
  auto stream = co_await agent.subscribe(asked.text);
  if (!stream) co_return tl::unexpected<a2a::Failure>(stream.error());
  co_return co_await follow(std::move(*stream), asked.json);
}

Task<a2a::Answer<int>> do_get(a2a::RemoteAgent& agent, const Asked& asked) {
  a2a::GetRequest request;
  request.id = asked.text;
  request.history_length = asked.history;
  auto task = co_await agent.get(std::move(request));
  if (!task) co_return tl::unexpected<a2a::Failure>(task.error());
  if (asked.json) {
    print_json(a2a::to_json(*task));
  } else {
    print_task(*task, true);
  }
  co_return 0;
}

Task<a2a::Answer<int>> do_cancel(a2a::RemoteAgent& agent, const Asked& asked) {
  auto task = co_await agent.cancel(asked.text);
  if (!task) co_return tl::unexpected<a2a::Failure>(task.error());
  if (asked.json) {
    print_json(a2a::to_json(*task));
  } else {
    print_task(*task, false);
  }
  co_return 0;
}

Task<a2a::Answer<int>> do_list(a2a::RemoteAgent& agent, const Asked& asked) {
  auto page = co_await agent.list(asked.list);
  if (!page) co_return tl::unexpected<a2a::Failure>(page.error());
  if (asked.json) {
    Json tasks = Json::array();
    for (const a2a::TaskRecord& task : page->tasks) tasks.push_back(a2a::to_json(task));
    Json json = Json::object();
    json["tasks"] = std::move(tasks);
    json["nextPageToken"] = page->next_token;
    json["totalSize"] = page->total;
    print_json(json);
    co_return 0;
  }
  for (const a2a::TaskRecord& task : page->tasks) print_task(task, false);
  print(std::to_string(page->tasks.size()) + " of " + std::to_string(page->total) + " tasks\n");
  if (!page->next_token.empty()) print("next: --page " + printable(page->next_token) + "\n");
  co_return 0;
}

void print_card(const a2a::AgentCard& card) {
  std::string text = card.name + " " + card.version + "\n" + card.description + "\n";
  for (const a2a::Interface& interface : card.interfaces) {
    text += "  " + interface.binding + " " + interface.protocol_version + "  " + interface.url +
            (interface.tenant.empty() ? "" : "  tenant " + interface.tenant) + "\n";
  }
  text += std::string("streaming ") + (card.has_streaming ? "yes" : "no") + ", push " +
          (card.has_push_notifications ? "yes" : "no") + ", needs credentials " +
          (card.needs_bearer_token ? "yes" : "no") + "\n";
  for (const a2a::Skill& skill : card.skills) {
    text += "skill " + skill.id + ": " + skill.description + "\n";
  }
  print(printable(text));
}

Task<a2a::Answer<int>> do_extended(a2a::RemoteAgent& agent, const Asked& asked) {
  auto card = co_await agent.extended_card();
  if (!card) co_return tl::unexpected<a2a::Failure>(card.error());
  if (asked.json) {
    print_json(a2a::to_json(*card, a2a::CardShape::pure));
  } else {
    print_card(*card);
  }
  co_return 0;
}

Task<a2a::Answer<int>> find_and_do(http::Client& http, Asked asked, Work work) {
  a2a::DirectoryOptions options;
  options.token = asked.client.token;
  options.trusted = asked.trusted;
  a2a::Directory directory(http, options);
  auto found = co_await directory.find(asked.url);
  if (!found) co_return tl::unexpected<a2a::Failure>(found.error());
  if (!work && !asked.extended) {
    if (asked.json) {
      print_json((*found)->json.json());
    } else {
      print_card((*found)->card);
      if (!(*found)->signed_by.empty()) print("signed by " + printable((*found)->signed_by) + "\n");
    }
    co_return 0;
  }
  auto agent = a2a::RemoteAgent::create(http, (*found)->card, (*found)->url, asked.client);
  if (!agent) co_return tl::unexpected<a2a::Failure>(agent.error());
  if (!work) work = do_extended;
  co_return co_await work(**agent, asked);
}

Task<void> finish(http::Client& http, Asked asked, Work work, a2a::Answer<int>& code) {
  code = co_await find_and_do(http, std::move(asked), std::move(work));
}

Task<void> give_up(std::int64_t seconds, a2a::Answer<int>& code) {
  co_await delay(std::chrono::seconds(seconds));
  code = a2a::Fail(a2a::Fault::unreachable,
                   "no answer within " + std::to_string(seconds) + " s; see --timeout");
}

Result<std::string> token_of(const Options& options, const Context& context) {
  const std::string file = options.text("token-file");
  if (!file.empty()) {
    std::string token = TRY(io::read_file(absolute(context, file), 64 << 10));
    while (!token.empty() && (token.back() == '\n' || token.back() == '\r' || token.back() == ' '))
      token.pop_back();
    return token;
  }
  const auto at = context.environment.find("AMBIT_TOKEN");
  return at == context.environment.end() ? std::string() : at->second;
}

Result<std::vector<jose::Key>> trusted_keys(const Options& options, const Context& context) {
  const std::string file = options.text("trust");
  if (file.empty()) return std::vector<jose::Key>();
  const std::string path = absolute(context, file);
  const auto json = rpc::Value::parse(TRY(io::read_file(path, 1 << 20)));
  if (!json) return Err(Code::invalid, path + ": " + json.error().message);
  auto keys = jose::read_jwks(json->json());
  if (!keys) return Err(std::move(keys).error().context(path));
  if (keys->empty()) return Err(Code::invalid, path + " holds no key for signatures");
  return keys;
}

int usage(const std::string& message) {
  fail(message);
  return 2;
}

int run(const Options& options, const Context& context, const Work& work, bool sends) {
  Asked asked;
  asked.url = options.positional()[0];
  if (options.positional().size() > 1) asked.text = options.positional()[1];
  asked.json = options.flag("json");
  asked.extended = options.flag("extended");
  auto token = token_of(options, context);
  if (!token) return fail(token.error());
  asked.client.token = std::move(*token);
  auto trusted = trusted_keys(options, context);
  if (!trusted) return fail(trusted.error());
  asked.trusted = std::move(*trusted);
  const auto timeout = options.integer("timeout", 600, 1, 86'400);
  const auto history = options.integer("history", -1, 0, 100'000);
  const auto page_size = options.integer("page-size", 50, 1, 100);
  for (const auto* number : {&timeout, &history, &page_size}) {
    if (!*number) return usage(number->error().message);
  }
  if (*history >= 0) asked.history = *history;
  asked.list.page_size = *page_size;
  asked.list.page_token = options.text("page");
  asked.list.context_id = options.text("context");
  if (const std::string state = options.text("status"); !state.empty()) {
    std::string name = "TASK_STATE_";
    for (const char c : state) {
      name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    }
    const auto known = a2a::to_task_state(name);
    if (!known)
      return usage("--status " + state + " is no state; for instance: working, completed");
    asked.list.status = *known;
  }
  io::UvWorld world;
  if (sends) {
    a2a::Message& message = asked.request.message;
    message.id = options.text("message-id", io::uuid_v4(world.world().entropy));
    message.role = a2a::Role::user;
    message.task_id = options.text("task");
    message.context_id = options.text("context");
    asked.request.return_immediately = options.flag("no-wait");
    asked.request.history_length = asked.history;
    if (!asked.text.empty()) message.parts.push_back(a2a::text_part(asked.text));
    if (const std::string data = options.text("data"); !data.empty()) {
      auto value = rpc::Value::parse(data);
      if (!value) return usage("--data is no JSON: " + value.error().message);
      a2a::Part part;
      part.kind = a2a::Part::Kind::data;
      part.data = std::move(*value);
      message.parts.push_back(std::move(part));
    }
    if (message.parts.empty()) return usage("what is to be sent? Give a text, or --data JSON");
  }
  a2a::Answer<int> code = 0;
  {
    http::CurlClient http(world.watcher());
#ifdef AMBIT_GRPC
    a2a::GrpcClient grpc(world.loop());
    asked.client.grpc = &grpc;
#endif
    Scope scope;
    scope.spawn([](http::Client& client, Asked what, Work how, std::int64_t seconds,
                   a2a::Answer<int>& out) -> Task<void> {
      co_await race(finish(client, std::move(what), std::move(how), out), give_up(seconds, out));
    }(http, std::move(asked), work, *timeout, code));
    world.loop().run_until([&] { return scope.size() == 0; });
  }
  return code ? *code : fail(code.error().message);
}

Command command(const std::string& name, const std::string& arguments, const std::string& summary,
                std::vector<OptionSpec> own, std::size_t least, std::size_t most, Work work,
                bool sends = false) {
  own.push_back({"token-file", "FILE", "the bearer token to send (default: $AMBIT_TOKEN)"});
  own.push_back({"trust", "FILE", "a JWK set: the card must be signed by one of its keys"});
  own.push_back({"timeout", "SECONDS", "give up after so long (default 600)"});
  own.push_back({"json", "", "print what the agent says as JSON"});
  return {"a2a " + name,
          arguments,
          summary,
          std::move(own),
          least,
          most,
          [work = std::move(work), sends](const Options& options, const Context& context) {
            return run(options, context, work, sends);
          }};
}

std::vector<OptionSpec> sending() {
  return {{"data", "JSON", "a data part, beside or instead of the text"},
          {"task", "ID", "go on with this task"},
          {"context", "ID", "in this conversation"},
          {"message-id", "ID", "the message's own id: sent again, it is not done again"},
          {"history", "N", "the last N messages of the task"}};
}

}  // namespace

std::vector<Command> a2a_commands() {
  std::vector<OptionSpec> send = sending();
  send.push_back({"no-wait", "", "do not wait for the task's end"});
  return {
      command("card", "URL", "show what an agent says about itself",
              {{"extended", "", "the card for known callers"}}, 1, 1, nullptr),
      command("send", "URL [TEXT]", "send a message and wait for what comes of it", send, 1, 2,
              do_send, true),
      command("stream", "URL [TEXT]", "send a message and print the answer as it comes", sending(),
              1, 2, do_stream, true),
      command("get", "URL TASK", "show a task", {{"history", "N", "the last N messages"}}, 2, 2,
              do_get),
      command("list", "URL", "list one's tasks, the latest first",
              {{"status", "STATE", "only those in this state"},
               {"context", "ID", "only those of this conversation"},
               {"page-size", "N", "so many (default 50)"},
               {"page", "TOKEN", "the next page"}},
              1, 1, do_list),
      command("cancel", "URL TASK", "cancel a task", {}, 2, 2, do_cancel),
      command("subscribe", "URL TASK", "print what happens to a task from now on", {}, 2, 2,
              do_subscribe),
  };
}

}  // namespace ambit::app
