#pragma once

// Neurons and layers as the core calls them. See neuron.cpp.

#include "bindings/python.hpp"

namespace mgx {

// The base class of `microgradx.nn.Neuron`. Throws error_already_set.
[[nodiscard]] py::object create_neuron_type();

// The outputs of the neurons, all for the inputs `x`.
[[nodiscard]] py::list layer_outputs(const py::object& neurons, const py::object& x);

}  // namespace mgx
