#pragma once

// Reader: one object of a fleet file. It knows its path, remembers which keys were asked for, and
// reports what is wrong and what is left over, each with its place. For the files of this folder
// that read a part of the fleet.

#include "agents/document.h"
#include "agents/fleet.h"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::agents {

inline constexpr std::int64_t kib = 1024;

std::string list_of(const std::vector<std::string>& names);
// 1 to 64 of the letters a-z, A-Z, 0-9, '_', '-'.
bool is_name(std::string_view name);

template <class T>
std::vector<std::string> names_of(const std::vector<T>& items) {
  std::vector<std::string> names;
  for (const T& item : items) names.push_back(item.name);
  return names;
}

// A problem with what stands there; of a member, with its name.
Problem problem_at(const Node& node, std::string path, std::string message);
Problem problem_at(const Node::Member& member, std::string path, std::string message);

class Reader {
 public:
  Reader(std::vector<Problem>& problems, const Node& node, std::string path);

  void report(const Node& node, const std::string& path, std::string message);
  [[nodiscard]] std::string at(std::string_view key) const {
    return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
  }
  [[nodiscard]] const Node& node() const { return node_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::vector<Problem>& problems() const { return problems_; }

  const Node* get(const std::string& key);
  // Of another kind: reported, and null.
  const Node* get(const std::string& key, Node::Kind kind);
  void require(const std::string& key);
  std::string text(const std::string& key, const std::string& fallback = "");
  bool flag(const std::string& key, bool fallback);
  std::int64_t integer(const std::string& key, std::int64_t fallback, std::int64_t least,
                       std::int64_t most);
  double real(const std::string& key, double fallback, double least, double most);
  // "200ms", "5s", "2m", "1h", "7d", as milliseconds; or "64KiB", "16MiB", "1GiB" (or a plain
  // integer), as bytes.
  std::int64_t quantity(const std::string& key, std::int64_t fallback, bool is_time,
                        std::int64_t most);
  std::vector<std::string> texts(const std::string& key);
  // One of `names`, or a problem with a suggestion.
  void known(const std::string& key, const std::string& value,
             const std::vector<std::string>& names, const std::string& what);
  void known(const Node& node, const std::string& path, const std::string& value,
             const std::vector<std::string>& names, const std::string& what);
  // Must be the last call: what was never asked for is unknown.
  void done();

 private:
  std::vector<Problem>& problems_;
  const Node& node_;
  std::string path_;
  std::vector<std::string> known_;
};

}  // namespace ambit::agents
