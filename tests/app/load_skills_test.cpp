// Skills are read from their folders, and from nowhere else.

#include "app/load_skills.h"

#include "support/temporary_folder.h"

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace ambit::app {
namespace {

namespace fs = std::filesystem;

void put(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

std::string fault_of(const agents::Fleet& fleet) {
  const auto skills = load_skills(fleet);
  return skills ? "" : skills.error().message;
}

}  // namespace

TEST_CASE("skills are read whole, without what is hidden and what is linked", "[app]") {
  const TemporaryFolder dir;
  const fs::path folder = fs::path(dir.path()) / "refunds";
  put(folder / "SKILL.md", "---\nname: refunds\ndescription: By the rules\n---\n");
  put(folder / "refs" / "a.md", "a");
  put(folder / ".git" / "config", "hidden");
  agents::Fleet fleet;
  fleet.skills = {{"refunds", folder.string()}};
  const auto skills = load_skills(fleet);
  REQUIRE(skills.has_value());
  REQUIRE(skills->size() == 1);
  CHECK(skills->at(0)->files.size() == 2);
  CHECK(skills->at(0)->files.at("skill://refunds/refs/a.md") == "a");

  fs::create_symlink("/etc/passwd", folder / "refs" / "out");
  CHECK(fault_of(fleet).find("refs/out: is a link") != std::string::npos);
  fs::remove(folder / "refs" / "out");
  fs::create_directory_symlink("/etc", folder / "etc");
  CHECK(fault_of(fleet).find("etc: is a link") != std::string::npos);
  fs::remove(folder / "etc");
  REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
  CHECK(fault_of(fleet).find("pipe: is neither") != std::string::npos);
  fs::remove(folder / "pipe");
  put(folder / "large.bin", std::string((16 << 20) + 1, 'x'));
  CHECK(fault_of(fleet).find("more than 16777216 bytes") != std::string::npos);
  fs::remove(folder / "large.bin");
  CHECK(fault_of(fleet).empty());

  put(folder / "SKILL.md", "---\nname: other\ndescription: By the rules\n---\n");
  CHECK(fault_of(fleet).find("\"other\"") != std::string::npos);
  fleet.skills = {{"none", (fs::path(dir.path()) / "none").string()}};
  CHECK(fault_of(fleet).find("none") != std::string::npos);
}

}  // namespace ambit::app
