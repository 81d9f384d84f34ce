#include "inference/tokenizer.h"

#include "inference/unicode.h"

#include <algorithm>
#include <cmath>
#include <queue>

namespace ambit::inference {

namespace {

constexpr std::string_view space_mark = "\xE2\x96\x81";  // U+2581, SentencePiece's space

// GPT-2 writes each byte of a token as one printable character. This is the way back.
class ByteAlphabet {
 public:
  ByteAlphabet() {
    std::uint32_t shifted = 256;
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      const bool printable =
          (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      const std::uint32_t point = printable ? byte : shifted++;
      bytes_.emplace(point, static_cast<char>(byte));
      points_[byte] = point;
    }
  }
  // The bytes, or the text itself when it is not written in this alphabet.
  [[nodiscard]] std::string decode(std::string_view text) const {
    std::string out;
    for (std::size_t at = 0; at < text.size();) {
      const CodePoint point = decode_utf8(text, at);
      const auto found = bytes_.find(point.value);
      if (!point.valid || found == bytes_.end()) return std::string(text);
      out += found->second;
      at += point.bytes;
    }
    return out;
  }
  [[nodiscard]] std::string encode(std::string_view bytes) const {
    std::string out;
    for (const char byte : bytes) append_utf8(out, points_[static_cast<unsigned char>(byte)]);
    return out;
  }

 private:
  std::array<std::uint32_t, 256> points_{};
  std::unordered_map<std::uint32_t, char> bytes_;
};

// "<0x0A>" -> 10, else -1.
int byte_token_value(std::string_view name) {
  if (name.size() != 6 || !name.starts_with("<0x") || name[5] != '>') return -1;
  int value = 0;
  for (const char c : name.substr(3, 2)) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  std::size_t at = 0;
  for (std::size_t next = 0; (next = text.find(from, at)) != std::string_view::npos;) {
    out.append(text.substr(at, next - at)).append(to);
    at = next + from.size();
  }
  return out.append(text.substr(at));
}

std::uint64_t pair_key(TokenId left, TokenId right) {
  return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32U) |
         static_cast<std::uint32_t>(right);
}

// A doubly linked list of neighbouring pieces, and the queue of the merges that are possible. Both
// kinds of vocabulary merge the best pair first, the leftmost of equals; they differ in what is
// best.
struct Piece {
  std::size_t start;
  std::size_t bytes;  // 0: merged into its left neighbour
  TokenId token;
  std::ptrdiff_t previous;
  std::ptrdiff_t next;
};
struct Candidate {
  float order;  // the smallest first
  std::size_t left, right;
  std::size_t bytes;  // of both, to notice that one has changed
  TokenId merged;
  bool operator<(const Candidate& other) const {
    return order != other.order ? order > other.order : left > other.left;
  }
};

// `merge_of(left, right)` gives {order, token} or nothing.
template <class MergeOf>
void merge_pieces(std::vector<Piece>& pieces, const MergeOf& merge_of) {
  std::priority_queue<Candidate> queue;
  const auto consider = [&](std::ptrdiff_t left, std::ptrdiff_t right) {
    if (left < 0 || right < 0) return;
    const Piece& a = pieces[static_cast<std::size_t>(left)];
    const Piece& b = pieces[static_cast<std::size_t>(right)];
    if (const auto found = merge_of(a, b))
      queue.push({found->first, static_cast<std::size_t>(left), static_cast<std::size_t>(right),
                  a.bytes + b.bytes, found->second});
  };
  for (std::size_t i = 0; i + 1 < pieces.size(); ++i)
    consider(static_cast<std::ptrdiff_t>(i), static_cast<std::ptrdiff_t>(i + 1));
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Piece& left = pieces[best.left];
    Piece& right = pieces[best.right];
    if (left.bytes == 0 || right.bytes == 0 || left.bytes + right.bytes != best.bytes) continue;
    left.bytes += right.bytes;
    left.token = best.merged;
    right.bytes = 0;
    left.next = right.next;
    if (right.next >= 0)
      pieces[static_cast<std::size_t>(right.next)].previous =
          static_cast<std::ptrdiff_t>(best.left);
    consider(left.previous, static_cast<std::ptrdiff_t>(best.left));
    consider(static_cast<std::ptrdiff_t>(best.left), left.next);
  }
}

