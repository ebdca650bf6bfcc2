// The arena of nodes.
//
// Interior nodes stand in an append-only log of pages. A node can only refer to nodes that exist,
// so every operand stands before its consumers: the order of the log is a topological order, and
// neither a sort nor recursion is ever needed. Leaves have no operands and need no order; they
// live in pages of their own whose slots are reused one by one, so that parameters created
// together lie together.
//
// An id names a page by number and a slot in it. Numbers and pages are reused, so the order of two
// interior nodes is that of their pages in the log, then that of their slots, never that of ids.
//
// A node lives while its count is above zero: one for each reference by a consumer and one for its
// wrapper. Reclaiming is iterative: the nodes that wait for it are chained through their count
// fields, which the dead no longer need, so it takes no memory whatever the depth of the graph. A
// page goes back to the free ones with its last node.
//
// Weighted sums, negatives, differences and quotients are one node each, whose parts come to be
// when somebody looks: see affine.cpp and fusion.cpp.
//
// Wrappers are weak: a node refers to its wrapper without owning it, until the wrapper has
// something to lose (attributes, a callback). Then the node "keeps" it: the host owns one reference
// to the wrapper for as long as the count shows a consumer besides the wrapper. Giving that
// reference up can run arbitrary code of the host's, so it is put off until the arena is
// consistent, and done by the outermost call alone, so that it does not recurse either.

#include "core/arena.hpp"

#include <algorithm>
#include <new>
#include <unordered_set>

#include "core/reference.hpp"
#include "core/waiting.hpp"

