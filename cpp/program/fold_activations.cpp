// Activation folding: only of operations that an Affine may apply.

#include <algorithm>

#include "program/passes.hpp"

namespace mgx {

namespace {

using Kind = Instruction::Kind;

constexpr std::uint32_t no_instruction = 0xFFFFFFFF;

// For each computed value, the number of the instruction that has it as an operand; of several,
// any.
ComputedNotes<std::uint32_t> find_users(const Program& program) {
    ComputedNotes<std::uint32_t> users(program.first_computed(), program.values, no_instruction);
    for (std::uint32_t i = 0; i < program.instructions.size(); ++i) {
        for (const ValueId operand : program.operands_of(program.instructions[i])) {
            if (users.has(operand)) {
                users[operand] = i;
            }
        }
    }
    return users;
}

}  // namespace

Program fold_activations(Program program) {
    if (std::ranges::none_of(program.instructions, [](const Instruction& instruction) {
            return instruction.kind == Kind::Affine;
        })) {
        return program;
    }
    const auto uses = program.count_uses();
    const auto users = find_users(program);
    // The operation that all results go through, and nowhere else.
    const auto activation = [&](const Instruction& affine) {
        Op op = Instruction::no_activation;
        for (std::uint32_t row = 0; row < affine.results; ++row) {
            const ValueId result{static_cast<std::uint32_t>(affine.first_result) + row};
            if (uses[result] != 1 || users[result] == no_instruction) {
                return Instruction::no_activation;
            }
            const Instruction& user = program.instructions[users[result]];
            if (user.kind != Kind::Apply || !has_derivative_by_result(user.op) ||
                (row > 0 && user.op != op)) {
                return Instruction::no_activation;
            }
            op = user.op;
        }
        return op;
    };
    Rewriter rewriter(program);
    std::vector<char> is_folded(program.instructions.size());
    for (std::size_t i = 0; i < program.instructions.size(); ++i) {
        Instruction instruction = program.instructions[i];
        if (is_folded[i] != 0) {
            continue;
        }
        const bool may_fold =
            instruction.kind == Kind::Affine && instruction.op == Instruction::no_activation;
        if (may_fold) {
            instruction.op = activation(instruction);
        }
        rewriter.copy(instruction);
        if (!may_fold || instruction.op == Instruction::no_activation) {
            continue;
        }
        for (std::uint32_t row = 0; row < instruction.results; ++row) {
            const ValueId result{static_cast<std::uint32_t>(instruction.first_result) + row};
            const std::uint32_t user = users[result];
            is_folded[user] = 1;
            rewriter.rename(program.instructions[user].first_result, rewriter(result));
        }
    }
    return rewriter.finish();
}

}  // namespace mgx
