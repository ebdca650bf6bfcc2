// The backward sweep.
//
// The log of the arena is in topological order, so one walk through it from the root to older
// nodes visits every node after all of its consumers. A node is visited if a visited consumer has
// marked it. A mark is written together with the gradient that is passed on, in one byte of the
// node's own: bits of one word a page, or a count, would have every mark wait for the last. A page
// says whether anything in it is marked, and the walk ends beyond the oldest page that does. For an
// annex its owner says so; a marked owner's annex is looked at anyway.
//
// Leaves pass nothing on, so they are not visited, and their marks mean nothing, except of those to
// which the user has given a callback; their callbacks run last.
//
// Operands' data are read now, not at the time of the forward pass, so changing `data` in between
// has the effect that it has with micrograd's closures.
//
// A callback is arbitrary code. It may create nodes (they are newer than the root, or vacant slots'
// successors, and unmarked), drop nodes (those still marked are kept alive by the root, which the
// sweep holds), throw (the marks are taken away), or start another sweep, and even let another
// thread go on with one. The marks in the nodes are those of one sweep at a time: one that starts,
// or goes on after a callback, sets those of the other aside and puts its own back.
//
// Gradients are added up term by term to what the nodes have, as micrograd adds them: a sum of the
// terms alone, added at last, would be rounded otherwise where there is a gradient already. The
// terms of a layer are added side by side, for which the gradients must stand in a row: the sweep
// takes them from the parameters' nodes, and gives them back before anybody else adds to one of
// these, or looks. The pages of such nodes take no marks until then, so that nobody gets by.

#include "core/backward.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "core/compiler.hpp"
#include "core/kernels.hpp"

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

inline void pass_to(Node operand, Scalar derivative, Scalar grad) noexcept {
    operand.set_grad(operand.grad() + derivative * grad);
}

// The step of a node, and of the one that it hides: the `derivative` columns of ops.def, applied to
// the operands. `reach` finds the node of one, and `pass` adds the product of its derivative and
// the gradient to its own gradient.
template <typename Reach, typename Pass>
MGX_ALWAYS_INLINE void propagate(Node node, Scalar grad, Reach reach, Pass pass) {
    switch (node.op()) {
#define MGX_UNARY(Name, method, label, value_, derivative, domain, integer_value, \
                  integer_derivative, ...)                                        \
    case Op::Name: {                                                              \
        const Node operand = reach(node.operands()[0]);                           \
        [[maybe_unused]] const double x = operand.data_value();                   \
        [[maybe_unused]] const double y = node.data_value();                      \
        pass(operand, {derivative, integer_derivative}, grad);                    \
        break;                                                                    \
    }
#define MGX_BINARY(Name, method, label, value_, left_derivative, right_derivative, ...) \
    case Op::Name: {                                                                    \
        const Node left = reach(node.operands()[0]);                                    \
        const Node right = reach(node.operands()[1]);                                   \
        [[maybe_unused]] const Scalar x = left.data();                                  \
        [[maybe_unused]] const Scalar y = right.data();                                 \
        pass(left, left_derivative, grad);                                              \
        pass(right, right_derivative, grad);                                            \
        break;                                                                          \
    }
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY
        case Op::PowConstant: {
            const Node base = reach(node.operands()[0]);
            const Scalar exponent = reach(node.operands()[1]).data();
            pass(base, pow_derivative_by_base(base.data(), exponent), grad);
            break;
        }
        // The steps of the hidden nodes come right after that of the node that hides them.
        case Op::Negative: {
            const Node operand = reach(node.operands()[0]);
            const Node hidden = hidden_by(node);
            set_grad_of_constant(hidden, grad_of_constant(hidden) + operand.data() * grad);
            pass(operand, Scalar::integer(-1.0), grad);
            break;
        }
        case Op::Difference: {
            const Node left = reach(node.operands()[0]);
            const Node right = reach(node.operands()[1]);
            const Node hidden = hidden_by(node);
            pass_to(hidden, Scalar::integer(1.0), grad);
            pass(left, Scalar::integer(1.0), grad);
            const Scalar hidden_grad = hidden.grad();
            set_grad_of_constant(hidden, grad_of_constant(hidden) + right.data() * hidden_grad);
            pass(right, Scalar::integer(-1.0), hidden_grad);
            break;
        }
        case Op::Quotient: {
            const Node left = reach(node.operands()[0]);
            const Node right = reach(node.operands()[1]);
            const Node hidden = hidden_by(node);
            pass_to(hidden, left.data(), grad);
            pass(left, hidden.data(), grad);
            pass(right, pow_derivative_by_base(right.data(), Scalar::integer(-1.0)), hidden.grad());
            break;
        }
        case Op::Leaf:
        case Op::Custom:
        case Op::Differentiated:
        case Op::Dot:
            break;
        default:
            MGX_UNREACHABLE();  // so that the jump needs no bounds check
    }
}