void append_piece(std::vector<Piece>& pieces, std::size_t start, std::size_t bytes, TokenId token) {
  const auto at = static_cast<std::ptrdiff_t>(pieces.size());
  if (at > 0) pieces.back().next = at;
  pieces.push_back({start, bytes, token, at - 1, -1});
}

}  // namespace

std::string byte_level_spelling(std::string_view bytes) {
  return ByteAlphabet().encode(bytes);
}

Result<Tokenizer> Tokenizer::load(const Gguf& file) {
  const std::string* model = file.text("tokenizer.ggml.model");
  if (model == nullptr) return Err(Code::invalid, "the file has no tokenizer.ggml.model");
  Tokenizer tokenizer;
  tokenizer.byte_tokens_.fill(-1);
  tokenizer.sentence_piece_ = *model == "llama";
  if (!tokenizer.sentence_piece_ && *model != "gpt2")
    return Err(Code::unsupported,
               "the tokenizer \"" + *model + "\" is not supported (gpt2 and llama are)");
  if (!tokenizer.sentence_piece_) {
    const std::string* pre = file.text("tokenizer.ggml.pre");
    const std::string name = pre == nullptr ? "default" : *pre;
    const auto kind = pre_tokenizer_named(name);
    if (!kind)
      return Err(Code::unsupported, "the pre-tokenizer \"" + name +
                                        "\" is not supported (llama-bpe, qwen2 and gpt-2 are)");
    tokenizer.pre_ = *kind;
    tokenizer.whole_words_first_ =
        file.boolean("tokenizer.ignore_merges").value_or(*kind == PreTokenizer::llama3);
  }
  TRY(tokenizer.load_vocabulary(file));
  if (!tokenizer.sentence_piece_) TRY(tokenizer.load_merges(file));
  TRY(tokenizer.load_roles(file));
  return tokenizer;
}

