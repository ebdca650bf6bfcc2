#pragma once

// What fused nodes, `activation(bias + w0*x0 + w1*x1 + ...)`, have in common: the neurons of a
// layer are the rows of one affine map, applied to the layer's inputs. See affine.cpp.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/node.hpp"
#include "core/node_runs.hpp"

namespace mgx {

// Weights, biases and activation functions, with their numbers as they were when the map was made.
// A map without weights is a plain sum: it adds its inputs, however many, to its only bias; with
// the activation Op::Mul it is their mean.
struct AffineMap {
    static constexpr Op no_activation = Op::Leaf;

    std::vector<Node> nodes;               // the weights, row after row, then the biases
    std::vector<NodeRuns::Run> runs;       // of each row in turn: of its weights, and of its bias
    std::vector<std::uint32_t> first_run;  // of each row, and the end
    std::vector<double> data;              // of the nodes
    std::vector<double> by_input;          // of the weights alone, input after input
    std::vector<Op> activations;           // unary operations or no_activation, one a row
    std::uint64_t version = 0;             // of the watched weights; 0, as never, if these are not
    std::uint64_t position = 0;            // that no page had exceeded when the map was made
    std::vector<std::uint32_t> dots;       // that live, of each row
    std::vector<char> is_held;             // whether the map holds a count of the row's nodes
    std::vector<char> keeps_wrapper;       // whether one of these does, if the map is watched
    std::uint32_t applications = 0;        // that live
    bool has_maker = false;                // who may apply the map again
    bool may_be_idle = false;              // it is in the arena's list of such maps
    double scale = 1.0;                    // which a mean, whose map serves but once, multiplies
    Scalar scale_grad;                     // its sum by, and what a sweep has passed to it

    // What the backward sweep that is running knows of the map.
    bool is_open = false;         // the rest is valid
    bool is_plain = false;        // all nodes are leaves without callbacks
    bool is_unchanged = false;    // all data are what they were
    std::vector<double> current;  // data as they are now
    std::vector<double> grads;    // of the nodes of those rows
    std::vector<char> is_taken;   // whose gradients the sweep has taken

    [[nodiscard]] std::size_t rows() const noexcept { return activations.size(); }
    [[nodiscard]] std::size_t weights() const noexcept { return nodes.size() - rows(); }
    [[nodiscard]] std::size_t terms() const noexcept { return weights() / rows(); }
    [[nodiscard]] std::size_t bias_of(std::size_t row) const noexcept { return weights() + row; }
    void find_runs();
    // Of the row, the last one that of the bias.
    [[nodiscard]] std::span<const NodeRuns::Run> runs_of(std::size_t row) const noexcept {
        return std::span(runs).subspan(first_run[row], first_run[row + 1] - first_run[row]);
    }
    // Visit the runs of a row, with the place of the first of each among the nodes.
    template <typename Visitor>
    void for_each_run(std::size_t row, Visitor visit) const {
        std::size_t place = row * terms();
        for (const NodeRuns::Run& run : runs_of(row).first(runs_of(row).size() - 1)) {
            visit(run, place);
            place += run.count;
        }
        visit(runs_of(row).back(), bias_of(row));
    }
    [[nodiscard]] bool serves_once() const noexcept { return !has_maker && applications == 1; }
    [[nodiscard]] bool is_sum() const noexcept { return weights() == 0; }
    [[nodiscard]] bool is_mean() const noexcept { return activations.front() == Op::Mul; }
    [[nodiscard]] bool is_large() const noexcept { return nodes.capacity() > 64; }
};

// An input of a map: a node, or a number, for which each product would have a leaf of its own.
struct Input {
    Node node;    // none for a number
    Scalar data;  // at the time of the forward pass

    [[nodiscard]] bool is_number() const noexcept { return node.page == nullptr; }
};

// What a Dot stands for: `activation(bias + weights[0]*inputs[0] + ...)`, or without weights
// `bias + inputs[0] + ...`, which is multiplied by `scale` if the activation is Op::Mul.
struct FusedParts {
    std::uint32_t application;  // which it is a row of
    std::span<const Node> weights;
    std::span<const NodeRuns::Run> runs;  // of the weights, and of the bias
    std::span<const Input> inputs;
    Node bias;
    std::uint64_t position;  // that none of the pages of weights and bias exceeds
    Op activation;
    double scale;
};

// A map applied to inputs; its results are Dots. It holds one count of each input.
struct Application {
    struct Row {
        NodeId dot = no_node;                       // none once it is dead or expanded
        bool swept = false;                         // whether a backward sweep has passed here
        double sum = 0.0;                           // to which the activation function is applied
        Scalar hidden_grad = Scalar::integer(0.0);  // which the hidden nodes have all got from it
    };

    std::uint32_t map = 0;
    std::uint32_t dots = 0;  // that there are still
    std::vector<Input> inputs;
    std::vector<Row> rows;

    [[nodiscard]] bool is_large() const noexcept {
        return inputs.capacity() > 64 || rows.capacity() > 64;
    }
};

}  // namespace mgx
