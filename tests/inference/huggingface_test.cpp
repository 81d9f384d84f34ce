#include "inference/huggingface.h"

#include "engine_logits.h"
#include "huggingface_folder.h"
#include "inference/requantize.h"
#include "inference/safetensors.h"
#include "support.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <functional>
#include <sstream>

namespace ambit::inference {

namespace {

using Json = nlohmann::json;

// A model as a GGUF file and as a folder; gone at the end.
struct BothForms {
  explicit BothForms(const SynthShape& shape, std::size_t shards = 1)
      : file(temporary_path("ambit_hf") + ".gguf"), folder(temporary_path("ambit_hf") + ".folder") {
    std::filesystem::remove_all(folder);
    const auto written = synthesize(shape).write(file);
    const auto gguf = written ? Gguf::open(file) : Result<Gguf>(Err(written.error()));
    if (gguf) write_huggingface(*gguf, folder, shards);
  }
  ~BothForms() {
    std::filesystem::remove(file);
    std::filesystem::remove_all(folder);
  }
  std::string file;
  std::string folder;
};

std::vector<TokenId> spread_tokens(std::size_t count, std::size_t vocabulary) {
  std::vector<TokenId> tokens;
  for (std::size_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<TokenId>(uniform(11, i, 1) * static_cast<double>(vocabulary)));
  return tokens;
}

void check_same_model(const BothForms& both) {
  const auto gguf = ModelFile::open(both.file);
  const auto folder = ModelFile::open(both.folder);
  REQUIRE(gguf);
  if (!folder) FAIL(folder.error().message);
  const auto tokens = spread_tokens(24, (*gguf)->model().config.vocabulary);
  const auto logits = [&](const ModelFile& model) {
    return engine_logits(model.model(), *usable_kernels()[0], KvType::f32, tokens, 7);
  };
  CHECK(logits(**folder) == logits(**gguf));
  const std::string text = "The turtle's 1234 shells<|im_end|>  and\n\tmore";
  CHECK((*folder)->tokenizer().encode_whole(text) == (*gguf)->tokenizer().encode_whole(text));
  CHECK((*folder)->tokenizer().turn_ends() == (*gguf)->tokenizer().turn_ends());
  const auto turn = ask("Hello").messages;
  CHECK((*folder)->chat().render(turn, nullptr) == (*gguf)->chat().render(turn, nullptr));
}

// The message of a file that must be refused.
std::string refusal(const std::string& bytes, const SafetensorsLimits& limits = {}) {
  const auto views = parse_safetensors(std::as_bytes(std::span(bytes)), limits);
  return views ? "" : views.error().message;
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"a":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets +
         "}}";
}

}  // namespace

TEST_CASE("a folder gives the bits of the same model in GGUF, family by family", "[huggingface]") {
  SynthShape shape;
  shape.vocabulary = 300;
  shape.layers = 6;  // every pattern of layers comes round
  shape.width = 48;
  shape.hidden = 80;
  shape.architecture =
      GENERATE("llama", "qwen2", "qwen3", "smollm3", "phi3", "gemma", "gemma2", "gemma3");
  shape.tied = shape.architecture != "qwen2" && shape.architecture != "phi3";
  shape.window = shape.architecture.starts_with("qwen") ? 0 : 5;
  INFO(shape.architecture);
  check_same_model(BothForms(shape));
}

TEST_CASE("a folder gives the bits of the same model in GGUF, type by type and in pieces",
          "[huggingface]") {
  SynthShape shape;
  shape.vocabulary = 300;
  shape.type = GENERATE(DType::f32, DType::f16, DType::bf16);
  INFO(to_string(shape.type));
  check_same_model(BothForms(shape, 3));
}

TEST_CASE("experts of a folder give the bits of the same model in GGUF", "[huggingface]") {
  SynthShape shape;
  shape.vocabulary = 300;
  shape.width = 256;
  shape.heads = 8;
  shape.head_width = 32;
  shape.hidden = 64;
  shape.experts = 5;
  shape.architecture = GENERATE("llama", "qwen3moe");
  shape.type = DType::bf16;
  INFO(shape.architecture);
  check_same_model(BothForms(shape, 2));
}

TEST_CASE("positions are scaled as config.json says", "[huggingface]") {
  SynthShape shape;
  shape.vocabulary = 300;
  shape.rope_scaling = GENERATE("linear", "yarn", "longrope");
  shape.architecture = shape.rope_scaling == "longrope" ? "phi3" : "qwen2";
  shape.context = 256;
  INFO(shape.rope_scaling);
  check_same_model(BothForms(shape));
}

TEST_CASE("Llama 3's table of divisors leaves fast turns and slows the slow ones",
          "[huggingface]") {
  SynthShape shape;
  shape.vocabulary = 300;
  shape.head_width = 64;
  const BothForms both(shape);
  Json config = Json::parse(*read_text(both.folder + "/config.json"));
  config["rope_theta"] = 500000.0;
  config["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", 32.0},
                            {"low_freq_factor", 1.0},
                            {"high_freq_factor", 4.0},
                            {"original_max_position_embeddings", 8192}};
  write_file(both.folder + "/config.json", config.dump());
  const auto file = open_huggingface(both.folder);
  REQUIRE(file);
  const TensorView* divisors = file->find("rope_freqs.weight");
  REQUIRE(divisors != nullptr);
  REQUIRE(divisors->shape == std::vector<std::uint64_t>{32});
  std::vector<float> values(32);
  to_floats(divisors->type, divisors->row(0), 32, values.data());
  // The pair 15 turns once in 2 pi 500000^(30/64) = 2948 positions: (8192/2948 - 1) / (4 - 1) =
  // 0.5929 of its frequency is kept as it is, the rest divided by 32.
  CHECK(values[0] == 1.0F);
  CHECK(values[14] == 1.0F);
  CHECK(values[15] == Approx(1.6513).epsilon(0.001));
  CHECK(values[16] == Approx(3.2923).epsilon(0.001));
  CHECK(values[18] == 32.0F);
  CHECK(values[31] == 32.0F);
}

