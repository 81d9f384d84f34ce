// `./check attack mcp`: plays every case against our client and gateway. One JSON line a case that
// went wrong, one for the suite. --table prints mcp/HOSTILE.md, --check FILE compares it with that
// file, --verbose says what was seen of each case.

#include "hostile.h"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

namespace ambit::mcp {
namespace {

std::vector<Chapter> chapters() {
  return {definition_cases(), shifting_cases(), result_cases(), protocol_cases(),
          question_cases(),   http_cases(),     file_cases()};
}

std::string table() {
  std::string out =
      "# Hostile MCP servers\n\n"
      "`./check attack mcp` plays each of these servers against the client that our agents use, or "
      "against the gateway, and counts. A call ends with a\n"
      "typed outcome, which is what the record keeps of it (`action.outcome`: kind and detail, 4 "
      "KiB "
      "of the server's own words at most); what the gateway withholds is\n"
      "listed with its reason (`ambit mcp gateway --quarantine`) and let through by name alone. "
      "What "
      "no program can tell apart (a lie in plain words) is\n"
      "bounded instead: results of tools taint a session, and policies decide what a tainted "
      "session "
      "may do.\n\n"
      "This table is printed by `attack_mcp --table`; a test compares.\n";
  int number = 0;
  for (const Chapter& chapter : chapters()) {
    out += "\n## " + chapter.title +
           "\n\n| number | the server | what becomes of it |\n|---|---|---|\n";
    for (const Case& one : chapter.cases) {
      out += "| " + std::to_string(++number) + " | " + one.does + " | " + one.must + " |\n";
    }
  }
  return out;
}

int compare(const char* path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  if (text.str() == table()) return 0;
  std::fprintf(stderr, "%s is not what attack_mcp --table prints\n", path);
  return 1;
}

int play_all(bool verbose) {
  int passed = 0;
  int failed = 0;
  for (const Chapter& chapter : chapters()) {
    for (const Case& one : chapter.cases) {
      const Seen seen = one.play();
      ++(seen.good ? passed : failed);
      if (seen.good && !verbose) continue;
      const nlohmann::ordered_json line = {
          {"suite", "attack mcp"}, {"number", passed + failed},        {"server", one.does},
          {"must", one.must},      {"seen", seen.what.substr(0, 400)}, {"good", seen.good}};
      std::printf(
          "%s\n",
          line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
      std::fflush(stdout);
    }
  }
  std::printf(R"({"suite":"attack mcp","passed":%d,"failed":%d,"skipped":0})"
              "\n",
              passed, failed);
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace ambit::mcp

int main(int count, char** arguments) {
  if (count == 2 && std::strcmp(arguments[1], "--table") == 0) {
    std::fputs(ambit::mcp::table().c_str(), stdout);
    return 0;
  }
  if (count == 3 && std::strcmp(arguments[1], "--check") == 0) {
    return ambit::mcp::compare(arguments[2]);
  }
  return ambit::mcp::play_all(count == 2 && std::strcmp(arguments[1], "--verbose") == 0);
}
