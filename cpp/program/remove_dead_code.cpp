// Dead code removal. An Affine stays as a whole if any of its results is used.

#include <algorithm>

#include "program/passes.hpp"

namespace mgx {

Program remove_dead_code(Program program) {
    std::vector<char> is_used(program.values);
    for (const ValueId output : program.outputs) {
        is_used[index_of(output)] = 1;
    }
    std::vector<char> is_alive(program.instructions.size());
    for (std::size_t i = program.instructions.size(); i-- > 0;) {
        const Instruction& instruction = program.instructions[i];
        const auto results =
            std::span(is_used).subspan(index_of(instruction.first_result), instruction.results);
        if (std::ranges::find(results, 1) == results.end()) {
            continue;
        }
        is_alive[i] = 1;
        for (const ValueId operand : program.operands_of(instruction)) {
            is_used[index_of(operand)] = 1;
        }
        if (instruction.kind == Instruction::Kind::Affine) {
            const auto& [weights, biases] = program.parameters_of(instruction);
            const auto use = [&](const ValueRange& range) {
                std::fill_n(is_used.begin() + static_cast<std::ptrdiff_t>(index_of(range.first)),
                            range.count, 1);
            };
            std::ranges::for_each(weights.ranges(), use);
            std::ranges::for_each(biases.ranges(), use);
        }
    }
    if (std::ranges::find(is_alive, 0) == is_alive.end()) {
        return program;
    }
    Rewriter rewriter(program);
    for (std::size_t i = 0; i < program.instructions.size(); ++i) {
        if (is_alive[i] != 0) {
            rewriter.copy(program.instructions[i]);
        }
    }
    return rewriter.finish();
}

}  // namespace mgx
