#pragma once

// Neurons as the core calls them. See neuron.cpp.

#include "bindings/python.hpp"
#include "bindings/weighted_sum.hpp"

namespace mgx {

struct KnownLayer;

// Null until they are assigned.
struct NeuronAttributes {
    PyObject* w;
    PyObject* b;
    PyObject* nonlin;
    PyObject* activation;

    [[nodiscard]] bool operator==(const NeuronAttributes&) const noexcept = default;
};

struct NeuronObject {
    PyObject_HEAD
    NeuronAttributes attributes;
    KnownLayer* layer;  // what is known of the layer that begins with this neuron; see layer.cpp
};

// The base class of `microgradx.nn.Neuron`. Throws error_already_set.
[[nodiscard]] py::object create_neuron_type();

// The `x` of a call of a neuron, a layer or a perceptron; null, with an error set, if there is
// none.
[[nodiscard]] PyObject* only_argument(PyObject* arguments, PyObject* keywords) noexcept;

PyObject* neuron_call(PyObject* neuron, PyObject* arguments, PyObject* keywords) noexcept;

// Whether the object is a neuron whose call is the engine's own.
[[nodiscard]] inline bool has_native_call(PyObject* object) noexcept {
    return Py_TYPE(object)->tp_call == neuron_call;
}

// A type whose attributes were the engine's own when its version was this one. Python gives each
// state of each type a version of its own, and 0 to a type that has been changed since the last
// look-up in it.
struct TypeVersion {
    PyTypeObject* type = nullptr;
    unsigned int version = 0;
};
extern TypeVersion last_native_type;

[[nodiscard]] bool looks_up_native_attributes(PyTypeObject* type) noexcept;

// Whether looking up the attributes of a neuron of this type gives its NeuronAttributes: neither a
// subclass nor the user has put anything in their place. Runs no Python code.
[[nodiscard]] inline bool has_native_attributes(PyTypeObject* type) noexcept {
    return (type == last_native_type.type && type->tp_version_tag == last_native_type.version) ||
           looks_up_native_attributes(type);
}

// Whether a layer may take the neuron's attributes and do what its call does.
[[nodiscard]] inline bool is_native_neuron(PyObject* object) noexcept {
    return has_native_call(object) && has_native_attributes(Py_TYPE(object));
}
[[nodiscard]] inline NeuronObject* as_neuron(PyObject* object) noexcept {
    return reinterpret_cast<NeuronObject*>(object);
}

// The operation that the neuron's activation function names, or AffineMap::no_activation;
// Op::Custom if it names none. Whether the method of that name is still the operation is another
// question.
[[nodiscard]] Op named_activation(const NeuronAttributes& neuron) noexcept;
[[nodiscard]] bool is_native(Op activation) noexcept;

// The output of a neuron whose call is the engine's own. Throws error_already_set.
[[nodiscard]] py::object neuron_output(PyObject* neuron, Inputs& inputs);

}  // namespace mgx
