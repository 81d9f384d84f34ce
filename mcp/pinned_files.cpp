#include "mcp/pinned_files.h"

#include "io/file.h"
#include "mcp/digest.h"

namespace ambit::mcp {
namespace {

constexpr std::size_t pinned_bytes_max = 512 << 20;

}  // namespace

Result<void> check_files(const FilePins& pins) {
  for (const auto& [path, digest] : pins) {
    const auto bytes = io::read_file(path, pinned_bytes_max);
    if (!bytes) return Err(Code::denied, "a pinned file: " + bytes.error().message);
    const std::string found = sha256_hex(*bytes);
    if (found == digest) continue;
    return Err(Code::denied, path + " has changed: it is sha256 " + found + " and was pinned as " +
                                 digest + "; look at it, then put the new one under \"sha256\"");
  }
  return {};
}

}  // namespace ambit::mcp
