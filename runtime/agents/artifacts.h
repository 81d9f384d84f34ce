#pragma once

// Artifacts: results that are too large for a conversation, kept whole. The bytes are a payload of
// the record (artifact.kept), named by their SHA-256: encrypted under the subject's key, erased and
// retained with it, covered by the proofs; there is no second store. The same bytes are kept once
// in a run. The agents read them again, part by part, with a tool of their own, in the same run
// alone; the person who asked for a session reads what it kept whole, by way of the shelf.

#include "agents/fleet.h"
#include "agents/ports.h"
#include "agents/roster.h"

#include <array>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace ambit::agents {

inline constexpr std::string_view artifact_event = "artifact.kept";
inline constexpr std::string_view artifact_payload = "result";
// What one call of the tool gives at most; a conversation holds that.
inline constexpr std::int64_t artifact_part_max = 24 << 10;

// Where bytes come from.
struct ArtifactSource {
  std::string run;
  std::string session;
  std::string agent;
  std::string subject;      // whose data it is
  std::string tool;         // whose result
  std::string requester{};  // the person who asked for the session
};

// An artifact as the person finds it who asked for the session that kept it.
struct ShelvedArtifact {
  std::string id;
  std::int64_t bytes = 0;
  std::string tool;
  std::string run;  // the last one that kept it
};

struct ArtifactsPorts {
  Journal& journal;
  const Roster& roster;
  std::function<std::string(std::string_view bytes)> sha256;  // hex
};

class Artifacts final : public Toolbox {
 public:
  Artifacts(ArtifactsPorts ports, ArtifactSpec spec) : ports_(std::move(ports)), spec_(spec) {}

  struct Kept {
    std::string id;       // "sha256:..."; empty: it is not kept
    std::string refusal;  // why not
  };
  // Durable no later than what is recorded after it. An error: the record failed.
  Result<Kept> keep(ArtifactSource source, std::string bytes);

  // Puts what a session of this agent kept for this person on the shelf: keep() does, and whoever
  // reads the record after a restart. The shelf holds so many; then the oldest goes.
  void shelve(const std::string& agent, const std::string& requester, ShelvedArtifact artifact);
  // By id.
  [[nodiscard]] std::vector<ShelvedArtifact> shelf_of(const std::string& agent,
                                                      const std::string& requester) const;
  [[nodiscard]] std::optional<ShelvedArtifact> on_shelf(const std::string& agent,
                                                        const std::string& requester,
                                                        const std::string& id) const;
  // All of it, as the record keeps it: redacted, or an error once it was erased.
  Result<std::string> whole(const ShelvedArtifact& artifact) const;

  Task<Result<std::vector<ToolSpec>>> list() override;
  Task<Outcome> call(std::string session, ToolCall call) override;

 private:
  // What the record of a run holds already; read once, when the run first keeps or reads something.
  struct Run {
    std::map<std::string, std::int64_t> bytes_of;  // by id
    std::int64_t total = 0;
  };
  Result<Run*> run_of(const std::string& run);
  Result<std::optional<std::string>> find(const std::string& run, const std::string& id);
  [[nodiscard]] Result<std::optional<std::string>> recorded(const std::string& run,
                                                            const std::string& id) const;
  void remember(const std::string& run, const std::string& id, std::string bytes);

  ArtifactsPorts ports_;
  ArtifactSpec spec_;
  std::list<std::pair<std::string, Run>> runs_;  // the one used last in front
  std::list<std::pair<std::string, std::string>>
      recent_;  // by run and id: bytes, as they were kept
  std::size_t recent_bytes_ = 0;
  // By agent, person and id.
  using Place = std::array<std::string, 3>;
  struct Shelved {
    ShelvedArtifact artifact;
    std::list<Place>::iterator age;
  };
  std::map<Place, Shelved> shelf_;
  std::list<Place> shelf_ages_;  // the newest in front
};

// The id and the length of the artifact that an event keeps; nothing: it keeps none.
struct ArtifactFacts {
  std::string id;
  std::int64_t bytes = 0;
  std::string tool;
  std::string requester{};
};
std::optional<ArtifactFacts> artifact_of(std::string_view type, std::string_view body);

// The beginning of a text that is too long, at most so many bytes, with a word of what became of
// it.
std::string shortened(const std::string& text, std::size_t bytes_max, const Artifacts::Kept& kept);

}  // namespace ambit::agents
