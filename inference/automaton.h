#pragma once

// Byte languages as hash-consed expressions, turned into a deterministic automaton while it runs:
// the state is an expression (what may still come), a step by one byte is its derivative. No
// compilation; only the states that are visited exist, and equal states are one. Rules may refer to
// each other: what remains of an open rule is part of the expression, so it is its own stack.

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ambit::inference {

using ExpressionId = std::uint32_t;
using ByteSet = std::bitset<256>;

class Automaton {
 public:
  static constexpr ExpressionId never = 0;    // no string at all
  static constexpr ExpressionId nothing = 1;  // the empty string

  Automaton();

  // ---- building
  ExpressionId bytes(const ByteSet& set);
  ExpressionId text(std::string_view literal);
  ExpressionId sequence(ExpressionId first, ExpressionId second);
  ExpressionId sequence(std::initializer_list<ExpressionId> parts);
  ExpressionId either(const std::vector<ExpressionId>& choices);
  ExpressionId optional(ExpressionId body) { return either({nothing, body}); }
  // From `least` to `most` times; most = unbounded: no end.
  static constexpr std::uint32_t unbounded = ~std::uint32_t{0};
  ExpressionId repeat(ExpressionId body, std::uint32_t least, std::uint32_t most);
  // Any bytes up to and including the first `tag`, then `body`. `may_end`: the text may also end
  // before.
  ExpressionId until(std::string_view tag, ExpressionId body, bool may_end);
  // What is in both; what is in the first and not in the second. States from which no text is left
  // are found by a search of at most `search_max` states, and are `never` then.
  ExpressionId both(ExpressionId a, ExpressionId b);
  ExpressionId except(ExpressionId a, ExpressionId b);
  static constexpr std::size_t search_max = 2000;
  // A language that refers to itself: declared, used in expressions, then defined, once. It must
  // not begin with itself. `may_be_empty`: whether it has the empty string.
  ExpressionId declare(bool may_be_empty);
  void define(ExpressionId rule, ExpressionId body);
  // Whether the language has a text at all, by way of the rules (both and except are taken to).
  [[nodiscard]] bool has_text(ExpressionId language) const;

  // ---- running
  // What may follow after this byte; `never`: the byte is not allowed here.
  ExpressionId step(ExpressionId state, unsigned char byte) {
    if (state < rows_.size() && rows_[state] != nullptr) {
      const ExpressionId next = rows_[state]->next[byte];
      if (next != unknown) return next;
    }
    return find_step(state, byte);
  }
  // The state to which most bytes lead, and which these are.
  struct Lane {
    ExpressionId next = never;
    ByteSet bytes;
  };
  const Lane& lane(ExpressionId state);
  // Whether the text may end here.
  [[nodiscard]] bool may_end(ExpressionId state) const { return nodes_[state].nullable; }
  [[nodiscard]] std::size_t size() const { return nodes_.size(); }

  // ---- bounds: states of a hostile or unlucky grammar can multiply, and be slow to find
  // So many steps of work may be done from now on (one takes some ten nanoseconds and at most some
  // hundred bytes). After more, is_overrun(), searches give up and what step() says is not to be
  // used; nothing wrong is kept.
  void allow(std::int64_t work) {
    work_begin_ = work_;
    work_end_ = work_ + work;
  }
  [[nodiscard]] std::int64_t work_done() const { return work_ - work_begin_; }
  [[nodiscard]] bool is_overrun() const { return is_broken_ || work_ > work_end_; }
  // About how much memory it has taken. Full: the owner drops it.
  [[nodiscard]] std::size_t memory_bytes() const { return memory_bytes_; }
  static constexpr std::size_t memory_bytes_max = std::size_t{1} << 30U;
  [[nodiscard]] bool is_full() const { return is_broken_ || memory_bytes_ > memory_bytes_max; }

 private:
  enum class Kind : std::uint8_t {
    never,
    nothing,
    bytes,
    sequence,
    either,
    repeat,
    until,
    both,
    except,
    rule
  };
  struct Node {
    Kind kind = Kind::never;
    bool nullable = false;
    // Its steps are the same whatever is being searched for: no both, except or rule is in it.
    bool is_plain = true;
    // bytes: index of the set; sequence, both, except: first; repeat, until: body; rule: which
    std::uint32_t a = 0;
    std::uint32_t b = 0;  // sequence, both, except: second; repeat: least; until: index of the tag
    std::uint32_t c = 0;  // repeat: most; until: bytes of the tag seen
    std::vector<ExpressionId> choices;  // either
    bool operator==(const Node& other) const {
      return kind == other.kind && nullable == other.nullable && a == other.a && b == other.b &&
             c == other.c && choices == other.choices;
    }
  };
  struct Hash {
    std::size_t operator()(const Node& node) const;
  };
  struct Tag {
    std::string text;
    std::vector<std::uint32_t> fallback;  // of each prefix: its longest proper border
  };
  // What is known of a state's steps.
  struct Row {
    std::array<ExpressionId, 256> next{};
    std::optional<Lane> lane;
  };
  ExpressionId intern(Node node);
  // From now on expressions tell the bytes of this set from all others.
  void tell_apart(const ByteSet& set);
  ExpressionId find_step(ExpressionId state, unsigned char byte);
  ExpressionId derive(ExpressionId state, unsigned char byte);
  ExpressionId derive_part(ExpressionId state, unsigned char byte);
  ExpressionId paired(Kind kind, ExpressionId a, ExpressionId b);
  [[nodiscard]] bool is_dead(ExpressionId state);
  [[nodiscard]] bool plain(const Node& node) const;

  std::vector<Node> nodes_;
  std::unordered_map<Node, ExpressionId, Hash> ids_;
  std::vector<ByteSet> sets_;
  std::unordered_map<ByteSet, std::uint32_t> set_ids_;
  // Bytes that no set and no tag tells apart lead to the same state everywhere, and are derived
  // once. `firsts_`: the least byte of each class.
  std::vector<ByteSet> classes_;
  std::array<std::uint8_t, 256> class_of_{};
  ByteSet firsts_;
  std::vector<Tag> tags_;
  std::vector<ExpressionId> rules_;              // bodies
  std::unordered_map<ExpressionId, bool> dead_;  // of both and except, where it is known
  bool searching_ = false;                       // is_dead() is at work
  static constexpr ExpressionId unknown = ~ExpressionId{0};
  std::vector<std::unique_ptr<Row>> rows_;  // by state; null: it was not stepped from
  std::int64_t work_ = 0;
  std::int64_t work_begin_ = 0;
  std::int64_t work_end_ = std::numeric_limits<std::int64_t>::max();
  std::size_t memory_bytes_ = 0;
  std::size_t depth_ = 0;   // of derive()
  bool is_broken_ = false;  // it went too deep: some step is not known
};

}  // namespace ambit::inference
