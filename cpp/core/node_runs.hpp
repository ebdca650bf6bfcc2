#pragma once

// Nodes in some order, as runs of those that lie side by side: nodes made one after another do, and
// to walk through them needs no list of where each is.

#include <cstddef>
#include <span>
#include <vector>

#include "core/node.hpp"

namespace mgx {

class NodeRuns {
public:
    using Run = std::span<Node>;

    void clear() noexcept { runs_.clear(); }
    void add(Node& node) { add({&node, 1}); }
    void add(Run run) {
        if (!runs_.empty() && runs_.back().data() + runs_.back().size() == run.data()) {
            runs_.back() = {runs_.back().data(), runs_.back().size() + run.size()};
        } else {
            runs_.push_back(run);
        }
    }

    [[nodiscard]] auto begin() const noexcept { return runs_.begin(); }
    [[nodiscard]] auto end() const noexcept { return runs_.end(); }
    [[nodiscard]] std::size_t bytes() const noexcept { return runs_.capacity() * sizeof(Run); }

private:
    std::vector<Run> runs_;
};

}  // namespace mgx
