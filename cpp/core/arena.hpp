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

#include "core/affine.hpp"
#include "core/differentiated.hpp"
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
    [[nodiscard]] Node leaf(Scalar data) {
        Page* open = open_leaf_pages_.last();
        if (open == nullptr) {
            open = &open_page(PageKind::Leaves);
        }
        const auto slot = static_cast<std::uint32_t>(std::countr_zero(open->vacant));
        const std::uint64_t rest = open->vacant & (open->vacant - 1);
        if (rest == 0) {
            open_leaf_pages_.remove(*open);
        }
        return fill(*open, slot, Op::Leaf, data, {no_node, no_node});
    }

    template <Op op>
    [[nodiscard]] Node unary(Node x) {
        const Node result = interior(op, evaluate<op>(x.data()), {x.id, no_node});
        retain(x);
        return result;
    }

    template <Op op>
    [[nodiscard]] Node binary(Node x, Node y) {
        const Node result = interior(op, evaluate<op>(x.data(), y.data()), {x.id, y.id});
        retain(x);
        retain(y);
        return result;
    }

    [[nodiscard]] Node power(Node x, Scalar exponent);

    // -x, x - y and x / y; see fusion.cpp.
    [[nodiscard]] Node negative(Node x);
    [[nodiscard]] Node difference(Node x, Node y);
    [[nodiscard]] Node quotient(Node x, Node y);
    // Whether what can be fused is one node: these here are, and the callers of `apply` ask. Tests
    // turn it off to compare.
    void set_fusing(bool on) noexcept { is_fusing_ = on; }
    [[nodiscard]] bool is_fusing() const noexcept { return is_fusing_; }

    // A node whose user defines what it is: any number of operands, without repetitions.
    [[nodiscard]] Node custom(Scalar data, std::span<const NodeId> operands);

    // Results that come with their derivatives; see differentiated.cpp. The operands of several are
    // a group, without repetitions, which its maker gives up with release_group.
    [[nodiscard]] std::uint32_t make_group(std::vector<NodeId> operands);
    void release_group(std::uint32_t number) noexcept;
    [[nodiscard]] std::span<const NodeId> group(std::uint32_t number) noexcept {
        return groups_[number].ids;
    }
    [[nodiscard]] const NodeRuns& nodes_of_group(std::uint32_t number) noexcept {
        return groups_[number].nodes;
    }
    // The derivatives by the group's operands are `numbers` from the one numbered `first` on; they
    // are exchanged for memory that can be used for the next.
    [[nodiscard]] Node differentiated(double data, std::uint32_t group,
                                      std::vector<double>& numbers, std::size_t first);
    struct KnownDerivatives {
        const NodeRuns& operands;
        const double* derivatives;
    };
    [[nodiscard]] KnownDerivatives known_derivatives(Node node) noexcept {
        const Derivatives& by = derivatives_[static_cast<std::uint32_t>(node.operands()[1])];
        return {nodes_of_group(group_of(node)), by.numbers.data() + by.first};
    }

    // Layers; see affine.cpp. A map is made of its weights, row after row, and then its biases, and
    // given up by its maker with release_map. The weights are floats. If the map is watched, all
    // are leaves without callbacks, and is_current() tells whether it is still what a new one made
    // of the same wrappers would be. `scale` is that of a mean.
    [[nodiscard]] std::uint32_t make_map(std::span<const Node> nodes,
                                         std::span<const Op> activations, bool watched,
                                         double scale = 1.0);
    void release_map(std::uint32_t number) noexcept;
    [[nodiscard]] bool is_current(std::uint32_t map) noexcept {
        return maps_[map].version == weights_version_;
    }
    // Something has happened to the node, or to some that have these flags, that could matter to a
    // watched map.
    void changed(Node node) noexcept { changed(node.flags()); }
    void changed(Flags flags) noexcept {
        if (has(flags, Flags::IsWeight)) {
            ++weights_version_;
            let_go_of_idle_rows();
        }
    }

    // Apply the map, which is current, to as many inputs as it has columns. The results are new
    // nodes, one for each row; they take over the caller's counts of the inputs.
    void apply_taking(std::uint32_t map, std::span<const Input> inputs, std::vector<Node>& results);
    // As `apply_taking`, but with counts of its own.
    void apply(std::uint32_t map, std::span<const Input> inputs, std::vector<Node>& results) {
        apply_taking(map, inputs, results);
        for (const Input& input : inputs) {
            if (!input.is_number()) {
                retain(input.node);
            }
        }
    }
    // What a Dot stands for.
    [[nodiscard]] FusedParts fused_parts(Node dot) noexcept;
    // Make the nodes that a fused one hides; other nodes are left as they are.
    void show_hidden_nodes(NodeId id) {
        const Op op = node(id).op();
        if (op == Op::Dot) {
            expand_dot(id);
        } else if (is_pair(op)) {
            expand_pair(node(id));
        }
    }

    [[nodiscard]] Node node(NodeId id) noexcept { return {page(id), id}; }
    [[nodiscard]] Page& page(NodeId id) noexcept { return *pages_[Page::number_of(id)]; }

    // The operands as micrograd would show them. Nodes that were hidden until now come to be.
    [[nodiscard]] std::span<const NodeId> operands(NodeId id);

    // All living nodes that were computed from any of these, in topological order. Nodes that were
    // hidden between them come to be.
    [[nodiscard]] std::vector<NodeId> dependents(std::span<const NodeId> sources);

    // What `_op` shows: that of the operation, or of the last of those that are fused here.
    [[nodiscard]] std::string_view label(NodeId id) noexcept;

    // Visit the living interior nodes on pages opened after this position, the newest first, so
    // that each comes after all that were computed from it.
    template <typename Visitor>
    void visit_backwards(std::uint64_t position, Visitor visit) {
        const auto visit_page = [&](Page& page, auto visit_node) {
            for (std::uint32_t slot = page.filled; slot-- > 0;) {
                if ((page.vacant >> slot & 1) == 0) {
                    visit_node(Node(page, slot));
                }
            }
        };
        for (Page* page = log_.last(); page != nullptr && page->position > position;
             page = page->previous) {
            visit_page(*page, [&](Node owner) {
                if (!owner.has(Flags::IsDead)) {
                    visit(owner);
                }
                if (owner.has(Flags::HasAnnex)) {
                    const PageList& annex = annexes_.find(owner.id)->second;
                    for (Page* hidden = annex.last(); hidden != nullptr;
                         hidden = hidden->previous) {
                        visit_page(*hidden, visit);
                    }
                }
            });
        }
    }

    // Where in the log the node's page stands, or for a hidden node, that of the node that hid it.
    [[nodiscard]] std::uint64_t position(Node node) noexcept {
        const Page& its = *node.page;
        return its.kind == PageKind::Annex ? page(its.owner).position : its.position;
    }

    // Counting references.
    void retain(Node referred) noexcept {
        if (++referred.count() == 2 && referred.has(Flags::KeepsWrapper)) {
            hold_wrapper(referred);
        }
    }
    void retain(const NodeRuns::Run& run) noexcept;
    void release(Node released) noexcept {
        if (--released.count() == 0) {
            reclaim(released);
        } else if (released.count() == 1 && released.has(Flags::KeepsWrapper)) {
            put_off_drop(released);
        } else {
            return;
        }
        if (!dropped_.empty()) [[unlikely]] {
            drop_wrappers();
        }
    }

    // From now on new nodes are not put beside old ones: the position that all pages of old nodes
    // have at most and all pages of new ones exceed. New leaves may still replace old ones.
    [[nodiscard]] std::uint64_t start_fresh_pages();

    // Wrappers. A node has one at most, which owns one count of the node.
    void set_host(WrapperHost& host) noexcept { host_ = &host; }
    // The user has assigned the step of the backward sweep to the node's wrapper, or taken it away.
    void set_callback(NodeId id, bool has_one);
    // From now on the wrapper lives as long as the node: consumers of the node hold it as well.
    void keep_wrapper(NodeId id);
    // Whether anything but the wrapper refers to the node, for one who is about to change what
    // becomes of the wrapper. Idle rows of maps are nothing: they let go.
    [[nodiscard]] bool is_referred_to(Node wrapped) noexcept {
        changed(wrapped);
        return wrapped.count() > 1;
    }
    // The wrapper is about to be gone: the node is as if it had never had one.
    void forget_wrapper(Node node) noexcept;
    // The wrapper has come to own references to the operands' wrappers: the node gives up its own
    // to the operands, so that a garbage collector of wrappers sees all there is.
    void leave_operands_to_wrapper(NodeId id);

    [[nodiscard]] WrapperHost& host() const noexcept { return *host_; }

    [[nodiscard]] ArenaCounters counters() const noexcept;

