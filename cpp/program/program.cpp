// A program in static single assignment form: each value is an input, a captured node or the result
// of one instruction, and an instruction's operands precede its results. Operands of all
// instructions lie in one array, without the weights of layers, which may be more than all else
// together by far and are lists of their own. A program does not change once it is made: a pass
// (passes.hpp) makes another one of it.

#include "program/program.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <iterator>

#include "program/evaluate.hpp"

namespace mgx {

namespace {

std::string as_text(double number) {
    std::array<char, 32> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
    return {digits.data(), end};
}

// The method's name of an operation.
std::string_view name(Op op) noexcept {
    switch (op) {
#define MGX_UNARY(Name, method, ...) \
    case Op::Name:                   \
        return #method;
#define MGX_BINARY(Name, method, ...) \
    case Op::Name:                    \
        return #method;
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY
        case Op::PowConstant:
            return "pow";
        default:
            return "";
    }
}

class Listing {
public:
    explicit Listing(const Program& program) : program_(program) {}

    [[nodiscard]] std::string text() {
        text_ = "inputs";
        add_range(0, program_.inputs);
        text_ += "\ncaptured";
        add_range(program_.inputs, program_.captured);
        text_ += '\n';
        for (const Instruction& instruction : program_.instructions) {
            add(instruction);
        }
        text_ += "return";
        add_values(program_.outputs);
        text_ += '\n';
        return std::move(text_);
    }

private:
    static constexpr std::size_t most_listed = 8;

    void add(ValueId value) {
        text_ += '%';
        text_ += std::to_string(index_of(value));
    }
    void add_range(std::size_t first, std::size_t count) {
        if (count == 0) {
            text_ += " none";
            return;
        }
        text_ += ' ';
        add(ValueId{static_cast<std::uint32_t>(first)});
        if (count > 1) {
            text_ += "..";
            add(ValueId{static_cast<std::uint32_t>(first + count - 1)});
        }
    }
    // Values that follow one another as a range, long lists shortened.
    void add_values(std::span<const ValueId> values) {
        ValueRanges ranges;
        std::ranges::for_each(values, [&](ValueId value) { ranges.append(value); });
        add_values(ranges);
    }
    void add_values(const ValueRanges& values) {
        std::size_t listed = 0;
        for (const ValueRange& range : values.ranges()) {
            if (listed++ == most_listed) {
                text_ += " ... (" + std::to_string(values.size()) + " in all)";
                return;
            }
            add_range(index_of(range.first), range.count);
        }
    }

    void add(const Instruction& instruction) {
        const auto operands = program_.operands_of(instruction);
        text_ += ' ';
        add_range(index_of(instruction.first_result), instruction.results);
        text_ += " = ";
        switch (instruction.kind) {
            case Instruction::Kind::Constant:
                text_ += as_text(instruction.number);
                break;
            case Instruction::Kind::Apply:
                text_ += name(instruction.op);
                for (const ValueId operand : operands) {
                    add_range(index_of(operand), 1);
                }
                if (instruction.op == Op::PowConstant) {
                    text_ += ' ' + as_text(instruction.number);
                }
                break;
            case Instruction::Kind::Sum:
                text_ += "sum";
                add_values(operands);
                break;
            case Instruction::Kind::Dot:
                text_ += "dot";
                add_values(operands.first(1));
                for (std::size_t i = 1; i < operands.size(); i += 2) {
                    if (i > 2 * most_listed) {
                        text_ += " + ... (" + std::to_string(operands.size() / 2) + " terms)";
                        break;
                    }
                    text_ += " + ";
                    add(operands[i]);
                    text_ += '*';
                    add(operands[i + 1]);
                }
                break;
            case Instruction::Kind::Affine: {
                const auto& [weights, biases] = program_.parameters_of(instruction);
                text_ += "affine(" + std::to_string(instruction.results) + " x " +
                         std::to_string(operands.size()) + ") weights";
                add_values(weights);
                text_ += " biases";
                add_values(biases);
                text_ += " inputs";
                add_values(operands);
                if (instruction.op != Instruction::no_activation) {
                    text_ += " then ";
                    text_ += name(instruction.op);
                }
                break;
            }
            case Instruction::Kind::Take:
                text_ += "take";
                add_values(operands.first(1));
                text_ += " of";
                add_values(operands.subspan(1));
                break;
        }
        text_ += '\n';
    }

