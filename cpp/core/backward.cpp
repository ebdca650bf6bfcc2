// The backward sweep.
//
// The log of the arena is in topological order, so one walk through it from the root to older
// nodes visits every node after all of its consumers. A node is visited if a visited consumer has
// marked it; marks are one bit a node, kept in the pages, and the walk ends when none is left.
// Leaves pass nothing on, so they are neither marked nor visited, except those to which the user
// has given a callback; their callbacks run last.
//
// Operands' data are read now, not at the time of the forward pass, so changing `data` in between
// has the effect that it has with micrograd's closures.
//
// A callback is arbitrary code. It may create nodes (they are newer than the root, or vacant slots'
// successors, and unmarked), drop nodes (those still marked are kept alive by the root, which the
// sweep holds), throw (the marks are taken away), or start another sweep, and even let another
// thread go on with one. The marks in the pages are those of one sweep at a time: one that starts,
// or goes on after a callback, sets those of the other aside and puts its own back.

#include "core/backward.hpp"

#include <bit>
#include <cmath>
#include <utility>
#include <vector>

namespace mgx {

namespace {

// The derivative of a unary operation at the operand x with the result y.
[[nodiscard]] Scalar derivative(Op op, double x, double y) noexcept {
    switch (op) {
#define MGX_UNARY(Name, method, label, value_, derivative, domain, integer_value, \
                  integer_derivative, ...)                                        \
    case Op::Name:                                                                \
        return {derivative, integer_derivative};
#define MGX_BINARY(...)
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY
        default:
            static_cast<void>(x);
            static_cast<void>(y);
            return Scalar::integer(1.0);
    }
}

void pass_to(Node& operand, Scalar derivative, Scalar grad) noexcept {
    operand.set_grad(operand.grad() + derivative * grad);
}

// The `derivative` columns of ops.def. `reach` finds the node of an operand. That the gradient is
// no int, as in most of most graphs, is known at compile time, so that no time is spent on what
// ints need.
template <bool integer_grad, typename Reach>
inline void propagate(const Node& node, Reach reach) {
    const Scalar grad = {node.grad_value, integer_grad};
    switch (node.op) {
#define MGX_UNARY(Name, method, label, value_, derivative, domain, integer_value, \
                  integer_derivative, ...)                                        \
    case Op::Name: {                                                              \
        Node& operand = reach(node.operands[0]);                                  \
        [[maybe_unused]] const double x = operand.data_value;                     \
        [[maybe_unused]] const double y = node.data_value;                        \
        pass_to(operand, {derivative, integer_derivative}, grad);                 \
        break;                                                                    \
    }
#define MGX_BINARY(Name, method, label, value_, left_derivative, right_derivative, ...) \
    case Op::Name: {                                                                    \
        Node& left = reach(node.operands[0]);                                           \
        Node& right = reach(node.operands[1]);                                          \
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
        case Op::Dot:
            break;
    }
}

}  // namespace

class Sweep {
public:
    Sweep(Arena& arena, NodeId root) : arena_(arena), root_(root), serial_(++arena.sweeps_) {
        take_over();
        arena_.retain(root_);
    }

    Sweep(const Sweep&) = delete;
    Sweep& operator=(const Sweep&) = delete;

    ~Sweep() {
        take_marks([](const Page&) {});
        arena_.sweep_ = nullptr;
        arena_.release(root_);
    }

    void run() {
        arena_.node(root_).set_grad(Scalar::integer(1.0));
        page_ = &place(arena_.page(root_));
        mark(root_);
        for (; marked_ > 0; page_ = page_->previous) {
            while (const std::uint64_t places = page_->marks | page_->annex_marks) {
                const int slot = 63 - std::countl_zero(places);
                const std::uint64_t bit = std::uint64_t{1} << slot;
                if ((page_->marks & bit) != 0) {
                    --marked_;
                    visit(*page_, static_cast<std::uint32_t>(slot));
                } else {
                    visit_annex(page_->id_of(static_cast<std::uint32_t>(slot)));
                    page_->annex_marks &= ~bit;
                    --marked_;
                }
            }
        }
        while (!leaves_.empty()) {
            const NodeId leaf = leaves_.back();
            leaves_.pop_back();
            arena_.page(leaf).marks &= ~Page::bit_of(leaf);
            run_callback(leaf);
        }
    }

private:
    // Where the walk through the log finds the nodes of the page.
    [[nodiscard]] Page& place(Page& page) noexcept {
        return page.kind == PageKind::Annex ? arena_.page(page.owner) : page;
    }

    // Have the node visited, if there is anything to do at it.
    Node& mark(NodeId id) {
        Page& page = arena_.page(id);
        Node& node = page.nodes[Page::slot_of(id)];
        const std::uint64_t bit = Page::bit_of(id);
        if (page.kind == PageKind::Log) {
            marked_ += (page.marks & bit) == 0;
            page.marks |= bit;
        } else if (page.kind == PageKind::Annex) {
            page.marks |= bit;
            Page& owner_page = arena_.page(page.owner);
            const std::uint64_t owner_bit = Page::bit_of(page.owner);
            marked_ += (owner_page.annex_marks & owner_bit) == 0;
            owner_page.annex_marks |= owner_bit;
        } else if (node.has(Flags::HasCallback) && (page.marks & bit) == 0) {
            leaves_.push_back(id);
            page.marks |= bit;
        }
        return node;
    }

