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

enum class Flag : std::uint8_t {
    IntegerData = 1,       // Python would hold an int in `data`
    IntegerGrad = 2,       // and in `grad`
    HasCallback = 4,       // the user has assigned the step of the backward sweep
    KeepsWrapper = 8,      // the wrapper must live as long as the node
    OperandsByWrapper = 16  // the wrapper, not the node, keeps the operands alive
};

struct Node {
    double data_value;
    double grad_value;
    std::array<NodeId, 2> operands;
    std::uint32_t count;  // references by living consumers, plus one for a living wrapper
    Op op;
    std::uint8_t flags;

    [[nodiscard]] bool has(Flag flag) const noexcept {
        return (flags & static_cast<std::uint8_t>(flag)) != 0;
    }
    void set(Flag flag, bool on) noexcept {
        const auto bit = static_cast<std::uint8_t>(flag);
        flags = static_cast<std::uint8_t>(on ? flags | bit : flags & ~bit);
    }

    [[nodiscard]] Scalar data() const noexcept { return {data_value, has(Flag::IntegerData)}; }
    void set_data(Scalar data) noexcept {
        data_value = data.value;
        set(Flag::IntegerData, data.is_integer);
    }

    [[nodiscard]] Scalar grad() const noexcept { return {grad_value, has(Flag::IntegerGrad)}; }
    void set_grad(Scalar grad) noexcept {
        grad_value = grad.value;
        set(Flag::IntegerGrad, grad.is_integer);
    }
};

static_assert(sizeof(Node) == 32, "a node is half a cache line");

}  // namespace mgx
