// Any bytes on the stdout of an MCP server: wherever they are cut, the same lines come out, whole
// and bounded, up to the same end.

#include "async/check.h"
#include "mcp/stdio.h"
#include "runtime/async/fake_poller.h"
#include "support/run_task.h"

#include <cstdint>
#include <utility>
#include <vector>

using namespace ambit;

namespace {

constexpr std::size_t line_bytes_max = 64;

// Gives `bytes` in parts of `step`, then its end.
class CutStream final : public io::Stream {
 public:
  CutStream(std::string_view bytes, std::size_t step) : bytes_(bytes), step_(step) {}
  Task<Result<std::string>> read(std::size_t max) override {
    const std::string part(bytes_.substr(0, std::min(step_, max)));
    bytes_.remove_prefix(part.size());
    co_return part;
  }
  Task<Result<void>> write(std::string /*bytes*/) override { co_return Result<void>(); }
  void shutdown_write() override {}
  void close() override {}

 private:
  std::string_view bytes_;
  std::size_t step_;
};

struct Heard {
  std::vector<std::string> lines;
  Code end = Code::internal;
  friend bool operator==(const Heard&, const Heard&) = default;
};

Heard hear(std::string_view bytes, std::size_t step) {
  FakePoller poller;
  Loop loop(poller);
  CutStream stream(bytes, step);
  mcp::StdioLimits limits;
  limits.line_bytes_max = line_bytes_max;
  mcp::StdioTransport transport(stream, stream, limits);
  Heard heard;
  while (true) {
    auto line = run_task(loop, transport.receive());
    if (!line) {
      heard.end = line.error().code;
      return heard;
    }
    heard.lines.push_back(std::move(*line));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const Heard whole = hear(bytes, size + 1);
  INVARIANT(whole.end == Code::closed || whole.end == Code::exhausted);
  for (const std::string& line : whole.lines) {
    INVARIANT(!line.empty() && line.size() <= line_bytes_max);
    INVARIANT(line.find('\n') == std::string::npos);
  }
  INVARIANT(hear(bytes, 1) == whole);
  INVARIANT(hear(bytes, 7) == whole);
  return 0;
}
