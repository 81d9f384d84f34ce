// The rules of the house that are text: the forms of co_await that g++ 12 compiles rightly, which
// folder may include which C API, calls that would break the seeded simulation, files that nobody
// builds.

#include <catch2/catch.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace ambit {
namespace {

namespace fs = std::filesystem;

struct Source {
  std::string path;  // from the project's root
  std::string text;  // comments and the insides of literals are blanks
  std::string raw;
};

const std::vector<std::string> product_folders = {"app",     "runtime",   "mcp",       "a2a",
                                                  "sandbox", "inference", "governance"};

bool is_identifier(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

// Blanks comments, string and character literals, so that the rules see code alone.
std::string code_of(std::string text) {
  auto blank = [&text](std::size_t from, std::size_t to) {
    for (std::size_t i = from; i < std::min(to, text.size()); ++i) {
      if (text[i] != '\n') text[i] = ' ';
    }
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text.compare(i, 2, "//") == 0) {
      const std::size_t end = std::min(text.find('\n', i), text.size());
      blank(i, end);
      i = end;
    } else if (text.compare(i, 2, "/*") == 0) {
      const std::size_t end = std::min(text.find("*/", i + 2), text.size() - 2) + 2;
      blank(i, end);
      i = end - 1;
    } else if (text.compare(i, 2, "R\"") == 0 && (i == 0 || !is_identifier(text[i - 1]))) {
      const std::size_t open = text.find('(', i);
      const std::string close = ")" + text.substr(i + 2, open - i - 2) + "\"";
      const std::size_t end = std::min(text.find(close, open), text.size() - close.size());
      blank(open, end);
      i = end + close.size() - 1;
    } else if (text[i] == '"' || (text[i] == '\'' && (i == 0 || !is_identifier(text[i - 1])))) {
      const char quote = text[i];
      std::size_t end = i + 1;
      while (end < text.size() && text[end] != quote && text[end] != '\n')
        end += text[end] == '\\' ? 2 : 1;
      blank(i + 1, end);
      i = end;
    }
  }
  return text;
}

std::vector<Source> sources(const std::vector<std::string>& folders) {
  std::vector<Source> found;
  for (const std::string& folder : folders) {
    const fs::path root = fs::path(PROJECT_ROOT) / folder;
    if (!fs::exists(root)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".cpp" && extension != ".h" && extension != ".cu" && extension != ".c")
        continue;
      std::ifstream in(entry.path(), std::ios::binary);
      std::stringstream text;
      text << in.rdbuf();
      found.push_back(
          {fs::relative(entry.path(), PROJECT_ROOT).string(), code_of(text.str()), text.str()});
    }
  }
  std::sort(found.begin(), found.end(),
            [](const Source& a, const Source& b) { return a.path < b.path; });
  REQUIRE_FALSE(found.empty());
  return found;
}

std::vector<std::string> with_tests() {
  std::vector<std::string> folders = product_folders;
  folders.insert(folders.end(), {"tests", "examples"});
  return folders;
}

std::size_t line_of(const std::string& text, std::size_t at) {
  return 1 + static_cast<std::size_t>(
                 std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n'));
}
std::string place(const Source& source, std::size_t at) {
  return source.path + ":" + std::to_string(line_of(source.text, at));
}

// Calls `found` for each whole-word occurrence.
template <class F>
void each_word(const std::string& text, const std::string& word, F found) {
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    const bool starts = at == 0 || !is_identifier(text[at - 1]) || !is_identifier(word.front());
    const bool ends =
        end >= text.size() || !is_identifier(text[end]) || !is_identifier(word.back());
    if (starts && ends) found(at);
  }
}

// Why this co_await is in a form that g++ 12 may miscompile; empty: it is fine.
std::string fault_of_await(const std::string& text, std::size_t at) {
  const std::size_t start = text.find_last_of(";{}", at) + 1;
  std::string before = text.substr(start, at - start);
  while (!before.empty() && std::isspace(static_cast<unsigned char>(before.back())) != 0)
    before.pop_back();
  const std::size_t first = std::min(before.find_first_not_of(" \n\t"), before.size());
  before.erase(0, first);
  // A label or a one-line if/else/for body stands before a statement of its own.
  const bool statement = before.empty() || before == "co_return" || before == "(void)" ||
                         before == "else" || before.ends_with(":");
  const bool body_of_if =
      before.ends_with(")") && (before.starts_with("if") || before.starts_with("while") ||
                                before.starts_with("for") || before.starts_with("else if"));
  const bool if_return = before.ends_with("co_return") && before.starts_with("if");
  const bool assignment = before.ends_with("=") && !before.ends_with("==");
  if (!statement && !body_of_if && !if_return && !assignment)
    return "not a statement, an initializer or a co_return";
  int depth = 0;
  for (std::size_t i = at; i < text.size() && (text[i] != ';' || depth > 0); ++i) {
    if (text[i] == '(') ++depth;
    if (text[i] == ')') --depth;
    if (depth < 0) return "inside the parentheses of something else";
    if (text[i] == '{') {
      // A lambda without captures is compiled rightly.
      const std::size_t close = text.find('}', i);
      const bool plain_lambda =
          text.substr(0, i).ends_with("[] ") || text.substr(0, i).ends_with("[]");
      if (!(plain_lambda && text.substr(i, close - i).find('{', 1) == std::string::npos)) {
        return "an argument holds a braced list or a lambda";
      }
      i = close;
    }
    if (text[i] == '?' || text.compare(i, 2, "&&") == 0 || text.compare(i, 2, "||") == 0) {
      if (depth == 0) return "part of ?:, && or ||";
    }
  }
  return "";
}

}  // namespace

