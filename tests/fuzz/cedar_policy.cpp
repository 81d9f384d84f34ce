// Whatever the text: it parses or gives an error with its place, and what parses can be decided on.

#include "cedar/policy_set.h"

#include <cstddef>
#include <cstdint>

using namespace ambit::cedar;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  auto policies = parse_policies(text, "fuzz");
  if (!policies) return 0;
  const auto set = PolicySet::create(std::move(*policies));
  if (!set) return 0;
  Entity user;
  user.uid = {"User", "alice"};
  user.attributes.set("level", Value(std::int64_t{3}));
  user.parents.push_back({"Group", "staff"});
  const auto entities = Entities::create({user});
  Record context;
  context.set("path", Value(std::string("logs/a")));
  const Request request =
      Request::make({"User", "alice"}, {"Action", "view"}, {"Photo", "a"}, std::move(context));
  static_cast<void>(set->decide(request, *entities));
  return 0;
}
