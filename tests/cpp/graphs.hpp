#pragma once

// Comparing graphs.

#include <doctest/doctest.h>

#include <cstddef>
#include <set>
#include <utility>
#include <vector>

#include "core/arena.hpp"
#include "number.hpp"

namespace mgx {

inline void check_same(Scalar one, Scalar other) {
    REQUIRE(one.value == other.value);
    REQUIRE(one.is_integer == other.is_integer);
}

// Both look alike, and so does all that they depend on.
inline void check_same(const Number& one, const Number& other) {
    std::vector<std::pair<NodeId, NodeId>> waiting{{one.id(), other.id()}};
    std::set<std::pair<NodeId, NodeId>> seen;
    while (!waiting.empty()) {
        const auto [left, right] = waiting.back();
        waiting.pop_back();
        if (!seen.emplace(left, right).second) {
            continue;
        }
        REQUIRE(one.arena().label(left) == other.arena().label(right));
        check_same(one.arena().node(left).data(), other.arena().node(right).data());
        check_same(one.arena().node(left).grad(), other.arena().node(right).grad());
        const auto operands = one.arena().operands(left);
        const auto others = other.arena().operands(right);
        REQUIRE(operands.size() == others.size());
        for (std::size_t i = 0; i < operands.size(); ++i) {
            waiting.emplace_back(operands[i], others[i]);
        }
    }
}

}  // namespace mgx
