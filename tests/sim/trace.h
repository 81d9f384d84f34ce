#pragma once

// Trace: a digest of everything that was delivered in a simulated run, in order. Two runs of one
// seed must end with the same digest; where they do not, something reads past the World.

#include <cstdint>
#include <string_view>

namespace ambit::sim {

class Trace {
 public:
  void add(std::uint64_t value) {
    digest_ = (digest_ ^ value) * 0x9FB21C651E98DF25ULL;
    digest_ ^= digest_ >> 28U;
  }
  void add(std::string_view text) {
    add(text.size());
    for (const char c : text) add(static_cast<unsigned char>(c));
  }
  [[nodiscard]] std::uint64_t digest() const { return digest_; }

 private:
  std::uint64_t digest_ = 0xCBF29CE484222325ULL;
};

}  // namespace ambit::sim