TEST_CASE("a folder is quantised as its GGUF file is", "[huggingface]") {
  SynthShape shape;
  shape.vocabulary = 300;
  const BothForms both(shape, 2);
  const std::string to = temporary_path("ambit_hf_quantised");
  const auto bits_of = [&](const std::string& path) {
    const auto file = open_weights(path);
    REQUIRE(file);
    REQUIRE(requantize(*file, *recipe_named("Q8_0"), to));
    const auto made = Gguf::open(to);
    REQUIRE(made);
    std::map<std::string, std::string> bits;
    for (const TensorView& view : made->tensors())
      bits[view.name] = {reinterpret_cast<const char*>(view.data), view.bytes};
    std::filesystem::remove(to);
    return bits;
  };
  CHECK(bits_of(both.folder) == bits_of(both.file));
}

TEST_CASE("a folder is known by the digests of its files", "[huggingface]") {
  SynthShape shape;
  shape.vocabulary = 300;
  const BothForms both(shape);
  const auto first = ModelFile::open(both.folder + "/");
  REQUIRE(first);
  CHECK_THAT((*first)->identity(), Catch::Contains(".folder@sha256:"));
  const auto again = ModelFile::open(both.folder);
  CHECK((*again)->identity() == (*first)->identity());
  write_file(both.folder + "/generation_config.json", R"({"eos_token_id": [258, 257]})");
  const auto other = ModelFile::open(both.folder);
  REQUIRE(other);
  CHECK((*other)->identity() != (*first)->identity());
  CHECK((*other)->tokenizer().ends_turn(257));
  CHECK_FALSE((*first)->tokenizer().ends_turn(257));
}

