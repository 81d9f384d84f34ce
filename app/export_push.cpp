#include "app/export_push.h"

#include "async/task.h"

#include <algorithm>
#include <charconv>

namespace ambit::app {
namespace {

constexpr std::string_view otlp_begin = R"({"resourceSpans":[)";
constexpr std::string_view otlp_end = "]}";
constexpr int wait_seconds_max = 60;

// What the collector asks for, or twice as long as the last time.
int wait_seconds(const http::Response& response, int tried) {
  int seconds = 1 << std::min(tried, 6);
  if (const auto asked = response.headers.find("Retry-After")) {
    std::from_chars(asked->data(), asked->data() + asked->size(), seconds);
  }
  return std::clamp(seconds, 1, wait_seconds_max);
}

bool may_be_tried_again(int status) {
  return status == 429 || status == 502 || status == 503 || status == 504;
}

}  // namespace

std::string batch_body(evidence::Format format, const std::vector<std::string>& lines) {
  const bool is_otel = format == evidence::Format::otel;
  const bool is_array = is_otel || format == evidence::Format::cloud_events;
  std::string body(is_otel ? otlp_begin : is_array ? "[" : "");
  bool is_first = true;
  for (const std::string& line : lines) {
    std::string_view inner = line;
    if (is_otel) {
      // Each line is a whole request; what is between its brackets goes into one.
      inner.remove_prefix(otlp_begin.size());
      inner.remove_suffix(otlp_end.size());
    }
    if (is_array && !is_first) body += ',';
    body += inner;
    if (!is_array) body += '\n';
    is_first = false;
  }
  body += is_otel ? otlp_end : is_array ? "]" : "";
  return body;
}

const char* batch_type(evidence::Format format) {
  switch (format) {
    case evidence::Format::otel:
      return "application/json";
    case evidence::Format::cloud_events:
      return "application/cloudevents-batch+json";
    default:
      return "application/x-ndjson";
  }
}

Task<Result<void>> push_batch(http::Client& client, const PushOptions& options,
                              std::vector<std::string> lines) {
  http::Request request;
  request.method = "POST";
  request.url = options.url;
  request.headers.set("Content-Type", batch_type(options.format));
  for (const auto& [name, value] : options.headers) request.headers.set(name, value);
  request.body = batch_body(options.format, lines);
  std::string last = "nothing was sent";
  for (int tried = 0; tried < options.tries_max; ++tried) {
    http::Request copy = request;
    const auto response = co_await client.send(std::move(copy));
    int seconds = 1 << std::min(tried, 6);
    if (response) {
      if (response->is_success()) co_return Result<void>();
      last =
          "it answered " + std::to_string(response->status) + " " + response->body.substr(0, 200);
      if (!may_be_tried_again(response->status)) {
        co_return Err(Code::denied, "the collector does not take the records: " + last);
      }
      seconds = wait_seconds(*response, tried);
    } else {
      last = response.error().message;
    }
    if (tried + 1 < options.tries_max) co_await delay(std::chrono::seconds(seconds));
  }
  co_return Err(Code::unavailable, "the collector cannot be reached: " + last);
}

}  // namespace ambit::app
