// Many samples at a time.
//
// What does not depend on the sample runs once, as the prologue. All else runs over blocks of
// samples: each instruction is done to all lanes of a block before the next, so that finding out
// what to do is paid once a block, and the lanes of a block stay in the cache. A slot is a vector
// of so many lanes; values and adjoints that are never needed at the same time share one
// (slots.cpp).
//
// The backward pass follows the forward pass of the same block. The order in which sums over
// samples are added up is fixed, whatever the number of threads and the width of registers: within
// a block by lane, blocks one after another within a chunk, and then the chunks one after another.
// How samples are divided into blocks and chunks depends on the program and their number alone.
//
// The last block's lanes beyond the last sample repeat that sample, so that nothing unheard of
// happens in them; their adjoints are never added to anything.

#include "program/lane_plan.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <thread>

#include "core/errors.hpp"
#include "program/evaluate.hpp"
#include "program/slots.hpp"
#include "program/thread_pool.hpp"

namespace mgx {

using Kind = Instruction::Kind;

namespace {

constexpr std::size_t most_lanes = 128;
constexpr std::size_t fewest_lanes = 64;
constexpr std::size_t block_bytes = std::size_t{96} * 1024;
constexpr std::size_t most_chunks = 16;

using Clock = std::chrono::steady_clock;
constexpr auto time_between_checks = std::chrono::milliseconds(50);

constexpr std::size_t round_up(std::size_t number, std::size_t multiple) noexcept {
    return (number + multiple - 1) / multiple * multiple;
}
constexpr std::size_t divide_up(std::size_t number, std::size_t divisor) noexcept {
    return (number + divisor - 1) / divisor;
}

// Memory for lanes, which begins where a cache line does.
class LaneMemory {
public:
    void resize(std::size_t doubles) {
        memory_.resize(doubles + line);
        auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
        const std::size_t beyond = address / sizeof(double) % line;
        first_ = memory_.data() + (line - beyond) % line;
    }
    [[nodiscard]] double* data() noexcept { return first_; }

private:
    static constexpr std::size_t line = 8;
    std::vector<double> memory_;
    double* first_ = nullptr;
};

}  // namespace

struct LanePlan::Workspace {
    LaneMemory lanes;
    LaneMemory scratch;
    std::size_t stride = 0;
    std::vector<const double*> inputs;  // of affine instructions
    std::vector<double*> input_adjoints;
    std::size_t failed_sample = 0;  // of the block, if one has failed
};

// What a chunk of samples adds up to.
struct LanePlan::Chunk {
    std::vector<double> sums;            // of outputs
    std::vector<double> splat_grads;     // of the values that are the same for all samples
    std::vector<double> captured_grads;  // of the first chunk they are those of the batch
    std::vector<double> gathered_grads;
    Weights<double> weight_grads{};
    std::exception_ptr error;
};

// Chooses the steps and where their values lie.
class LanePlan::Builder {
public:
    Builder(LanePlan& plan, const Wish& wish)
        : plan_(plan),
          program_(plan.program_),
          varying_(program_.values),
          value_tenancy_(program_.values, none),
          adjoint_tenancy_(program_.values, none),
          wish_(wish) {}

    void run() {
        find_what_varies();
        find_gradients();
        choose_steps();
        make_tenancies();
        plan_.slots_ = allocate_slots(tenancies_);
        make_steps();
    }

private:
    static constexpr std::uint32_t none = 0xFFFFFFFF;

    [[nodiscard]] bool varies(ValueId value) const noexcept {
        return varying_[index_of(value)] != 0;
    }
    [[nodiscard]] bool has_gradient(ValueId value) const noexcept {
        return plan_.gradients_[index_of(value)] != 0;
    }

    void find_what_varies() {
        std::ranges::copy(wish_.varying, varying_.begin());
        spread_to_dependents(program_, varying_);
    }

    void find_gradients() {
        std::vector<char>& gradients = plan_.gradients_;
        gradients.assign(program_.values, 0);
        for (std::size_t i = 0; i < program_.inputs; ++i) {
            const bool is_wanted =
                wish_.varying[i] != 0 ? wish_.varying_gradients : wish_.shared_gradients;
            gradients[i] = is_wanted ? 1 : 0;
        }
        std::fill_n(gradients.begin() + program_.inputs, program_.captured,
                    wish_.shared_gradients ? 1 : 0);
        plan_.has_gradients_ = wish_.shared_gradients || wish_.varying_gradients;
        spread_to_dependents(program_, gradients);
    }

