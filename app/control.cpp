#include "app/control.h"

#include "async/race.h"
#include "io/file.h"

#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace ambit::app {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t order_bytes_max = 64 << 10;
constexpr std::size_t sessions_max = 100'000;  // told at once
constexpr std::size_t clients_max = 64;
constexpr Duration client_patience = std::chrono::seconds(5);
constexpr Duration stop_file_every = std::chrono::milliseconds(50);

std::string failure(const std::string& why) {
  return Json({{"error", why}}).dump();
}

std::int64_t ms_since(Instant start) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(Loop::current().now() - start)
      .count();
}

std::string text_of(const Json& order, const char* key) {
  return order.contains(key) && order[key].is_string() ? order[key].get<std::string>() : "";
}

// What a session is about to do, in a word.
std::string state_of(const agents::Roster::Entry& entry) {
  if (entry.stopping) return "stopping";
  if (entry.state.waits() != nullptr) return "waiting";
  if (entry.paused) return "paused";
  return entry.state.next_call() != nullptr ? "tool" : "model";
}

Json session_json(const agents::Roster::Entry& entry) {
  const agents::SessionState& state = entry.state;
  const agents::Usage& usage = state.usage;
  Json out = {{"session", state.id},
              {"run", entry.run},
              {"agent", entry.agent.name},
              {"state", state_of(entry)},
              {"turns", state.turns},
              {"toolCalls", state.call_count()},
              {"tokens", usage.input_tokens - usage.cached_tokens + usage.output_tokens},
              {"costMicros", state.cost_micros},
              {"movedBytes", usage.moved_bytes},
              {"energyUj", usage.energy_uj},
              {"ms", ms_since(entry.since)},
              {"depth", entry.depth}};
  if (!state.parent.empty()) out["parent"] = state.parent;
  if (const agents::ToolCall* call = state.next_call()) out["tool"] = call->name;
  if (const agents::CallRecord* call = state.waits()) out["waitsFor"] = call->asked.request;
  const agents::Budget left = entry.ledger.left(Loop::current().now());
  out["left"] = {{"turns", left.turns},
                 {"toolCalls", left.tool_calls},
                 {"tokens", left.tokens},
                 {"wallMs", left.wall_ms},
                 {"costMicros", left.money_micros}};
  return out;
}

}  // namespace

std::string control_folder(const std::string& state) {
  return state + "/control";
}

SocketFolder::SocketFolder(const std::string& path)
    : descriptor_(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)) {}

SocketFolder::~SocketFolder() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

std::string SocketFolder::address(const std::string& name) const {
  return "unix:/proc/self/fd/" + std::to_string(descriptor_) + "/" + name;
}

