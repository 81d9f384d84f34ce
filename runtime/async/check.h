#pragma once

// INVARIANT(condition): an invariant of ours, tested in every build. A false one is a bug, never
// bad input: it prints where and aborts, so that nothing runs on with a broken state.

#include <cstdio>
#include <cstdlib>

#define INVARIANT(condition)                                                                 \
  do {                                                                                       \
    if (!(condition)) [[unlikely]] {                                                         \
      std::fprintf(stderr, "%s:%d: INVARIANT failed: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                          \
    }                                                                                        \
  } while (false)
