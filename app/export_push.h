#pragma once

// Export over HTTP: exported lines in batches to a collector, each batch tried again while the
// collector asks for that.

#include "async/result.h"
#include "evidence/formats.h"
#include "http/service.h"

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace ambit::app {

struct PushOptions {
  std::string url;  // "http://localhost:4318/v1/traces"
  evidence::Format format = evidence::Format::otel;
  std::vector<std::pair<std::string, std::string>> headers;
  std::size_t lines_max = 256;  // of one batch
  std::size_t bytes_max = 1 << 20;
  int tries_max = 5;
};

// One request's body out of exported lines: OTLP/JSON, a CloudEvents batch, or JSON Lines.
std::string batch_body(evidence::Format format, const std::vector<std::string>& lines);
const char* batch_type(evidence::Format format);

// Sends one batch. Errors: denied or invalid (the collector will not have it), unavailable (it was
// tried often enough).
Task<Result<void>> push_batch(http::Client& client, const PushOptions& options,
                              std::vector<std::string> lines);

}  // namespace ambit::app
