// The methods of a Value: the unary operations, the backward pass, and pickling.

#include "bindings/scalar_conversion.hpp"
#include "bindings/tracing.hpp"
#include "bindings/value_numbers.hpp"
#include "bindings/value_type.hpp"
#include "core/backward.hpp"

namespace mgx {

namespace {

template <Op op>
PyObject* unary_method(PyObject* object, PyObject* /*unused*/) noexcept {
    return apply<op>(object);
}

PyObject* run_backward(PyObject* object, PyObject* /*unused*/) noexcept {
    if (!has_node(as_value(object)) || !allow("calling backward()")) {
        return nullptr;
    }
    return guarded<PyObject*>(nullptr, [&] {
        backward(arena, as_value(object)->node.id);
        return Py_NewRef(Py_None);
    });
}

// copyreg.__newobj__, (type,), (data, grad, attributes)
PyObject* reduce(PyObject* object, PyObject* /*unused*/) noexcept {
    const ValueObject* value = as_value(object);
    if (!has_node(value) || !allow("copying or pickling")) {
        return nullptr;
    }
    const Node node = value->node;
    if (node.op() != Op::Leaf) {
        PyErr_SetString(PyExc_TypeError,
                        "a Value that was computed cannot be copied or pickled, as its graph "
                        "would be lost: copy the leaves and compute it again, or keep its data");
        return nullptr;
    }
    if (value->callback != nullptr) {
        PyErr_SetString(PyExc_TypeError,
                        "a Value with a _backward of its own cannot be copied or pickled: "
                        "delete the attribute first");
        return nullptr;
    }
    return guarded<PyObject*>(nullptr, [&] {
        const auto data = py::reinterpret_steal<py::object>(from_scalar(node.data()));
        const auto grad = py::reinterpret_steal<py::object>(from_scalar(node.grad()));
        const auto attributes =
            value->attributes != nullptr
                ? py::dict(py::reinterpret_borrow<py::dict>(value->attributes).attr("copy")())
                : py::dict();
        return py::make_tuple(
                   py::module_::import("copyreg").attr("__newobj__"),
                   py::make_tuple(py::handle(reinterpret_cast<PyObject*>(Py_TYPE(object)))),
                   py::make_tuple(data, grad, attributes))
            .release()
            .ptr();
    });
}

PyObject* set_state(PyObject* object, PyObject* state) noexcept {
    ValueObject* value = as_value(object);
    PyObject* data = nullptr;
    PyObject* grad = nullptr;
    PyObject* attributes = nullptr;
    if (!PyTuple_Check(state) ||
        PyArg_ParseTuple(state, "OOO!", &data, &grad, &PyDict_Type, &attributes) == 0) {
        PyErr_SetString(PyExc_TypeError,
                        "the state of a Value is a tuple of data, grad and a dict of attributes");
        return nullptr;
    }
    if (value->node.id != no_node) {
        PyErr_SetString(PyExc_TypeError, "__setstate__ is for a Value that holds no number yet");
        return nullptr;
    }
    Scalar data_scalar;
    Scalar grad_scalar;
    if (!to_scalar_or_error(data, "data", data_scalar) ||
        !to_scalar_or_error(grad, "grad", grad_scalar)) {
        return nullptr;
    }
    return guarded<PyObject*>(nullptr, [&]() -> PyObject* {
        attach(value, arena.leaf(data_scalar));
        value->node.set_grad(grad_scalar);
        if (PyDict_GET_SIZE(attributes) > 0) {
            const auto own =
                py::reinterpret_steal<py::object>(PyObject_GenericGetDict(object, nullptr));
            if (!own || PyDict_Update(own.ptr(), attributes) != 0) {
                return nullptr;
            }
            keep(value);
        }
        return Py_NewRef(Py_None);
    });
}

constexpr auto backward_documentation = R"(backward($self, /)
--

Differentiate this Value by everything that it was computed from.

Sets this Value's ``grad`` to 1 and adds to the ``grad`` of every Value that it depends on the
derivative of this Value by that one, by the chain rule in one pass over the graph. Gradients are
not cleared first: set them to 0 before differentiating anew.

Raises
------
ZeroDivisionError, OverflowError, ValueError
    If a derivative does not exist, such as that of ``x ** 0.5`` at 0. Gradients hold what had been
    added until then.
TraceError
    In a function that is being compiled.
Exception
    Whatever a ``_backward`` that the user has assigned raises.

Examples
--------
>>> from microgradx import Value
>>> x = Value(3.0)
>>> (x * x + 2 * x).backward()
>>> x.grad
8.0)";

}  // namespace

PyMethodDef value_methods[] = {
#define MGX_UNARY(Name, method, label, value, derivative, domain, integer_value, \
                  integer_derivative, low, high, doc, example)                   \
    {#method, unary_method<Op::Name>, METH_NOARGS,                               \
     #method "($self, /)\n--\n\n" doc MGX_EXAMPLES example},
#define MGX_BINARY(...)
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY
    {"backward", run_backward, METH_NOARGS, backward_documentation},
    {"__reduce__", reduce, METH_NOARGS,
     "__reduce__($self, /)\n--\n\nHow to copy or pickle a leaf; TypeError for other Values."},
    {"__setstate__", set_state, METH_O,
     "__setstate__($self, state, /)\n--\n\nRestore data, grad and attributes of a leaf."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace mgx
