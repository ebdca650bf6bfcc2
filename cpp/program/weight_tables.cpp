// Weights are scattered over the nodes of the arena. The captured ones are read into the program's
// values at the beginning of each run, in an order in which most weights stand where the kernels
// want them (order_captured.cpp). Those that do not, such as a matrix with a weight that another
// one has as well, are gathered into an array, and their gradients scattered in the end.

#include "program/weight_tables.hpp"

#include <algorithm>
#include <unordered_map>

namespace mgx {

namespace {

// The operands that are an instruction's weights, and those that are its biases.
struct Operands {
    std::span<const ValueId> weights;
    std::span<const ValueId> biases;
    std::size_t rows = 0;
};

[[nodiscard]] std::size_t hash(const Operands& operands) noexcept {
    std::size_t hash = operands.rows;
    for (const auto values : {operands.weights, operands.biases}) {
        for (const ValueId value : values) {
            hash = (hash ^ index_of(value)) * 0x9E3779B97F4A7C15U;
        }
    }
    return hash;
}

// Whether a number is a weight and a bias.
[[nodiscard]] bool overlap(const WeightTable& table) noexcept {
    return !table.weights.is_gathered && !table.biases.is_gathered &&
           table.weights.first < table.biases.first + table.rows &&
           table.biases.first < table.weights.first + table.rows * table.terms;
}

}  // namespace

WeightTables::WeightTables(const Program& program)
    : number_of_(program.instructions.size(), no_table) {
    std::vector<char> is_weight(program.values);
    std::fill_n(is_weight.begin() + program.inputs, program.captured, 1);
    for (const Instruction& instruction : program.instructions) {
        if (instruction.kind == Instruction::Kind::Constant) {
            is_weight[index_of(instruction.first_result)] = 1;
        }
    }
    std::vector<Operands> known;  // of the tables
    std::unordered_multimap<std::size_t, std::uint32_t> by_hash;
    for (std::size_t i = 0; i < program.instructions.size(); ++i) {
        const Instruction& instruction = program.instructions[i];
        const auto all = program.operands_of(instruction);
        Operands operands;
        if (instruction.kind == Instruction::Kind::Affine) {
            operands.rows = instruction.results;
            operands.biases = all.last(operands.rows);
            operands.weights =
                all.subspan(instruction.terms(), operands.rows * instruction.terms());
        } else if (instruction.kind == Instruction::Kind::Take &&
                   std::ranges::all_of(all.subspan(1), [&](ValueId entry) {
                       return is_weight[index_of(entry)] != 0;
                   })) {
            operands.rows = 1;
            operands.weights = all.subspan(1);
        } else {
            continue;
        }
        const auto [first, last] = by_hash.equal_range(hash(operands));
        const auto found = std::find_if(first, last, [&](const auto& entry) {
            const Operands& other = known[entry.second];
            return other.rows == operands.rows &&
                   std::ranges::equal(other.weights, operands.weights) &&
                   std::ranges::equal(other.biases, operands.biases);
        });
        if (found != last) {
            number_of_[i] = found->second;
            continue;
        }
        number_of_[i] = static_cast<std::uint32_t>(tables_.size());
        by_hash.emplace(hash(operands), number_of_[i]);
        known.push_back(operands);
        WeightTable table;
        table.rows = operands.rows;
        table.terms = operands.weights.size() / operands.rows;
        table.first_by_input = weights_;
        table.weights = find_or_gather(program, operands.weights);
        table.biases = find_or_gather(program, operands.biases);
        if (overlap(table)) {
            table.biases = gather(operands.biases);  // as kernels add to both at once
        }
        tables_.push_back(table);
        weights_ += operands.weights.size();
    }
}

WeightSpan WeightTables::find_or_gather(const Program& program, std::span<const ValueId> values) {
    bool are_side_by_side = true;
    for (std::size_t i = 0; i < values.size(); ++i) {
        are_side_by_side &=
            program.is_captured(values[i]) && index_of(values[i]) == index_of(values.front()) + i;
    }
    if (are_side_by_side && !values.empty()) {
        return {index_of(values.front()), false};
    }
    return gather(values);
}

WeightSpan WeightTables::gather(std::span<const ValueId> values) {
    gathered_.insert(gathered_.end(), values.begin(), values.end());
    return {gathered_.size() - values.size(), true};
}

void WeightTables::gather(const double* values, std::vector<double>& gathered) const {
    gathered.resize(gathered_.size());
    for (std::size_t i = 0; i < gathered_.size(); ++i) {
        gathered[i] = values[index_of(gathered_[i])];
    }
}

void WeightTables::scatter(std::span<const double> gathered_grads,
                           double* adjoints) const noexcept {
    for (std::size_t i = 0; i < gathered_.size(); ++i) {
        adjoints[index_of(gathered_[i])] += gathered_grads[i];
    }
}

}  // namespace mgx
