#include "agents/fleet_workflow.h"

#include <algorithm>

namespace ambit::agents {
namespace {

constexpr std::int64_t loops_max = 1000;
constexpr std::size_t nodes_max = 1000;

const std::vector<std::string> patterns = {"single",     "sequential", "parallel",     "handoff",
                                           "supervisor", "group-chat", "plan-execute", "graph"};
const std::vector<std::string> joins = {"all", "any", "race"};
constexpr Condition::Kind condition_kinds[] = {
    Condition::Kind::succeeded, Condition::Kind::failed,   Condition::Kind::always,
    Condition::Kind::contains,  Condition::Kind::lacks,    Condition::Kind::equals,
    Condition::Kind::handoff,   Condition::Kind::otherwise};

class PatternReader {
 public:
  PatternReader(Reader& reader, Fleet& fleet)
      : reader_(reader), fleet_(fleet), graph_(fleet.workflow.graph) {}

  void read() {
    const std::string pattern = reader_.text("pattern", "single");
    reader_.known("pattern", pattern, patterns, "pattern");
    fleet_.workflow.pattern = pattern;
    const bool is_known = std::find(patterns.begin(), patterns.end(), pattern) != patterns.end();
    if (pattern == "single" || !is_known) single();
    if (pattern == "sequential") sequential();
    if (pattern == "parallel") parallel();
    if (pattern == "handoff") handoff();
    if (pattern == "supervisor") supervisor();
    if (pattern == "group-chat") group_chat();
    if (pattern == "plan-execute") plan_execute();
    if (pattern == "graph") read_graph();
    if (graph_.nodes.empty()) return;
    fleet_.workflow.agent =
        graph_.node(graph_.first().empty() ? graph_.nodes[0].name : graph_.first()[0])->agent;
    const auto sound = check_graph(graph_);
    if (!sound) reader_.report(reader_.node(), reader_.path(), sound.error().message);
  }

 private:
  // An agent by name, or an object that says more.
  GraphNode step(const Node& node, const std::string& path) {
    GraphNode made;
    if (node.kind == Node::Kind::string) {
      made.agent = node.string;
      agent_known(node, path, made.agent);
      made.name = made.agent;
      return made;
    }
    Reader inner(reader_.problems(), node, path);
    inner.require("agent");
    made.agent = agent_of(inner, "agent");
    made.name = inner.text("name", made.agent);
    if (!is_name(made.name)) {
      inner.report(node, inner.at("name"),
                   "a name has 1 to 64 of the letters a-z, A-Z, 0-9, '_', '-'");
    }
    made.prompt = inner.text("prompt");
    made.for_each = inner.text("forEach");
    made.continues = inner.flag("continues", false);
    join(inner, made);
    plan(inner, made);
    inner.done();
    return made;
  }

  void join(Reader& inner, GraphNode& made) {
    const std::string name = inner.text("join", "all");
    inner.known("join", name, joins, "join");
    made.join = name == "race"  ? GraphNode::Join::race
                : name == "any" ? GraphNode::Join::any
                                : GraphNode::Join::all;
  }

  void plan(Reader& inner, GraphNode& made) {
    const Node* node = inner.get("plan", Node::Kind::object);
    if (node == nullptr) return;
    Reader plan(reader_.problems(), *node, inner.at("plan"));
    made.plan = plan_of(plan);
    plan.done();
  }

  PlanSpec plan_of(Reader& from) {
    PlanSpec spec;
    from.require("executors");
    spec.executors = agents_of(from, "executors");
    spec.replans_max = from.integer("maxReplans", spec.replans_max, 0, 100);
    spec.steps_max = from.integer("maxSteps", spec.steps_max, 1, 200);
    return spec;
  }

  void agent_known(const Node& node, const std::string& path, const std::string& name) {
    reader_.known(node, path, name, names_of(fleet_.agents), "agent");
  }
  std::string agent_of(Reader& from, const std::string& key) {
    std::string name = from.text(key);
    from.known(key, name, names_of(fleet_.agents), "agent");
    return name;
  }
  std::vector<std::string> agents_of(Reader& from, const std::string& key) {
    std::vector<std::string> names = from.texts(key);
    const Node* node = from.get(key);
    for (std::size_t i = 0; node != nullptr && i < names.size() && i < node->items.size(); ++i) {
      agent_known(node->items[i], from.at(key) + "[" + std::to_string(i) + "]", names[i]);
    }
    if (node != nullptr && names.empty())
      from.report(*node, from.at(key), "name at least one agent");
    return names;
  }

