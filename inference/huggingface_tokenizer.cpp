// tokenizer.json and its neighbours as the keys of a GGUF file.

#include "inference/huggingface_parts.h"

#include <nlohmann/json.hpp>

#include <limits>
#include <unordered_map>

namespace ambit::inference {

namespace {

using Json = nlohmann::json;

constexpr std::string_view marked_space = "\xE2\x96\x81";  // U+2581

// The expressions that the engine's scanners follow (pretokenize.cpp).
struct Expression {
  std::string_view text;
  const char* name;  // as GGUF calls it
};
constexpr Expression expressions[] = {
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     "llama-bpe"},
    {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     "qwen2"},
    {R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", "gpt-2"},
};

Error tokenizer_error(Code code, const std::string& what) {
  return Error{code, "tokenizer.json: " + what};
}

const Json* part_of(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto at = object.find(key);
  return at == object.end() || at->is_null() ? nullptr : &*at;
}
std::string text_of(const Json& object, const char* key) {
  const Json* value = part_of(object, key);
  return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
}
bool flag_of(const Json& object, const char* key, bool fallback) {
  const Json* value = part_of(object, key);
  return value != nullptr && value->is_boolean() ? value->get<bool>() : fallback;
}

// The steps of a normalizer or pre-tokenizer, of which a sequence has several.
std::vector<const Json*> steps_of(const Json* step, const char* members) {
  std::vector<const Json*> steps;
  if (step == nullptr) return steps;
  const Json* list = text_of(*step, "type") == "Sequence" ? part_of(*step, members) : nullptr;
  if (list == nullptr || !list->is_array()) return {step};
  for (const Json& each : *list) steps.push_back(&each);
  return steps;
}

class TokenizerReader {
 public:
  TokenizerReader(const Json& file, const Json& settings, std::size_t rows, GgufMetadata& metadata)
      : file_(file), settings_(settings), metadata_(metadata), names_(rows), kinds_(rows, 5) {}

  Result<void> run(const Json& config, const Json& generation) {
    const Json* model = part_of(file_, "model");
    if (model == nullptr || text_of(*model, "type") != "BPE")
      return Err(
          tokenizer_error(Code::unsupported, "only models of the type BPE are supported, not " +
                                                 shown(model ? text_of(*model, "type") : "")));
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (!text_of(*model, key).empty())
        return Err(tokenizer_error(Code::unsupported, std::string(key) + " is not supported"));
    const auto steps = steps_of(part_of(file_, "pre_tokenizer"), "pretokenizers");
    byte_level_ = !steps.empty() && text_of(*steps.back(), "type") == "ByteLevel";
    if (!byte_level_ && !flag_of(*model, "byte_fallback", false))
      return Err(tokenizer_error(Code::unsupported,
                                 "it is neither byte-level nor does it fall back to bytes"));
    if (byte_level_) {
      TRY(byte_level(steps));
      metadata_["tokenizer.ignore_merges"] = flag_of(*model, "ignore_merges", false);
    } else {
      TRY(sentence_piece(steps));
    }
    TRY(vocabulary(*model));
    TRY(added());
    TRY(merges(*model));
    finish_vocabulary();
    return roles(*model, config, generation);
  }

 private:
  Result<void> byte_level(const std::vector<const Json*>& steps) {
    metadata_["tokenizer.ggml.model"] = std::string("gpt2");
    // As in GGUF files of these families, texts are not normalised.
    for (const Json* step : steps_of(part_of(file_, "normalizer"), "normalizers"))
      if (text_of(*step, "type") != "NFC")
        return Err(tokenizer_error(
            Code::unsupported,
            "the normalizer " + shown(text_of(*step, "type")) + " is not supported"));
    const Json& last = *steps.back();
    if (flag_of(last, "add_prefix_space", true))
      return Err(tokenizer_error(Code::unsupported, "add_prefix_space is not supported"));
    const bool own = flag_of(last, "use_regex", true);
    const char* name = nullptr;
    if (steps.size() == 1 && own) name = "gpt-2";
    if (steps.size() == 2 && own && text_of(*steps[0], "type") == "Digits" &&
        flag_of(*steps[0], "individual_digits", false))
      name = "smollm";
    if (steps.size() == 2 && !own && text_of(*steps[0], "type") == "Split" &&
        text_of(*steps[0], "behavior") == "Isolated" && !flag_of(*steps[0], "invert", false)) {
      const Json* pattern = part_of(*steps[0], "pattern");
      const std::string text = pattern == nullptr ? "" : text_of(*pattern, "Regex");
      for (const Expression& known : expressions)
        if (known.text == text) name = known.name;
    }
    if (name == nullptr)
      return Err(tokenizer_error(Code::unsupported,
                                 "the pre_tokenizer is not one of those that are supported (of "
                                 "GPT-2, Llama 3, Qwen 2 and SmolLM)"));
    metadata_["tokenizer.ggml.pre"] = std::string(name);
    return {};
  }

