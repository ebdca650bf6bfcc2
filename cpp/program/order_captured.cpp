// The order of captured nodes: those that are weights of one instruction stand side by side in the
// order in which its kernel reads them, so that they need not be gathered into an array before.

#include <algorithm>
#include <utility>

#include "program/passes.hpp"

namespace mgx {

namespace {

using Kind = Instruction::Kind;

// Whether all weights stand side by side as they are.
[[nodiscard]] bool is_ordered(const Program& program) {
    return std::ranges::all_of(program.parameters, [](const AffineParameters& its) {
        return its.weights.ranges().size() == 1 && its.biases.ranges().size() == 1;
    });
}

}  // namespace

std::optional<std::vector<std::uint32_t>> order_captured(Program& program) {
    if (is_ordered(program)) {
        return std::nullopt;
    }
    std::vector<std::uint32_t> order;
    std::vector<char> is_placed(program.captured);
    const auto place = [&](ValueId value) {
        if (program.is_captured(value)) {
            const std::size_t number = index_of(value) - program.inputs;
            if (is_placed[number] == 0) {
                is_placed[number] = 1;
                order.push_back(static_cast<std::uint32_t>(number));
            }
        }
    };
    for (const Instruction& instruction : program.instructions) {
        if (instruction.kind == Kind::Affine) {
            program.parameters_of(instruction).weights.for_each(place);
            program.parameters_of(instruction).biases.for_each(place);
        }
    }
    for (std::size_t i = 0; i < program.captured; ++i) {
        place(program.captured_value(i));
    }
    std::vector<ValueId> renamed(program.captured);
    for (std::size_t i = 0; i < order.size(); ++i) {
        renamed[order[i]] = program.captured_value(i);
    }
    const auto rename = [&](ValueId& value) {
        if (program.is_captured(value)) {
            value = renamed[index_of(value) - program.inputs];
        }
    };
    std::ranges::for_each(program.operands, rename);
    std::ranges::for_each(program.outputs, rename);
    for (auto& [weights, biases] : program.parameters) {
        for (ValueRanges* const values : {&weights, &biases}) {
            ValueRanges ordered;
            values->for_each([&](ValueId value) {
                rename(value);
                ordered.append(value);
            });
            *values = std::move(ordered);
        }
    }
    return order;
}

}  // namespace mgx