Result<void> Tokenizer::load_vocabulary(const Gguf& file) {
  const auto* tokens = file.strings("tokenizer.ggml.tokens");
  if (tokens == nullptr || tokens->empty())
    return Err(Code::invalid, "the file has no tokenizer.ggml.tokens");
  const auto* kinds = file.integers("tokenizer.ggml.token_type");
  if (kinds != nullptr && kinds->size() != tokens->size())
    return Err(Code::invalid, "tokenizer.ggml.token_type does not have one entry a token");
  const auto* scores = file.numbers("tokenizer.ggml.scores");
  if (sentence_piece_ && (scores == nullptr || scores->size() != tokens->size()))
    return Err(Code::invalid, "tokenizer.ggml.scores must have one entry a token");

  const ByteAlphabet alphabet;
  std::vector<std::string> decoded;
  decoded.reserve(tokens->size());
  for (std::size_t i = 0; i < tokens->size(); ++i) {
    const std::string& name = (*tokens)[i];
    const std::int64_t kind = kinds == nullptr ? 1 : (*kinds)[i];
    if (kind < 1 || kind > 6)
      return Err(Code::invalid,
                 "token " + std::to_string(i) + " has the unknown type " + std::to_string(kind));
    kinds_.push_back(static_cast<TokenKind>(kind));
    if (kinds_[i] == TokenKind::byte) {
      const int value = byte_token_value(name);
      if (value < 0)
        return Err(Code::invalid, "byte token " + std::to_string(i) + " is not of the form <0xHH>");
      decoded.emplace_back(1, static_cast<char>(value));
      byte_tokens_[static_cast<std::size_t>(value)] = static_cast<TokenId>(i);
    } else if (kinds_[i] != TokenKind::normal) {
      decoded.push_back(kinds_[i] == TokenKind::user_defined ? name : std::string());
      if (sentence_piece_) decoded.back() = replace_all(decoded.back(), space_mark, " ");
    } else {
      decoded.push_back(sentence_piece_ ? replace_all(name, space_mark, " ")
                                        : alphabet.decode(name));
    }
    if (sentence_piece_) scores_.push_back(static_cast<float>((*scores)[i]));
  }
  const auto append = [this](const std::string& text, std::vector<std::size_t>& starts) {
    starts.push_back(text_.size());
    text_.insert(text_.end(), text.begin(), text.end());
  };
  for (const std::string& name : *tokens) append(name, names_);
  names_.push_back(text_.size());
  for (const std::string& text : decoded) append(text, bytes_);
  bytes_.push_back(text_.size());

  if (sentence_piece_) neighbours_.resize(std::size_t{1} << 16U);
  for (std::size_t i = 0; i < size(); ++i) {
    const auto token = static_cast<TokenId>(i);
    by_name_.emplace(name(token), token);
    if (kinds_[i] != TokenKind::normal || bytes(token).empty()) continue;
    ids_.emplace(bytes(token), token);
    const std::string_view text = bytes(token);
    for (std::size_t at = 1; sentence_piece_ && at < text.size(); ++at)
      neighbours_[pair_of(text[at - 1], text[at])] = true;
    if (!sentence_piece_ && bytes(token).size() == 1) {
      TokenId& slot = byte_tokens_[static_cast<unsigned char>(bytes(token)[0])];
      if (slot < 0) slot = token;
    }
  }
  return {};
}

Result<void> Tokenizer::load_merges(const Gguf& file) {
  const auto* merges = file.strings("tokenizer.ggml.merges");
  if (merges == nullptr) return Err(Code::invalid, "the file has no tokenizer.ggml.merges");
  const ByteAlphabet alphabet;
  for (std::size_t rank = 0; rank < merges->size(); ++rank) {
    const std::string& merge = (*merges)[rank];
    const std::size_t gap = merge.find(' ', 1);
    if (gap == std::string::npos || gap + 1 == merge.size())
      return Err(Code::invalid,
                 "merge " + std::to_string(rank) + " is not two tokens with a space between");
    const std::string left = alphabet.decode(std::string_view(merge).substr(0, gap));
    const std::string right = alphabet.decode(std::string_view(merge).substr(gap + 1));
    const auto a = ids_.find(left);
    const auto b = ids_.find(right);
    const auto both = ids_.find(left + right);
    // A merge whose parts are not in the vocabulary can never be reached from single bytes.
    if (a == ids_.end() || b == ids_.end() || both == ids_.end()) continue;
    merges_.emplace(pair_key(a->second, b->second),
                    Merge{static_cast<std::int32_t>(rank), both->second});
  }
  return {};
}

