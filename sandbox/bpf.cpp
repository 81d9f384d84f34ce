#include "sandbox/bpf.h"

#include <array>
#include <cstring>

namespace ambit::sandbox::bpf {
namespace {

struct Machine {
  std::uint32_t accumulator = 0;
  std::uint32_t index = 0;
  std::array<std::uint32_t, BPF_MEMWORDS> memory{};
};

Error broken(std::size_t at, const char* why) {
  return {Code::invalid, "filter instruction " + std::to_string(at) + ": " + why};
}

// False: seccomp allows no such instruction.
bool arithmetic(Machine& machine, const sock_filter& one) {
  const std::uint32_t operand = BPF_SRC(one.code) == BPF_X ? machine.index : one.k;
  std::uint32_t& a = machine.accumulator;
  switch (BPF_OP(one.code)) {
    case BPF_ADD:
      a += operand;
      return true;
    case BPF_SUB:
      a -= operand;
      return true;
    case BPF_MUL:
      a *= operand;
      return true;
    case BPF_DIV:
      if (operand == 0) return false;
      a /= operand;
      return true;
    case BPF_AND:
      a &= operand;
      return true;
    case BPF_OR:
      a |= operand;
      return true;
    case BPF_XOR:
      a ^= operand;
      return true;
    case BPF_LSH:
      if (operand > 31) return false;
      a <<= operand;
      return true;
    case BPF_RSH:
      if (operand > 31) return false;
      a >>= operand;
      return true;
    case BPF_NEG:
      a = ~a + 1;
      return true;
    default:
      return false;
  }
}

// How far to jump, or -1.
std::int64_t jump(const Machine& machine, const sock_filter& one) {
  const std::uint32_t operand = BPF_SRC(one.code) == BPF_X ? machine.index : one.k;
  const std::uint32_t a = machine.accumulator;
  switch (BPF_OP(one.code)) {
    case BPF_JA:
      return one.k;
    case BPF_JEQ:
      return a == operand ? one.jt : one.jf;
    case BPF_JGT:
      return a > operand ? one.jt : one.jf;
    case BPF_JGE:
      return a >= operand ? one.jt : one.jf;
    case BPF_JSET:
      return (a & operand) != 0 ? one.jt : one.jf;
    default:
      return -1;
  }
}

bool load(Machine& machine, const sock_filter& one, const seccomp_data& data) {
  std::uint32_t value = 0;
  switch (BPF_MODE(one.code)) {
    case BPF_IMM:
      value = one.k;
      break;
    case BPF_LEN:
      value = sizeof data;
      break;
    case BPF_MEM:
      if (one.k >= BPF_MEMWORDS) return false;
      value = machine.memory[one.k];
      break;
    case BPF_ABS:
      if (BPF_SIZE(one.code) != BPF_W || one.k % 4 != 0 || one.k > sizeof data - 4) return false;
      std::memcpy(&value, reinterpret_cast<const char*>(&data) + one.k, sizeof value);
      break;
    default:
      return false;
  }
  (BPF_CLASS(one.code) == BPF_LD ? machine.accumulator : machine.index) = value;
  return true;
}

}  // namespace

Result<std::uint32_t> evaluate(std::span<const sock_filter> program, const seccomp_data& data) {
  Machine machine;
  // Jumps only go forward, so the program's length bounds the run.
  for (std::size_t at = 0; at < program.size(); ++at) {
    const sock_filter& one = program[at];
    switch (BPF_CLASS(one.code)) {
      case BPF_LD:
      case BPF_LDX:
        if (!load(machine, one, data)) return Err(broken(at, "a load that seccomp refuses"));
        break;
      case BPF_ST:
      case BPF_STX:
        if (one.k >= BPF_MEMWORDS) return Err(broken(at, "a store out of bounds"));
        machine.memory[one.k] = BPF_CLASS(one.code) == BPF_ST ? machine.accumulator : machine.index;
        break;
      case BPF_ALU:
        if (!arithmetic(machine, one)) return Err(broken(at, "arithmetic that seccomp refuses"));
        break;
      case BPF_JMP: {
        const std::int64_t distance = jump(machine, one);
        if (distance < 0) return Err(broken(at, "an unknown jump"));
        at += static_cast<std::size_t>(distance);
        break;
      }
      case BPF_RET:
        return BPF_RVAL(one.code) == BPF_A ? machine.accumulator : one.k;
      case BPF_MISC:
        if (BPF_MISCOP(one.code) == BPF_TAX) {
          machine.index = machine.accumulator;
        } else {
          machine.accumulator = machine.index;
        }
        break;
      default:
        return Err(broken(at, "an unknown class"));
    }
  }
  return Err(broken(program.size(), "the end was reached without a return"));
}

std::uint32_t stricter(std::uint32_t first, std::uint32_t second) {
  // The action part compared as a signed number: KILL_PROCESS is the lowest, ALLOW the highest.
  const auto rank = [](std::uint32_t verdict) {
    return static_cast<std::int32_t>(verdict & SECCOMP_RET_ACTION_FULL);
  };
  return rank(second) < rank(first) ? second : first;
}

std::string to_string(std::uint32_t verdict) {
  switch (verdict & SECCOMP_RET_ACTION_FULL) {
    case SECCOMP_RET_ALLOW:
      return "allow";
    case SECCOMP_RET_ERRNO:
      return "errno " + std::to_string(verdict & SECCOMP_RET_DATA);
    case SECCOMP_RET_KILL_PROCESS:
      return "kill";
    case SECCOMP_RET_KILL_THREAD:
      return "kill_thread";
    case SECCOMP_RET_USER_NOTIF:
      return "notify";
    case SECCOMP_RET_TRAP:
      return "trap";
    case SECCOMP_RET_TRACE:
      return "trace";
    case SECCOMP_RET_LOG:
      return "log";
    default:
      return "unknown";
  }
}

}  // namespace ambit::sandbox::bpf
