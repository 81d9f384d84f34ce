#include "engine_logits.h"

#include <algorithm>

namespace ambit::inference {

std::vector<std::vector<float>> engine_logits(const Model& model, const Kernels& kernels,
                                              KvType type, const std::vector<TokenId>& tokens,
                                              std::size_t chunk, std::size_t threads) {
  Pool pool(threads);
  Forward forward(model, kernels, pool, type, chunk);
  std::vector<AlignedBytes> storage;
  std::vector<std::byte*> pages;
  for (std::size_t i = 0; i < tokens.size(); i += page_tokens) {
    storage.emplace_back(forward.page_bytes());
    pages.push_back(storage.back().data());
  }
  std::vector<std::vector<float>> all;
  for (std::size_t start = 0; start < tokens.size(); start += chunk) {
    std::vector<StepRow> rows;
    for (std::size_t i = start; i < std::min(start + chunk, tokens.size()); ++i)
      rows.push_back({tokens[i], i, pages.data(), true});
    forward.run(rows);
    for (std::size_t i = 0; i < rows.size(); ++i)
      all.emplace_back(forward.logits(i).begin(), forward.logits(i).end());
  }
  return all;
}

}  // namespace ambit::inference
