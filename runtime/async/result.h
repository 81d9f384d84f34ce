#pragma once

// Result<T>: a value or an Error. An expected failure (bad input, a peer that died, a limit
// reached) is a Result; a bug is a CHECK. The message is for a person: what failed, on what, what
// to do. In plain functions write `auto x = TRY(f());`, in coroutines `auto x = co_await ok(f());`
// (task.h).

#include <tl/expected.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace ambit {

enum class Code {
  invalid,      // the input is wrong; the same call fails again
  not_found,    // what was asked for does not exist
  denied,       // policy or the operating system refuses
  conflict,     // the state forbids it now
  exhausted,    // a limit or budget is used up
  timeout,      // a deadline passed
  closed,       // the peer or the channel is gone
  unavailable,  // could work later: a retry is reasonable
  unsupported,  // we do not do this
  internal,     // our own fault
};

std::string_view to_string(Code code);

struct Error {
  Code code = Code::internal;
  std::string message;

  // Prepends what was being done: "fleet.json: " + message. Once a layer.
  Error context(std::string_view what) &&;
  friend bool operator==(const Error&, const Error&) = default;
};

template <class T>
using Result = tl::expected<T, Error>;

inline tl::unexpected<Error> Err(Code code, std::string message) {
  return tl::unexpected<Error>(Error{code, std::move(message)});
}
inline tl::unexpected<Error> Err(Error error) {
  return tl::unexpected<Error>(std::move(error));
}

namespace detail {
template <class T>
T take(Result<T>& result) {
  return std::move(*result);
}
inline void take(Result<void>& /*result*/) {}
}  // namespace detail

}  // namespace ambit

#define TRY(expression)                                                  \
  __extension__({                                                        \
    auto try_result = (expression);                                      \
    if (!try_result) return ::ambit::Err(std::move(try_result).error()); \
    ::ambit::detail::take(try_result);                                   \
  })
