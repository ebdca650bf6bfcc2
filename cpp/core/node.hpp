#pragma once

// A node: what the machine needs of one step of an expression, and nothing else.

#include <array>
#include <cstdint>

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
    IntegerData = 1,         // Python would hold an int in `data`
    IntegerGrad = 2,         // and in `grad`
    HasCallback = 4,         // the user has assigned the step of the backward sweep
    KeepsWrapper = 8,        // the wrapper must live as long as the node
    OperandsByWrapper = 16,  // the wrapper, not the node, keeps the operands alive
    HasAnnex = 32,           // its place in the log is also that of hidden nodes; see fusion.cpp
    IsDead = 64,             // reclaimed, but for its place, which the annex still needs
    IsWeight = 128           // of a watched map, which must know what happens; see affine.cpp
};

[[nodiscard]] constexpr Flags operator|(Flags one, Flags other) noexcept {
    return Flags(static_cast<int>(one) | static_cast<int>(other));
}
[[nodiscard]] constexpr Flags operator&(Flags one, Flags other) noexcept {
    return Flags(static_cast<int>(one) & static_cast<int>(other));
}
[[nodiscard]] constexpr Flags without(Flags flags, Flags removed) noexcept {
    return Flags(static_cast<int>(flags) & ~static_cast<int>(removed));
}

struct Node {
    double data_value;
    double grad_value;
    std::array<NodeId, 2> operands;
    std::uint32_t count;  // references by living consumers, plus one for a living wrapper
    Op op;
    Flags flags;
    bool is_due;        // a running backward sweep has still to visit the node; see backward.cpp
    bool annex_is_due;  // and some of the hidden nodes in its annex

    // Whether any of the flags is set.
    [[nodiscard]] bool has(Flags any) const noexcept { return (flags & any) != Flags::None; }
    void set(Flags flag, bool on) noexcept { flags = on ? flags | flag : without(flags, flag); }

    [[nodiscard]] Scalar data() const noexcept { return {data_value, has(Flags::IntegerData)}; }
    void set_data(Scalar data) noexcept {
        data_value = data.value;
        set(Flags::IntegerData, data.is_integer);
    }

    [[nodiscard]] Scalar grad() const noexcept { return {grad_value, has(Flags::IntegerGrad)}; }
    void set_grad(Scalar grad) noexcept {
        grad_value = grad.value;
        set(Flags::IntegerGrad, grad.is_integer);
    }
};

static_assert(sizeof(Node) == 32, "a node is half a cache line");

// A node that is alive, under both of its names: where it lies does not change.
struct LiveNode {
    Node* node = nullptr;
    NodeId id = no_node;
};

}  // namespace mgx