  Result<void> sentence_piece(const std::vector<const Json*>& steps) {
    metadata_["tokenizer.ggml.model"] = std::string("llama");
    bool prefix = false;
    bool marks = false;
    for (const Json* step : steps_of(part_of(file_, "normalizer"), "normalizers")) {
      const Json* pattern = part_of(*step, "pattern");
      if (text_of(*step, "type") == "Prepend" && text_of(*step, "prepend") == marked_space) {
        prefix = true;
      } else if (text_of(*step, "type") == "Replace" && text_of(*step, "content") == marked_space &&
                 pattern != nullptr && text_of(*pattern, "String") == " ") {
        marks = true;
      } else {
        return Err(tokenizer_error(
            Code::unsupported,
            "the normalizer " + shown(text_of(*step, "type")) + " is not supported"));
      }
    }
    if (steps.size() == 1 && text_of(*steps[0], "type") == "Metaspace" &&
        !flag_of(*steps[0], "split", true)) {
      const std::string scheme = text_of(*steps[0], "prepend_scheme");
      prefix = scheme.empty() ? flag_of(*steps[0], "add_prefix_space", true) : scheme != "never";
      marks = true;
    } else if (!steps.empty() && !splits_nothing(steps, marks)) {
      return Err(tokenizer_error(Code::unsupported, "the pre_tokenizer " +
                                                        shown(text_of(*steps[0], "type")) +
                                                        " is not supported with bytes to fall "
                                                        "back to"));
    }
    if (!marks) return Err(tokenizer_error(Code::unsupported, "spaces are not marked by U+2581"));
    metadata_["tokenizer.ggml.add_space_prefix"] = prefix;
    return {};
  }

  // Gemma's: it splits at spaces, of which the normalizer has left none.
  static bool splits_nothing(const std::vector<const Json*>& steps, bool marks) {
    const Json* pattern = part_of(*steps[0], "pattern");
    return steps.size() == 1 && marks && text_of(*steps[0], "type") == "Split" &&
           pattern != nullptr && text_of(*pattern, "String") == " ";
  }

  Result<std::size_t> place_of(const Json& id, const std::string& what) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() >= names_.size())
      return Err(tokenizer_error(Code::invalid, what + " has no number below the " +
                                                    std::to_string(names_.size()) +
                                                    " rows of the embedding"));
    return static_cast<std::size_t>(id.get<std::uint64_t>());
  }

