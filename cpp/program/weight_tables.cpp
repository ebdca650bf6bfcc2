// Weights are scattered over the nodes of the arena. The kernels want them in arrays, so each run
// gathers the current ones first, each table once however many instructions use it, and scatters
// their gradients in the end.

#include "program/weight_tables.hpp"

#include <algorithm>
#include <unordered_map>

namespace mgx {

WeightTables::WeightTables(const Program& program)
    : number_of_(program.instructions.size(), no_table) {
    std::vector<char> is_weight(program.values);
    std::fill_n(is_weight.begin() + program.inputs, program.captured, 1);
    for (const Instruction& instruction : program.instructions) {
        if (instruction.kind == Instruction::Kind::Constant) {
            is_weight[index_of(instruction.first_result)] = 1;
        }
    }
    std::unordered_multimap<std::size_t, std::uint32_t> known;
    for (std::size_t i = 0; i < program.instructions.size(); ++i) {
        const Instruction& instruction = program.instructions[i];
        WeightTable table;
        std::span<const ValueId> wanted;
        if (instruction.kind == Instruction::Kind::Affine) {
            table.rows = instruction.results;
            table.terms = instruction.terms();
            wanted = program.operands_of(instruction).subspan(table.terms);
        } else if (instruction.kind == Instruction::Kind::Take) {
            wanted = program.operands_of(instruction).subspan(1);
            table.rows = 1;
            table.terms = wanted.size();
            if (!std::ranges::all_of(wanted, [&](ValueId entry) {
                    return is_weight[index_of(entry)] != 0;
                })) {
                continue;
            }
        } else {
            continue;
        }
        std::size_t hash = table.rows;
        for (const ValueId value : wanted) {
            hash = (hash ^ index_of(value)) * 0x9E3779B97F4A7C15U;
        }
        const auto [first, last] = known.equal_range(hash);
        const auto found = std::find_if(first, last, [&](const auto& entry) {
            const WeightTable& other = tables_[entry.second];
            return other.rows == table.rows && other.terms == table.terms &&
                   std::equal(wanted.begin(), wanted.end(),
                              values_.begin() + static_cast<std::ptrdiff_t>(other.first));
        });
        if (found != last) {
            number_of_[i] = found->second;
            continue;
        }
        table.first = values_.size();
        values_.insert(values_.end(), wanted.begin(), wanted.end());
        number_of_[i] = static_cast<std::uint32_t>(tables_.size());
        known.emplace(hash, number_of_[i]);
        tables_.push_back(table);
    }
}

void WeightTables::gather(const double* values, std::vector<double>& weights) const {
    weights.resize(values_.size());
    for (std::size_t i = 0; i < values_.size(); ++i) {
        weights[i] = values[index_of(values_[i])];
    }
}

void WeightTables::scatter(std::span<const double> weight_grads, double* adjoints) const noexcept {
    for (std::size_t i = 0; i < values_.size(); ++i) {
        adjoints[index_of(values_[i])] += weight_grads[i];
    }
}

}  // namespace mgx
