// The table of controls names tests; each of them must be there.

#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace fs = std::filesystem;

namespace {

std::string text_of(const fs::path& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("every test that the table of controls names is there", "[controls]") {
  const fs::path root = PROJECT_ROOT;
  std::string tests;
  for (const auto& file : fs::recursive_directory_iterator(root / "tests")) {
    if (file.path().extension() == ".cpp") tests += text_of(file.path());
  }
  std::stringstream table(text_of(root / "governance" / "CONTROLS.md"));
  int controls = 0;
  int shown = 0;
  for (std::string line; std::getline(table, line);) {
    if (!line.starts_with("| L") && !line.starts_with("| O") && !line.starts_with("| B") &&
        !line.starts_with("| I")) {
      continue;
    }
    ++controls;
    const std::size_t before = static_cast<std::size_t>(shown);
    for (std::size_t at = line.find('"'); at != std::string::npos;) {
      const std::size_t end = line.find('"', at + 1);
      REQUIRE(end != std::string::npos);
      INFO(line.substr(at, end - at + 1));
      CHECK(tests.find("TEST_CASE(" + line.substr(at, end - at + 1)) != std::string::npos);
      ++shown;
      at = line.find('"', end + 1);
    }
    const bool honest = line.ends_with("| not shown |");
    CHECK((static_cast<std::size_t>(shown) > before) != honest);
  }
  CHECK(controls == 26);
}
