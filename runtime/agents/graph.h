#pragma once

// Graph: how the sessions of one input follow each other. Nodes are agents, edges are conditions;
// an edge with a bound closes a loop. Every pattern of a fleet file (sequential, parallel, handoff,
// ...) is a shorthand for one of these (fleet_workflow.cpp), and a plan that an agent writes
// becomes one while it runs (plan.h). flow.h runs it.

#include "async/result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::agents {

struct Condition {
  enum class Kind {
    succeeded,  // the node came to an answer
    failed,     // it did not
    always,
    contains,   // the answer contains `value`
    lacks,      // it does not
    equals,     // the answer, without blanks around it, is `value`
    handoff,    // the agent handed over to agent `value`
    otherwise,  // no edge of this node before this one was taken
  };
  Kind kind = Kind::succeeded;
  std::string value;
  friend bool operator==(const Condition&, const Condition&) = default;
};
std::string_view to_string(Condition::Kind kind);

struct GraphEdge {
  std::string from;
  std::string to;
  Condition when;
  // Above 0 the edge goes back: it is taken so often at most, and what lies after `to` is done
  // anew.
  std::int64_t times = 0;
  friend bool operator==(const GraphEdge&, const GraphEdge&) = default;
};

// The node's agent writes a plan, others carry it out.
struct PlanSpec {
  std::vector<std::string> executors;  // agents
  std::int64_t replans_max = 2;
  std::int64_t steps_max = 20;
  friend bool operator==(const PlanSpec&, const PlanSpec&) = default;
};

struct GraphNode {
  // Which of the edges into it must be decided before it starts. `race` also stops the others.
  enum class Join { all, any, race };
  std::string name;
  std::string agent;
  // ${field} of the record, ${input}, ${previous} (what led here said), ${transcript} (what all
  // said), ${NODE} (what it said last), ${item}. Empty: ${previous}, or ${input} at the start.
  std::string prompt;
  Join join = Join::all;
  std::string for_each;    // a text with placeholders that gives a JSON array: one session an item
  bool continues = false;  // it hears what was said before it, as a conversation of its own
  std::optional<PlanSpec> plan;
  friend bool operator==(const GraphNode&, const GraphNode&) = default;
};

struct Graph {
  std::vector<GraphNode> nodes;
  std::vector<GraphEdge> edges;
  std::vector<std::string> start;  // empty: the nodes without an edge into them
  std::string answer;              // whose answer is the flow's; empty: the last one's

  [[nodiscard]] const GraphNode* node(std::string_view name) const;
  [[nodiscard]] std::vector<std::string> first() const;
  friend bool operator==(const Graph&, const Graph&) = default;
};

// Errors: an edge that leads nowhere, a circle without a bound, nowhere to begin.
Result<void> check_graph(const Graph& graph);

}  // namespace ambit::agents
