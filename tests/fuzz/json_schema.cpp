// Bytes up to the first line break are a schema, the rest a value: compiling and validating end,
// with a verdict or an error, in bounded work.

#include "rpc/schema.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ambit::rpc;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t cut = text.find('\n');
  SchemaOptions options;
  options.steps_max = 10'000;
  const auto schema = Schema::parse(text.substr(0, cut), options);
  if (!schema || cut == std::string_view::npos) return 0;
  const auto value = Value::parse(text.substr(cut + 1));
  if (value) static_cast<void>(schema->validate(value->json()));
  return 0;
}