    const Program& program_;
    std::string text_;
};

}  // namespace

std::size_t Instruction::nodes() const noexcept {
    switch (kind) {
        case Kind::Constant:
            break;
        case Kind::Apply:
            return op == Op::Subtract ? 2 : 1;  // a product with -1 and a sum
        case Kind::Take:
            return 1;
        case Kind::Sum:
        case Kind::Dot:
            return operand_count - 1;
        case Kind::Affine:
            return std::size_t{operand_count} * results * 2 + (op != no_activation ? results : 0);
    }
    return 0;
}

ValueId Program::append(Instruction instruction, std::span<const ValueId> its_operands) {
    instruction.first_operand = static_cast<std::uint32_t>(operands.size());
    instruction.operand_count = static_cast<std::uint32_t>(its_operands.size());
    instruction.first_result = ValueId{values};
    values += instruction.results;
    nodes += instruction.nodes();
    operands.insert(operands.end(), its_operands.begin(), its_operands.end());
    instructions.push_back(instruction);
    return instruction.first_result;
}

ValueId Program::append_constant(double number) {
    Instruction constant;
    constant.kind = Instruction::Kind::Constant;
    constant.number = number;
    return append(constant, {});
}

ValueId Program::append_affine(Instruction affine, std::span<const ValueId> its_inputs,
                               AffineParameters its_parameters) {
    affine.kind = Instruction::Kind::Affine;
    affine.results = static_cast<std::uint32_t>(its_parameters.biases.size());
    affine.parameters = static_cast<std::uint32_t>(parameters.size());
    parameters.push_back(std::move(its_parameters));
    return append(affine, its_inputs);
}

bool Program::is_well_formed(const Instruction& instruction) const noexcept {
    const std::uint32_t its_operands = instruction.operand_count;
    const bool is_operation = !name(instruction.op).empty();
    if (instruction.kind != Instruction::Kind::Affine && instruction.results != 1) {
        return false;
    }
    switch (instruction.kind) {
        case Instruction::Kind::Constant:
            return its_operands == 0;
        case Instruction::Kind::Apply:
            return is_operation && its_operands == (is_binary(instruction.op) ? 2U : 1U);
        case Instruction::Kind::Sum:
            return its_operands > 0;
        case Instruction::Kind::Dot:
            return its_operands % 2 == 1;
        case Instruction::Kind::Affine:
            return its_operands > 0 && instruction.results > 0 &&
                   instruction.parameters < parameters.size() &&
                   parameters_of(instruction).biases.size() == instruction.results &&
                   parameters_of(instruction).weights.size() ==
                       std::size_t{its_operands} * instruction.results &&
                   (instruction.op == Instruction::no_activation ||
                    has_derivative_by_result(instruction.op));
        case Instruction::Kind::Take:
            return its_operands > 1;
    }
    return false;
}

std::vector<std::vector<std::size_t>> Program::listing_sources() const {
    constexpr std::size_t first_line = 2;  // of an instruction
    const ComputedNotes<std::uint32_t> definitions = find_definitions();
    std::vector<std::vector<std::size_t>> sources(first_line);
    const auto line_of = [&](ValueId value) -> std::size_t {
        if (definitions.has(value)) {
            return first_line + definitions[value];
        }
        return is_captured(value) ? 1 : 0;
    };
    const auto end_line = [&] {
        std::vector<std::size_t>& lines = sources.back();
        std::ranges::sort(lines);
        const auto [first, last] = std::ranges::unique(lines);
        lines.erase(first, last);
    };
    for (const Instruction& instruction : instructions) {
        std::vector<std::size_t>& lines = sources.emplace_back();
        std::ranges::transform(operands_of(instruction), std::back_inserter(lines), line_of);
        if (instruction.kind == Instruction::Kind::Affine) {
            const auto& [weights, biases] = parameters_of(instruction);
            const auto add = [&](ValueId value) { lines.push_back(line_of(value)); };
            weights.for_each(add);
            biases.for_each(add);
        }
        end_line();
    }
    std::ranges::transform(outputs, std::back_inserter(sources.emplace_back()), line_of);
    end_line();
    return sources;
}

std::vector<char> Program::find_weights() const {
    std::vector<char> is_weight(values);
    std::fill_n(is_weight.begin() + inputs, captured, 1);
    for (const Instruction& instruction : instructions) {
        if (instruction.kind == Instruction::Kind::Constant) {
            is_weight[index_of(instruction.first_result)] = 1;
        }
    }
    return is_weight;
}

ComputedNotes<std::uint32_t> Program::count_uses() const {
    ComputedNotes<std::uint32_t> uses(first_computed(), values, 0);
    for (const std::vector<ValueId>* const users : {&operands, &outputs}) {
        for (const ValueId used : *users) {
            if (uses.has(used)) {
                ++uses[used];
            }
        }
    }
    return uses;
}

ComputedNotes<std::uint32_t> Program::find_definitions() const {
    ComputedNotes<std::uint32_t> definitions(first_computed(), values, 0);
    for (std::uint32_t i = 0; i < instructions.size(); ++i) {
        for (std::uint32_t row = 0; row < instructions[i].results; ++row) {
            definitions[ValueId{static_cast<std::uint32_t>(instructions[i].first_result) + row}] =
                i;
        }
    }
    return definitions;
}

std::string Program::listing() const { return Listing(*this).text(); }

Rewriter::Rewriter(const Program& from)
    : from_(from),
      renamed_(from.first_computed(), from.values, ValueId{0}),
      parameters_(from.parameters.size(), none) {
    to_.inputs = from.inputs;
    to_.captured = from.captured;
    to_.values = from.inputs + from.captured;
    to_.instructions.reserve(from.instructions.size());
    to_.operands.reserve(from.operands.size());
}

void Rewriter::copy(const Instruction& instruction) {
    copy(instruction, from_.operands_of(instruction));
}

void Rewriter::copy(const Instruction& instruction, std::span<const ValueId> old_operands) {
    buffer_.clear();
    for (const ValueId operand : old_operands) {
        buffer_.push_back((*this)(operand));
    }
    Instruction copied = instruction;
    if (instruction.kind == Instruction::Kind::Affine) {
        std::uint32_t& number = parameters_[instruction.parameters];
        if (number == none) {
            number = static_cast<std::uint32_t>(to_.parameters.size());
            const auto& [weights, biases] = from_.parameters_of(instruction);
            to_.parameters.push_back({(*this)(weights), (*this)(biases)});
        }
        copied.parameters = number;
    }
    const ValueId first = to_.append(copied, buffer_);
    for (std::uint32_t row = 0; row < instruction.results; ++row) {
        rename(ValueId{static_cast<std::uint32_t>(instruction.first_result) + row},
               ValueId{static_cast<std::uint32_t>(first) + row});
    }
}

ValueRanges Rewriter::operator()(const ValueRanges& old) const {
    ValueRanges renamed;
    for (const ValueRange& range : old.ranges()) {
        if (range.end() <= from_.first_computed()) {
            renamed.append(range);  // only constants have other names
            continue;
        }
        for (std::uint32_t i = 0; i < range.count; ++i) {
            renamed.append((*this)(range[i]));
        }
    }
    return renamed;
}

Program Rewriter::finish() {
    for (const ValueId output : from_.outputs) {
        to_.outputs.push_back((*this)(output));
    }
    return std::move(to_);
}

}  // namespace mgx
