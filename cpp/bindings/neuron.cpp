// The calls of neurons.
//
// `NeuronBase` is what of a neuron must be quick: its four attributes, which the core reads without
// a look-up while that would find nothing else, and the call. The class `microgradx.nn.Neuron`
// derives from it. A neuron in which nothing is out of the ordinary is one fused node of the arena;
// any other goes through Python's operators. Nothing is remembered from one call to the next but
// the type that was last found to be ordinary.
//
// An activation function named by a string is the Value's method of that name; it is fused with the
// sum while it is the engine's own.

#include "bindings/neuron.hpp"

#include <structmember.h>

#include <algorithm>
#include <array>
#include <cstddef>

#include "bindings/layer.hpp"
#include "bindings/spare_vector.hpp"
#include "bindings/value_numbers.hpp"

namespace mgx {

namespace {

// A method of Value that is an operation of the arena.
struct NativeActivation {
    PyObject* name;    // interned
    PyObject* method;  // as it was when the module was imported
    Op op;
};

std::vector<NativeActivation> native_activations;
PyObject* linear = nullptr;  // interned

// One of the members of NeuronBase.
struct Attribute {
    const char* name;
    PyObject* NeuronAttributes::* member;
    PyObject* interned_name = nullptr;
    PyObject* descriptor = nullptr;  // as it was when the module was imported
};

Attribute w_attribute{"w", &NeuronAttributes::w};
Attribute b_attribute{"b", &NeuronAttributes::b};
Attribute nonlin_attribute{"nonlin", &NeuronAttributes::nonlin};
Attribute activation_attribute{"activation", &NeuronAttributes::activation};
constexpr std::array all_attributes = {&w_attribute, &b_attribute, &nonlin_attribute,
                                       &activation_attribute};

void find_descriptors(PyObject* type) {
    for (Attribute* attribute : all_attributes) {
        attribute->interned_name = PyUnicode_InternFromString(attribute->name);
        attribute->descriptor =
            checked(PyObject_GetAttrString(type, attribute->name)).release().ptr();
    }
}

void find_native_activations() {
    const auto add = [](const char* name, Op op) {
        PyObject* method = PyDict_GetItemString(value_type->tp_dict, name);
        native_activations.push_back({PyUnicode_InternFromString(name), Py_XNewRef(method), op});
    };
#define MGX_UNARY(Name, method, ...) add(#method, Op::Name);
#define MGX_BINARY(...)
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY
    linear = PyUnicode_InternFromString("linear");
    if (PyErr_Occurred() != nullptr) {
        throw py::error_already_set();
    }
}

// What is stored in the neuron, without a look-up.
py::object stored(PyObject* neuron, const Attribute& attribute) {
    PyObject* value = as_neuron(neuron)->attributes.*attribute.member;
    if (value == nullptr) {
        PyErr_Format(PyExc_AttributeError,
                     "this %.200s has no %s: its __init__ must call super().__init__(nin)",
                     Py_TYPE(neuron)->tp_name, attribute.name);
        throw py::error_already_set();
    }
    return py::reinterpret_borrow<py::object>(value);
}

py::object looked_up(PyObject* neuron, const Attribute& attribute) {
    return has_native_attributes(Py_TYPE(neuron))
               ? stored(neuron, attribute)
               : checked(PyObject_GetAttr(neuron, attribute.interned_name));
}

py::object activated(const py::object& sum, PyObject* neuron) {
    const auto nonlin = looked_up(neuron, nonlin_attribute);
    const auto activation = looked_up(neuron, activation_attribute);
    if (!py::bool_(nonlin)) {
        return sum;
    }
    if (!PyUnicode_Check(activation.ptr())) {
        return activation(sum);
    }
    return PyUnicode_Compare(activation.ptr(), linear) == 0 ? sum : sum.attr(activation)();
}

// The output of a neuron whose attributes may be anything.
py::object output_by_look_ups(PyObject* neuron, Inputs& inputs) {
    const auto w = looked_up(neuron, w_attribute);  // may run code that changes the inputs
    const auto b = looked_up(neuron, b_attribute);
    SpareVector<Input> collected;
    const bool plain =
        inputs.collect(*collected, [&] { return would_fuse(w.ptr(), inputs.size(), b.ptr()); });
    const Node fused =
        plain ? fused_weighted_sum(w.ptr(), *collected, b.ptr(), AffineMap::no_activation) : Node{};
    return activated(fused.page != nullptr ? wrapped(fused) : weighted_sum_in_python(w, inputs, b),
                     neuron);
}

int traverse(PyObject* object, visitproc visit, void* arg) noexcept {
    const NeuronAttributes& attributes = as_neuron(object)->attributes;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(attributes.w);
    Py_VISIT(attributes.b);
    Py_VISIT(attributes.nonlin);
    Py_VISIT(attributes.activation);
    return 0;
}

int clear(PyObject* object) noexcept {
    NeuronAttributes& attributes = as_neuron(object)->attributes;
    Py_CLEAR(attributes.w);
    Py_CLEAR(attributes.b);
    Py_CLEAR(attributes.nonlin);
    Py_CLEAR(attributes.activation);
    return 0;
}

void dealloc(PyObject* object) noexcept {
    PyTypeObject* type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    clear(object);
    forget_layer(std::exchange(as_neuron(object)->layer, nullptr));
    type->tp_free(object);
    Py_DECREF(type);
}

}  // namespace

PyObject* only_argument(PyObject* arguments, PyObject* keywords) noexcept {
    if (keywords == nullptr && PyTuple_GET_SIZE(arguments) == 1) {
        return PyTuple_GET_ITEM(arguments, 0);
    }
    static std::array<char*, 2> names = {const_cast<char*>("x"), nullptr};
    PyObject* x = nullptr;
    return PyArg_ParseTupleAndKeywords(arguments, keywords, "O:__call__", names.data(), &x) != 0
               ? x
               : nullptr;
}

PyObject* neuron_call(PyObject* neuron, PyObject* arguments, PyObject* keywords) noexcept {
    PyObject* x = only_argument(arguments, keywords);
    return x == nullptr ? nullptr : guarded<PyObject*>(nullptr, [&] {
        Inputs inputs(x);
        return neuron_output(neuron, inputs).release().ptr();
    });
}

Op named_activation(const NeuronAttributes& neuron) noexcept {
    if (neuron.activation == nullptr || (neuron.nonlin != Py_True && neuron.nonlin != Py_False)) {
        return Op::Custom;
    }
    if (neuron.nonlin == Py_False || neuron.activation == linear) {
        return AffineMap::no_activation;
    }
    for (const NativeActivation& native : native_activations) {
        if (native.name == neuron.activation) {
            return native.op;
        }
    }
    return Op::Custom;
}

bool is_native(Op activation) noexcept {
    return activation == AffineMap::no_activation ||
           std::ranges::any_of(native_activations, [activation](const NativeActivation& native) {
               return native.op == activation &&
                      PyDict_GetItemWithError(value_type->tp_dict, native.name) == native.method;
           });
}

TypeVersion last_native_type;

bool looks_up_native_attributes(PyTypeObject* type) noexcept {
    const auto is_in_place = [type](const Attribute* attribute) {
        return _PyType_Lookup(type, attribute->interned_name) == attribute->descriptor;
    };
    if (type->tp_getattro != PyObject_GenericGetAttr ||
        !std::ranges::all_of(all_attributes, is_in_place)) {
        return false;
    }
    // Python 3.10 begins with the first version again when its cache of look-ups is cleared.
    if (PY_VERSION_HEX >= 0x030B0000 && type->tp_version_tag != 0) {
        last_native_type = {type, type->tp_version_tag};
    }
    return true;
}

py::object neuron_output(PyObject* neuron, Inputs& inputs) {
    if (!has_native_attributes(Py_TYPE(neuron))) {
        return output_by_look_ups(neuron, inputs);
    }
    const NeuronAttributes& attributes = as_neuron(neuron)->attributes;
    SpareVector<Input> collected;
    const bool plain = inputs.collect(*collected, [&] {  // may run code that changes the neuron
        return would_fuse(attributes.w, inputs.size(), attributes.b);
    });
    const Op named =
        has_native_attributes(Py_TYPE(neuron)) ? named_activation(attributes) : Op::Custom;
    const bool fuses_activation = is_native(named);
    const Node fused = plain
                           ? fused_weighted_sum(attributes.w, *collected, attributes.b,
                                                fuses_activation ? named : AffineMap::no_activation)
                           : Node{};
    if (fused.page == nullptr) {
        const auto w = stored(neuron, w_attribute);
        const auto b = stored(neuron, b_attribute);
        return activated(weighted_sum_in_python(w, inputs, b), neuron);
    }
    auto sum = wrapped(fused);
    return fuses_activation ? sum : activated(sum, neuron);
}

py::object create_neuron_type() {
    static std::array members = {
        PyMemberDef{"w", T_OBJECT_EX, offsetof(NeuronObject, attributes.w), 0, "The weights."},
        PyMemberDef{"b", T_OBJECT_EX, offsetof(NeuronObject, attributes.b), 0, "The bias."},
        PyMemberDef{"nonlin", T_OBJECT_EX, offsetof(NeuronObject, attributes.nonlin), 0,
                    "Whether the activation function is applied at all."},
        PyMemberDef{"activation", T_OBJECT_EX, offsetof(NeuronObject, attributes.activation), 0,
                    "The activation function: the name of a method of Value, 'linear', or a "
                    "callable."},
        PyMemberDef{nullptr, 0, 0, 0, nullptr}};
    std::array slots = {
        PyType_Slot{Py_tp_doc,
                    const_cast<char*>("What the core needs of a neuron: its attributes and how to "
                                      "compute its output.")},
        PyType_Slot{Py_tp_call, reinterpret_cast<void*>(neuron_call)},
        PyType_Slot{Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
        PyType_Slot{Py_tp_traverse, reinterpret_cast<void*>(traverse)},
        PyType_Slot{Py_tp_clear, reinterpret_cast<void*>(clear)},
        PyType_Slot{Py_tp_members, members.data()},
        PyType_Slot{0, nullptr},
    };
    PyType_Spec specification = {"microgradx._core.NeuronBase", sizeof(NeuronObject), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
                                 slots.data()};
    auto type = checked(PyType_FromSpec(&specification));
    find_descriptors(type.ptr());
    find_native_activations();
    return type;
}

}  // namespace mgx
