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

        template <typename Visitor>
        void for_each(Visitor visit) const {
            for (std::uint32_t i = 0; i < count; ++i) {
                visit(Node(*page, first + i));
            }
        }
        [[nodiscard]] static Run of_one(Node node) noexcept { return {node.page, node.slot, 1}; }
        [[nodiscard]] NodeId first_id() const noexcept { return page->id_of(first); }
        // Whether it would begin the next run.
        [[nodiscard]] bool ends_before(const Run& next) const noexcept {
            return page == next.page && first + count == next.first;
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
            return std::span(page->*column).subspan(first, count);
        }
    };

    void clear() noexcept { runs_.clear(); }
    void add(Node node) { add(Run::of_one(node)); }
    void add(const Run& run) {
        if (!runs_.empty() && runs_.back().ends_before(run)) {
            runs_.back().count += run.count;
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
