// Results that come with their derivatives: nodes of the op Differentiated.
//
// What computed them, such as a compiled program, gave their derivatives by all operands at once,
// so the backward sweep has but to multiply. A program gives one result after another with the same
// operands: these are a group, which counts its users, so that a result need not count each
// operand. The node's `operands` are the numbers of the group and of the derivatives.

#include <algorithm>
#include <span>
#include <utility>

#include "core/arena.hpp"
#include "core/waiting.hpp"

namespace mgx {

namespace {

// How many of the first nodes lie side by side on one page.
[[nodiscard]] std::uint32_t count_side_by_side(std::span<const NodeId> ids) noexcept {
    const auto first = static_cast<std::uint32_t>(ids.front());
    const auto most = static_cast<std::uint32_t>(
        std::min<std::size_t>(ids.size(), Page::slots - Page::slot_of(ids.front())));
    // Mostly all do, which is told side by side.
    std::uint32_t differences = 0;
    for (std::uint32_t i = 1; i < most; ++i) {
        differences |= static_cast<std::uint32_t>(ids[i]) ^ (first + i);
    }
    std::uint32_t count = differences == 0 ? most : 1;
    while (count < most && static_cast<std::uint32_t>(ids[count]) == first + count) {
        ++count;
    }
    return count;
}

}  // namespace

std::uint32_t Arena::make_group(std::vector<NodeId> operands) {
    const std::uint32_t number = groups_.take();
    OperandGroup& group = groups_[number];
    try {
        group.nodes.clear();
        for (std::span<const NodeId> rest = operands; !rest.empty();) {
            const std::uint32_t count = count_side_by_side(rest);
            group.nodes.add({&page(rest.front()), rest.front(), count});
            rest = rest.subspan(count);
        }
        group.ids = std::move(operands);
    } catch (...) {
        groups_.give_back(number);
        throw;
    }
    group.users = 1;
    for (const NodeRuns::Run& run : group.nodes) {
        retain(run);
    }
    return number;
}

Node Arena::differentiated(double data, std::uint32_t group, std::vector<double>& numbers,
                           std::size_t first) {
    const std::uint32_t number = derivatives_.take();
    try {
        const Node result =
            interior(Op::Differentiated, Scalar::real(data), {NodeId{group}, NodeId{number}});
        ++groups_[group].users;
        derivatives_[number].numbers.swap(numbers);
        derivatives_[number].first = first;
        return result;
    } catch (...) {
        derivatives_.give_back(number);
        throw;
    }
}

void Arena::release_group(std::uint32_t number) noexcept {
    Waiting waiting;
    leave_group(number, waiting);
    reclaim(waiting);
}

void Arena::leave_group(std::uint32_t number, Waiting& waiting) noexcept {
    OperandGroup& group = groups_[number];
    if (--group.users == 0) {
        for (const NodeRuns::Run& run : group.nodes) {
            release_operands(run, waiting);
        }
        groups_.give_back(number);
    }
}

}  // namespace mgx
