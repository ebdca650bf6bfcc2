#pragma once

// The weights and biases of a program's affine instructions, gathered into arrays.

#include <cstdint>
#include <span>
#include <vector>

#include "program/program.hpp"

namespace mgx {

// Where the weights of an affine instruction lie in the array of all of them: row after row, then
// the biases. Instructions with the same weights share them. A Take whose entries are captured or
// constant has a table as well, of one row without a bias.
struct WeightTable {
    std::size_t first = 0;
    std::size_t rows = 0;
    std::size_t terms = 0;

    [[nodiscard]] std::size_t biases() const noexcept { return first + rows * terms; }
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
    // What stands in the array of all weights.
    [[nodiscard]] std::span<const ValueId> values() const noexcept { return values_; }

    // Fill the array from the values of the program.
    void gather(const double* values, std::vector<double>& weights) const;
    // Add the gradients of the array to those of the values.
    void scatter(std::span<const double> weight_grads, double* adjoints) const noexcept;

private:
    std::vector<WeightTable> tables_;
    std::vector<std::uint32_t> number_of_;
    std::vector<ValueId> values_;
};

}  // namespace mgx
