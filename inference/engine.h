#pragma once

// The engine behind the port agents::Model: a Decoder on a thread of its own. Requests go to the
// thread through a mailbox, results come back through Loop::post_from_thread; cancelling the task
// that waits cancels the request. All members are for the loop's thread.

#include "agents/ports.h"
#include "async/loop.h"
#include "async/result.h"
#include "inference/decoder.h"

#include <memory>
#include <string>

namespace ambit::inference {

class Engine final : public agents::Model {
 public:
  // Reads, checks and repacks the file on the calling thread, then starts the engine's. The loop
  // outlives it.
  static Result<std::unique_ptr<Engine>> open(const std::string& path, EngineOptions options,
                                              Loop& loop);
  static Result<std::unique_ptr<Engine>> start(std::shared_ptr<const ModelFile> file,
                                               EngineOptions options, Loop& loop);
  // Waits for the step that runs; turns that still wait get Code::closed.
  ~Engine() override;

  Task<Result<agents::Turn>> generate(agents::TurnRequest request) override;
  Task<Result<agents::Embedding>> embed(agents::EmbeddingRequest request) override;
  void observe(const std::string& session, agents::SessionEvent event) override;
  [[nodiscard]] bool foresees() const override { return true; }
  void foresee(agents::TurnRequest request, std::string result) override;
  [[nodiscard]] std::string identity() const override;
  // As of the last step.
  [[nodiscard]] EngineStats stats() const;

 private:
  struct Shared;
  class Ticket;
  struct Waiter;
  Engine(std::shared_ptr<const ModelFile> file, std::shared_ptr<Shared> shared);

  std::shared_ptr<const ModelFile> file_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace ambit::inference
