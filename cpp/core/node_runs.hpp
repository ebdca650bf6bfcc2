#pragma once

// Nodes in some order, as runs of those that lie side by side: nodes made one after another do, and
// to walk through them needs no list of where each is.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/node.hpp"

namespace mgx {

class NodeRuns {
public:
    struct Run {
        Page* page;
        std::uint32_t first;  // slot
        std::uint32_t count;

        [[nodiscard]] Node operator[](std::uint32_t i) const noexcept { return {*page, first + i}; }
        // Their parts of a column.
        template <typename Column>
        [[nodiscard]] auto of(Column Page::* column) const noexcept {
            return std::span(page->*column).subspan(first, count);
        }
    };

    void clear() noexcept { runs_.clear(); }
    void add(Node node) {
        if (!runs_.empty() && runs_.back().page == node.page &&
            runs_.back().first + runs_.back().count == node.slot) {
            ++runs_.back().count;
        } else {
            runs_.push_back({node.page, node.slot, 1});
        }
    }

    [[nodiscard]] auto begin() const noexcept { return runs_.begin(); }
    [[nodiscard]] auto end() const noexcept { return runs_.end(); }
    [[nodiscard]] std::size_t bytes() const noexcept { return runs_.capacity() * sizeof(Run); }

private:
    std::vector<Run> runs_;
};

}  // namespace mgx
