#include "agents/flow.h"

#include "agents/fleet.h"
#include "agents/plan.h"
#include "async/race.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::agents {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t launches_max = 10'000;  // of one flow
constexpr std::size_t items_max = 1000;        // of one node
constexpr std::size_t transcript_bytes_max = 256 << 10;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0) {
    text.remove_prefix(1);
  }
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) {
    text.remove_suffix(1);
  }
  return text;
}

FlowAnswer failed(std::string why) {
  FlowAnswer answer;
  answer.error = std::move(why);
  return answer;
}

}  // namespace

Flow::Flow(const Graph& graph, FlowSessions& sessions, FlowInput input)
    : graph_(graph),
      sessions_(sessions),
      input_(std::move(input)),
      states_(graph.nodes.size()),
      ways_(graph.edges.size(), Way::open),
      taken_(graph.edges.size(), 0),
      done_(graph.nodes.size() + 1) {}

std::size_t Flow::place_of(const std::string& node) const {
  return static_cast<std::size_t>(graph_.node(node) - graph_.nodes.data());
}

Task<Result<FlowAnswer>> Flow::run() {
  for (const std::string& name : graph_.first()) launch(place_of(name));
  while (running_ > 0) {
    Done done = co_await ok(done_.receive());
    --running_;
    if (!done.answer) co_return Err(std::move(done.answer).error());
    State& state = states_[done.node];
    if (done.generation != state.generation) continue;
    state.running = false;
    state.settled = true;
    state.last = *done.answer;
    said_.emplace_back(done.node, std::move(*done.answer));
    settle(done.node);
  }
  co_return result();
}

FlowAnswer Flow::result() const {
  if (!failure_.empty()) return failed(failure_);
  if (said_.empty()) return failed("no node was reached");
  const FlowAnswer* chosen = &said_.back().second;
  if (!graph_.answer.empty()) {
    const State& state = states_[place_of(graph_.answer)];
    if (state.last) {
      chosen = &*state.last;
    } else if (chosen->succeeded()) {
      return failed("the node " + graph_.answer + " was not reached");
    }
  }
  return *chosen;
}

std::map<std::string, FlowAnswer> Flow::answers() const {
  std::map<std::string, FlowAnswer> all;
  for (std::size_t i = 0; i < states_.size(); ++i) {
    if (states_[i].last) all.emplace(graph_.nodes[i].name, *states_[i].last);
  }
  return all;
}

std::optional<std::string> Flow::value(std::string_view name,
                                       const std::vector<std::string>& sources) const {
  if (name == "input") return input_.prompt;
  if (name == "previous") {
    if (sources.size() == 1) return states_[place_of(sources[0])].last->answer;
    std::string text;
    for (const std::string& source : sources) {
      const auto& last = states_[place_of(source)].last;
      if (last) text += (text.empty() ? "" : "\n\n") + source + ": " + last->answer;
    }
    return text;
  }
  if (name == "transcript") {
    std::string text;
    for (const auto& [node, answer] : said_) {
      text += (text.empty() ? "" : "\n") + graph_.nodes[node].name + ": " + answer.answer;
    }
    // The latest words count most.
    if (text.size() > transcript_bytes_max) text.erase(0, text.size() - transcript_bytes_max);
    return text;
  }
  if (const GraphNode* node = graph_.node(name)) {
    const auto& last = states_[place_of(node->name)].last;
    return last ? last->answer : "";
  }
  return input_.field ? input_.field(name) : std::nullopt;
}

// What was asked and answered before, as a conversation.
std::vector<Message> Flow::conversation() const {
  std::vector<Message> messages;
  for (const auto& [node, answer] : said_) {
    messages.push_back(
        {Role::assistant, graph_.nodes[node].name + ": " + answer.answer, {}, "", ""});
  }
  if (!messages.empty()) {
    messages.insert(messages.begin(), Message{Role::user, input_.prompt, {}, "", ""});
  }
  return messages;
}

void Flow::launch(std::size_t node) {
  const GraphNode& spec = graph_.nodes[node];
  State& state = states_[node];
  if (++launches_ > launches_max) {
    failure_ = "more than " + std::to_string(launches_max) + " sessions in one flow";
    return;
  }
  state.running = true;
  ++state.runs;
  ++running_;
  FlowOrder order;
  order.agent = spec.agent;
  order.by = input_.by;
  // A flow of one session is called as its input is.
  order.id = input_.id;
  if (graph_.nodes.size() > 1 || spec.plan || !spec.for_each.empty()) order.id += "." + spec.name;
  if (state.runs > 1) order.id += "~" + std::to_string(state.runs);
  for (const auto& [said, answer] : said_) order.tainted = order.tainted || answer.tainted;
  if (spec.continues) order.earlier = conversation();
  std::string prompt = spec.prompt;
  if (prompt.empty()) prompt = state.sources.empty() ? "${input}" : "${previous}";
  const std::vector<std::string>& sources = state.sources;
  if (spec.for_each.empty()) {
    auto words = expand(prompt, [&](std::string_view name) { return value(name, sources); });
    if (words) {
      order.prompt = std::move(*words);
    } else {
      order.id.clear();
      order.prompt = "the prompt: " + words.error().message;
    }
  } else {
    order.prompt = std::move(prompt);
  }
  if (spec.join == GraphNode::Join::race) {
    for (const GraphEdge& edge : graph_.edges) {
      if (edge.to == spec.name) abandon(place_of(edge.from), "another branch was faster");
    }
  }
  scope_.spawn(work(node, state.generation, std::move(order)));
}

