#pragma once

// TaskRecord: a tool call that outlives its request, as its client sees it (MCP extension
// io.modelcontextprotocol/tasks, SEP-2663) and as it is kept. TaskKeeper makes it durable: it is
// kept before the client hears of it and again when it has ended. A task that was kept and had not
// ended when its process did has failed: nobody knows how far it came.

#include "async/result.h"
#include "async/task.h"
#include "rpc/message.h"

#include <cstdint>
#include <string>

namespace ambit::mcp {

constexpr const char* tasks_extension = "io.modelcontextprotocol/tasks";

// Whether a tool's call may become a task: of a client that takes tasks.
enum class TaskSupport {
  none,
  optional,  // it does if it takes long, or when its handler says so
  required,  // a client that takes no tasks cannot call it
};

enum class TaskStatus { working, input_required, completed, failed, cancelled };
constexpr bool is_terminal(TaskStatus status) {
  return status != TaskStatus::working && status != TaskStatus::input_required;
}

struct TaskRecord {
  std::string id;
  std::string principal;  // who called; to anybody else the task does not exist
  std::string tool;
  TaskStatus status = TaskStatus::working;
  std::string message;  // statusMessage: what the tool said last of its progress
  std::int64_t created_ms = 0;
  std::int64_t updated_ms = 0;
  std::int64_t ttl_ms = 0;  // from created_ms on; then it is forgotten
  rpc::Value result;        // completed
  rpc::Value error;         // failed: {"code": ..., "message": ...}
  rpc::Value questions;     // input_required: key to {"method": ..., "params": ...}
};

// The members of Task, and with `detailed` those of its status (DetailedTask).
rpc::Value to_client(const TaskRecord& record, std::int64_t poll_ms, bool detailed);
// A Task of MCP 2025-11-25. A tool's error is a failure there.
rpc::Value to_legacy_client(const TaskRecord& record, std::int64_t poll_ms);
// As it is kept; from_value() names what is wrong by its path.
rpc::Value to_value(const TaskRecord& record);
Result<void> from_value(const rpc::Value& value, TaskRecord& out);

class TaskKeeper {
 public:
  virtual ~TaskKeeper() = default;
  // Durable when it returns.
  virtual Task<Result<void>> keep(TaskRecord record) = 0;
};

}  // namespace ambit::mcp
