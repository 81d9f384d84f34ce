#include "rpc/yaml.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <string>
#include <utility>
#include <vector>

namespace ambit::rpc {
namespace {

constexpr std::size_t yaml_bytes_max = 4 << 20;
constexpr int yaml_depth_max = 64;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) {
    text.remove_suffix(1);
  }
  return text;
}

// Up to a comment that stands outside of quotes.
std::string_view without_comment(std::string_view line) {
  char quote = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quote != 0) {
      if (c == '\\' && quote == '"')
        ++i;
      else if (c == quote)
        quote = 0;
    } else if ((c == '"' || c == '\'') && (i == 0 || line[i - 1] == ' ' || line[i - 1] == '[' ||
                                           line[i - 1] == '{' || line[i - 1] == ',')) {
      quote = c;
    } else if (c == '#' && (i == 0 || line[i - 1] == ' ' || line[i - 1] == '\t')) {
      return line.substr(0, i);
    }
  }
  return line;
}

Json plain_scalar(std::string_view text) {
  if (text.empty() || text == "~" || text == "null") return nullptr;
  if (text == "true" || text == "false") return text == "true";
  std::int64_t number = 0;
  const char* last = text.data() + text.size();
  if (const auto [end, bad] = std::from_chars(text.data(), last, number);
      bad == std::errc() && end == last) {
    return number;
  }
  double real = 0;
  if (const auto [end, bad] = std::from_chars(text.data(), last, real);
      bad == std::errc() && end == last) {
    return real;
  }
  return std::string(text);
}

struct Line {
  std::size_t number = 0;
  std::size_t indent = 0;
  std::string_view text;  // without indent and comment
  std::string_view raw;
};

// Flow style and quoted scalars, from one line.
class FlowReader {
 public:
  FlowReader(std::string_view text, std::size_t line) : text_(text), line_(line) {}

  Result<Json> whole() {
    Json value = TRY(read(0));
    skip();
    if (at_ < text_.size()) return fail("text after the value");
    return value;
  }

 private:
  tl::unexpected<Error> fail(const std::string& why) const {
    return Err(Code::invalid, "line " + std::to_string(line_) + ": " + why);
  }
  void skip() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
  }
  Result<Json> read(int depth) {
    if (depth > yaml_depth_max) return fail("nested too deeply");
    skip();
    if (at_ == text_.size()) return Json(nullptr);
    const char c = text_[at_];
    if (c == '"' || c == '\'') return quoted(c);
    if (c == '[' || c == '{') return collection(c, depth);
    const std::size_t from = at_;
    const bool inside = depth > 0;
    while (at_ < text_.size() &&
           !(inside && (text_[at_] == ',' || text_[at_] == ']' || text_[at_] == '}'))) {
      ++at_;
    }
    return plain_scalar(trimmed(text_.substr(from, at_ - from)));
  }
  Result<Json> quoted(char quote) {
    const std::size_t from = at_++;
    std::string out;
    while (at_ < text_.size() && text_[at_] != quote) {
      if (quote == '"' && text_[at_] == '\\') ++at_;
      if (at_ < text_.size()) out += text_[at_++];
    }
    if (at_ == text_.size()) return fail("a quote is not closed");
    ++at_;
    if (quote == '\'') return Json(out);
    const Json parsed = Json::parse(text_.substr(from, at_ - from), nullptr, false);
    return parsed.is_string() ? parsed : Json(out);
  }
  Result<Json> collection(char open, int depth) {
    const bool is_list = open == '[';
    Json out = is_list ? Json::array() : Json::object();
    ++at_;
    while (true) {
      skip();
      if (at_ == text_.size()) return fail("a list or mapping is not closed on its line");
      if (text_[at_] == (is_list ? ']' : '}')) {
        ++at_;
        return out;
      }
      if (text_[at_] == ',') {
        ++at_;
        continue;
      }
      if (is_list) {
        out.push_back(TRY(read(depth + 1)));
        continue;
      }
      const std::size_t colon = text_.find(':', at_);
      if (colon == std::string_view::npos) return fail("expected ':'");
      std::string key(trimmed(text_.substr(at_, colon - at_)));
      if (key.size() >= 2 && (key.front() == '"' || key.front() == '\'')) {
        key = key.substr(1, key.size() - 2);
      }
      at_ = colon + 1;
      out[key] = TRY(read(depth + 1));
    }
  }

  std::string_view text_;
  std::size_t line_;
  std::size_t at_ = 0;
};

class YamlReader {
 public:
  explicit YamlReader(std::string_view text) {
    std::size_t number = 0;
    while (!text.empty()) {
      const std::size_t end = std::min(text.find('\n'), text.size());
      std::string_view raw = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      if (raw.ends_with('\r')) raw.remove_suffix(1);
      Line line{++number, 0, {}, raw};
      while (line.indent < raw.size() && raw[line.indent] == ' ') ++line.indent;
      line.text = trimmed(without_comment(raw.substr(line.indent)));
      lines_.push_back(line);
    }
  }

  Result<Json> document() {
    next();
    if (at_ < lines_.size() && lines_[at_].text == "---") {
      ++at_;
      next();
    }
    if (at_ == lines_.size()) return Json(nullptr);
    Json value = TRY(block(lines_[at_].indent, 0));
    next();
    if (at_ < lines_.size()) return fail("this line belongs to nothing before it");
    return value;
  }