Task<void> Flow::work(std::size_t node, std::int64_t generation, FlowOrder order) {
  Done done{node, generation, failed("")};
  if (order.id.empty()) {
    done.answer = failed(std::move(order.prompt));
  } else {
    done.answer = co_await run_node(graph_.nodes[node], std::move(order));
  }
  co_await done_.send(std::move(done));
}

Task<Result<FlowAnswer>> Flow::run_node(const GraphNode& node, FlowOrder order) {
  if (node.plan) return run_plan(node, std::move(order));
  if (!node.for_each.empty()) return run_each(node, std::move(order));
  states_[place_of(node.name)].sessions = {order.id};
  return sessions_.run(std::move(order));
}

// One session an item, all at once; their answers, in order, as a JSON array.
Task<Result<FlowAnswer>> Flow::run_each(const GraphNode& node, FlowOrder order) {
  State& state = states_[place_of(node.name)];
  const std::vector<std::string> sources = state.sources;
  const auto known = [&](std::string_view name) { return value(name, sources); };
  const auto text = expand(node.for_each, known);
  if (!text) co_return failed("forEach: " + text.error().message);
  const Json items = Json::parse(*text, nullptr, false);
  if (!items.is_array()) co_return failed("forEach: " + node.for_each + " is not a JSON array");
  if (items.size() > items_max) {
    co_return failed("forEach: " + std::to_string(items.size()) + " items, more than " +
                     std::to_string(items_max));
  }
  std::vector<Task<Result<FlowAnswer>>> tasks;
  state.sessions.clear();
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::string item = items[i].is_string() ? items[i].get<std::string>() : items[i].dump();
    FlowOrder one = order;
    one.id += "." + std::to_string(i + 1);
    auto words = expand(order.prompt, [&](std::string_view name) {
      return name == "item" ? std::optional<std::string>(item) : value(name, sources);
    });
    if (!words) co_return failed("the prompt: " + words.error().message);
    one.prompt = std::move(*words);
    state.sessions.push_back(one.id);
    tasks.push_back(sessions_.run(std::move(one)));
  }
  auto answers = co_await join(std::move(tasks));
  FlowAnswer all;
  all.end = SessionEnd::completed;
  Json texts = Json::array();
  for (Result<FlowAnswer>& answer : answers) {
    if (!answer) co_return Err(std::move(answer).error());
    texts.push_back(answer->answer);
    all.tainted = all.tainted || answer->tainted;
    if (answer->succeeded() || all.end != SessionEnd::completed) continue;
    all.end = answer->end;
    all.error = "item " + std::to_string(texts.size()) + ": " + answer->error;
  }
  all.answer = texts.dump(-1, ' ', false, Json::error_handler_t::replace);
  co_return all;
}

// Plan, carry out, and plan anew with what is known then, as often as allowed.
Task<Result<FlowAnswer>> Flow::run_plan(const GraphNode& node, FlowOrder order) {
  const PlanSpec spec = *node.plan;
  const std::string goal = std::move(order.prompt);
  const std::string base = order.id;
  std::string agents;
  for (const std::string& agent : spec.executors) agents += sessions_.describe(agent) + "\n";
  std::map<std::string, std::string> results;
  std::string before;
  FlowAnswer last;
  for (std::int64_t attempt = 0; attempt <= spec.replans_max; ++attempt) {
    const std::string number = attempt == 0 ? "" : "~" + std::to_string(attempt + 1);
    FlowOrder ask = order;
    ask.id = base + number;
    ask.prompt = plan_prompt(goal, agents, before, spec);
    ask.output_schema = plan_schema(spec);
    states_[place_of(node.name)].sessions = {ask.id};
    last = co_await ok(sessions_.run(std::move(ask)));
    if (!last.succeeded()) co_return last;
    order.tainted = order.tainted || last.tainted;
    const auto steps = parse_plan(last.answer, spec);
    if (!steps) {
      before = "It could not be used: " + steps.error().message + "\n";
      last = failed("the plan cannot be used: " + steps.error().message);
      continue;
    }
    const Graph graph = graph_of(*steps, results);
    if (graph.nodes.empty()) {
      before = "Every step of it was done already; plan what is left to do.\n";
      last = failed("the plan holds nothing new");
      continue;
    }
    FlowInput input{base + number + ".do", goal, input_.field, order.agent};
    Flow inner(graph, sessions_, std::move(input));
    last = co_await ok(inner.run());
    before.clear();
    bool all = true;
    std::string report;
    for (const GraphNode& step : graph.nodes) {
      const auto answers = inner.answers();
      const auto at = answers.find(step.name);
      const bool done = at != answers.end() && at->second.succeeded();
      all = all && done;
      if (at == answers.end()) {
        before += step.name + ": not begun\n";
        continue;
      }
      order.tainted = order.tainted || at->second.tainted;
      before += step.name + (done ? " done: " + at->second.answer : " failed: " + at->second.error);
      before += "\n";
      report += (report.empty() ? "" : "\n\n") + step.name + ": " + at->second.answer;
      if (done) results[step.name] = at->second.answer;
    }
    if (!all) {
      if (last.succeeded()) last = failed("a step of the plan failed");
      continue;
    }
    last.answer = graph.nodes.size() == 1 ? last.answer : report;
    last.tainted = order.tainted;
    co_return last;
  }
  co_return last;
}

