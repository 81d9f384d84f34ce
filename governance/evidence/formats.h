#pragma once

// Records in the words of other systems, one line of JSON each: as they are (JSON Lines), OCSF
// 1.8.0 (security lakes, SIEM), OpenTelemetry GenAI spans (one OTLP/JSON request a line, as the
// collector's file receiver reads it), CloudEvents 1.0. What has no name there stands under
// "ambit". No payload is in any of them.

#include "evidence/facts.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace ambit::evidence {

enum class Format { json_lines, ocsf, otel, cloud_events };
Result<Format> format_named(std::string_view name);

struct Source {
  std::string origin;  // of the log
  std::string hash;    // of the leaf, hex
};

class Exporter {
 public:
  explicit Exporter(Format format) : format_(format) {}
  // A line without its newline; empty where the format has no place for the record.
  std::string line(const log::Leaf& leaf, const Source& source);

 private:
  std::string otel(const log::Leaf& leaf, const Facts& facts, const Source& source);

  Format format_;
  // When the open sessions began, for their root spans; the oldest goes when there are too many.
  std::map<std::string, std::int64_t> started_;
};

}  // namespace ambit::evidence
