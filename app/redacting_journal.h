#pragma once

// RedactingJournal: stands before the journal and takes out of every event what the fleet file says
// that the record never gets to hold (governance/redaction.h).

#include "agents/ports.h"
#include "governance/redaction.h"

#include <utility>

namespace ambit::app {

class RedactingJournal final : public agents::Journal {
 public:
  // The journal outlives it.
  RedactingJournal(agents::Journal& journal, governance::Redaction redaction)
      : journal_(journal), redaction_(std::move(redaction)) {}

  Task<Result<std::uint64_t>> append(agents::Event event) override {
    redaction_.apply(event);
    return journal_.append(std::move(event));
  }
  Result<void> post(agents::Event event) override {
    redaction_.apply(event);
    return journal_.post(std::move(event));
  }
  Result<void> read(const std::string& run,
                    const std::function<bool(const agents::StoredEvent&)>& visit) override {
    return journal_.read(run, visit);
  }
  Result<void> recover(const std::string& run,
                       const std::function<bool(const agents::StoredEvent&)>& visit) override {
    return journal_.recover(run, visit);
  }

 private:
  agents::Journal& journal_;
  governance::Redaction redaction_;
};

}  // namespace ambit::app
