#include "sandbox/pipes.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

namespace ambit::sandbox {
namespace {

Error no_pipe(const char* what) {
  return {Code::unavailable,
          std::string("make a call's pipes: ") + what + ": " + ::strerror(errno)};
}

}  // namespace

Result<Pipes> Pipes::make(io::Network& network) {
  Pipes pipes;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Err(no_pipe("stdout"));
  pipes.jail_output.reset(ends[1]);
  pipes.output = TRY(network.adopt(ends[0]));
  if (::pipe2(ends, O_CLOEXEC) != 0) return Err(no_pipe("stderr"));
  pipes.jail_errors.reset(ends[1]);
  pipes.errors = TRY(network.adopt(ends[0]));
  return pipes;
}

Result<void> Pipes::add_input(io::Network& network) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return Err(no_pipe("stdin"));
  jail_input.reset(ends[0]);
  input = TRY(network.adopt(ends[1]));
  return {};
}

Result<void> Pipes::add_secret(const std::string& secret) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return Err(no_pipe("a secret"));
  secrets.emplace_back(ends[0]);
  const Descriptor writer(ends[1]);
  const ssize_t written = ::write(writer.get(), secret.data(), secret.size());
  if (written != static_cast<ssize_t>(secret.size()))
    return Err(Code::exhausted, "a secret of " + std::to_string(secret.size()) +
                                    " bytes is larger than a pipe holds");
  // The reader waits for nothing: all of it and its end are there.
  (void)::fcntl(ends[0], F_SETFL, 0);
  return {};
}

std::vector<int> Pipes::to_send(int nothing) const {
  std::vector<int> all = {jail_input.get() >= 0 ? jail_input.get() : nothing, jail_output.get(),
                          jail_errors.get()};
  for (const Descriptor& secret : secrets) all.push_back(secret.get());
  return all;
}

void Pipes::sent() {
  jail_input.reset();
  jail_output.reset();
  jail_errors.reset();
  secrets.clear();
}

}  // namespace ambit::sandbox
