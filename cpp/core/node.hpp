#pragma once

// A node: what the machine needs of one step of an expression, and nothing else.

#include <array>
#include <bit>
#include <concepts>
#include <cstdint>
#include <span>

#include "core/op.hpp"
#include "core/scalar.hpp"

namespace mgx {

// Names a node of an arena: the number of its page and its slot in the page. An id is reused once
// its node is gone.
enum class NodeId : std::uint32_t {};

inline constexpr NodeId no_node{0xFFFFFFFF};

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

struct Node {
    double data_value;
    double grad_value;
    std::array<NodeId, 2> operands;
    std::uint32_t count;  // references by living consumers, plus one for a living wrapper
    Op op;
    Flags flags;
    GradFlags grad_flags;

    // Whether any of the flags is set.
    [[nodiscard]] bool has(Flags any) const noexcept { return mgx::has(flags, any); }
    void set(Flags flag, bool on) noexcept { mgx::set(flags, flag, on); }

    // Of those that stand in the node itself; the exponent of a PowConstant is not shown.
    [[nodiscard]] std::span<const NodeId> visible_operands() const noexcept {
        const bool is_unary = op == Op::PowConstant || operands[1] == no_node;
        return std::span(operands).first(is_unary ? 1 : 2);
    }

    [[nodiscard]] bool is_due() const noexcept { return mgx::has(grad_flags, GradFlags::IsDue); }
    void set_due(bool due) noexcept { mgx::set(grad_flags, GradFlags::IsDue, due); }
    [[nodiscard]] bool is_taken() const noexcept {
        return mgx::has(grad_flags, GradFlags::IsTaken);
    }
    void set_taken(bool taken) noexcept { mgx::set(grad_flags, GradFlags::IsTaken, taken); }

    [[nodiscard]] Scalar data() const noexcept { return {data_value, has(Flags::IntegerData)}; }
    void set_data(Scalar data) noexcept {
        data_value = data.value;
        set(Flags::IntegerData, data.is_integer);
    }

    [[nodiscard]] Scalar grad() const noexcept {
        return {grad_value, mgx::has(grad_flags, GradFlags::IsInteger)};
    }
    void set_grad(Scalar grad) noexcept {
        grad_value = grad.value;
        mgx::set(grad_flags, GradFlags::IsInteger, grad.is_integer);
    }
};

// What a node of a pair hides, in the slot before its own: a node that nobody refers to yet, or
// none. Its operands are not there, so the gradient of the leaf -1 is in their place, as is whether
// that is an int in the place of the count.
[[nodiscard]] inline Node& hidden_by(Node& node) noexcept { return *(&node - 1); }

[[nodiscard]] inline Scalar grad_of_constant(const Node& hidden) noexcept {
    return {std::bit_cast<double>(hidden.operands), hidden.count != 0};
}
inline void set_grad_of_constant(Node& hidden, Scalar grad) noexcept {
    hidden.operands = std::bit_cast<std::array<NodeId, 2>>(grad.value);
    hidden.count = grad.is_integer ? 1 : 0;
}

static_assert(sizeof(Node) == 32, "a node is half a cache line");

// A node that is alive, under both of its names: where it lies does not change.
struct LiveNode {
    Node* node = nullptr;
    NodeId id = no_node;
};

}  // namespace mgx
