#pragma once

// ThrottledModel: at most so many requests of one model under way; the others wait their turn. All
// sessions share it, so an endpoint's limit holds for the whole fleet.

#include "agents/ports.h"
#include "async/channel.h"

#include <memory>
#include <string>
#include <utility>

namespace ambit::agents {

class ThrottledModel final : public Model {
 public:
  // `inner` is borrowed and outlives it.
  ThrottledModel(Model& inner, std::size_t at_once_max) : inner_(inner), places_(at_once_max) {}

  Task<Result<Turn>> generate(TurnRequest request) override {
    const auto place = co_await places_.acquire();
    auto turn = co_await inner_.generate(std::move(request));
    co_return turn;
  }
  void observe(const std::string& session, SessionEvent event) override {
    inner_.observe(session, event);
  }
  [[nodiscard]] bool foresees() const override { return inner_.foresees(); }
  void foresee(TurnRequest request, std::string result) override {
    inner_.foresee(std::move(request), std::move(result));
  }
  [[nodiscard]] std::string identity() const override { return inner_.identity(); }

 private:
  Model& inner_;
  Semaphore places_;
};

}  // namespace ambit::agents
