#pragma once

// A program: what a function of scalars computes, as instructions over numbered values. See
// program.cpp.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/op.hpp"
#include "program/value_ranges.hpp"

namespace mgx {

struct Instruction {
    enum class Kind : std::uint8_t {
        Constant,  // `number`
        Apply,     // `op` of one or two operands; the exponent of a PowConstant is `number`
        Sum,       // operands[0] + operands[1] + ..., added in this order
        Dot,       // operands: the start of the sum, then the two factors of each term
        Affine,    // operands: the inputs of all rows, each of which is their sum with its weights,
                   // started from its bias; `op` is applied to it, or is no_activation
        Take       // operands: an index, then the entries of the table that it is of
    };
    static constexpr Op no_activation = Op::Leaf;

    Kind kind = Kind::Apply;
    Op op = no_activation;
    std::uint32_t first_operand = 0;  // in Program::operands
    std::uint32_t operand_count = 0;
    ValueId first_result{0};  // the others follow it
    std::uint32_t results = 1;
    std::uint32_t parameters = 0;  // of an Affine, in Program::parameters
    double number = 0.0;

    // How many scalar operations micrograd would do: the nodes that it stands for.
    [[nodiscard]] std::size_t nodes() const noexcept;
};

// Whether an Affine may apply the operation: its sums are not kept, so the derivative must be told
// from the result.
[[nodiscard]] constexpr bool has_derivative_by_result(Op op) noexcept {
    return op == Op::Relu || op == Op::Tanh || op == Op::Sigmoid || op == Op::Exp;
}

// What an Affine has besides its operands, captured or constant values all. Several may share it.
struct AffineParameters {
    ValueRanges weights;  // row after row
    ValueRanges biases;   // one a row

    friend bool operator==(const AffineParameters&, const AffineParameters&) = default;
};

// What a pass notes of each value that is computed. Inputs and captured nodes, which may be many
// more, take no room.
template <typename Note>
class ComputedNotes {
public:
    ComputedNotes(std::size_t first_computed, std::size_t values, Note note)
        : first_(first_computed), notes_(values - first_computed, note) {}

    [[nodiscard]] bool has(ValueId value) const noexcept { return index_of(value) >= first_; }
    [[nodiscard]] Note& operator[](ValueId computed) noexcept {
        return notes_[index_of(computed) - first_];
    }
    [[nodiscard]] const Note& operator[](ValueId computed) const noexcept {
        return notes_[index_of(computed) - first_];
    }

private:
    std::size_t first_;
    std::vector<Note> notes_;
};

struct Program {
    std::uint32_t inputs = 0;
    std::uint32_t captured = 0;
    std::uint32_t values = 0;  // in all
    std::size_t nodes = 0;     // that all instructions stand for
    std::vector<Instruction> instructions;
    std::vector<ValueId> operands;  // of all instructions
    std::vector<AffineParameters> parameters;
    std::vector<ValueId> outputs;

    [[nodiscard]] std::span<const ValueId> operands_of(const Instruction& it) const noexcept {
        return std::span(operands).subspan(it.first_operand, it.operand_count);
    }
    [[nodiscard]] const AffineParameters& parameters_of(const Instruction& it) const noexcept {
        return parameters[it.parameters];
    }
    [[nodiscard]] ValueId input(std::size_t number) const noexcept {
        return ValueId{static_cast<std::uint32_t>(number)};
    }
    [[nodiscard]] ValueId captured_value(std::size_t number) const noexcept {
        return ValueId{inputs + static_cast<std::uint32_t>(number)};
    }
    [[nodiscard]] bool is_captured(ValueId value) const noexcept {
        return index_of(value) >= inputs && index_of(value) < first_computed();
    }

    // Where the results of instructions begin.
    [[nodiscard]] std::size_t first_computed() const noexcept {
        return std::size_t{inputs} + captured;
    }

    // No value is beyond this one.
    static constexpr ValueId last_value{0xFFFFFFF0};

    // Append an instruction; its first result.
    ValueId append(Instruction instruction, std::span<const ValueId> its_operands);
    ValueId append_constant(double number);
    ValueId append_affine(Instruction affine, std::span<const ValueId> its_inputs,
                          AffineParameters its_parameters);

    // Whether the instruction has as many operands and results as one of its kind.
    [[nodiscard]] bool is_well_formed(const Instruction& instruction) const noexcept;

    // Whether each value may be a weight: it is captured or constant.
    [[nodiscard]] std::vector<char> find_weights() const;
    // How often each computed value is an operand or an output.
    [[nodiscard]] ComputedNotes<std::uint32_t> count_uses() const;
    // The number of the instruction that each computed value is a result of.
    [[nodiscard]] ComputedNotes<std::uint32_t> find_definitions() const;

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
    [[nodiscard]] ValueId operator()(ValueId old) const noexcept {
        return renamed_.has(old) ? renamed_[old] : old;
    }
    void rename(ValueId old, ValueId renamed) noexcept { renamed_[old] = renamed; }

    // Take the instruction over, with other operands if given.
    void copy(const Instruction& instruction);
    void copy(const Instruction& instruction, std::span<const ValueId> old_operands);

    // Weights or biases, likewise.
    [[nodiscard]] ValueRanges operator()(const ValueRanges& old) const;

    [[nodiscard]] Program& program() noexcept { return to_; }
    // The new program, with the outputs of the old one.
    [[nodiscard]] Program finish();

private:
    static constexpr std::uint32_t none = 0xFFFFFFFF;

    const Program& from_;
    Program to_;
    ComputedNotes<ValueId> renamed_;
    std::vector<std::uint32_t> parameters_;  // of the new program that are those of the old one
    std::vector<ValueId> buffer_;
};

}  // namespace mgx
