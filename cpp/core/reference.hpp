#pragma once

// Owns one count of a node, and gives it back when it goes out of scope.

#include <utility>

#include "core/arena.hpp"

namespace mgx {

class Reference {
public:
    Reference(Arena& arena, NodeId owned) noexcept : arena_(arena), id_(owned) {}
    Reference(const Reference&) = delete;
    Reference& operator=(const Reference&) = delete;
    ~Reference() { reset(no_node); }

    [[nodiscard]] NodeId id() const noexcept { return id_; }

    // Hand the count to the caller.
    [[nodiscard]] NodeId take() noexcept { return std::exchange(id_, no_node); }

    // Own a count of another node instead.
    void reset(NodeId owned) noexcept {
        const NodeId previous = std::exchange(id_, owned);
        if (previous != no_node) {
            arena_.release(previous);
        }
    }

private:
    Arena& arena_;
    NodeId id_;
};

}  // namespace mgx
