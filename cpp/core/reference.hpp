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
    ~Reference() {
        if (id_ != no_node) {
            arena_.release(id_);
        }
    }

    [[nodiscard]] NodeId id() const noexcept { return id_; }

    // Hand the count to the caller.
    [[nodiscard]] NodeId take() noexcept { return std::exchange(id_, no_node); }

    // Own a count of another node; somebody else has taken over that of the previous one.
    void replace(NodeId owned) noexcept { id_ = owned; }

private:
    Arena& arena_;
    NodeId id_;
};

}  // namespace mgx