namespace mgx {

namespace {

// Pages kept for reuse, some 40 MB: enough for a training loop to go round without the system's
// allocator, and little enough that one huge graph does not hold its memory for ever.
constexpr std::size_t most_free_pages = 16384;

constexpr std::size_t most_pages = std::size_t{1} << (32 - Page::slot_bits);

}  // namespace

Node Arena::power(Node x, Scalar exponent) {
    const Scalar data = pow(x.data(), exponent);
    Reference hidden(*this, leaf(exponent));
    const Node result = interior(Op::PowConstant, data, {x.id, hidden.get().id});
    static_cast<void>(hidden.take());
    retain(x);
    return result;
}

Node Arena::custom(Scalar data, std::span<const NodeId> operands) {
    std::vector<NodeId> list(operands.begin(), operands.end());
    const Node result = interior(Op::Custom, data, {no_node, no_node});
    try {
        custom_operands_.emplace(result.id, std::move(list));
    } catch (...) {
        vacate(result);
        throw;
    }
    for (const NodeId operand : operands) {
        retain(node(operand));
    }
    return result;
}

std::span<const NodeId> Arena::operands(NodeId id) {
    show_hidden_nodes(id);
    const Node consumer = node(id);
    switch (consumer.op()) {
        case Op::Leaf:
            return {};
        case Op::Custom:
            return custom_operands_.find(id)->second;
        case Op::Differentiated:
            return groups_[group_of(consumer)].ids;
        default:
            return consumer.visible_operands();
    }
}

std::vector<NodeId> Arena::dependents(std::span<const NodeId> sources) {
    std::unordered_set<NodeId> known(sources.begin(), sources.end());
    std::vector<NodeId> found;
    const auto is_known = [&known](NodeId operand) { return known.contains(operand); };
    const auto look_at = [&](NodeId candidate) {
        if (std::ranges::any_of(operands(candidate), is_known)) {
            known.insert(candidate);
            found.push_back(candidate);
        }
    };
    const auto for_each_living = [](Page& page, auto visit) {
        for (std::uint64_t living = ~page.vacant; living != 0; living &= living - 1) {
            visit(Node(page, static_cast<std::uint32_t>(std::countr_zero(living))).id);
        }
    };
    for (Page* page = log_.first(); page != nullptr; page = page->next) {
        for_each_living(*page, [&](NodeId place) {
            const Op op = node(place).op();
            if ((op == Op::Dot || is_pair(op)) && !hides_any(node(place), is_known)) {
                return;
            }
            show_hidden_nodes(place);
            if (op == Op::Difference || op == Op::Quotient) {
                look_at(hidden_by(node(place)).id);
            }
            if (node(place).has(Flags::HasAnnex)) {
                const PageList& annex = annexes_.find(place)->second;
                for (Page* hidden = annex.first(); hidden != nullptr; hidden = hidden->next) {
                    for_each_living(*hidden, look_at);
                }
            }
            if (!node(place).has(Flags::IsDead)) {
                look_at(place);
            }
        });
    }
    return found;
}

void Arena::retain(const NodeRuns::Run& run) noexcept {
    if (run.any_has(Flags::KeepsWrapper, &Page::flags)) [[unlikely]] {
        run.for_each([this](Node node) { retain(node); });
        return;
    }
    for (std::uint32_t& count : run.of(&Page::counts)) {
        ++count;
    }
}

void Arena::release_operands(const NodeRuns::Run& run, Waiting& waiting) noexcept {
    const auto counts = run.of(&Page::counts);
    if (run.any_has(Flags::KeepsWrapper, &Page::flags) || std::ranges::min(counts) == 1)
        [[unlikely]] {
        run.for_each([&](Node node) { release_operand(node, waiting); });
        return;
    }
    for (std::uint32_t& count : counts) {
        --count;
    }
}

void Arena::set_callback(NodeId id, bool has_one) {
    show_hidden_nodes(id);
    const Node called = node(id);
    if (called.op() == Op::Leaf && has_one && !called.has(Flags::HasCallback)) {
        page(id).takes_marks = false;
        called.set_due(is_awaited(id));
    }
    called.set(Flags::HasCallback, has_one);
    changed(called);
}

void Arena::keep_wrapper(NodeId id) {
    const Node kept = node(id);
    if (kept.has(Flags::KeepsWrapper)) {
        return;
    }
    if (dropped_.capacity() < keepers_ + 1) {
        dropped_.reserve(2 * keepers_ + 16);  // so that putting off a drop never allocates
    }
    ++keepers_;
    changed(kept);
    kept.set(Flags::KeepsWrapper, true);
    if (kept.count() >= 2) {
        hold_wrapper(kept);
    }
}

void Arena::forget_wrapper(Node node) noexcept {
    changed(node);
    node.wrapper() = nullptr;
    node.set(Flags::HasCallback, false);
    if (node.has(Flags::KeepsWrapper)) {
        node.set(Flags::KeepsWrapper, false);
        --keepers_;
    }
    if (node.has(Flags::OperandsByWrapper)) {
        node.set(Flags::OperandsByWrapper, false);
        for (const NodeId operand : operands(node.id)) {
            retain(this->node(operand));
        }
    }
}

void Arena::leave_operands_to_wrapper(NodeId id) {
    const Node consumer = node(id);
    if (consumer.has(Flags::OperandsByWrapper) || consumer.op() == Op::Differentiated) {
        return;  // what a group holds is not one node's to give up
    }
    const auto given_up = operands(id);
    consumer.set(Flags::OperandsByWrapper, true);
    for (const NodeId operand : given_up) {
        node(operand).set(Flags::HeldByWrapper, true);
        release(node(operand));
    }
}

inline void Arena::leave_application(std::uint32_t number, std::size_t row,
                                     Waiting& waiting) noexcept {
    Application& application = applications_[number];
    application.rows[row].dot = no_node;
    AffineMap& map = maps_[application.map];
    if (--map.dots[row] == 0) {
        const bool stays_held =
            map.has_maker && is_current(application.map) && map.keeps_wrapper[row] == 0;
        if (!stays_held) {
            let_go_of_row(map, row, waiting);
        } else if (!map.may_be_idle) {
            map.may_be_idle = true;
            idle_maps_.push_back(application.map);
        }
    }
    if (--application.dots == 0) {
        end_application(number, waiting);
    }
}

void Arena::let_go_of_row(AffineMap& map, std::size_t row, Waiting& waiting) noexcept {
    map.is_held[row] = 0;
    for (const NodeRuns::Run& run : map.runs_of(row)) {
        release_operands(run, waiting);
    }
}

void Arena::let_go_of_listed_rows() noexcept {
    Waiting waiting;
    for (const std::uint32_t number : idle_maps_) {
        AffineMap& map = maps_[number];
        map.may_be_idle = false;
        for (std::size_t row = 0; row < map.rows(); ++row) {
            if (map.dots[row] == 0 && map.is_held[row] != 0) {
                let_go_of_row(map, row, waiting);
            }
        }
    }
    idle_maps_.clear();
    reclaim(waiting);
}

void Arena::end_application(std::uint32_t number, Waiting& waiting) noexcept {
    Application& application = applications_[number];
    for (const Input& input : application.inputs) {
        if (!input.is_number()) {
            release_operand(input.node, waiting);
        }
    }
    AffineMap& map = maps_[application.map];
    if (--map.applications == 0 && !map.has_maker) {
        maps_.give_back(application.map);
    }
    applications_.give_back(number);
}

inline void Arena::reclaim(Node dead, Waiting& waiting) noexcept {
    if (dead.op() == Op::Dot) {
        leave_application(static_cast<std::uint32_t>(dead.operands()[0]), row_of(dead), waiting);
    } else if (has_operands_elsewhere(dead.op()) || dead.has(Flags::OperandsByWrapper))
        [[unlikely]] {
        release_operands_elsewhere(dead, waiting);
    } else {
        for (const NodeId operand : dead.operands()) {
            if (operand != no_node) {
                release_operand(node(operand), waiting);
            }
        }
    }
    if (dead.has(Flags::KeepsWrapper | Flags::HasAnnex)) [[unlikely]] {
        keepers_ -= dead.has(Flags::KeepsWrapper);
        if (dead.has(Flags::HasAnnex)) {
            dead.flags() = Flags::HasAnnex | Flags::IsDead;
            return;
        }
    }
    vacate(dead);
}

void Arena::reclaim(Node dead) noexcept {
    Waiting waiting;
    reclaim(dead, waiting);
    if (!waiting.empty()) {
        reclaim(waiting);
    }
}

void Arena::reclaim(Waiting& waiting) noexcept {
    while (!waiting.empty()) {
        reclaim(waiting.pop(*this), waiting);
    }
}

void Arena::leave_application(std::uint32_t number, std::size_t row) noexcept {
    Waiting waiting;
    leave_application(number, row, waiting);
    reclaim(waiting);
}

void Arena::release_operands_elsewhere(Node dead, Waiting& waiting) noexcept {
    if (dead.op() == Op::Custom) {
        const auto found = custom_operands_.find(dead.id);
        if (!dead.has(Flags::OperandsByWrapper)) {
            for (const NodeId operand : found->second) {
                release_operand(node(operand), waiting);
            }
        }
        custom_operands_.erase(found);
    } else if (dead.op() == Op::Differentiated) {
        leave_group(group_of(dead), waiting);
        derivatives_.give_back(static_cast<std::uint32_t>(dead.operands()[1]));
    } else if (dead.op() == Op::PowConstant) {
        release_operand(node(dead.operands()[1]), waiting);
    }
}

void Arena::fullness_changed(Page& page, bool was_full) noexcept {
    const bool is_empty = page.vacant == Page::all_slots;
    switch (page.kind) {
        case PageKind::Log:
            if (is_empty) {
                log_.remove(page);
                close_page(page);
            }
            break;
        case PageKind::Leaves:
            if (was_full) {
                open_leaf_pages_.append(page);
            }
            if (is_empty && open_leaf_pages_.first() != open_leaf_pages_.last()) {
                open_leaf_pages_.remove(page);
                close_page(page);
            }
            break;
        case PageKind::Annex:
            if (is_empty) {
                annex_page_emptied(page);
            }
            break;
    }
}

void Arena::hold_wrapper(Node kept) noexcept { host_->hold(kept.wrapper()); }

void Arena::put_off_drop(Node kept) noexcept { dropped_.push_back(kept.wrapper()); }

void Arena::drop_wrappers() noexcept {
    if (dropping_) {
        return;
    }
    dropping_ = true;
    while (!dropped_.empty()) {
        const Wrapper wrapper = dropped_.back();
        dropped_.pop_back();
        host_->drop(wrapper);
    }
    dropping_ = false;
}

Page& Arena::open_page(PageKind kind) {
    if (free_pages_.empty()) {
        if (free_numbers_.empty()) {
            if (pages_.size() == most_pages) {
                throw std::bad_alloc();
            }
            pages_.push_back(nullptr);
            free_pages_.reserve(pages_.capacity());
            free_numbers_.reserve(pages_.capacity());
            free_numbers_.push_back(static_cast<std::uint32_t>(pages_.size() - 1));
        }
        const std::uint32_t number = free_numbers_.back();
        pages_[number] = std::make_unique<Page>();
        pages_[number]->number = number;
        free_numbers_.pop_back();
        free_pages_.push_back(number);
    }
    Page& page = *pages_[free_pages_.back()];
    free_pages_.pop_back();
    page.takes_marks = kind == PageKind::Leaves;
    page.vacant = Page::all_slots;
    page.filled = 0;
    page.kind = kind;
    page.position = ++pages_opened_;
    if (kind != PageKind::Annex) {
        (kind == PageKind::Leaves ? open_leaf_pages_ : log_).append(page);
    }
    return page;
}

std::uint64_t Arena::start_fresh_pages() {
    // An empty page would not be looked at again once it is not the last.
    for (PageList* list : {&log_, &open_leaf_pages_}) {
        if (Page* last = list->last(); last != nullptr && last->vacant == Page::all_slots) {
            list->remove(*last);
            close_page(*last);
        }
    }
    const std::uint64_t old = pages_opened_;
    open_page(PageKind::Log);
    open_page(PageKind::Leaves);
    return old;
}

void Arena::close_page(Page& page) noexcept {
    const std::uint32_t number = page.number;
    if (free_pages_.size() < most_free_pages) {
        free_pages_.push_back(number);
    } else {
        pages_[number].reset();
        free_numbers_.push_back(number);
    }
}

ArenaCounters Arena::counters() const noexcept {
    ArenaCounters counters;
    std::vector<bool> is_free(pages_.size());
    for (const std::uint32_t number : free_pages_) {
        is_free[number] = true;
    }
    for (const auto& page : pages_) {
        if (page == nullptr) {
            continue;
        }
        counters.bytes += sizeof(Page);
        if (is_free[page->number]) {
            ++counters.free_pages;
            continue;
        }
        ++counters.pages;
        const std::uint64_t living = ~page->vacant;
        (page->kind == PageKind::Leaves ? counters.leaves : counters.interior_nodes) +=
            static_cast<std::size_t>(std::popcount(living));
        for (std::uint64_t rest = living; rest != 0; rest &= rest - 1) {
            counters.wrapped_nodes +=
                page->wrappers[static_cast<std::size_t>(std::countr_zero(rest))] != nullptr;
        }
    }
    for (const auto& [owner, annex] : annexes_) {
        const Page& page = *pages_[Page::number_of(owner)];
        counters.interior_nodes -= has(page.flags[Page::slot_of(owner)], Flags::IsDead);
    }
    for (const auto& [id, operands] : custom_operands_) {
        counters.bytes +=
            sizeof(std::pair<NodeId, std::vector<NodeId>>) + operands.capacity() * sizeof(NodeId);
    }
    for (const OperandGroup& group : groups_.objects()) {
        counters.bytes +=
            sizeof(OperandGroup) + group.ids.capacity() * sizeof(NodeId) + group.nodes.bytes();
    }
    for (const Derivatives& derivatives : derivatives_.objects()) {
        counters.bytes += sizeof(Derivatives) + derivatives.numbers.capacity() * sizeof(double);
    }
    for (const AffineMap& map : maps_.objects()) {
        counters.bytes += sizeof(AffineMap) + map.nodes.capacity() * sizeof(Node) +
                          map.runs.capacity() * sizeof(NodeRuns::Run) +
                          map.first_run.capacity() * sizeof(std::uint32_t) +
                          (map.data.capacity() + map.by_input.capacity() + map.current.capacity() +
                           map.grads.capacity()) *
                              sizeof(double);
    }
    for (const Application& application : applications_.objects()) {
        counters.bytes += sizeof(Application) + application.inputs.capacity() * sizeof(Input) +
                          application.rows.capacity() * sizeof(Application::Row);
    }
    return counters;
}

}  // namespace mgx
