// ambit-witness: one add-checkpoint request on stdin, the answer on stdout. Meant to be run for
// each request by what listens (inetd, a systemd socket, an HTTP server's gateway), as a user of
// its own.
//
//   ambit-witness STATE_FOLDER NAME LOG_VKEY... < request
//   ambit-witness STATE_FOLDER NAME --vkey
//
// Exit codes: 0 cosigned, 1 refused or failed (the answer says why), 2 the command line is wrong.

#include "io/uv_world.h"
#include "log/witness.h"

#include <cstdio>
#include <string>
#include <unistd.h>
#include <vector>

namespace {

constexpr std::size_t request_bytes_max = 64U << 10;

std::string read_request() {
  std::string request(request_bytes_max, '\0');
  std::size_t length = 0;
  ssize_t count = 0;
  while (length < request.size() &&
         (count = ::read(STDIN_FILENO, request.data() + length, request.size() - length)) > 0) {
    length += static_cast<std::size_t>(count);
  }
  request.resize(length);
  return request;
}

int fail(const std::string& message) {
  std::fprintf(stderr, "ambit-witness: %s\n", message.c_str());
  return 1;
}

}  // namespace

int main(int count, char** arguments) {
  using namespace ambit;
  if (count < 4) {
    std::fputs(
        "usage: ambit-witness STATE_FOLDER NAME LOG_VKEY... < add-checkpoint\n"
        "       ambit-witness STATE_FOLDER NAME --vkey\n",
        stderr);
    return 2;
  }
  const bool show = std::string(arguments[3]) == "--vkey";
  std::vector<log::VerifierKey> logs;
  for (int i = 3; i < count && !show; ++i) {
    auto key = log::VerifierKey::parse(arguments[i]);
    if (!key) return fail(key.error().message), 2;
    logs.push_back(std::move(*key));
  }
  io::UvWorld world;
  auto witness = log::Witness::open(
      arguments[1], arguments[2], std::move(logs),
      [&world](std::span<std::uint8_t> bytes) { world.world().entropy.fill(bytes); });
  if (!witness) return fail(witness.error().message);
  if (show) {
    std::printf("%s\n", (*witness)->verifier().text().c_str());
    return 0;
  }
  const std::int64_t seconds = world.world().clock.unix_ns() / 1'000'000'000;
  const auto answer = (*witness)->add_checkpoint(
      read_request(), static_cast<std::uint64_t>(seconds < 0 ? 0 : seconds));
  if (!answer) return fail(answer.error().message);
  std::fputs(answer->body.c_str(), stdout);
  if (answer->status == 200) return 0;
  return fail("refused with " + std::to_string(answer->status));
}