    void visit(Page& page, std::uint32_t slot) {
        page.marks &= ~(std::uint64_t{1} << slot);
        const NodeId id = page.id_of(slot);
        const Node& node = page.nodes[slot];
        if (node.op == Op::Dot) {
            if (visit_dot(node)) {
                return;
            }
            arena_.show_hidden_nodes(id);
        }
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
            run_callback(id);
            for (const NodeId operand : arena_.operands(id)) {
                mark(operand);  // it may have given one of them, a leaf, a callback
            }
        }
    }

    // Run the node's callback, if it has one (another callback may have taken it away).
    void run_callback(NodeId id) {
        if (!arena_.node(id).has(Flags::HasCallback)) {
            return;
        }
        struct TakeOver {
            Sweep& sweep;
            ~TakeOver() { sweep.take_over(); }
        };
        const TakeOver afterwards{*this};
        arena_.host().run_callback(arena_.wrapper(id));
    }

    // Make the marks in the pages this sweep's.
    void take_over() {
        if (arena_.sweep_ == this) {
            return;
        }
        if (arena_.sweep_ != nullptr) {
            arena_.sweep_->set_marks_aside();
        }
        arena_.sweep_ = this;
        put_marks_back();
    }

    // The steps of a Dot and of all nodes that it hides, at once. They are only known to be the
    // same for all of these the first time; false if it is not.
    [[nodiscard]] bool visit_dot(const Node& node) {
        Dot& dot = arena_.dots_[static_cast<std::uint32_t>(node.operands[0])];
        if (dot.swept) {
            return false;
        }
        // The hidden sum adds it to its own gradient, which is 0, so that -0.0 becomes 0.0.
        const Scalar grad =
            Scalar::integer(0.0) +
            (dot.activation == Dot::no_activation
                 ? node.grad()
                 : derivative(dot.activation, dot.sum, node.data_value) * node.grad());
        dot.swept = true;
        dot.hidden_grad = grad;
        pass_to(mark(node.operands[1]), Scalar::integer(1.0), grad);
        InputList& list = arena_.input_lists_[dot.input_list];
        if (list.sweep != serial_) {
            list.sweep = serial_;
            for (const LiveNode& input : list.inputs) {
                mark(input.id);
            }
        }
        constexpr Flags special = Flags::HasCallback | Flags::IntegerGrad;
        for (std::size_t i = 0; i < dot.weights.size(); ++i) {
            Node& weight = arena_.node(dot.weights[i]);
            Node& other = *list.inputs[i].node;
            if (weight.op != Op::Leaf || grad.is_integer || weight.has(special) ||
                other.has(special)) [[unlikely]] {
                mark(list.inputs[i].id);
                mark(dot.weights[i]);
                const Scalar weight_data = weight.data();
                pass_to(weight, other.data(), grad);
                pass_to(other, weight_data, grad);
            } else {
                weight.grad_value += other.data_value * grad.value;
                other.grad_value += weight.data_value * grad.value;
            }
        }
        return true;
    }

    void visit_annex(NodeId owner) {
        const PageList& annex = arena_.annexes_.find(owner)->second;
        for (Page* page = annex.last(); page != nullptr; page = page->previous) {
            while (page->marks != 0) {
                visit(*page, static_cast<std::uint32_t>(63 - std::countl_zero(page->marks)));
            }
        }
    }

    // Take all marks away, and show the visitor each page before its own are taken.
    template <typename Visitor>
    void take_marks(Visitor visitor) {
        const auto take = [&visitor](Page& page) {
            if ((page.marks | page.annex_marks) != 0) {
                visitor(page);
                page.marks = 0;
                page.annex_marks = 0;
            }
        };
        std::size_t left = marked_;
        for (Page* page = page_; page != nullptr && left > 0; page = page->previous) {
            left -= static_cast<std::size_t>(std::popcount(page->marks) +
                                             std::popcount(page->annex_marks));
            for (std::uint64_t bits = page->annex_marks; bits != 0; bits &= bits - 1) {
                const auto slot = static_cast<std::uint32_t>(std::countr_zero(bits));
                const PageList& annex = arena_.annexes_.find(page->id_of(slot))->second;
                for (Page* hidden = annex.first(); hidden != nullptr; hidden = hidden->next) {
                    take(*hidden);
                }
            }
            take(*page);
        }
        for (const NodeId leaf : leaves_) {
            take(arena_.page(leaf));
        }
    }

    void set_marks_aside() {
        take_marks([this](const Page& page) {
            aside_.push_back({page.number, page.marks, page.annex_marks});
        });
    }

    void put_marks_back() noexcept {
        for (const Aside& aside : aside_) {
            Page& page = *arena_.pages_[aside.page];
            page.marks = aside.marks;
            page.annex_marks = aside.annex_marks;
        }
        aside_.clear();
    }

    struct Aside {
        std::uint32_t page;
        std::uint64_t marks;
        std::uint64_t annex_marks;
    };

    Arena& arena_;
    NodeId root_;
    std::uint64_t serial_;
    Page* page_ = nullptr;        // where the walk is
    std::size_t marked_ = 0;      // places in the log that are marked
    std::vector<NodeId> leaves_;  // with callbacks, marked
    std::vector<Aside> aside_;
};

void backward(Arena& arena, NodeId root) { Sweep(arena, root).run(); }

void backward_step(Arena& arena, NodeId id) {
    arena.show_hidden_nodes(id);
    const Node& node = arena.node(id);
    const auto reach = [&arena](NodeId operand) -> Node& { return arena.node(operand); };
    if (node.has(Flags::IntegerGrad)) {
        propagate<true>(node, reach);
    } else {
        propagate<false>(node, reach);
    }
}

}  // namespace mgx
