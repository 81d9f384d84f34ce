#pragma once

// Whose the machine's energy is. A counter counts for a whole processor or a whole GPU; what it has
// counted between two readings (a window) is shared out among the engines by how long their threads
// ran on it, and within an engine among its turns by what they moved and computed (traffic.h). What
// is counted while no engine runs is idle and belongs to no turn. Counters are read at the end of a
// turn, at most once a step, and else every tenth of a second; a step itself costs additions. A
// turn that ends before its counter has moved again is given its part at the price of the window
// before, and the next window pays for it: nothing waits, and nothing is given out twice.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

namespace ambit::inference {

// One counter of this process. Any thread.
class EnergyMeter {
 public:
  // Joules since some fixed time; 0: it does not say. Called by one thread at a time.
  using Read = std::function<double()>;

  // An engine's part. The engine's thread says when it runs.
  class Account {
   public:
    // `weight`: threads that run when it does.
    explicit Account(double weight) : weight_(weight) {}
    void begin(std::int64_t now_us) { began_us_.store(now_us, std::memory_order_relaxed); }
    void end(std::int64_t now_us);

   private:
    friend class EnergyMeter;
    [[nodiscard]] std::int64_t ran_us(std::int64_t now_us) const;

    const double weight_;
    std::atomic<std::int64_t> ran_us_{0};     // without the step that runs
    std::atomic<std::int64_t> began_us_{-1};  // when that began; -1: none runs
    std::int64_t seen_us_ = 0;                // under the meter's mutex, as all that follows
    std::int64_t window_us_ = 0;              // that it ran in the window that is being shared out
    double joules_ = 0;                       // its part, until it takes it
  };
  struct Totals {
    double joules = 0;       // since the first engine had an account
    double idle_joules = 0;  // of these, while none ran
    friend bool operator==(const Totals&, const Totals&) = default;
  };

  // Without `read`, whoever settles brings the reading along.
  explicit EnergyMeter(Read read = {}) : read_(std::move(read)) {}

  std::shared_ptr<Account> open(double weight, std::int64_t now_us, double reading = 0);
  // Shares out what was counted since the last time, if the counter has moved, and gives what the
  // account has to get.
  double settle(Account& account, std::int64_t now_us, double reading = 0);
  [[nodiscard]] Totals totals() const;
  // The same after another look at the counter.
  Totals totals_at(std::int64_t now_us);

 private:
  void share_out(std::int64_t now_us, double reading);

  const Read read_;
  mutable std::mutex mutex_;
  std::vector<std::weak_ptr<Account>> accounts_;
  bool is_open_ = false;
  double last_joules_ = 0;
  std::int64_t last_us_ = 0;
  std::optional<double> idle_watts_;  // of the latest window in which nothing ran
  Totals totals_;
};

// The counters of a process: its processors', and one for each GPU that an engine runs on.
class EnergyMeters {
 public:
  explicit EnergyMeters(EnergyMeter::Read processors = {}) : processors_(std::move(processors)) {}

  EnergyMeter& processors() { return processors_; }
  EnergyMeter& device(const std::string& name);
  // By name: "processors", "cuda:0". Those that have not counted anything are left out.
  std::map<std::string, EnergyMeter::Totals> totals(std::int64_t now_us);

 private:
  EnergyMeter processors_;
  std::mutex mutex_;
  std::map<std::string, EnergyMeter> devices_;
};

// What a turn has taken so far.
struct TurnEnergy {
  std::array<double, 2> work{};  // of each source, since it was shared out last
  double joules = 0;
};

// One engine's books, for its thread alone: at most two sources, the processors and a GPU.
class EngineEnergy {
 public:
  void open(EnergyMeter& meter, double weight, std::int64_t now_us, EnergyMeter::Read read = {});
  [[nodiscard]] bool measures() const { return count_ > 0; }

  void begin_step(std::int64_t now_us);
  // So much of this step's work is this turn's, or nobody's who asks.
  void add(TurnEnergy& turn, double work) {
    for (std::size_t i = 0; i < count_; ++i) {
      turn.work[i] += work;
      sources_[i].work += work;
    }
  }
  void end_step(std::int64_t now_us);
  [[nodiscard]] bool is_due(std::int64_t now_us) const {
    return measures() && now_us - settled_us_ >= window_us;
  }
  // Reads the counters, and gives every turn under way its part: `each` calls its argument with
  // every one of them. What was abandoned keeps its part of the window, which is nobody's.
  template <class Each>
  void settle(std::int64_t now_us, const Each& each) {
    for (std::size_t i = 0; i < count_; ++i) {
      const double price = close_window(i, now_us);
      if (price < 0) continue;
      each([&](TurnEnergy& turn) {
        turn.joules += turn.work[i] * price;
        turn.work[i] = 0;
      });
    }
    settled_us_ = now_us;
  }
  // A turn ends: all that it took, in microjoules; 0: nobody measured.
  std::int64_t end_turn(TurnEnergy& turn);

 private:
  static constexpr std::int64_t window_us = 100'000;
  // Between steps: so long a pause is told apart from them.
  static constexpr std::int64_t pause_us = 10'000;
  struct Source {
    EnergyMeter* meter = nullptr;
    EnergyMeter::Read read;
    std::shared_ptr<EnergyMeter::Account> account;
    double work = 0;        // in this window
    double ended_work = 0;  // of this, of turns that have ended and were given their part
    double given = 0;       // joules that were given before they were counted
    double price = 0;       // joules for a unit of work, in the window before
  };
  // Joules for a unit of the work that is still to be paid; negative: the counter has not moved.
  double close_window(std::size_t index, std::int64_t now_us);

  std::array<Source, 2> sources_;
  std::size_t count_ = 0;
  std::int64_t settled_us_ = 0;
  std::int64_t step_ended_us_ = 0;
};

}  // namespace ambit::inference
