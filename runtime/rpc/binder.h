#pragma once

// Binder: a method table from typed functions. bind("tools/call", f) takes a callable
// Task<Result<R>>(P) or Result<R>(P), where the params struct P has `Result<void> from_value(const
// Value&, P&)` and the result R has `Value to_value(const R&)`, found beside the structs. Params
// that do not fit are answered with -32602 and the path to the fault; an Error becomes the number
// of message.h's table.

#include "async/task.h"
#include "rpc/message.h"

#include <functional>
#include <map>
#include <string>
#include <type_traits>
#include <utility>

namespace ambit::rpc {

// For methods without params or result.
struct Empty {
  friend bool operator==(const Empty&, const Empty&) = default;
};
Result<void> from_value(const Value& value, Empty& out);
Value to_value(const Empty& empty);

namespace detail {
template <class F>
struct Signature : Signature<decltype(&F::operator())> {};
template <class R, class P>
struct Signature<R (*)(P)> {
  using Params = std::decay_t<P>;
  using Returned = R;
};
template <class C, class R, class P>
struct Signature<R (C::*)(P) const> : Signature<R (*)(P)> {};
template <class C, class R, class P>
struct Signature<R (C::*)(P)> : Signature<R (C::*)(P) const> {};

template <class R>
Reply to_reply(Result<R> result) {
  Reply reply;
  if (result) {
    reply.result = to_value(*result);
  } else {
    reply.fault = to_fault(result.error());
  }
  return reply;
}
}  // namespace detail

class Binder {
 public:
  // The callable is kept; what it captures must outlive the binder and all that it answers.
  template <class F>
  void bind(std::string method, F function) {
    using Signature = detail::Signature<F>;
    bind_typed<typename Signature::Params>(
        std::move(method), std::function<typename Signature::Returned(typename Signature::Params)>(
                               std::move(function)));
  }
  void bind_raw(std::string method, std::function<Task<Reply>(Request)> function);

  // Answers one request; its task must end before the binder does.
  Task<Reply> dispatch(Request request) const;
  [[nodiscard]] bool knows(const std::string& method) const { return table_.contains(method); }

 private:
  template <class P, class R>
  void bind_typed(std::string method, std::function<Task<Result<R>>(P)> function) {
    bind_raw(std::move(method), [function = std::move(function)](Request request) {
      return call_later<P, R>(&function, std::move(request));
    });
  }
  template <class P, class R>
  void bind_typed(std::string method, std::function<Result<R>(P)> function) {
    bind_raw(std::move(method), [function = std::move(function)](Request request) {
      return call_now<P, R>(&function, std::move(request));
    });
  }
  template <class P, class R>
  static Task<Reply> call_later(const std::function<Task<Result<R>>(P)>* function,
                                Request request) {
    P params;
    const auto read = from_value(request.params, params);
    if (!read) co_return bad_params(read.error());
    auto result = co_await (*function)(std::move(params));
    co_return detail::to_reply(std::move(result));
  }
  template <class P, class R>
  static Task<Reply> call_now(const std::function<Result<R>(P)>* function, Request request) {
    P params;
    const auto read = from_value(request.params, params);
    if (!read) co_return bad_params(read.error());
    co_return detail::to_reply((*function)(std::move(params)));
  }
  static Reply bad_params(const Error& error);

  std::map<std::string, std::function<Task<Reply>(Request)>> table_;
};

}  // namespace ambit::rpc