    void choose_steps() {
        Selection prologue;
        prologue.gradients = plan_.gradients_;
        for (std::uint32_t i = 0; i < program_.instructions.size(); ++i) {
            const Instruction& instruction = program_.instructions[i];
            const bool is_step = varies(instruction.first_result) ||
                                 (instruction.results > 1 && any_varies(instruction));
            prologue.instructions.push_back(is_step ? 0 : 1);
            if (is_step) {
                chosen_.push_back(i);
            }
        }
        plan_.prologue_ = std::make_unique<ScalarPlan>(program_, plan_.tables_, prologue);
    }

    [[nodiscard]] bool any_varies(const Instruction& instruction) const noexcept {
        return std::ranges::any_of(program_.operands_of(instruction),
                                   [this](ValueId operand) { return varies(operand); });
    }

    // The operands that a step needs the lanes of.
    [[nodiscard]] std::span<const ValueId> lane_operands(std::uint32_t number) const noexcept {
        const Instruction& instruction = program_.instructions[number];
        const auto operands = program_.operands_of(instruction);
        if (instruction.kind == Kind::Affine) {
            return operands.first(instruction.terms());
        }
        const bool has_table = plan_.tables_.number_of(number) != WeightTables::no_table;
        return has_table ? operands.first(1) : operands;
    }

    // Whether the backward step looks at the operands and at the result.
    [[nodiscard]] static bool needs_operands(const Instruction& instruction) noexcept {
        return instruction.kind != Kind::Sum &&
               (instruction.kind != Kind::Apply || instruction.op != Op::Add);
    }
    [[nodiscard]] static bool needs_result(const Instruction& instruction) noexcept {
        return instruction.kind == Kind::Affine
                   ? instruction.op != Instruction::no_activation
                   : instruction.kind == Kind::Apply && !is_binary(instruction.op);
    }

    std::uint32_t add_tenancy(std::uint32_t from, std::uint32_t until, std::uint32_t width) {
        tenancies_.push_back({from, until, width, 0});
        return static_cast<std::uint32_t>(tenancies_.size() - 1);
    }

    void make_tenancies() {
        const auto steps = static_cast<std::uint32_t>(chosen_.size());
        const std::uint32_t turn = steps + 1;  // when outputs are read and their adjoints set
        const std::uint32_t end = turn + steps + 1;
        // Inputs and what is the same for all samples stay, as do their adjoints.
        const std::uint32_t inputs = add_tenancy(0, end, program_.inputs);
        const std::uint32_t input_adjoints = add_tenancy(turn, end, program_.inputs);
        for (std::size_t i = 0; i < program_.inputs; ++i) {
            if (wish_.varying[i] != 0) {
                value_tenancy_[i] = inputs;
                adjoint_tenancy_[i] = plan_.gradients_[i] != 0 ? input_adjoints : none;
            }
        }
        const auto add_splat = [&](ValueId value) {
            if (!varies(value) && value_tenancy_[index_of(value)] == none) {
                splats_.push_back(value);
                value_tenancy_[index_of(value)] = add_tenancy(0, end, 1);
                if (has_gradient(value)) {
                    adjoint_tenancy_[index_of(value)] = add_tenancy(turn, end, 1);
                }
            }
        };
        for (const std::uint32_t number : chosen_) {
            std::ranges::for_each(lane_operands(number), add_splat);
        }
        std::ranges::for_each(program_.outputs, add_splat);

        for (std::uint32_t step = 0; step < steps; ++step) {
            const Instruction& instruction = program_.instructions[chosen_[step]];
            const std::uint32_t born = step + 1;
            const std::uint32_t tenancy = add_tenancy(born, born, instruction.results);
            for (std::uint32_t row = 0; row < instruction.results; ++row) {
                value_tenancy_[index_of(instruction.first_result) + row] = tenancy;
            }
            for (const ValueId operand : lane_operands(chosen_[step])) {
                extend(operand, born);
            }
        }
        for (const ValueId output : program_.outputs) {
            extend(output, turn);
        }
        if (!plan_.has_gradients_) {
            return;
        }
        // Adjoints begin with the last step that adds to them, and end with the value's own.
        for (const ValueId output : program_.outputs) {
            begin_adjoint(output, turn);
        }
        for (std::uint32_t step = steps; step-- > 0;) {
            const Instruction& instruction = program_.instructions[chosen_[step]];
            if (!has_gradient(instruction.first_result)) {
                continue;
            }
            const std::uint32_t time = turn + (steps - step);
            if (needs_result(instruction)) {
                extend(instruction.first_result, time);
            }
            begin_adjoint(instruction.first_result, time);  // nobody has added to it
            Tenancy& adjoint = tenancies_[adjoint_tenancy_[index_of(instruction.first_result)]];
            adjoint.until = std::max(adjoint.until, time);
            for (const ValueId operand : lane_operands(chosen_[step])) {
                if (needs_operands(instruction)) {
                    extend(operand, time);
                }
                begin_adjoint(operand, time);
            }
        }
    }

