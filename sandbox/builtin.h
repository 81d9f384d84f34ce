#pragma once

// Tools that need no program of their own: `@read`, `@write`, `@append`, `@replace`, `@list`,
// `@find`, `@grep`, `@stat`, `@echo`. They run in a jail like any other, without executing
// anything. Part of the zygote (and of the library, for tests): system calls alone, no allocation,
// everything bounded. Status 0: done, 1: nothing found, 2: the call makes no sense, 3: the system
// said no.

#include <cstddef>
#include <span>
#include <string_view>

namespace ambit::sandbox::builtin {

// Text in memory of a fixed size; what does not fit is cut, and that is known.
struct Text {
  char* bytes = nullptr;
  std::size_t room = 0;
  std::size_t used = 0;
  bool cut = false;
  Text() = default;
  Text(char* into, std::size_t size) : bytes(into), room(size) {}
  void add(std::string_view text);
  void add(unsigned long long number);
  [[nodiscard]] std::string_view view() const { return {bytes, used}; }
};

struct Said {
  Text output;
  Text errors;
  // "what 'path': reason"
  int fail(const char* what, const char* path, int error);
  int usage(const char* how);
};

inline constexpr std::size_t depth_max = 24;            // of folders in folders
inline constexpr std::size_t names_max = 4096;          // of one folder
inline constexpr std::size_t edit_bytes_max = 1 << 20;  // of a file that is edited
inline constexpr std::size_t entries_max = 100'000;     // looked at by one call

// Whether there is a tool of this name, such as "@read".
bool exists(std::string_view name);
// "@read FILE [FROM [BYTES]]" and so on, a line each.
std::string_view help();

// `words[0]` is the name; each is NUL-terminated.
int run(std::span<char* const> words, std::string_view input, Said& said);

}  // namespace ambit::sandbox::builtin
