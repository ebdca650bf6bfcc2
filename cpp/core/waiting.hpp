#pragma once

// The nodes that wait to be reclaimed; see arena.cpp.

#include "core/arena.hpp"

namespace mgx {

class Arena::Waiting {
public:
    void push(Node dead) noexcept {
        dead.count() = static_cast<std::uint32_t>(first_);
        first_ = dead.id;
    }
    [[nodiscard]] bool empty() const noexcept { return first_ == no_node; }
    [[nodiscard]] Node pop(Arena& arena) noexcept {
        const Node first = arena.node(first_);
        first_ = NodeId{first.count()};
        return first;
    }

private:
    NodeId first_ = no_node;
};

inline void Arena::release_operand(Node operand, Waiting& waiting) noexcept {
    if (--operand.count() == 0) {
        waiting.push(operand);
    } else if (operand.count() == 1 && operand.has(Flags::KeepsWrapper)) {
        put_off_drop(operand);
    }
}

}  // namespace mgx