bool Flow::holds(const GraphEdge& edge, const FlowAnswer& answer, bool other) const {
  const std::string& wanted = edge.when.value;
  switch (edge.when.kind) {
    case Condition::Kind::succeeded:
      return answer.succeeded();
    case Condition::Kind::failed:
      return !answer.succeeded();
    case Condition::Kind::always:
      return true;
    case Condition::Kind::contains:
      return answer.succeeded() && answer.answer.find(wanted) != std::string::npos;
    case Condition::Kind::lacks:
      return answer.succeeded() && answer.answer.find(wanted) == std::string::npos;
    case Condition::Kind::equals:
      return answer.succeeded() && trimmed(answer.answer) == wanted;
    case Condition::Kind::handoff:
      return answer.succeeded() && answer.handoff == wanted;
    case Condition::Kind::otherwise:
      return answer.succeeded() && !other;
  }
  return false;
}

// Takes the first edge that goes back and holds; true if that undoes this node's own place.
bool Flow::go_back(std::size_t node) {
  const FlowAnswer answer = *states_[node].last;
  bool other = false;
  for (std::size_t i = 0; i < graph_.edges.size(); ++i) {
    const GraphEdge& edge = graph_.edges[i];
    if (edge.from != graph_.nodes[node].name) continue;
    const bool taken = holds(edge, answer, other);
    other = other || taken;
    if (edge.times == 0 || !taken || taken_[i] >= edge.times) continue;
    ++taken_[i];
    const std::size_t to = place_of(edge.to);
    reset_from(to);
    states_[to].sources = {edge.from};
    const bool undone = !states_[node].settled;
    launch(to);
    return undone || to == node;
  }
  return false;
}

void Flow::settle(std::size_t node) {
  if (go_back(node)) return;
  const FlowAnswer answer = *states_[node].last;
  bool other = false;
  for (std::size_t i = 0; i < graph_.edges.size(); ++i) {
    const GraphEdge& edge = graph_.edges[i];
    if (edge.from != graph_.nodes[node].name) continue;
    const bool back = edge.times > 0;
    const bool taken = holds(edge, answer, other) && (!back || taken_[i] < edge.times);
    other = other || taken;
    if (!back) decide(i, taken ? Way::taken : Way::dead);
  }
}

// Forgets the node and everything after it, so that it can be done anew.
void Flow::reset_from(std::size_t node) {
  std::set<std::size_t> region{node};
  std::vector<std::size_t> open{node};
  while (!open.empty()) {
    const std::string& name = graph_.nodes[open.back()].name;
    open.pop_back();
    for (std::size_t i = 0; i < graph_.edges.size(); ++i) {
      if (graph_.edges[i].from != name || graph_.edges[i].times > 0) continue;
      ways_[i] = Way::open;
      const std::size_t to = place_of(graph_.edges[i].to);
      if (region.insert(to).second) open.push_back(to);
    }
  }
  for (const std::size_t one : region) {
    State& state = states_[one];
    abandon(one, "its part of the workflow is done anew");
    ++state.generation;
    state.running = state.settled = false;
    state.sources.clear();
  }
}

void Flow::decide(std::size_t edge, Way way) {
  ways_[edge] = way;
  const std::size_t node = place_of(graph_.edges[edge].to);
  State& state = states_[node];
  if (state.running || state.settled) return;
  if (way == Way::taken) state.sources.push_back(graph_.edges[edge].from);
  bool open = false;
  for (std::size_t i = 0; i < graph_.edges.size(); ++i) {
    const bool into = graph_.edges[i].to == graph_.nodes[node].name && graph_.edges[i].times == 0;
    open = open || (into && ways_[i] == Way::open);
  }
  const bool at_once = graph_.nodes[node].join != GraphNode::Join::all && way == Way::taken;
  if (open && !at_once) return;
  if (state.sources.empty()) {
    skip(node);
  } else {
    launch(node);
  }
}

void Flow::skip(std::size_t node) {
  states_[node].settled = true;
  for (std::size_t i = 0; i < graph_.edges.size(); ++i) {
    const GraphEdge& edge = graph_.edges[i];
    if (edge.from == graph_.nodes[node].name && edge.times == 0) decide(i, Way::dead);
  }
}

void Flow::abandon(std::size_t node, const std::string& why) {
  if (!states_[node].running) return;
  for (const std::string& session : states_[node].sessions) sessions_.abandon(session, why);
}

}  // namespace ambit::agents
