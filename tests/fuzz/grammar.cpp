// Grammars of strangers over vocabularies of strangers: the first line is the notation (j: a JSON
// Schema, g: GBNF, p: a regular expression) and, each after a byte 0x1F, texts that are tokens
// beside those of all single bytes; the rest is the grammar. Reading ends with a language or an
// error. A walk through the language ends, too; whatever a mask allows leads on, what it refuses
// does not, and no state of the walk is stuck, as far as the search for such states goes.

#include "inference/grammar.h"

#include "inference/gbnf.h"
#include "inference/gguf.h"
#include "inference/json_schema.h"
#include "inference/json_text.h"
#include "inference/pattern_language.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ambit::inference {
namespace {

constexpr std::size_t more_tokens_max = 64;
constexpr std::size_t steps_max = 24;
constexpr std::int64_t work_max = 1 << 22;

Tokenizer tokenizer_of(std::string_view texts) {
  std::set<std::string> known;
  for (int byte = 0; byte < 256; ++byte) known.insert(std::string(1, static_cast<char>(byte)));
  while (!texts.empty() && known.size() < 256 + more_tokens_max) {
    const std::size_t end = std::min(texts.find('\x1F'), texts.size());
    if (end > 0) known.emplace(texts.substr(0, end));
    texts.remove_prefix(std::min(texts.size(), end + 1));
  }
  std::vector<std::string> spelled = {"<|im_end|>"};
  for (const std::string& text : known) spelled.push_back(byte_level_spelling(text));
  std::vector<std::int64_t> kinds(spelled.size(), 1);
  kinds[0] = 3;
  GgufWriter writer;
  writer.set("tokenizer.ggml.model", std::string("gpt2"));
  writer.set("tokenizer.ggml.pre", std::string("llama-bpe"));
  writer.set("tokenizer.ggml.tokens", std::move(spelled));
  writer.set("tokenizer.ggml.token_type", std::move(kinds));
  writer.set("tokenizer.ggml.merges", std::vector<std::string>{});
  writer.set("tokenizer.ggml.eos_token_id", std::uint64_t{0});
  const std::string bytes = writer.bytes();
  return *Tokenizer::load(
      *Gguf::parse({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}));
}

Result<ExpressionId> language_of(Automaton& automaton, char notation, std::string_view text) {
  if (notation == 'g') return gbnf_language(automaton, text);
  if (notation == 'p') return pattern_language(automaton, text, Match::anywhere, Spelling::json);
  const auto schema = parse_json(text);
  if (schema.is_discarded()) return Err(Code::invalid, "no JSON");
  return json_language(automaton, schema);
}

// Compares the mask with what each token leads to; `open` is what may follow, but for ends. False:
// it is too much work.
bool check(const Tokenizer& tokenizer, Grammar& grammar, Grammar& naive, ExpressionId state,
           ExpressionId naive_state, std::vector<TokenId>& open) {
  const TokenMask mask = grammar.mask(state);
  if (grammar.automaton().is_overrun()) return false;
  bool is_stuck = true;
  for (std::size_t i = 0; i < tokenizer.size(); ++i) {
    const auto token = static_cast<TokenId>(i);
    const bool leads_on = naive.advance(naive_state, token) != Automaton::never;
    if (naive.automaton().is_overrun()) return false;
    if (leads_on != mask.allows(token)) std::abort();
    is_stuck = is_stuck && !leads_on;
    if (leads_on && !tokenizer.ends_turn(token)) open.push_back(token);
  }
  if (is_stuck && naive.automaton().size() < Automaton::search_max) std::abort();
  return true;
}

// What may follow a state that is checked already, so that a walk that comes there again, or
// another walk, need not check it anew.
using Checked = std::map<std::pair<ExpressionId, ExpressionId>, std::vector<TokenId>>;

void walk(const Tokenizer& tokenizer, Grammar& grammar, Grammar& naive, ExpressionId state,
          ExpressionId naive_state, std::uint32_t luck, Checked& checked) {
  for (std::size_t step = 0; step < steps_max; ++step) {
    grammar.automaton().allow(work_max);
    naive.automaton().allow(work_max);
    const auto [at, is_new] = checked.try_emplace({state, naive_state});
    std::vector<TokenId>& open = at->second;
    if (is_new && !check(tokenizer, grammar, naive, state, naive_state, open)) {
      checked.erase(at);
      return;
    }
    if (open.empty()) return;
    luck = luck * 1664525 + 1013904223;
    const TokenId chosen = open[(luck >> 8U) % open.size()];
    state = grammar.advance(state, chosen);
    naive_state = naive.advance(naive_state, chosen);
  }
}

}  // namespace
}  // namespace ambit::inference

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ambit::inference;
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = all.find('\n');
  if (cut == 0 || cut == std::string_view::npos) return 0;
  const Tokenizer tokenizer = tokenizer_of(all.substr(1, cut - 1));
  const std::string_view text = all.substr(cut + 1);
  Grammar grammar(tokenizer);
  grammar.automaton().allow(work_max);
  const auto start = language_of(grammar.automaton(), all[0], text);
  if (!start || *start == Automaton::never || grammar.automaton().is_overrun()) return 0;
  Grammar naive(tokenizer);
  naive.automaton().allow(work_max);
  const auto naive_start = language_of(naive.automaton(), all[0], text);
  if (!naive_start) std::abort();
  Checked checked;
  for (std::uint32_t seed = 1; seed <= 2; ++seed)
    walk(tokenizer, grammar, naive, *start, *naive_start, seed, checked);
  return 0;
}
