#pragma once

// What a fused node, `activation(bias + w0*x0 + w1*x1 + ...)`, remembers. See fusion.cpp.

#include <cstdint>
#include <vector>

#include "core/node.hpp"

namespace mgx {

// A node that is alive, under both of its names: where it lies does not change.
struct LiveNode {
    Node* node;
    NodeId id;
};

// The inputs x0, x1, ... that the neurons of a layer share. Holds one count of each.
struct InputList {
    std::vector<LiveNode> inputs;
    std::uint32_t users = 0;  // dots, and whoever is making them
    std::uint64_t sweep = 0;  // the last backward sweep that has marked the inputs

    [[nodiscard]] bool is_large() const noexcept { return inputs.capacity() > 256; }
};

// The parts lie apart since a backward sweep reads nothing but the weights.
struct Dot {
    static constexpr Op no_activation = Op::Leaf;

    std::vector<NodeId> weights;   // of which the dot holds a count each
    std::vector<double> products;  // weight * input at the time of the forward pass
    std::uint32_t input_list = 0;
    double bias_data = 0.0;  // at the time of the forward pass
    double sum = 0.0;        // to which the activation function is applied
    Op activation = no_activation;
    bool swept = false;  // whether a backward sweep has passed here
    Scalar hidden_grad;  // which the hidden nodes have all got from it

    [[nodiscard]] bool is_large() const noexcept { return weights.capacity() > 256; }
    void resize(std::size_t terms) {
        weights.resize(terms);
        products.resize(terms);
    }
};

}  // namespace mgx
