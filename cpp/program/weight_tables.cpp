// Weights are scattered over the nodes of the arena. The captured ones are read into the program's
// values at the beginning of each run, in an order in which most weights stand where the kernels
// want them (order_captured.cpp). Those that do not, such as a matrix with a weight that another
// one has as well, are gathered into an array, and their gradients scattered in the end.

#include "program/weight_tables.hpp"

#include <algorithm>
#include <unordered_map>

namespace mgx {

namespace {

[[nodiscard]] std::size_t hash(const AffineParameters& parameters) noexcept {
    std::size_t hash = 0;
    for (const ValueRanges* const values : {&parameters.weights, &parameters.biases}) {
        for (const ValueRange& range : values->ranges()) {
            hash = (hash ^ index_of(range.first)) * 0x9E3779B97F4A7C15U;
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
    const std::vector<char> is_weight = program.find_weights();
    std::vector<AffineParameters> known;  // of the tables
    std::unordered_multimap<std::size_t, std::uint32_t> by_hash;
    for (std::size_t i = 0; i < program.instructions.size(); ++i) {
        const Instruction& instruction = program.instructions[i];
        const auto operands = program.operands_of(instruction);
        AffineParameters parameters;
        if (instruction.kind == Instruction::Kind::Affine) {
            parameters = program.parameters_of(instruction);
        } else if (instruction.kind == Instruction::Kind::Take &&
                   std::ranges::all_of(operands.subspan(1), [&](ValueId entry) {
                       return is_weight[index_of(entry)] != 0;
                   })) {
            for (const ValueId entry : operands.subspan(1)) {
                parameters.weights.append(entry);
            }
        } else {
            continue;
        }
        const std::size_t its_hash = hash(parameters);
        const auto [first, last] = by_hash.equal_range(its_hash);
        const auto found = std::find_if(
            first, last, [&](const auto& entry) { return known[entry.second] == parameters; });
        if (found != last) {
            number_of_[i] = found->second;
            continue;
        }
        number_of_[i] = static_cast<std::uint32_t>(tables_.size());
        by_hash.emplace(its_hash, number_of_[i]);
        WeightTable table;
        table.rows = instruction.results;
        table.terms = parameters.weights.size() / table.rows;
        table.first_by_input = weights_;
        table.weights = find_or_gather(program, parameters.weights);
        table.biases = find_or_gather(program, parameters.biases);
        if (overlap(table)) {
            table.biases = gather(parameters.biases);  // as kernels add to both at once
        }
        tables_.push_back(table);
        weights_ += table.rows * table.terms;
        known.push_back(std::move(parameters));
    }
}

WeightSpan WeightTables::find_or_gather(const Program& program, const ValueRanges& values) {
    const auto ranges = values.ranges();
    if (ranges.size() == 1 && program.is_captured(ranges.front().first) &&
        ranges.front().end() <= program.first_computed()) {
        return {index_of(ranges.front().first), false};
    }
    return gather(values);
}

WeightSpan WeightTables::gather(const ValueRanges& values) {
    const std::size_t first = gathered_.size();
    values.for_each([this](ValueId value) { gathered_.push_back(value); });
    return {first, true};
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
