#include "governance/provenance.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>

namespace ambit::governance {
namespace {

using agents::ArgumentOrigin;
using agents::Trust;
using nlohmann::json;

constexpr std::size_t phrase_words = 4;
constexpr std::size_t depth_max = 64;
constexpr std::size_t parts_max = 2000;  // of one value
constexpr std::size_t number_groups_max = 12;
constexpr std::size_t number_bytes_max = 40;

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || static_cast<unsigned char>(c) >= 0x80;
}
bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Characters that are not seen: they would hide a value from the search.
std::size_t invisible(std::string_view text, std::size_t at) {
  static constexpr std::array<std::string_view, 7> all = {
      "\xE2\x80\x8B", "\xE2\x80\x8C", "\xE2\x80\x8D", "\xE2\x81\xA0",
      "\xEF\xBB\xBF", "\xC2\xAD",     "\xE2\x80\x8E"};
  for (const std::string_view one : all) {
    if (text.substr(at, one.size()) == one) return one.size();
  }
  return 0;
}

// Lower case (ASCII), one space for any run of white space, nothing invisible.
std::string normalized(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0xC2) {
      if (const std::size_t hidden = invisible(text, i); hidden > 0) {
        i += hidden;
        continue;
      }
      if (text.substr(i, 2) == "\xC2\xA0") {
        if (!out.empty() && out.back() != ' ') out += ' ';
        i += 2;
        continue;
      }
    }
    ++i;
    if (c <= ' ') {
      if (!out.empty() && out.back() != ' ') out += ' ';
    } else {
      out += static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    }
  }
  while (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

struct Word {
  std::size_t begin;
  std::size_t end;
};

std::vector<Word> words_of(std::string_view normal) {
  std::vector<Word> words;
  for (std::size_t i = 0; i < normal.size();) {
    if (!is_word(normal[i])) {
      ++i;
      continue;
    }
    const std::size_t begin = i;
    while (i < normal.size() && is_word(normal[i])) ++i;
    words.push_back({begin, i});
  }
  return words;
}

// Whether what stands at `at` ends there: "x.com" does not stand in "x.com.evil.net", nor "b@x.com"
// in "a.b@x.com".
bool stands_alone(std::string_view text, std::size_t at, std::size_t size) {
  constexpr std::string_view before = "._%+-@";
  constexpr std::string_view after = ".-@/_:%+?=&#";
  if (at > 0) {
    const char c = text[at - 1];
    if (is_word(text[at]) && is_word(c)) return false;
    if (before.find(c) != std::string_view::npos && at > 1 && is_word(text[at - 2])) return false;
  }
  const std::size_t end = at + size;
  if (end < text.size()) {
    const char c = text[end];
    if (is_word(text[end - 1]) && is_word(c)) return false;
    const bool goes_on = end + 1 < text.size() && is_word(text[end + 1]);
    if (goes_on && after.find(c) != std::string_view::npos) return false;
  }
  return true;
}

// Short, or a few digits: it could stand anywhere by chance.
bool is_weak(std::string_view normal) {
  const auto letters =
      static_cast<std::size_t>(std::count_if(normal.begin(), normal.end(), is_word));
  const bool digits =
      std::all_of(normal.begin(), normal.end(), [](char c) { return is_digit(c) || !is_word(c); });
  return letters < 4 || (digits && letters < 6);
}

// What names something: an address, a link, a number of some length.
bool is_name_like(std::string_view word) {
  const auto digits = std::count_if(word.begin(), word.end(), is_digit);
  const bool address = word.find('@') != std::string_view::npos ||
                       word.find("://") != std::string_view::npos ||
                       word.find("www.") != std::string_view::npos;
  return word.size() >= 5 && (address || digits >= 4);
}

std::string_view stripped(std::string_view word) {
  const auto edge = [](char c) { return !is_word(c) && c != '/'; };
  while (!word.empty() && edge(word.front())) word.remove_prefix(1);
  while (!word.empty() && edge(word.back())) word.remove_suffix(1);
  return word;
}

std::string_view host_of(std::string_view link) {
  const std::size_t at = link.find("://");
  if (at == std::string_view::npos) return {};
  link.remove_prefix(at + 3);
  return link.substr(0, link.find_first_of("/?#:"));
}

std::uint64_t mixed(std::uint64_t sum, std::string_view word) {
  for (const char c : word) sum = (sum ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return (sum ^ ' ') * 0x100000001b3U;
}

// Calls `each` with every run of words, without what groups them, that could be an account, a card
// or a telephone number: "gb29 nwbk 6016" gives "gb29", "gb29nwbk", ... of 8 to 40 characters.
template <class F>
void each_number(std::string_view normal, const std::vector<Word>& words, F each) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    std::string run;
    std::size_t digits = 0;
    for (std::size_t k = i; k < words.size() && k < i + number_groups_max; ++k) {
      if (k > i) {
        const bool one_apart = words[k].begin == words[k - 1].end + 1;
        const char gap = normal[words[k - 1].end];
        if (!one_apart || (gap != ' ' && gap != '-')) break;
      }
      const auto word = normal.substr(words[k].begin, words[k].end - words[k].begin);
      const auto here = static_cast<std::size_t>(std::count_if(word.begin(), word.end(), is_digit));
      if (here == 0 && (k == i || word.size() > 4)) break;
      run += word;
      digits += here;
      if (run.size() > number_bytes_max) break;
      if (run.size() >= 8 && digits >= 6) each(run);
    }
  }
}