// The step of a node whose derivatives are known. Operands that may be more than leaves are marked.
template <typename Mark>
void propagate_known(Arena& arena, NodeId id, Mark mark) {
    const Scalar grad = arena.node(id).grad();
    const auto [operands, derivatives] = arena.known_derivatives(arena.node(id));
    const double* derivative = derivatives;
    for (const NodeRuns::Run run : operands) {
        if (run.page->kind == PageKind::Leaves && run.page->takes_marks) [[likely]] {
            for (double& operand_grad : run.of(&Page::grads)) {
                operand_grad += *derivative++ * grad.value;
            }
            std::ranges::fill(run.of(&Page::grad_flags), GradFlags::None);
            continue;
        }
        run.for_each([&](Node operand) {
            mark(operand.id);
            pass_to(operand, Scalar::real(*derivative++), grad);
        });
    }
}

}  // namespace

class Sweep {
public:
    Sweep(Arena& arena, NodeId root) : arena_(arena), root_(root) {
        take_over();
        arena_.retain(arena_.node(root_));
    }

    Sweep(const Sweep&) = delete;
    Sweep& operator=(const Sweep&) = delete;

    ~Sweep() {
        close_maps();
        take_marks([](NodeId) {});
        arena_.sweep_ = nullptr;
        arena_.release(arena_.node(root_));
    }

    void run() {
        arena_.node(root_).set_grad(Scalar::integer(1.0));
        Page& home = place(arena_.page(root_));
        page_ = home.kind == PageKind::Leaves ? nullptr : &home;
        oldest_ = home.position;
        mark(root_);
        for (; page_ != nullptr && page_->position >= oldest_; page_ = page_->previous) {
            if (page_->takes_marks) {
                visit_page(*page_);
                page_->takes_marks = false;
            }
        }
        page_ = nullptr;  // nothing keeps the page beyond the oldest with marks
        while (!leaves_.empty()) {
            const NodeId leaf = leaves_.back();
            leaves_.pop_back();
            arena_.node(leaf).set_due(false);
            run_callback(leaf);
        }
    }

    // Whether the callback of a leaf is still to run.
    [[nodiscard]] bool awaits(NodeId leaf) const noexcept {
        return std::ranges::find(leaves_, leaf) != leaves_.end();
    }

private:
    // Where the walk through the log finds the nodes of the page.
    [[nodiscard]] Page& place(Page& page) noexcept {
        return page.kind == PageKind::Annex ? arena_.page(page.owner) : page;
    }

    // Have the node visited, if there is anything to do at it.
    Node mark(NodeId id) {
        const Node node = about_to_mark(arena_.node(id));
        node.set_due(true);
        return node;
    }

    Node about_to_mark(Node node) {
        if (!node.page->takes_marks) [[unlikely]] {
            prepare_to_mark(node);
        }
        return node;
    }

    MGX_NEVER_INLINE void prepare_to_mark(Node node) {
        Page& page = *node.page;
        if (page.kind == PageKind::Leaves) {
            if (node.is_taken()) {
                give_rows_back();
            }
            if (node.has(Flags::HasCallback) && !node.is_due()) {
                leaves_.push_back(node.id);
                node.set_due(true);  // it may be both operands of the same node
            }
            return;
        }
        Page& home = place(page);
        if (page.kind == PageKind::Annex) {
            set(home.grad_flags[Page::slot_of(page.owner)], GradFlags::HidesDue, true);
        }
        page.takes_marks = true;
        home.takes_marks = true;
        oldest_ = std::min(oldest_, home.position);
    }

