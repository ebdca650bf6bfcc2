// Recording: a walk through the log from the newest node to older ones finds what the outputs were
// computed from; then what was found is recorded in the order of its creation.
//
// New nodes, made since recording began, become instructions; new leaves become constants. Nodes
// that were there before are captured: the program reads their numbers at each run. Which is which
// is told by the pages, as new nodes go to fresh ones. A new leaf may still be put into an old page
// when a node there has died; it is captured then, which costs a little and is not wrong. A new
// leaf that somebody still refers to is captured, too: it may be a parameter made at the first
// call.
//
// Fused nodes are recorded as they are, without making the nodes that they hide.

#include "program/recorder.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <unordered_map>

namespace mgx {

class Recorder::Walk {
public:
    Walk(const Recorder& recorder, std::span<const LiveNode> inputs)
        : recorder_(recorder), arena_(recorder.arena_) {
        for (const LiveNode input : inputs) {
            known(input.id) = ValueId{result_.program.inputs++};
        }
        result_.program.values = result_.program.inputs;
    }

    [[nodiscard]] Recording run(std::span<const LiveNode> outputs) {
        find_operands(outputs);
        // Captured nodes are numbered before the results of instructions, and constants first among
        // these, as the passes have them.
        Program& program = result_.program;
        program.captured = static_cast<std::uint32_t>(result_.captured.size());
        program.values += program.captured;
        program.instructions.reserve(constants_.size() + order_.size());
        program.operands.reserve(2 * order_.size());
        for (const LiveNode leaf : constants_) {
            known(leaf.id) = constant(leaf.node->data_value);
        }
        if (hides_minus_one_) {
            static_cast<void>(constant(-1.0));
        }
        for (const LiveNode live : order_) {
            known(live.id) = append(live);
        }
        for (const LiveNode output : outputs) {
            program.outputs.push_back(known(output.id));
        }
        return std::move(result_);
    }

private:
    static constexpr ValueId unknown{0xFFFFFFFF};
    static constexpr ValueId pending{0xFFFFFFFE};  // reached, but not recorded yet
    using PageOfValues = std::array<ValueId, Page::slots>;

    [[nodiscard]] ValueId& known(NodeId id) {
        const std::uint32_t page = Page::number_of(id);
        if (page >= known_.size()) {
            known_.resize(page + 1);
        }
        if (known_[page] == nullptr) {
            known_[page] = std::make_unique<PageOfValues>();
            known_[page]->fill(unknown);
        }
        return (*known_[page])[Page::slot_of(id)];
    }

    // Find what the outputs were computed from: new nodes, newest first, and what is captured.
    void find_operands(std::span<const LiveNode> outputs) {
        for (const LiveNode output : outputs) {
            reach(output.id);
        }
        std::vector<NodeId> operands;
        arena_.visit_backwards(recorder_.start_, [&](LiveNode live) {
            if (known(live.id) == pending) {
                order_.push_back(live);
                operands.clear();
                list_operands(live, operands);
                for (const NodeId operand : operands) {
                    reach(operand);
                }
            }
        });
        std::ranges::reverse(order_);
    }

    void reach(NodeId id) {
        ValueId& value = known(id);
        if (value != unknown) {
            return;
        }
        const LiveNode live = arena_.live(id);
        if (is_captured(live)) {
            value = result_.program.captured_value(result_.captured.size());
            result_.captured.push_back(live);
            return;
        }
        value = pending;
        if (live.node->op == Op::Leaf) {
            constants_.push_back(live);
        }
    }

    [[nodiscard]] bool is_captured(LiveNode live) const noexcept {
        return !recorder_.is_new(live) ||
               (live.node->op == Op::Leaf && Page::wrapper_of(live) != nullptr);
    }