Result<void> Tokenizer::load_roles(const Gguf& file) {
  const auto role = [&](const char* key) -> Result<std::optional<TokenId>> {
    const auto id = file.integer(key);
    if (!id) return std::optional<TokenId>();
    if (*id < 0 || *id >= static_cast<std::int64_t>(size()))
      return Err(Code::invalid,
                 std::string(key) + " is " + std::to_string(*id) + ", outside the vocabulary");
    return std::optional<TokenId>(static_cast<TokenId>(*id));
  };
  begin_ = TRY(role("tokenizer.ggml.bos_token_id"));
  end_ = TRY(role("tokenizer.ggml.eos_token_id"));
  unknown_ = TRY(role("tokenizer.ggml.unknown_token_id"));
  const auto turn_end = TRY(role("tokenizer.ggml.eot_token_id"));
  adds_begin_ = file.boolean("tokenizer.ggml.add_bos_token")
                    .value_or(sentence_piece_ || pre_ == PreTokenizer::llama3);
  if (!begin_) adds_begin_ = false;
  adds_space_ = file.boolean("tokenizer.ggml.add_space_prefix").value_or(sentence_piece_);
  for (const auto& end : {end_, turn_end})
    if (end) turn_ends_.push_back(*end);
  for (const std::string_view name : {"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>",
                                      "<|endoftext|>", "<|end|>", "</s>", "<end_of_turn>"}) {
    const auto token = find(name);
    if (token && kind(*token) != TokenKind::normal) turn_ends_.push_back(*token);
  }
  std::sort(turn_ends_.begin(), turn_ends_.end());
  turn_ends_.erase(std::unique(turn_ends_.begin(), turn_ends_.end()), turn_ends_.end());

  for (std::size_t i = 0; i < size(); ++i) {
    const auto token = static_cast<TokenId>(i);
    const std::string_view text = kinds_[i] == TokenKind::user_defined ? bytes(token) : name(token);
    if (text.empty() || (kinds_[i] != TokenKind::control && kinds_[i] != TokenKind::user_defined))
      continue;
    special_bytes_max_ = std::max(special_bytes_max_, text.size());
    const bool tag = text.size() > 2 && text[0] == '<' && text.back() == '>';
    specials_[static_cast<unsigned char>(text[0])].push_back(
        {text, token, tag, kinds_[i] == TokenKind::control});
  }
  for (auto& list : specials_)
    std::sort(list.begin(), list.end(), [](const Special& a, const Special& b) {
      return std::pair(b.text.size(), a.token) < std::pair(a.text.size(), b.token);
    });
  return {};
}

std::string_view Tokenizer::bytes(TokenId token) const {
  const auto i = static_cast<std::size_t>(token);
  return {text_.data() + bytes_[i], bytes_[i + 1] - bytes_[i]};
}

std::string_view Tokenizer::name(TokenId token) const {
  const auto i = static_cast<std::size_t>(token);
  return {text_.data() + names_[i], names_[i + 1] - names_[i]};
}

std::optional<TokenId> Tokenizer::find(std::string_view name) const {
  const auto at = by_name_.find(name);
  if (at == by_name_.end()) return std::nullopt;
  return at->second;
}

bool Tokenizer::ends_turn(TokenId token) const {
  return std::binary_search(turn_ends_.begin(), turn_ends_.end(), token);
}

const Tokenizer::Special* Tokenizer::special_at(std::string_view text, std::size_t at) const {
  for (const Special& special : specials_[static_cast<unsigned char>(text[at])])
    if (text.compare(at, special.text.size(), special.text) == 0) return &special;
  return nullptr;
}

std::vector<TokenId> Tokenizer::encode(std::string_view text, bool specials) const {
  std::vector<TokenId> out;
  std::size_t plain = 0;
  bool after_special = true;
  const auto flush = [&](std::size_t end) {
    if (end > plain) {
      encode_plain(text.substr(plain, end - plain), after_special, out);
      after_special = false;
    }
  };
  for (std::size_t at = 0; specials && at < text.size();) {
    const Special* special = special_at(text, at);
    if (special == nullptr) {
      ++at;
      continue;
    }
    flush(at);
    out.push_back(special->token);
    after_special = true;
    at += special->text.size();
    plain = at;
  }
  flush(text.size());
  return out;
}

std::string Tokenizer::guard(std::string_view text, bool tags) const {
  const std::string clean = replace_all(text, guard_mark, "");
  std::string out;
  out.reserve(clean.size());
  for (std::size_t at = 0; at < clean.size(); ++at) {
    out += clean[at];
    for (const Special& special : specials_[static_cast<unsigned char>(clean[at])]) {
      if (!(special.control || (tags && special.tag)) ||
          clean.compare(at, special.text.size(), special.text) != 0)
        continue;
      out += guard_mark;
      break;
    }
  }
  return out;
}

