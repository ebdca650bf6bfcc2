#pragma once

// The arena: where nodes are created, live and are reclaimed. See arena.cpp.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "core/dot.hpp"
#include "core/forward.hpp"
#include "core/node.hpp"
#include "core/page.hpp"
#include "core/slab.hpp"
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
        Page* open = open_leaf_pages_.last();
        if (open == nullptr) {
            open = &open_page(PageKind::Leaves);
        }
        const auto slot = static_cast<std::uint32_t>(std::countr_zero(open->vacant));
        if (std::has_single_bit(open->vacant)) {
            open_leaf_pages_.remove(*open);
        }
        return fill(*open, slot, Op::Leaf, data, {no_node, no_node});
    }

    template <Op op>
    [[nodiscard]] NodeId unary(NodeId x) {
        const NodeId result = interior(op, evaluate<op>(node(x).data()), {x, no_node});
        retain(x);
        return result;
    }

    template <Op op>
    [[nodiscard]] NodeId binary(NodeId x, NodeId y) {
        const NodeId result = binary_taking<op>(x, y);
        retain(x);
        retain(y);
        return result;
    }

    // As `binary`, but the new node takes over the caller's counts of the operands.
    template <Op op>
    [[nodiscard]] NodeId binary_taking(NodeId x, NodeId y) {
        return interior(op, evaluate<op>(node(x).data(), node(y).data()), {x, y});
    }

    [[nodiscard]] NodeId power(NodeId x, Scalar exponent);

    // A node whose user defines what it is: any number of operands, without repetitions.
    [[nodiscard]] NodeId custom(Scalar data, std::span<const NodeId> operands);

    // Weighted sums, fused; see fusion.cpp. The list of inputs is made once for all that share it;
    // the maker gives it up by releasing it. The weights are floats, and as many as the inputs.
    [[nodiscard]] std::uint32_t make_input_list(std::span<const LiveNode> inputs);
    void release_input_list(std::uint32_t number) noexcept;
    [[nodiscard]] std::size_t input_count(std::uint32_t list) noexcept {
        return input_lists_[list].inputs.size();
    }
    //
    // `activation` is a unary operation or Dot::no_activation. `next_weight()` gives the weights
    // one after another, or a null node to give up, on which the result is no_node.
    template <typename NextWeight>
    [[nodiscard]] NodeId dot(NodeId bias, std::uint32_t input_list, Op activation,
                             NextWeight next_weight) {
        const std::vector<LiveNode>& inputs = input_lists_[input_list].inputs;
        const std::size_t terms = inputs.size();
        const std::uint32_t number = begin_dot(terms);
        NodeId* const weights = dots_[number].weights.data();
        double* const products = dots_[number].products.data();
        double sum = node(bias).data_value;
        for (std::size_t i = 0; i < terms; ++i) {
            const LiveNode weight = next_weight();
            if (weight.node == nullptr) {
                abandon_dot(number, i);
                return no_node;
            }
            const double product = weight.node->data_value * inputs[i].node->data_value;
            weights[i] = weight.id;
            products[i] = product;
            sum += product;
            retain(weight);
        }
        try {
            return finish_dot(number, bias, input_list, activation, sum);
        } catch (...) {
            abandon_dot(number, terms);
            throw;
        }
    }
    // Make the nodes that a Dot hides; other nodes are left as they are.
    void show_hidden_nodes(NodeId id) {
        if (node(id).op == Op::Dot) {
            expand(id);
        }
    }

    [[nodiscard]] Node& node(NodeId id) noexcept { return page(id).nodes[Page::slot_of(id)]; }
    [[nodiscard]] Wrapper wrapper(NodeId id) noexcept {
        return page(id).wrappers[Page::slot_of(id)];
    }
    [[nodiscard]] Page& page(NodeId id) noexcept { return *pages_[Page::number_of(id)]; }

    // The operands as micrograd would show them. Nodes that were hidden until now come to be.
    [[nodiscard]] std::span<const NodeId> operands(NodeId id);

    // All living nodes that were computed from the node, in topological order. Nodes that were
    // hidden between them come to be.
    [[nodiscard]] std::vector<NodeId> dependents(NodeId id);

    // What `_op` shows: that of the operation, or of the last of those that are fused here.
    [[nodiscard]] std::string_view label(NodeId id) noexcept;

    // Counting references.
    void retain(NodeId id) noexcept { retain(LiveNode{&node(id), id}); }
    void retain(LiveNode referred) noexcept {
        if (++referred.node->count == 2 && referred.node->has(Flags::KeepsWrapper)) {
            host_->hold(wrapper(referred.id));
        }
    }
    void release(NodeId id) noexcept {
        Node& released = node(id);
        if (--released.count == 0) {
            reclaim(id);
        } else if (released.count == 1 && released.has(Flags::KeepsWrapper)) {
            dropped_.push_back(wrapper(id));
        } else {
            return;
        }
        if (!dropped_.empty()) {
            drop_wrappers();
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
    void leave_operands_to_wrapper(NodeId id);

    [[nodiscard]] WrapperHost& host() const noexcept { return *host_; }

    [[nodiscard]] ArenaCounters counters() const noexcept;

private:
    friend class Sweep;

    // A node that takes over a count of each of its operands.
    [[nodiscard]] NodeId interior(Op op, Scalar data, std::array<NodeId, 2> operands) {
        Page* last = log_.last();
        if (last == nullptr || last->filled == Page::slots) {
            last = &open_page(PageKind::Log);
        }
        return fill(*last, last->filled++, op, data, operands);
    }

    NodeId fill(Page& page, std::uint32_t slot, Op op, Scalar data,
                std::array<NodeId, 2> operands) noexcept {
        page.vacant &= ~(std::uint64_t{1} << slot);
        Node& node = page.nodes[slot];
        node.data_value = data.value;
        node.grad_value = 0.0;
        node.operands = operands;
        node.count = 1;
        node.op = op;
        node.flags = data.is_integer ? Flags::IntegerGrad | Flags::IntegerData : Flags::IntegerGrad;
        return page.id_of(slot);
    }

    Page& open_page(PageKind kind);
    void close_page(Page& page) noexcept;

    // The dead whose operands are still to be released, chained through their counts.
    class Waiting;
    void reclaim(NodeId id) noexcept;
    void release_operands_elsewhere(NodeId id, Waiting& waiting) noexcept;
    void release_operand(LiveNode operand, Waiting& waiting) noexcept;
    void vacate(Page& page, std::uint64_t bit) noexcept;
    void fullness_changed(Page& page, bool was_full) noexcept;
    [[nodiscard]] std::uint32_t begin_dot(std::size_t terms);
    void abandon_dot(std::uint32_t number, std::size_t terms) noexcept;
    [[nodiscard]] NodeId finish_dot(std::uint32_t number, NodeId bias, std::uint32_t input_list,
                                    Op activation, double sum);
    // Whether any operand of the nodes that a Dot stands for satisfies the predicate.
    template <typename Predicate>
    [[nodiscard]] bool hides_any(NodeId dot, Predicate predicate) noexcept {
        const Node& fused = node(dot);
        const Dot& parts = dots_[static_cast<std::uint32_t>(fused.operands[0])];
        return predicate(fused.operands[1]) || std::ranges::any_of(parts.weights, predicate) ||
               std::ranges::any_of(input_lists_[parts.input_list].inputs, predicate, &LiveNode::id);
    }
    void expand(NodeId id);
    void annex_page_emptied(Page& page) noexcept;
    void drop_wrappers() noexcept;

    // The page table: a page's number is its index. Pages beyond use are null.
    std::vector<std::unique_ptr<Page>> pages_;
    std::vector<std::uint32_t> free_pages_;    // numbers of pages kept for reuse
    std::vector<std::uint32_t> free_numbers_;  // numbers without a page
    PageList log_;                             // interior pages, oldest first
    PageList open_leaf_pages_;                 // leaf pages with a vacant slot

    std::unordered_map<NodeId, std::vector<NodeId>> custom_operands_;
    std::unordered_map<NodeId, PageList> annexes_;
    Slab<Dot> dots_;
    Slab<InputList> input_lists_;

    WrapperHost* host_ = nullptr;
    std::size_t keepers_ = 0;  // living nodes that keep their wrapper
    std::vector<Wrapper> dropped_;
    bool dropping_ = false;

    Sweep* sweep_ = nullptr;    // whose marks are in the pages
    std::uint64_t sweeps_ = 0;  // begun so far
};

}  // namespace mgx
