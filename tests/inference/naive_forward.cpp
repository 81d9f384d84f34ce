#include "naive_forward.h"

#include <algorithm>
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
  bool is(const std::string& family) const { return prefix == family + "."; }
  bool is_gemma() const { return prefix.starts_with("gemma"); }
  double number(const std::string& key, double fallback) const {
    return file.number(prefix + key).value_or(fallback);
  }
  // Whether this layer sees only its window.
  bool is_windowed(std::size_t layer) const {
    if (is("gemma2")) return layer % 2 == 0;
    if (is("gemma3")) return layer % 6 != 5;
    return (is("phi3") || is("llama")) && number("attention.sliding_window", 0) > 0;
  }
  // The angle of a pair at a position, by the scaling that the file names.
  double angle(std::size_t pair, std::size_t width, std::size_t position, std::size_t layer) const {
    const double i = static_cast<double>(pair);
    const double d = static_cast<double>(width);
    const auto p = static_cast<double>(position);
    if (is("gemma3") && is_windowed(layer)) return p / std::pow(10000.0, 2 * i / d);
    const double base = number("rope.freq_base", 10000.0);
    const double own = p / std::pow(base, 2 * i / d);
    const std::string* scaling = file.text(prefix + "rope.scaling.type");
    if (scaling == nullptr) return own;
    const double factor = number("rope.scaling.factor", 1.0);
    if (*scaling == "linear") return own / factor;
    if (*scaling != "yarn") return own;
    const double original = number("rope.scaling.original_context_length", 0);
    const auto pair_that_turns = [&](double turns) {
      return d * std::log(original / (turns * 2 * 3.14159265358979323846)) / (2 * std::log(base));
    };
    const double low = std::max(0.0, std::floor(pair_that_turns(32)));
    const double high = std::min(d - 1, std::ceil(pair_that_turns(1)));
    const double ramp = std::min(1.0, std::max(0.0, (i - low) / std::max(0.001, high - low)));
    return own * (1 - ramp) + own / factor * ramp;
  }
  double turn_size() const {
    const std::string* scaling = file.text(prefix + "rope.scaling.type");
    if (scaling == nullptr) return 1;
    if (*scaling == "yarn") return 1 + 0.1 * std::log(number("rope.scaling.factor", 1.0));
    if (*scaling != "longrope") return 1;
    const double original = number("rope.scaling.original_context_length", 0);
    return std::sqrt(1 + std::log(number("context_length", 0) / original) / std::log(original));
  }
  void turn(double* head, std::size_t width, std::size_t position, std::size_t layer,
            const Row& factors) const {
    if (is("smollm3") && layer % 4 == 3) return;
    const bool neighbours = is("llama") || is("smollm3");
    const double scale = turn_size();
    for (std::size_t i = 0; i < width / 2; ++i) {
      double turned = angle(i, width, position, layer);
      if (!factors.empty()) turned /= factors[i];
      double& a = head[neighbours ? 2 * i : i];
      double& b = head[neighbours ? 2 * i + 1 : i + width / 2];
      const double x = a;
      a = (x * std::cos(turned) - b * std::sin(turned)) * scale;
      b = (x * std::sin(turned) + b * std::cos(turned)) * scale;
    }
  }
  // Rows [first, first + count) of a product with a fused tensor.
  Row part(const Row& all, std::size_t first, std::size_t count) const {
    const auto start = all.begin() + static_cast<std::ptrdiff_t>(first);
    return {start, start + static_cast<std::ptrdiff_t>(count)};
  }
  double gate(double x) const {
    if (!is_gemma()) return x / (1 + std::exp(-x));
    return 0.5 * x *
           (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (x + 0.044715 * x * x * x)));
  }
  Row gated(const Row& gate, Row up) const {
    for (std::size_t i = 0; i < up.size(); ++i) up[i] *= this->gate(gate[i]);
    return up;
  }
  Row feed_forward(const std::string& block, const Row& x) const {
    if (number("expert_count", 0) > 0) return experts(block, x);
    const Row up = times(block + "ffn_up.weight", x);
    const Row hidden =
        is("phi3") ? gated(part(up, 0, up.size() / 2), part(up, up.size() / 2, up.size() / 2))
                   : gated(times(block + "ffn_gate.weight", x), up);
    return times(block + "ffn_down.weight", hidden);
  }
  // All experts answer; those that are not among the likeliest count nothing.
  Row experts(const std::string& block, const Row& x) const {
    const Row likes = times(block + "ffn_gate_inp.weight", x);
    Row ordered = likes;
    std::sort(ordered.rbegin(), ordered.rend());
    const double least = ordered[size("expert_used_count") - 1];
    double sum = 0;
    for (const double like : likes) sum += like >= least ? std::exp(like) : 0;
    Row out(x.size());
    const Row gates = times(block + "ffn_gate_exps.weight", x);
    const Row ups = times(block + "ffn_up_exps.weight", x);
    const Row downs = values(block + "ffn_down_exps.weight");
    const std::size_t width = gates.size() / likes.size();
    for (std::size_t e = 0; e < likes.size(); ++e) {
      if (likes[e] < least) continue;
      const Row hidden = gated(part(gates, e * width, width), part(ups, e * width, width));
      for (std::size_t o = 0; o < out.size(); ++o)
        for (std::size_t i = 0; i < width; ++i)
          out[o] += std::exp(likes[e]) / sum * downs[(e * out.size() + o) * width + i] * hidden[i];
    }
    return out;
  }
  static double capped(double x, double cap) { return cap > 0 ? cap * std::tanh(x / cap) : x; }
};

}  // namespace

