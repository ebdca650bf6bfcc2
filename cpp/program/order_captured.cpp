// The order of captured nodes: those that are weights of one instruction stand side by side in the
// order in which its kernel reads them, so that they need not be gathered into an array before.

#include <algorithm>

#include "program/passes.hpp"

namespace mgx {

namespace {

using Kind = Instruction::Kind;

}  // namespace

std::vector<std::uint32_t> order_captured(Program& program) {
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
            for (const ValueId weight :
                 program.operands_of(instruction).subspan(instruction.terms())) {
                place(weight);
            }
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
    return order;
}

}  // namespace mgx
