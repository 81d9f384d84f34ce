#pragma once

// TaskRunner: the port to whatever works on a task. The service starts one run for each message of
// a task, hears of it through RunEvents, and cancels it by destroying its coroutine. The
// composition root joins it to agents; tests script it.

#include "a2a/protocol.h"
#include "async/task.h"

#include <optional>
#include <string>
#include <vector>

namespace ambit::a2a {

struct Run {
  std::string task_id;  // empty while answer() is asked
  std::string context_id;
  std::string caller;  // who is answerable, as the door has authenticated them
  std::string tenant;
  Message message;
  rpc::Value metadata;
  std::vector<std::string> accepted_output_modes;
  std::vector<std::string> extensions;  // that the client asked for
};

// Each call returns once the event has been taken over; it waits while the task's subscribers are
// behind (for a bounded time). Code::closed: the task has ended, stop.
class RunEvents {
 public:
  virtual ~RunEvents() = default;
  virtual Task<Result<void>> status(TaskState state, std::optional<Message> message) = 0;
  // With `append`, the parts go behind those of the artifact with the same id.
  virtual Task<Result<void>> artifact(Artifact artifact, bool append, bool last_chunk) = 0;
};

class TaskRunner {
 public:
  virtual ~TaskRunner() = default;
  // A short answer that needs no task; none: the message becomes a task, and run() is asked.
  virtual Task<Result<std::optional<Message>>> answer(Run run) = 0;
  // Works until the task ends or needs its client; its coroutine is destroyed once it has said a
  // state that ends the task. If no state was said that ends or interrupts the task, it is then
  // completed; after an Error it has failed (Code::denied: is rejected) with the error's message.
  virtual Task<Result<void>> run(Run run, RunEvents& events) = 0;
  // The same for a task whose run ended with its process; `so_far` is what is recorded of it, and
  // its last message of the client is the run's. By itself such a task fails, unless it waits.
  virtual Task<Result<void>> resume(Run /*run*/, TaskRecord so_far, RunEvents& /*events*/) {
    if (is_interrupted(so_far.status.state)) co_return Result<void>();
    co_return Err(Code::unavailable, "the server was started again while this task was at work");
  }
};

}  // namespace ambit::a2a