    void extend(ValueId value, std::uint32_t until) {
        Tenancy& tenancy = tenancies_[value_tenancy_[index_of(value)]];
        tenancy.until = std::max(tenancy.until, until);
    }

    void begin_adjoint(ValueId value, std::uint32_t time) {
        if (!has_gradient(value) || adjoint_tenancy_[index_of(value)] != none) {
            return;
        }
        const Tenancy& its = tenancies_[value_tenancy_[index_of(value)]];
        const std::uint32_t width = its.width;
        const std::uint32_t tenancy = add_tenancy(time, time, width);
        const std::uint32_t first = first_of_unit(value);
        for (std::uint32_t row = 0; row < width; ++row) {
            adjoint_tenancy_[first + row] = tenancy;
        }
    }

    // The first of the results of the instruction that the value is one of.
    [[nodiscard]] std::uint32_t first_of_unit(ValueId value) const noexcept {
        auto first = static_cast<std::uint32_t>(value);
        while (first > 0 && value_tenancy_[first - 1] == value_tenancy_[first]) {
            --first;
        }
        return first;
    }

    [[nodiscard]] Place place_of(ValueId value) const noexcept {
        const auto slot = [&](const std::vector<std::uint32_t>& tenancy_of) {
            const std::uint32_t tenancy = tenancy_of[index_of(value)];
            if (tenancy == none) {
                return no_slot;
            }
            const std::uint32_t row = tenancies_[tenancy].width == 1
                                          ? 0
                                          : static_cast<std::uint32_t>(value) - first_of(value);
            return tenancies_[tenancy].first_slot + row;
        };
        return {slot(value_tenancy_), slot(adjoint_tenancy_)};
    }

    [[nodiscard]] std::uint32_t first_of(ValueId value) const noexcept {
        return index_of(value) < program_.inputs ? 0 : first_result_[index_of(value)];
    }

    void make_steps() {
        first_result_.resize(program_.values);
        for (const std::uint32_t number : chosen_) {
            const Instruction& instruction = program_.instructions[number];
            std::fill_n(first_result_.begin() +
                            static_cast<std::ptrdiff_t>(index_of(instruction.first_result)),
                        instruction.results, static_cast<std::uint32_t>(instruction.first_result));
        }
        const auto steps = static_cast<std::uint32_t>(chosen_.size());
        const std::uint32_t turn = steps + 1;
        // The adjoints that begin at each time.
        std::vector<std::vector<Range>> beginning(steps + 2);
        std::vector<char> is_listed(tenancies_.size());
        for (const std::uint32_t tenancy : adjoint_tenancy_) {
            if (tenancy != none && is_listed[tenancy] == 0) {
                is_listed[tenancy] = 1;
                const Tenancy& its = tenancies_[tenancy];
                beginning[its.from - turn].push_back({its.first_slot, its.width});
            }
        }
        plan_.zeroed_at_first_ = beginning[0];
        for (std::uint32_t step = 0; step < steps; ++step) {
            const std::uint32_t number = chosen_[step];
            Step made{number, static_cast<std::uint32_t>(plan_.places_.size()), 0,
                      0,      static_cast<std::uint32_t>(plan_.pointers_),      false};
            const Instruction& instruction = program_.instructions[number];
            plan_.places_.push_back(place_of(instruction.first_result));
            for (const ValueId operand : lane_operands(number)) {
                plan_.places_.push_back(place_of(operand));
            }
            if (instruction.kind == Kind::Affine) {
                plan_.pointers_ += instruction.terms();
                plan_.most_terms_ = std::max(plan_.most_terms_, instruction.terms());
            }
            plan_.steps_.push_back(made);
        }
        for (std::uint32_t step = steps; plan_.has_gradients_ && step-- > 0;) {
            Step made = plan_.steps_[step];
            if (!has_gradient(program_.instructions[made.instruction].first_result)) {
                continue;
            }
            made.first_zeroed = static_cast<std::uint32_t>(plan_.zeroed_.size());
            std::vector<Range>& begin = beginning[steps - step];
            made.is_first = gives_all(made, begin);
            if (!made.is_first) {
                plan_.zeroed_.insert(plan_.zeroed_.end(), begin.begin(), begin.end());
            }
            made.last_zeroed = static_cast<std::uint32_t>(plan_.zeroed_.size());
            plan_.backward_steps_.push_back(made);
        }
        for (std::uint32_t i = 0; i < program_.inputs; ++i) {
            plan_.inputs_.push_back(wish_.varying[i] != 0 ? place_of(ValueId{i}) : Place{});
        }
        for (const ValueId output : program_.outputs) {
            plan_.outputs_.push_back(place_of(output));
        }
        for (const ValueId splat : splats_) {
            plan_.splats_.emplace_back(splat, place_of(splat));
        }
    }

