#pragma once

// Flow: one input on its way through a Graph. It decides which session comes next and with what
// words; it keeps nothing in the record of its own. Names of sessions and conditions depend on what
// was said alone, so after a crash the same flow finds its sessions again, those that have ended
// with their answers, and goes on.

#include "agents/fact.h"
#include "agents/graph.h"
#include "async/channel.h"
#include "async/scope.h"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace ambit::agents {

struct FlowOrder {
  std::string id;  // of the session
  std::string agent;
  std::string prompt;
  std::vector<Message> earlier;
  bool tainted = false;
  std::string output_schema;  // instead of the agent's own; empty: its own
  std::string by{};           // the agent on whose word it begins; empty: the workflow's
};

struct FlowAnswer {
  SessionEnd end = SessionEnd::failed;
  std::string answer;
  std::string error;
  std::string handoff;  // the agent that it handed over to; empty: none
  bool tainted = false;
  // It came to an answer, whatever was refused on the way.
  [[nodiscard]] bool succeeded() const {
    return end == SessionEnd::completed || end == SessionEnd::escalated ||
           end == SessionEnd::denied;
  }
};

// What a flow needs of the run that it is part of.
class FlowSessions {
 public:
  virtual ~FlowSessions() = default;
  // Runs a session to its end. An error: the record failed, nothing more may happen.
  virtual Task<Result<FlowAnswer>> run(FlowOrder order) = 0;
  // Nobody needs it any more. It ends soon, and run() gives its end.
  virtual void abandon(const std::string& session, const std::string& why) = 0;
  // A line about the agent, for planners.
  [[nodiscard]] virtual std::string describe(const std::string& agent) const = 0;
};

struct FlowInput {
  std::string id;      // the first part of every session's name
  std::string prompt;  // ${input}
  std::function<std::optional<std::string>(std::string_view)> field;  // of the record
  std::string by{};  // the agent whose plan it is; empty: it is the workflow's
};

class Flow {
 public:
  // All is borrowed and outlives the flow.
  Flow(const Graph& graph, FlowSessions& sessions, FlowInput input);

  Task<Result<FlowAnswer>> run();
  // What each node said last; for plans.
  [[nodiscard]] std::map<std::string, FlowAnswer> answers() const;

 private:
  struct State {
    bool running = false;
    bool settled = false;  // it has run, or it never will
    std::int64_t runs = 0;
    std::int64_t generation = 0;  // of its place in a loop: what an older one says counts nothing
    std::vector<std::string> sources;
    std::vector<std::string> sessions;  // that run now
    std::optional<FlowAnswer> last;
  };
  enum class Way { open, taken, dead };
  struct Done {
    std::size_t node;
    std::int64_t generation;
    Result<FlowAnswer> answer;
  };

  [[nodiscard]] std::size_t place_of(const std::string& node) const;
  void launch(std::size_t node);
  Task<void> work(std::size_t node, std::int64_t generation, FlowOrder order);
  Task<Result<FlowAnswer>> run_node(const GraphNode& node, FlowOrder order);
  Task<Result<FlowAnswer>> run_each(const GraphNode& node, FlowOrder order);
  Task<Result<FlowAnswer>> run_plan(const GraphNode& node, FlowOrder order);
  void settle(std::size_t node);
  bool go_back(std::size_t node);
  void reset_from(std::size_t node);
  void decide(std::size_t edge, Way way);
  void skip(std::size_t node);
  void abandon(std::size_t node, const std::string& why);
  [[nodiscard]] bool holds(const GraphEdge& edge, const FlowAnswer& answer, bool other) const;
  [[nodiscard]] std::optional<std::string> value(std::string_view name,
                                                 const std::vector<std::string>& sources) const;
  [[nodiscard]] std::vector<Message> conversation() const;
  [[nodiscard]] FlowAnswer result() const;

  const Graph& graph_;
  FlowSessions& sessions_;
  FlowInput input_;
  std::vector<State> states_;
  std::vector<Way> ways_;                                 // of the edges
  std::vector<std::int64_t> taken_;                       // how often
  std::vector<std::pair<std::size_t, FlowAnswer>> said_;  // in order
  std::vector<std::string> prompts_;                      // beside said_
  std::size_t running_ = 0;
  std::int64_t launches_ = 0;
  std::string failure_;
  Channel<Done> done_;
  Scope scope_;
};

}  // namespace ambit::agents
