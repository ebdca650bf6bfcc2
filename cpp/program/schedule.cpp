// List scheduling: of the instructions whose operands are known, those with one operation wait in a
// queue. The longest queue is emptied, with what joins it meanwhile, and then the longest again. In
// a queue all keep their order, so that what was near in time stays near.
//
// Chains are followed from the outputs back: an instruction comes after all its operands, the one
// with the longest way from the inputs last.

#include "program/schedule.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace mgx {

using Kind = Instruction::Kind;

namespace {

// Runs that are as long as this on average are worth the way to them.
constexpr std::size_t steps_of_a_run = 8;

// A number for each class of instructions that one loop can do: the operation, or one for all that
// are none.
[[nodiscard]] std::size_t class_of(const Instruction& instruction) noexcept {
    return static_cast<std::size_t>(instruction.kind == Kind::Apply ? instruction.op : Op::Custom);
}

// The numbers of all instructions but the constants.
[[nodiscard]] std::vector<std::uint32_t> find_steps(const Program& program) {
    std::vector<std::uint32_t> steps;
    for (std::uint32_t number = 0; number < program.instructions.size(); ++number) {
        if (program.instructions[number].kind != Kind::Constant) {
            steps.push_back(number);
        }
    }
    return steps;
}

[[nodiscard]] std::size_t count_runs(const Program& program, std::span<const std::uint32_t> steps) {
    std::size_t runs = 0;
    std::size_t last = op_count;
    for (const std::uint32_t number : steps) {
        const std::size_t current = class_of(program.instructions[number]);
        runs += current != last ? 1U : 0U;
        last = current;
    }
    return runs;
}

[[nodiscard]] bool are_long(std::size_t runs, std::size_t steps) noexcept {
    return runs * steps_of_a_run <= steps;
}

[[nodiscard]] std::vector<std::uint32_t> scheduled(const Program& program,
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
        std::size_t done = 0;
        while (done < queue.size()) {  // which grows
            const std::uint32_t place = queue[done++];
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

// Any instruction may use them, also as weights, which are not among its operands.
void copy_constants(const Program& program, Rewriter& rewriter) {
    for (const Instruction& instruction : program.instructions) {
        if (instruction.kind == Kind::Constant) {
            rewriter.copy(instruction);
        }
    }
}

}  // namespace

bool has_long_runs(const Program& program) {
    const std::vector<std::uint32_t> steps = find_steps(program);
    return are_long(count_runs(program, steps), steps.size());
}

std::optional<Program> put_alike_together(const Program& program) {
    const std::vector<std::uint32_t> steps = find_steps(program);
    const std::vector<std::uint32_t> order = scheduled(program, steps);
    if (!are_long(count_runs(program, order), steps.size())) {
        return std::nullopt;
    }
    Rewriter rewriter(program);
    copy_constants(program, rewriter);
    for (const std::uint32_t number : order) {
        rewriter.copy(program.instructions[number]);
    }
    return rewriter.finish();
}

Program follow_chains(const Program& program) {
    const ComputedNotes<std::uint32_t> giver_of = program.find_definitions();
    std::vector<std::uint32_t> depth(program.values, 0);
    for (const Instruction& instruction : program.instructions) {
        std::uint32_t deepest = 0;
        for (const ValueId operand : program.operands_of(instruction)) {
            deepest = std::max(deepest, depth[index_of(operand)] + 1);
        }
        std::fill_n(depth.begin() + static_cast<std::ptrdiff_t>(index_of(instruction.first_result)),
                    instruction.results, deepest);
    }

    Rewriter rewriter(program);
    copy_constants(program, rewriter);
    std::vector<char> is_begun(program.instructions.size());
    struct Visit {
        std::uint32_t number;
        std::size_t next_operand;
        std::size_t deepest_operand;  // which comes last
    };
    std::vector<Visit> visits;
    const auto begin = [&](ValueId value) {
        if (!giver_of.has(value)) {
            return;
        }
        const std::uint32_t number = giver_of[value];
        if (is_begun[number] != 0 || program.instructions[number].kind == Kind::Constant) {
            return;
        }
        is_begun[number] = 1;
        const auto operands = program.operands_of(program.instructions[number]);
        const auto deepest = std::ranges::max_element(
            operands, {}, [&](ValueId operand) { return depth[index_of(operand)]; });
        visits.push_back({number, 0, static_cast<std::size_t>(deepest - operands.begin())});
    };
    for (const ValueId output : program.outputs) {
        begin(output);
        while (!visits.empty()) {
            Visit& visit = visits.back();
            const Instruction& instruction = program.instructions[visit.number];
            const auto operands = program.operands_of(instruction);
            const std::size_t turn = visit.next_operand++;
            if (turn > operands.size()) {
                rewriter.copy(instruction);
                visits.pop_back();
            } else if (turn == operands.size()) {
                begin(operands[visit.deepest_operand]);
            } else if (turn != visit.deepest_operand) {
                begin(operands[turn]);
            }
        }
    }
    return rewriter.finish();
}

}  // namespace mgx