  std::vector<GraphNode> steps(const std::string& key) {
    std::vector<GraphNode> made;
    reader_.require(key);
    const Node* node = reader_.get(key, Node::Kind::array);
    if (node == nullptr) return made;
    if (node->items.empty() || node->items.size() > nodes_max) {
      reader_.report(*node, reader_.at(key), "give 1 to " + std::to_string(nodes_max) + " agents");
      return made;
    }
    for (std::size_t i = 0; i < node->items.size(); ++i) {
      made.push_back(step(node->items[i], reader_.at(key) + "[" + std::to_string(i) + "]"));
    }
    return made;
  }

  // Two nodes of one agent get names of their own.
  const std::string& add(GraphNode node) {
    const std::string name = node.name;
    for (int n = 2; graph_.node(node.name) != nullptr; ++n) {
      node.name = name + "-" + std::to_string(n);
    }
    graph_.nodes.push_back(std::move(node));
    return graph_.nodes.back().name;
  }

  std::optional<GraphNode> then() {
    const Node* node = reader_.get("then");
    if (node == nullptr) return std::nullopt;
    return step(*node, reader_.at("then"));
  }

  void single() {
    reader_.require("agent");
    GraphNode node;
    node.name = node.agent = agent_of(reader_, "agent");
    fleet_.workflow.agent = node.agent;
    add(std::move(node));
  }

  void sequential() {
    std::string before;
    for (GraphNode& node : steps("steps")) {
      const std::string name = add(std::move(node));
      if (!before.empty()) graph_.edges.push_back({before, name, {}, 0});
      before = name;
    }
    graph_.answer = before;
  }

  void parallel() {
    std::vector<std::string> branches;
    if (reader_.get("forEach") != nullptr) {
      GraphNode node;
      reader_.require("agent");
      node.name = node.agent = agent_of(reader_, "agent");
      node.for_each = reader_.text("forEach");
      node.prompt = reader_.text("itemPrompt", "${item}");
      branches.push_back(add(std::move(node)));
    } else {
      for (GraphNode& node : steps("branches")) branches.push_back(add(std::move(node)));
    }
    auto last = then();
    GraphNode joined;
    if (last) joined = std::move(*last);
    join(reader_, joined);
    if (!last) {
      const bool one = joined.join != GraphNode::Join::all;
      if (one)
        reader_.report(reader_.node(), reader_.at("join"),
                       "needs \"then\", the agent that goes on");
      return;
    }
    const std::string name = add(std::move(joined));
    for (const std::string& branch : branches) graph_.edges.push_back({branch, name, {}, 0});
    graph_.answer = name;
  }

  AgentSpec* agent(const std::string& name) {
    const auto at = std::find_if(fleet_.agents.begin(), fleet_.agents.end(),
                                 [&](const AgentSpec& one) { return one.name == name; });
    return at != fleet_.agents.end() ? &*at : nullptr;
  }
  void offer(const std::string& to, const std::string& tool) {
    AgentSpec* spec = agent(to);
    if (spec == nullptr) return;
    const bool there = std::find(spec->tools.begin(), spec->tools.end(), tool) != spec->tools.end();
    if (!there) spec->tools.push_back(tool);
  }

  void handoff() {
    reader_.require("agents");
    const std::vector<std::string> names = agents_of(reader_, "agents");
    const std::int64_t times = reader_.integer("maxHandoffs", 5, 1, loops_max);
    for (const std::string& name : names) {
      if (graph_.node(name) != nullptr) continue;
      GraphNode node;
      node.name = node.agent = name;
      node.continues = true;
      add(std::move(node));
    }
    for (const std::string& from : names) {
      for (const std::string& to : names) {
        if (from == to) continue;
        offer(from, "handoff__" + to);
        graph_.edges.push_back({from, to, {Condition::Kind::handoff, to}, times});
      }
    }
    if (!names.empty()) graph_.start = {names.front()};
  }

  void supervisor() {
    single();
    reader_.require("workers");
    for (const std::string& worker : agents_of(reader_, "workers")) {
      offer(fleet_.workflow.agent, "agent__" + worker);
    }
  }

