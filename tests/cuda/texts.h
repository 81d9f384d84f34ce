#pragma once

// Small models and texts that go through the GPU's back end in whatever chunks and company.

#include "inference/cuda/backend.h"
#include "inference/forward.h"
#include "support.h"

#include <utility>
#include <vector>

namespace ambit::inference::cuda {

inline SynthShape small(const std::string& architecture, DType type) {
  SynthShape shape;
  shape.architecture = architecture;
  shape.type = type;
  shape.vocabulary = 300;
  shape.width = type == DType::q4_k ? 256 : 64;
  shape.hidden = type == DType::q4_k ? 256 : 96;
  shape.heads = type == DType::q4_k ? 8 : 4;
  shape.head_width = type == DType::q4_k ? 32 : 16;
  shape.context = 1024;
  return shape;
}

inline std::vector<TokenId> some_tokens(std::size_t count, std::uint64_t seed) {
  std::vector<TokenId> tokens;
  for (std::size_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<TokenId>(uniform(seed, i, 1) * 300));
  return tokens;
}

using Logits = std::vector<std::vector<float>>;

// A sequence in the memory of whatever back end a forward pass has.
struct Text {
  std::vector<TokenId> tokens;
  std::vector<std::byte*> pages;
  std::size_t done = 0;
  Logits logits;  // of every position

  Text(Forward& forward, std::vector<TokenId> text, const Text* shared = nullptr,
       std::size_t shared_tokens = 0)
      : tokens(std::move(text)), logits(tokens.size()) {
    for (std::size_t i = 0; i < tokens.size(); i += page_tokens)
      pages.push_back(i + page_tokens <= shared_tokens
                          ? shared->pages[i / page_tokens]
                          : forward.backend().pages().make_page(forward.page_bytes()));
    done = shared_tokens / page_tokens * page_tokens;
  }
};

// Goes on with all texts, `counts` rows of each, in one step.
inline void step(Forward& forward, const std::vector<std::pair<Text*, std::size_t>>& texts) {
  std::vector<StepRow> rows;
  std::vector<std::vector<float>*> to;
  for (const auto& [text, count] : texts) {
    for (std::size_t i = 0; i < count && text->done < text->tokens.size(); ++i, ++text->done) {
      rows.push_back({text->tokens[text->done], text->done, text->pages.data(), true});
      to.push_back(&text->logits[text->done]);
    }
  }
  forward.run(rows);
  for (std::size_t i = 0; i < to.size(); ++i) {
    const auto logits = forward.logits(i);
    to[i]->assign(logits.begin(), logits.end());
  }
  INFO(forward.backend().failure());
  REQUIRE(forward.backend().failure().empty());
}

inline std::unique_ptr<Forward> on_shim(const ModelFile& file, ShimOptions shim = {},
                                        BackendOptions options = {}) {
  options.rows_max = 128;
  auto backend = CudaBackend::make(file.model(), test_device(shim), options);
  REQUIRE(backend);
  return std::make_unique<Forward>(file.model(), std::move(*backend), 128);
}

inline Logits whole_text(Forward& forward, const std::vector<TokenId>& tokens, std::size_t chunk) {
  Text text(forward, tokens);
  while (text.done < tokens.size()) step(forward, {{&text, chunk}});
  return text.logits;
}

}  // namespace ambit::inference::cuda
