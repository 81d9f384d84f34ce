#pragma once

// The system-call policy of a jail: two filters. The first is loaded once by the zygote and
// inherited by everything: default deny, the calls of the profile plus those that setting up a jail
// needs. The second is loaded by each command just before it executes: it takes the set-up calls
// away again and reports the trip-wires. Built here with libseccomp, sent to the zygote as raw BPF.
// The lists are in policy.h.

#include "async/result.h"

#include <linux/filter.h>

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::sandbox::seccomp {

enum class Tier { compute, fs_read, fs_write, net };
enum class Architecture { x86_64, aarch64 };
Architecture native();

struct Filters {
  std::vector<sock_filter> first;
  std::vector<sock_filter> last;
  std::vector<sock_filter> worker;  // for built-in tools, instead of the last one
};
struct Variant {
  bool asks = false;     // opening files is told to init, which may ask for what the jail lacks
  bool reduced = false;  // no namespaces and no mounts: more is left to the filter
  friend auto operator<=>(const Variant&, const Variant&) = default;
};
Result<Filters> build(Tier tier, Architecture architecture, Variant variant = {});

// Names of what a tier may call, sorted.
std::vector<std::string> allowed(Tier tier);
// Names of the calls that end a command.
std::vector<std::string> trip_wires();

// "openat", or "system call 999". `audit_architecture` as the kernel reports it.
std::string name_of(int number, std::uint32_t audit_architecture);
// -1: this architecture has none of that name.
int number_of(std::string_view name, Architecture architecture);
std::uint32_t audit_architecture(Architecture architecture);

}  // namespace ambit::sandbox::seccomp