  Result<void> vocabulary(const Json& model) {
    const Json* vocabulary = part_of(model, "vocab");
    if (vocabulary == nullptr || !vocabulary->is_object() || vocabulary->empty())
      return Err(tokenizer_error(Code::invalid, "the model has no vocab"));
    for (const auto& [name, id] : vocabulary->items()) {
      const std::size_t at = TRY(place_of(id, "a token of vocab"));
      if (name.empty()) return Err(tokenizer_error(Code::invalid, "a token of vocab is empty"));
      if (!names_[at].empty())
        return Err(
            tokenizer_error(Code::invalid, "two tokens have the number " + std::to_string(at)));
      names_[at] = name;
      const bool byte = !byte_level_ && name.size() == 6 && name.starts_with("<0x") &&
                        name[5] == '>' && is_hex(name[3]) && is_hex(name[4]);
      kinds_[at] = byte ? 6 : 1;
      places_.emplace(names_[at], at);
    }
    unknown_ = text_of(model, "unk_token");
    if (const auto at = places_.find(unknown_); at != places_.end()) kinds_[at->second] = 2;
    return {};
  }
  static bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); }

  Result<void> added() {
    const Json* list = part_of(file_, "added_tokens");
    if (list == nullptr) return {};
    if (!list->is_array())
      return Err(tokenizer_error(Code::invalid, "added_tokens is not an array"));
    for (const Json& token : *list) {
      const Json* id = part_of(token, "id");
      const std::string name = text_of(token, "content");
      if (id == nullptr || name.empty())
        return Err(tokenizer_error(Code::invalid, "an added token has no id or no content"));
      const std::size_t at = TRY(place_of(*id, "an added token"));
      if (!names_[at].empty() && names_[at] != name)
        return Err(tokenizer_error(Code::invalid, "the added token " + std::to_string(at) +
                                                      " has another text than in vocab"));
      names_[at] = name;
      if (kinds_[at] != 2) kinds_[at] = flag_of(token, "special", false) ? 3 : 4;
      const auto known = places_.emplace(name, at);
      if (known.first->second != at)
        return Err(tokenizer_error(Code::invalid, "an added token appears twice"));
    }
    return {};
  }

  // The two tokens of a merge with a space between.
  static Result<std::string> merge_text(const Json& merge, std::size_t rank) {
    std::string text;
    if (merge.is_string()) {
      text = merge.get<std::string>();
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      text = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
    }
    const std::size_t gap = text.find(' ');
    if (gap == std::string::npos || gap == 0 || gap + 1 == text.size() ||
        text.find(' ', gap + 1) != std::string::npos)
      return Err(
          tokenizer_error(Code::invalid, "merge " + std::to_string(rank) + " is not two tokens"));
    return text;
  }

  Result<void> merges(const Json& model) {
    const Json* list = part_of(model, "merges");
    if (list == nullptr || !list->is_array())
      return Err(tokenizer_error(Code::invalid, "the model has no merges"));
    std::vector<std::string> texts;
    // What no merge makes is never made; of the others the first merge says how early.
    constexpr double never = -std::numeric_limits<double>::infinity();
    std::vector<double> scores(byte_level_ ? 0 : names_.size(), never);
    for (std::size_t rank = 0; rank < list->size(); ++rank) {
      std::string text = TRY(merge_text((*list)[rank], rank));
      if (byte_level_) {
        texts.push_back(std::move(text));
        continue;
      }
      text.erase(text.find(' '), 1);
      const auto at = places_.find(text);
      if (at == places_.end())
        return Err(tokenizer_error(Code::invalid,
                                   "merge " + std::to_string(rank) + " makes no known token"));
      if (scores[at->second] == never) scores[at->second] = -static_cast<double>(rank);
    }
    if (byte_level_) metadata_["tokenizer.ggml.merges"] = std::move(texts);
    if (!byte_level_) metadata_["tokenizer.ggml.scores"] = std::move(scores);
    return {};
  }

  void finish_vocabulary() {
    for (std::size_t i = 0; i < names_.size(); ++i)
      if (names_[i].empty()) names_[i] = "[PAD" + std::to_string(i) + "]";
    metadata_["tokenizer.ggml.tokens"] = std::move(names_);
    metadata_["tokenizer.ggml.token_type"] = std::move(kinds_);
  }

  // A token by its text: "</s>", or {"content": "</s>"}.
  Result<std::optional<std::uint64_t>> named_token(const char* key) const {
    const Json* value = part_of(settings_, key);
    if (value == nullptr) return std::optional<std::uint64_t>();
    const std::string name =
        value->is_string() ? value->get<std::string>() : text_of(*value, "content");
    const auto at = places_.find(name);
    if (at == places_.end())
      return Err(Code::invalid,
                 std::string("tokenizer_config.json: ") + key + " is no token of the vocabulary");
    return std::optional<std::uint64_t>(at->second);
  }

  // Numbers of tokens: one, or a list of them.
  static std::vector<std::uint64_t> numbered_tokens(const Json& object, const char* key) {
    std::vector<std::uint64_t> ids;
    const Json* value = part_of(object, key);
    if (value == nullptr) return ids;
    if (value->is_number_unsigned()) return {value->get<std::uint64_t>()};
    if (!value->is_array()) return ids;
    for (const Json& id : *value)
      if (id.is_number_unsigned()) ids.push_back(id.get<std::uint64_t>());
    return ids;
  }

  Result<void> roles(const Json& model, const Json& config, const Json& generation) {
    auto begin = TRY(named_token("bos_token"));
    auto end = TRY(named_token("eos_token"));
    std::vector<std::uint64_t> ends = numbered_tokens(generation, "eos_token_id");
    for (const std::uint64_t id : numbered_tokens(config, "eos_token_id")) ends.push_back(id);
    if (!end && !ends.empty()) end = ends[0];
    if (const auto ids = numbered_tokens(config, "bos_token_id");
        !begin && !settings_.is_object() && !ids.empty())
      begin = ids[0];
    if (begin) metadata_["tokenizer.ggml.bos_token_id"] = *begin;
    if (end) metadata_["tokenizer.ggml.eos_token_id"] = *end;
    for (const std::uint64_t id : ends) {
      if (id == end) continue;
      metadata_["tokenizer.ggml.eot_token_id"] = id;
      break;
    }
    if (const auto at = places_.find(text_of(model, "unk_token")); at != places_.end())
      metadata_["tokenizer.ggml.unknown_token_id"] = std::uint64_t{at->second};
    const Json* says = part_of(settings_, "add_bos_token");
    metadata_["tokenizer.ggml.add_bos_token"] =
        says != nullptr && says->is_boolean() ? says->get<bool>() : begin && template_begins();
    return {};
  }

  // Whether the post-processor puts a special token before a single text.
  [[nodiscard]] bool template_begins() const {
    for (const Json* step : steps_of(part_of(file_, "post_processor"), "processors")) {
      const Json* single = part_of(*step, "single");
      if (single != nullptr && single->is_array() && !single->empty() &&
          part_of((*single)[0], "SpecialToken") != nullptr)
        return true;
    }
    return false;
  }

  const Json& file_;
  const Json& settings_;  // tokenizer_config.json, or null
  GgufMetadata& metadata_;
  bool byte_level_ = false;
  std::vector<std::string> names_;
  std::vector<std::int64_t> kinds_;  // as GGUF numbers them; 5: unused
  std::unordered_map<std::string, std::size_t> places_;
  std::string unknown_;
};

