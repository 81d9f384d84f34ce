#pragma once

// Logs for tests: the same bytes each time, so that a test that fails can be run again.

#include "log/writer.h"

#include <catch2/catch.hpp>

#include <memory>
#include <string>
#include <vector>

namespace ambit::log {

inline LogWriter::FillRandom counter(std::uint64_t seed = 7) {
  return [state = seed](std::span<std::uint8_t> bytes) mutable {
    for (std::uint8_t& byte : bytes) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      byte = static_cast<std::uint8_t>(state >> 56);
    }
  };
}

inline Prepared event_of(const std::string& session, const std::string& body,
                         const std::string& payload, const std::string& subject = "") {
  Prepared made;
  made.event = agents::Event{"action.decided", "run-1", session, "clerk", body, {}};
  made.event.subject = subject;
  if (!payload.empty()) {
    made.event.payloads = {{"arguments", payload}};
    made.salts = {std::string(31, 's') + static_cast<char>(payload.size())};
  }
  made.unix_ns = 1'795'219'200'000'000'000;
  return made;
}

inline std::unique_ptr<LogWriter> open_writer(const std::string& folder, std::uint64_t seed = 7,
                                              const std::string& origin = "ambit/test") {
  auto writer = LogWriter::open({folder, origin, 64U << 20}, counter(seed));
  if (!writer) FAIL(writer.error().message);
  return std::move(*writer);
}

// `records` records in groups of up to 9, in five sessions, each with one payload.
inline void fill(LogWriter& writer, std::uint64_t records, const std::string& word = "n") {
  for (std::uint64_t at = 0; at < records;) {
    std::vector<Prepared> group;
    for (std::uint64_t size = at % 9 + 1; size > 0 && at < records; --size, ++at) {
      group.push_back(event_of("s" + std::to_string(at % 5),
                               "{\"" + word + "\":" + std::to_string(at) + "}",
                               "payload " + std::to_string(at)));
    }
    const auto result = writer.append(group);
    if (!result) FAIL(result.error().message);
  }
}

}  // namespace ambit::log