    // Whether the step is affine and its inputs' adjoints are exactly those that begin with it.
    [[nodiscard]] bool gives_all(const Step& step, std::span<const Range> beginning) const {
        const Instruction& instruction = program_.instructions[step.instruction];
        if (instruction.kind != Kind::Affine) {
            return false;
        }
        std::vector<std::uint32_t> given;
        for (std::size_t i = 1; i <= instruction.terms(); ++i) {
            if (const Place& input = plan_.places_[step.first_place + i];
                input.adjoint != no_slot) {
                given.push_back(input.adjoint);
            }
        }
        std::vector<std::uint32_t> begun;
        for (const Range& range : beginning) {
            for (std::uint32_t i = 0; i < range.count; ++i) {
                begun.push_back(range.first + i);
            }
        }
        std::ranges::sort(given);
        std::ranges::sort(begun);
        return given == begun;
    }

    LanePlan& plan_;
    const Program& program_;
    std::vector<char> varying_;
    std::vector<std::uint32_t> value_tenancy_;  // of each value that has lanes
    std::vector<std::uint32_t> adjoint_tenancy_;
    std::vector<std::uint32_t> first_result_;  // of the instruction that each value is a result of
    std::vector<std::uint32_t> chosen_;        // instructions that are steps
    std::vector<ValueId> splats_;
    std::vector<Tenancy> tenancies_;
    const Wish& wish_;
};

// A block of samples in a workspace.
class LanePlan::Block {
public:
    Block(const LanePlan& plan, const Batch& batch, const Weights<const double>& weights,
          Workspace& workspace, std::size_t first_sample, std::size_t samples)
        : plan_(plan),
          program_(plan.program_),
          batch_(batch),
          weights_(weights),
          workspace_(workspace),
          first_sample_(first_sample),
          samples_(samples),
          lanes_(round_up(samples, lane_group)) {}

    void forward(Chunk& chunk) {
        load();
        for (const Step& step : plan_.steps_) {
            forward(step);
        }
        for (std::size_t i = 0; i < plan_.outputs_.size(); ++i) {
            const double* const output = at(plan_.outputs_[i].value);
            if (batch_.sums != nullptr) {
                kernels_.add_lane_sums(output, 0, 1, samples_, &chunk.sums[i]);
            }
            if (batch_.outputs != nullptr) {
                std::copy_n(output, samples_, batch_.outputs + i * batch_.samples + first_sample_);
            }
        }
    }

    void backward(Chunk& chunk) {
        for (const Range& range : plan_.zeroed_at_first_) {
            zero(range);
        }
        for (const Place& output : plan_.outputs_) {
            if (output.adjoint != no_slot) {
                double* const adjoint = at(output.adjoint);
                for (std::size_t lane = 0; lane < samples_; ++lane) {
                    adjoint[lane] += batch_.seed;
                }
            }
        }
        for (const Step& step : plan_.backward_steps_) {
            for (std::uint32_t i = step.first_zeroed; i < step.last_zeroed; ++i) {
                zero(plan_.zeroed_[i]);
            }
            backward(step, chunk);
        }
        for (std::size_t i = 0; i < plan_.splats_.size(); ++i) {
            const Place& splat = plan_.splats_[i].second;
            if (splat.adjoint != no_slot) {
                kernels_.add_lane_sums(at(splat.adjoint), 0, 1, samples_, &chunk.splat_grads[i]);
            }
        }
        for (const SampleMatrix& matrix : batch_.matrices) {
            if (matrix.grads != nullptr) {
                kernels_.store_samples(at(plan_.inputs_[matrix.first_input].adjoint), stride(),
                                       matrix.columns, samples_,
                                       matrix.grads + first_sample_ * matrix.columns);
            }
        }
    }

private:
    // Call `body` for a sample; what it throws tells which one.
    template <typename Body>
    void for_sample(std::size_t lane, Body body) {
        try {
            body();
            return;
        } catch (const DivisionByZero& error) {
            workspace_.failed_sample = lane;
            throw DivisionByZero(error.what() + where(lane));
        } catch (const DomainError& error) {
            workspace_.failed_sample = lane;
            throw DomainError(error.what() + where(lane));
        } catch (const Overflow& error) {
            workspace_.failed_sample = lane;
            throw Overflow(error.what() + where(lane));
        } catch (const BadIndex& error) {
            workspace_.failed_sample = lane;
            throw BadIndex(error.what() + where(lane));
        }
    }
    [[nodiscard]] std::string where(std::size_t lane) const {
        return " (sample " + std::to_string(first_sample_ + lane) + ")";
    }

