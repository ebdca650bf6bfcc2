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
// Fused nodes are recorded as they are, without making the nodes that they hide. Those of one layer
// become one affine instruction if all their weights are old. They are found one after another, as
// they were made; the weights, which may be very many, are captured when the walk is over, in the
// order in which they are to stand.

#include "program/recorder.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <unordered_map>

namespace mgx {

class Recorder::Walk {
public:
    Walk(const Recorder& recorder, std::span<const Node> inputs)
        : recorder_(recorder), arena_(recorder.arena_) {
        for (const Node input : inputs) {
            known(input.id) = ValueId{result_.program.inputs++};
            inputs_are_new_ &= recorder_.is_new(input);
        }
        result_.program.values = result_.program.inputs;
    }

    [[nodiscard]] Recording run(std::span<const Node> outputs) {
        find_operands(outputs);
        find_layers();
        // Captured nodes are numbered before the results of instructions, and constants first among
        // these, as the passes have them.
        Program& program = result_.program;
        program.captured = static_cast<std::uint32_t>(result_.captured.size());
        program.values += program.captured;
        program.instructions.reserve(constants_.size() + order_.size());
        program.operands.reserve(2 * order_.size());
        for (const Node leaf : constants_) {
            known(leaf.id) = constant(leaf.data_value());
        }
        if (hides_minus_one_) {
            static_cast<void>(constant(-1.0));
        }
        auto layer = layers_.begin();
        for (std::size_t i = 0; i < order_.size(); ++i) {
            if (layer != layers_.end() && layer->first == i) {
                append(*layer);
                i += layer->rows - 1;
                ++layer;
            } else {
                known(order_[i].node.id) = append(order_[i].node);
            }
        }
        for (const Node output : outputs) {
            program.outputs.push_back(known(output.id));
        }
        return std::move(result_);
    }

private:
    static constexpr ValueId unknown{0xFFFFFFFF};
    static constexpr ValueId pending{0xFFFFFFFE};  // reached, but not recorded yet
    static constexpr std::uint32_t none = 0xFFFFFFFF;

    struct Found {
        Node node;
        bool is_row;  // of a layer: a Dot of which all weights and the bias are old
    };
    // Some rows of one application, which follow one another in the order.
    struct Layer {
        std::size_t first;
        std::size_t rows;
        AffineParameters parameters;
    };

    // What a node is, or nodes side by side are. Valid until the next call.
    [[nodiscard]] ValueId& known(NodeId id) {
        return known_on(Page::number_of(id))[Page::slot_of(id)];
    }
    [[nodiscard]] std::span<ValueId> known(const NodeRuns::Run& run) {
        return known_on(Page::number_of(run.first)).subspan(Page::slot_of(run.first), run.count);
    }
    [[nodiscard]] std::span<ValueId, Page::slots> known_on(std::uint32_t page) {
        if (page >= first_known_.size()) {
            first_known_.resize(page + 1, none);
        }
        if (first_known_[page] == none) {
            first_known_[page] = static_cast<std::uint32_t>(known_.size());
            known_.resize(known_.size() + Page::slots, unknown);
        }
        return std::span<ValueId, Page::slots>(known_.data() + first_known_[page], Page::slots);
    }

