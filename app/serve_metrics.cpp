#include "app/serve_metrics.h"

#include <map>
#include <sstream>
#include <utility>

namespace ambit::app {

std::string metrics_text(Assembly& assembly, std::uint64_t requests, std::size_t connections,
                         const std::vector<TaskCount>& tasks) {
  std::ostringstream text;
  text.precision(15);
  text << "# TYPE ambit_requests_total counter\nambit_requests_total " << requests
       << "\n# TYPE ambit_connections gauge\nambit_connections " << connections
       << "\n# TYPE ambit_records_total counter\nambit_records_total "
       << assembly.journal().stats().records << "\n# TYPE ambit_tasks gauge\n";
  for (const TaskCount& agent : tasks) {
    text << "ambit_tasks{agent=\"" << agent.agent << "\"} " << agent.tasks << "\n";
  }
  std::map<std::string, std::int64_t> live;
  std::map<std::string, std::int64_t> waiting;
  assembly.roster().for_each([&](const agents::Roster::Entry& entry) {
    ++live[entry.agent.name];
    if (entry.state.waits() != nullptr) ++waiting[entry.agent.name];
  });
  text << "# TYPE ambit_sessions gauge\n";
  for (const auto& [agent, count] : live) {
    text << "ambit_sessions{agent=\"" << agent << "\"} " << count << "\n";
  }
  text << "# TYPE ambit_sessions_waiting gauge\n";
  for (const auto& [agent, count] : waiting) {
    text << "ambit_sessions_waiting{agent=\"" << agent << "\"} " << count << "\n";
  }
  text << "# TYPE ambit_engine_tokens_total counter\n";
  for (const auto& [name, engine] : assembly.engines()) {
    const auto stats = engine->stats();
    text << "ambit_engine_tokens_total{model=\"" << name << "\",kind=\"output\"} "
         << stats.scheduler.output_tokens << "\nambit_engine_tokens_total{model=\"" << name
         << "\",kind=\"prompt\"} " << stats.scheduler.prompt_tokens
         << "\nambit_engine_tokens_total{model=\"" << name << "\",kind=\"cached\"} "
         << stats.scheduler.cached_tokens << "\n";
  }
  // Requests: not admitted, with a prompt that is not computed yet, with an answer under way.
  text << "# TYPE ambit_engine_requests gauge\n";
  for (const auto& [name, engine] : assembly.engines()) {
    const auto stats = engine->stats().scheduler;
    text << "ambit_engine_requests{model=\"" << name << "\",state=\"waiting\"} " << stats.waiting
         << "\nambit_engine_requests{model=\"" << name << "\",state=\"prompt\"} " << stats.prompts
         << "\nambit_engine_requests{model=\"" << name << "\",state=\"answer\"} "
         << stats.active - stats.prompts << "\n";
  }
  text << "# TYPE ambit_engine_prompt_tokens_left gauge\n";
  for (const auto& [name, engine] : assembly.engines()) {
    text << "ambit_engine_prompt_tokens_left{model=\"" << name << "\"} "
         << engine->stats().scheduler.prompt_tokens_left << "\n";
  }
  text << "# TYPE ambit_engine_moved_bytes_total counter\n";
  for (const auto& [name, engine] : assembly.engines()) {
    const auto traffic = engine->stats().traffic;
    text << "ambit_engine_moved_bytes_total{model=\"" << name << "\",kind=\"weights\"} "
         << static_cast<std::uint64_t>(traffic.weight_bytes)
         << "\nambit_engine_moved_bytes_total{model=\"" << name << "\",kind=\"pages\"} "
         << static_cast<std::uint64_t>(traffic.kv_bytes) << "\n";
  }
  // Of models that share a GPU on which they do not fit at once.
  const auto swapped = [&](const char* name, const auto& value) {
    bool is_first = true;
    for (const auto& [model, engine] : assembly.engines()) {
      const auto residency = engine->stats().residency;
      if (!residency.is_shared) continue;
      if (std::exchange(is_first, false)) text << "# TYPE " << name << " counter\n";
      text << name << "{model=\"" << model << "\"} " << value(residency) << "\n";
    }
  };
  swapped("ambit_engine_swaps_total", [](const auto& of) { return of.swaps; });
  swapped("ambit_engine_swapped_bytes_total", [](const auto& of) { return of.swapped_bytes; });
  swapped("ambit_engine_swap_seconds_total",
          [](const auto& of) { return static_cast<double>(of.swap_us) * 1e-6; });
  if (const auto energy = assembly.energy(); !energy.empty()) {
    text << "# TYPE ambit_energy_joules_total counter\n";
    for (const auto& [name, totals] : energy) {
      text << "ambit_energy_joules_total{counter=\"" << name << "\",while=\"running\"} "
           << totals.joules - totals.idle_joules << "\nambit_energy_joules_total{counter=\"" << name
           << "\",while=\"idle\"} " << totals.idle_joules << "\n";
    }
  }
  text << "# TYPE ambit_kv_pages gauge\n";
  for (const auto& [name, engine] : assembly.engines()) {
    const auto kv = engine->stats().kv;
    text << "ambit_kv_pages{model=\"" << name << "\",tier=\"memory\"} " << kv.pages_used
         << "\nambit_kv_pages{model=\"" << name << "\",tier=\"host\"} " << kv.host.pages
         << "\nambit_kv_pages{model=\"" << name << "\",tier=\"disk\"} " << kv.disk.pages << "\n";
  }
  text << "# TYPE ambit_kv_pages_lost_total counter\n";
  for (const auto& [name, engine] : assembly.engines()) {
    const auto kv = engine->stats().kv;
    text << "ambit_kv_pages_lost_total{model=\"" << name << "\",reason=\"no room\"} " << kv.evicted
         << "\nambit_kv_pages_lost_total{model=\"" << name << "\",reason=\"damaged\"} "
         << kv.host.damaged + kv.disk.damaged << "\n";
  }
  text << "# TYPE ambit_tasks_at_work gauge\n";
  for (const TaskCount& agent : tasks) {
    text << "ambit_tasks_at_work{agent=\"" << agent.agent << "\"} " << agent.at_work << "\n";
  }
  return text.str();
}

}  // namespace ambit::app
