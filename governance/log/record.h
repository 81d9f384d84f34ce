#pragma once

// Leaf: one record of the log as it is hashed: canonical JSON of schema "ambit.record/1", at most
// 64 KiB. Payloads stand beside it; the leaf holds their salted commitments, so that they can be
// erased without breaking a proof. FORMAT.md is the specification, with an example.

#include "agents/ports.h"
#include "async/result.h"
#include "log/sha256.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::log {

inline constexpr std::string_view schema_name = "ambit.record/1";
// The record of a subject's payloads made unreadable; its body names the subject by number.
inline constexpr std::string_view erased_type = "subject.erased";
inline constexpr std::size_t leaf_bytes_max = 65'535;  // tlog-tiles counts an entry with 16 bits

struct Commitment {
  std::string name;
  std::uint64_t bytes = 0;
  Hash hash{};
  friend bool operator==(const Commitment&, const Commitment&) = default;
};

struct Leaf {
  std::uint64_t index = 0;
  std::int64_t unix_ns = 0;
  std::string type;
  std::string run;
  std::string session;
  std::string agent;
  std::string body = "{}";  // canonical JSON, an object
  std::string
      previous;  // hex leaf hash of the session's record before this one; empty for the first
  std::vector<Commitment> payloads;
  friend bool operator==(const Leaf&, const Leaf&) = default;
};

// A record as scan_leaf finds it, without a copy: views of the scanned bytes. Texts are as they
// stand between their quotes, escapes and all, which is one form for one text.
struct LeafView {
  struct Payload {
    std::uint64_t bytes = 0;
    std::string_view commitment;  // 64 digits of hex
    std::string_view name;
  };
  std::uint64_t index = 0;
  std::int64_t unix_ns = 0;
  std::string_view type;
  std::string_view run;
  std::string_view session;
  std::string_view agent;
  std::string_view body;
  std::string_view previous;
  std::vector<Payload> payloads;
};

// SHA-256(salt || bytes); the salt has 32 random bytes.
Hash commitment(std::string_view salt, std::string_view bytes);

// Names that can be keys: run at most 128 bytes, session 256, agent and type 128, payload names 64;
// no control characters, UTF-8. Also refuses more than 64 payloads.
Result<void> check_names(const agents::Event& event);

// Error (invalid): longer than leaf_bytes_max.
Result<std::string> to_bytes(const Leaf& leaf);
// Takes only what to_bytes writes, byte for byte, in one pass. `found` may be used again for the
// next record.
Result<void> scan_leaf(std::string_view bytes, LeafView& found);
Result<Leaf> parse_leaf(std::string_view bytes);

// "2026-11-21T08:30:00.000000001Z", for years 1970 to 2261.
std::string time_text(std::int64_t unix_ns);
// Also without the fraction. A leaf holds it with nine digits.
Result<std::int64_t> parse_time(std::string_view text);

}  // namespace ambit::log
