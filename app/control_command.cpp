// ambit ps | top | stop | pause | resume: the sessions of every process that works on a state
// folder, by the sockets in it.

#include "app/audit_options.h"
#include "app/command.h"
#include "app/control.h"
#include "app/energy.h"
#include "async/race.h"
#include "io/uv_world.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <unistd.h>

namespace ambit::app {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t answer_bytes_max = 256 << 20;
constexpr Duration patience = std::chrono::seconds(10);

Task<Result<Json>> ask(io::World& world, std::string address, std::string order) {
  auto stream = co_await ok(world.network.connect(address));
  co_await ok(stream->write(order + "\n"));
  std::string text;
  while (text.find('\n') == std::string::npos && text.size() < answer_bytes_max) {
    const std::string more = co_await ok(stream->read(1 << 16));
    if (more.empty()) break;
    text += more;
  }
  Json answer = Json::parse(text, nullptr, false);
  if (!answer.is_object()) co_return Err(Code::closed, "no answer came");
  co_return answer;
}

Task<void> ask_into(io::World& world, std::string address, std::string order, Result<Json>& out) {
  out = co_await with_timeout(patience, ask(world, std::move(address), std::move(order)));
}

// One answer a process that lives. A socket whose process is gone is cleared away.
std::vector<Json> ask_all(const std::string& state, const Json& order) {
  io::UvWorld world;
  std::vector<std::string> paths;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(control_folder(state), none)) {
    if (entry.path().extension() == ".sock") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  const SocketFolder folder(control_folder(state));
  std::vector<Result<Json>> answers(paths.size(), Err(Code::closed, "not asked"));
  {
    Scope scope;
    for (std::size_t i = 0; i < paths.size(); ++i) {
      scope.spawn(ask_into(world.world(),
                           folder.address(std::filesystem::path(paths[i]).filename()), order.dump(),
                           answers[i]));
    }
    world.loop().run_until([&] { return scope.size() == 0; });
  }
  std::vector<Json> all;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    if (answers[i]) {
      all.push_back(std::move(*answers[i]));
    } else if (answers[i].error().code != Code::timeout) {
      std::filesystem::remove(paths[i], none);
    }
  }
  return all;
}

std::string user_of(const Context& context) {
  const auto user = context.environment.find("USER");
  return user != context.environment.end() ? user->second : "uid " + std::to_string(::getuid());
}

std::string dollars(std::int64_t micros) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4f", static_cast<double>(micros) / 1e6);
  return text;
}

std::string age(std::int64_t ms) {
  const std::int64_t seconds = ms / 1000;
  if (seconds < 60) return std::to_string(seconds) + "s";
  if (seconds < 3600)
    return std::to_string(seconds / 60) + "m" + std::to_string(seconds % 60) + "s";
  return std::to_string(seconds / 3600) + "h" + std::to_string(seconds / 60 % 60) + "m";
}

bool matches(const Options& options, const Json& session) {
  const auto is = [&](const char* key) {
    const std::string wanted = options.text(key);
    return wanted.empty() || session.value(key, "") == wanted;
  };
  return is("run") && is("agent") &&
         (options.text("in").empty() || session["state"] == options.text("in"));
}

std::string table(const std::vector<Json>& answers, const Options& options, std::size_t rows_max) {
  std::string text = padded("SESSION", 24) + padded("AGENT", 14) + padded("STATE", 10) +
                     padded("AGE", 8) + padded("TURNS", 7) + padded("CALLS", 7) +
                     padded("TOKENS", 10) + padded("COST $", 10) + "WAITS FOR\n";
  std::size_t rows = 0;
  for (const Json& answer : answers) {
    for (const Json& session : answer.value("sessions", Json::array())) {
      if (!matches(options, session)) continue;
      if (++rows > rows_max) continue;
      const auto number = [&](const char* key) {
        return std::to_string(session.value(key, std::int64_t{0}));
      };
      const std::string waits = session.value("waitsFor", session.value("tool", ""));
      text += padded(session.value("session", ""), 24) + padded(session.value("agent", ""), 14) +
              padded(session.value("state", ""), 10) +
              padded(age(session.value("ms", std::int64_t{0})), 8) + padded(number("turns"), 7) +
              padded(number("toolCalls"), 7) + padded(number("tokens"), 10) +
              padded(dollars(session.value("costMicros", std::int64_t{0})), 10) + waits + "\n";
    }
  }
  if (rows > rows_max) text += "... and " + std::to_string(rows - rows_max) + " more\n";
  return text;
}