private:
    friend class Sweep;

    // A node that takes over a count of each of its operands.
    [[nodiscard]] Node interior(Op op, Scalar data, std::array<NodeId, 2> operands) {
        Page* last = log_.last();
        if (last == nullptr || last->filled == Page::slots) {
            last = &open_page(PageKind::Log);
        }
        return fill(*last, last->filled++, op, data, operands);
    }

    // A node of one operand or two, and what it hides.
    [[nodiscard]] Node fused_pair(Op op, Scalar data, Scalar hidden_data, Node x, Node y = {});

    Node fill(Page& page, std::uint32_t slot, Op op, Scalar data,
              std::array<NodeId, 2> operands) noexcept {
        page.vacant &= ~(std::uint64_t{1} << slot);
        page.data[slot] = data.value;
        page.grads[slot] = 0.0;
        page.operands[slot] = operands;
        page.counts[slot] = 1;
        page.ops[slot] = op;
        page.flags[slot] = data.is_integer ? Flags::IntegerData : Flags::None;
        page.grad_flags[slot] = GradFlags::IsInteger;
        return {page, slot};
    }

    Page& open_page(PageKind kind);
    void close_page(Page& page) noexcept;

    // The dead whose operands are still to be released, chained through their counts.
    class Waiting;
    void reclaim(Node dead) noexcept;
    void reclaim(Waiting& waiting) noexcept;
    void reclaim(Node dead, Waiting& waiting) noexcept;
    void release_operands_elsewhere(Node dead, Waiting& waiting) noexcept;
    void release_operand(Node operand, Waiting& waiting) noexcept;
    void release_operands(const NodeRuns::Run& run, Waiting& waiting) noexcept;
    void leave_group(std::uint32_t number, Waiting& waiting) noexcept;
    [[nodiscard]] static std::uint32_t group_of(Node node) noexcept {
        return static_cast<std::uint32_t>(node.operands()[0]);
    }
    void vacate(Node dead) noexcept {
        Page& page = *dead.page;
        const bool was_full = page.vacant == 0;
        page.vacant |= Page::bit_of(dead.id);
        if (page.vacant == Page::all_slots && &page == log_.last()) {
            page.filled = 0;  // as after each operation of a loop that keeps none of its results
        } else if (was_full || page.vacant == Page::all_slots) {
            fullness_changed(page, was_full);
        }
    }
    void fullness_changed(Page& page, bool was_full) noexcept;
    [[nodiscard]] Application& application(Node dot) noexcept {
        return applications_[static_cast<std::uint32_t>(dot.operands()[0])];
    }
    [[nodiscard]] static std::size_t row_of(Node dot) noexcept {
        return static_cast<std::size_t>(dot.operands()[1]);
    }
    // Visit the weights and the bias of a row.
    template <typename Visitor>
    static void for_each_parameter(const AffineMap& map, std::size_t row, Visitor visit) {
        for (const NodeRuns::Run& run : map.runs_of(row)) {
            run.for_each(visit);
        }
    }
    // Whether any operand of the nodes that a fused one stands for satisfies the predicate.
    template <typename Predicate>
    [[nodiscard]] bool hides_any(Node fused, Predicate predicate) noexcept {
        if (is_pair(fused.op())) {
            return std::ranges::any_of(fused.operands(), predicate);
        }
        const Application& parts = application(fused);
        bool found = false;
        const auto look = [&](Node operand) { found |= predicate(operand.id); };
        for_each_parameter(maps_[parts.map], row_of(fused), look);
        for (const Input& input : parts.inputs) {
            look(input.node);
        }
        return found;
    }
    // The row's Dot is dead or has been expanded; an application is over with its last.
    void leave_application(std::uint32_t number, std::size_t row, Waiting& waiting) noexcept;
    void leave_application(std::uint32_t number, std::size_t row) noexcept;
    void let_go_of_row(AffineMap& map, std::size_t row, Waiting& waiting) noexcept;
    void let_go_of_idle_rows() noexcept {
        if (!idle_maps_.empty()) {
            let_go_of_listed_rows();
        }
    }
    void let_go_of_listed_rows() noexcept;
    void end_application(std::uint32_t number, Waiting& waiting) noexcept;
    void expand_dot(NodeId id);
    void expand_pair(Node owner);
    // Pages for so many hidden nodes; the first of them.
    [[nodiscard]] Page& make_annex(NodeId id, std::size_t nodes);
    // What micrograd makes of the numbers among a Dot's inputs: leaves, each in one product alone;
    // the last is a mean's.
    [[nodiscard]] std::vector<NodeId> leaves_of_numbers(const Application& dot, std::size_t row);
    void annex_page_emptied(Page& page) noexcept;
    // The host's references to wrappers that are kept.
    void hold_wrapper(Node kept) noexcept;
    void put_off_drop(Node kept) noexcept;
    void drop_wrappers() noexcept;
    // Whether a running backward sweep has still to run the leaf's callback.
    [[nodiscard]] bool is_awaited(NodeId leaf) const noexcept;

    // The page table: a page's number is its index. Pages beyond use are null.
    std::vector<std::unique_ptr<Page>> pages_;
    std::vector<std::uint32_t> free_pages_;    // numbers of pages kept for reuse
    std::vector<std::uint32_t> free_numbers_;  // numbers without a page
    std::uint64_t pages_opened_ = 0;           // so far
    PageList log_;                             // interior pages, oldest first
    PageList open_leaf_pages_;                 // leaf pages with a vacant slot

    std::unordered_map<NodeId, std::vector<NodeId>> custom_operands_;
    Slab<OperandGroup> groups_;
    Slab<Derivatives> derivatives_;
    std::unordered_map<NodeId, PageList> annexes_;
    Slab<AffineMap> maps_;
    Slab<Application> applications_;
    std::vector<std::uint32_t> idle_maps_;  // that may hold rows without Dots
    std::uint64_t weights_version_ = 1;
    std::vector<double> numbers_;  // buffers of apply_taking: the inputs'
    std::vector<double> sums_;     // and the rows'

    bool is_fusing_ = true;

    WrapperHost* host_ = nullptr;
    std::size_t keepers_ = 0;  // living nodes that keep their wrapper
    std::vector<Wrapper> dropped_;
    bool dropping_ = false;

    Sweep* sweep_ = nullptr;  // whose marks are in the nodes
};

}  // namespace mgx