    void visit_page(Page& page) {
        // Nodes that are due are visited here, as long as nothing about them is out of the
        // ordinary.
        const auto* pages = arena_.pages_.data();
        const auto reach = [&](NodeId operand) -> Node {
            return about_to_mark({*pages[Page::number_of(operand)], operand});
        };
        const auto pass = [](Node operand, Scalar derivative, Scalar grad) {
            operand.grad_value() += derivative.value * grad.value;
            operand.grad_flags() = GradFlags::IsDue;
        };
        for (std::uint32_t slot = page.filled; slot-- > 0;) {
            GradFlags& grad_flags = page.grad_flags[slot];
            if (grad_flags == GradFlags::IsDue && !has_operands_elsewhere(page.ops[slot]) &&
                !has(page.flags[slot], Flags::HasCallback | Flags::HasAnnex)) [[likely]] {
                grad_flags = GradFlags::None;
                propagate(Node(page, slot), Scalar::real(page.grads[slot]), reach, pass);
            } else if (has(grad_flags, GradFlags::IsDue | GradFlags::HidesDue)) {
                visit({page, slot});
                pages = arena_.pages_.data();
            }
        }
    }

    MGX_NEVER_INLINE void visit(Node node) {
        if (node.is_due()) {
            node.set_due(false);
            visit_due(node);
        }
        if (node.has(Flags::HasAnnex)) {
            const PageList& annex = arena_.annexes_.find(node.id)->second;
            for (Page* page = annex.last(); page != nullptr; page = page->previous) {
                if (page->takes_marks) {
                    visit_page(*page);
                    page->takes_marks = false;
                }
            }
            set(node.grad_flags(), GradFlags::HidesDue, false);
        }
    }

