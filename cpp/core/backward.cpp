// The backward sweep.
//
// The log of the arena is in topological order, so one walk through it from the root to older
// nodes visits every node after all of its consumers. A node is visited if a visited consumer has
// marked it; marks are one bit a node, kept in the pages, and the walk ends when none is left.
// Leaves pass nothing on, so they are neither marked nor visited, except those to which the user has
// given a callback; their callbacks run last.
//
// Operands' data are read now, not at the time of the forward pass, so changing `data` in between
// has the effect that it has with micrograd's closures.
//
// A callback is arbitrary code. It may create nodes (they are newer than the root, or vacant slots'
// successors, and unmarked), drop nodes (those still marked are kept alive by the root, which the
// sweep holds), throw (the marks are taken away), or start another sweep (which sets this one's marks
// aside and puts them back).

#include "core/backward.hpp"

#include <bit>
#include <cmath>
#include <utility>
#include <vector>

namespace mgx {

namespace {

void pass_to(Node& operand, Scalar derivative, Scalar grad) noexcept {
    operand.set_grad(operand.grad() + derivative * grad);
}

// The `derivative` columns of ops.def. `reach` finds the node of an operand. That the gradient is no
// int, as in most of most graphs, is known at compile time, so that no time is spent on what ints need.
template <bool integer_grad, typename Reach>
inline void propagate(const Node& node, Reach reach) {
    const Scalar grad = {node.grad_value, integer_grad};
    switch (node.op) {
#define MGX_UNARY(Name, method, label, value_, derivative, domain, integer_value,           \
                  integer_derivative, ...)                                                  \
    case Op::Name: {                                                                        \
        Node& operand = reach(node.operands[0]);                                      \
        [[maybe_unused]] const double x = operand.data_value;                               \
        [[maybe_unused]] const double y = node.data_value;                                  \
        pass_to(operand, {derivative, integer_derivative}, grad);                           \
        break;                                                                              \
    }
#define MGX_BINARY(Name, method, label, value_, left_derivative, right_derivative, ...) \
    case Op::Name: {                                                                    \
        Node& left = reach(node.operands[0]);                                   \
        Node& right = reach(node.operands[1]);                                     \
        [[maybe_unused]] const Scalar x = left.data();                                  \
        [[maybe_unused]] const Scalar y = right.data();                                 \
        pass_to(left, left_derivative, grad);                                           \
        pass_to(right, right_derivative, grad);                                         \
        break;                                                                          \
    }
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY
        case Op::PowConstant: {
            Node& base = reach(node.operands[0]);
            const Scalar exponent = reach(node.operands[1]).data();
            pass_to(base, pow_derivative_by_base(base.data(), exponent), grad);
            break;
        }
        case Op::Leaf:
        case Op::Custom:
            break;
    }
}

}  // namespace

class Sweep {
public:
    Sweep(Arena& arena, NodeId root) : arena_(arena), root_(root), outer_(arena.sweep_) {
        if (outer_ != nullptr) {
            outer_->set_marks_aside();
        }
        arena_.sweep_ = this;
        arena_.retain(root_);
    }

    Sweep(const Sweep&) = delete;
    Sweep& operator=(const Sweep&) = delete;

    ~Sweep() {
        take_marks([](const Page&) {});
        arena_.sweep_ = outer_;
        if (outer_ != nullptr) {
            outer_->put_marks_back();
        }
        arena_.release(root_);
    }

    void run() {
        arena_.node(root_).set_grad(Scalar::integer(1.0));
        mark(root_);
        for (page_ = &arena_.page(root_); marked_ > 0; page_ = page_->previous) {
            while (page_->marks != 0) {
                const auto slot = static_cast<std::uint32_t>(63 - std::countl_zero(page_->marks));
                page_->marks &= ~(std::uint64_t{1} << slot);
                --marked_;
                visit(page_->id_of(slot), page_->nodes[slot]);
            }
        }
        while (!leaves_.empty()) {
            const NodeId leaf = leaves_.back();
            leaves_.pop_back();
            arena_.page(leaf).marks &= ~Page::bit_of(leaf);
            arena_.host().run_callback(arena_.wrapper(leaf));
        }
    }

private:
    // Have the node visited, if there is anything to do at it.
    Node& mark(NodeId id) {
        Page& page = arena_.page(id);
        Node& node = page.nodes[Page::slot_of(id)];
        const std::uint64_t bit = Page::bit_of(id);
        if (node.op != Op::Leaf) {
            marked_ += (page.marks & bit) == 0;
            page.marks |= bit;
        } else if (node.has(Flags::HasCallback) && (page.marks & bit) == 0) {
            leaves_.push_back(id);
            page.marks |= bit;
        }
        return node;
    }

    void visit(NodeId id, const Node& node) {
        if (!node.has(Flags::HasCallback)) {
            const auto reach = [this](NodeId operand) -> Node& { return mark(operand); };
            if (node.has(Flags::IntegerGrad)) {
                propagate<true>(node, reach);
            } else {
                propagate<false>(node, reach);
            }
        }
        if (node.has(Flags::HasCallback) || node.op == Op::Custom) {
            for (const NodeId operand : arena_.operands(id)) {
                mark(operand);
            }
        }
        if (node.has(Flags::HasCallback)) {
            arena_.host().run_callback(arena_.wrapper(id));
        }
    }

    template <typename Visitor>
    void take_marks(Visitor visitor) {
        std::size_t left = marked_;
        for (Page* page = page_; page != nullptr && left > 0; page = page->previous) {
            if (page->marks != 0) {
                left -= static_cast<std::size_t>(std::popcount(page->marks));
                visitor(*page);
                page->marks = 0;
            }
        }
        for (const NodeId leaf : leaves_) {
            Page& page = arena_.page(leaf);
            if (page.marks != 0) {
                visitor(page);
                page.marks = 0;
            }
        }
    }

    void set_marks_aside() {
        take_marks([this](Page& page) { aside_.emplace_back(&page, page.marks); });
    }

    void put_marks_back() noexcept {
        for (const auto& [page, marks] : aside_) {
            page->marks = marks;
        }
        aside_.clear();
    }

    Arena& arena_;
    NodeId root_;
    Sweep* outer_;
    Page* page_ = nullptr;      // where the walk is
    std::size_t marked_ = 0;    // interior nodes that are marked
    std::vector<NodeId> leaves_;  // with callbacks, marked
    std::vector<std::pair<Page*, std::uint64_t>> aside_;
};

void backward(Arena& arena, NodeId root) { Sweep(arena, root).run(); }

void backward_step(Arena& arena, NodeId id) {
    const Node& node = arena.node(id);
    const auto reach = [&arena](NodeId operand) -> Node& { return arena.node(operand); };
    if (node.has(Flags::IntegerGrad)) {
        propagate<true>(node, reach);
    } else {
        propagate<false>(node, reach);
    }
}

}  // namespace mgx
