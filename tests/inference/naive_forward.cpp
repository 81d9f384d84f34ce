#include "naive_forward.h"

#include <cmath>

namespace ambit::inference {

namespace {

using Row = std::vector<double>;

struct Naive {
  const Gguf& file;
  std::string prefix = *file.text("general.architecture") + ".";

  std::size_t size(const std::string& key) const {
    return static_cast<std::size_t>(*file.integer(prefix + key));
  }
  Row values(const std::string& name) const {
    const TensorView* tensor = file.find(name);
    if (tensor == nullptr) return {};
    std::vector<float> floats(tensor->elements());
    to_floats(tensor->type, tensor->data, floats.size(), floats.data());
    return {floats.begin(), floats.end()};
  }
  Row times(const std::string& name, const Row& x) const {
    const Row matrix = values(name);
    Row y(matrix.size() / x.size());
    for (std::size_t o = 0; o < y.size(); ++o)
      for (std::size_t i = 0; i < x.size(); ++i) y[o] += matrix[o * x.size() + i] * x[i];
    return y;
  }
  Row norm(const double* x, const Row& weight) const {
    double squares = 0;
    for (std::size_t i = 0; i < weight.size(); ++i) squares += x[i] * x[i];
    const double scale = 1 / std::sqrt(squares / static_cast<double>(weight.size()) +
                                       *file.number(prefix + "attention.layer_norm_rms_epsilon"));
    Row y(weight.size());
    for (std::size_t i = 0; i < y.size(); ++i) y[i] = x[i] * scale * weight[i];
    return y;
  }
  void turn(double* head, std::size_t width, std::size_t position, const Row& factors) const {
    const bool neighbours = prefix == "llama.";
    for (std::size_t i = 0; i < width / 2; ++i) {
      const double base = file.number(prefix + "rope.freq_base").value_or(10000.0);
      double angle = static_cast<double>(position) /
                     std::pow(base, 2.0 * static_cast<double>(i) / static_cast<double>(width));
      if (!factors.empty()) angle /= factors[i];
      double& a = head[neighbours ? 2 * i : i];
      double& b = head[neighbours ? 2 * i + 1 : i + width / 2];
      const double x = a;
      a = x * std::cos(angle) - b * std::sin(angle);
      b = x * std::sin(angle) + b * std::cos(angle);
    }
  }
};

}  // namespace

std::vector<std::vector<double>> naive_logits(const Gguf& file,
                                              const std::vector<TokenId>& tokens) {
  const Naive n{file};
  const std::size_t width = n.size("embedding_length");
  const std::size_t heads = n.size("attention.head_count");
  const std::size_t kv_heads = file.integer(n.prefix + "attention.head_count_kv")
                                   ? n.size("attention.head_count_kv")
                                   : heads;
  const std::size_t head = file.integer(n.prefix + "attention.key_length")
                               ? n.size("attention.key_length")
                               : width / heads;
  const Row embedding = n.values("token_embd.weight");
  const Row factors = n.values("rope_freqs.weight");
  std::vector<Row> x;
  for (const TokenId token : tokens) {
    const auto start =
        embedding.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(token) * width);
    x.emplace_back(start, start + static_cast<std::ptrdiff_t>(width));
  }
  for (std::size_t layer = 0; layer < n.size("block_count"); ++layer) {
    const std::string block = "blk." + std::to_string(layer) + ".";
    std::vector<Row> keys;
    std::vector<Row> values;
    for (std::size_t t = 0; t < tokens.size(); ++t) {
      const Row normed = n.norm(x[t].data(), n.values(block + "attn_norm.weight"));
      const auto project = [&](const std::string& which) {
        Row y = n.times(block + "attn_" + which + ".weight", normed);
        const Row bias = n.values(block + "attn_" + which + ".bias");
        for (std::size_t i = 0; i < bias.size(); ++i) y[i] += bias[i];
        const Row weight = n.values(block + "attn_" + which + "_norm.weight");
        for (std::size_t h = 0; which != "v" && h < y.size(); h += head) {
          if (!weight.empty()) {
            const Row scaled = n.norm(&y[h], weight);
            std::copy(scaled.begin(), scaled.end(), y.begin() + static_cast<std::ptrdiff_t>(h));
          }
          n.turn(&y[h], head, t, factors);
        }
        return y;
      };
      const Row query = project("q");
      keys.push_back(project("k"));
      values.push_back(project("v"));
      Row attended(heads * head);
      for (std::size_t h = 0; h < heads; ++h) {
        const std::size_t shared = h / (heads / kv_heads) * head;
        Row weights(t + 1);
        double total = 0;
        for (std::size_t s = 0; s <= t; ++s) {
          double dot = 0;
          for (std::size_t d = 0; d < head; ++d) dot += query[h * head + d] * keys[s][shared + d];
          weights[s] = std::exp(dot / std::sqrt(static_cast<double>(head)));
          total += weights[s];
        }
        for (std::size_t s = 0; s <= t; ++s)
          for (std::size_t d = 0; d < head; ++d)
            attended[h * head + d] += weights[s] / total * values[s][shared + d];
      }
      const Row out = n.times(block + "attn_output.weight", attended);
      for (std::size_t i = 0; i < width; ++i) x[t][i] += out[i];
      const Row again = n.norm(x[t].data(), n.values(block + "ffn_norm.weight"));
      Row gate = n.times(block + "ffn_gate.weight", again);
      const Row up = n.times(block + "ffn_up.weight", again);
      for (std::size_t i = 0; i < gate.size(); ++i)
        gate[i] = gate[i] / (1 + std::exp(-gate[i])) * up[i];
      const Row down = n.times(block + "ffn_down.weight", gate);
      for (std::size_t i = 0; i < width; ++i) x[t][i] += down[i];
    }
  }
  std::vector<Row> logits;
  const std::string output =
      file.find("output.weight") != nullptr ? "output.weight" : "token_embd.weight";
  for (const Row& row : x)
    logits.push_back(n.times(output, n.norm(row.data(), n.values("output_norm.weight"))));
  return logits;
}

}  // namespace ambit::inference
