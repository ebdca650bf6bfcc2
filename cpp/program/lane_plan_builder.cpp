// Which instructions a LanePlan does for each sample, and where their lanes lie.
//
// What varies from sample to sample is a step; all else is the prologue. Time passes with the
// steps, first forwards and then backwards, and each value has a slot from the step that gives it
// until the last one that looks at it, on the way back if its derivative needs it. An adjoint has
// one from the first step that adds to it, before which it is zeroed, until the value's own.

#include <algorithm>
#include <span>
#include <vector>

#include "program/evaluate.hpp"
#include "program/lane_plan.hpp"
#include "program/slots.hpp"

namespace mgx {

using Kind = Instruction::Kind;

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
        const bool takes_from_table = instruction.kind == Kind::Take &&
                                      plan_.tables_.number_of(number) != WeightTables::no_table;
        return takes_from_table ? operands.first(1) : operands;
    }

    // Whether the backward step looks at the operands and at the result.
    [[nodiscard]] static bool needs_operands(const Instruction& instruction) noexcept {
        return instruction.kind != Kind::Sum &&
               (instruction.kind != Kind::Apply ||
                (instruction.op != Op::Add && instruction.op != Op::Subtract));
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

    // Those of adjoints are added in the order in which they begin.
    std::uint32_t add_adjoint_tenancy(std::uint32_t from, std::uint32_t until,
                                      std::uint32_t width) {
        adjoint_tenancies_.push_back(add_tenancy(from, until, width));
        return adjoint_tenancies_.back();
    }

    void make_tenancies() {
        const auto steps = static_cast<std::uint32_t>(chosen_.size());
        const std::uint32_t turn = steps + 1;  // when outputs are read and their adjoints set
        const std::uint32_t end = turn + steps + 1;
        // Inputs and what is the same for all samples stay, as do their adjoints.
        const std::uint32_t inputs = add_tenancy(0, end, program_.inputs);
        const std::uint32_t input_adjoints =
            wish_.varying_gradients ? add_adjoint_tenancy(turn, end, program_.inputs) : none;
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
                    adjoint_tenancy_[index_of(value)] = add_adjoint_tenancy(turn, end, 1);
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
        const std::uint32_t tenancy = add_adjoint_tenancy(time, time, width);
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
        std::size_t places = 0;
        for (const std::uint32_t number : chosen_) {
            places += 1 + lane_operands(number).size();
        }
        plan_.places_.reserve(places);
        plan_.steps_.reserve(steps);
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
                const std::size_t terms = instruction.operand_count;
                plan_.pointers_ += terms;
                plan_.most_terms_ = std::max(plan_.most_terms_, terms);
            }
            plan_.steps_.push_back(made);
        }
        auto next = adjoint_tenancies_.begin();
        const auto list_those_beginning = [&](std::uint32_t time, std::vector<Range>& list) {
            for (; next != adjoint_tenancies_.end() && tenancies_[*next].from == time; ++next) {
                list.push_back({tenancies_[*next].first_slot, tenancies_[*next].width});
            }
        };
        list_those_beginning(turn, plan_.zeroed_at_first_);
        plan_.backward_steps_.reserve(plan_.has_gradients_ ? steps : 0);
        for (std::uint32_t step = steps; plan_.has_gradients_ && step-- > 0;) {
            Step made = plan_.steps_[step];
            if (!has_gradient(program_.instructions[made.instruction].first_result)) {
                continue;
            }
            made.first_zeroed = static_cast<std::uint32_t>(plan_.zeroed_.size());
            list_those_beginning(turn + (steps - step), plan_.zeroed_);
            made.is_first = gives_all(made, std::span(plan_.zeroed_).subspan(made.first_zeroed));
            if (made.is_first) {
                plan_.zeroed_.resize(made.first_zeroed);
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
        for (std::size_t i = 1; i <= instruction.operand_count; ++i) {
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
    std::vector<std::uint32_t> adjoint_tenancies_;
    const Wish& wish_;
};

void LanePlan::build(const Wish& wish) { Builder(*this, wish).run(); }

}  // namespace mgx