    [[nodiscard]] std::size_t stride() const noexcept { return workspace_.stride; }
    [[nodiscard]] double* at(std::uint32_t slot) noexcept {
        return slot == no_slot ? nullptr : workspace_.lanes.data() + slot * stride();
    }

    void zero(const Range& range) noexcept {
        std::fill_n(at(range.first), range.count * stride(), 0.0);
    }

    void load() {
        for (const SampleMatrix& matrix : batch_.matrices) {
            double* const lanes =
                matrix.columns > 0 ? at(plan_.inputs_[matrix.first_input].value) : nullptr;
            if (!matrix.is_shared) {
                kernels_.load_samples(matrix.numbers + first_sample_ * matrix.columns,
                                      matrix.columns, samples_, lanes, stride(), lanes_);
                continue;
            }
            for (std::size_t column = 0; column < matrix.columns; ++column) {
                std::fill_n(lanes + column * stride(), lanes_, matrix.numbers[column]);
            }
        }
    }

    [[nodiscard]] const Place& result(const Step& step) const noexcept {
        return plan_.places_[step.first_place];
    }
    [[nodiscard]] const Place& operand(const Step& step, std::size_t i) const noexcept {
        return plan_.places_[step.first_place + 1 + i];
    }
    [[nodiscard]] const WeightTable& table(const Step& step) const noexcept {
        return plan_.tables_[plan_.tables_.number_of(step.instruction)];
    }

    [[nodiscard]] LaneOperands operands(const Step& step, const Instruction& instruction) noexcept {
        const Place& x = operand(step, 0);
        const Place y = instruction.operand_count > 1 ? operand(step, 1) : Place{};
        return {at(x.value),   at(y.value),   at(result(step).value), at(result(step).adjoint),
                at(x.adjoint), at(y.adjoint), instruction.number};
    }

    [[nodiscard]] AffineBlock affine(const Step& step,
                                     const Instruction& instruction) const noexcept {
        const WeightTable& its = table(step);
        return {weights_.at(its.weights),
                weights_.at(its.biases),
                workspace_.inputs.data() + step.first_pointer,
                its.rows,
                its.terms,
                workspace_.stride,
                instruction.op == Op::Relu,
                step.is_first};
    }

    void forward(const Step& step) {
        const Instruction& instruction = program_.instructions[step.instruction];
        double* const sums = at(result(step).value);
        switch (instruction.kind) {
            case Kind::Apply: {
                const LaneOperands of = operands(step, instruction);
                if (!kernels_.forward[static_cast<std::size_t>(instruction.op)](of, lanes_))
                    [[unlikely]] {
                    for (std::size_t lane = 0; lane < samples_; ++lane) {
                        for_sample(lane, [&] {
                            of.result[lane] =
                                evaluate(instruction.op, of.x[lane],
                                         of.y != nullptr ? of.y[lane] : 0.0, instruction.number);
                        });
                    }
                }
                break;
            }
            case Kind::Sum:
                std::copy_n(at(operand(step, 0).value), lanes_, sums);
                for (std::size_t i = 1; i < instruction.operand_count; ++i) {
                    kernels_.forward[static_cast<std::size_t>(Op::Add)](
                        {sums, at(operand(step, i).value), sums, nullptr, nullptr, nullptr, 0.0},
                        lanes_);
                }
                break;
            case Kind::Dot:
                std::copy_n(at(operand(step, 0).value), lanes_, sums);
                for (std::size_t i = 1; i < instruction.operand_count; i += 2) {
                    kernels_.add_products(at(operand(step, i).value),
                                          at(operand(step, i + 1).value), sums, lanes_);
                }
                break;
            case Kind::Affine:
                kernels_.affine(affine(step, instruction), sums, lanes_);
                if (instruction.op != Instruction::no_activation && instruction.op != Op::Relu) {
                    for_each_row(instruction, [&](std::size_t first, std::size_t count) {
                        kernels_.forward[static_cast<std::size_t>(instruction.op)](
                            {sums + first, nullptr, sums + first, nullptr, nullptr, nullptr, 0.0},
                            count);
                    });
                }
                break;
            case Kind::Take:
                take(step, instruction, [&](std::size_t lane, const double* entry, std::size_t) {
                    sums[lane] = *entry;
                });
                std::fill(sums + samples_, sums + lanes_, samples_ > 0 ? sums[samples_ - 1] : 0.0);
                break;
            case Kind::Constant:
                break;
        }
    }

