#pragma once

// EnergyMeter and MeteredModel: what each turn took of the machine's energy, and what computed it,
// for the provenance of its tokens. The machine counts for all (RAPL); what it took while turns
// were under way is shared out among them in equal parts. A machine that does not count, or does
// not let us read, is no error: then the record says nothing of energy.

#include "agents/ports.h"
#include "io/world.h"

#include <cstdint>
#include <list>
#include <string>
#include <vector>

namespace ambit::app {

class EnergyMeter {
 public:
  // `powercap` is the kernel's folder of counters.
  explicit EnergyMeter(io::Clock& clock, const std::string& powercap = "/sys/class/powercap",
                       const std::string& cpu_info = "/proc/cpuinfo");

  // A turn that is under way. Ends its share when it goes.
  class Share {
   public:
    explicit Share(EnergyMeter& meter);
    ~Share();
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    // So far; 0: nobody measures.
    [[nodiscard]] std::int64_t microjoules();

   private:
    friend class EnergyMeter;
    EnergyMeter& meter_;
    double taken_uj_ = 0;
    std::list<Share*>::iterator place_;
  };

  [[nodiscard]] bool measures() const { return !counters_.empty(); }
  // "cpu: NAME"; empty: the machine does not say.
  [[nodiscard]] const std::string& device() const { return device_; }

 private:
  struct Counter {
    std::string path;
    std::int64_t range_uj = 0;  // it begins again at 0 there
    std::int64_t last_uj = 0;
  };
  void share_out();

  io::Clock& clock_;
  std::string device_;
  std::vector<Counter> counters_;  // one a processor package
  std::list<Share*> under_way_;
  std::int64_t read_ns_ = 0;  // when the counters were read last
};

class MeteredModel final : public agents::Model {
 public:
  // Both are borrowed and outlive it.
  MeteredModel(agents::Model& inner, EnergyMeter& meter) : inner_(inner), meter_(meter) {}

  Task<Result<agents::Turn>> generate(agents::TurnRequest request) override;
  Task<Result<agents::Embedding>> embed(agents::EmbeddingRequest request) override {
    return inner_.embed(std::move(request));
  }
  void observe(const std::string& session, agents::SessionEvent event) override {
    inner_.observe(session, event);
  }
  [[nodiscard]] bool foresees() const override { return inner_.foresees(); }
  void foresee(agents::TurnRequest request, std::string result) override {
    inner_.foresee(std::move(request), std::move(result));
  }
  [[nodiscard]] std::string identity() const override { return inner_.identity(); }

 private:
  agents::Model& inner_;
  EnergyMeter& meter_;
};

}  // namespace ambit::app
