#pragma once

// What main knows of a command, and what a command gets from main. Exit codes: 0 done, 1 it failed
// (one line on stderr says what and what to do), 2 the command line is wrong.

#include "app/options.h"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::app {

struct Context {
  std::map<std::string, std::string> environment;
  std::string directory;   // the current one
  std::string executable;  // absolute path of this program
  bool terminal = false;   // stdout is one: colour and live progress
};

struct Command {
  std::string name;       // "audit verify"
  std::string arguments;  // "FILE", "[RUN]"
  std::string summary;
  std::vector<OptionSpec> options;
  std::size_t positional_least = 0;
  std::size_t positional_most = 0;
  std::function<int(const Options&, const Context&)> run;
};

Command run_command();
Command serve_command();
Command fleet_check_command();
Command fleet_schema_command();
Command audit_list_command();
Command audit_show_command();
Command audit_verify_command();
Command audit_timeline_command();
Command audit_tree_command();
Command audit_stats_command();
Command audit_prove_command();
Command audit_checkpoint_command();
Command audit_tiles_command();
Command audit_export_command();
Command audit_bundle_command();
Command audit_erase_command();
Command audit_console_command();
// audit retention, retain, hold, release, expire
std::vector<Command> audit_retention_commands();
Command replay_command();
Command model_inspect_command();
Command model_eval_command();
Command model_synth_command();
Command model_quantize_command();
Command model_bench_command();
Command model_chat_command();
Command doctor_command();
// ps, top, stop, pause, resume
std::vector<Command> control_commands();
// cost, logs, describe
std::vector<Command> story_commands();
// init, import, tools pin, completion, man
Command init_command();
Command import_command();
Command tools_pin_command();
Command completion_command();
Command man_command();
std::vector<Command> all_commands();
// artifact list, get
std::vector<Command> artifact_commands();
// memory list, get, search
std::vector<Command> memory_commands();
// sandbox run, explain
std::vector<Command> sandbox_commands();
// mcp list, call, read, prompt, inspect, ping
std::vector<Command> mcp_commands();
Command mcp_serve_command();
Command mcp_gateway_command();
// a2a card, send, stream, get, list, cancel, subscribe
std::vector<Command> a2a_commands();
Command policy_check_command();
Command policy_explain_command();
Command policy_test_command();
Command policy_diff_command();
Command policy_replay_command();
Command policy_learn_command();
Command policy_schema_command();
Command pending_command();
Command approve_command();
Command deny_command();
Command approver_new_command();
Command autonomy_ask_command();
Command autonomy_raise_command();

// One line on stderr: "ambit: message".
int fail(const Error& error);
int fail(std::string_view message);
void print(std::string_view text);
// `text` in quotes as JSON; what is no UTF-8 is replaced.
std::string json_text(std::string_view text);
// How many processors there are: the default of every --threads.
std::size_t processors();
// A path relative to the current directory, made absolute.
std::string absolute(const Context& context, const std::string& path);
// The state folder that was asked for.
std::string state_of(const Options& options, const Context& context);
// The exit code of what either worked or is to be told.
int status(const Result<int>& result);
// Of the wall clock, since 1970.
std::int64_t now_ms();

}  // namespace ambit::app
