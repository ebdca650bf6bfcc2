#pragma once

// Layers and multi-layer perceptrons as the core calls them. See layer.cpp.

#include "bindings/python.hpp"

namespace mgx {

// The base classes of `microgradx.nn.Layer` and `microgradx.nn.MLP`. Throw error_already_set.
[[nodiscard]] py::object create_layer_type();
[[nodiscard]] py::object create_mlp_type();

// What is known of a layer, kept by its first neuron.
struct KnownLayer;
void forget_layer(KnownLayer* layer) noexcept;

}  // namespace mgx
