#pragma once

// Owns one count of a node, and gives it back when it goes out of scope.

#include <utility>

#include "core/arena.hpp"

namespace mgx {

class Reference {
public:
    Reference(Arena& arena, LiveNode owned) noexcept : arena_(arena), node_(owned) {}
    Reference(const Reference&) = delete;
    Reference& operator=(const Reference&) = delete;
    ~Reference() {
        if (node_.node != nullptr) {
            arena_.release(node_);
        }
    }

    [[nodiscard]] LiveNode get() const noexcept { return node_; }

    // Hand the count to the caller.
    [[nodiscard]] LiveNode take() noexcept { return std::exchange(node_, {}); }

private:
    Arena& arena_;
    LiveNode node_;
};

}  // namespace mgx
