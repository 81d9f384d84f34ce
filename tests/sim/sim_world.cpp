#include "sim_world.h"

#include "async/pending.h"

#include <exception>
#include <memory>
#include <utility>

namespace ambit::sim {
namespace {

Faults faults_of(std::uint64_t seed) {
  Random random(~seed);
  return Faults::from(random);
}

}  // namespace

SimWorld::SimWorld(std::uint64_t seed) : SimWorld(Random(seed), faults_of(seed)) {}
SimWorld::SimWorld(std::uint64_t seed, Faults faults) : SimWorld(Random(seed), faults) {}
SimWorld::SimWorld(Random random, Faults faults)
    : random_(random),
      faults_(faults),
      entropy_(random_.fork()),
      network_(poller_, random_.fork(), faults),
      processes_(poller_, network_, random_.fork(), faults),
      workers_(poller_, random_.fork(), faults.work_max) {}

Task<void> SimWorkers::run(std::function<void()> work) {
  auto made = make_pending<std::exception_ptr>();
  ++live_;
  poller_.after(Duration(random_.between(0, work_max_.count())), "work.done",
                [this, work = std::move(work), resolver = std::move(made.second)]() mutable {
                  std::exception_ptr thrown;
                  try {
                    work();
                  } catch (...) {
                    thrown = std::current_exception();
                  }
                  --live_;
                  resolver.resolve(std::move(thrown));
                });
  const std::exception_ptr thrown = co_await std::move(made.first);
  if (thrown) std::rethrow_exception(thrown);
}

}  // namespace ambit::sim