  void group_chat() {
    reader_.require("agents");
    const std::vector<std::string> names = agents_of(reader_, "agents");
    const std::int64_t rounds = reader_.integer("rounds", 3, 1, loops_max);
    const std::string until = reader_.text("until");
    std::vector<std::string> nodes;
    for (const std::string& name : names) {
      GraphNode node;
      node.name = node.agent = name;
      node.prompt = reader_.text("turnPrompt", "${input}\n\nSo far:\n${transcript}");
      nodes.push_back(add(std::move(node)));
    }
    const Condition goes_on =
        until.empty() ? Condition{} : Condition{Condition::Kind::lacks, until};
    for (std::size_t i = 0; i + 1 < nodes.size(); ++i) {
      graph_.edges.push_back({nodes[i], nodes[i + 1], goes_on, 0});
    }
    if (nodes.size() > 1 && rounds > 1) {
      graph_.edges.push_back({nodes.back(), nodes.front(), goes_on, rounds - 1});
    }
  }

  void plan_execute() {
    GraphNode planner;
    reader_.require("planner");
    planner.agent = agent_of(reader_, "planner");
    planner.name = "plan";
    reader_.require("executors");
    planner.plan = plan_of(reader_);
    add(std::move(planner));
    auto last = then();
    if (!last) return;
    const std::string name = add(std::move(*last));
    graph_.edges.push_back({"plan", name, {}, 0});
    graph_.answer = name;
  }

  void read_graph() {
    reader_.require("nodes");
    const Node* nodes = reader_.get("nodes", Node::Kind::object);
    if (nodes == nullptr) return;
    for (const Node::Member& member : nodes->members) {
      GraphNode node = step(member.value, reader_.at("nodes") + "." + member.key);
      node.name = member.key;
      graph_.nodes.push_back(std::move(node));
    }
    reader_.require("edges");
    if (const Node* edges = reader_.get("edges", Node::Kind::array)) {
      for (std::size_t i = 0; i < edges->items.size(); ++i) {
        Reader inner(reader_.problems(), edges->items[i],
                     reader_.at("edges") + "[" + std::to_string(i) + "]");
        edge(inner);
        inner.done();
      }
    }
    graph_.start = nodes_of("start");
    graph_.answer = reader_.text("answer");
    if (!graph_.answer.empty()) {
      reader_.known("answer", graph_.answer, names_of(graph_.nodes), "node");
    }
  }

  std::vector<std::string> nodes_of(const std::string& key) {
    std::vector<std::string> names = reader_.texts(key);
    const Node* node = reader_.get(key);
    for (std::size_t i = 0; node != nullptr && i < names.size() && i < node->items.size(); ++i) {
      reader_.known(node->items[i], reader_.at(key) + "[" + std::to_string(i) + "]", names[i],
                    names_of(graph_.nodes), "node");
    }
    return names;
  }

  void edge(Reader& inner) {
    GraphEdge made;
    for (const char* key : {"from", "to"}) {
      inner.require(key);
      inner.known(key, inner.text(key), names_of(graph_.nodes), "node");
    }
    made.from = inner.text("from");
    made.to = inner.text("to");
    made.times = inner.integer("times", 0, 1, loops_max);
    if (inner.get("times") == nullptr) made.times = 0;
    condition(inner, made.when);
    graph_.edges.push_back(std::move(made));
  }

  // "when": "failed", or {"contains": "TEXT"}.
  void condition(Reader& inner, Condition& made) {
    const Node* node = inner.get("when");
    if (node == nullptr) return;
    std::vector<std::string> words;
    std::vector<std::string> keys;
    for (const Condition::Kind kind : condition_kinds) {
      const bool has_value = kind == Condition::Kind::contains || kind == Condition::Kind::lacks ||
                             kind == Condition::Kind::equals || kind == Condition::Kind::handoff;
      (has_value ? keys : words).emplace_back(to_string(kind));
    }
    std::string said;
    if (node->kind == Node::Kind::string) {
      said = node->string;
      inner.known("when", said, words, "condition");
    } else {
      Reader of(reader_.problems(), *node, inner.at("when"));
      for (const std::string& key : keys) {
        if (of.get(key, Node::Kind::string) == nullptr) continue;
        said = key;
        made.value = of.text(key);
      }
      of.done();
      if (node->kind == Node::Kind::object && said.empty()) {
        of.report(*node, of.path(), "say one of: " + list_of(keys));
      }
    }
    for (const Condition::Kind kind : condition_kinds) {
      if (to_string(kind) == said) made.kind = kind;
    }
  }

  Reader& reader_;
  Fleet& fleet_;
  Graph& graph_;
};

}  // namespace

void read_pattern(Reader& reader, Fleet& fleet) {
  PatternReader(reader, fleet).read();
}

}  // namespace ambit::agents
