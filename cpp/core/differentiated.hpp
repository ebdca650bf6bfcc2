#pragma once

// What belongs to nodes whose derivatives were computed together with them. See differentiated.cpp.

#include <cstdint>
#include <vector>

#include "core/node.hpp"
#include "core/node_runs.hpp"

namespace mgx {

// Their operands. It holds one count of each for all the nodes that share it.
struct OperandGroup {
    std::vector<NodeId> ids;
    NodeRuns nodes;
    std::uint32_t users = 0;  // nodes, and its maker

    [[nodiscard]] bool is_large() const noexcept { return ids.capacity() > 64; }
};

// The derivatives of one by its operands.
struct Derivatives {
    std::vector<double> numbers;
    std::size_t first = 0;  // of them, by the first operand

    [[nodiscard]] bool is_large() const noexcept { return numbers.capacity() > 4096; }
};

}  // namespace mgx
