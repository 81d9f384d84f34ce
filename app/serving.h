#pragma once

// Serving: one process of `ambit serve`: the agents of a fleet that are exposed, over A2A and MCP,
// and its models, as OpenAI's API, behind one port, until a signal comes. Then no new request is
// taken, those under way are given time, and the record is sealed. SIGHUP reads the fleet file and
// the policies again.

#include "agents/fleet.h"
#include "app/assembly.h"
#include "app/callers.h"
#include "app/fleet_reload.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ambit::app {

struct ServeOptions {
  std::string listen;
  std::string url;       // as the outside sees it; empty: the address itself
  std::string grpc;      // where gRPC listens; empty: nowhere
  std::string grpc_url;  // as the outside sees that
  std::vector<std::string> hosts;
  std::shared_ptr<Callers> callers;
  bool speaks_0_3 = true;
  std::int64_t calls_per_second = 0;  // of one caller; 0: as many as they like
  std::int64_t drain_seconds = 10;
  std::uint64_t seed = 0;
  std::string console;  // file of the people who may use the console; empty: there is none
  std::string fleet_file;
  FleetReload::Read read_fleet;  // the fleet file again
  AssemblyOptions assembly;
};

Result<void> serve_fleet(const ServeOptions& options, agents::Fleet fleet);

}  // namespace ambit::app
