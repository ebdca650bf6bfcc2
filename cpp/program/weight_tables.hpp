#pragma once

// Where the weights and biases of a program's affine instructions lie. See weight_tables.cpp.

#include <cstdint>
#include <span>
#include <vector>

#include "program/program.hpp"

namespace mgx {

// Numbers side by side: among the values of the program, or gathered from them.
struct WeightSpan {
    std::size_t first = 0;
    bool is_gathered = false;
};

// The weights of an affine instruction, row after row, and its biases. Instructions with the same
// weights share a table. A Take of captured or constant entries has one, too, of a single row
// without a bias.
struct WeightTable {
    WeightSpan weights;
    WeightSpan biases;
    std::size_t rows = 0;
    std::size_t terms = 0;
    std::size_t first_by_input = 0;  // in an array of all weights, input after input
};

// The values of a program and those that are gathered, or the gradients by both. The values begin
// with the one that has the number `first_value`.
template <typename Number>
struct Weights {
    Number* values;
    std::size_t first_value;
    Number* gathered;

    [[nodiscard]] Number* at(const WeightSpan& span) const noexcept {
        return span.is_gathered ? gathered + span.first : values + (span.first - first_value);
    }
};

class WeightTables {
public:
    explicit WeightTables(const Program& program);

    static constexpr std::uint32_t no_table = 0xFFFFFFFF;
    // That of an instruction of the program, by its number.
    [[nodiscard]] std::uint32_t number_of(std::size_t instruction) const noexcept {
        return number_of_[instruction];
    }
    [[nodiscard]] const WeightTable& operator[](std::uint32_t number) const noexcept {
        return tables_[number];
    }
    [[nodiscard]] std::span<const WeightTable> all() const noexcept { return tables_; }
    [[nodiscard]] std::size_t gathered() const noexcept { return gathered_.size(); }
    [[nodiscard]] std::size_t weights() const noexcept { return weights_; }  // of all tables

    // Fill the array of what is gathered from the values of the program.
    void gather(const double* values, std::vector<double>& gathered) const;
    // Add the gradients of the array to those of the values.
    void scatter(std::span<const double> gathered_grads, double* adjoints) const noexcept;

private:
    [[nodiscard]] WeightSpan find_or_gather(const Program& program, const ValueRanges& values);
    [[nodiscard]] WeightSpan gather(const ValueRanges& values);

    std::vector<WeightTable> tables_;
    std::vector<std::uint32_t> number_of_;
    std::vector<ValueId> gathered_;
    std::size_t weights_ = 0;
};

}  // namespace mgx