    // The lanes of all rows of an affine instruction: at once where nothing lies between them.
    template <typename Visitor>
    void for_each_row(const Instruction& instruction, Visitor visit) const {
        if (lanes_ == stride()) {
            visit(std::size_t{0}, instruction.results * lanes_);
            return;
        }
        for (std::size_t row = 0; row < instruction.results; ++row) {
            visit(row * stride(), lanes_);
        }
    }

    // Visit the entry that each sample takes.
    template <typename Visitor>
    void take(const Step& step, const Instruction& instruction, Visitor visit) {
        const double* const index = at(operand(step, 0).value);
        const std::size_t entries = instruction.operand_count - 1;
        const bool has_table = plan_.tables_.number_of(step.instruction) != WeightTables::no_table;
        for (std::size_t lane = 0; lane < samples_; ++lane) {
            std::size_t chosen = 0;
            if (index[lane] >= 0.0 && index[lane] < static_cast<double>(entries)) [[likely]] {
                chosen = static_cast<std::size_t>(index[lane]);
            }
            if (static_cast<double>(chosen) != index[lane]) [[unlikely]] {
                for_sample(lane, [&] { static_cast<void>(checked_index(index[lane], entries)); });
            }
            visit(lane,
                  has_table ? weights_.at(table(step).weights) + chosen
                            : at(operand(step, 1 + chosen).value) + lane,
                  chosen);
        }
    }

    void backward(const Step& step, Chunk& chunk) {
        const Instruction& instruction = program_.instructions[step.instruction];
        double* const adjoint = at(result(step).adjoint);
        switch (instruction.kind) {
            case Kind::Apply: {
                const LaneOperands of = operands(step, instruction);
                if (of.x_adjoint == nullptr && of.y_adjoint == nullptr) {
                    break;
                }
                if (!kernels_.backward[static_cast<std::size_t>(instruction.op)](of, lanes_))
                    [[unlikely]] {
                    for (std::size_t lane = 0; lane < samples_; ++lane) {
                        for_sample(lane, [&] {
                            static_cast<void>(differentiate(
                                instruction.op, of.x[lane], of.y != nullptr ? of.y[lane] : 0.0,
                                instruction.number, of.result != nullptr ? of.result[lane] : 0.0));
                        });
                    }
                }
                break;
            }
            case Kind::Sum:
                for (std::size_t i = 0; i < instruction.operand_count; ++i) {
                    pass_on(adjoint, at(operand(step, i).adjoint));
                }
                break;
            case Kind::Dot:
                pass_on(adjoint, at(operand(step, 0).adjoint));
                for (std::size_t i = 1; i < instruction.operand_count; i += 2) {
                    const Place& x = operand(step, i);
                    const Place& y = operand(step, i + 1);
                    kernels_.backward[static_cast<std::size_t>(Op::Mul)](
                        {at(x.value), at(y.value), nullptr, adjoint, at(x.adjoint), at(y.adjoint),
                         0.0},
                        lanes_);
                }
                break;
            case Kind::Affine:
                backward_affine(step, instruction, adjoint, chunk);
                break;
            case Kind::Take: {
                const bool has_table =
                    plan_.tables_.number_of(step.instruction) != WeightTables::no_table;
                if (has_table && batch_.adjoints == nullptr) {
                    break;
                }
                take(step, instruction, [&](std::size_t lane, const double*, std::size_t chosen) {
                    if (has_table) {
                        chunk.weight_grads.at(table(step).weights)[chosen] += adjoint[lane];
                    } else if (double* const entry = at(operand(step, 1 + chosen).adjoint);
                               entry != nullptr) {
                        entry[lane] += adjoint[lane];
                    }
                });
                break;
            }
            case Kind::Constant:
                break;
        }
    }

