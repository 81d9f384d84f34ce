#pragma once

// The operations behind every binding: parameters as JSON in, a result as JSON or a stream out. A
// binding only brings the parameters together and wraps what comes back; a version only changes the
// shapes on the way.

#include "a2a/service.h"

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace ambit::a2a {

enum class Operation {
  send,
  stream,
  get,
  list,
  cancel,
  subscribe,
  create_push,
  get_push,
  list_push,
  delete_push,
  extended_card,
};

// 0.3 has two shapes: the JSON of JSON-RPC, and that of its proto, in REST and gRPC.
enum class Version { v0_3, v0_3_proto, v1_0 };

// "SendMessage", "message/send"; for v0_3_proto the names of gRPC; none: there is no such method.
std::optional<Operation> find_method(Version version, std::string_view name);
// Empty: the version has no such operation.
std::string_view method_name(Operation operation, Version version);
// A stream comes instead of a result.
bool is_streaming(Operation operation);

struct Outcome {
  std::string result;  // JSON; empty: there is a stream instead
  SubscriptionHandle stream;
};

// `params` in the version's shape. The caller's tenant, where params name none, is call.tenant.
Task<Answer<Outcome>> perform(Service& service, Operation operation, Version version, Call call,
                              rpc::Value params);

// "a, b,,c" as a, b and c.
std::vector<std::string> split_list(std::string_view text);
// What of the extensions that the caller asked for the agent has, as a header says it.
std::string activated_extensions(const AgentCard& card, const Call& call);

// A stream's event as JSON text in the version's shape.
std::string event_text(const Update& update, Version version);

}  // namespace ambit::a2a
