// Constant folding. All constants move to the front of the program, so that what another pass makes
// of several instructions can stand where the first of them stood.

#include <algorithm>
#include <bit>
#include <optional>
#include <stdexcept>
#include <unordered_map>
#include <unordered_set>

#include "program/evaluate.hpp"
#include "program/passes.hpp"

namespace mgx {

namespace {

using Kind = Instruction::Kind;

// Whether all constants are different, at the front, and no instruction is of constants alone.
[[nodiscard]] bool is_folded(const Program& program) {
    std::unordered_set<std::uint64_t> constants;
    std::size_t first_variable = 0;
    for (std::size_t i = 0; i < program.instructions.size(); ++i) {
        const Instruction& instruction = program.instructions[i];
        if (instruction.kind != Kind::Constant) {
            const auto operands = program.operands_of(instruction);
            const auto is_constant = [&](ValueId value) {
                return index_of(value) >= program.first_computed() &&
                       index_of(value) - program.first_computed() < first_variable;
            };
            if (instruction.kind == Kind::Apply && std::ranges::all_of(operands, is_constant)) {
                return false;
            }
        } else if (i != first_variable ||
                   !constants.insert(std::bit_cast<std::uint64_t>(instruction.number)).second) {
            return false;
        } else {
            ++first_variable;
        }
    }
    return true;
}

}  // namespace

Program fold_constants(Program program) {
    if (is_folded(program)) {
        return program;
    }
    Rewriter rewriter(program);
    std::unordered_map<std::uint64_t, ValueId> constants;  // of the new program, by their bits
    std::vector<std::optional<double>> known(program.values);
    const auto make_constant = [&](ValueId old, double number) {
        known[index_of(old)] = number;
        const auto [found, is_new] =
            constants.try_emplace(std::bit_cast<std::uint64_t>(number), ValueId{0});
        if (is_new) {
            found->second = rewriter.program().append_constant(number);
        }
        rewriter.rename(old, found->second);
    };
    std::vector<char> is_gone(program.instructions.size());
    for (std::size_t i = 0; i < program.instructions.size(); ++i) {
        const Instruction& instruction = program.instructions[i];
        if (instruction.kind == Kind::Constant) {
            make_constant(instruction.first_result, instruction.number);
            is_gone[i] = 1;
        } else if (instruction.kind == Kind::Apply) {
            const auto operands = program.operands_of(instruction);
            const auto x = known[index_of(operands.front())];
            const auto y = known[index_of(operands.back())];
            if (x.has_value() && y.has_value()) {
                try {
                    make_constant(instruction.first_result,
                                  evaluate(instruction.op, *x, *y, instruction.number));
                    is_gone[i] = 1;
                } catch (const std::domain_error&) {
                    continue;  // is raised when the program runs
                } catch (const std::overflow_error&) {
                    continue;
                }
            }
        }
    }
    for (std::size_t i = 0; i < program.instructions.size(); ++i) {
        if (is_gone[i] == 0) {
            rewriter.copy(program.instructions[i]);
        }
    }
    return rewriter.finish();
}

}  // namespace mgx
