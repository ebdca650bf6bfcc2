// Neurons and layers.
//
// `NeuronBase` is what of a neuron must be quick: its four attributes, which the core reads without
// a look-up, and the call. The class `microgradx.nn.Neuron` derives from it. A layer calls its
// neurons one by one with the same list of inputs; it takes the short way, without a Python call
// for each, for neurons whose call is still the one below, and calls all others as Python would.
// Nothing is remembered from one call to the next.
//
// An activation function named by a string is the Value's method of that name; the short way,
// without a wrapper for the sum, is taken while it is the engine's own.

#include "bindings/neuron.hpp"

#include <structmember.h>

#include <array>
#include <cstddef>

#include "bindings/value_numbers.hpp"
#include "bindings/weighted_sum.hpp"

namespace mgx {

namespace {

struct NeuronObject {
    PyObject_HEAD
    PyObject* w;
    PyObject* b;
    PyObject* nonlin;
    PyObject* activation;
};

NeuronObject* as_neuron(PyObject* object) noexcept {
    return reinterpret_cast<NeuronObject*>(object);
}

// A method of Value that is an operation of the arena.
struct NativeActivation {
    PyObject* name;    // interned
    PyObject* method;  // as it was when the module was imported
    Op op;
};

std::vector<NativeActivation> native_activations;

void find_native_activations() {
    const auto add = [](const char* name, Op op) {
        PyObject* method = PyObject_GetAttrString(reinterpret_cast<PyObject*>(value_type), name);
        if (method == nullptr) {
            throw py::error_already_set();
        }
        native_activations.push_back({PyUnicode_InternFromString(name), method, op});
    };
#define MGX_UNARY(Name, method, ...) add(#method, Op::Name);
#define MGX_BINARY(...)
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY
}

// The operation that the name stands for, if the class still has the engine's own method.
const NativeActivation* native_activation(PyObject* name) {
    for (const NativeActivation& native : native_activations) {
        if (native.name == name) {
            PyObject* method = PyObject_GetAttr(reinterpret_cast<PyObject*>(value_type), name);
            PyErr_Clear();
            Py_XDECREF(method);
            return method == native.method ? &native : nullptr;
        }
    }
    return nullptr;
}

py::object activated(const py::object& sum, const py::object& activation) {
    return PyUnicode_Check(activation.ptr()) ? sum.attr(activation)() : activation(sum);
}

// What the activation function is; found once for the neurons of a layer, which share it.
class ActivationMemory {
public:
    [[nodiscard]] const NativeActivation* native(PyObject* activation) {
        recall(activation);
        return native_;
    }
    [[nodiscard]] bool is_linear(PyObject* activation) {
        recall(activation);
        return is_linear_;
    }

private:
    void recall(PyObject* activation) {
        if (activation != activation_.ptr()) {
            activation_ = py::reinterpret_borrow<py::object>(activation);
            native_ = native_activation(activation);
            is_linear_ = PyUnicode_Check(activation) &&
                         PyUnicode_CompareWithASCIIString(activation, "linear") == 0;
        }
    }