std::vector<std::vector<double>> naive_logits(const Gguf& file, const std::vector<TokenId>& tokens,
                                              bool is_short) {
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
  Row factors = n.values("rope_freqs.weight");
  if (factors.empty())
    factors = n.values(is_short ? "rope_factors_short.weight" : "rope_factors_long.weight");
  std::vector<Row> x;
  for (const TokenId token : tokens) {
    const auto start =
        embedding.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(token) * width);
    x.emplace_back(start, start + static_cast<std::ptrdiff_t>(width));
    if (n.is_gemma())
      for (double& value : x.back()) value *= std::sqrt(static_cast<double>(width));
  }
  for (std::size_t layer = 0; layer < n.size("block_count"); ++layer) {
    const std::string block = "blk." + std::to_string(layer) + ".";
    std::vector<Row> keys;
    std::vector<Row> values;
    for (std::size_t t = 0; t < tokens.size(); ++t) {
      const Row normed = n.norm(x[t].data(), n.values(block + "attn_norm.weight"));
      const auto project = [&](const std::string& which) {
        Row y;
        if (n.is("phi3")) {
          const Row all = n.times(block + "attn_qkv.weight", normed);
          const std::size_t q = heads * head;
          const std::size_t kv = kv_heads * head;
          y = n.part(all, which == "q" ? 0 : which == "k" ? q : q + kv, which == "q" ? q : kv);
        } else {
          y = n.times(block + "attn_" + which + ".weight", normed);
        }
        const Row bias = n.values(block + "attn_" + which + ".bias");
        for (std::size_t i = 0; i < bias.size(); ++i) y[i] += bias[i];
        const Row weight = n.values(block + "attn_" + which + "_norm.weight");
        for (std::size_t h = 0; which != "v" && h < y.size(); h += head) {
          if (!weight.empty()) {
            const Row scaled = n.norm(&y[h], weight);
            std::copy(scaled.begin(), scaled.end(), y.begin() + static_cast<std::ptrdiff_t>(h));
          }
          n.turn(&y[h], head, t, layer, factors);
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
        const std::size_t window =
            n.is_windowed(layer) ? n.size("attention.sliding_window") : tokens.size();
        for (std::size_t s = t + 1 > window ? t + 1 - window : 0; s <= t; ++s) {
          double dot = 0;
          for (std::size_t d = 0; d < head; ++d) dot += query[h * head + d] * keys[s][shared + d];
          weights[s] = std::exp(Naive::capped(dot / std::sqrt(static_cast<double>(head)),
                                              n.number("attn_logit_softcapping", 0)));
          total += weights[s];
        }
        for (std::size_t s = 0; s <= t; ++s)
          for (std::size_t d = 0; d < head; ++d)
            attended[h * head + d] += weights[s] / total * values[s][shared + d];
      }
      Row out = n.times(block + "attn_output.weight", attended);
      const Row after = n.values(block + "post_attention_norm.weight");
      if (!after.empty()) out = n.norm(out.data(), after);
      for (std::size_t i = 0; i < width; ++i) x[t][i] += out[i];
      const Row again = n.norm(x[t].data(), n.values(block + "ffn_norm.weight"));
      Row down = n.feed_forward(block, again);
      const Row last = n.values(block + "post_ffw_norm.weight");
      if (!last.empty()) down = n.norm(down.data(), last);
      for (std::size_t i = 0; i < width; ++i) x[t][i] += down[i];
    }
  }
  std::vector<Row> logits;
  const std::string output =
      file.find("output.weight") != nullptr ? "output.weight" : "token_embd.weight";
  for (const Row& row : x)
    logits.push_back(n.times(output, n.norm(row.data(), n.values("output_norm.weight"))));
  for (Row& row : logits)
    for (double& logit : row) logit = Naive::capped(logit, n.number("final_logit_softcapping", 0));
  return logits;
}

}  // namespace ambit::inference
