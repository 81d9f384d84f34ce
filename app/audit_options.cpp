#include "app/audit_options.h"

#include "io/file.h"

#include <sys/prctl.h>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <unistd.h>

namespace ambit::app {

Result<std::string> journal_of(const Options& options, const Context& context) {
  const std::string state = absolute(context, options.text("state", ".ambit"));
  std::error_code unreadable;
  if (!std::filesystem::exists(state + "/journal/data.mdb", unreadable))
    return Err(Code::not_found, "there is no record in " + state +
                                    " (ambit run writes one; --state names another folder)");
  return state + "/journal";
}

Result<log::Filter> filter_of(const Options& options) {
  log::Filter filter;
  filter.run = options.text("run");
  filter.session = options.text("session");
  filter.agent = options.text("agent");
  filter.type = options.text("type");
  filter.verdict = options.text("verdict");
  filter.tool = options.text("tool");
  filter.person = options.text("person");
  filter.policy = options.text("policy");
  filter.text = options.text("text");
  if (options.flag("from")) filter.from_unix_ns = TRY(log::parse_time(options.text("from")));
  if (options.flag("until")) filter.until_unix_ns = TRY(log::parse_time(options.text("until")));
  return filter;
}

Result<std::uint64_t> index_of(const std::string& text) {
  if (text.empty() || text.size() > 18 ||
      text.find_first_not_of("0123456789") != std::string::npos) {
    return Err(Code::invalid,
               "\"" + text + "\" is not the index of a record (see: ambit audit list)");
  }
  return std::stoull(text);
}

Result<log::VerifierKey> key_of_log(const std::string& folder) {
  const std::string text = TRY(io::read_file(folder + "/vkey", 4096));
  auto key = log::VerifierKey::parse(text.substr(0, text.find('\n')));
  if (!key) return Err(std::move(key).error().context(folder + "/vkey"));
  return key;
}

OptionSpec state_option() {
  return {"state", "DIR", "the state folder of the run (default .ambit)"};
}

std::vector<OptionSpec> filter_options(std::vector<OptionSpec> more) {
  std::vector<OptionSpec> options = {
      state_option(),
      {"run", "RUN", "only this run"},
      {"session", "ID", "only this session"},
      {"agent", "NAME", "only this agent"},
      {"person", "NAME", "only on behalf of this person"},
      {"type", "TYPE", "only this type, such as action.decided"},
      {"verdict", "VERDICT", "only decisions of this verdict: allow, deny, escalate"},
      {"policy", "ID", "only decisions that this policy determined"},
      {"tool", "NAME", "only this tool"},
      {"text", "TEXT", "only records with this text in their body"},
      {"from", "TIME", "from this time on, such as 2026-11-21T08:30:00Z"},
      {"until", "TIME", "before this time"}};
  options.insert(options.end(), more.begin(), more.end());
  return options;
}

namespace {

volatile std::sig_atomic_t reading_child = 0;

void pass_on(int signal) {
  const int before = errno;
  if (reading_child > 0) ::kill(static_cast<pid_t>(reading_child), signal);
  errno = before;
}

}  // namespace

int read_apart(const std::function<Result<void>()>& read) {
  sigset_t ends;
  sigset_t before;
  sigemptyset(&ends);
  for (const int signal : {SIGINT, SIGTERM}) sigaddset(&ends, signal);
  ::sigprocmask(SIG_BLOCK, &ends, &before);
  const pid_t child = ::fork();
  if (child > 0) {
    reading_child = child;
    for (const int signal : {SIGINT, SIGTERM}) ::signal(signal, pass_on);
  }
  ::sigprocmask(SIG_SETMASK, &before, nullptr);
  if (child < 0) return fail(std::string("cannot start a process: ") + std::strerror(errno));
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL}) ::signal(signal, SIG_DFL);
    const Result<void> result = read();
    const int code = result ? 0 : fail(result.error());
    std::fflush(nullptr);
    ::_exit(code);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  for (const int signal : {SIGINT, SIGTERM}) ::signal(signal, SIG_DFL);
  reading_child = 0;
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  // Whoever read what we print had enough of it, as head and grep -q have; or somebody ended it.
  for (const int signal : {SIGPIPE, SIGINT, SIGTERM})
    if (WIFSIGNALED(status) && WTERMSIG(status) == signal) return 128 + signal;
  return fail("the record is damaged: reading it failed (ambit audit verify names the place)");
}

std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(width, text.size() + 1), ' ');
  return text;
}

}  // namespace ambit::app
