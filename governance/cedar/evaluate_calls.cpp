// The functions and methods of the extension types.

#include "cedar/evaluate.h"

#include <limits>

namespace ambit::cedar {
namespace {

constexpr std::int64_t day_ms = 86'400'000;

// With the receiver of a method.
std::size_t operand_count(Function function) {
  switch (function) {
    case Function::less_than:
    case Function::less_than_or_equal:
    case Function::greater_than:
    case Function::greater_than_or_equal:
    case Function::is_in_range:
    case Function::offset:
    case Function::duration_since:
      return 2;
    default:
      return 1;
  }
}

}  // namespace

const Value* Evaluation::call(const Expression& at) {
  if (at.operands.size() != operand_count(at.function)) {
    return fail(at, "wrong number of arguments: expected " +
                        std::to_string(operand_count(at.function)) + " with the receiver, found " +
                        std::to_string(at.operands.size()));
  }
  switch (at.function) {
    case Function::decimal:
    case Function::ip:
    case Function::datetime:
    case Function::duration: {
      const Value* text = value(at.operands[0]);
      if (text == nullptr) return nullptr;
      const auto* as = text->as<std::string>();
      return as == nullptr ? fail_type(at.operands[0], "a string", *text) : constructor(at, *as);
    }
    case Function::less_than:
    case Function::less_than_or_equal:
    case Function::greater_than:
    case Function::greater_than_or_equal:
      return decimal_method(at);
    case Function::is_ipv4:
    case Function::is_ipv6:
    case Function::is_loopback:
    case Function::is_multicast:
    case Function::is_in_range:
      return ip_method(at);
    default:
      return time_method(at);
  }
}

const Value* Evaluation::constructor(const Expression& at, const std::string& text) {
  const auto give = [this, &at](auto parsed) -> const Value* {
    if (!parsed) return fail(at, parsed.error().message);
    return make(Value(*parsed));
  };
  switch (at.function) {
    case Function::decimal:
      return give(parse_decimal(text));
    case Function::ip:
      return give(parse_ip(text));
    case Function::datetime:
      return give(parse_datetime(text));
    default:
      return give(parse_timespan(text));
  }
}

const Value* Evaluation::decimal_method(const Expression& at) {
  const auto* left = expect<Decimal>(at.operands[0], "a decimal");
  const auto* right = left == nullptr ? nullptr : expect<Decimal>(at.operands[1], "a decimal");
  if (right == nullptr) return nullptr;
  bool result = false;
  switch (at.function) {
    case Function::less_than:
      result = *left < *right;
      break;
    case Function::less_than_or_equal:
      result = *left <= *right;
      break;
    case Function::greater_than:
      result = *left > *right;
      break;
    default:
      result = *left >= *right;
      break;
  }
  return make(Value(result));
}

const Value* Evaluation::ip_method(const Expression& at) {
  const auto* ip = expect<IpAddress>(at.operands[0], "an ipaddr");
  if (ip == nullptr) return nullptr;
  if (at.function == Function::is_in_range) {
    const auto* range = expect<IpAddress>(at.operands[1], "an ipaddr");
    return range == nullptr ? nullptr : make(Value(is_in_range(*ip, *range)));
  }
  switch (at.function) {
    case Function::is_ipv4:
      return make(Value(!ip->v6));
    case Function::is_ipv6:
      return make(Value(ip->v6));
    case Function::is_loopback:
      return make(Value(is_loopback(*ip)));
    default:
      return make(Value(is_multicast(*ip)));
  }
}

const Value* Evaluation::time_method(const Expression& at) {
  std::int64_t result = 0;
  switch (at.function) {
    case Function::offset: {
      const auto* from = expect<Datetime>(at.operands[0], "a datetime");
      const auto* by = from == nullptr ? nullptr : expect<Timespan>(at.operands[1], "a duration");
      if (by == nullptr) return nullptr;
      if (__builtin_add_overflow(from->unix_ms, by->ms, &result)) break;
      return make(Value(Datetime{result}));
    }
    case Function::duration_since: {
      const auto* to = expect<Datetime>(at.operands[0], "a datetime");
      const auto* from = to == nullptr ? nullptr : expect<Datetime>(at.operands[1], "a datetime");
      if (from == nullptr) return nullptr;
      if (__builtin_sub_overflow(to->unix_ms, from->unix_ms, &result)) break;
      return make(Value(Timespan{result}));
    }
    case Function::to_date:
    case Function::to_time: {
      const auto* at_time = expect<Datetime>(at.operands[0], "a datetime");
      if (at_time == nullptr) return nullptr;
      const std::int64_t rest = ((at_time->unix_ms % day_ms) + day_ms) % day_ms;
      if (at.function == Function::to_time) return make(Value(Timespan{rest}));
      if (__builtin_sub_overflow(at_time->unix_ms, rest, &result)) break;
      return make(Value(Datetime{result}));
    }
    default: {
      const auto* span = expect<Timespan>(at.operands[0], "a duration");
      if (span == nullptr) return nullptr;
      std::int64_t unit = 1;
      if (at.function == Function::to_seconds) unit = 1000;
      if (at.function == Function::to_minutes) unit = 60'000;
      if (at.function == Function::to_hours) unit = 3'600'000;
      if (at.function == Function::to_days) unit = day_ms;
      return make(Value(span->ms / unit));
    }
  }
  return fail(at, "the result lies outside the range of times");
}

}  // namespace ambit::cedar
