// An MCP server on stdin and stdout that behaves as its first argument says, badly for the most
// part. Static and tiny: it is started thousands of times.

#include <sys/wait.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <unistd.h>

namespace {

// The text of the member, as it stands, up to a comma or brace outside of quotes.
void member(const char* line, const char* key, char* out, std::size_t size) {
  out[0] = 0;
  const char* at = std::strstr(line, key);
  if (at == nullptr) return;
  at += std::strlen(key);
  std::size_t used = 0;
  for (; *at != 0 && *at != ',' && *at != '}' && *at != '\n' && used + 1 < size; ++at) {
    out[used++] = *at;
  }
  out[used] = 0;
}

void answer(const char* line) {
  char id[64];
  member(line, "\"id\":", id, sizeof id);
  if (id[0] == 0 || std::strstr(line, "\"method\":") == nullptr) return;
  const char* result = nullptr;
  if (std::strstr(line, "\"initialize\"") != nullptr) {
    result =
        R"({"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"pest","version":"1"}})";
  } else if (std::strstr(line, "\"tools/list\"") != nullptr) {
    result = R"({"tools":[{"name":"echo","inputSchema":{"type":"object"}}]})";
  } else if (std::strstr(line, "\"tools/call\"") != nullptr) {
    result = R"({"content":[{"type":"text","text":"here"}]})";
  }
  if (result != nullptr) {
    std::printf("{\"jsonrpc\":\"2.0\",\"id\":%s,\"result\":%s}\n", id, result);
  } else {
    std::printf("{\"jsonrpc\":\"2.0\",\"id\":%s,\"error\":{\"code\":-32601,\"message\":\"no\"}}\n",
                id);
  }
  std::fflush(stdout);
}

void serve() {
  static char line[1 << 20];
  while (std::fgets(line, sizeof line, stdin) != nullptr) answer(line);
}

void ignore_signals() {
  for (const int which : {SIGTERM, SIGINT, SIGHUP, SIGPIPE, SIGQUIT, SIGUSR1}) {
    std::signal(which, SIG_IGN);
  }
}

[[noreturn]] void stay() {
  while (true) ::pause();
}

// Grandchildren in sessions of their own that keep stdin and stdout.
void have_family(int children) {
  for (int i = 0; i < children; ++i) {
    if (::fork() != 0) continue;
    ::setsid();
    if (::fork() != 0) ::_exit(0);
    ignore_signals();
    stay();
  }
}

}  // namespace

int main(int count, char** words) {
  const char* how = count > 1 ? words[1] : "honest";
  const auto is = [how](const char* name) { return std::strcmp(how, name) == 0; };
  if (is("dies")) return 3;
  if (is("late")) ::usleep(20'000);
  if (is("family")) have_family(3);
  if (is("stubborn") || is("family")) ignore_signals();
  if (is("deaf")) stay();
  if (is("talker")) {
    ignore_signals();
    while (true) {
      std::fputs("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n", stdout);
      std::fputs("what a noise\n", stderr);
    }
  }
  serve();
  // Its stdin has ended: an honest server goes.
  if (is("stubborn") || is("family")) stay();
  return 0;
}