// The value as one number, where it is one: its groups joined.
std::string joined_digits(std::string_view normal) {
  std::string joined;
  for (const char c : normal) {
    if (c == ' ' || c == '-') continue;
    if (!is_word(c)) return {};
    joined += c;
  }
  const auto digits = std::count_if(joined.begin(), joined.end(), is_digit);
  return joined.size() >= 8 && joined.size() <= number_bytes_max && digits >= 6 ? joined : "";
}

bool names_field(const std::string& path, const std::vector<std::string>& fields) {
  return std::any_of(fields.begin(), fields.end(), [&](const std::string& field) {
    return path == field || path.ends_with("." + field);
  });
}

// The ways in which a number is written: 10, 10.0, 10.00.
std::vector<std::string> spellings(const json& number) {
  std::string text = number.dump();
  const std::size_t point = text.find('.');
  if (text.find('e') != std::string::npos) return {text};
  if (point == std::string::npos) return {text, text + ".0", text + ".00"};
  if (text.substr(point) == ".0") return {text.substr(0, point), text, text + "0"};
  if (text.size() - point == 2) return {text, text + "0"};
  return {text};
}

}  // namespace

void Provenance::add(const SourceLabel& label, std::string_view text) {
  std::vector<std::string> names = {label.name};
  names.insert(names.end(), label.through.begin(), label.through.end());
  const auto known = std::find(sources_.begin(), sources_.end(), names);
  const auto source = static_cast<std::uint32_t>(known - sources_.begin());
  if (known == sources_.end()) sources_.push_back(std::move(names));
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  const bool maybe = first != std::string_view::npos && (text[first] == '{' || text[first] == '[');
  const bool by_field = maybe && !label.trusted_fields.empty() && text.size() <= options_.bytes_max;
  const json parsed = by_field ? json::parse(text, nullptr, false) : json();
  if (!parsed.is_structured()) return add_text(label.trust, source, text);
  // Without recursion: a hostile result may be nested as deep as it likes.
  std::vector<std::pair<const json*, std::string>> open = {{&parsed, ""}};
  while (!open.empty()) {
    const auto [at, path] = open.back();
    open.pop_back();
    if (at->is_array()) {
      for (const json& element : *at) open.emplace_back(&element, path);
    } else if (at->is_object()) {
      for (const auto& [name, member] : at->items()) {
        // The names too are the source's words.
        add_text(label.trust, source, name);
        const std::string below =
            path.size() > 1024 ? path : path + (path.empty() ? "" : ".") + name;
        open.emplace_back(&member, below);
      }
    } else if (!at->is_null() && !at->is_boolean()) {
      const bool vouched = names_field(path, label.trusted_fields);
      const Trust trust = vouched ? std::min(label.trust, Trust::trusted) : label.trust;
      add_text(trust, source, at->is_string() ? at->get_ref<const std::string&>() : at->dump());
    }
  }
}

