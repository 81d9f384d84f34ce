#include "mcp/tool_search.h"

#include "mcp/json_text.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <utility>

namespace ambit::mcp {
namespace {

using rpc::Json;

constexpr double name_weight = 4;
constexpr double title_weight = 3;
constexpr double description_weight = 1;
constexpr double parameter_weight = 0.5;
constexpr double saturation = 1.2;      // k1 of BM25
constexpr double length_share = 0.5;    // b of BM25: names are short, and that says little
constexpr std::size_t words_max = 512;  // of one tool, and of a query
constexpr std::size_t alike_bytes =
    4;  // a word that nobody has begins like these that somebody has
constexpr std::size_t alike_max = 4;

constexpr std::array<std::string_view, 48> small_words = {
    "a",     "an",    "the",  "of",    "to",   "in",   "on",   "for",  "and",  "or",
    "is",    "are",   "was",  "be",    "by",   "with", "from", "at",   "as",   "it",
    "its",   "this",  "that", "which", "what", "how",  "do",   "does", "did",  "can",
    "could", "would", "i",    "me",    "my",   "we",   "our",  "you",  "your", "there",
    "their", "them",  "they", "any",   "some", "will", "if",   "so"};

// What people and the authors of tools call the same thing differently. A word of the same row
// counts as a part of the word itself.
constexpr double kin_weight = 0.4;
const std::vector<std::vector<std::string>>& kinships() {
  static const std::vector<std::vector<std::string>> rows = [] {
    std::vector<std::vector<std::string>> made;
    for (const char* row : {"create new add make",
                            "delete remove erase drop",
                            "change update edit modify set",
                            "get show read view fetch",
                            "find search lookup query look",
                            "list all every",
                            "send post",
                            "stop end cancel",
                            "start run launch",
                            "copy clone duplicate",
                            "meeting event appointment",
                            "mail email",
                            "image picture photo",
                            "message text sms",
                            "file document",
                            "folder directory",
                            "person user contact people",
                            "ticket issue bug",
                            "money payment amount",
                            "buy order purchase",
                            "price cost",
                            "todo task",
                            "place location address",
                            "route directions way",
                            "weather rain sun snow",
                            "currency dollar euro pound yen",
                            "error failure exception",
                            "log logs history"}) {
      made.push_back(search_words(row));
    }
    return made;
  }();
  return rows;
}

bool is_small(const std::string& word) {
  return std::find(small_words.begin(), small_words.end(), word) != small_words.end();
}

// The common endings of English words, so that "deleting", "deletes" and "deleted" meet.
std::string without_ending(std::string word) {
  const auto cut = [&word](std::string_view ending, std::size_t least, std::string_view put = "") {
    if (!word.ends_with(ending) || word.size() < ending.size() + least) return false;
    word.resize(word.size() - ending.size());
    word += put;
    return true;
  };
  if (!cut("ies", 2, "y") && !cut("sses", 2, "ss") && !word.ends_with("ss") &&
      !word.ends_with("us"))
    cut("s", 3);
  if (cut("ing", 3) || cut("ed", 3)) {
    const std::size_t size = word.size();
    const bool doubled = size > 3 && word[size - 1] == word[size - 2];
    if (doubled && std::string_view("lsz").find(word.back()) == std::string_view::npos) {
      word.pop_back();
    }
  }
  cut("ation", 3);
  cut("ion", 4);
  cut("ment", 4);
  cut("er", 4);
  cut("e", 3);
  return word;
}

void count(const std::string& text, double weight, std::map<std::string, double>& words,
           double& length) {
  for (std::string& word : search_words(text)) {
    if (words.size() >= words_max && !words.contains(word)) continue;
    words[std::move(word)] += weight;
    length += weight;
  }
}

}  // namespace

std::vector<std::string> search_words(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  const auto end_word = [&] {
    if (!word.empty() && !is_small(word) && words.size() < words_max) {
      words.push_back(without_ending(std::move(word)));
    }
    word.clear();
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    // Bytes beyond ASCII are parts of words, whatever the script.
    const bool is_part = std::isalnum(byte) != 0 || byte >= 0x80;
    const bool is_capital = std::isupper(byte) != 0;
    const bool was_small = i > 0 && std::islower(static_cast<unsigned char>(text[i - 1])) != 0;
    if (!is_part || (is_capital && was_small)) end_word();
    if (is_part) word += static_cast<char>(std::tolower(byte));
  }
  end_word();
  return words;
}

void ToolSearch::add(const Json& definition) {
  const std::string name = text_of(definition, "name");
  remove(name);
  Tool tool;
  count(name, name_weight, tool.words, tool.length);
  count(text_of(definition, "title"), title_weight, tool.words, tool.length);
  count(text_of(definition, "description"), description_weight, tool.words, tool.length);
  const auto schema = definition.find("inputSchema");
  if (schema != definition.end() && schema->is_object() && schema->contains("properties") &&
      (*schema)["properties"].is_object()) {
    for (const auto& [key, property] : (*schema)["properties"].items()) {
      count(key, parameter_weight, tool.words, tool.length);
      count(text_of(property, "description"), parameter_weight, tool.words, tool.length);
    }
  }
  for (const auto& [word, weight] : tool.words) ++holders_[word];
  length_ += tool.length;
  tools_.emplace(name, std::move(tool));
}

void ToolSearch::remove(const std::string& name) {
  const auto at = tools_.find(name);
  if (at == tools_.end()) return;
  for (const auto& [word, weight] : at->second.words) {
    const auto holder = holders_.find(word);
    if (--holder->second == 0) holders_.erase(holder);
  }
  length_ -= at->second.length;
  tools_.erase(at);
}

void ToolSearch::clear() {
  tools_.clear();
  holders_.clear();
  length_ = 0;
}

std::vector<std::string> ToolSearch::known_words(const std::string& word) const {
  if (holders_.contains(word)) return {word};
  std::vector<std::string> alike;
  if (word.size() < alike_bytes) return alike;
  const std::string start = word.substr(0, std::max(alike_bytes, word.size() - 2));
  for (auto at = holders_.lower_bound(start);
       at != holders_.end() && at->first.starts_with(start) && alike.size() < alike_max; ++at) {
    alike.push_back(at->first);
  }
  return alike;
}

std::vector<std::string> ToolSearch::find(std::string_view query, std::size_t limit) const {
  std::map<std::string, double> wanted;  // how much a word counts
  for (const std::string& word : search_words(query)) {
    for (const std::string& known : known_words(word)) wanted[known] = 1;
    for (const auto& row : kinships()) {
      if (std::find(row.begin(), row.end(), word) == row.end()) continue;
      for (const std::string& kin : row) {
        if (holders_.contains(kin)) wanted.emplace(kin, kin_weight);
      }
    }
  }
  if (tools_.empty() || wanted.empty()) return {};
  const double all = static_cast<double>(tools_.size());
  const double mean = length_ / all;
  std::vector<std::pair<double, const std::string*>> found;
  for (const auto& [name, tool] : tools_) {
    double score = 0;
    for (const auto& [word, weight] : wanted) {
      const auto at = tool.words.find(word);
      if (at == tool.words.end()) continue;
      const double holders = static_cast<double>(holders_.at(word));
      const double rarity = std::log(1 + (all - holders + 0.5) / (holders + 0.5));
      const double norm = saturation * (1 - length_share + length_share * tool.length / mean);
      score += weight * rarity * at->second * (saturation + 1) / (at->second + norm);
    }
    if (score > 0) found.emplace_back(-score, &name);
  }
  std::sort(found.begin(), found.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : *a.second < *b.second;
  });
  std::vector<std::string> names;
  for (const auto& [score, name] : found) {
    if (names.size() == limit) break;
    names.push_back(*name);
  }
  return names;
}

}  // namespace ambit::mcp
