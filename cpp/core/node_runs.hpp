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
        NodeId first;
        std::uint32_t count;

        template <typename Visitor>
        void for_each(Visitor visit) const {
            for (std::uint32_t i = 0; i < count; ++i) {
                visit(Node(*page, (*this)[i]));
            }
        }
        [[nodiscard]] static Run of_one(Node node) noexcept { return {node.page, node.id, 1}; }
        [[nodiscard]] NodeId operator[](std::uint32_t i) const noexcept {
            return NodeId{static_cast<std::uint32_t>(first) + i};
        }
        // Whether it would begin the next run.
        [[nodiscard]] bool ends_before(const Run& next) const noexcept {
            return page == next.page && (*this)[count] == next.first;
        }
        // Whether any of the flags is set in any of them.
        template <FlagSet Set, typename Column>
        [[nodiscard]] bool any_has(Set any, Column Page::* column) const noexcept {
            Set all{};
            for (const Set flags : of(column)) {
                all = all | flags;
            }
            return has(all, any);
        }
        // Their parts of a column.
        template <typename Column>
        [[nodiscard]] auto of(Column Page::* column) const noexcept {
            return std::span(page->*column).subspan(Page::slot_of(first), count);
        }
    };

    void clear() noexcept { runs_.clear(); }
    void add(Node node) { add(Run::of_one(node)); }
    void add(const Run& run) { add(runs_, 0, run); }
    // To the runs from the one numbered `first` on.
    static void add(std::vector<Run>& runs, std::size_t first, const Run& run) {
        if (runs.size() > first && runs.back().ends_before(run)) {
            runs.back().count += run.count;
        } else {
            runs.push_back(run);
        }
    }

    [[nodiscard]] auto begin() const noexcept { return runs_.begin(); }
    [[nodiscard]] auto end() const noexcept { return runs_.end(); }
    [[nodiscard]] std::size_t bytes() const noexcept { return runs_.capacity() * sizeof(Run); }

private:
    std::vector<Run> runs_;
};

}  // namespace mgx
