#pragma once

// The descriptors of one call: its stdio, of which the supervisor keeps the other ends as streams,
// and its secrets. All of the jail's ends are closed here once they have been sent.

#include "async/result.h"
#include "io/descriptor.h"
#include "io/world.h"

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace ambit::sandbox {

using io::Descriptor;

struct Pipes {
  // stdout and stderr.
  static Result<Pipes> make(io::Network& network);
  // stdin, for a call that has some.
  Result<void> add_input(io::Network& network);
  // A pipe that holds `secret` and its end. Code::exhausted: a pipe does not hold that much.
  Result<void> add_secret(const std::string& secret);
  // In the order of the protocol; `nothing` stands for stdin where there is none.
  [[nodiscard]] std::vector<int> to_send(int nothing) const;
  void sent();

  Descriptor jail_input;
  Descriptor jail_output;
  Descriptor jail_errors;
  std::vector<Descriptor> secrets;
  std::unique_ptr<io::Stream> input;  // nullptr: stdin is /dev/null
  std::unique_ptr<io::Stream> output;
  std::unique_ptr<io::Stream> errors;
};

}  // namespace ambit::sandbox
