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
#include <cstring>
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

// sums += factor * numbers; the two do not overlap.
void add_scaled(double* __restrict sums, const double* __restrict numbers, double factor,
                std::size_t count) noexcept {
    for (std::size_t i = 0; i < count; ++i) {
        sums[i] += numbers[i] * factor;
    }
}

}  // namespace

class Sweep {
public:
    Sweep(Arena& arena, NodeId root) : arena_(arena), root_(root) {
        take_over();
        arena_.retain(root_);
    }

    Sweep(const Sweep&) = delete;
    Sweep& operator=(const Sweep&) = delete;

    ~Sweep() {
        close_maps();
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
    Node& mark(NodeId id) { return mark(LiveNode{&arena_.node(id), id}); }

    Node& mark(LiveNode due) {
        const NodeId id = due.id;
        Node& node = *due.node;
        Page& page = arena_.page(id);
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
            if (visit_dots(node)) {
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
        close_maps();
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

    // The steps of all due Dots of one application, and of all nodes that they hide, at once: no
    // node stands between them, so what is due is known when the sweep comes to the last. Hidden
    // steps are only known to be all the same the first time; false if the Dot must be expanded.
    [[nodiscard]] bool visit_dots(const Node& dot) {
        Application& application = arena_.application(dot);
        if (arena_.maps_[application.map].is_sum()) {
            return visit_sum(dot, application);
        }
        AffineMap& map = open(application.map);
        const std::size_t last = Arena::row_of(dot);
        if ((application.has_numbers && !map.is_unchanged) || application.rows[last].swept) {
            return false;
        }
        const std::size_t terms = application.inputs.size();
        inputs_.resize(terms);
        for (std::size_t i = 0; i < terms; ++i) {
            const Input& input = application.inputs[i];
            inputs_[i] = input.is_number() ? input.data.value : mark(input.live).data_value;
        }
        input_grads_.assign(terms, 0.0);
        pass_on(application, map, last);
        for (std::size_t row = last; row-- > 0;) {
            if (take_mark(application.rows[row])) {
                pass_on(application, map, row);
            }
        }
        for (std::size_t i = 0; i < terms; ++i) {
            if (!application.inputs[i].is_number()) {
                pass_to(*application.inputs[i].live.node, Scalar::real(input_grads_[i]),
                        Scalar::integer(1.0));
            }
        }
        return true;
    }

    [[nodiscard]] bool visit_sum(const Node& dot, Application& application) {
        Application::Row& row = application.rows.front();
        if (row.swept) {
            return false;
        }
        row.swept = true;
        row.hidden_grad = Scalar::integer(0.0) + dot.grad();
        for (const Input& input : application.inputs) {
            if (!input.is_number()) {
                pass_to(mark(input.live), Scalar::integer(1.0), row.hidden_grad);
            }
        }
        pass_to(mark(arena_.maps_[application.map].nodes.front()), Scalar::integer(1.0),
                row.hidden_grad);
        return true;
    }

    // Whether the row's Dot is due and need not be expanded; it is no longer marked then.
    [[nodiscard]] bool take_mark(const Application::Row& row) noexcept {
        if (row.dot == no_node) {
            return false;
        }
        Page& page = arena_.page(row.dot);
        const std::uint64_t bit = Page::bit_of(row.dot);
        if ((page.marks & bit) == 0 || row.swept) {
            return false;
        }
        page.marks &= ~bit;
        --marked_;
        return true;
    }

    void pass_on(Application& application, AffineMap& map, std::size_t index) {
        Application::Row& row = application.rows[index];
        const Node& dot = arena_.node(row.dot);
        const Op activation = map.activations[index];
        // The hidden sum adds it to its own gradient, which is 0, so that -0.0 becomes 0.0.
        const Scalar grad = Scalar::integer(0.0) +
                            (activation == AffineMap::no_activation
                                 ? dot.grad()
                                 : derivative(activation, row.sum, dot.data_value) * dot.grad());
        row.swept = true;
        row.hidden_grad = grad;
        const std::size_t terms = inputs_.size();
        const std::size_t first = index * terms;
        const std::size_t bias = map.bias_of(index);
        if (!map.is_plain || grad.is_integer) [[unlikely]] {
            for (std::size_t i = 0; i < terms; ++i) {
                const Input& input = application.inputs[i];
                Node& weight = mark(map.nodes[first + i]);
                input_grads_[i] += weight.data_value * grad.value;
                pass_to(weight, input.is_number() ? input.data : input.live.node->data(), grad);
            }
            pass_to(mark(map.nodes[bias]), Scalar::integer(1.0), grad);
            return;
        }
        add_scaled(map.grads.data() + first, inputs_.data(), grad.value, terms);
        add_scaled(input_grads_.data(), map.current.data() + first, grad.value, terms);
        map.grads[bias] += grad.value;
        map.has_passed[index] = 1;
    }

    // Learn what the sweep needs to know of a map, unless it does already.
    AffineMap& open(std::uint32_t number) {
        AffineMap& map = arena_.maps_[number];
        if (map.is_open) {
            return map;
        }
        open_maps_.push_back(number);
        map.current.resize(map.nodes.size());
        map.grads.assign(map.nodes.size(), 0.0);
        map.has_passed.assign(map.rows(), 0);
        map.is_plain = true;
        for (std::size_t i = 0; i < map.nodes.size(); ++i) {
            const Node& node = *map.nodes[i].node;
            map.current[i] = node.data_value;
            map.is_plain &= node.op == Op::Leaf && !node.has(Flags::HasCallback);
        }
        map.is_unchanged =
            std::memcmp(map.current.data(), map.data.data(), map.data.size() * sizeof(double)) == 0;
        map.is_open = true;
        return map;
    }

    // Give the nodes of maps what they are still to get, before anybody can look.
    void close_maps() noexcept {
        for (const std::uint32_t number : open_maps_) {
            AffineMap& map = arena_.maps_[number];
            const auto give = [&map](std::size_t i) {
                pass_to(*map.nodes[i].node, Scalar::real(map.grads[i]), Scalar::integer(1.0));
            };
            for (std::size_t row = 0; map.is_open && row < map.rows(); ++row) {
                if (map.has_passed[row] != 0) {
                    for (std::size_t i = 0; i < map.terms(); ++i) {
                        give(row * map.terms() + i);
                    }
                    give(map.bias_of(row));
                }
            }
            map.is_open = false;
        }
        open_maps_.clear();
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
    Page* page_ = nullptr;        // where the walk is
    std::size_t marked_ = 0;      // places in the log that are marked
    std::vector<NodeId> leaves_;  // with callbacks, marked
    std::vector<Aside> aside_;
    std::vector<std::uint32_t> open_maps_;
    std::vector<double> inputs_;       // of the application that is being visited
    std::vector<double> input_grads_;  // which they are still to get from it
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
