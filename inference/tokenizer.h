#pragma once

// Text to token ids and back, by the vocabulary inside the model file: byte-level BPE (rank-ordered
// merges) and SentencePiece (score-ordered merges, byte fallback). Immutable after load. Text that
// comes from outside is guarded first, so that it can never spell a control token.

#include "async/result.h"
#include "inference/gguf.h"
#include "inference/pretokenize.h"
#include "inference/tensor.h"

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ambit::inference {

enum class TokenKind : std::uint8_t {
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6
};

class Tokenizer {
 public:
  static Result<Tokenizer> load(const Gguf& file);

  [[nodiscard]] std::size_t size() const { return kinds_.size(); }
  // What the token stands for in text; empty for control tokens' text use name().
  [[nodiscard]] std::string_view bytes(TokenId token) const;
  // As written in the vocabulary: "<|im_end|>" also for control tokens.
  [[nodiscard]] std::string_view name(TokenId token) const;
  [[nodiscard]] TokenKind kind(TokenId token) const {
    return kinds_[static_cast<std::size_t>(token)];
  }
  [[nodiscard]] std::optional<TokenId> find(std::string_view name) const;
  [[nodiscard]] std::optional<TokenId> begin_token() const { return begin_; }
  [[nodiscard]] std::optional<TokenId> end_token() const { return end_; }
  [[nodiscard]] bool adds_begin() const { return adds_begin_; }
  // Tokens after which a turn is over: the file's end token and the well-known ends of turns.
  [[nodiscard]] const std::vector<TokenId>& turn_ends() const { return turn_ends_; }
  [[nodiscard]] bool ends_turn(TokenId token) const;

  // `specials`: control tokens written out in the text become those tokens.
  [[nodiscard]] std::vector<TokenId> encode(std::string_view text, bool specials = true) const;
  // The same, with the begin token first where the vocabulary wants one.
  [[nodiscard]] std::vector<TokenId> encode_whole(std::string_view text,
                                                  bool specials = true) const;
  // Of how many of the first bytes of `text` the tokens are certain, whatever may follow it: they
  // are the first tokens of every text that begins with it.
  [[nodiscard]] std::size_t certain_length(std::string_view text) const;
  [[nodiscard]] std::string decode(const std::vector<TokenId>& tokens) const;

  // The text with a mark inside whatever would read as a control token (`tags`: also inside
  // user-defined tokens of the form <...>); encode() drops the marks.
  [[nodiscard]] std::string guard(std::string_view text, bool tags) const;

 private:
  struct Merge {
    std::int32_t rank;
    TokenId merged;
  };
  struct Special {
    std::string_view text;
    TokenId token;
    bool tag;  // user-defined, <...>
    bool control;
  };

  // Stands inside guarded text; a noncharacter, so that no text means anything by it.
  static constexpr std::string_view guard_mark = "\xEF\xB7\x90";
  static std::size_t pair_of(char left, char right) {
    return (std::size_t{static_cast<unsigned char>(left)} << 8U) |
           static_cast<unsigned char>(right);
  }

  Tokenizer() = default;
  Result<void> load_vocabulary(const Gguf& file);
  Result<void> load_merges(const Gguf& file);
  Result<void> load_roles(const Gguf& file);
  [[nodiscard]] const Special* special_at(std::string_view text, std::size_t at) const;
  // Whether a special, written out whole or begun at the end of the text, goes on beyond `at`.
  [[nodiscard]] bool special_spans(std::string_view text, std::size_t at) const;
  // Whether no token of text without specials goes on beyond `at`, and what follows has no say in
  // the tokens before.
  [[nodiscard]] bool is_apart(std::string_view text, std::size_t at) const;
  void encode_plain(std::string_view text, bool at_start, std::vector<TokenId>& out) const;
  void encode_word(std::string_view word, std::vector<TokenId>& out) const;
  void encode_pieces(std::string_view text, std::vector<TokenId>& out) const;

  bool sentence_piece_ = false;
  bool adds_begin_ = false;
  bool adds_space_ = false;
  bool whole_words_first_ = false;
  PreTokenizer pre_ = PreTokenizer::gpt2;
  std::vector<char> text_;          // all names, then all decoded bytes
  std::vector<std::size_t> names_;  // token -> start of its name; one more at the end
  std::vector<std::size_t> bytes_;  // token -> start of its bytes; one more at the end
  std::vector<TokenKind> kinds_;
  std::vector<float> scores_;
  std::unordered_map<std::string_view, TokenId> ids_;  // by bytes, tokens that text can become
  std::unordered_map<std::string_view, TokenId> by_name_;
  std::unordered_map<std::uint64_t, Merge> merges_;  // left << 32 | right
  std::array<TokenId, 256> byte_tokens_{};           // -1: none
  std::array<std::vector<Special>, 256> specials_;   // by first byte, longest first
  std::size_t special_bytes_max_ = 0;
  std::vector<bool> neighbours_;  // SentencePiece: pairs of bytes that stand together in a token
  std::optional<TokenId> begin_, end_, unknown_;
  std::vector<TokenId> turn_ends_;
};

// Bytes as byte-level vocabularies write them: one printable character each.
std::string byte_level_spelling(std::string_view bytes);

// Joins tokens into text as they come, and never gives out half a character.
class Detokenizer {
 public:
  explicit Detokenizer(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  // The text that is complete now.
  std::string push(TokenId token);
  // The rest; what never became a character is U+FFFD.
  std::string finish();

 private:
  const Tokenizer& tokenizer_;
  std::string pending_;
};

}  // namespace ambit::inference
