#include "agents/graph.h"

#include <algorithm>
#include <map>

namespace ambit::agents {

std::string_view to_string(Condition::Kind kind) {
  constexpr std::string_view names[] = {"succeeded", "failed", "always",  "contains",
                                        "lacks",     "equals", "handoff", "otherwise"};
  return names[static_cast<std::size_t>(kind)];
}

const GraphNode* Graph::node(std::string_view name) const {
  const auto at = std::find_if(nodes.begin(), nodes.end(),
                               [&](const GraphNode& one) { return one.name == name; });
  return at != nodes.end() ? &*at : nullptr;
}

std::vector<std::string> Graph::first() const {
  if (!start.empty()) return start;
  std::vector<std::string> names;
  for (const GraphNode& one : nodes) {
    const bool reached = std::any_of(edges.begin(), edges.end(), [&](const GraphEdge& edge) {
      return edge.to == one.name && edge.times == 0;
    });
    if (!reached) names.push_back(one.name);
  }
  return names;
}

Result<void> check_graph(const Graph& graph) {
  std::map<std::string, std::size_t> into;
  for (const GraphNode& node : graph.nodes) {
    if (!into.emplace(node.name, 0).second) {
      return Err(Code::invalid, "two nodes are called \"" + node.name + "\"");
    }
  }
  for (const GraphEdge& edge : graph.edges) {
    for (const std::string& end : {edge.from, edge.to}) {
      if (!into.contains(end)) return Err(Code::invalid, "there is no node \"" + end + "\"");
    }
    if (edge.times == 0) ++into[edge.to];
  }
  for (const std::string& name : graph.start) {
    if (!into.contains(name)) return Err(Code::invalid, "there is no node \"" + name + "\"");
  }
  // Takes away nodes that nothing leads to, until none is left: or what is left is a circle.
  std::vector<std::string> ready;
  for (const auto& [name, count] : into) {
    if (count == 0) ready.push_back(name);
  }
  std::size_t taken = 0;
  while (!ready.empty()) {
    const std::string name = std::move(ready.back());
    ready.pop_back();
    ++taken;
    for (const GraphEdge& edge : graph.edges) {
      if (edge.from == name && edge.times == 0 && --into[edge.to] == 0) ready.push_back(edge.to);
    }
  }
  if (taken < graph.nodes.size()) {
    const auto at =
        std::find_if(into.begin(), into.end(), [](const auto& one) { return one.second > 0; });
    return Err(Code::invalid, "the edges form a circle through \"" + at->first +
                                  "\"; give the one that goes back a bound: \"times\": 3");
  }
  if (graph.first().empty()) return Err(Code::invalid, "there is no node to begin with");
  return {};
}

}  // namespace ambit::agents
