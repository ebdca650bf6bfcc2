#pragma once

// Owns one count of a node, and gives it back when it goes out of scope.

#include <utility>

#include "core/arena.hpp"

namespace mgx {

class Reference {
public:
    Reference(Arena& arena, Node owned) noexcept : arena_(arena), node_(owned) {}
    Reference(const Reference&) = delete;
    Reference& operator=(const Reference&) = delete;
    ~Reference() {
        if (node_.page != nullptr) {
            arena_.release(node_);
        }
    }

    [[nodiscard]] Node get() const noexcept { return node_; }

    // Hand the count to the caller.
    [[nodiscard]] Node take() noexcept { return std::exchange(node_, {}); }

private:
    Arena& arena_;
    Node node_;
};

}  // namespace mgx
