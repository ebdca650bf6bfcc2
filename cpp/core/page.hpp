#pragma once

// A page: 64 nodes that are allocated together and returned together.

#include <array>
#include <cstdint>
#include <type_traits>

#include "core/node.hpp"
#include "core/wrapper_host.hpp"

namespace mgx {

enum class PageKind : std::uint8_t {
    Log,     // of interior nodes, in the order of their creation
    Leaves,  // in no order
    Annex    // of interior nodes that stand in the log where their owner does
};

struct Page {
    static constexpr std::uint32_t slots = 64;
    static constexpr std::uint32_t slot_bits = 6;
    static constexpr std::uint64_t all_slots = ~std::uint64_t{0};

    std::array<Node, slots> nodes;  // first: `of` finds the page where they begin
    bool takes_marks;               // a backward sweep may mark nodes here without further ado
    PageKind kind;
    NodeId owner;            // of an annex
    std::uint64_t position;  // in the log: grows from page to page
    std::uint64_t vacant;    // slots that hold no living node; some tell what the next one hides
    std::uint32_t number;    // place in the page table
    std::uint32_t filled;    // slots handed out since the page was last empty (not of leaves)
    // Neighbours in the list that the page is in: the log, the leaf pages with a vacant slot, or an
    // annex.
    Page* previous;
    Page* next;
    std::array<Wrapper, slots> wrappers;  // null where there is none, and in vacant slots

    [[nodiscard]] static constexpr std::uint32_t number_of(NodeId id) noexcept {
        return static_cast<std::uint32_t>(id) >> slot_bits;
    }
    [[nodiscard]] static constexpr std::uint32_t slot_of(NodeId id) noexcept {
        return static_cast<std::uint32_t>(id) & (slots - 1);
    }
    [[nodiscard]] static constexpr std::uint64_t bit_of(NodeId id) noexcept {
        return std::uint64_t{1} << slot_of(id);
    }
    [[nodiscard]] constexpr LiveNode live(std::uint32_t slot) noexcept {
        return {&nodes[slot], NodeId{number << slot_bits | slot}};
    }
    // The page that the node lies in.
    [[nodiscard]] static Page& of(LiveNode live) noexcept {
        return *reinterpret_cast<Page*>(live.node - slot_of(live.id));
    }
    [[nodiscard]] static Wrapper& wrapper_of(LiveNode live) noexcept {
        return of(live).wrappers[slot_of(live.id)];
    }
};

static_assert(std::is_standard_layout_v<Page>, "so that a page begins where its nodes do");

// A doubly linked list of pages, in which the pages themselves are the links.
class PageList {
public:
    [[nodiscard]] Page* first() const noexcept { return first_; }
    [[nodiscard]] Page* last() const noexcept { return last_; }

    void append(Page& page) noexcept {
        page.previous = last_;
        page.next = nullptr;
        (last_ != nullptr ? last_->next : first_) = &page;
        last_ = &page;
    }

    void remove(Page& page) noexcept {
        (page.previous != nullptr ? page.previous->next : first_) = page.next;
        (page.next != nullptr ? page.next->previous : last_) = page.previous;
    }

private:
    Page* first_ = nullptr;
    Page* last_ = nullptr;
};

}  // namespace mgx
