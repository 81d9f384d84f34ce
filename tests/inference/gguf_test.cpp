#include "inference/gguf.h"

#include "inference/loader.h"
#include "support.h"

#include <catch2/catch.hpp>

#include <cstring>
#include <filesystem>
#include <functional>

namespace ambit::inference {

namespace {

// Builds files byte by byte, so that each can be wrong in exactly one place.
class Bytes {
 public:
  template <class T>
  Bytes& put(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Bytes& raw(const std::string& text) {
    text_ += text;
    return *this;
  }
  Bytes& name(const std::string& text) { return put<std::uint64_t>(text.size()).raw(text); }
  Bytes& header(std::uint64_t tensors, std::uint64_t keys) {
    return raw("GGUF").put<std::uint32_t>(3).put(tensors).put(keys);
  }
  Bytes& tensor(const std::string& called, std::vector<std::uint64_t> shape, std::uint32_t type,
                std::uint64_t offset) {
    name(called).put(static_cast<std::uint32_t>(shape.size()));
    for (const std::uint64_t size : shape) put(size);
    return put(type).put(offset);
  }
  Bytes& align() {
    text_.resize((text_.size() + 31) / 32 * 32);
    return *this;
  }
  Bytes& zeros(std::size_t count) { return raw(std::string(count, '\0')); }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

Result<Gguf> parse(const std::string& text) {
  return Gguf::parse({reinterpret_cast<const std::byte*>(text.data()), text.size()});
}

constexpr std::uint32_t u32 = 4;
constexpr std::uint32_t f32 = 6;
constexpr std::uint32_t boolean = 7;
constexpr std::uint32_t string = 8;
constexpr std::uint32_t array = 9;
constexpr std::uint64_t huge = ~std::uint64_t{0};

}  // namespace

TEST_CASE("what the writer wrote, the reader reads", "[gguf]") {
  GgufWriter writer;
  writer.set("a.number", std::uint64_t{7});
  writer.set("a.big", std::uint64_t{1} << 40U);
  writer.set("a.negative", std::int64_t{-3});
  writer.set("a.real", 0.5);
  writer.set("a.flag", true);
  writer.set("a.text", std::string("hello"));
  writer.set("a.list", std::vector<std::string>{"x", "", "zz"});
  writer.set("a.kinds", std::vector<std::int64_t>{1, -2, 3});
  writer.set("a.scores", std::vector<double>{-1.5, 2});
  const std::vector<float> values = {1, -2, 0.5F, 3, 4, 5, 6, 7};
  writer.add("t32", DType::f32, {4, 2}, values);
  writer.add("t16", DType::f16, {8}, values);
  writer.add("tb", DType::bf16, {8}, values);
  std::vector<float> block(64);
  for (std::size_t i = 0; i < block.size(); ++i) block[i] = static_cast<float>(i) - 31.5F;
  writer.add("tq", DType::q8_0, {32, 2}, block);
  const std::string bytes = writer.bytes();
  const auto file = parse(bytes);
  REQUIRE(file);
  CHECK(file->integer("a.number") == 7);
  CHECK(file->integer("a.big") == std::int64_t{1} << 40);
  CHECK(file->integer("a.negative") == -3);
  CHECK(file->number("a.real") == 0.5);
  CHECK(file->number("a.number") == 7.0);
  CHECK(file->boolean("a.flag") == true);
  CHECK(*file->text("a.text") == "hello");
  CHECK(*file->strings("a.list") == std::vector<std::string>{"x", "", "zz"});
  CHECK(*file->integers("a.kinds") == std::vector<std::int64_t>{1, -2, 3});
  CHECK(*file->numbers("a.scores") == std::vector<double>{-1.5, 2});
  CHECK(file->text("a.number") == nullptr);
  CHECK_FALSE(file->integer("missing"));
  for (const char* name : {"t32", "t16", "tb"}) {
    const TensorView* tensor = file->find(name);
    REQUIRE(tensor != nullptr);
    std::vector<float> read(8);
    to_floats(tensor->type, tensor->data, 8, read.data());
    CHECK(read == values);
  }
  std::vector<float> read(64);
  to_floats(DType::q8_0, file->find("tq")->data, 64, read.data());
  for (std::size_t i = 0; i < 64; ++i) CHECK(read[i] == Approx(block[i]).margin(0.26));
  CHECK(file->find("nothing") == nullptr);
}

TEST_CASE("half floats convert both ways exactly", "[gguf]") {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float value = f16_to_float(half);
    if ((bits & 0x7C00U) == 0x7C00U && (bits & 0x3FFU) != 0) {
      REQUIRE(value != value);
    } else {
      REQUIRE(float_to_f16(value) == half);
    }
    const float wide = bf16_to_float(half);
    if (wide == wide) REQUIRE(float_to_bf16(wide) == half);
  }
  CHECK(float_to_f16(65520.0F) == 0x7C00);
  CHECK(float_to_f16(65519.0F) == 0x7BFF);
  CHECK(float_to_f16(1e-9F) == 0);
}

TEST_CASE("a hostile or broken file gives one clear error", "[gguf]") {
  struct Case {
    std::string what;
    std::string bytes;
    std::string says;
  };
  const auto head = [](std::uint64_t tensors, std::uint64_t keys) {
    return Bytes().header(tensors, keys);
  };
  const auto key = [&](const std::string& name) { return head(0, 1).name(name); };
  const std::vector<Case> cases = {
      {"an empty file", "", "not a GGUF"},
      {"three bytes", "GGU", "not a GGUF"},
      {"another format", "PK\3\4 and more", "not a GGUF"},
      {"only the magic", "GGUF", "ends inside the version"},
      {"version 1", Bytes().raw("GGUF").put<std::uint32_t>(1).zeros(16).text(), "version 1"},
      {"version 4", Bytes().raw("GGUF").put<std::uint32_t>(4).zeros(16).text(), "version 4"},
      {"a big-endian file", Bytes().raw("GGUF").put<std::uint32_t>(0x03000000).zeros(16).text(),
       "big-endian"},
      {"no counts", Bytes().raw("GGUF").put<std::uint32_t>(3).text(), "tensor count"},
      {"too many tensors", head(huge, 0).text(), "tensors; at most"},
      {"too many keys", head(0, huge).text(), "metadata keys; at most"},
      {"a missing key", head(0, 1).text(), "ends inside a metadata key"},
      {"a key longer than the file", head(0, 1).put<std::uint64_t>(60000).text(),
       "ends inside a metadata key"},
      {"a key of 2^64 bytes", head(0, 1).put(huge).text(), "claims"},
      {"an empty key", key("").put(u32).put<std::uint32_t>(1).text(), "is empty"},
      {"no type", key("a").text(), "ends inside metadata \"a\""},
      {"an unknown type", key("a").put<std::uint32_t>(13).zeros(8).text(), "unknown type 13"},
      {"a cut number", key("a").put(u32).zeros(3).text(), "ends inside"},
      {"a boolean of 2", key("a").put(boolean).put<std::uint8_t>(2).text(), "neither 0 nor 1"},
      {"a cut string", key("a").put(string).put<std::uint64_t>(5).raw("abc").text(), "ends inside"},
      {"a string of 2^64 bytes", key("a").put(string).put(huge).raw("abc").text(), "claims"},
      {"a repeated key", head(0, 2).name("a").put(u32).zeros(4).name("a").put(u32).zeros(4).text(),
       "appears twice"},
      {"an array of arrays", key("a").put(array).put(array).put<std::uint64_t>(1).zeros(32).text(),
       "array of arrays"},
      {"an array of an unknown type",
       key("a").put(array).put<std::uint32_t>(99).put<std::uint64_t>(1).zeros(8).text(),
       "unknown type 99"},
      {"an array of 2^64 numbers", key("a").put(array).put(u32).put(huge).zeros(8).text(),
       "elements; at most"},
      {"an array longer than the file",
       key("a").put(array).put(f32).put<std::uint64_t>(1000).zeros(8).text(), "ends inside"},
      {"an array of cut strings",
       key("a").put(array).put(string).put<std::uint64_t>(1).put<std::uint64_t>(9).text(),
       "ends inside"},
      {"an array that claims many strings",
       key("a").put(array).put(string).put<std::uint64_t>(1 << 20).zeros(64).text(), "ends inside"},
      {"an integer beyond 2^63 in an array",
       key("a").put(array).put<std::uint32_t>(10).put<std::uint64_t>(1).put(huge).text(),
       "beyond 2^63"},
      {"an alignment of 0", key("general.alignment").put(u32).put<std::uint32_t>(0).text(),
       "power of two"},
      {"an alignment of 33", key("general.alignment").put(u32).put<std::uint32_t>(33).text(),
       "power of two"},
      {"an alignment of 2^31",
       key("general.alignment").put(u32).put<std::uint32_t>(1U << 31U).text(), "power of two"},
      {"an alignment that is a string", key("general.alignment").put(string).name("32").text(),
       "power of two"},
      {"no tensor where one is claimed", head(1, 0).text(), "ends inside a tensor's name"},
      {"a tensor without dimensions", head(1, 0).tensor("t", {}, 0, 0).align().zeros(64).text(),
       "0 dimensions"},
      {"a tensor of five dimensions",
       head(1, 0).tensor("t", {1, 1, 1, 1, 1}, 0, 0).align().zeros(64).text(), "5 dimensions"},
      {"a dimension of 0", head(1, 0).tensor("t", {4, 0}, 0, 0).align().zeros(64).text(),
       "impossible shape"},
      {"a shape that overflows",
       head(1, 0).tensor("t", {1ULL << 33U, 1ULL << 33U}, 0, 0).align().zeros(64).text(),
       "impossible shape"},
      {"a dimension of 2^64", head(1, 0).tensor("t", {huge}, 0, 0).align().zeros(64).text(),
       "impossible shape"},
      {"an unknown element type", head(1, 0).tensor("t", {4}, 3, 0).align().zeros(64).text(),
       "element type 3"},
      {"half a block", head(1, 0).tensor("t", {48}, 8, 0).align().zeros(64).text(), "blocks of 32"},
      {"an offset that is not aligned", head(1, 0).tensor("t", {4}, 0, 4).align().zeros(64).text(),
       "not aligned"},
      {"an offset outside the file", head(1, 0).tensor("t", {4}, 0, 64).align().zeros(64).text(),
       "outside the file"},
      {"an offset of almost 2^64",
       head(1, 0).tensor("t", {4}, 0, huge - 31).align().zeros(64).text(), "outside the file"},
      {"data that is cut short", head(1, 0).tensor("t", {17}, 0, 0).align().zeros(64).text(),
       "cut short"},
      {"no data at all", head(1, 0).tensor("t", {1}, 0, 0).text(), "outside the file"},
      {"a repeated tensor",
       head(2, 0).tensor("t", {4}, 0, 0).tensor("t", {4}, 0, 32).align().zeros(64).text(),
       "appears twice"},
      {"tensors that overlap",
       head(2, 0).tensor("a", {16}, 0, 0).tensor("b", {4}, 0, 32).align().zeros(64).text(),
       "overlap"},
  };
  for (const Case& each : cases) {
    INFO(each.what);
    const auto file = parse(each.bytes);
    REQUIRE_FALSE(file);
    CHECK_THAT(file.error().message, Catch::Contains(each.says));
    CHECK(file.error().message.size() < 400);
  }
}

TEST_CASE("a file cut anywhere is refused, never read past its end", "[gguf]") {
  SynthShape shape;
  shape.layers = 1;
  shape.vocabulary = 300;
  const std::string whole = synthesize(shape).bytes();
  REQUIRE(parse(whole));
  std::vector<std::size_t> cuts = {whole.size() - 1};
  for (std::size_t cut = 0; cut < 2000; cut += 7) cuts.push_back(cut);
  for (std::size_t cut = 2000; cut < whole.size(); cut += 4999) cuts.push_back(cut);
  for (const std::size_t cut : cuts) {
    const std::string part = whole.substr(0, cut);
    CHECK_FALSE(parse(part));
  }
}

TEST_CASE("a path that is missing or no file is refused", "[gguf]") {
  CHECK(Gguf::open("/nowhere/model.gguf").error().code == Code::not_found);
  CHECK_THAT(Gguf::open("/").error().message, Catch::Contains("not a regular file"));
}

TEST_CASE("a model whose tensors do not fit its shape is refused", "[loader]") {
  const auto refused = [](const std::function<void(SynthShape&)>& shaped,
                          const std::function<void(GgufWriter&)>& changed) {
    SynthShape shape;
    shape.layers = 1;
    shape.vocabulary = 300;
    shaped(shape);
    GgufWriter writer = synthesize(shape);
    changed(writer);
    const std::string bytes = writer.bytes();
    auto file = parse(bytes);
    if (!file) return file.error().message;
    const auto model = load_model(std::make_shared<const Gguf>(std::move(*file)));
    return model ? std::string() : model.error().message;
  };
  const auto same = [](SynthShape&) {};
  const auto keep = [](GgufWriter&) {};
  CHECK(refused(same, keep).empty());
  CHECK_THAT(refused([](SynthShape& s) { s.architecture = "mamba"; }, keep),
             Catch::Contains("\"mamba\" is not supported"));
  CHECK_THAT(refused([](SynthShape& s) { s.kv_heads = 3; }, keep), Catch::Contains("evenly"));
  CHECK_THAT(refused([](SynthShape& s) { s.head_width = 24; }, keep),
             Catch::Contains("multiples of 16"));
  GgufWriter empty;
  empty.set("general.architecture", std::string("llama"));
  const std::string bytes = empty.bytes();
  const auto config = read_config(*parse(bytes));
  REQUIRE_FALSE(config);
  CHECK_THAT(config.error().message, Catch::Contains("llama.block_count"));
}

}  // namespace ambit::inference
