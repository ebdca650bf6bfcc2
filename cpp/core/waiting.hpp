#pragma once

// The nodes that wait to be reclaimed; see arena.cpp.

#include "core/arena.hpp"

namespace mgx {

class Arena::Waiting {
public:
    void push(LiveNode dead) noexcept {
        dead.node->count = static_cast<std::uint32_t>(first_);
        first_ = dead.id;
    }
    [[nodiscard]] bool empty() const noexcept { return first_ == no_node; }
    [[nodiscard]] LiveNode pop(Arena& arena) noexcept {
        const LiveNode first = arena.live(first_);
        first_ = NodeId{first.node->count};
        return first;
    }

private:
    NodeId first_ = no_node;
};

inline void Arena::release_operand(LiveNode operand, Waiting& waiting) noexcept {
    if (--operand.node->count == 0) {
        waiting.push(operand);
    } else if (operand.node->count == 1 && operand.node->has(Flags::KeepsWrapper)) {
        put_off_drop(operand);
    }
}

}  // namespace mgx
