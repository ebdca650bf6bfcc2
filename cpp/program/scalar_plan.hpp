#pragma once

// Running a program for one sample. See scalar_plan.cpp.

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "core/kernels.hpp"
#include "program/program.hpp"
#include "program/weight_tables.hpp"

namespace mgx {

// Which instructions of a program are to run, and which adjoints are wanted.
struct Selection {
    std::vector<char> instructions;  // whether each is to run
    std::vector<char> gradients;     // whether the adjoint of each value is wanted

    // All instructions, and those adjoints which the wanted ones are computed from.
    static Selection all(const Program& program, std::vector<char> wanted_sources);
};

// Spread over the values what is wanted of some: also the adjoints of all that depends on them.
void spread_to_dependents(const Program& program, std::vector<char>& gradients);

class ScalarPlan {
public:
    // The program and the tables, which are the program's, must outlive the plan.
    ScalarPlan(const Program& program, const WeightTables& tables, const Selection& selection);

    // The memory of a run.
    struct Workspace {
        std::vector<double> gathered;
        std::vector<double> gathered_grads;
        std::vector<double> weights_by_input;
        std::vector<double> inputs;
        std::vector<double> input_grads;
    };

    // Compute the results of instructions: `values` are all values of the program. Throws what the
    // eager engine throws.
    void forward(double* values, Workspace& workspace) const;

    // Add to the adjoints of all operands, from the last instruction to the first; `values` and
    // `workspace` are those of a forward run.
    void backward(const double* values, double* adjoints, Workspace& workspace) const;

private:
    // What a step does beside its operation. X and Y are operands that are the result of the step
    // before, whose only use that is if it is said. No adjoint is passed to y if that is fixed.
    enum class Way : std::uint8_t {
        Plain,
        X,
        OnlyX,
        Y,
        OnlyY,
        Both,
        OnlyBoth,
        PlainFixed,
        XFixed,
        OnlyXFixed
    };
    static constexpr unsigned ways = 10;

    // An instruction as the loop reads it.
    struct Step {
        std::uint16_t code;  // what the loop branches by
        std::uint32_t result;
        std::uint32_t x;
        std::uint32_t y;  // of PowConstant: of its exponent; of others: of the instruction
    };
    static_assert(sizeof(Step) == 16);

    // The operation is Custom for what is not one of one or two operands.
    [[nodiscard]] static constexpr std::uint16_t code(Op op, Way way) noexcept {
        return static_cast<std::uint16_t>(static_cast<unsigned>(op) * ways +
                                          static_cast<unsigned>(way));
    }
    [[nodiscard]] static constexpr Op op_of(const Step& step) noexcept {
        return static_cast<Op>(step.code / ways);
    }

    // So many steps with one operation, whose results stand side by side.
    struct Run {
        Op op;
        std::uint32_t steps;
        std::uint32_t first_result;
    };
    // What a run need not say of its steps: x and y of a Step.
    struct Operands {
        std::uint32_t x;
        std::uint32_t y;
    };

    // Steps in the order in which they run: one by one, or the runs that they form.
    struct Order {
        std::vector<Step> steps;
        std::vector<Run> runs;
        std::vector<Operands> operands;  // of the steps of all runs

        void put_into_runs();
        void find_ways(const ComputedNotes<std::uint32_t>& uses, std::span<const char> gradients);
    };

    [[nodiscard]] const Order& backward_order() const noexcept {
        return has_other_backward_order_ ? other_backward_order_ : order_;
    }
    [[nodiscard]] Step step_of(std::uint32_t number, std::span<const char> gradients);
    void forward_step_by_step(std::span<const Step> steps, double* values,
                              Workspace& workspace) const;
    void forward_in_runs(double* values, Workspace& workspace) const;
    void backward_step_by_step(std::span<const Step> steps, const double* values, double* adjoints,
                               Workspace& workspace) const;
    void backward_in_runs(const Order& order, const double* values, double* adjoints,
                          Workspace& workspace) const;
    void forward(const Instruction& instruction, std::size_t number, double* values,
                 Workspace& workspace) const;
    void backward(const Instruction& instruction, std::size_t number, const double* values,
                  double* adjoints, Workspace& workspace) const;

    const Program& program_;
    const WeightTables& tables_;
    const Kernels& kernels_ = kernels();
    std::vector<std::pair<std::uint32_t, double>> constants_;  // all of the program
    Order order_;
    Order other_backward_order_;  // those that run backwards, unless these are all
    std::vector<double> exponents_;
    bool runs_in_runs_ = false;
    bool has_other_backward_order_ = false;
    bool uses_tables_ = false;
};

// The entry that `index` chooses of a table of so many entries. Throws BadIndex.
[[nodiscard]] std::size_t checked_index(double index, std::size_t entries);

}  // namespace mgx
