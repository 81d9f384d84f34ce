#pragma once

// What this machine's processors have taken (RAPL), and what they are called: for the energy and
// the provenance of turns (inference/energy.h). A machine that does not count, or does not let us
// read, is no error: then the record says nothing of energy.

#include "agents/fleet_run.h"
#include "inference/energy.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace ambit::app {

// All processor packages together. For one thread at a time.
class PackageCounter {
 public:
  // `powercap` is the kernel's folder of counters.
  explicit PackageCounter(const std::string& powercap = "/sys/class/powercap");

  [[nodiscard]] bool counts() const { return !counters_.empty(); }
  // Joules since some fixed time; 0: nobody counts.
  double joules();

 private:
  struct Counter {
    std::string path;
    std::int64_t range_uj = 0;  // it begins again at 0 there
    std::int64_t last_uj = 0;
  };
  std::vector<Counter> counters_;  // one a package
  double taken_uj_ = 0;
};

// "cpu: NAME"; empty: the machine does not say.
std::string processor_name(const std::string& cpu_info = "/proc/cpuinfo");

// The counters of this process; without any, nothing is measured.
std::shared_ptr<inference::EnergyMeters> energy_meters();

// Of all counters: what they counted while no engine of this process ran. It belongs to no turn.
double idle_joules(const std::map<std::string, inference::EnergyMeter::Totals>& counted);

// A line of what a run's own engines have moved, and one of what that took where the machine
// counts; empty: they have not moved anything.
std::string energy_summary(const agents::RunProgress& sum, double idle_joules);

// "1.2 J", "340 mJ", "5.0 kJ".
std::string energy_text(double joules);
// "1.2 GB", "340 MB".
std::string bytes_text(double bytes);

}  // namespace ambit::app