    void visit_due(Node node) {
        if (node.op() == Op::Dot) {
            if (visit_dots(node)) {
                return;
            }
            arena_.show_hidden_nodes(node.id);
        }
        const auto reach = [this](NodeId operand) -> Node { return mark(operand); };
        if (!node.has(Flags::HasCallback) && node.op() == Op::Differentiated) {
            propagate_known(arena_, node.id, reach);
        } else if (!node.has(Flags::HasCallback)) {
            propagate(node, node.grad(), reach, pass_to);
        }
        if (node.has(Flags::HasCallback) || node.op() == Op::Custom) {
            for (const NodeId operand : arena_.operands(node.id)) {
                mark(operand);
            }
        }
        if (node.has(Flags::HasCallback)) {
            run_callback(node.id);
            for (const NodeId operand : arena_.operands(node.id)) {
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
        arena_.host().run_callback(arena_.node(id).wrapper());
    }

    // Make the marks in the nodes this sweep's.
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
    [[nodiscard]] bool visit_dots(Node dot) {
        Application& application = arena_.application(dot);
        if (arena_.maps_[application.map].is_sum()) {
            return visit_sum(dot, application);
        }
        AffineMap& map = open(application.map);
        const std::size_t last = Arena::row_of(dot);
        // The leaves of numbers are to get what the weights are now, and the map knows what they
        // were.
        if (application.rows[last].swept ||
            (!map.is_unchanged && std::ranges::any_of(application.inputs, &Input::is_number))) {
            return false;
        }
        const std::size_t terms = application.inputs.size();
        inputs_.resize(terms);
        for (std::size_t i = 0; i < terms; ++i) {
            const Input& input = application.inputs[i];
            inputs_[i] = input.is_number() ? input.data.value : mark(input.node.id).data_value();
        }
        input_grads_.resize(terms);
        pass_on(application, map, last);
        for (std::size_t row = last; row-- > 0;) {
            if (take_mark(application.rows[row])) {
                pass_on(application, map, row);
            }
        }
        give_inputs_back();
        return true;
    }

    [[nodiscard]] bool visit_sum(Node dot, Application& application) {
        Application::Row& row = application.rows.front();
        if (row.swept) {
            return false;
        }
        AffineMap& map = arena_.maps_[application.map];
        row.swept = true;
        row.hidden_grad = Scalar::integer(0.0) + dot.grad();
        if (map.is_mean()) {
            row.hidden_grad = Scalar::integer(0.0) + Scalar::real(map.scale) * dot.grad();
            map.scale_grad = Scalar::integer(0.0) + Scalar::real(row.sum) * dot.grad();
        }
        for (const Input& input : application.inputs) {
            // The last stands beside the last hidden sum: it gets what the visible sum has got.
            const bool is_visible = &input == &application.inputs.back() && !map.is_mean();
            if (!input.is_number()) {
                pass_to(mark(input.node.id), Scalar::integer(1.0),
                        is_visible ? dot.grad() : row.hidden_grad);
            }
        }
        pass_to(mark(map.nodes.front().id), Scalar::integer(1.0), row.hidden_grad);
        return true;
    }

    // Whether the row's Dot is due and need not be expanded; it is no longer marked then.
    [[nodiscard]] bool take_mark(const Application::Row& row) noexcept {
        if (row.dot == no_node) {
            return false;
        }
        const Node dot = arena_.node(row.dot);
        if (!dot.is_due() || row.swept) {
            return false;
        }
        dot.set_due(false);
        return true;
    }

    void pass_on(Application& application, AffineMap& map, std::size_t index) {
        Application::Row& row = application.rows[index];
        const Node dot = arena_.node(row.dot);
        const Op activation = map.activations[index];
        // The hidden sum adds it to its own gradient, which is 0, so that -0.0 becomes 0.0.
        const Scalar grad = Scalar::integer(0.0) +
                            (activation == AffineMap::no_activation
                                 ? dot.grad()
                                 : derivative(activation, row.sum, dot.data_value()) * dot.grad());
        row.swept = true;
        row.hidden_grad = grad;
        const bool has_taken = inputs_taken_of_ != nullptr && map.is_taken[index] != 0;
        if ((!has_taken || grad.is_integer) && !take(application, map, index, grad)) [[unlikely]] {
            pass_on_to_nodes(application, map, index, grad);
            return;
        }
        const std::size_t terms = inputs_.size();
        const std::size_t first = index * terms;
        kernels_.pass_on(grad.value, inputs_.data(), map.current.data() + first, terms,
                         map.grads.data() + first, input_grads_.data());
        map.grads[map.bias_of(index)] += grad.value;
    }

    // Take the gradients to which the row adds, unless that is not worth while, does not tell ints
    // from floats, or would have a node in two places.
    [[nodiscard]] MGX_NEVER_INLINE bool take(const Application& application, AffineMap& map,
                                             std::size_t row, Scalar grad) {
        return map.is_plain && !map.serves_once() && !grad.is_integer && take_inputs(application) &&
               take_row(map, row);
    }

    MGX_NEVER_INLINE void pass_on_to_nodes(const Application& application, const AffineMap& map,
                                           std::size_t row, Scalar grad) {
        give_inputs_back();
        const std::size_t terms = inputs_.size();
        const std::size_t first = row * terms;
        const std::size_t bias = map.bias_of(row);
        if (!map.is_plain || grad.is_integer) {
            for (std::size_t i = 0; i < terms; ++i) {
                const Input& input = application.inputs[i];
                const Node weight = mark(map.nodes[first + i].id);
                const Scalar weight_data = weight.data();
                pass_to(weight, input.is_number() ? input.data : input.node.data(), grad);
                if (!input.is_number()) {
                    pass_to(input.node, weight_data, grad);
                }
            }
            pass_to(mark(map.nodes[bias].id), Scalar::integer(1.0), grad);
            return;
        }
        if (!taken_rows_.empty() && is_any_taken(map, row)) {
            give_rows_back();
        }
        const auto add = [](Node node, double term) {
            node.set_grad(Scalar::real(node.grad_value() + term));
        };
        for (std::size_t i = 0; i < terms; ++i) {
            add(map.nodes[first + i], inputs_[i] * grad.value);
            if (!application.inputs[i].is_number()) {
                add(application.inputs[i].node, map.current[first + i] * grad.value);
            }
        }
        add(map.nodes[bias], grad.value);
    }

    // Have the inputs' gradients in input_grads_; false if a node is several of the inputs.
    [[nodiscard]] bool take_inputs(const Application& application) noexcept {
        if (inputs_taken_of_ != nullptr) {
            return true;
        }
        const std::span<const Input> inputs = application.inputs;
        for (std::size_t i = 0; i < inputs.size(); ++i) {
            if (inputs[i].is_number()) {
                input_grads_[i] = 0.0;
                continue;
            }
            const Node node = inputs[i].node;
            if (node.is_taken()) [[unlikely]] {
                for (const Input& taken : inputs.first(i)) {
                    if (!taken.is_number()) {
                        taken.node.set_taken(false);
                    }
                }
                return false;
            }
            input_grads_[i] = node.grad_value();
            node.set_taken(true);
        }
        inputs_taken_of_ = &application;
        return true;
    }

    void give_inputs_back() noexcept {
        if (inputs_taken_of_ == nullptr) {
            return;
        }
        for (std::size_t i = 0; i < inputs_taken_of_->inputs.size(); ++i) {
            if (!inputs_taken_of_->inputs[i].is_number()) {
                give_back(inputs_taken_of_->inputs[i].node, input_grads_[i]);
            }
        }
        inputs_taken_of_ = nullptr;
    }

    // Have the gradients of the row's nodes in the map; false if a node is several of these, or one
    // of the inputs as well.
    [[nodiscard]] bool take_row(AffineMap& map, std::size_t row) {
        return map.is_taken[row] != 0 || take_new_row(map, row);
    }

    [[nodiscard]] bool take_new_row(AffineMap& map, std::size_t row) {
        if (is_any_taken(map, row)) {
            give_rows_back();
            if (is_any_taken(map, row)) {
                return false;
            }
        }
        for (const NodeRuns::Run& run : map.runs_of(row)) {
            if (run.page->takes_marks) {
                guarded_pages_.push_back(run.page);
                run.page->takes_marks = false;
            }
        }
        taken_rows_.push_back({&map, row});
        bool are_distinct = true;
        map.for_each_run(row, [&](const NodeRuns::Run& run, std::size_t place) {
            are_distinct &= !run.any_has(GradFlags::IsTaken, &Page::grad_flags);
            std::ranges::copy(run.of(&Page::grads), std::span(map.grads).subspan(place).begin());
            set_taken(run, true);
        });
        if (!are_distinct) {
            for (const NodeRuns::Run& run : map.runs_of(row)) {
                set_taken(run, false);
            }
            taken_rows_.pop_back();
            return false;
        }
        map.is_taken[row] = 1;
        return true;
    }

    [[nodiscard]] static bool is_any_taken(const AffineMap& map, std::size_t row) noexcept {
        return std::ranges::any_of(map.runs_of(row), [](const NodeRuns::Run& run) {
            return run.any_has(GradFlags::IsTaken, &Page::grad_flags);
        });
    }

    static void set_taken(const NodeRuns::Run& run, bool taken) noexcept {
        for (GradFlags& flags : run.of(&Page::grad_flags)) {
            set(flags, GradFlags::IsTaken, taken);
        }
    }

    void give_rows_back() noexcept {
        for (const auto [map, row] : taken_rows_) {
            map->for_each_run(row, [map](const NodeRuns::Run& run, std::size_t place) {
                std::ranges::copy(std::span(map->grads).subspan(place, run.count),
                                  run.of(&Page::grads).begin());
                for (GradFlags& flags : run.of(&Page::grad_flags)) {
                    set(flags, GradFlags::IsInteger | GradFlags::IsTaken, false);
                }
            });
            map->is_taken[row] = 0;
        }
        taken_rows_.clear();
        for (Page* page : guarded_pages_) {
            page->takes_marks = true;
        }
        guarded_pages_.clear();
    }

    static void give_back(Node node, double grad) noexcept {
        node.set_grad(Scalar::real(grad));
        node.set_taken(false);
    }

    // Learn what the sweep needs to know of a map, unless it does already.
    AffineMap& open(std::uint32_t number) {
        AffineMap& map = arena_.maps_[number];
        if (map.is_open) {
            return map;
        }
        open_maps_.push_back(number);
        map.current.resize(map.nodes.size());
        map.grads.resize(map.nodes.size());
        map.is_taken.assign(map.rows(), 0);
        map.is_plain = true;
        map.is_unchanged = true;
        const auto learn = [&map](const NodeRuns::Run& run, std::size_t place) {
            const auto data = run.of(&Page::data);
            std::ranges::copy(data, std::span(map.current).subspan(place).begin());
            map.is_plain &= run.page->kind == PageKind::Leaves &&
                            !run.any_has(Flags::HasCallback, &Page::flags);
            map.is_unchanged &=
                std::memcmp(data.data(), map.data.data() + place, data.size_bytes()) == 0 &&
                (place >= map.weights() || !run.any_has(Flags::IntegerData, &Page::flags));
        };
        for (std::size_t row = 0; row < map.rows(); ++row) {
            if (map.dots[row] > 0) {  // the others' parameters may be gone
                map.for_each_run(row, learn);
            }
        }
        map.is_open = true;
        return map;
    }

    // Give all gradients back and forget what is known of maps, before anybody can look.
    void close_maps() noexcept {
        give_inputs_back();
        give_rows_back();
        for (const std::uint32_t number : open_maps_) {
            arena_.maps_[number].is_open = false;
        }
        open_maps_.clear();
    }

    // Take all marks away, and show the visitor whose they were.
    template <typename Visitor>
    void take_marks(Visitor visitor) {
        const auto take_from_nodes = [&visitor](Page& page) {
            page.takes_marks = false;
            for (std::uint32_t slot = page.filled; slot-- > 0;) {
                if (const Node node(page, slot); node.is_due()) {
                    node.set_due(false);
                    visitor(node.id);
                }
            }
        };
        for (Page* page = page_; page != nullptr && page->position >= oldest_;
             page = page->previous) {
            if (!page->takes_marks) {
                continue;
            }
            take_from_nodes(*page);
            for (std::uint32_t slot = page->filled; slot-- > 0;) {
                const Node owner(*page, slot);
                if (owner.has(Flags::HasAnnex)) {
                    set(owner.grad_flags(), GradFlags::HidesDue, false);
                    const PageList& annex = arena_.annexes_.find(owner.id)->second;
                    for (Page* hidden = annex.first(); hidden != nullptr; hidden = hidden->next) {
                        take_from_nodes(*hidden);
                    }
                }
            }
        }
        for (const NodeId leaf : leaves_) {
            arena_.node(leaf).set_due(false);
        }
    }

    void set_marks_aside() {
        take_marks([this](NodeId due) { aside_.push_back(due); });
    }

    void put_marks_back() {
        for (const NodeId due : std::exchange(aside_, {})) {
            mark(due);
        }
        for (const NodeId leaf : leaves_) {
            arena_.node(leaf).set_due(true);
        }
    }

    Arena& arena_;
    NodeId root_;
    const Kernels& kernels_ = kernels();
    Page* page_ = nullptr;        // where the walk is
    std::uint64_t oldest_ = 0;    // position of the oldest page with marks
    std::vector<NodeId> leaves_;  // with callbacks, marked
    std::vector<NodeId> aside_;   // marked, but for the moment another sweep's marks are there
    std::vector<std::uint32_t> open_maps_;
    std::vector<double> inputs_;                    // of the application that is being visited
    std::vector<double> input_grads_;               // and their gradients,
    const Application* inputs_taken_of_ = nullptr;  // if these have been taken
    struct TakenRow {
        AffineMap* map;
        std::size_t row;
    };
    std::vector<TakenRow> taken_rows_;  // whose nodes' gradients the maps have
    std::vector<Page*> guarded_pages_;  // of these nodes, which took marks before
};

bool Arena::is_awaited(NodeId leaf) const noexcept {
    return sweep_ != nullptr && sweep_->awaits(leaf);
}

void backward(Arena& arena, NodeId root) { Sweep(arena, root).run(); }

void backward_step(Arena& arena, NodeId id) {
    arena.show_hidden_nodes(id);
    const Node node = arena.node(id);
    const auto reach = [&arena](NodeId operand) -> Node { return arena.node(operand); };
    if (node.op() == Op::Differentiated) {
        propagate_known(arena, id, [](NodeId) {});
    } else {
        propagate(node, node.grad(), reach, pass_to);
    }
}

}  // namespace mgx
