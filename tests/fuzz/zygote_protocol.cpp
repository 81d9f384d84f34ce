// Fuzz entry point: the zygote's frame parsers. Whatever they accept must lie inside the frame.

#include "sandbox/protocol.h"

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace ambit::sandbox::protocol;
  if (size > frame_bytes_max) return 0;
  // Aligned as the zygote's own buffer is.
  std::vector<std::uint64_t> memory(size / 8 + 1);
  char* frame = reinterpret_cast<char*>(memory.data());
  if (size != 0) std::memcpy(frame, bytes, size);
  const auto inside = [&](const char* at) {
    if (at < frame || at >= frame + size) std::abort();
  };
  static const auto spec = std::make_unique<Spec>();
  if (parse_spec({frame, size}, *spec)) {
    for (std::size_t i = 0; i < spec->path_count; ++i) {
      inside(spec->paths[i].name.data());
      inside(spec->paths[i].name.data() + spec->paths[i].name.size());
    }
    inside(reinterpret_cast<const char*>(&spec->filter.back()) + sizeof(sock_filter) - 1);
    inside(reinterpret_cast<const char*>(&spec->last_filter.back()) + sizeof(sock_filter) - 1);
    inside(reinterpret_cast<const char*>(&spec->worker_filter.back()) + sizeof(sock_filter) - 1);
  }
  static const auto call = std::make_unique<Call>();
  if (parse_call({frame, size}, *call)) {
    for (std::size_t i = 0; i < call->argument_count; ++i) inside(call->arguments[i]);
    for (std::size_t i = 0; i < call->environment_count; ++i) inside(call->environment[i]);
    if (call->arguments[call->argument_count] != nullptr) std::abort();
  }
  static const auto work = std::make_unique<Work>();
  if (parse_work({frame, size}, *work)) {
    for (std::size_t i = 0; i < work->argument_count; ++i) inside(work->arguments[i]);
    if (work->arguments[work->argument_count] != nullptr) std::abort();
    inside(work->directory.data() + work->directory.size());
    inside(work->input.data() + work->input.size());
  }
  Open open;
  if (parse_open({frame, size}, open)) inside(open.path.data() + open.path.size());
  Opened opened;
  (void)parse_opened({frame, size}, opened);
  Jail jail;
  if (parse_jail({frame, size}, jail) && !jail.work.empty()) inside(jail.work.data());
  Kind kind{};
  std::uint32_t id = 0;
  (void)parse_signal({frame, size}, kind, id);
  return 0;
}
