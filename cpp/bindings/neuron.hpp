#pragma once

// Neurons and layers as the core calls them. See neuron.cpp.

#include "bindings/python.hpp"

namespace mgx {

// The base class of `microgradx.nn.Neuron`. Throws error_already_set.
[[nodiscard]] py::object create_neuron_type();

// layer_outputs(neurons, x): the outputs of all neurons for the inputs x, as a list.
PyObject* layer_outputs(PyObject* module, PyObject* const* arguments, Py_ssize_t count) noexcept;
extern const char* const layer_outputs_documentation;

}  // namespace mgx
