// How long it takes to say which of 151,936 tokens may come next under each schema of
// tests/data/inference/schemas.json, and to compile the schema: answers are drawn token by token
// from the masks. "cold": a grammar that has met nothing yet; "warm": the same answers again, as
// sessions that offer the same tools have them; "forced": how many tokens were the only one.
// AMBIT_BENCH_ANSWERS: how many answers a schema.

#include "inference/grammar.h"

#include "bench/figure.h"
#include "inference/json_schema.h"
#include "inference/json_text.h"
#include "inference/synth.h"

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>

using namespace ambit;
using namespace ambit::inference;
using bench::Better;
using bench::Goal;

namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

constexpr std::int64_t work_max = std::int64_t{1} << 40U;  // none

double microseconds_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

// The n-th token that the mask allows.
TokenId allowed(const TokenMask& mask, std::size_t n, std::size_t vocabulary) {
  for (std::size_t token = 0; token < vocabulary; ++token)
    if (mask.allows(static_cast<TokenId>(token)) && n-- == 0) return static_cast<TokenId>(token);
  return -1;
}

struct Masks {
  std::vector<double> us;
  std::vector<double> work;  // of the automaton, whose bounds are in scheduler.cpp
  std::size_t forced = 0;
};

// One answer of at most 200 tokens; closes what is open once it is long.
void draw(Grammar& grammar, const Tokenizer& tokenizer, ExpressionId state, std::uint64_t seed,
          Masks& masks) {
  constexpr std::size_t tokens_max = 200;
  for (std::size_t at = 0; at < tokens_max; ++at) {
    grammar.automaton().allow(work_max);
    const Clock::time_point begin = Clock::now();
    const TokenMask& mask = grammar.mask(state);
    masks.us.push_back(microseconds_since(begin));
    masks.work.push_back(static_cast<double>(grammar.automaton().work_done()));
    const std::size_t count = mask.count();
    if (count == 0) return;
    if (count == 1) ++masks.forced;
    const auto chosen = static_cast<std::size_t>(uniform(seed, at, 0) * static_cast<double>(count));
    TokenId next = allowed(mask, std::min(chosen, count - 1), tokenizer.size());
    for (const char* closing : {"}", "]", "\""}) {
      const auto token = tokenizer.find(closing);
      if (at > 40 && token && mask.allows(*token)) next = *token;
    }
    if (tokenizer.ends_turn(next)) return;
    state = grammar.advance(state, next);
    if (state == Automaton::nothing || state == Automaton::never) return;
  }
}

void print(const std::string& what, const char* unit, double ours) {
  bench::print({"grammar", what, unit, Better::less, ours});
}

void print(const std::string& what, const Masks& masks) {
  // A mask must be there before the fastest step that the peer makes of a small model is over:
  // 0.54 ms (15 million parameters, Q4_0, one core at work on it).
  bench::Figure p99{"grammar", what + " mask p99", "us", Better::less,
                    bench::quantile(masks.us, 0.99)};
  p99.goal_on = Goal::ours;
  p99.goal = 540;
  print(what + " mask p50", "us", bench::quantile(masks.us, 0.5));
  bench::print(p99);
  print(what + " mask p99.9", "us", bench::quantile(masks.us, 0.999));
}

Result<Json> read_schemas() {
  const char* path = "tests/data/inference/schemas.json";
  std::ifstream file(path, std::ios::binary);
  Json list = parse_json(std::string(std::istreambuf_iterator<char>(file), {}));
  if (!list.is_array() || list.empty())
    return Err(Code::not_found, std::string(path) + " is not there");
  return list;
}

}  // namespace

int main() {
  SynthShape shape;
  shape.layers = 1;
  shape.width = 16;
  shape.heads = shape.kv_heads = 1;
  shape.hidden = 16;
  shape.vocabulary = 151'936;
  const std::string bytes = synthesize(shape).bytes();
  const auto file = Gguf::parse(std::as_bytes(std::span(bytes)));
  const auto tokenizer = file ? Tokenizer::load(*file) : Result<Tokenizer>(Err(file.error()));
  const auto schemas = read_schemas();
  if (!tokenizer || !schemas) {
    std::fprintf(stderr, "grammar: %s\n",
                 (!tokenizer ? tokenizer.error() : schemas.error()).message.c_str());
    return 1;
  }
  const char* given = std::getenv("AMBIT_BENCH_ANSWERS");
  const std::size_t answers = given != nullptr ? std::strtoull(given, nullptr, 10) : 20;
  std::vector<double> compile_us;
  std::vector<double> compile_work;
  Masks cold;
  Masks warm;
  std::size_t refused = 0;
  for (const Json& schema : *schemas) {
    Grammar grammar(*tokenizer);
    const Clock::time_point begin = Clock::now();
    grammar.automaton().allow(work_max);
    const auto language = json_language(grammar.automaton(), schema);
    compile_work.push_back(static_cast<double>(grammar.automaton().work_done()));
    if (!language) {
      ++refused;
      continue;
    }
    compile_us.push_back(microseconds_since(begin));
    for (Masks* masks : {&cold, &warm})
      for (std::size_t answer = 0; answer < answers; ++answer)
        draw(grammar, *tokenizer, *language, answer, *masks);
  }
  if (compile_us.empty() || cold.us.empty()) {
    std::fprintf(stderr, "grammar: no schema was compiled\n");
    return 1;
  }
  print("compile p50", "us", bench::quantile(compile_us, 0.5));
  print("compile p99", "us", bench::quantile(compile_us, 0.99));
  print("schemas refused", "schemas", static_cast<double>(refused));
  print("compile work, most", "steps", bench::quantile(compile_work, 1));
  print("cold", cold);
  print("cold mask work p99", "steps", bench::quantile(cold.work, 0.99));
  print("cold mask work, most", "steps", bench::quantile(cold.work, 1));
  print("warm", warm);
  bench::print({"grammar", "forced tokens", "part", Better::more,
                static_cast<double>(warm.forced) / static_cast<double>(warm.us.size())});
  return 0;
}
