#pragma once

// ToolSearch: finds tools by what somebody wants to do, for catalogues that are too large to be
// shown whole. BM25 (Robertson and Zaragoza 2009) over a tool's name, description and parameters:
// words in the name count most, endings are cut off, words for the same thing count in part, and a
// word that no tool has is taken for those that begin alike. Deterministic: equal scores are in the
// order of names.

#include "rpc/value.h"

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::mcp {

class ToolSearch {
 public:
  // A tool as tools/list shows it; a second one of the same name takes its place.
  void add(const rpc::Json& definition);
  void remove(const std::string& name);
  void clear();
  [[nodiscard]] std::size_t size() const { return tools_.size(); }

  // The names of at most `limit` tools, the best first; tools that share no word with the query are
  // left out.
  [[nodiscard]] std::vector<std::string> find(std::string_view query, std::size_t limit) const;

 private:
  struct Tool {
    std::map<std::string, double> words;  // how often, weighted by where
    double length = 0;
  };
  [[nodiscard]] std::vector<std::string> known_words(const std::string& word) const;

  std::map<std::string, Tool> tools_;
  std::map<std::string, std::size_t> holders_;  // how many tools have the word
  double length_ = 0;                           // of all tools
};

// Small letters, at their boundaries in camelCase and snake_case, without endings. For tests.
std::vector<std::string> search_words(std::string_view text);

}  // namespace ambit::mcp
