#pragma once

// Plan: what a planner writes and others carry out. It is text of a model, so it is checked like
// any input: known agents, known steps, no circles, a bounded number. Then it is a Graph.

#include "agents/graph.h"
#include "async/result.h"

#include <map>
#include <string>
#include <vector>

namespace ambit::agents {

struct PlanStep {
  std::string id;
  std::string agent;
  std::string task;
  std::vector<std::string> after;  // ids
  friend bool operator==(const PlanStep&, const PlanStep&) = default;
};

// {"steps": [{"id", "agent", "task", "after": [...]}]}, with prose around it or without. Errors
// (invalid) say what the planner has to do differently.
Result<std::vector<PlanStep>> parse_plan(const std::string& text, const PlanSpec& spec);
// A step hears its task, where ${goal} stands for the goal, and what the steps before it said.
// `done`: steps that succeeded in an
// earlier plan, with what they said; they are left out.
Graph graph_of(const std::vector<PlanStep>& steps, const std::map<std::string, std::string>& done);

// The JSON Schema of a plan, for models that can be held to one.
std::string plan_schema(const PlanSpec& spec);

// What the planner is asked. `agents`: a line for each executor; `before`: what became of the plan
// before this one; empty: this is the first.
std::string plan_prompt(const std::string& goal, const std::string& agents,
                        const std::string& before, const PlanSpec& spec);

}  // namespace ambit::agents