// The template of conversations: a file of its own, or in tokenizer_config.json, where it may be
// one of several.
std::string chat_template_of(const HuggingFaceTexts& texts, const Json& settings) {
  if (!texts.chat_template.empty()) return std::string(texts.chat_template);
  const Json* value = part_of(settings, "chat_template");
  if (value == nullptr) return "";
  if (value->is_string()) return value->get<std::string>();
  if (!value->is_array()) return "";
  for (const Json& each : *value)
    if (text_of(each, "name") == "default") return text_of(each, "template");
  return "";
}

}  // namespace

Result<void> read_huggingface_tokenizer(const HuggingFaceTexts& texts, const Json& config,
                                        std::size_t rows, GgufMetadata& metadata) {
  const Json file = TRY(huggingface_json(texts.tokenizer, "tokenizer.json"));
  Json settings;
  if (!texts.tokenizer_config.empty())
    settings = TRY(huggingface_json(texts.tokenizer_config, "tokenizer_config.json"));
  Json generation;
  if (!texts.generation_config.empty())
    generation = TRY(huggingface_json(texts.generation_config, "generation_config.json"));
  TRY(TokenizerReader(file, settings, rows, metadata).run(config, generation));
  std::string chat_template = chat_template_of(texts, settings);
  if (!chat_template.empty()) metadata["tokenizer.chat_template"] = std::move(chat_template);
  return {};
}

}  // namespace ambit::inference
