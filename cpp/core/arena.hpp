#pragma once

// The arena: where nodes are created, live and are reclaimed. See arena.cpp.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "core/forward.hpp"
#include "core/node.hpp"
#include "core/page.hpp"
#include "core/wrapper_host.hpp"

namespace mgx {

class Sweep;

struct ArenaCounters {
    std::size_t interior_nodes = 0;  // living
    std::size_t leaves = 0;          // living
    std::size_t wrapped_nodes = 0;   // of both, those that have a wrapper
    std::size_t pages = 0;           // that hold a living node, or are about to
    std::size_t free_pages = 0;      // kept for reuse
    std::size_t bytes = 0;           // taken by all pages and by operand lists
};

class Arena {
public:
    Arena() = default;
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;
    ~Arena() = default;

    // Every function that creates a node returns it with a count of one, which the caller owns.
    [[nodiscard]] NodeId leaf(Scalar data) {
        const NodeId id = take_leaf_slot();
        initialise(id, Op::Leaf, data, {no_node, no_node});
        return id;
    }

    [[nodiscard]] NodeId unary(Op op, NodeId x) {
        return interior(op, evaluate(op, node(x).data()), {x, no_node});
    }

    [[nodiscard]] NodeId binary(Op op, NodeId x, NodeId y) {
        return interior(op, evaluate(op, node(x).data(), node(y).data()), {x, y});
    }

    [[nodiscard]] NodeId power(NodeId x, Scalar exponent);

    // A node whose user defines what it is: any number of operands, without repetitions.
    [[nodiscard]] NodeId custom(Scalar data, std::span<const NodeId> operands);

    [[nodiscard]] Node& node(NodeId id) noexcept {
        return page(id).nodes[Page::slot_of(id)];
    }
    [[nodiscard]] Wrapper wrapper(NodeId id) noexcept {
        return page(id).wrappers[Page::slot_of(id)];
    }
    [[nodiscard]] Page& page(NodeId id) noexcept { return *pages_[Page::number_of(id)]; }

    // The operands as micrograd would show them; valid until the next node is created.
    [[nodiscard]] std::span<const NodeId> operands(NodeId id) noexcept;

    // Counting references.
    void retain(NodeId id) noexcept {
        Node& referred = node(id);
        if (++referred.count == 2 && referred.has(Flag::KeepsWrapper)) {
            host_->hold(wrapper(id));
        }
    }
    void release(NodeId id) noexcept {
        Node& released = node(id);
        --released.count;
        if (released.count == 0 || (released.count == 1 && released.has(Flag::KeepsWrapper))) {
            after_last_consumer(id);
        }
    }

    // Wrappers. A node has one at most, which owns one count of the node.
    void set_host(WrapperHost& host) noexcept { host_ = &host; }
    void set_wrapper(NodeId id, Wrapper wrapper) noexcept {
        page(id).wrappers[Page::slot_of(id)] = wrapper;
    }
    // From now on the wrapper lives as long as the node: consumers of the node hold it as well.
    void keep_wrapper(NodeId id);
    // The wrapper has come to own references to the operands' wrappers: the node gives up its own
    // to the operands, so that a garbage collector of wrappers sees all there is.
    void leave_operands_to_wrapper(NodeId id) noexcept;

    [[nodiscard]] WrapperHost& host() const noexcept { return *host_; }

    [[nodiscard]] ArenaCounters counters() const noexcept;

private:
    friend class Sweep;

    [[nodiscard]] NodeId interior(Op op, Scalar data, std::array<NodeId, 2> operands) {
        const NodeId id = take_interior_slot();
        initialise(id, op, data, operands);
        for (const NodeId operand : operands) {
            if (operand != no_node) {
                retain(operand);
            }
        }
        return id;
    }

    void initialise(NodeId id, Op op, Scalar data, std::array<NodeId, 2> operands) noexcept {
        Page& home = page(id);
        const std::uint32_t slot = Page::slot_of(id);
        home.vacant &= ~Page::bit_of(id);
        home.wrappers[slot] = nullptr;
        home.nodes[slot] = {data.value,
                            0.0,
                            operands,
                            1,
                            op,
                            static_cast<std::uint8_t>(
                                static_cast<int>(Flag::IntegerGrad) |
                                (data.is_integer ? static_cast<int>(Flag::IntegerData) : 0))};
    }

    [[nodiscard]] NodeId take_interior_slot() {
        Page* last = log_.last();
        if (last == nullptr || last->filled == Page::slots) {
            last = &open_page(false);
        }
        return last->id_of(last->filled++);
    }
    [[nodiscard]] NodeId take_leaf_slot() {
        Page* open = open_leaf_pages_.last();
        if (open == nullptr) {
            open = &open_page(true);
        }
        const auto slot = static_cast<std::uint32_t>(std::countr_zero(open->vacant));
        if (std::has_single_bit(open->vacant)) {
            open_leaf_pages_.remove(*open);
        }
        return open->id_of(slot);
    }

    Page& open_page(bool for_leaves);
    void close_page(Page& page) noexcept;

    void after_last_consumer(NodeId id) noexcept;
    void reclaim(NodeId id) noexcept;
    void give_back_slot(NodeId id) noexcept;
    void expect_drop();
    void drop_wrappers() noexcept;

    // The page table: a page's number is its index. Pages beyond use are null.
    std::vector<std::unique_ptr<Page>> pages_;
    std::vector<std::uint32_t> free_pages_;    // numbers of pages kept for reuse
    std::vector<std::uint32_t> free_numbers_;  // numbers without a page
    PageList log_;                             // interior pages, oldest first
    PageList open_leaf_pages_;                 // leaf pages with a vacant slot

    std::unordered_map<NodeId, std::vector<NodeId>> custom_operands_;

    WrapperHost* host_ = nullptr;
    std::size_t keepers_ = 0;  // living nodes that keep their wrapper
    std::vector<Wrapper> dropped_;
    bool dropping_ = false;

    Sweep* sweep_ = nullptr;  // the innermost running one
};

}  // namespace mgx