int ps(const Options& options, const Context& context) {
  const auto limit = options.integer("limit", 1000, 1, 100'000);
  if (!limit) return fail(limit.error()), 2;
  const std::vector<Json> answers = ask_all(state_of(options, context), {{"do", "ps"}});
  if (options.flag("json")) {
    for (const Json& answer : answers) {
      for (const Json& session : answer.value("sessions", Json::array())) {
        if (matches(options, session)) print(session.dump() + "\n");
      }
    }
    return 0;
  }
  if (answers.empty()) {
    print("no fleet runs in " + state_of(options, context) + "\n");
    return 0;
  }
  print(table(answers, options, static_cast<std::size_t>(*limit)));
  return 0;
}

volatile std::sig_atomic_t interrupted = 0;

// A screenful, written again and again until Ctrl-C; once, where there is no terminal.
int top(const Options& options, const Context& context) {
  const auto every = options.integer("every", 1000, 100, 60'000);
  const auto rows = options.integer("rows", 30, 1, 10'000);
  if (!every || !rows) return fail(every ? rows.error() : every.error()), 2;
  ::signal(SIGINT, [](int) { interrupted = 1; });
  const bool again = context.terminal && !options.flag("json");
  do {
    const std::vector<Json> answers = ask_all(state_of(options, context), {{"do", "ps"}});
    std::int64_t live = 0;
    std::map<std::string, std::int64_t> states;
    std::int64_t cost = 0;
    std::int64_t tokens = 0;
    std::int64_t moved_bytes = 0;
    std::int64_t energy_uj = 0;
    for (const Json& answer : answers) {
      live += answer.value("live", std::int64_t{0});
      const Json of_answer = answer.value("states", Json::object());
      for (const auto& [name, count] : of_answer.items()) {
        states[name] += count.get<std::int64_t>();
      }
      for (const Json& session : answer.value("sessions", Json::array())) {
        cost += session.value("costMicros", std::int64_t{0});
        tokens += session.value("tokens", std::int64_t{0});
        moved_bytes += session.value("movedBytes", std::int64_t{0});
        energy_uj += session.value("energyUj", std::int64_t{0});
      }
    }
    if (options.flag("json")) {
      print(Json({{"processes", answers.size()},
                  {"live", live},
                  {"states", states},
                  {"tokens", tokens},
                  {"costMicros", cost},
                  {"movedBytes", moved_bytes},
                  {"energyUj", energy_uj}})
                .dump() +
            "\n");
      return 0;
    }
    std::string head =
        std::to_string(answers.size()) + " processes, " + std::to_string(live) + " sessions live";
    for (const auto& [name, count] : states) head += ", " + std::to_string(count) + " " + name;
    head += ", " + std::to_string(tokens) + " tokens, $" + dollars(cost);
    if (moved_bytes > 0) head += ", " + bytes_text(static_cast<double>(moved_bytes)) + " moved";
    if (energy_uj > 0) head += ", " + energy_text(static_cast<double>(energy_uj) * 1e-6);
    print((again ? "\x1b[H\x1b[J" : "") + head + "\n\n" +
          table(answers, options, static_cast<std::size_t>(*rows)));
    std::fflush(stdout);
    if (!again) return 0;
    const timespec pause{*every / 1000, (*every % 1000) * 1'000'000};
    ::nanosleep(&pause, nullptr);
  } while (interrupted == 0);
  print("\n");
  return 0;
}

int order(const Options& options, const Context& context, const std::string& what) {
  Json said = {{"do", what},
               {"run", options.text("run")},
               {"agent", options.text("agent")},
               {"session", options.positional().empty() ? "" : options.positional()[0]},
               {"reason", options.text("reason")},
               {"by", user_of(context)}};
  const bool selects = !options.positional().empty() || options.flag("run") ||
                       options.flag("agent") || options.flag("all");
  if (!selects) return fail("say which: a session, --run RUN, --agent NAME, or --all"), 2;
  const std::vector<Json> answers = ask_all(state_of(options, context), said);
  std::int64_t meant = 0;
  for (const Json& answer : answers) {
    if (answer.contains("error")) return fail(answer.value("error", ""));
    meant += answer.value("meant", std::int64_t{0});
  }
  if (options.flag("json")) {
    print(Json({{"do", what}, {"meant", meant}, {"processes", answers.size()}}).dump() + "\n");
  } else {
    print(what + ": " + std::to_string(meant) + (meant == 1 ? " session" : " sessions") + " in " +
          std::to_string(answers.size()) + (answers.size() == 1 ? " process\n" : " processes\n"));
  }
  if (answers.empty()) return fail("no fleet runs in " + state_of(options, context));
  if (meant == 0 && !options.positional().empty()) {
    return fail("no live session is called " + options.positional()[0] + " (see: ambit ps)");
  }
  return 0;
}

std::vector<OptionSpec> selection(std::vector<OptionSpec> more) {
  std::vector<OptionSpec> all = {
      state_option(), {"run", "RUN", "only this run"}, {"agent", "NAME", "only this agent"}};
  all.insert(all.end(), more.begin(), more.end());
  all.push_back({"json", "", "as JSON"});
  return all;
}

// Every process on the state folder, each with its fleet file and the policies that it names.
int reload(const Options& options, const Context& context) {
  const auto user = context.environment.find("USER");
  const Json said = {
      {"do", "reload"},
      {"dryRun", options.flag("dry-run")},
      {"by", options.text("by", user != context.environment.end() ? user->second : "")}};
  const std::vector<Json> answers = ask_all(state_of(options, context), said);
  if (answers.empty()) return fail("no fleet runs in " + state_of(options, context));
  int code = 0;
  for (const Json& answer : answers) {
    if (answer.contains("error")) {
      code = fail(answer.value("error", ""));
    } else if (options.flag("json")) {
      print(answer.dump() + "\n");
    } else {
      print("run " + answer.value("run", "") + ": " +
            std::to_string(answer.value("policies", std::int64_t{0})) + " policies, set " +
            answer.value("policySet", "") + ", fleet " + answer.value("definition", "") +
            (options.flag("dry-run") ? " (nothing was changed)" : "") + "\n");
      for (const Json& change : answer.value("changes", Json::array())) {
        if (change.is_string()) print("  " + change.get<std::string>() + "\n");
      }
    }
  }
  return code;
}

Command order_command(const std::string& name, const std::string& summary) {
  return {
      name,
      "[SESSION]",
      summary,
      selection({{"all", "", "every session"}, {"reason", "TEXT", "why; goes into the record"}}),
      0,
      1,
      [name](const Options& options, const Context& context) {
        return order(options, context, name);
      }};
}

}  // namespace

std::vector<Command> control_commands() {
  return {
      {"ps", "", "the sessions that live now, of every process on this state folder",
       selection({{"in", "STATE", "only in this state: model, tool, waiting, paused"},
                  {"limit", "N", "at most N rows (default 1000)"}}),
       0, 0, ps},
      {"top", "", "the same as a live view",
       selection({{"in", "STATE", "only in this state"},
                  {"every", "MS", "how often (default 1000)"},
                  {"rows", "N", "at most N rows (default 30)"}}),
       0, 0, top},
      {"reload",
       "",
       "read every fleet file on this state folder and its policies again, and say what changes",
       {state_option(),
        {"dry-run", "", "say it alone"},
        {"by", "NAME", "who says so (default: $USER)"},
        {"json", "", "as JSON"}},
       0,
       0,
       reload},
      order_command("stop", "end sessions now: one, those of a run or an agent, or all"),
      order_command("pause", "let sessions go no further than their next step"),
      order_command("resume", "let paused sessions go on")};
}

}  // namespace ambit::app