 private:
  tl::unexpected<Error> fail(const std::string& why) const {
    const std::size_t number = at_ < lines_.size() ? lines_[at_].number : lines_.size();
    return Err(Code::invalid, "line " + std::to_string(number) + ": " + why);
  }
  void next() {
    while (at_ < lines_.size() && lines_[at_].text.empty()) ++at_;
  }
  [[nodiscard]] static bool is_item(std::string_view text) {
    return text == "-" || text.starts_with("- ");
  }
  // Where the ':' of "key: value" stands; npos: it is no such line.
  static std::size_t colon_of(std::string_view text) {
    char quote = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (quote != 0) {
        if (text[i] == quote) quote = 0;
      } else if (i == 0 && (text[i] == '"' || text[i] == '\'')) {
        quote = text[i];
      } else if (text[i] == ':' && (i + 1 == text.size() || text[i + 1] == ' ')) {
        return i;
      }
    }
    return std::string_view::npos;
  }

  Result<Json> block(std::size_t indent, int depth) {
    if (depth > yaml_depth_max) return fail("nested too deeply");
    const std::string_view text = lines_[at_].text;
    if (is_item(text)) return list(indent, depth);
    if (colon_of(text) != std::string_view::npos) return mapping(indent, depth);
    const std::size_t number = lines_[at_++].number;
    return FlowReader(text, number).whole();
  }

  Result<Json> list(std::size_t indent, int depth) {
    Json out = Json::array();
    for (next(); at_ < lines_.size() && lines_[at_].indent == indent && is_item(lines_[at_].text);
         next()) {
      Line& line = lines_[at_];
      const std::string_view rest = line.text.size() > 1 ? trimmed(line.text.substr(1)) : "";
      if (rest.empty()) {
        ++at_;
        out.push_back(TRY(child(indent, depth)));
        continue;
      }
      // What follows the dash is a block of its own, as far in as it stands.
      line.indent += static_cast<std::size_t>(rest.data() - line.text.data());
      line.text = rest;
      out.push_back(TRY(block(line.indent, depth + 1)));
    }
    return out;
  }

  Result<Json> mapping(std::size_t indent, int depth) {
    Json out = Json::object();
    for (next(); at_ < lines_.size() && lines_[at_].indent == indent; next()) {
      const std::string_view text = lines_[at_].text;
      if (is_item(text)) break;
      const std::size_t colon = colon_of(text);
      if (colon == std::string_view::npos) return fail("expected \"key: value\"");
      std::string key(trimmed(text.substr(0, colon)));
      if (key.size() >= 2 && (key.front() == '"' || key.front() == '\'')) {
        key = key.substr(1, key.size() - 2);
      }
      if (out.contains(key)) return fail("the key \"" + key + "\" is there twice");
      const std::string_view value = trimmed(text.substr(colon + 1));
      if (!value.empty() && (value[0] == '&' || value[0] == '*' || value[0] == '!')) {
        return fail("anchors and tags are not read");
      }
      const std::size_t number = lines_[at_++].number;
      if (value.empty()) {
        out[key] = TRY(child(indent, depth));
      } else if (value[0] == '|' || value[0] == '>') {
        out[key] = block_text(indent, value[0] == '>', value.ends_with('-'));
      } else {
        out[key] = TRY(FlowReader(value, number).whole());
      }
    }
    if (at_ < lines_.size() && lines_[at_].indent > indent) return fail("unexpected indentation");
    return out;
  }

  // What stands further in; a list may stand as far in as its key.
  Result<Json> child(std::size_t indent, int depth) {
    next();
    if (at_ == lines_.size()) return Json(nullptr);
    const Line& line = lines_[at_];
    if (line.indent > indent || (line.indent == indent && is_item(line.text))) {
      return block(line.indent, depth + 1);
    }
    return Json(nullptr);
  }

  std::string block_text(std::size_t indent, bool folded, bool stripped) {
    std::string out;
    std::size_t inner = 0;
    for (; at_ < lines_.size(); ++at_) {
      const std::string_view raw = lines_[at_].raw;
      const bool is_blank = trimmed(raw).empty();
      if (!is_blank && lines_[at_].indent <= indent) break;
      if (inner == 0 && !is_blank) inner = lines_[at_].indent;
      out += is_blank ? std::string_view() : raw.substr(std::min(inner, raw.size()));
      out += folded && !is_blank ? ' ' : '\n';
    }
    while (!out.empty() && (out.back() == '\n' || out.back() == ' ')) out.pop_back();
    if (!stripped) out += '\n';
    return out;
  }

  std::vector<Line> lines_;
  std::size_t at_ = 0;
};

}  // namespace

Result<Json> parse_yaml(std::string_view text) {
  if (text.size() > yaml_bytes_max) return Err(Code::invalid, "longer than 4 MiB");
  if (text.find('\t') != std::string_view::npos && text.find("\n\t") != std::string_view::npos) {
    return Err(Code::invalid, "a tab cannot indent");
  }
  return YamlReader(text).document();
}

Result<FrontMatter> parse_front_matter(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  const std::size_t first = text.find('\n');
  if (first == std::string_view::npos || trimmed(text.substr(0, first)) != "---") {
    return Err(Code::invalid, "it does not begin with front matter: a line of ---, YAML, and ---");
  }
  std::size_t at = first + 1;
  std::size_t line_end = at;
  for (;; at = line_end + 1) {
    if (at >= text.size()) return Err(Code::invalid, "the front matter is not closed by ---");
    line_end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, line_end - at);
    while (!line.empty() && (line.back() == ' ' || line.back() == '\t' || line.back() == '\r')) {
      line.remove_suffix(1);
    }
    if (line == "---") break;
  }
  Json head = TRY(parse_yaml(text.substr(first + 1, at - first - 1)));
  if (!head.is_object()) return Err(Code::invalid, "the front matter is not a mapping");
  std::size_t body = std::min(line_end + 1, text.size());
  while (body < text.size() && text[body] == '\n') ++body;
  return FrontMatter{Value(std::move(head)), std::string(text.substr(body))};
}

}  // namespace ambit::rpc
