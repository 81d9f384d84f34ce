// The single pass of canonical_json against the parsed document: same verdict, same bytes, and the
// check without a copy agrees. Left out are the three places where the document is known to be
// laxer: it takes a byte order mark, ends at a NUL byte, and rounds whole numbers of more than 15
// digits.

#include "log/canonical_json.h"

#include "../governance/dom_canonical.h"
#include "log/record.h"

#include <cstdint>
#include <cstdlib>

namespace {

bool has_long_number(std::string_view text) {
  std::size_t run = 0;
  for (const char c : text) {
    run = c >= '0' && c <= '9' ? run + 1 : 0;
    if (run > 15) return true;
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ambit::log;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto ours = canonical_json(text);
  if (is_canonical_json(text) != (ours && *ours == text)) std::abort();
  if (ours && canonical_json(*ours) != ours) std::abort();
  if (canonical_value_length(text) > size || canonical_string_length(text) > size) std::abort();
  // A leaf is accepted only in the bytes that are written for it.
  if (const auto leaf = parse_leaf(text);
      leaf && to_bytes(*leaf) != ambit::Result<std::string>(std::string(text)))
    std::abort();
  std::string quoted;
  if (append_quoted(text, quoted) &&
      unescape_canonical(std::string_view(quoted).substr(1, quoted.size() - 2)) != text) {
    std::abort();
  }
  if (text.starts_with('\xEF') || text.find('\0') != std::string_view::npos) return 0;
  const auto reference = dom::canonical_json(text);
  if (has_long_number(text)) {
    if (ours && reference && *ours != *reference) std::abort();
    return 0;
  }
  if (ours.has_value() != reference.has_value()) std::abort();
  if (ours && *ours != *reference) std::abort();
  return 0;
}