    void pass_on(const double* adjoint, double* operand_adjoint) noexcept {
        if (operand_adjoint != nullptr) {
            kernels_.forward[static_cast<std::size_t>(Op::Add)](
                {operand_adjoint, adjoint, operand_adjoint, nullptr, nullptr, nullptr, 0.0},
                lanes_);
        }
    }

    void backward_affine(const Step& step, const Instruction& instruction, double* adjoint,
                         Chunk& chunk) {
        if (instruction.op != Instruction::no_activation) {
            const double* const results = at(result(step).value);
            for_each_row(instruction, [&](std::size_t first, std::size_t count) {
                kernels_.backward_in_place[static_cast<std::size_t>(instruction.op)](
                    results + first, adjoint + first, count);
            });
        }
        const AffineBlock block = affine(step, instruction);
        const WeightTable& its = table(step);
        if (batch_.adjoints != nullptr) {
            kernels_.add_lane_sums(adjoint, stride(), its.rows, samples_,
                                   chunk.weight_grads.at(its.biases));
            kernels_.affine_weight_grads(block, adjoint, samples_,
                                         chunk.weight_grads.at(its.weights),
                                         workspace_.scratch.data());
        }
        double* const* const inputs = workspace_.input_adjoints.data() + step.first_pointer;
        if (std::any_of(inputs, inputs + its.terms,
                        [](const double* it) { return it != nullptr; })) {
            kernels_.affine_input_grads(block, adjoint, inputs, lanes_);
        }
    }

