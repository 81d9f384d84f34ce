// ambit audit console: the review page over one record, on this machine, until a signal comes. Each
// person gets a link that logs them in once. It works in a child process, since a damaged record
// can end the process that reads it.

#include "app/audit_options.h"
#include "app/console_people.h"
#include "console/door.h"
#include "http/server.h"
#include "io/signals.h"
#include "io/uv_world.h"

#include <csignal>
#include <cstdio>
#include <filesystem>

namespace ambit::app {
namespace {

struct Wanted {
  std::string journal;
  std::string run;  // to be shown first
  std::string listen;
  std::vector<std::string> hosts;
  std::vector<console::Person> people;
  console::Access access;
  console::DeskOptions desk;
};

// STATE is a folder with a record in it; anything else is a run in the default one.
Result<void> choose(const Options& options, const Context& context, Wanted& wanted) {
  const std::string said = options.positional().empty() ? "" : options.positional()[0];
  std::string state = absolute(context, options.text("state", ".ambit"));
  std::error_code unreadable;
  const std::string as_state = absolute(context, said);
  if (!said.empty() && std::filesystem::exists(as_state + "/journal/data.mdb", unreadable)) {
    state = as_state;
  } else {
    wanted.run = said;
  }
  wanted.journal = state + "/journal";
  if (!std::filesystem::exists(wanted.journal + "/data.mdb", unreadable)) {
    return Err(Code::not_found, "there is no record in " + state +
                                    " (ambit run writes one; name its folder, or --state)");
  }
  wanted.desk.folder = wanted.journal;
  const std::string approvers = options.flag("approvers")
                                    ? absolute(context, options.text("approvers"))
                                    : state + "/approvers";
  if (std::filesystem::exists(approvers, unreadable)) {
    wanted.desk.approvals = state + "/approvals";
    wanted.desk.approvers = approvers;
  } else if (options.flag("approvers")) {
    return Err(Code::not_found, "there is no file " + approvers);
  }
  if (options.flag("policy-file")) {
    wanted.desk.policies = {absolute(context, options.text("policy-file"))};
  }
  return {};
}

Task<void> serve(io::UvWorld& world, const Wanted& wanted, console::Door& door,
                 io::Signals& signals, Result<void>& result) {
  http::ServerOptions options;
  options.address = wanted.listen;
  options.hosts = wanted.hosts;
  auto server =
      http::Server::listen(world.world(), std::move(options),
                           [&door](http::Exchange& exchange) { return door.handle(exchange); });
  if (!server) {
    result = Err(std::move(server).error());
    co_return;
  }
  const std::string url = "http://" + (*server)->address();
  const std::string place = wanted.run.empty() ? "" : "#/run/" + wanted.run;
  std::size_t width = 0;
  for (const console::Person& person : wanted.people) width = std::max(width, person.name.size());
  for (const console::Person& person : wanted.people) {
    print(padded(person.name, width + 2) + padded(std::string(to_string(person.role)), 10) + url +
          door.make_link(person) + place + "\n");
  }
  if (wanted.people.empty()) print(url + "/console/" + place + "\n");
  print("Each link logs in once, within 15 minutes. Stop with Ctrl-C.\n");
  std::fflush(stdout);
  co_await signals.next();
  co_await (*server)->drain(std::chrono::seconds(1));
  result = co_await door.close();
}

Result<void> run_console(Wanted& wanted) {
  io::UvWorld world;
  wanted.desk.unix_ns = [&world] { return world.world().clock.unix_ns(); };
  wanted.desk.random = [&world](std::span<std::uint8_t> bytes) {
    world.world().entropy.fill(bytes);
  };
  auto desk = TRY(console::Desk::open(wanted.desk));
  auto signals = TRY(world.signals({SIGINT, SIGTERM}));
  Result<void> result;
  {
    console::Door door(world.world(), std::move(desk), std::move(wanted.access), nullptr);
    Scope scope;
    scope.spawn(serve(world, wanted, door, *signals, result));
    world.loop().run_until([&] { return scope.size() == 0; });
  }
  return result;
}

int show_console(const Options& options, const Context& context) {
  Wanted wanted;
  wanted.listen = options.text("listen", "127.0.0.1:8090");
  const std::string hosts = options.text("hosts");
  for (std::size_t at = 0; at < hosts.size();) {
    const std::size_t end = std::min(hosts.find(',', at), hosts.size());
    if (end > at) wanted.hosts.push_back(hosts.substr(at, end - at));
    at = end + 1;
  }
  const auto user = context.environment.find("USER");
  const std::string name =
      user != context.environment.end() && !user->second.empty() ? user->second : "reviewer";
  if (options.flag("tokens")) {
    const auto read = read_console_tokens(absolute(context, options.text("tokens")), wanted.access);
    if (!read) return fail(read.error());
  }
  if (options.flag("people") || !options.flag("tokens")) {
    auto people = parse_people(options.text("people", name + ":reviewer"));
    if (!people) return fail(people.error());
    wanted.people = std::move(*people);
  }
  const auto chosen = choose(options, context, wanted);
  if (!chosen) return fail(chosen.error());
  return read_apart([&wanted] { return run_console(wanted); });
}

}  // namespace

Command audit_console_command() {
  return {"audit console",
          "[RUN|STATE]",
          "review a record in the browser: timelines, proofs, approvals, sampling, sign-off",
          {{"people", "LIST", "who gets a link, such as ann:reviewer,olga:owner (default: you)"},
           {"tokens", "FILE", "who may log in by a token: a line is \"TOKEN NAME ROLE\""},
           {"listen", "ADDRESS", "where to listen (default 127.0.0.1:8090; port 0: any)"},
           {"hosts", "NAMES", "the names it answers to, with commas; needed beyond loopback"},
           {"approvers", "FILE", "public keys of those who approve (default STATE/approvers)"},
           {"policy-file", "FILE", "the policies, for records made before they were kept"},
           state_option()},
          0,
          1,
          show_console};
}

}  // namespace ambit::app
