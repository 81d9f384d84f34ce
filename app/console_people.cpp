#include "app/console_people.h"

#include "io/file.h"

#include <algorithm>
#include <sstream>

namespace ambit::app {
namespace {

constexpr std::size_t tokens_bytes_max = 1 << 20;

}  // namespace

Result<void> read_console_tokens(const std::string& path, console::Access& access) {
  std::istringstream lines(TRY(io::read_file(path, tokens_bytes_max)));
  std::string line;
  bool found = false;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string token;
    std::string name;
    std::string role;
    std::string more;
    words >> token >> name >> role >> more;
    if (token.empty()) continue;
    const std::string place = path + ":" + std::to_string(number);
    if (role.empty() || !more.empty()) {
      return Err(Code::invalid,
                 place + ": write a token, a person and a role: \"TOKEN NAME reviewer\" or owner");
    }
    auto named = console::role_named(role);
    if (!named) return Err(std::move(named).error().context(place));
    auto added = access.add_token(token, {name, *named});
    if (!added) return Err(std::move(added).error().context(place));
    found = true;
  }
  if (!found) return Err(Code::invalid, path + " names nobody");
  return {};
}

Result<std::vector<console::Person>> parse_people(const std::string& text) {
  std::vector<console::Person> people;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) {
    const std::size_t colon = part.find(':');
    const std::string name = part.substr(0, colon);
    if (colon == std::string::npos || name.empty()) {
      return Err(Code::invalid, "\"" + part + "\": write NAME:ROLE, such as ann:reviewer");
    }
    const bool is_there = std::any_of(people.begin(), people.end(),
                                      [&name](const auto& person) { return person.name == name; });
    if (is_there) return Err(Code::invalid, name + " is named twice");
    people.push_back({name, TRY(console::role_named(part.substr(colon + 1)))});
  }
  if (people.empty()) return Err(Code::invalid, "name at least one person: --people ann:reviewer");
  return people;
}

}  // namespace ambit::app
