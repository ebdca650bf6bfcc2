// List scheduling: of the instructions whose operands are known, those with one operation wait in a
// queue. The longest queue is emptied, with what joins it meanwhile, and then the longest again. In
// a queue all keep their order, so that what was near in time stays near.

#include "program/schedule.hpp"

#include <algorithm>
#include <array>

namespace mgx {

using Kind = Instruction::Kind;

namespace {

// A number for each class of instructions that are alike: the operation, or one for all that are
// none.
[[nodiscard]] std::size_t class_of(const Instruction& instruction) noexcept {
    return static_cast<std::size_t>(instruction.kind == Kind::Apply ? instruction.op : Op::Custom);
}

}  // namespace

bool are_alike(const Instruction& one, const Instruction& other) noexcept {
    return class_of(one) == class_of(other);
}

std::vector<std::uint32_t> put_alike_together(const Program& program,
                                              std::span<const std::uint32_t> instructions) {
    constexpr std::uint32_t none = 0xFFFFFFFF;
    std::vector<std::uint32_t> place_of(program.values, none);  // of the instruction that gives it
    for (std::uint32_t place = 0; place < instructions.size(); ++place) {
        const Instruction& instruction = program.instructions[instructions[place]];
        std::fill_n(
            place_of.begin() + static_cast<std::ptrdiff_t>(index_of(instruction.first_result)),
            instruction.results, place);
    }

    // Who needs the results of whom: dependents of `place` are from first_dependent[place] on.
    std::vector<std::uint32_t> unknown_operands(instructions.size(), 0);
    std::vector<std::uint32_t> first_dependent(instructions.size() + 1, 0);
    const auto for_each_need = [&](auto visit) {
        for (std::uint32_t place = 0; place < instructions.size(); ++place) {
            for (const ValueId operand :
                 program.operands_of(program.instructions[instructions[place]])) {
                if (const std::uint32_t giver = place_of[index_of(operand)]; giver != none) {
                    visit(giver, place);
                }
            }
        }
    };
    for_each_need([&](std::uint32_t giver, std::uint32_t place) {
        ++first_dependent[giver + 1];
        ++unknown_operands[place];
    });
    for (std::size_t place = 0; place < instructions.size(); ++place) {
        first_dependent[place + 1] += first_dependent[place];
    }
    std::vector<std::uint32_t> dependents(first_dependent.back());
    std::vector<std::uint32_t> next(first_dependent.begin(), first_dependent.end() - 1);
    for_each_need(
        [&](std::uint32_t giver, std::uint32_t place) { dependents[next[giver]++] = place; });

    std::array<std::vector<std::uint32_t>, op_count> queues;
    const auto enqueue = [&](std::uint32_t place) {
        queues[class_of(program.instructions[instructions[place]])].push_back(place);
    };
    for (std::uint32_t place = 0; place < instructions.size(); ++place) {
        if (unknown_operands[place] == 0) {
            enqueue(place);
        }
    }
    std::vector<std::uint32_t> order;
    order.reserve(instructions.size());
    while (order.size() < instructions.size()) {
        std::vector<std::uint32_t>& queue =
            *std::ranges::max_element(queues, {}, [](const auto& it) { return it.size(); });
        for (std::size_t i = 0; i < queue.size(); ++i) {
            const std::uint32_t place = queue[i];
            order.push_back(instructions[place]);
            for (std::uint32_t d = first_dependent[place]; d < first_dependent[place + 1]; ++d) {
                if (--unknown_operands[dependents[d]] == 0) {
                    enqueue(dependents[d]);
                }
            }
        }
        queue.clear();
    }
    return order;
}

}  // namespace mgx
