#include "mcp/task_record.h"

#include "io/utc.h"
#include "rpc/fields.h"

#include <nlohmann/json.hpp>

#include <array>
#include <string_view>

namespace ambit::mcp {
namespace {

using rpc::Json;
using rpc::Value;

constexpr std::array<std::string_view, 5> status_names = {"working", "input_required", "completed",
                                                          "failed", "cancelled"};

std::string name_of(TaskStatus status) {
  return std::string(status_names.at(static_cast<std::size_t>(status)));
}

}  // namespace

Value to_client(const TaskRecord& record, std::int64_t poll_ms, bool detailed) {
  Json json = {{"taskId", record.id},
               {"status", name_of(record.status)},
               {"createdAt", io::utc_text(record.created_ms * 1'000'000)},
               {"lastUpdatedAt", io::utc_text(record.updated_ms * 1'000'000)},
               {"ttlMs", record.ttl_ms},
               {"pollIntervalMs", poll_ms}};
  if (!record.message.empty()) json["statusMessage"] = record.message;
  if (!detailed) return json;
  if (record.status == TaskStatus::completed) {
    json["result"] = record.result.json();
    json["result"]["resultType"] = "complete";  // it is a whole result, wherever it stands
  }
  if (record.status == TaskStatus::failed) json["error"] = record.error.json();
  if (record.status == TaskStatus::input_required) json["inputRequests"] = record.questions.json();
  return json;
}

Value to_legacy_client(const TaskRecord& record, std::int64_t poll_ms) {
  const Json& result = record.result.json();
  const bool is_error = result.is_object() && result.value("isError", false);
  Json json = {{"taskId", record.id},
               {"status", name_of(is_error ? TaskStatus::failed : record.status)},
               {"createdAt", io::utc_text(record.created_ms * 1'000'000)},
               {"lastUpdatedAt", io::utc_text(record.updated_ms * 1'000'000)},
               {"ttl", record.ttl_ms},
               {"pollInterval", poll_ms}};
  if (!record.message.empty()) json["statusMessage"] = record.message;
  return json;
}

Value to_value(const TaskRecord& record) {
  Json json = {{"id", record.id},
               {"principal", record.principal},
               {"tool", record.tool},
               {"status", name_of(record.status)},
               {"message", record.message},
               {"created", record.created_ms},
               {"updated", record.updated_ms},
               {"ttl", record.ttl_ms}};
  if (record.result.present()) json["result"] = record.result.json();
  if (record.error.present()) json["error"] = record.error.json();
  return json;
}

Result<void> from_value(const Value& value, TaskRecord& out) {
  rpc::Fields fields(value.json(), "$");
  std::string status;
  fields.read("id", out.id);
  fields.read("principal", out.principal);
  fields.read("tool", out.tool);
  fields.read("status", status);
  fields.read("message", out.message);
  fields.read("created", out.created_ms);
  fields.read("updated", out.updated_ms);
  fields.read("ttl", out.ttl_ms);
  fields.maybe("result", out.result);
  fields.maybe("error", out.error);
  TRY(fields.result());
  for (std::size_t i = 0; i < status_names.size(); ++i) {
    if (status_names.at(i) != status) continue;
    out.status = static_cast<TaskStatus>(i);
    return {};
  }
  return Err(Code::invalid, "$.status: \"" + status + "\" is no status of a task");
}

}  // namespace ambit::mcp
