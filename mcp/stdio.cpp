#include "mcp/stdio.h"

#include "rpc/value.h"

#include <utility>

namespace ambit::mcp {
namespace {

constexpr std::size_t read_bytes = 64 << 10;
constexpr std::size_t stderr_bytes_shown = 300;

}  // namespace

StdioTransport::StdioTransport(io::Stream& input, io::Stream& output, StdioLimits limits)
    : input_(input), output_(output), limits_(limits), outgoing_(limits.sends_max) {}

Task<Result<void>> StdioTransport::send(std::string message) {
  message += '\n';
  auto sent = co_await outgoing_.send(std::move(message));
  if (!sent) co_return Err(Code::closed, "the server does not read any more");
  co_return Result<void>();
}

Task<Error> StdioTransport::run() {
  while (true) {
    auto message = co_await outgoing_.receive();
    if (!message) co_return std::move(message).error();
    // What waits goes out in one write.
    std::string bytes = std::move(*message);
    while (bytes.size() < read_bytes) {
      auto more = outgoing_.try_receive();
      if (!more) break;
      bytes += *more;
    }
    auto written = co_await input_.write(std::move(bytes));
    if (!written) {
      outgoing_.close();
      co_return std::move(written).error().context("writing to the server");
    }
  }
}

bool StdioTransport::take_line(std::string& line) {
  while (true) {
    const std::size_t end = buffer_.find('\n', searched_);
    if (end == std::string::npos) {
      searched_ = buffer_.size();
      return false;
    }
    std::size_t last = end;
    // One that is too long stays as it is, however its bytes came.
    const bool is_bounded = end - begin_ <= limits_.line_bytes_max;
    while (is_bounded && last > begin_ && (buffer_[last - 1] == '\r' || buffer_[last - 1] == ' '))
      --last;
    line.assign(buffer_, begin_, last - begin_);
    begin_ = searched_ = end + 1;
    if (!line.empty()) return true;
  }
}

Task<Result<std::string>> StdioTransport::receive() {
  std::string line;
  while (!take_line(line)) {
    buffer_.erase(0, begin_);
    begin_ = 0;
    searched_ = buffer_.size();
    if (buffer_.size() > limits_.line_bytes_max) {
      co_return Err(Code::exhausted, "the server sent a line of more than " +
                                         std::to_string(limits_.line_bytes_max) + " bytes");
    }
    auto chunk = co_await output_.read(read_bytes);
    if (!chunk) co_return Err(std::move(chunk).error().context("reading from the server"));
    if (chunk->empty()) co_return Err(Code::closed, "the server has ended its output");
    buffer_ += *chunk;
  }
  if (line.size() > limits_.line_bytes_max) {
    co_return Err(Code::exhausted, "the server sent a line of more than " +
                                       std::to_string(limits_.line_bytes_max) + " bytes");
  }
  co_return std::move(line);
}

Task<void> StderrTail::drain(io::Stream& stream) {
  while (true) {
    auto chunk = co_await stream.read(read_bytes);
    if (!chunk || chunk->empty()) co_return;
    kept_ += *chunk;
    if (kept_.size() > bytes_max_) kept_.erase(0, kept_.size() - bytes_max_);
  }
}

std::string StderrTail::text() const {
  std::string text = kept_;
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  }
  while (!text.empty() && text.back() == ' ') text.pop_back();
  if (text.size() > stderr_bytes_shown) {
    std::size_t from = text.size() - stderr_bytes_shown;
    while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0U) == 0x80U) ++from;
    text = "..." + text.substr(from);
  }
  return text;
}

}  // namespace ambit::mcp
