#pragma once

// Provenance: where the values of an action's arguments were read. Every text that a session reads
// is kept with a label; a value of an argument is then looked up in them, whole (also where an
// account number is grouped otherwise) or in parts (addresses, ids and phrases inside of a longer
// text). Values are matched, not followed through the model: a value that the model made up is
// "unknown", never trusted. Bounded: by bytes kept, and by values looked up.

#include "agents/ports.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ambit::governance {

struct SourceLabel {
  std::string name;  // "user", "tool:read_file"
  agents::Trust trust = agents::Trust::untrusted;
  // Members of a JSON result whose values the operator vouches for: "id", "participants",
  // "owner.email". What stands in other members has the label's trust.
  std::vector<std::string> trusted_fields{};
  std::vector<std::string> through{};  // where the source in its turn had it from
  friend bool operator==(const SourceLabel&, const SourceLabel&) = default;
};

struct ProvenanceOptions {
  std::size_t bytes_max = agents::heard_bytes_max;  // of texts, normalized
  std::size_t texts_max = 100'000;
  std::size_t values_max = 512;    // of one action; more count as untrusted
  std::size_t arguments_max = 32;  // with an origin of their own
  std::size_t sources_max = 4;     // named for one argument
  std::size_t places_max = 1024;   // looked at for one value before whole texts are searched
};

class Provenance {
 public:
  explicit Provenance(const ProvenanceOptions& options = {}) : options_(options) {}

  // A text beyond the bound is not kept; from then on what is found nowhere is untrusted.
  void add(const SourceLabel& label, std::string_view text);
  // There was a text that is not here: what is found nowhere may have been in it.
  void miss() { full_ = true; }
  // One origin for each argument (JSON object) that has a value, as far as the bound goes; the
  // guard takes an argument without an origin for one that nobody vouches for.
  [[nodiscard]] std::vector<agents::ArgumentOrigin> trace(std::string_view arguments) const;
  [[nodiscard]] std::size_t bytes() const { return bytes_; }

 private:
  struct Text {
    agents::Trust trust;
    std::uint32_t source;
    std::string normal;
  };
  struct Place {
    std::uint32_t text;
    std::uint32_t offset;
  };
  struct Found {
    agents::Trust trust = agents::Trust::unknown;
    bool weak = false;
    std::vector<std::uint32_t> sources;
  };
  class Tracer;
  friend class Tracer;

  void add_text(agents::Trust trust, std::uint32_t source, std::string_view text);
  void index(std::uint32_t text);
  [[nodiscard]] std::vector<std::uint32_t> texts_with(std::string_view normal) const;
  [[nodiscard]] Found find(std::string_view value) const;
  void find_parts(std::string_view normal, Found& found) const;

  ProvenanceOptions options_;
  std::vector<std::vector<std::string>> sources_;  // each with where it had it from
  std::vector<Text> texts_;
  std::unordered_map<std::string, std::vector<Place>> words_;
  std::unordered_map<std::string, std::vector<std::uint32_t>> numbers_;  // without their grouping
  std::unordered_map<std::uint64_t, std::vector<std::uint32_t>> phrases_;
  std::size_t bytes_ = 0;
  bool full_ = false;
};

}  // namespace ambit::governance
