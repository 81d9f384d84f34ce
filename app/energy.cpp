#include "app/energy.h"

#include "io/file.h"

#include <algorithm>
#include <charconv>
#include <filesystem>

namespace ambit::app {
namespace {

constexpr std::size_t counter_bytes_max = 64;
constexpr std::size_t cpu_info_bytes_max = 1 << 20;
// The counters tick once in a millisecond or so; more often there is nothing new.
constexpr std::int64_t read_every_ns = 2'000'000;

// Negative: it cannot be read.
std::int64_t number_in(const std::string& path) {
  const auto text = io::read_file(path, counter_bytes_max);
  if (!text) return -1;
  std::int64_t number = -1;
  std::from_chars(text->data(), text->data() + text->size(), number);
  return number;
}

std::string device_in(const std::string& cpu_info) {
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

}  // namespace

EnergyMeter::EnergyMeter(io::Clock& clock, const std::string& powercap, const std::string& cpu_info)
    : clock_(clock), device_(device_in(cpu_info)) {
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
    if (counter.last_uj >= 0) counters_.push_back(std::move(counter));
  }
}

EnergyMeter::Share::Share(EnergyMeter& meter) : meter_(meter) {
  meter_.share_out();
  place_ = meter_.under_way_.insert(meter_.under_way_.end(), this);
}

EnergyMeter::Share::~Share() {
  meter_.share_out();
  meter_.under_way_.erase(place_);
}

std::int64_t EnergyMeter::Share::microjoules() {
  meter_.share_out();
  return static_cast<std::int64_t>(taken_uj_);
}

// What was taken since the last time belongs to those who are under way now.
void EnergyMeter::share_out() {
  if (counters_.empty()) return;
  const std::int64_t now = clock_.unix_ns();
  if (read_ns_ != 0 && now >= read_ns_ && now - read_ns_ < read_every_ns) return;
  read_ns_ = now;
  double taken = 0;
  for (Counter& counter : counters_) {
    const std::int64_t read = number_in(counter.path);
    if (read < 0) continue;
    std::int64_t more = read - counter.last_uj;
    if (more < 0) more += std::max<std::int64_t>(counter.range_uj, 0);
    counter.last_uj = read;
    taken += static_cast<double>(std::max<std::int64_t>(more, 0));
  }
  if (under_way_.empty()) return;
  const double each = taken / static_cast<double>(under_way_.size());
  for (Share* share : under_way_) share->taken_uj_ += each;
}

Task<Result<agents::Turn>> MeteredModel::generate(agents::TurnRequest request) {
  EnergyMeter::Share share(meter_);
  auto turn = co_await inner_.generate(std::move(request));
  if (turn) {
    turn->usage.energy_uj = share.microjoules();
    if (turn->device.empty()) turn->device = meter_.device();
  }
  co_return turn;
}

}  // namespace ambit::app