    const LanePlan& plan_;
    const Program& program_;
    const Batch& batch_;
    Weights<const double> weights_;
    Workspace& workspace_;
    std::size_t first_sample_;
    std::size_t samples_;
    std::size_t lanes_;
    const LaneKernels& kernels_ = lane_kernels();
};

std::size_t LanePlan::block_size(std::size_t samples) const noexcept {
    const std::size_t fitting =
        block_bytes / (std::max<std::size_t>(slots_, 1) * sizeof(double)) / lane_group * lane_group;
    const std::size_t most = std::clamp(fitting, fewest_lanes, most_lanes);
    const std::size_t blocks = std::max<std::size_t>(divide_up(samples, most), 1);
    return std::max(round_up(divide_up(samples, blocks), lane_group), lane_group);
}

void LanePlan::prepare(Workspace& workspace, std::size_t stride) const {
    if (workspace.stride == stride) {
        return;
    }
    workspace.stride = 0;
    workspace.lanes.resize(slots_ * stride);
    if (has_gradients_ && most_terms_ > 0) {
        workspace.scratch.resize(stride * (most_terms_ + lane_group));
    }
    workspace.inputs.resize(pointers_);
    workspace.input_adjoints.resize(pointers_);
    const auto at = [&](std::uint32_t slot) {
        return slot == no_slot ? nullptr : workspace.lanes.data() + slot * stride;
    };
    for (const Step& step : steps_) {
        const Instruction& instruction = program_.instructions[step.instruction];
        if (instruction.kind == Kind::Affine) {
            for (std::size_t term = 0; term < instruction.terms(); ++term) {
                const Place& place = places_[step.first_place + 1 + term];
                workspace.inputs[step.first_pointer + term] = at(place.value);
                workspace.input_adjoints[step.first_pointer + term] = at(place.adjoint);
            }
        }
    }
    workspace.stride = stride;
}

// What a run needs besides the lanes.
struct LanePlan::Memory {
    ScalarPlan::Workspace prologue;
    std::vector<double> gathered;
    std::vector<Chunk> chunks;
    std::size_t block_size = 0;
    std::size_t chunk_size = 0;
    std::thread::id caller;
    std::atomic<bool> is_interrupted;
    std::atomic<std::size_t> first_failure;  // of a chunk
};

LanePlan::LanePlan(const Program& program, const WeightTables& tables, const Wish& wish)
    : program_(program),
      tables_(tables),
      idle_workspaces_(std::make_unique<Idle<Workspace>>()),
      idle_memories_(std::make_unique<Idle<Memory>>()) {
    Builder(*this, wish).run();
}

LanePlan::~LanePlan() = default;

void LanePlan::run(const Batch& batch) const {
    if (batch.samples == 0) {  // not even the prologue runs, whose derivatives may be infinite
        if (batch.sums != nullptr) {
            std::fill_n(batch.sums, outputs_.size(), 0.0);
        }
        return;
    }
    auto memory = idle_memories_->take();
    prologue_->forward(batch.values, memory->prologue);
    tables_.gather(batch.values, memory->gathered);
    memory->block_size = block_size(batch.samples);
    memory->chunk_size = std::max(
        round_up(divide_up(batch.samples, most_chunks), memory->block_size), memory->block_size);
    memory->chunks.resize(divide_up(batch.samples, memory->chunk_size));
    memory->caller = std::this_thread::get_id();
    memory->is_interrupted = false;
    memory->first_failure = memory->chunks.size();
    run_tasks(memory->chunks.size(), [&](std::size_t number) { do_chunk(batch, *memory, number); });
    add_up(batch, *memory);
    idle_memories_->give_back(std::move(memory));
}

void LanePlan::do_chunk(const Batch& batch, Memory& memory, std::size_t number) const {
    Chunk& chunk = memory.chunks[number];
    try {
        chunk.error = nullptr;
        chunk.sums.assign(outputs_.size(), 0.0);
        if (batch.adjoints != nullptr) {
            chunk.splat_grads.assign(splats_.size(), 0.0);
            chunk.gathered_grads.assign(tables_.gathered(), 0.0);
            chunk.captured_grads.assign(number > 0 ? program_.captured : 0, 0.0);
            chunk.weight_grads = {
                number > 0 ? chunk.captured_grads.data() : batch.adjoints + program_.inputs,
                program_.inputs, chunk.gathered_grads.data()};
        }
        auto workspace = idle_workspaces_->take();
        prepare(*workspace, memory.block_size);
        for (const auto& [value, place] : splats_) {
            std::fill_n(workspace->lanes.data() + place.value * workspace->stride,
                        workspace->stride, batch.values[index_of(value)]);
        }
        const Weights<const double> weights{batch.values, 0, memory.gathered.data()};
        const bool checks = batch.check && std::this_thread::get_id() == memory.caller;
        auto last_check = checks ? Clock::now() : Clock::time_point();
        const std::size_t end = std::min((number + 1) * memory.chunk_size, batch.samples);
        for (std::size_t first = number * memory.chunk_size; first < end;
             first += memory.block_size) {
            if (memory.is_interrupted || number > memory.first_failure) {
                break;
            }
            const std::size_t samples = std::min(memory.block_size, end - first);
            const auto run = [&](std::size_t count) {
                Block block(*this, batch, weights, *workspace, first, count);
                block.forward(chunk);
                if (has_gradients_) {
                    block.backward(chunk);
                }
            };
            std::exception_ptr error;
            // An instruction may fail for a sample, and a later one for a sample before it.
            for (std::size_t count = samples; count > 0; count = workspace->failed_sample) {
                workspace->failed_sample = 0;
                try {
                    run(count);
                    break;
                } catch (const std::exception&) {
                    error = std::current_exception();
                }
            }
            if (error != nullptr) {
                std::rethrow_exception(error);
            }
            if (checks && Clock::now() - last_check > time_between_checks) {
                check(batch, memory);
                last_check = Clock::now();
            }
        }
        idle_workspaces_->give_back(std::move(workspace));
    } catch (...) {
        chunk.error = std::current_exception();
        std::size_t first = memory.first_failure;
        while (number < first && !memory.first_failure.compare_exchange_weak(first, number)) {
        }
    }
}

void LanePlan::check(const Batch& batch, Memory& memory) {
    try {
        batch.check();
    } catch (...) {
        memory.is_interrupted = true;
        throw;
    }
}

void LanePlan::add_up(const Batch& batch, Memory& memory) const {
    std::vector<Chunk>& chunks = memory.chunks;
    for (const Chunk& chunk : chunks) {
        if (chunk.error != nullptr) {
            std::rethrow_exception(chunk.error);
        }
    }
    for (std::size_t i = 0; batch.sums != nullptr && i < outputs_.size(); ++i) {
        batch.sums[i] = 0.0;
        for (const Chunk& chunk : chunks) {
            batch.sums[i] += chunk.sums[i];
        }
    }
    if (batch.adjoints == nullptr) {
        return;
    }
    for (std::size_t i = 0; i < splats_.size(); ++i) {
        for (const Chunk& chunk : chunks) {
            batch.adjoints[index_of(splats_[i].first)] += chunk.splat_grads[i];
        }
    }
    for (std::size_t number = 0; number < chunks.size(); ++number) {
        for (std::size_t i = 0; number > 0 && i < program_.captured; ++i) {
            batch.adjoints[program_.inputs + i] += chunks[number].captured_grads[i];
        }
        tables_.scatter(chunks[number].gathered_grads, batch.adjoints);
    }
    prologue_->backward(batch.values, batch.adjoints, memory.prologue);
}

}  // namespace mgx