void Tokenizer::encode_plain(std::string_view text, bool at_start,
                             std::vector<TokenId>& out) const {
  std::string unmarked;
  if (text.find(guard_mark) != std::string_view::npos) {
    unmarked = replace_all(text, guard_mark, "");
    text = unmarked;
  }
  if (sentence_piece_) {
    const std::string prefixed =
        (adds_space_ && at_start ? " " : "") + replace_all(text, space_mark, " ");
    encode_pieces(prefixed, out);
    return;
  }
  for (const std::string_view word : pre_tokenize(pre_, text)) encode_word(word, out);
}

void Tokenizer::encode_word(std::string_view word, std::vector<TokenId>& out) const {
  if (whole_words_first_) {
    if (const auto whole = ids_.find(word); whole != ids_.end()) {
      out.push_back(whole->second);
      return;
    }
  }
  std::vector<Piece> pieces;
  pieces.reserve(word.size());
  for (std::size_t i = 0; i < word.size(); ++i) {
    const TokenId token = byte_tokens_[static_cast<unsigned char>(word[i])];
    if (token >= 0) append_piece(pieces, i, 1, token);
  }
  merge_pieces(pieces,
               [this](const Piece& a, const Piece& b) -> std::optional<std::pair<float, TokenId>> {
                 const auto found = merges_.find(pair_key(a.token, b.token));
                 if (found == merges_.end()) return std::nullopt;
                 return std::pair(static_cast<float>(found->second.rank), found->second.merged);
               });
  for (const Piece& piece : pieces)
    if (piece.bytes > 0) out.push_back(piece.token);
}

void Tokenizer::encode_pieces(std::string_view text, std::vector<TokenId>& out) const {
  std::vector<Piece> pieces;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t bytes = decode_utf8(text, at).bytes;
    const auto found = ids_.find(text.substr(at, bytes));
    append_piece(pieces, at, bytes, found == ids_.end() ? -1 : found->second);
    at += bytes;
  }
  merge_pieces(
      pieces, [&](const Piece& a, const Piece& b) -> std::optional<std::pair<float, TokenId>> {
        const auto found = ids_.find(text.substr(a.start, a.bytes + b.bytes));
        if (found == ids_.end() || std::isinf(scores_[static_cast<std::size_t>(found->second)]))
          return std::nullopt;
        return std::pair(-scores_[static_cast<std::size_t>(found->second)], found->second);
      });
  for (const Piece& piece : pieces) {
    if (piece.bytes == 0) continue;
    if (piece.token >= 0) {
      out.push_back(piece.token);
      continue;
    }
    for (const char c : text.substr(piece.start, piece.bytes)) {
      const TokenId token = byte_tokens_[static_cast<unsigned char>(c)];
      if (token >= 0) {
        out.push_back(token);
      } else if (unknown_) {
        out.push_back(*unknown_);
      }
    }
  }
}

std::vector<TokenId> Tokenizer::encode_whole(std::string_view text, bool specials) const {
  std::vector<TokenId> tokens = encode(text, specials);
  if (adds_begin_ && begin_ && (tokens.empty() || tokens[0] != *begin_))
    tokens.insert(tokens.begin(), *begin_);
  return tokens;
}

std::string Tokenizer::decode(const std::vector<TokenId>& tokens) const {
  std::string out;
  for (const TokenId token : tokens) out += bytes(token);
  return out;
}

std::string Detokenizer::push(TokenId token) {
  pending_ += tokenizer_.bytes(token);
  const std::size_t keep = incomplete_utf8_tail(pending_);
  std::string out = valid_utf8(std::string_view(pending_).substr(0, pending_.size() - keep));
  pending_.erase(0, pending_.size() - keep);
  return out;
}

std::string Detokenizer::finish() {
  std::string out = valid_utf8(pending_);
  pending_.clear();
  return out;
}

}  // namespace ambit::inference
