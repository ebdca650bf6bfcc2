#pragma once

// What is true of nodes.

#include <concepts>
#include <cstdint>

namespace mgx {

// What is true of a node; a set of flags is their bitwise or.
enum class Flags : std::uint8_t {
    None = 0,
    IntegerData = 1,        // Python would hold an int in `data`
    HasCallback = 2,        // the user has assigned the step of the backward sweep
    KeepsWrapper = 4,       // the wrapper must live as long as the node
    OperandsByWrapper = 8,  // the wrapper, not the node, keeps the operands alive
    HasAnnex = 16,          // its place in the log is also that of hidden nodes; see fusion.cpp
    IsDead = 32,            // reclaimed, but for its place, which the annex still needs
    IsWeight = 64,          // of a watched map, which must know what happens; see affine.cpp
    HeldByWrapper = 128     // a consumer's wrapper may hold the node's, which `count` does not tell
};

// What the backward sweep writes with each gradient, in a byte of its own: one store tells that the
// gradient is a float now and the node due.
enum class GradFlags : std::uint8_t {
    None = 0,
    IsInteger = 1,  // Python would hold an int in `grad`
    IsDue = 2,      // a running backward sweep has still to visit the node; see backward.cpp
    HidesDue = 4,   // or some of the hidden nodes in its annex
    IsTaken = 8     // the sweep has the gradient elsewhere, where it adds layers' terms to it
};

template <typename Set>
concept FlagSet = std::same_as<Set, Flags> || std::same_as<Set, GradFlags>;

template <FlagSet Set>
[[nodiscard]] constexpr Set operator|(Set one, Set other) noexcept {
    return Set(static_cast<int>(one) | static_cast<int>(other));
}
template <FlagSet Set>
[[nodiscard]] constexpr bool has(Set flags, Set any) noexcept {
    return (static_cast<int>(flags) & static_cast<int>(any)) != 0;
}
template <FlagSet Set>
constexpr void set(Set& flags, Set flag, bool on) noexcept {
    flags = Set(on ? static_cast<int>(flags) | static_cast<int>(flag)
                   : static_cast<int>(flags) & ~static_cast<int>(flag));
}

}  // namespace mgx
