#include "agents/plan.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

namespace ambit::agents {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t plan_bytes_max = 256 << 10;
constexpr std::size_t id_bytes_max = 32;

bool is_step_id(const std::string& id) {
  return !id.empty() && id.size() <= id_bytes_max && std::all_of(id.begin(), id.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-';
  });
}

Result<PlanStep> read_step(const Json& item, const PlanSpec& spec) {
  const auto bad = [](const std::string& why) { return Err(Code::invalid, why); };
  if (!item.is_object()) return bad("a step is not an object");
  for (const char* key : {"id", "agent", "task"}) {
    if (!item.contains(key) || !item[key].is_string()) {
      return bad(std::string("a step needs the text \"") + key + "\"");
    }
  }
  PlanStep step;
  step.id = item["id"].get<std::string>();
  step.agent = item["agent"].get<std::string>();
  step.task = item["task"].get<std::string>();
  if (!is_step_id(step.id)) {
    return bad("a step's id has 1 to 32 of the letters a-z, A-Z, 0-9, '_', '-'");
  }
  const auto& agents = spec.executors;
  if (std::find(agents.begin(), agents.end(), step.agent) == agents.end()) {
    return bad("step " + step.id + ": there is no agent \"" + step.agent.substr(0, 64) + "\"");
  }
  const Json after = item.value("after", Json::array());
  if (!after.is_array()) return bad("step " + step.id + ": \"after\" is not an array");
  for (const Json& id : after) {
    if (!id.is_string()) return bad("step " + step.id + ": \"after\" holds ids of steps");
    step.after.push_back(id.get<std::string>());
  }
  return step;
}

// What models write around their JSON is left out.
std::string_view object_in(std::string_view text) {
  const std::size_t first = text.find('{');
  const std::size_t last = text.rfind('}');
  if (first == std::string_view::npos || last == std::string_view::npos || last < first) return {};
  return text.substr(first, last - first + 1);
}

// ${goal}, as the planner is told to write it, and as a flow knows it.
constexpr std::string_view goal_name = "${goal}";
constexpr std::string_view goal_escaped = "$${goal}";
constexpr std::string_view goal_value = "${input}";

// A placeholder is text that a model wrote, and stays as it is.
std::string escaped(std::string text) {
  for (std::size_t at = text.find("${"); at != std::string::npos; at = text.find("${", at + 3)) {
    text.insert(at, "$");
  }
  return text;
}

// Of a task: but for the goal, which the planner need not repeat.
std::string task_of(const PlanStep& step) {
  std::string text = escaped(step.task);
  for (std::size_t at = text.find(goal_escaped); at != std::string::npos;
       at = text.find(goal_escaped, at + goal_value.size())) {
    text.replace(at, goal_escaped.size(), goal_value);
  }
  return text;
}

}  // namespace

Result<std::vector<PlanStep>> parse_plan(const std::string& text, const PlanSpec& spec) {
  if (text.size() > plan_bytes_max) return Err(Code::invalid, "the plan is longer than 256 KiB");
  const Json plan = Json::parse(object_in(text), nullptr, false);
  if (!plan.is_object() || !plan.contains("steps") || !plan["steps"].is_array()) {
    return Err(Code::invalid, R"(the plan is not a JSON object with an array "steps")");
  }
  const Json& items = plan["steps"];
  if (items.empty()) return Err(Code::invalid, "the plan has no steps");
  if (items.size() > static_cast<std::size_t>(spec.steps_max)) {
    return Err(Code::invalid, "the plan has " + std::to_string(items.size()) +
                                  " steps, more than " + std::to_string(spec.steps_max));
  }
  std::vector<PlanStep> steps;
  std::set<std::string> ids;
  for (const Json& item : items) {
    steps.push_back(TRY(read_step(item, spec)));
    if (!ids.insert(steps.back().id).second) {
      return Err(Code::invalid, "two steps are called \"" + steps.back().id + "\"");
    }
  }
  for (const PlanStep& step : steps) {
    for (const std::string& before : step.after) {
      if (ids.contains(before)) continue;
      return Err(Code::invalid,
                 "step " + step.id + ": there is no step \"" + before.substr(0, 64) + "\"");
    }
  }
  const auto sound = check_graph(graph_of(steps, {}));
  if (!sound) {
    return Err(Code::invalid, "the steps wait for each other in a circle");
  }
  return steps;
}

Graph graph_of(const std::vector<PlanStep>& steps, const std::map<std::string, std::string>& done) {
  Graph graph;
  for (const PlanStep& step : steps) {
    if (done.contains(step.id)) continue;
    GraphNode node;
    node.name = step.id;
    node.agent = step.agent;
    node.prompt = task_of(step);
    bool waits = false;
    for (const std::string& before : step.after) {
      const auto known = done.find(before);
      if (known != done.end()) {
        node.prompt += "\n\n" + before + ": " + escaped(known->second);
        continue;
      }
      graph.edges.push_back({before, step.id, {}, 0});
      waits = true;
    }
    if (waits) node.prompt += "\n\n${previous}";
    graph.nodes.push_back(std::move(node));
  }
  return graph;
}

std::string plan_schema(const PlanSpec& spec) {
  const Json text = {{"type", "string"}};
  const Json step = {{"type", "object"},
                     {"properties",
                      {{"id", text},
                       {"agent", {{"type", "string"}, {"enum", spec.executors}}},
                       {"task", text},
                       {"after", {{"type", "array"}, {"items", text}}}}},
                     {"required", {"id", "agent", "task", "after"}},
                     {"additionalProperties", false}};
  const Json schema = {
      {"type", "object"},
      {"properties",
       {{"steps",
         {{"type", "array"}, {"items", step}, {"minItems", 1}, {"maxItems", spec.steps_max}}}}},
      {"required", {"steps"}},
      {"additionalProperties", false}};
  return schema.dump();
}

std::string plan_prompt(const std::string& goal, const std::string& agents,
                        const std::string& before, const PlanSpec& spec) {
  std::string text =
      "Write a plan that reaches this goal:\n" + goal + "\n\nThese agents carry it out:\n" + agents;
  if (!before.empty()) text += "\nWhat became of the plan before:\n" + before;
  return text +
         "\nAnswer with JSON alone: {\"steps\": [{\"id\": \"a\", \"agent\": \"NAME\", \"task\": "
         "\"what to do\", \"after\": [\"ids of steps whose results it needs\"]}]}, at most " +
         std::to_string(spec.steps_max) + " steps. In a task, " + std::string(goal_name) +
         " stands for the goal, word for word: do not repeat it.";
}

}  // namespace ambit::agents