    void list_operands(LiveNode live, std::vector<NodeId>& operands) {
        const Node& node = *live.node;
        if (node.has(Flags::HasCallback)) {
            throw CannotRecord(
                "a node has a _backward of its own, which cannot be compiled: use the "
                "operations of Value, or call the function that is not compiled");
        }
        switch (node.op) {
            case Op::Leaf:
                break;
            case Op::Dot: {
                const FusedParts parts = arena_.fused_parts(live);
                operands.push_back(parts.bias.id);
                for (std::size_t i = 0; i < parts.inputs.size(); ++i) {
                    if (!parts.weights.empty()) {
                        operands.push_back(parts.weights[i].id);
                    }
                    if (!parts.inputs[i].is_number()) {
                        operands.push_back(parts.inputs[i].live.id);
                    }
                }
                break;
            }
            case Op::Custom: {
                const auto found = recorder_.takes_.find(live.id);
                if (found == recorder_.takes_.end()) {
                    throw CannotRecord(
                        "a node was made by Value(data, _children), an operation of one's own, "
                        "which cannot be compiled: use the operations of Value");
                }
                operands.push_back(found->second.index);
                operands.insert(operands.end(), found->second.entries.begin(),
                                found->second.entries.end());
                break;
            }
            case Op::Differentiated:
                throw CannotRecord(
                    "a node comes from a compiled function that was called for many samples, which "
                    "a function that is being compiled cannot do: call it for one sample");
            default:
                hides_minus_one_ |= node.op == Op::Negative || node.op == Op::Difference;
                operands.insert(operands.end(), node.visible_operands().begin(),
                                node.visible_operands().end());
                break;
        }
    }

    [[nodiscard]] ValueId append(LiveNode live) {
        const Node& node = *live.node;
        Program& program = result_.program;
        Instruction instruction;
        values_.clear();
        switch (node.op) {
            case Op::Dot:
                return append_fused(arena_.fused_parts(live));
            case Op::Negative:
                return append(Op::Mul, {known(node.operands[0]), constant(-1.0)});
            case Op::Difference: {
                const ValueId negative = append(Op::Mul, {known(node.operands[1]), constant(-1.0)});
                return append(Op::Add, {known(node.operands[0]), negative});
            }
            case Op::Quotient: {
                instruction.op = Op::PowConstant;
                instruction.number = -1.0;
                values_.push_back(known(node.operands[1]));
                const ValueId inverse = program.append(instruction, values_);
                return append(Op::Mul, {known(node.operands[0]), inverse});
            }
            case Op::Custom: {
                instruction.kind = Instruction::Kind::Take;
                const TakeOperands& take = recorder_.takes_.find(live.id)->second;
                values_.push_back(known(take.index));
                for (const NodeId entry : take.entries) {
                    values_.push_back(known(entry));
                }
                return program.append(instruction, values_);
            }
            case Op::PowConstant:
                instruction.number = arena_.node(node.operands[1]).data_value;
                [[fallthrough]];
            default:
                instruction.op = node.op;
                for (const NodeId operand : node.visible_operands()) {
                    values_.push_back(known(operand));
                }
                return program.append(instruction, values_);
        }
    }

    [[nodiscard]] ValueId append(Op op, std::array<ValueId, 2> operands) {
        Instruction instruction;
        instruction.op = op;
        return result_.program.append(instruction, operands);
    }

    // Programs are full of the same few constants.
    [[nodiscard]] ValueId constant(double number) {
        const auto [known, is_new] =
            by_bits_.try_emplace(std::bit_cast<std::uint64_t>(number), unknown);
        if (is_new) {
            known->second = result_.program.append_constant(number);
        }
        return known->second;
    }

    [[nodiscard]] ValueId append_fused(const FusedParts& parts) {
        Program& program = result_.program;
        const auto input = [&](std::size_t i) {
            return parts.inputs[i].is_number() ? constant(parts.inputs[i].data.value)
                                               : known(parts.inputs[i].live.id);
        };
        values_.push_back(known(parts.bias.id));
        for (std::size_t i = 0; i < parts.inputs.size(); ++i) {
            if (!parts.weights.empty()) {
                values_.push_back(known(parts.weights[i].id));
            }
            values_.push_back(input(i));
        }
        Instruction sum;
        sum.kind = parts.weights.empty() ? Instruction::Kind::Sum : Instruction::Kind::Dot;
        const ValueId result = program.append(sum, values_);
        if (parts.activation == AffineMap::no_activation) {
            return result;
        }
        Instruction then;
        then.op = parts.activation;
        values_.assign(1, result);
        if (then.op == Op::Mul) {
            values_.push_back(constant(parts.scale));
        }
        return program.append(then, values_);
    }

    const Recorder& recorder_;
    Arena& arena_;
    Recording result_;
    std::vector<std::unique_ptr<PageOfValues>> known_;
    std::vector<LiveNode> order_;      // new interior nodes, operands first
    std::vector<LiveNode> constants_;  // new leaves
    bool hides_minus_one_ = false;     // whether some of the nodes do, as a constant
    std::vector<ValueId> values_;
    std::unordered_map<std::uint64_t, ValueId> by_bits_;  // constants
};

Recording Recorder::record(std::span<const LiveNode> inputs,
                           std::span<const LiveNode> outputs) const {
    return Walk(*this, inputs).run(outputs);
}

}  // namespace mgx
