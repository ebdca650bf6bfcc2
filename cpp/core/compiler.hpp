#pragma once

// What compilers understand but C++20 has no word for.

#if defined(__GNUC__)
#define MGX_ALWAYS_INLINE [[gnu::always_inline]] inline
#define MGX_NEVER_INLINE [[gnu::noinline]]
#define MGX_UNREACHABLE() __builtin_unreachable()
#elif defined(_MSC_VER)
#define MGX_ALWAYS_INLINE __forceinline
#define MGX_NEVER_INLINE __declspec(noinline)
#define MGX_UNREACHABLE() __assume(false)
#else
#error "say here how this compiler is told"
#endif