void Provenance::add_text(Trust trust, std::uint32_t source, std::string_view text) {
  if (text.size() > options_.bytes_max || texts_.size() >= options_.texts_max) {
    full_ = true;
    return;
  }
  std::string normal = normalized(text);
  if (normal.empty()) return;
  if (bytes_ + normal.size() > options_.bytes_max) {
    full_ = true;
    return;
  }
  bytes_ += normal.size();
  texts_.push_back({trust, source, std::move(normal)});
  index(static_cast<std::uint32_t>(texts_.size() - 1));
}

void Provenance::index(std::uint32_t at) {
  const std::string_view normal = texts_[at].normal;
  const std::vector<Word> words = words_of(normal);
  for (const Word& word : words) {
    words_[std::string(normal.substr(word.begin, word.end - word.begin))].push_back(
        {at, static_cast<std::uint32_t>(word.begin)});
  }
  each_number(normal, words, [&](const std::string& number) {
    auto& in = numbers_[number];
    if (in.empty() || in.back() != at) in.push_back(at);
  });
  for (std::size_t i = 0; i + phrase_words <= words.size(); ++i) {
    std::uint64_t sum = 0xcbf29ce484222325U;
    for (std::size_t k = i; k < i + phrase_words; ++k) {
      sum = mixed(sum, normal.substr(words[k].begin, words[k].end - words[k].begin));
    }
    auto& in = phrases_[sum];
    if (in.empty() || in.back() != at) in.push_back(at);
  }
}

// The texts in which it stands whole. By its rarest word; a word that stands everywhere is not
// walked through, the texts are searched.
std::vector<std::uint32_t> Provenance::texts_with(std::string_view normal) const {
  std::vector<std::uint32_t> in;
  const std::vector<Place>* rarest = nullptr;
  std::size_t offset = 0;
  for (const Word& word : words_of(normal)) {
    const auto places = words_.find(std::string(normal.substr(word.begin, word.end - word.begin)));
    if (places == words_.end()) return in;
    if (rarest == nullptr || places->second.size() < rarest->size()) {
      rarest = &places->second;
      offset = word.begin;
    }
  }
  if (rarest == nullptr) return in;
  if (rarest->size() <= options_.places_max) {
    for (const Place& place : *rarest) {
      const std::string_view text = texts_[place.text].normal;
      if (place.offset < offset || (!in.empty() && in.back() == place.text)) continue;
      const std::size_t at = place.offset - offset;
      const bool here = text.substr(at, normal.size()) == normal;
      if (here && stands_alone(text, at, normal.size())) in.push_back(place.text);
    }
    return in;
  }
  for (std::uint32_t i = 0; i < texts_.size(); ++i) {
    const std::string_view text = texts_[i].normal;
    std::size_t at = text.find(normal);
    while (at != std::string_view::npos && !stands_alone(text, at, normal.size())) {
      at = text.find(normal, at + 1);
    }
    if (at != std::string_view::npos) in.push_back(i);
  }
  return in;
}

Provenance::Found Provenance::find(std::string_view value) const {
  Found found;
  const std::string normal = normalized(value);
  std::vector<std::uint32_t> in = texts_with(normal);
  if (in.empty()) {
    const auto number = numbers_.find(joined_digits(normal));
    if (number != numbers_.end()) in = number->second;
  }
  if (in.empty()) {
    find_parts(normal, found);
    if (full_ && found.trust == Trust::unknown) found.trust = Trust::untrusted;
    return found;
  }
  found.weak = is_weak(normal);
  found.trust = texts_[in.front()].trust;
  for (const std::uint32_t text : in) {
    const Trust here = texts_[text].trust;
    // What could stand somewhere by chance is as good as the worst place that it stands in.
    found.trust = found.weak ? std::max(found.trust, here) : std::min(found.trust, here);
    found.sources.push_back(texts_[text].source);
  }
  return found;
}