std::string ControlDesk::sessions(std::size_t limit) const {
  Json all = Json::array();
  std::map<std::string, std::int64_t> states;
  roster_.for_each([&](const agents::Roster::Entry& entry) {
    ++states[state_of(entry)];
    if (all.size() < limit) all.push_back(session_json(entry));
  });
  const Json out = {{"run", info_.run},          {"fleet", info_.fleet},   {"kind", info_.kind},
                    {"pid", ::getpid()},         {"live", roster_.size()}, {"states", states},
                    {"sessions", std::move(all)}};
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Task<std::string> ControlDesk::handle(std::string order, std::string by) {
  const Json said = Json::parse(order, nullptr, false);
  if (!said.is_object()) co_return failure("an order is a JSON object");
  const std::string what = text_of(said, "do");
  if (what == "ps") {
    std::size_t limit = sessions_max;
    if (said.contains("limit") && said["limit"].is_number_unsigned()) {
      limit = std::min(limit, said["limit"].get<std::size_t>());
    }
    co_return sessions(limit);
  }
  if (what == "reload") {
    if (!reload_) co_return failure("this process has no fleet file to read again");
    const auto dry = said.find("dryRun");
    const bool dry_run = dry != said.end() && dry->is_boolean() && dry->get<bool>();
    auto reloaded = co_await reload_(std::move(by), dry_run);
    if (!reloaded) co_return failure(reloaded.error().message);
    Json told = Json::parse(*reloaded, nullptr, false);
    told["do"] = what;
    told["meant"] = 1;
    told["run"] = info_.run;
    co_return told.dump();
  }
  const agents::Selector which{text_of(said, "run"), text_of(said, "agent"),
                               text_of(said, "session")};
  const std::string reason = text_of(said, "reason");
  std::size_t meant = 0;
  if (what == "stop") {
    meant = roster_.stop(which, "stopped by " + by + (reason.empty() ? "" : ": " + reason));
  } else if (what == "pause") {
    meant = roster_.pause(which);
  } else if (what == "resume") {
    meant = roster_.resume(which);
  } else {
    co_return failure("there is no order \"" + what +
                      "\"; there are: ps, stop, pause, resume, reload");
  }
  agents::Event event{"control." + what,
                      which.run.empty() ? info_.run : which.run,
                      which.session,
                      which.agent,
                      "{}",
                      {}};
  // Of the session's own story it is no part.
  event.session.clear();
  event.body = Json({{"agent", which.agent},
                     {"by", by},
                     {"meant", meant},
                     {"reason", reason},
                     {"run", which.run},
                     {"session", which.session}})
                   .dump(-1, ' ', false, Json::error_handler_t::replace);
  auto recorded = co_await journal_.append(std::move(event));
  if (!recorded) co_return failure("done, but not recorded: " + recorded.error().message);
  co_return Json({{"do", what}, {"meant", meant}, {"run", info_.run}}).dump();
}

ControlSocket::ControlSocket(io::World& world, ControlDesk& desk, std::string path,
                             std::string stop_file, std::unique_ptr<SocketFolder> folder,
                             std::unique_ptr<io::Listener> listener)
    : world_(world),
      desk_(desk),
      path_(std::move(path)),
      stop_file_(std::move(stop_file)),
      folder_(std::move(folder)),
      listener_(std::move(listener)) {
  scope_.spawn(accept());
  scope_.spawn(watch_stop_file());
}

ControlSocket::~ControlSocket() {
  scope_.cancel();
  ::unlink(path_.c_str());
}

Result<std::unique_ptr<ControlSocket>> ControlSocket::open(io::World& world, ControlDesk& desk,
                                                           const std::string& state,
                                                           const std::string& run) {
  std::string stop_file = state + "/stop";
  if (::access(stop_file.c_str(), F_OK) == 0) {
    return Err(Code::denied,
               "the file " + stop_file + " is there, so nothing is started; remove it to go on");
  }
  const std::string folder = control_folder(state);
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) {
    return Err(Code::denied, "cannot make the folder " + folder + ": " + std::strerror(errno));
  }
  std::string path = folder + "/" + run + ".sock";
  ::unlink(path.c_str());
  auto sockets = std::make_unique<SocketFolder>(folder);
  auto listener = TRY(world.network.listen(sockets->address(run + ".sock")));
  ::chmod(path.c_str(), 0600);
  return std::unique_ptr<ControlSocket>(new ControlSocket(
      world, desk, std::move(path), std::move(stop_file), std::move(sockets), std::move(listener)));
}

Task<void> ControlSocket::accept() {
  while (true) {
    auto stream = co_await listener_->accept();
    if (!stream) co_return;
    // Two tasks are always there: this one and the one that watches the file.
    if (scope_.size() < clients_max + 2) scope_.spawn(serve(std::move(*stream)));
  }
}

Task<void> ControlSocket::serve(std::unique_ptr<io::Stream> stream) {
  std::string text;
  while (true) {
    const std::size_t end = text.find('\n');
    if (end == std::string::npos) {
      if (text.size() > order_bytes_max) co_return;
      auto more = co_await with_timeout(client_patience, stream->read(order_bytes_max));
      if (!more || more->empty()) co_return;
      text += *more;
      continue;
    }
    const Json order = Json::parse(text.substr(0, end), nullptr, false);
    const std::string by = order.is_object() ? text_of(order, "by") : "";
    std::string line = text.substr(0, end);
    std::string who = by;
    if (who.empty()) who = "somebody on this machine";
    std::string answer = co_await desk_.handle(std::move(line), std::move(who));
    text.erase(0, end + 1);
    answer += "\n";
    auto sent = co_await with_timeout(client_patience, stream->write(std::move(answer)));
    if (!sent) co_return;
  }
}

Task<void> ControlSocket::watch_stop_file() {
  while (true) {
    auto there = std::make_shared<bool>(false);
    std::function<void()> look = [there, path = stop_file_] {
      *there = ::access(path.c_str(), F_OK) == 0;
    };
    co_await world_.workers.run(std::move(look));
    if (*there) {
      const std::string order = R"({"do":"stop","reason":"the file STATE/stop is there"})";
      std::string who = "the operator";
      co_await desk_.handle(order, std::move(who));
      co_return;
    }
    co_await delay(stop_file_every);
  }
}

}  // namespace ambit::app
