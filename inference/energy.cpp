#include "inference/energy.h"

#include "async/check.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace ambit::inference {

namespace {

constexpr double seconds_in_us = 1e-6;
// A shorter pause says little of what the machine takes when it rests.
constexpr std::int64_t rest_us_min = 10'000;

}  // namespace

void EnergyMeter::Account::end(std::int64_t now_us) {
  const std::int64_t began = began_us_.load(std::memory_order_relaxed);
  if (began < 0) return;
  ran_us_.store(ran_us_.load(std::memory_order_relaxed) + std::max<std::int64_t>(now_us - began, 0),
                std::memory_order_relaxed);
  began_us_.store(-1, std::memory_order_relaxed);
}

// Read by other threads between the two stores above it may be a step too much or too little; what
// was seen never grows smaller, so that it comes right with the next reading.
std::int64_t EnergyMeter::Account::ran_us(std::int64_t now_us) const {
  const std::int64_t began = began_us_.load(std::memory_order_relaxed);
  return ran_us_.load(std::memory_order_relaxed) +
         (began < 0 ? 0 : std::max<std::int64_t>(now_us - began, 0));
}

std::shared_ptr<EnergyMeter::Account> EnergyMeter::open(double weight, std::int64_t now_us,
                                                        double reading) {
  const std::lock_guard lock(mutex_);
  if (read_) reading = read_();
  std::erase_if(accounts_, [](const auto& account) { return account.expired(); });
  auto made = std::make_shared<Account>(weight);
  accounts_.push_back(made);
  if (!is_open_) {
    last_joules_ = reading;
    last_us_ = now_us;
    is_open_ = true;
  }
  return made;
}

void EnergyMeter::share_out(std::int64_t now_us, double reading) {
  if (read_) reading = read_();
  const std::int64_t window = now_us - last_us_;
  if (!is_open_ || !(reading > 0) || reading == last_joules_ || window <= 0) return;
  // A counter that begins anew tells nothing of this window, nor does one that said nothing before.
  const double counted = last_joules_ > 0 ? std::max(reading - last_joules_, 0.0) : 0;
  last_joules_ = reading;
  last_us_ = now_us;
  std::int64_t ran = 0;
  double weighed = 0;
  for (const auto& of : accounts_) {
    const auto account = of.lock();
    if (!account) continue;
    const std::int64_t until_now = account->ran_us(now_us);
    account->window_us_ = std::max<std::int64_t>(until_now - account->seen_us_, 0);
    account->seen_us_ = std::max(account->seen_us_, until_now);
    ran += account->window_us_;
    weighed += static_cast<double>(account->window_us_) * account->weight_;
  }
  totals_.joules += counted;
  if (!(weighed > 0)) {
    totals_.idle_joules += counted;
    if (window >= rest_us_min)
      idle_watts_ = counted / (static_cast<double>(window) * seconds_in_us);
    return;
  }
  const auto rested = static_cast<double>(std::max<std::int64_t>(window - ran, 0));
  double idle = counted * rested / static_cast<double>(window);
  if (idle_watts_) idle = std::min(idle, *idle_watts_ * rested * seconds_in_us);
  totals_.idle_joules += idle;
  for (const auto& of : accounts_)
    if (const auto account = of.lock())
      account->joules_ +=
          (counted - idle) * static_cast<double>(account->window_us_) * account->weight_ / weighed;
}

double EnergyMeter::settle(Account& account, std::int64_t now_us, double reading) {
  const std::lock_guard lock(mutex_);
  share_out(now_us, reading);
  return std::exchange(account.joules_, 0);
}

EnergyMeter::Totals EnergyMeter::totals() const {
  const std::lock_guard lock(mutex_);
  return totals_;
}

EnergyMeter::Totals EnergyMeter::totals_at(std::int64_t now_us) {
  const std::lock_guard lock(mutex_);
  share_out(now_us, 0);
  return totals_;
}

EnergyMeter& EnergyMeters::device(const std::string& name) {
  const std::lock_guard lock(mutex_);
  return devices_[name];
}

std::map<std::string, EnergyMeter::Totals> EnergyMeters::totals(std::int64_t now_us) {
  std::map<std::string, EnergyMeter::Totals> all;
  const auto add = [&](const std::string& name, const EnergyMeter::Totals& totals) {
    if (totals.joules > 0) all.emplace(name, totals);
  };
  add("processors", processors_.totals_at(now_us));
  const std::lock_guard lock(mutex_);
  for (const auto& [name, meter] : devices_) add(name, meter.totals());
  return all;
}

void EngineEnergy::open(EnergyMeter& meter, double weight, std::int64_t now_us,
                        EnergyMeter::Read read) {
  INVARIANT(count_ < sources_.size());
  Source& source = sources_[count_++];
  source.meter = &meter;
  source.account = meter.open(weight, now_us, read ? read() : 0);
  source.read = std::move(read);
  settled_us_ = step_ended_us_ = now_us;
}

void EngineEnergy::begin_step(std::int64_t now_us) {
  // What was counted in a pause shall not be paid by who comes after it.
  if (now_us - step_ended_us_ >= pause_us) {
    for (std::size_t i = 0; i < count_; ++i) {
      Source& source = sources_[i];
      const double part =
          source.meter->settle(*source.account, now_us, source.read ? source.read() : 0);
      source.given -= part;  // of the steps before the pause: the next window has it, too
    }
  }
  for (std::size_t i = 0; i < count_; ++i) sources_[i].account->begin(now_us);
}

void EngineEnergy::end_step(std::int64_t now_us) {
  for (std::size_t i = 0; i < count_; ++i) sources_[i].account->end(now_us);
  step_ended_us_ = now_us;
}

double EngineEnergy::close_window(std::size_t index, std::int64_t now_us) {
  Source& source = sources_[index];
  const double part =
      source.meter->settle(*source.account, now_us, source.read ? source.read() : 0);
  // What was given ahead is paid first; what was put by before a pause (given < 0) comes on top.
  const double left = part - source.given;
  if (!(part > 0) && !(source.given < 0)) return -1;
  const double open_work = source.work - source.ended_work;
  if (source.work > 0) source.price = (part - std::min(source.given, 0.0)) / source.work;
  source.given = std::max(-left, 0.0);
  source.work = source.ended_work = 0;
  return open_work > 0 ? std::max(left, 0.0) / open_work : 0;
}

std::int64_t EngineEnergy::end_turn(TurnEnergy& turn) {
  for (std::size_t i = 0; i < count_; ++i) {
    Source& source = sources_[i];
    const double work = std::exchange(turn.work[i], 0);
    if (!(source.price > 0)) continue;  // nobody knows what it cost: its part is nobody's
    turn.joules += work * source.price;
    source.given += work * source.price;
    source.ended_work += work;
  }
  return std::llround(turn.joules * 1e6);
}

}  // namespace ambit::inference
