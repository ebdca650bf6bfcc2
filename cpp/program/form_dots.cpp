// Weighted sums from the loops that users write.
//
// A chain is followed from its last addition to its first. At each, one operand is a product that
// nothing else uses, a term; the other is the sum so far. IEEE addition and multiplication are
// commutative, so it does not matter on which side each stands. A chain that starts with a product
// starts with -0.0 as a Dot: adding -0.0 changes no number.

#include <algorithm>

#include "program/passes.hpp"

namespace mgx {

namespace {

using Kind = Instruction::Kind;

class DotFormer {
public:
    explicit DotFormer(const Program& program)
        : program_(program),
          uses_(program.count_uses()),
          definitions_(program.find_definitions()),
          is_part_(program.instructions.size()) {}

    // Whether there are any.
    [[nodiscard]] bool find() {
        for (auto i = static_cast<std::uint32_t>(program_.instructions.size()); i-- > 0;) {
            const auto first = static_cast<std::uint32_t>(operands_.size());
            if (is_part_[i] == 0 && collect(program_.instructions[i])) {
                found_.push_back({i, first, static_cast<std::uint32_t>(operands_.size()) - first});
            } else {
                operands_.resize(first);
            }
        }
        return !found_.empty();
    }

    [[nodiscard]] Program rewrite() {
        Rewriter rewriter(program_);
        no_start_ = rewriter.program().append_constant(-0.0);
        for (std::uint32_t i = 0; i < program_.instructions.size(); ++i) {
            if (!found_.empty() && found_.back().instruction == i) {
                append_dot(rewriter, program_.instructions[i],
                           std::span(operands_).subspan(found_.back().first, found_.back().count));
                found_.pop_back();
            } else if (is_part_[i] == 0) {
                rewriter.copy(program_.instructions[i]);
            }
        }
        return rewriter.finish();
    }

private:
    static constexpr ValueId none{0xFFFFFFFF};
    // Fewer are computed faster by operations of their own, unless they can become part of a layer.
    static constexpr std::size_t fewest_terms = 4;

    [[nodiscard]] const Instruction* only_use_of(ValueId value, Op op) const noexcept {
        if (!uses_.has(value) || uses_[value] != 1) {
            return nullptr;
        }
        const Instruction& it = program_.instructions[definitions_[value]];
        return it.kind == Kind::Apply && it.op == op ? &it : nullptr;
    }

    void take_part(const Instruction& part) {
        is_part_[static_cast<std::size_t>(&part - program_.instructions.data())] = 1;
    }

    // The operands of the Dot that the instruction ends, factors in reverse order, start last.
    [[nodiscard]] bool collect(const Instruction& last) {
        if (last.kind == Kind::Sum) {
            return collect_sum(last);
        }
        if (last.kind != Kind::Apply || last.op != Op::Add) {
            return false;
        }
        parts_.clear();
        std::size_t terms = 0;
        const Instruction* addition = &last;
        ValueId start = none;
        while (addition != nullptr) {
            auto sum = program_.operands_of(*addition)[0];
            auto product = program_.operands_of(*addition)[1];
            const Instruction* factors = only_use_of(product, Op::Mul);
            if (factors == nullptr) {
                std::swap(sum, product);
                factors = only_use_of(product, Op::Mul);
            }
            if (factors == nullptr) {
                start = addition->first_result;
                break;
            }
            if (addition != &last) {
                parts_.push_back(addition);
            }
            add_term(*factors);
            ++terms;
            addition = only_use_of(sum, Op::Add);
            if (addition == nullptr) {
                if (const Instruction* first = only_use_of(sum, Op::Mul); first != nullptr) {
                    add_term(*first);
                    ++terms;
                } else {
                    start = sum;
                }
            }
        }
        if (terms < 2 || (terms < fewest_terms && !are_weighted(terms))) {
            return false;
        }
        operands_.push_back(start);
        std::ranges::for_each(parts_, [this](const Instruction* part) { take_part(*part); });
        return true;
    }

    [[nodiscard]] bool collect_sum(const Instruction& sum) {
        const auto addends = program_.operands_of(sum);
        parts_.clear();
        for (std::size_t i = addends.size(); i-- > 1;) {
            const Instruction* factors = only_use_of(addends[i], Op::Mul);
            if (factors == nullptr) {
                return false;
            }
            add_term(*factors);
        }
        operands_.push_back(addends.front());
        std::ranges::for_each(parts_, [this](const Instruction* part) { take_part(*part); });
        return addends.size() > 1;
    }

    // Whether each of the last terms has a factor that is captured, as those of a neuron have.
    [[nodiscard]] bool are_weighted(std::size_t terms) const noexcept {
        const auto factors = std::span(operands_).last(2 * terms);
        for (std::size_t i = 0; i < factors.size(); i += 2) {
            if (!program_.is_captured(factors[i]) && !program_.is_captured(factors[i + 1])) {
                return false;
            }
        }
        return true;
    }

    void add_term(const Instruction& product) {
        parts_.push_back(&product);
        const auto factors = program_.operands_of(product);
        operands_.push_back(factors[1]);
        operands_.push_back(factors[0]);
    }

    void append_dot(Rewriter& rewriter, const Instruction& last,
                    std::span<const ValueId> reversed) {
        std::vector<ValueId> operands;
        operands.reserve(reversed.size());
        for (std::size_t i = reversed.size(); i-- > 0;) {
            operands.push_back(reversed[i] == none ? no_start_ : rewriter(reversed[i]));
        }
        Instruction dot;
        dot.kind = Kind::Dot;
        rewriter.rename(last.first_result, rewriter.program().append(dot, operands));
    }

    struct Found {
        std::uint32_t instruction;
        std::uint32_t first;  // of its operands in `operands_`
        std::uint32_t count;
    };

    const Program& program_;
    ComputedNotes<std::uint32_t> uses_;
    ComputedNotes<std::uint32_t> definitions_;
    std::vector<char> is_part_;      // of a Dot that has been found, but not its end
    std::vector<ValueId> operands_;  // of the Dots that have been found
    std::vector<const Instruction*> parts_;
    ValueId no_start_ = none;
    std::vector<Found> found_;  // the last one first
};

}  // namespace

Program form_dots(Program program) {
    DotFormer former(program);
    if (former.find()) {
        return former.rewrite();
    }
    return program;
}

}  // namespace mgx
