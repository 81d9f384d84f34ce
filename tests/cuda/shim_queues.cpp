#include "cuda/shim_queues.h"

#include "cuda/shim.h"
#include "inference/cuda/launches.h"
#include "inference/sampler.h"

#include <algorithm>
#include <utility>

namespace ambit::inference::cuda {

std::uint64_t ShimQueues::draw(std::uint64_t below) {
  const double u = uniform(seed_, ++drawn_, 7);
  return std::min(static_cast<std::uint64_t>(u * static_cast<double>(below)), below - 1);
}

std::size_t ShimQueues::add() {
  queues_.emplace_back();
  return queues_.size() - 1;
}

void ShimQueues::put(std::size_t queue, std::function<void()> work) {
  Queue& to = queues_[queue];
  to.jobs.push_back({std::move(work)});
  ++to.put;
  while (draw(3) == 0) something();
}

void ShimQueues::follow(std::size_t queue, std::size_t other) {
  Queue& to = queues_[queue];
  to.jobs.push_back({[] {}, other, queues_[other].put});
  ++to.put;
}

void ShimQueues::go_on(std::size_t queue) {
  Queue& of = queues_[queue];
  Job job = std::move(of.jobs.front());
  of.jobs.pop_front();
  while (queues_[job.after_queue].done < job.after_count) go_on(job.after_queue);
  job.work();
  ++of.done;
  if (queue != last_) ++switches_;
  last_ = queue;
}

void ShimQueues::something() {
  // One queue runs ahead for a while and the others all but stand still.
  if (stretch_ == 0) {
    favourite_ = draw(queues_.size());
    stretch_ = 1 + draw(60);
  }
  --stretch_;
  const std::size_t queue = draw(6) == 0 ? draw(queues_.size()) : favourite_;
  if (!queues_[queue].jobs.empty()) go_on(queue);
}

void ShimQueues::drain(std::size_t queue) {
  while (!queues_[queue].jobs.empty()) {
    if (draw(2) == 0)
      something();
    else
      go_on(queue);
  }
}

bool ShimQueues::is_done(std::size_t queue) {
  for (std::uint64_t i = draw(40); i > 0; --i) something();
  if (!queues_[queue].jobs.empty()) go_on(queue);
  return queues_[queue].jobs.empty();
}

// ---- of the shim's device

void ShimLauncher::submit(std::function<void()> work) {
  if (options_.queues == nullptr) return work();
  options_.queues->put(queue_, std::move(work));
}

void ShimLauncher::wait() {
  if (options_.queues != nullptr) options_.queues->drain(queue_);
}

bool ShimLauncher::is_done() {
  return options_.queues == nullptr || options_.queues->is_done(queue_);
}

std::unique_ptr<Device> ShimLauncher::lane() {
  return std::make_unique<Operations<ShimLauncher>>(options_, this);
}

void ShimLauncher::follow(Device& other) {
  if (options_.queues != nullptr)
    options_.queues->follow(queue_, dynamic_cast<ShimLauncher&>(other).queue_);
}

}  // namespace ambit::inference::cuda