TEST_CASE("public vocabularies give the published tokens from tokenizer.json too",
          "[huggingface]") {
  const std::string name = GENERATE("gpt-2", "llama-bpe", "llama-spm", "qwen2");
  const std::string path = shared_data("tokenizer/ggml-vocab-" + name + ".gguf");
  const auto file = Gguf::open(path);
  if (!file) {
    WARN("skipped: " + path + " is not there");
    return;
  }
  SynthShape shape;
  shape.vocabulary = 300;
  const BothForms both(shape);
  const std::string config = *read_text(both.folder + "/config.json");
  const std::string vocabulary = huggingface_tokenizer_of(*file).dump();
  const std::string settings = huggingface_tokenizer_config_of(*file).dump();
  HuggingFaceTexts texts;
  texts.config = config;
  texts.tokenizer = vocabulary;
  texts.tokenizer_config = settings;
  TensorView embedding;
  embedding.name = "model.embed_tokens.weight";
  embedding.shape = {64, file->strings("tokenizer.ggml.tokens")->size()};
  const auto translated = translate_huggingface(name, texts, {embedding});
  if (!translated) FAIL(translated.error().message);
  const auto tokenizer = Tokenizer::load(*translated);
  REQUIRE(tokenizer);
  const std::string all = *read_text(path + ".inp");
  std::istringstream lines(*read_text(path + ".out"));
  const std::string border = "\n__ggml_vocab_test__\n";
  std::size_t texts_seen = 0;
  for (std::size_t at = 0; at <= all.size(); ++texts_seen) {
    const std::size_t end = std::min(all.find(border, at), all.size());
    std::string line;
    std::getline(lines, line);
    std::istringstream numbers(line);
    std::vector<TokenId> expected;
    for (TokenId token = 0; numbers >> token;) expected.push_back(token);
    INFO(name << ": " << all.substr(at, end - at));
    CHECK(tokenizer->encode(all.substr(at, end - at)) == expected);
    at = end + border.size();
  }
  CHECK(texts_seen == 47);
}

TEST_CASE("a safetensors file is checked to its last byte", "[huggingface]") {
  const std::string good = safetensors_text(entry("F16", "[2,3]", "[0,12]"), std::string(12, 'x'));
  const auto views = parse_safetensors(std::as_bytes(std::span(good)));
  REQUIRE(views);
  REQUIRE(views->size() == 1);
  CHECK((*views)[0].shape == std::vector<std::uint64_t>{3, 2});
  CHECK((*views)[0].type == DType::f16);

  const auto with = [](const std::string& header, std::size_t bytes) {
    return refusal(safetensors_text(header, std::string(bytes, 'x')));
  };
  using Catch::Contains;
  CHECK_THAT(refusal(""), Contains("no header"));
  CHECK_THAT(refusal(std::string(8, '\xFF')), Contains("at most"));
  CHECK_THAT(refusal(good.substr(0, 40)), Contains("cut short"));
  CHECK_THAT(refusal(good.substr(0, good.size() - 1)), Contains("outside the file"));
  CHECK_THAT(refusal(good + "x"), Contains("goes on"));
  CHECK_THAT(with("[]", 0), Contains("not a JSON object"));
  CHECK_THAT(with("{", 0), Contains("not a JSON object"));
  CHECK_THAT(with(R"({"a":[[[[]]]]})", 0), Contains("nested"));
  CHECK_THAT(with(R"({"a":{}})", 0), Contains("no dtype"));
  CHECK_THAT(with(entry("I64", "[1]", "[0,8]"), 8), Contains("not supported"));
  CHECK_THAT(with(entry("F32", "[]", "[0,4]"), 4), Contains("1 to 4 dimensions"));
  CHECK_THAT(with(entry("F32", "[0]", "[0,0]"), 0), Contains("impossible shape"));
  CHECK_THAT(with(entry("F32", "[-1]", "[0,4]"), 4), Contains("impossible shape"));
  CHECK_THAT(with(entry("F32", "[1.5]", "[0,4]"), 4), Contains("impossible shape"));
  CHECK_THAT(with(entry("F32", "[4294967296,4294967296]", "[0,4]"), 4),
             Contains("impossible shape"));
  CHECK_THAT(with(entry("F32", "[1099511627776]", "[0,4]"), 4), Contains("its shape needs"));
  CHECK_THAT(with(entry("F32", "[1]", "[4,0]"), 4), Contains("outside the file"));
  CHECK_THAT(with(entry("F32", "[1]", "[0,18446744073709551615]"), 4),
             Contains("outside the file"));
  CHECK_THAT(with(entry("F32", "[1]", "[0]"), 4), Contains("outside the file"));
  CHECK_THAT(with(entry("F32", "[1]", "[0,8]"), 8), Contains("its shape needs 4"));
  CHECK_THAT(with(entry("F32", "[1]", "[4,8]"), 8), Contains("unused bytes"));
  const std::string two = R"("dtype":"F32","shape":[2],"data_offsets":)";
  CHECK_THAT(with("{\"a\":{" + two + "[0,8]},\"b\":{" + two + "[4,12]}}", 12),
             Contains("overlaps"));
  CHECK_THAT(with("{\"a\":{" + two + "[0,8]},\"a\":{" + two + "[0,8]}}", 8), Contains("twice"));
  CHECK_THAT(with("{\"a\\n\":{" + two + "[0,8]}}", 8), Contains("plain ASCII"));
  SafetensorsLimits limits;
  limits.header_bytes_max = 16;
  CHECK_THAT(refusal(good, limits), Contains("at most 16"));
}

