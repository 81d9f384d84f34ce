// What an A2A peer may send, as JSON, in every place where it is read, and every change of shape.

#include "a2a/card.h"
#include "a2a/card_signature.h"
#include "a2a/codec.h"
#include "a2a/remote_tools.h"
#include "a2a/rest_route.h"
#include "a2a/task_fact.h"
#include "a2a/v0_3.h"
#include "a2a/v0_3_proto.h"
#include "a2a/v0_3_shape.h"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace {

using namespace ambit;

constexpr a2a::Operation operations[] = {
    a2a::Operation::send,        a2a::Operation::stream,       a2a::Operation::get,
    a2a::Operation::list,        a2a::Operation::cancel,       a2a::Operation::subscribe,
    a2a::Operation::create_push, a2a::Operation::get_push,     a2a::Operation::list_push,
    a2a::Operation::delete_push, a2a::Operation::extended_card};

void read_everything(const rpc::Json& json) {
  if (auto request = a2a::read_send_request(json)) a2a::to_json(*request);
  static_cast<void>(a2a::read_get_request(json));
  static_cast<void>(a2a::read_task_request(json, "id", "taskId"));
  static_cast<void>(a2a::read_list_request(json));
  static_cast<void>(a2a::read_push_config(json, ""));
  if (auto task = a2a::read_task(json)) a2a::to_json(*task);
  static_cast<void>(a2a::read_page(json));
  if (auto card = a2a::read_card(json)) a2a::to_json(*card, a2a::CardShape::hybrid);
  static_cast<void>(a2a::verify_card(json, {}));
  static_cast<void>(a2a::signed_form(json));
  static_cast<void>(jose::read_jwks(json));
  static_cast<void>(a2a::read_delegation(rpc::Value(json)));
  if (auto event = a2a::read_stream_event(json)) {
    // What was read can be said in every shape.
    a2a::v0_3::downgrade_event(a2a::to_json(*event));
    a2a::v0_3_proto::downgrade_event(a2a::to_json(*event));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const char* method : {"GET", "POST", "DELETE"}) {
    static_cast<void>(a2a::find_rest_route(method, text));
    if (text.starts_with("/v1/")) static_cast<void>(a2a::find_old_rest_route(method, text));
  }
  static_cast<void>(jose::verify_jwt({}, text));
  static_cast<void>(a2a::parse_time(text));
  rpc::ParseLimits limits;
  limits.bytes_max = 64 << 10;
  const auto value = rpc::Value::parse(text, limits);
  if (!value) return 0;
  read_everything(value->json());
  for (const a2a::Operation operation : operations) {
    read_everything(a2a::v0_3::upgrade_params(operation, value->json()));
    read_everything(a2a::v0_3_proto::upgrade_params(operation, value->json()));
    read_everything(a2a::v0_3::upgrade_result(operation, value->json()));
    read_everything(a2a::v0_3_proto::upgrade_result(operation, value->json()));
  }
  read_everything(a2a::v0_3::upgrade_event(value->json()));
  read_everything(a2a::v0_3_proto::upgrade_event(value->json()));
  rpc::Json named = value->json();
  a2a::v0_3_shape::to_json_names(named);
  read_everything(named);
  std::optional<a2a::StoredTask> task;
  agents::Event event{"task.created", "t", "", "a", "{}", {{"task", std::string(text)}}};
  static_cast<void>(a2a::fold(task, event, {}));
  event.type = "task.changed";
  event.payloads[0].name = "changes";
  static_cast<void>(a2a::fold(task, event, {}));
  return 0;
}