    // Find what the outputs were computed from: new nodes, newest first, and what is captured.
    void find_operands(std::span<const Node> outputs) {
        for (const Node output : outputs) {
            reach(output.id);
        }
        std::vector<NodeId> operands;
        arena_.visit_backwards(recorder_.start_, [&](Node node) {
            if (known(node.id) == pending) {
                order_.push_back({node, is_row(node)});
                operands.clear();
                list_operands(order_.back(), operands);
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
        const Node node = arena_.node(id);
        if (is_captured(node)) {
            capture(value, id);
            return;
        }
        value = pending;
        if (node.op() == Op::Leaf) {
            constants_.push_back(node);
        }
    }

    [[nodiscard]] bool is_captured(Node node) const noexcept {
        return !recorder_.is_new(node) || (node.op() == Op::Leaf && node.wrapper() != nullptr);
    }

    [[nodiscard]] bool is_row(Node node) {
        if (node.op() != Op::Dot || node.has(Flags::HasCallback)) {
            return false;
        }
        const FusedParts parts = arena_.fused_parts(node);
        return !parts.weights.empty() &&
               (parts.position <= recorder_.start_ ||
                std::ranges::all_of(parts.runs, [this](const auto& run) { return are_old(run); }));
    }

    [[nodiscard]] bool are_old(const NodeRuns::Run& run) {
        if (recorder_.is_new({*run.page, run.first})) {
            return false;
        }
        // One may be an input in the place of an old leaf.
        return inputs_are_new_ || std::ranges::none_of(known(run), [this](ValueId value) {
                   return index_of(value) < result_.program.inputs;
               });
    }

    // Put rows together and capture their parameters.
    void find_layers() {
        for (std::size_t i = 0; i < order_.size();) {
            if (!order_[i].is_row) {
                ++i;
                continue;
            }
            Layer layer{i, 0, {}};
            const std::uint32_t application = arena_.fused_parts(order_[i].node).application;
            for (; i < order_.size() && order_[i].is_row; ++i) {
                const FusedParts parts = arena_.fused_parts(order_[i].node);
                if (parts.application != application) {
                    break;
                }
                for (const NodeRuns::Run& run : parts.runs.first(parts.runs.size() - 1)) {
                    capture(run, layer.parameters.weights);
                }
            }
            layer.rows = i - layer.first;
            for (std::size_t row = layer.first; row < i; ++row) {
                capture(arena_.fused_parts(order_[row].node).runs.back(), layer.parameters.biases);
            }
            layers_.push_back(std::move(layer));
        }
    }

    void capture(ValueId& known_value, NodeId id) {
        known_value = result_.program.captured_value(result_.captured.size());
        result_.captured.push_back(id);
    }

    // Capture old nodes that are not captured yet, and append what they are.
    void capture(const NodeRuns::Run& old, ValueRanges& values) {
        const std::span<ValueId> their_values = known(old);
        std::uint32_t differences = 0;
        for (const ValueId value : their_values) {
            differences |= static_cast<std::uint32_t>(value) ^ static_cast<std::uint32_t>(unknown);
        }
        if (differences == 0) {
            const ValueRange range{result_.program.captured_value(result_.captured.size()),
                                   old.count};
            result_.captured.resize(result_.captured.size() + old.count);
            const std::span<NodeId> ids = std::span(result_.captured).last(old.count);
            for (std::uint32_t i = 0; i < old.count; ++i) {
                their_values[i] = range[i];
                ids[i] = old[i];
            }
            values.append(range);
            return;
        }
        for (std::uint32_t i = 0; i < old.count; ++i) {
            if (their_values[i] == unknown) {
                capture(their_values[i], old[i]);
            }
            values.append(their_values[i]);
        }
    }

    void list_operands(const Found& found, std::vector<NodeId>& operands) {
        const Node node = found.node;
        if (node.has(Flags::HasCallback)) {
            throw CannotRecord(
                "a node has a _backward of its own, which cannot be compiled: use the "
                "operations of Value, or call the function that is not compiled");
        }
        switch (node.op()) {
            case Op::Leaf:
                break;
            case Op::Dot: {
                const FusedParts parts = arena_.fused_parts(node);
                if (!found.is_row) {
                    operands.push_back(parts.bias.id);
                }
                if (found.is_row && parts.application == last_application_) {
                    break;  // the inputs of all its rows have been reached
                }
                last_application_ = parts.application;
                for (std::size_t i = 0; i < parts.inputs.size(); ++i) {
                    if (!found.is_row && !parts.weights.empty()) {
                        operands.push_back(parts.weights[i].id);
                    }
                    if (!parts.inputs[i].is_number()) {
                        operands.push_back(parts.inputs[i].node.id);
                    }
                }
                break;
            }
            case Op::Custom: {
                const auto take = recorder_.takes_.find(node.id);
                if (take == recorder_.takes_.end()) {
                    throw CannotRecord(
                        "a node was made by Value(data, _children), an operation of one's own, "
                        "which cannot be compiled: use the operations of Value");
                }
                operands.push_back(take->second.index);
                operands.insert(operands.end(), take->second.entries.begin(),
                                take->second.entries.end());
                break;
            }
            case Op::Differentiated:
                throw CannotRecord(
                    "a node comes from a compiled function that was called for many samples, which "
                    "a function that is being compiled cannot do: call it for one sample");
            default:
                hides_minus_one_ |= node.op() == Op::Negative;
                operands.insert(operands.end(), node.visible_operands().begin(),
                                node.visible_operands().end());
                break;
        }
    }

    [[nodiscard]] ValueId append(Node node) {
        Program& program = result_.program;
        Instruction instruction;
        values_.clear();
        switch (node.op()) {
            case Op::Dot:
                return append_fused(arena_.fused_parts(node));
            case Op::Negative:
                return append(Op::Mul, {known(node.operands()[0]), constant(-1.0)});
            case Op::Difference:
                return append(Op::Subtract, {known(node.operands()[0]), known(node.operands()[1])});
            case Op::Quotient: {
                instruction.op = Op::PowConstant;
                instruction.number = -1.0;
                values_.push_back(known(node.operands()[1]));
                const ValueId inverse = program.append(instruction, values_);
                return append(Op::Mul, {known(node.operands()[0]), inverse});
            }
            case Op::Custom: {
                instruction.kind = Instruction::Kind::Take;
                const TakeOperands& take = recorder_.takes_.find(node.id)->second;
                values_.push_back(known(take.index));
                for (const NodeId entry : take.entries) {
                    values_.push_back(known(entry));
                }
                return program.append(instruction, values_);
            }
            case Op::PowConstant:
                instruction.number = arena_.node(node.operands()[1]).data_value();
                [[fallthrough]];
            default:
                instruction.op = node.op();
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

    [[nodiscard]] ValueId input(const Input& it) {
        return it.is_number() ? constant(it.data.value) : known(it.node.id);
    }

    void append(Layer& layer) {
        values_.clear();
        for (const Input& it : arena_.fused_parts(order_[layer.first].node).inputs) {
            values_.push_back(input(it));
        }
        ValueId result = result_.program.append_affine({}, values_, std::move(layer.parameters));
        for (std::size_t i = layer.first; i < layer.first + layer.rows; ++i) {
            const Node row = order_[i].node;
            known(row.id) = append_activation(arena_.fused_parts(row), result);
            result = ValueId{static_cast<std::uint32_t>(result) + 1};
        }
    }

    [[nodiscard]] ValueId append_fused(const FusedParts& parts) {
        values_.push_back(known(parts.bias.id));
        for (std::size_t i = 0; i < parts.inputs.size(); ++i) {
            if (!parts.weights.empty()) {
                values_.push_back(known(parts.weights[i].id));
            }
            values_.push_back(input(parts.inputs[i]));
        }
        Instruction sum;
        sum.kind = parts.weights.empty() ? Instruction::Kind::Sum : Instruction::Kind::Dot;
        return append_activation(parts, result_.program.append(sum, values_));
    }

    [[nodiscard]] ValueId append_activation(const FusedParts& parts, ValueId result) {
        if (parts.activation == AffineMap::no_activation) {
            return result;
        }
        Instruction then;
        then.op = parts.activation;
        values_.assign(1, result);
        if (then.op == Op::Mul) {
            values_.push_back(constant(parts.scale));
        }
        return result_.program.append(then, values_);
    }

    const Recorder& recorder_;
    Arena& arena_;
    Recording result_;
    std::vector<std::uint32_t> first_known_;  // of the nodes on each page, in:
    std::vector<ValueId> known_;              // what each node is
    bool inputs_are_new_ = true;
    std::uint32_t last_application_ = none;  // whose inputs have been reached
    std::vector<Found> order_;               // new interior nodes, operands first
    std::vector<Layer> layers_;              // among them, in order
    std::vector<Node> constants_;            // new leaves
    bool hides_minus_one_ = false;           // whether some of the nodes do, as a constant
    std::vector<ValueId> values_;
    std::unordered_map<std::uint64_t, ValueId> by_bits_;  // constants
};

Recording Recorder::record(std::span<const Node> inputs, std::span<const Node> outputs) const {
    return Walk(*this, inputs).run(outputs);
}

}  // namespace mgx
