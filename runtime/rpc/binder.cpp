#include "rpc/binder.h"

#include <nlohmann/json.hpp>

namespace ambit::rpc {

Result<void> from_value(const Value& value, Empty& /*out*/) {
  if (value.present() && !value.json().is_object()) {
    return Err(Code::invalid, "$.params: must be an object");
  }
  return {};
}

Value to_value(const Empty& /*empty*/) {
  return Json::object();
}

void Binder::bind_raw(std::string method, std::function<Task<Reply>(Request)> function) {
  const bool fresh = table_.emplace(std::move(method), std::move(function)).second;
  INVARIANT(fresh);
}

Task<Reply> Binder::dispatch(Request request) const {
  const auto at = table_.find(request.method);
  if (at == table_.end()) {
    Reply reply;
    reply.fault = Fault{method_not_found, "no method \"" + request.method + "\"", {}};
    co_return reply;
  }
  auto reply = co_await at->second(std::move(request));
  co_return reply;
}

Reply Binder::bad_params(const Error& error) {
  Reply reply;
  reply.fault = Fault{invalid_params, error.message, {}};
  return reply;
}

}  // namespace ambit::rpc
