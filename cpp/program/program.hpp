#pragma once

// A program: what a function of scalars computes, as instructions over numbered values. See
// program.cpp.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/op.hpp"

namespace mgx {

// Names a value of a program. The inputs come first, then the captured nodes, then the results of
// the instructions.
enum class ValueId : std::uint32_t {};

[[nodiscard]] constexpr std::size_t index_of(ValueId value) noexcept {
    return static_cast<std::size_t>(value);
}

struct Instruction {
    enum class Kind : std::uint8_t {
        Constant,  // `number`
        Apply,     // `op` of one or two operands; the exponent of a PowConstant is `number`
        Sum,       // operands[0] + operands[1] + ..., added in this order
        Dot,       // operands: the start of the sum, then the two factors of each term
        Affine,    // operands: the terms' inputs, the weights, row after row, and a bias a row;
                   // `op` is applied to each result, or is no_activation
        Take       // operands: an index, then the entries of the table that it is of
    };
    static constexpr Op no_activation = Op::Leaf;

    Kind kind = Kind::Apply;
    Op op = no_activation;
    std::uint32_t first_operand = 0;  // in Program::operands
    std::uint32_t operand_count = 0;
    ValueId first_result{0};  // the others follow it
    std::uint32_t results = 1;
    double number = 0.0;

    [[nodiscard]] std::size_t terms() const noexcept {  // of an Affine
        return (operand_count - results) / (results + 1);
    }
    // How many scalar operations micrograd would do: the nodes that it stands for.
    [[nodiscard]] std::size_t nodes() const noexcept;
};

// Whether the instruction has as many operands and results as one of its kind.
[[nodiscard]] bool is_well_formed(const Instruction& instruction) noexcept;

struct Program {
    std::uint32_t inputs = 0;
    std::uint32_t captured = 0;
    std::uint32_t values = 0;  // in all
    std::size_t nodes = 0;     // that all instructions stand for
    std::vector<Instruction> instructions;
    std::vector<ValueId> operands;  // of all instructions
    std::vector<ValueId> outputs;

    [[nodiscard]] std::span<const ValueId> operands_of(const Instruction& it) const noexcept {
        return std::span(operands).subspan(it.first_operand, it.operand_count);
    }
    [[nodiscard]] ValueId input(std::size_t number) const noexcept {
        return ValueId{static_cast<std::uint32_t>(number)};
    }
    [[nodiscard]] ValueId captured_value(std::size_t number) const noexcept {
        return ValueId{inputs + static_cast<std::uint32_t>(number)};
    }
    [[nodiscard]] bool is_captured(ValueId value) const noexcept {
        return index_of(value) >= inputs && index_of(value) < std::size_t{inputs} + captured;
    }

    // Append an instruction; its first result.
    ValueId append(Instruction instruction, std::span<const ValueId> its_operands);
    ValueId append_constant(double number);

    // How often each value is an operand or an output.
    [[nodiscard]] std::vector<std::uint32_t> count_uses() const;
    // The number of the instruction that each value is a result of; none for inputs and captured.
    static constexpr std::uint32_t no_instruction = 0xFFFFFFFF;
    [[nodiscard]] std::vector<std::uint32_t> find_definitions() const;

    // The instructions, a line each, after one for the inputs and one for the captured nodes and
    // before one for the outputs.
    [[nodiscard]] std::string listing() const;
    // For each line, the numbers of those whose values it uses, in order.
    [[nodiscard]] std::vector<std::vector<std::size_t>> listing_sources() const;
};

// Makes a program of another one, instruction by instruction.
class Rewriter {
public:
    explicit Rewriter(const Program& from);

    // What a value of the old program is in the new one.
    [[nodiscard]] ValueId operator()(ValueId old) const noexcept { return renamed_[index_of(old)]; }
    void rename(ValueId old, ValueId renamed) noexcept { renamed_[index_of(old)] = renamed; }

    // Take the instruction over, with other operands if given.
    void copy(const Instruction& instruction);
    void copy(const Instruction& instruction, std::span<const ValueId> old_operands);

    [[nodiscard]] Program& program() noexcept { return to_; }
    // The new program, with the outputs of the old one.
    [[nodiscard]] Program finish();

private:
    const Program& from_;
    Program to_;
    std::vector<ValueId> renamed_;
    std::vector<ValueId> buffer_;
};

}  // namespace mgx