// A value that stands nowhere as a whole: which names and phrases in it were read, and where.
void Provenance::find_parts(std::string_view normal, Found& found) const {
  std::size_t looked = 0;
  const auto judge = [&](const std::vector<std::uint32_t>& in) {
    if (in.empty()) return;
    Trust best = Trust::untrusted;
    for (const std::uint32_t text : in) {
      best = std::min(best, texts_[text].trust);
      found.sources.push_back(texts_[text].source);
    }
    found.trust = std::max(found.trust, best);
  };
  for (std::size_t i = 0; i < normal.size() && looked < parts_max; ++looked) {
    const std::size_t end = std::min(normal.find(' ', i), normal.size());
    const std::string_view word = stripped(normal.substr(i, end - i));
    i = end + 1;
    if (!is_name_like(word)) continue;
    auto in = texts_with(word);
    if (in.empty() && !host_of(word).empty()) in = texts_with(host_of(word));
    judge(in);
  }
  const std::vector<Word> words = words_of(normal);
  each_number(normal, words, [&](const std::string& number) {
    const auto in = numbers_.find(number);
    if (in != numbers_.end() && looked++ < parts_max) judge(in->second);
  });
  for (std::size_t i = 0; i + phrase_words <= words.size() && looked < parts_max; ++i, ++looked) {
    std::uint64_t sum = 0xcbf29ce484222325U;
    for (std::size_t k = i; k < i + phrase_words; ++k) {
      sum = mixed(sum, normal.substr(words[k].begin, words[k].end - words[k].begin));
    }
    const auto in = phrases_.find(sum);
    if (in != phrases_.end()) judge(in->second);
  }
  if (looked >= parts_max) found.trust = Trust::untrusted;
}

class Provenance::Tracer {
 public:
  explicit Tracer(const Provenance& of) : of_(of) {}

  // False: the argument has no value.
  bool argument(const json& value, ArgumentOrigin& out) {
    bool any = false;
    std::vector<std::pair<const json*, std::size_t>> open = {{&value, 0}};
    out.trust = Trust::user;
    while (!open.empty()) {
      const auto [at, depth] = open.back();
      open.pop_back();
      if (at->is_structured()) {
        if (depth >= depth_max) {
          out.trust = Trust::untrusted;
          any = true;
        }
        for (const json& inner : *at) {
          if (depth < depth_max) open.emplace_back(&inner, depth + 1);
        }
        if (at->is_object()) names(*at, out, any);
      } else if (!at->is_null()) {
        any = leaf(*at, out) || any;
      }
    }
    return any;
  }

 private:
  // Names of members inside of an argument are values as well: the model chose them.
  void names(const json& object, ArgumentOrigin& out, bool& any) {
    for (const auto& [name, inner] : object.items()) {
      if (is_name_like(name)) any = leaf(json(name), out) || any;
    }
  }

  bool leaf(const json& value, ArgumentOrigin& out) {
    if (++looked_ > of_.options_.values_max) {
      out.trust = Trust::untrusted;
      return true;
    }
    Found found;
    if (value.is_string()) {
      if (normalized(value.get_ref<const std::string&>()).empty()) return false;
      found = of_.find(value.get_ref<const std::string&>());
    } else if (value.is_number()) {
      for (const std::string& text : spellings(value)) {
        found = of_.find(text);
        if (found.trust != Trust::unknown) break;
      }
    }
    out.trust = std::max(out.trust, found.trust);
    out.weak = out.weak || found.weak;
    for (const std::uint32_t source : found.sources) {
      for (const std::string& name : of_.sources_[source]) {
        const bool there =
            std::find(out.sources.begin(), out.sources.end(), name) != out.sources.end();
        if (!there && out.sources.size() < of_.options_.sources_max) out.sources.push_back(name);
      }
    }
    return true;
  }

  const Provenance& of_;
  std::size_t looked_ = 0;
};

std::vector<ArgumentOrigin> Provenance::trace(std::string_view arguments) const {
  std::vector<ArgumentOrigin> origins;
  const json parsed = json::parse(arguments, nullptr, false);
  if (!parsed.is_object()) return origins;
  Tracer tracer(*this);
  for (const auto& [name, value] : parsed.items()) {
    if (origins.size() == options_.arguments_max) break;
    ArgumentOrigin origin;
    origin.argument = name;
    if (!tracer.argument(value, origin)) continue;
    origins.push_back(std::move(origin));
  }
  return origins;
}

}  // namespace ambit::governance