    py::object activation_;
    const NativeActivation* native_ = nullptr;
    bool is_linear_ = false;
};

// The output where nothing in the neuron is out of the ordinary; null, without an error, otherwise.
PyObject* plain_output(const NeuronObject* neuron, Inputs& inputs, ActivationMemory& activations) {
    const auto list = inputs.list();  // may run code that changes the neuron, so it comes first
    const bool is_nonlinear = neuron->nonlin == Py_True;
    if (neuron->w == nullptr || neuron->b == nullptr || neuron->activation == nullptr ||
        (!is_nonlinear && neuron->nonlin != Py_False)) {
        return nullptr;
    }
    const bool applies = is_nonlinear && !activations.is_linear(neuron->activation);
    const NativeActivation* native = applies ? activations.native(neuron->activation) : nullptr;
    if (applies && native == nullptr) {
        return nullptr;
    }
    const NodeId result =
        fused_weighted_sum(neuron->w, list, neuron->b, applies ? native->op : Dot::no_activation);
    return result != no_node ? wrap(result) : nullptr;
}

py::object attribute(PyObject* neuron, PyObject* NeuronObject::* member, const char* name) {
    PyObject* value = as_neuron(neuron)->*member;
    if (value == nullptr) {
        PyErr_Format(PyExc_AttributeError,
                     "this %.200s has no %s: its __init__ must call super().__init__(nin)",
                     Py_TYPE(neuron)->tp_name, name);
        throw py::error_already_set();
    }
    return py::reinterpret_borrow<py::object>(value);
}

py::object output(PyObject* neuron, Inputs& inputs, ActivationMemory& activations) {
    PyObject* plain = plain_output(as_neuron(neuron), inputs, activations);
    if (plain != nullptr || PyErr_Occurred() != nullptr) {
        return plain != nullptr ? py::reinterpret_steal<py::object>(plain)
                                : throw py::error_already_set();
    }
    const auto w = attribute(neuron, &NeuronObject::w, "w");
    const auto b = attribute(neuron, &NeuronObject::b, "b");
    const auto nonlin = attribute(neuron, &NeuronObject::nonlin, "nonlin");
    const auto activation = attribute(neuron, &NeuronObject::activation, "activation");
    const int is_nonlinear = PyObject_IsTrue(nonlin.ptr());
    if (is_nonlinear < 0) {
        throw py::error_already_set();
    }
    const NodeId fused = fused_weighted_sum(w.ptr(), inputs.list(), b.ptr(), Dot::no_activation);
    const auto sum = fused != no_node ? py::reinterpret_steal<py::object>(wrap(fused))
                                      : weighted_sum_in_python(w, inputs, b);
    if (!sum) {
        throw py::error_already_set();
    }
    return is_nonlinear == 1 && !activations.is_linear(activation.ptr())
               ? activated(sum, activation)
               : sum;
}

PyObject* call(PyObject* neuron, PyObject* arguments, PyObject* keywords) noexcept {
    static std::array<char*, 2> names = {const_cast<char*>("x"), nullptr};
    PyObject* x = nullptr;
    if (PyArg_ParseTupleAndKeywords(arguments, keywords, "O:__call__", names.data(), &x) == 0) {
        return nullptr;
    }
    return guarded<PyObject*>(nullptr, [&] {
        Inputs inputs(x);
        ActivationMemory activations;
        return output(neuron, inputs, activations).release().ptr();
    });
}

int traverse(PyObject* object, visitproc visit, void* arg) noexcept {
    const NeuronObject* neuron = as_neuron(object);
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(neuron->w);
    Py_VISIT(neuron->b);
    Py_VISIT(neuron->nonlin);
    Py_VISIT(neuron->activation);
    return 0;
}

int clear(PyObject* object) noexcept {
    NeuronObject* neuron = as_neuron(object);
    Py_CLEAR(neuron->w);
    Py_CLEAR(neuron->b);
    Py_CLEAR(neuron->nonlin);
    Py_CLEAR(neuron->activation);
    return 0;
}

void dealloc(PyObject* object) noexcept {
    PyTypeObject* type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    clear(object);
    type->tp_free(object);
    Py_DECREF(type);
}

}  // namespace

py::object create_neuron_type() {
    static std::array members = {
        PyMemberDef{"w", T_OBJECT_EX, offsetof(NeuronObject, w), 0, "The weights."},
        PyMemberDef{"b", T_OBJECT_EX, offsetof(NeuronObject, b), 0, "The bias."},
        PyMemberDef{"nonlin", T_OBJECT_EX, offsetof(NeuronObject, nonlin), 0,
                    "Whether the activation function is applied at all."},
        PyMemberDef{"activation", T_OBJECT_EX, offsetof(NeuronObject, activation), 0,
                    "The activation function: the name of a method of Value, 'linear', or a "
                    "callable."},
        PyMemberDef{nullptr, 0, 0, 0, nullptr}};
    std::array slots = {
        PyType_Slot{Py_tp_doc,
                    const_cast<char*>("What the core needs of a neuron: its attributes and how to "
                                      "compute its output.")},
        PyType_Slot{Py_tp_call, reinterpret_cast<void*>(call)},
        PyType_Slot{Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
        PyType_Slot{Py_tp_traverse, reinterpret_cast<void*>(traverse)},
        PyType_Slot{Py_tp_clear, reinterpret_cast<void*>(clear)},
        PyType_Slot{Py_tp_members, members.data()},
        PyType_Slot{0, nullptr},
    };
    PyType_Spec specification = {"microgradx._core.NeuronBase", sizeof(NeuronObject), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
                                 slots.data()};
    auto type = py::reinterpret_steal<py::object>(PyType_FromSpec(&specification));
    if (!type) {
        throw py::error_already_set();
    }
    find_native_activations();
    return type;
}

PyObject* layer_outputs(PyObject* /*module*/, PyObject* const* arguments,
                        Py_ssize_t count) noexcept {
    if (count != 2) {
        PyErr_Format(PyExc_TypeError, "layer_outputs() takes 2 arguments, not %zd", count);
        return nullptr;
    }
    return guarded<PyObject*>(nullptr, [&] {
        PyObject* x = arguments[1];
        const auto items = is_value(x) ? py::list(py::make_tuple(py::handle(x)))
                                       : py::list(py::reinterpret_borrow<py::object>(x));
        const auto neurons = py::tuple(py::reinterpret_borrow<py::object>(arguments[0]));
        Inputs inputs(items.ptr());
        ActivationMemory activations;
        py::list outputs(neurons.size());
        Py_ssize_t position = 0;
        for (const py::handle neuron : neurons) {
            auto result = Py_TYPE(neuron.ptr())->tp_call == call
                              ? output(neuron.ptr(), inputs, activations)
                              : neuron(items);
            PyList_SET_ITEM(outputs.ptr(), position++, result.release().ptr());
        }
        return outputs.release().ptr();
    });
}

const char* const layer_outputs_documentation =
    "layer_outputs(neurons, x, /)\n--\n\n"
    "Compute the outputs of neurons that share their inputs.\n\n"
    "Parameters\n----------\n"
    "neurons : iterable of callable\n"
    "x : Value or iterable of Value or number\n"
    "    The inputs; a Value alone is the only input.\n\n"
    "Returns\n-------\n"
    "list\n"
    "    What each neuron returns, in their order.\n\n"
    "Raises\n------\n"
    "ValueError\n"
    "    If the number of inputs is not that of a neuron's weights.";

}  // namespace mgx
