#pragma once

// A classic-BPF evaluator in user space, as seccomp runs it, so that a filter can be tested without
// a kernel that enforces it, and for other architectures. Also: a filter as readable text.

#include "async/result.h"

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cstdint>
#include <span>

namespace ambit::sandbox::bpf {

// The program's return value (SECCOMP_RET_...), or an error: an instruction that seccomp refuses, a
// jump or load out of bounds, no return.
Result<std::uint32_t> evaluate(std::span<const sock_filter> program, const seccomp_data& data);

// The kernel's rule for several filters: the most restrictive action wins.
std::uint32_t stricter(std::uint32_t first, std::uint32_t second);

// "allow", "errno 1", "kill", "notify", ...
std::string to_string(std::uint32_t verdict);

}  // namespace ambit::sandbox::bpf
