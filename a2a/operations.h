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

enum class Version { v0_3, v1_0 };

// "SendMessage", "message/send"; none: there is no such method.
std::optional<Operation> find_method(Version version, std::string_view name);
// Empty: the version has no such operation.
std::string_view method_name(Operation operation, Version version);
// A stream comes instead of a result.
bool is_streaming(Operation operation);

struct Outcome {
  rpc::Value result;
  SubscriptionHandle stream;
};

// `params` in the version's shape. The caller's tenant, where params name none, is call.tenant.
Task<Answer<Outcome>> perform(Service& service, Operation operation, Version version, Call call,
                              rpc::Value params);

// A stream's event as JSON text in the version's shape.
std::string event_text(const Update& update, Version version);

}  // namespace ambit::a2a