TEST_CASE("co_await stands only where g++ 12 compiles it rightly", "[tidy]") {
  for (const Source& source : sources(with_tests())) {
    each_word(source.text, "co_await", [&](std::size_t at) {
      if (source.text.substr(0, at).ends_with("operator ")) return;
      const std::string fault = fault_of_await(source.text, at);
      INFO(place(source, at) << ": " << fault);
      CHECK(fault.empty());
    });
  }
}

TEST_CASE("the rule about co_await knows good forms from bad ones", "[tidy]") {
  auto fault = [](const std::string& text) { return fault_of_await(text, text.find("co_await")); };
  CHECK(fault("{ co_await f(); }").empty());
  CHECK(fault("{ auto x = co_await f(a, g(b)); }").empty());
  CHECK(fault("{ x = co_await f(); }").empty());
  CHECK(fault("{ co_return co_await f(); }").empty());
  CHECK(fault("{ while (a < b) co_await f(); }").empty());
  CHECK_FALSE(fault("{ if (co_await f()) g(); }").empty());
  CHECK_FALSE(fault("{ auto x = a ? co_await f() : 2; }").empty());
  CHECK_FALSE(fault("{ auto x = co_await f() ? 1 : 2; }").empty());
  CHECK_FALSE(fault("{ g(co_await f()); }").empty());
  CHECK_FALSE(fault("{ auto x = co_await f({1, 2}); }").empty());
  CHECK_FALSE(fault("{ auto x = co_await f([&] { return 1; }); }").empty());
  CHECK_FALSE(fault("{ bool x = a && co_await f(); }").empty());
}

TEST_CASE("each C API is included in one folder only", "[tidy]") {
  const std::pair<const char*, std::vector<std::string>> owners[] = {
      {"<uv.h>", {"runtime/io/"}},       {"<curl/", {"runtime/http/"}},
      {"<lmdb.h>", {"runtime/lmdb/"}},   {"<seccomp.h>", {"sandbox/"}},
      {"<cuda", {"inference/cuda/"}},    {"<jwt/", {"governance/"}},
      {"<llhttp.h>", {"runtime/http/"}},
  };
  for (const Source& source : sources(product_folders)) {
    for (const auto& [header, folders] : owners) {
      const std::string line = std::string("#include ") + header;
      const std::size_t at = source.raw.find(line);
      if (at == std::string::npos) continue;
      INFO(place(source, at) << ": " << line << " belongs in " << folders.front());
      CHECK(std::any_of(folders.begin(), folders.end(),
                        [&](const auto& f) { return source.path.starts_with(f); }));
    }
  }
}

TEST_CASE("nothing reads a clock, chance, a thread or the environment past the World", "[tidy]") {
  struct Ban {
    std::string word;
    std::vector<std::string> allowed;  // where it is what the folder is for
  };
  const std::vector<Ban> bans = {
      {"steady_clock::now", {"inference/"}},  // the engine's thread measures its own steps
      {"system_clock::now", {}},
      {"high_resolution_clock", {}},
      // A verification is a process of its own, with threads of its own.
      {"std::thread", {"inference/", "governance/log/examine", "governance/log/verify"}},
      {"std::jthread", {"inference/"}},
      {"std::random_device", {}},
      {"getenv", {}},
      {"rand", {}},
      {"srand", {}},
      {"usleep", {}},
      {"sleep", {}},
      {"std::system", {}},
      {"std::regex", {}},
      {"using namespace std;", {}},
  };
  for (const Source& source : sources(product_folders)) {
    for (const Ban& ban : bans) {
      if (std::any_of(ban.allowed.begin(), ban.allowed.end(),
                      [&](const auto& folder) { return source.path.starts_with(folder); })) {
        continue;
      }
      each_word(source.text, ban.word, [&](std::size_t at) {
        INFO(place(source, at) << ": " << ban.word << " must come through World");
        CHECK(false);
      });
    }
  }
}

TEST_CASE("every source file is built by somebody", "[tidy]") {
  for (const Source& source : sources(with_tests())) {
    if (source.path.ends_with(".h")) continue;
    const fs::path path = fs::path(PROJECT_ROOT) / source.path;
    bool named = false;
    for (fs::path folder = path.parent_path(); !named; folder = folder.parent_path()) {
      for (const char* list : {"CMakeLists.txt", "README.md"}) {
        std::ifstream in(folder / list);
        std::stringstream text;
        text << in.rdbuf();
        const std::string stem = path.stem().string();
        each_word(text.str(), list[0] == 'C' ? stem : path.filename().string(),
                  [&](std::size_t) { named = true; });
      }
      if (folder == fs::path(PROJECT_ROOT)) break;
    }
    INFO(source.path << " is in no CMakeLists.txt");
    CHECK(named);
  }
}

TEST_CASE("a TODO says what is missing, a header guards itself", "[tidy]") {
  for (const Source& source : sources(with_tests())) {
    each_word(source.raw, "TODO", [&](std::size_t at) {
      if (source.path == "tests/tidy/tidy_test.cpp") return;
      INFO(place(source, at) << ": write \"TODO: what is missing and when it hurts\"");
      CHECK(source.raw.compare(at, 6, "TODO: ") == 0);
    });
    if (!source.path.ends_with(".h") || source.path.ends_with(".inc.h")) continue;
    INFO(source.path << " does not begin with #pragma once");
    CHECK(source.raw.starts_with("#pragma once"));
  }
}

}  // namespace ambit
