#include "inference/pretokenize.h"

#include "inference/unicode.h"

#include <algorithm>
#include <array>

namespace ambit::inference {

namespace {

// gpt-2:  's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
// llama3: (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|
// ?[^\s\p{L}\p{N}]+[\r\n]*|
//         \s*[\r\n]+|\s+(?!\S)|\s+
// qwen2:  as llama3 with \p{N} instead of \p{N}{1,3}
// smollm: every \p{N} alone first, then gpt-2 on what is between them
class Scanner {
 public:
  Scanner(PreTokenizer kind, std::string_view text) : kind_(kind), text_(text) {
    points_.reserve(text.size() + 1);
    for (std::size_t at = 0; at < text.size();) {
      const CodePoint point = decode_utf8(text, at);
      points_.push_back(
          {at, point.value, point.valid ? char_class(point.value) : CharClass::other});
      at += point.bytes;
    }
    end_ = points_.size();
  }

  std::vector<std::string_view> run() {
    std::vector<std::string_view> pieces;
    for (std::size_t at = 0; at < points_.size();) {
      const std::size_t end = next(at);
      pieces.push_back(text_.substr(offset(at), offset(end) - offset(at)));
      at = end;
    }
    return pieces;
  }

 private:
  struct Point {
    std::size_t offset;
    std::uint32_t value;
    CharClass kind;
  };

  std::size_t next(std::size_t at) {
    if (kind_ == PreTokenizer::gpt2) return gpt2(at);
    if (kind_ != PreTokenizer::smollm) return llama3(at);
    end_ = points_.size();
    if (is(at, CharClass::number)) return at + 1;
    for (end_ = at; end_ < points_.size() && points_[end_].kind != CharClass::number;) ++end_;
    return gpt2(at);
  }

  [[nodiscard]] std::size_t offset(std::size_t at) const {
    return at < points_.size() ? points_[at].offset : text_.size();
  }
  [[nodiscard]] bool is(std::size_t at, CharClass kind) const {
    return at < end_ && points_[at].kind == kind;
  }
  [[nodiscard]] std::uint32_t value(std::size_t at) const {
    return at < end_ ? points_[at].value : 0;
  }
  [[nodiscard]] bool is_newline(std::size_t at) const {
    return at < end_ && (points_[at].value == '\n' || points_[at].value == '\r');
  }
  [[nodiscard]] std::size_t run_of(std::size_t at, CharClass kind) const {
    while (is(at, kind)) ++at;
    return at;
  }

  // The end of a contraction that starts at `at`, or `at`.
  [[nodiscard]] std::size_t contraction(std::size_t at, bool any_case) const {
    if (value(at) != '\'') return at;
    const auto letter = [&](std::size_t where) {
      const std::uint32_t point = value(where);
      return any_case && point >= 'A' && point <= 'Z' ? point + 32 : point;
    };
    const std::uint32_t first = letter(at + 1);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return at + 2;
    const std::uint32_t second = letter(at + 2);
    if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') ||
        (first == 'l' && second == 'l'))
      return at + 3;
    return at;
  }

  // \s+(?!\S)|\s+ : a run of spaces leaves its last one to the word that follows, unless it is
  // alone.
  [[nodiscard]] std::size_t spaces(std::size_t at) const {
    const std::size_t end = run_of(at, CharClass::space);
    return end < end_ && end - at > 1 ? end - 1 : end;
  }

  [[nodiscard]] std::size_t gpt2(std::size_t at) const {
    if (const std::size_t end = contraction(at, false); end > at) return end;
    const std::size_t body = value(at) == ' ' ? at + 1 : at;
    for (const CharClass kind : {CharClass::letter, CharClass::number, CharClass::other})
      if (is(body, kind)) return run_of(body, kind);
    return spaces(at);
  }

  [[nodiscard]] std::size_t llama3(std::size_t at) const {
    if (const std::size_t end = contraction(at, true); end > at) return end;
    if (is(at, CharClass::letter)) return run_of(at, CharClass::letter);
    if (!is_newline(at) && !is(at, CharClass::number) && is(at + 1, CharClass::letter))
      return run_of(at + 1, CharClass::letter);
    if (is(at, CharClass::number)) {
      const std::size_t most = kind_ == PreTokenizer::llama3 ? 3 : 1;
      return std::min(run_of(at, CharClass::number), at + most);
    }
    const std::size_t body = value(at) == ' ' ? at + 1 : at;
    if (is(body, CharClass::other)) {
      std::size_t end = run_of(body, CharClass::other);
      while (is_newline(end)) ++end;
      return end;
    }
    // \s*[\r\n]+ : up to the last newline of this run of spaces.
    const std::size_t end = run_of(at, CharClass::space);
    for (std::size_t last = end; last > at; --last)
      if (is_newline(last - 1)) return last;
    return spaces(at);
  }

  PreTokenizer kind_;
  std::string_view text_;
  std::vector<Point> points_;
  std::size_t end_ = 0;  // of the stretch that is being cut
};

struct Name {
  std::string_view name;
  PreTokenizer kind;
};
// Names of other models whose expression is one of these.
constexpr std::array names = {
    Name{"gpt-2", PreTokenizer::gpt2},
    Name{"gpt2", PreTokenizer::gpt2},
    Name{"default", PreTokenizer::gpt2},
    Name{"phi-2", PreTokenizer::gpt2},
    Name{"mpt", PreTokenizer::gpt2},
    Name{"olmo", PreTokenizer::gpt2},
    Name{"jais", PreTokenizer::gpt2},
    Name{"jina-es", PreTokenizer::gpt2},
    Name{"roberta-bpe", PreTokenizer::gpt2},
    Name{"llama-bpe", PreTokenizer::llama3},
    Name{"llama3", PreTokenizer::llama3},
    Name{"llama-v3", PreTokenizer::llama3},
    Name{"smaug-bpe", PreTokenizer::llama3},
    Name{"falcon3", PreTokenizer::llama3},
    Name{"dbrx", PreTokenizer::llama3},
    Name{"qwen2", PreTokenizer::qwen2},
    Name{"deepseek-r1-qwen", PreTokenizer::qwen2},
    Name{"stablelm2", PreTokenizer::qwen2},
    Name{"megrez", PreTokenizer::qwen2},
    Name{"smollm", PreTokenizer::smollm},
    Name{"starcoder", PreTokenizer::smollm},
    Name{"refact", PreTokenizer::smollm},
    Name{"command-r", PreTokenizer::smollm},
    Name{"codeshell", PreTokenizer::smollm},
    Name{"exaone", PreTokenizer::smollm},
};

}  // namespace

std::optional<PreTokenizer> pre_tokenizer_named(std::string_view name) {
  for (const Name& known : names)
    if (known.name == name) return known.kind;
  return std::nullopt;
}

std::vector<std::string_view> pre_tokenize(PreTokenizer kind, std::string_view text) {
  return Scanner(kind, text).run();
}

}  // namespace ambit::inference
