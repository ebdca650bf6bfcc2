// The attributes of a Value: `data`, `grad`, `_prev`, `_op`, `_backward`, `__dict__` and whatever
// else the user assigns.
//
// What the node knows comes from the node. An `_op` that the user has given, a `label` and all
// other attributes lie in the instance's dictionary; getting one makes the wrapper a kept one.

#include "bindings/scalar_conversion.hpp"
#include "bindings/tracing.hpp"
#include "bindings/value_type.hpp"
#include "core/backward.hpp"

namespace mgx {

namespace {

PyObject* get_data(PyObject* object, void* /*unused*/) noexcept {
    const ValueObject* value = as_value(object);
    return has_node(value) && allow("reading data") ? from_scalar(value->node.data()) : nullptr;
}

PyObject* get_grad(PyObject* object, void* /*unused*/) noexcept {
    const ValueObject* value = as_value(object);
    return has_node(value) && allow("reading grad") ? from_scalar(value->node.grad()) : nullptr;
}

// The number to be assigned to the attribute, or an error if it is none or is being deleted.
bool assigned_number(PyObject* object, PyObject* assigned, const char* attribute,
                     Scalar& scalar) noexcept {
    if (assigned == nullptr) {
        PyErr_Format(PyExc_AttributeError, "%s of a Value cannot be deleted", attribute);
        return false;
    }
    return has_node(as_value(object)) && allow("assigning a number") &&
           to_scalar_or_error(assigned, attribute, scalar);
}

int set_data(PyObject* object, PyObject* assigned, void* /*unused*/) noexcept {
    Scalar data;
    if (!assigned_number(object, assigned, "data", data)) {
        return -1;
    }
    as_value(object)->node.set_data(data);
    arena.changed(as_value(object)->node);
    return 0;
}

int set_grad(PyObject* object, PyObject* assigned, void* /*unused*/) noexcept {
    Scalar grad;
    if (!assigned_number(object, assigned, "grad", grad)) {
        return -1;
    }
    as_value(object)->node.set_grad(grad);
    return 0;
}

PyObject* get_prev(PyObject* object, void* /*unused*/) noexcept {
    ValueObject* value = as_value(object);
    return has_node(value) && hold_operands(value) ? PySet_New(value->operands) : nullptr;
}

int set_prev(PyObject* /*object*/, PyObject* /*assigned*/, void* /*unused*/) noexcept {
    PyErr_SetString(PyExc_AttributeError,
                    "_prev of a Value cannot be changed: give the operands to the constructor, "
                    "Value(data, _children)");
    return -1;
}

PyObject* get_op(PyObject* object, void* /*unused*/) noexcept {
    const ValueObject* value = as_value(object);
    if (value->attributes != nullptr) {
        PyObject* given = PyDict_GetItemString(value->attributes, "_op");
        if (given != nullptr) {
            return Py_NewRef(given);
        }
    }
    if (!has_node(value)) {
        return nullptr;
    }
    const Node node = value->node;
    if (node.op() == Op::PowConstant) {
        PyObject* exponent = from_scalar(arena.node(node.operands()[1]).data());
        PyObject* text = exponent != nullptr ? PyUnicode_FromFormat("**%S", exponent) : nullptr;
        Py_XDECREF(exponent);
        return text;
    }
    const auto text = arena.label(value->node.id);
    return PyUnicode_FromStringAndSize(text.data(), static_cast<Py_ssize_t>(text.size()));
}

int set_op(PyObject* object, PyObject* assigned, void* /*unused*/) noexcept {
    return set_instance_attribute(as_value(object), "_op", assigned) ? 0 : -1;
}

PyObject* run_native_step(PyObject* object, PyObject* /*unused*/) noexcept {
    if (!has_node(as_value(object)) || !allow("calling _backward()")) {
        return nullptr;
    }
    return guarded<PyObject*>(nullptr, [&] {
        backward_step(arena, as_value(object)->node.id);
        return Py_NewRef(Py_None);
    });
}

PyMethodDef native_step = {"_backward", run_native_step, METH_NOARGS,
                           "_backward()\n--\n\n"
                           "Add to the operands' ``grad`` what this node passes on to them."};

PyObject* get_backward(PyObject* object, void* /*unused*/) noexcept {
    const ValueObject* value = as_value(object);
    if (!has_node(value)) {
        return nullptr;
    }
    return value->callback != nullptr ? Py_NewRef(value->callback)
                                      : PyCFunction_New(&native_step, object);
}

int set_backward(PyObject* object, PyObject* assigned, void* /*unused*/) noexcept {
    ValueObject* value = as_value(object);
    if (!has_node(value)) {
        return -1;
    }
    if (assigned != nullptr && PyCallable_Check(assigned) == 0) {
        PyErr_Format(PyExc_TypeError, "_backward must be callable without arguments, not %.200s",
                     Py_TYPE(assigned)->tp_name);
        return -1;
    }
    if (!allow("assigning _backward, an operation of one's own,")) {
        return -1;
    }
    if (assigned != nullptr && !show_dependents_to_collector(value)) {
        return -1;
    }
    return guarded(-1, [&] {
        keep(value);
        arena.set_callback(value->node.id, assigned != nullptr);
        PyObject* previous = std::exchange(value->callback, Py_XNewRef(assigned));
        Py_XDECREF(previous);
        return 0;
    });
}

PyObject* get_dict(PyObject* object, void* context) noexcept {
    PyObject* attributes = PyObject_GenericGetDict(object, context);
    return attributes != nullptr && keep_if_attributed(as_value(object))
               ? attributes
               : (Py_XDECREF(attributes), nullptr);
}

int set_dict(PyObject* object, PyObject* assigned, void* context) noexcept {
    return PyObject_GenericSetDict(object, assigned, context) == 0 &&
                   keep_if_attributed(as_value(object))
               ? 0
               : -1;
}

}  // namespace

PyGetSetDef value_attributes[] = {
    {"data", get_data, set_data,
     "The number itself: an int or a float.\n\n"
     "Assigning it changes neither the operands nor what has been computed from it. Anything but "
     "a\n"
     "real number raises TypeError. In a function that is being compiled, which knows no numbers,\n"
     "reading or assigning it raises TraceError.\n\n"
     "Examples\n--------\n"
     ">>> from microgradx import Value\n"
     ">>> (Value(2.0) * 3).data\n"
     "6.0",
     nullptr},
    {"grad", get_grad, set_grad,
     "The derivative, by this Value, of the Value whose ``backward()`` was called; 0 before.\n\n"
     "``backward()`` adds to it, so set it to 0 before differentiating anew. Anything but a real\n"
     "number raises TypeError, and in a function that is being compiled, reading or assigning it\n"
     "raises TraceError.\n\n"
     "Examples\n--------\n"
     ">>> from microgradx import Value\n"
     ">>> x = Value(2.0)\n"
     ">>> (x * 3).backward()\n"
     ">>> x.grad\n"
     "3",
     nullptr},
    {"_prev", get_prev, set_prev, "The operands, as a new set of the living Values.", nullptr},
    {"_op", get_op, set_op, "The label of the operation that made this Value; '' for a leaf.",
     nullptr},
    {"_backward", get_backward, set_backward,
     "The step of the backward pass at this node, called without arguments.\n\n"
     "Assign a callable to define the derivative of an operation of your own; delete the\n"
     "attribute to return to the node's own rule.",
     nullptr},
    {"__dict__", get_dict, set_dict, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};

bool keep_if_attributed(ValueObject* value) noexcept {
    return value->attributes == nullptr || guarded(false, [&] {
               keep(value);
               return true;
           });
}

bool set_instance_attribute(ValueObject* value, const char* name, PyObject* assigned) noexcept {
    if (value->attributes == nullptr) {
        value->attributes = PyDict_New();
        if (value->attributes == nullptr) {
            return false;
        }
    }
    if (assigned != nullptr) {
        return PyDict_SetItemString(value->attributes, name, assigned) == 0 &&
               keep_if_attributed(value);
    }
    if (PyDict_DelItemString(value->attributes, name) == 0) {
        return true;
    }
    PyErr_Clear();
    PyErr_Format(PyExc_AttributeError, "%s has not been assigned", name);
    return false;
}

int value_setattr(PyObject* object, PyObject* name, PyObject* assigned) noexcept {
    const PyTypeObject* type = Py_TYPE(object);
    if (PyObject_GenericSetAttr(object, name, assigned) != 0 ||
        !keep_if_attributed(as_value(object))) {
        return -1;
    }
    if (Py_TYPE(object) != type && as_value(object)->node.id != no_node) [[unlikely]] {
        // `__class__` has been assigned, which a new wrapper would not have.
        const bool kept = guarded(false, [&] {
            arena.changed(as_value(object)->node);
            keep(as_value(object));
            return true;
        });
        if (!kept) {
            return -1;
        }
    }
    const bool leads_somewhere = assigned != nullptr && as_value(object)->node.id != no_node &&
                                 (PyObject_GC_IsTracked(assigned) != 0 || is_value(assigned));
    return !leads_somewhere || show_dependents_to_collector(as_value(object)) ? 0 : -1;
}

}  // namespace mgx
