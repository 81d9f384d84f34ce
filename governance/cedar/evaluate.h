#pragma once

// Evaluation of one policy over one request. Values are handed on as pointers to where they already
// are (the policy, the request, the entities); only what is computed is made, in a list of this
// evaluation.

#include "cedar/policy_set.h"

#include <forward_list>
#include <string>

namespace ambit::cedar {

class Evaluation {
 public:
  Evaluation(const Request& request, const Entities& entities)
      : request_(request), entities_(entities) {}

  enum class Outcome : std::uint8_t { satisfied, unsatisfied, failed };
  Outcome run(const Policy& policy);
  // Null: it failed, see message().
  const Value* value(const Expression& expression);
  [[nodiscard]] const std::string& message() const { return message_; }

 private:
  bool matches(const Scope& scope, const Value& value) const;
  const Value* make(Value value);
  const Value* fail(const Expression& at, const std::string& message);
  const Value* fail_type(const Expression& at, std::string_view wanted, const Value& found);
  template <class T>
  const T* expect(const Expression& at, std::string_view wanted) {
    const Value* found = value(at);
    if (found == nullptr) return nullptr;
    const T* as = found->as<T>();
    if (as == nullptr) fail_type(at, wanted, *found);
    return as;
  }
  const bool* truth(const Expression& at) { return expect<bool>(at, "a bool"); }

  const Value* connective(const Expression& at);
  const Value* conditional(const Expression& at);
  const Value* comparison(const Expression& at);
  const Value* arithmetic(const Expression& at);
  const Value* membership(const Expression& at);
  const Value* has(const Expression& at);
  const Value* is(const Expression& at);
  const Value* attribute(const Expression& at);
  const Value* tag(const Expression& at);
  const Value* set_method(const Expression& at);
  const Value* literal_set(const Expression& at);
  const Value* literal_record(const Expression& at);
  const Value* call(const Expression& at);
  const Value* constructor(const Expression& at, const std::string& text);
  const Value* decimal_method(const Expression& at);
  const Value* ip_method(const Expression& at);
  const Value* time_method(const Expression& at);

  const Request& request_;
  const Entities& entities_;
  std::forward_list<Value> made_;
  std::string message_;
};

}  // namespace ambit::cedar
