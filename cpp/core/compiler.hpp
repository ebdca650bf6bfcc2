#pragma once

// What compilers understand but C++20 has no word for. With computed goto, labels have addresses,
// and a jump can go to one that was looked up in a table.

#if defined(__GNUC__)
#define MGX_HAS_COMPUTED_GOTO 1
#define MGX_ALWAYS_INLINE [[gnu::always_inline]] inline
#define MGX_NEVER_INLINE [[gnu::noinline]]
#define MGX_UNREACHABLE() __builtin_unreachable()
#elif defined(_MSC_VER)
#define MGX_HAS_COMPUTED_GOTO 0
#define MGX_ALWAYS_INLINE __forceinline
#define MGX_NEVER_INLINE __declspec(noinline)
#define MGX_UNREACHABLE() __assume(false)
#else
#error "say here how this compiler is told"
#endif
