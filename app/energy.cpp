#include "app/energy.h"

#include "io/file.h"

#include <system_error>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <initializer_list>

namespace ambit::app {
namespace {

constexpr std::size_t counter_bytes_max = 64;
constexpr std::size_t cpu_info_bytes_max = 1 << 20;

// Negative: it cannot be read.
std::int64_t number_in(const std::string& path) {
  const auto text = io::read_file(path, counter_bytes_max);
  if (!text) return -1;
  std::int64_t number = -1;
  std::from_chars(text->data(), text->data() + text->size(), number);
  return number;
}

std::string with_unit(double value, std::initializer_list<const char*> units) {
  const char* unit = *units.begin();
  for (const char* next : units) {
    unit = next;
    if (value < 1000 || next == *(units.end() - 1)) break;
    value /= 1000;
  }
  char text[64];
  std::snprintf(text, sizeof text, value < 10 ? "%.1f %s" : "%.0f %s", value, unit);
  return text;
}

}  // namespace

PackageCounter::PackageCounter(const std::string& powercap) {
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(powercap, none)) {
    const std::string name = entry.path().filename();
    // "intel-rapl:0" is a package; "intel-rapl:0:1" a part of it, which is counted already.
    if (name.find("rapl:") == std::string::npos || std::count(name.begin(), name.end(), ':') != 1) {
      continue;
    }
    Counter counter;
    counter.path = entry.path().string() + "/energy_uj";
    counter.range_uj = number_in(entry.path().string() + "/max_energy_range_uj");
    counter.last_uj = number_in(counter.path);
    if (counter.last_uj < 0) continue;
    taken_uj_ += static_cast<double>(counter.last_uj);
    counters_.push_back(std::move(counter));
  }
}

double PackageCounter::joules() {
  for (Counter& counter : counters_) {
    const std::int64_t read = number_in(counter.path);
    if (read < 0) continue;
    std::int64_t more = read - counter.last_uj;
    if (more < 0) more += std::max<std::int64_t>(counter.range_uj, 0);
    counter.last_uj = read;
    taken_uj_ += static_cast<double>(std::max<std::int64_t>(more, 0));
  }
  return taken_uj_ * 1e-6;
}

std::string processor_name(const std::string& cpu_info) {
  const auto text = io::read_file(cpu_info, cpu_info_bytes_max);
  if (!text) return {};
  const std::size_t name = text->find("model name");
  const std::size_t colon = name == std::string::npos ? name : text->find(':', name);
  if (colon == std::string::npos) return {};
  const std::size_t end = std::min(text->find('\n', colon), text->size());
  std::string found = text->substr(colon + 1, end - colon - 1);
  found.erase(0, found.find_first_not_of(' '));
  return found.empty() ? found : "cpu: " + found.substr(0, 100);
}

std::shared_ptr<inference::EnergyMeters> energy_meters() {
  const auto packages = std::make_shared<PackageCounter>();
  if (!packages->counts()) return std::make_shared<inference::EnergyMeters>();
  return std::make_shared<inference::EnergyMeters>([packages] { return packages->joules(); });
}

double idle_joules(const std::map<std::string, inference::EnergyMeter::Totals>& counted) {
  double sum = 0;
  for (const auto& [name, totals] : counted) sum += totals.idle_joules;
  return sum;
}

std::string energy_summary(const agents::RunProgress& sum, double idle_joules) {
  if (sum.moved_bytes == 0) return "";
  const auto moved = static_cast<double>(sum.moved_bytes);
  const auto tokens = static_cast<double>(std::max<std::int64_t>(sum.output_tokens, 1));
  const std::string line = "Moved:  " + bytes_text(moved) + " of weights, keys and values, " +
                           bytes_text(moved / tokens) + " for each token decoded.\n";
  if (sum.energy_uj == 0) return line;
  const double joules = static_cast<double>(sum.energy_uj) * 1e-6;
  char rate[32];
  std::snprintf(rate, sizeof rate, "%.3g", tokens / joules);
  return line + "Energy: " + energy_text(joules) + " for turns, " + energy_text(joules / tokens) +
         " for each token decoded (" + rate + " tokens a joule); " + energy_text(idle_joules) +
         " while no model ran.\n";
}

std::string energy_text(double joules) {
  return with_unit(joules * 1e6, {"uJ", "mJ", "J", "kJ", "MJ"});
}

std::string bytes_text(double bytes) {
  return with_unit(bytes, {"B", "kB", "MB", "GB", "TB", "PB"});
}

}  // namespace ambit::app