TEST_CASE("a folder that the engine cannot follow exactly is refused in one line",
          "[huggingface]") {
  SynthShape shape;
  shape.vocabulary = 300;
  shape.layers = 1;
  shape.tied = false;
  const BothForms both(shape, 2);
  const auto refused = [&](const std::string& name, const std::function<void(Json&)>& change) {
    const std::string path = both.folder + "/" + name;
    const std::string before = *read_text(path);
    Json value = Json::parse(before);
    change(value);
    write_file(path, value.dump());
    const auto opened = ModelFile::open(both.folder);
    write_file(path, before);
    const std::string message = opened ? "" : opened.error().message;
    CHECK(message.find('\n') == std::string::npos);
    return message;
  };
  using Catch::Contains;
  const auto config = [&](const char* key, const Json& value) {
    return refused("config.json", [&](Json& object) { object[key] = value; });
  };
  CHECK_THAT(config("architectures", {"BertModel"}), Contains("\"BertModel\" is not supported"));
  CHECK_THAT(config("architectures", "x\ny"), Contains("architectures"));
  CHECK_THAT(config("quantization_config", {{"bits", 4}}), Contains("quantised"));
  CHECK_THAT(config("hidden_act", "relu"), Contains("\"relu\""));
  CHECK_THAT(config("hidden_size", "big"), Contains("hidden_size is not a whole number"));
  CHECK_THAT(config("hidden_size", 1e300), Contains("hidden_size is not a whole number"));
  CHECK_THAT(config("num_hidden_layers", nullptr), Contains("no num_hidden_layers"));
  CHECK_THAT(config("num_hidden_layers", 2), Contains("is missing"));
  CHECK_THAT(config("num_hidden_layers", -1), Contains("block_count"));
  CHECK_THAT(config("num_attention_heads", 0), Contains("heads is impossible"));
  CHECK_THAT(config("head_dim", 32), Contains("rows"));
  CHECK_THAT(config("partial_rotary_factor", 0.5), Contains("partial_rotary_factor"));
  CHECK_THAT(config("rope_scaling", {{"rope_type", "dynamic"}}), Contains("\"dynamic\""));
  CHECK_THAT(config("rope_scaling", {{"rope_type", "llama3"}}), Contains("incomplete"));
  CHECK_THAT(config("rope_scaling", 4), Contains("rope_scaling is not an object"));
  CHECK_THAT(refused("config.json",
                     [](Json& object) {
                       object["architectures"] = {"Qwen2ForCausalLM"};
                       object["use_sliding_window"] = true;
                       object["sliding_window"] = 4096;
                     }),
             Contains("use_sliding_window is not supported"));

  const auto tokens = [&](const std::function<void(Json&)>& change) {
    return refused("tokenizer.json", change);
  };
  CHECK_THAT(tokens([](Json& file) { file["model"]["type"] = "Unigram"; }),
             Contains("not \"Unigram\""));
  CHECK_THAT(tokens([](Json& file) { file["pre_tokenizer"] = nullptr; }), Contains("neither"));
  CHECK_THAT(tokens([](Json& file) { file["normalizer"] = {{"type", "Lowercase"}}; }),
             Contains("\"Lowercase\""));
  CHECK_THAT(tokens([](Json& file) {
               file["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = "\\w+";
             }),
             Contains("pre_tokenizer is not one"));
  CHECK_THAT(tokens([](Json& file) { file["model"]["vocab"]["zebra"] = 300; }),
             Contains("300 rows"));
  CHECK_THAT(tokens([](Json& file) { file["model"]["vocab"]["zebra"] = 5; }),
             Contains("two tokens have the number 5"));
  CHECK_THAT(tokens([](Json& file) { file["added_tokens"][0]["id"] = 7; }),
             Contains("another text"));
  CHECK_THAT(tokens([](Json& file) { file["model"]["merges"][0] = "abc"; }), Contains("merge 0"));
  CHECK_THAT(refused("tokenizer_config.json", [](Json& file) { file["eos_token"] = "</zzz>"; }),
             Contains("eos_token is no token"));

  const auto index = [&](const std::function<void(Json&)>& change) {
    return refused("model.safetensors.index.json", [&](Json& file) { change(file["weight_map"]); });
  };
  for (const char* path :
       {"../model-0.safetensors", "/etc/passwd", "sub/a.safetensors", "config.json"})
    CHECK_THAT(index([&](Json& map) { map["lm_head.weight"] = path; }),
               Contains("no safetensors file of its folder"));
  CHECK_THAT(index([](Json& map) { map["ghost.weight"] = "model-9.safetensors"; }),
             Contains("model-9.safetensors"));
  CHECK_THAT(index([](Json& map) { map["ghost.weight"] = "model-0.safetensors"; }),
             Contains("do not hold"));
  CHECK_THAT(index([](Json& map) {
               map["lm_head.weight"] = map["lm_head.weight"] == "model-0.safetensors"
                                           ? "model-1.safetensors"
                                           : "model-0.safetensors";
             }),
             Contains("says otherwise"));
  std::filesystem::remove(both.folder + "/model.safetensors.index.json");
  CHECK_THAT(ModelFile::open(both.folder).error().message, Contains("neither model.safetensors"));
}

TEST_CASE("tensors that no architecture has are refused, not ignored", "[huggingface]") {
  SynthShape shape;
  shape.vocabulary = 300;
  const BothForms both(shape);
  const auto gguf = Gguf::open(both.file);
  auto tensors = huggingface_tensors_of(*gguf);
  const auto refused = [&](const StoredTensor& more) {
    auto all = tensors;
    all.push_back(more);
    write_file(both.folder + "/model.safetensors", safetensors_text(all));
    const auto opened = ModelFile::open(both.folder);
    return opened ? "" : opened.error().message;
  };
  const std::string bytes(64 * 4, '\0');
  using Catch::Contains;
  CHECK_THAT(refused({"model.layers.0.self_attn.o_proj.bias", "F32", {64}, bytes}),
             Contains("none of the architecture's"));
  CHECK_THAT(refused({"model.layers.00.input_layernorm.weight", "F32", {64}, bytes}),
             Contains("none of the architecture's"));
  CHECK_THAT(refused({"model.layers.0.mlp.experts.1.w1.weight", "F32", {1, 64}, bytes}),
             Contains("is missing"));
  CHECK_THAT(refused({"model.layers.0.pre_feedforward_layernorm.weight", "F32", {64}, bytes}),
             Contains("appears twice"));
  CHECK(refused({"model.layers.0.self_attn.rotary_emb.inv_freq", "F32", {64}, bytes}).empty());
}

}  // namespace ambit::inference
