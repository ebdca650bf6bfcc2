#pragma once

// A page: 64 nodes that are allocated together and returned together.
//
// It is a table with a row, or slot, for each node. What is alike of all nodes stands side by side,
// in a column, for what goes through many nodes at once needs little of each: an optimiser the
// numbers alone, of thousands of parameters.

#include <array>
#include <cstddef>
#include <cstdint>

#include "core/flags.hpp"
#include "core/op.hpp"
#include "core/wrapper_host.hpp"

namespace mgx {

// Names a node of an arena: the number of its page and its slot in the page. An id is reused once
// its node is gone.
enum class NodeId : std::uint32_t {};

inline constexpr NodeId no_node{0xFFFFFFFF};

enum class PageKind : std::uint8_t {
    Log,     // of interior nodes, in the order of their creation
    Leaves,  // in no order
    Annex    // of interior nodes that stand in the log where their owner does
};

struct alignas(64) Page {
    static constexpr std::uint32_t slots = 64;
    static constexpr std::uint32_t slot_bits = 6;
    static constexpr std::uint64_t all_slots = ~std::uint64_t{0};

    // The columns; see node.hpp.
    std::array<double, slots> data;
    std::array<double, slots> grads;
    std::array<std::array<NodeId, 2>, slots> operands;
    std::array<std::uint32_t, slots> counts;
    std::array<Op, slots> ops;
    std::array<Flags, slots> flags;
    std::array<GradFlags, slots> grad_flags;
    std::array<Wrapper, slots> wrappers;  // null in vacant slots

    bool takes_marks;  // a backward sweep may mark nodes here without further ado
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

    [[nodiscard]] static constexpr std::uint32_t number_of(NodeId id) noexcept {
        return static_cast<std::uint32_t>(id) >> slot_bits;
    }
    [[nodiscard]] static constexpr std::uint32_t slot_of(NodeId id) noexcept {
        return static_cast<std::uint32_t>(id) & (slots - 1);
    }
    [[nodiscard]] static constexpr std::uint64_t bit_of(NodeId id) noexcept {
        return std::uint64_t{1} << slot_of(id);
    }
    [[nodiscard]] constexpr NodeId id_of(std::uint32_t slot) const noexcept {
        return NodeId{number << slot_bits | slot};
    }
};

static_assert(sizeof(Page) == std::size_t{40} * Page::slots,
              "a node takes 31 bytes, a wrapper 8, and the page itself the last one");

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
