// ambit: the composition root. Every command is one file; this one finds the command and hands it
// the world's few constants (environment, directory, terminal).

#include "agents/document.h"
#include "agents/fleet.h"
#include "app/command.h"
#include "app/version.h"

#include <sys/resource.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <unistd.h>
#include <vector>

namespace ambit::app {
namespace {}  // namespace

std::vector<Command> all_commands() {
  std::vector<Command> all = {run_command(),
                              serve_command(),
                              fleet_check_command(),
                              fleet_schema_command(),
                              audit_list_command(),
                              audit_show_command(),
                              audit_verify_command(),
                              audit_timeline_command(),
                              audit_tree_command(),
                              audit_stats_command(),
                              audit_prove_command(),
                              audit_checkpoint_command(),
                              audit_tiles_command(),
                              audit_export_command(),
                              audit_bundle_command(),
                              audit_erase_command(),
                              audit_console_command(),
                              replay_command(),
                              policy_check_command(),
                              policy_explain_command(),
                              policy_test_command(),
                              policy_diff_command(),
                              policy_replay_command(),
                              policy_learn_command(),
                              policy_schema_command(),
                              pending_command(),
                              approve_command(),
                              deny_command(),
                              approver_new_command(),
                              autonomy_ask_command(),
                              autonomy_raise_command(),
                              model_inspect_command(),
                              model_eval_command(),
                              model_synth_command(),
                              model_quantize_command(),
                              model_bench_command(),
                              model_chat_command(),
                              mcp_serve_command(),
                              mcp_gateway_command()};
  for (Command& command : audit_retention_commands()) all.push_back(std::move(command));
  for (Command& command : memory_commands()) all.push_back(std::move(command));
  for (Command& command : mcp_commands()) all.push_back(std::move(command));
  for (Command& command : a2a_commands()) all.push_back(std::move(command));
  for (Command& command : sandbox_commands()) all.push_back(std::move(command));
  for (Command& command : control_commands()) all.push_back(std::move(command));
  for (Command& command : story_commands()) all.push_back(std::move(command));
  for (Command command : {init_command(), import_command(), tools_pin_command(), doctor_command(),
                          completion_command(), man_command()}) {
    all.push_back(std::move(command));
  }
  return all;
}

namespace {

Context context_of_process() {
  Context context;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const std::size_t equals = text.find('=');
    if (equals != std::string_view::npos) {
      context.environment.emplace(text.substr(0, equals), text.substr(equals + 1));
    }
  }
  char buffer[PATH_MAX];
  if (::getcwd(buffer, sizeof buffer) != nullptr) context.directory = buffer;
  const ssize_t length = ::readlink("/proc/self/exe", buffer, sizeof buffer);
  if (length > 0) context.executable.assign(buffer, static_cast<std::size_t>(length));
  context.terminal = ::isatty(STDOUT_FILENO) == 1;
  return context;
}

// Each jail that waits for a call holds some descriptors: what the system lets us have, we take.
void allow_open_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

void print_help() {
  print("ambit " + std::string(version) +
        " - runs fleets of AI agents inside their bounds\n\nusage: ambit COMMAND [ARGUMENTS]\n\n");
  for (const Command& command : all_commands()) {
    std::string line = "  " + command.name + " " + command.arguments;
    line.resize(std::max<std::size_t>(line.size() + 2, 30), ' ');
    print(line + command.summary + "\n");
  }
  print(
      "  version                     print the version\n\n"
      "Each command explains itself with --help. Start with: ambit run "
      "examples/1-incident-desk/fleet.json\n");
}

void print_help(const Command& command) {
  print("usage: ambit " + command.name + " " + command.arguments + " [FLAGS]\n\n" +
        command.summary + "\n\n");
  for (const OptionSpec& option : command.options) {
    std::string line =
        "  --" + option.name + (option.placeholder.empty() ? "" : " " + option.placeholder);
    line.resize(std::max<std::size_t>(line.size() + 2, 26), ' ');
    print(line + option.help + "\n");
  }
}

int usage_error(const std::string& message, const std::string& help) {
  std::fprintf(stderr, "ambit: %s (see: ambit %s--help)\n", message.c_str(), help.c_str());
  return 2;
}

// The command whose words begin the arguments, and how many words that took.
const Command* find(const std::vector<Command>& all, const std::vector<std::string>& words,
                    std::size_t& taken) {
  for (const Command& command : all) {
    const bool two = command.name.find(' ') != std::string::npos;
    const std::string said = two && words.size() > 1 ? words[0] + " " + words[1] : words[0];
    if (said != command.name) continue;
    taken = two ? 2 : 1;
    return &command;
  }
  return nullptr;
}

int run(const std::vector<std::string>& words) {
  if (words.empty() || words[0] == "--help" || words[0] == "help") {
    print_help();
    return words.empty() ? 2 : 0;
  }
  if (words[0] == "version" || words[0] == "--version") {
    const bool json = words.size() > 1 && words[1] == "--json";
    print(json
              ? "{\"version\":\"" + std::string(version) + "\",\"compiler\":\"" + compiler + "\"}\n"
              : "ambit " + std::string(version) + " (" + compiler + ")\n");
    return 0;
  }
  const std::vector<Command> all = all_commands();
  std::size_t taken = 0;
  const Command* command = find(all, words, taken);
  if (command == nullptr) {
    std::vector<std::string> names;
    for (const Command& known : all) names.push_back(known.name);
    std::string said = words[0];
    if (words.size() > 1 && !words[1].starts_with("-")) said += " " + words[1];
    auto near = agents::suggestion(said, names);
    if (!near) near = agents::suggestion(words[0], names);
    return usage_error(
        "there is no command \"" + said + "\"" + (near ? "; did you mean \"" + *near + "\"?" : ""),
        "");
  }
  const std::vector<std::string> arguments(words.begin() + static_cast<std::ptrdiff_t>(taken),
                                           words.end());
  for (const std::string& argument : arguments) {
    if (argument == "--") break;
    if (argument == "--help") {
      print_help(*command);
      return 0;
    }
  }
  const auto options = Options::parse(arguments, command->options, command->positional_least,
                                      command->positional_most);
  if (!options) return usage_error(options.error().message, command->name + " ");
  return command->run(*options, context_of_process());
}

}  // namespace

int fail(std::string_view message) {
  std::fflush(stdout);
  std::fprintf(stderr, "ambit: %.*s\n", static_cast<int>(message.size()), message.data());
  return 1;
}

int fail(const Error& error) {
  return fail(error.message);
}

void print(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
}

std::string json_text(std::string_view text) {
  return agents::json_quoted(text);
}

std::size_t processors() {
  const long count = ::sysconf(_SC_NPROCESSORS_ONLN);
  return count > 0 ? static_cast<std::size_t>(count) : 1;
}

std::string absolute(const Context& context, const std::string& path) {
  return path.starts_with('/') ? path : context.directory + "/" + path;
}

std::string state_of(const Options& options, const Context& context) {
  return absolute(context, options.text("state", ".ambit"));
}

int status(const Result<int>& result) {
  return result ? *result : fail(result.error());
}

std::int64_t now_ms() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

}  // namespace ambit::app

int main(int count, char** arguments) {
  ambit::app::allow_open_files();
  return ambit::app::run(std::vector<std::string>(arguments + 1, arguments + count));
}
