// The type `Value`: a heap type, written by hand because a call through its slots costs a fifth of
// one through a generated class.
//
// It is mutable, like a class written in Python: users replace its methods and operators.

#include "bindings/value_type.hpp"

#include <structmember.h>

#include <array>
#include <cstddef>

#include "bindings/scalar_conversion.hpp"
#include "bindings/tracing.hpp"
#include "bindings/value_numbers.hpp"

namespace mgx {

namespace {

constexpr auto documentation =
    R"(Value(data, _children=(), _op='', label='')
--

A number that remembers how it was computed and can differentiate itself.

Arithmetic with Values makes new Values, the nodes of an expression graph; ``backward()`` of the
last one sets ``grad`` of all of them.

Parameters
----------
data : int or float
    The number. NumPy's scalars and other real numbers are converted.
_children : iterable of Value, optional
    The operands, for an operation of your own. Assign ``_backward`` to the result.
_op : str, optional
    The label of that operation.
label : str, optional
    A name, for drawings of the graph.

Raises
------
TypeError
    If `data` is not a real number, or a child is not a Value.

Notes
-----
Numbers are float64; ints stay ints up to 2**53. ``==`` and ``hash`` are those of the object,
``<``, ``<=``, ``>`` and ``>=`` compare ``data``.

Operators take Values, real numbers, and arrays, to whose elements they are applied one by one.
Where there is no result they raise ZeroDivisionError, OverflowError or ValueError.

Examples
--------
>>> from microgradx import Value
>>> a, b = Value(2.0), Value(-3.0)
>>> c = (a * b + 7).relu()
>>> c
Value(data=1.0, grad=0)
>>> c.backward()
>>> a.grad, b.grad
(-3.0, 2.0))";

// micrograd writes `Value` whatever the subclass, too.
PyObject* represent(PyObject* object) noexcept {
    const ValueObject* value = as_value(object);
    if (is_retired(value)) {
        return PyUnicode_FromString("Value(of a trace that is over)");
    }
    if (!has_node(value)) {
        return nullptr;
    }
    if (is_tracing()) {
        return PyUnicode_FromString("Value(traced)");
    }
    const Node node = value->node;
    PyObject* data = from_scalar(node.data());
    PyObject* grad = data != nullptr ? from_scalar(node.grad()) : nullptr;
    PyObject* text =
        grad != nullptr ? PyUnicode_FromFormat("Value(data=%R, grad=%R)", data, grad) : nullptr;
    Py_XDECREF(data);
    Py_XDECREF(grad);
    return text;
}

Py_hash_t hash(PyObject* object) noexcept { return PyBaseObject_Type.tp_hash(object); }

PyObject* compare(PyObject* left, PyObject* right, int operation) noexcept {
    if (!is_exact_value(right) && is_array(right)) {
        constexpr std::array functions = {"less",      "less_equal", "equal",
                                          "not_equal", "greater",    "greater_equal"};
        static_assert(Py_LT == 0 && Py_LE == 1 && Py_EQ == 2 && Py_NE == 3 && Py_GT == 4 &&
                      Py_GE == 5);
        return apply_to_elements(functions[static_cast<std::size_t>(operation)], left, right);
    }
    if (operation == Py_EQ || operation == Py_NE) {
        return PyBaseObject_Type.tp_richcompare(left, right, operation);
    }
    if (!allow("comparing the number")) {
        return nullptr;
    }
    const auto number = [](PyObject* object, Scalar& scalar) {
        if (!is_value(object)) {
            return to_scalar(object, scalar);
        }
        if (!has_node(as_value(object))) {
            return Conversion::failed;
        }
        scalar = as_value(object)->node.data();
        return Conversion::number;
    };
    Scalar x;
    Scalar y;
    const Conversion left_conversion = number(left, x);
    const Conversion right_conversion = number(right, y);
    if (left_conversion == Conversion::failed || right_conversion == Conversion::failed) {
        return nullptr;
    }
    if (left_conversion == Conversion::other || right_conversion == Conversion::other) {
        return Py_NewRef(Py_NotImplemented);
    }
    Py_RETURN_RICHCOMPARE(x.value, y.value, operation);
}

template <typename Function>
void* slot(Function* function) noexcept {
    return reinterpret_cast<void*>(function);
}

}  // namespace

py::object create_value_type() {
    static std::array members = {
        PyMemberDef{"__dictoffset__", T_PYSSIZET, offsetof(ValueObject, attributes), READONLY,
                    nullptr},
        PyMemberDef{"__weaklistoffset__", T_PYSSIZET, offsetof(ValueObject, weak_references),
                    READONLY, nullptr},
        PyMemberDef{nullptr, 0, 0, 0, nullptr}};
    std::array slots = {
        PyType_Slot{Py_tp_doc, const_cast<char*>(documentation)},
        PyType_Slot{Py_tp_new, slot(value_new)},
        PyType_Slot{Py_tp_init, slot(value_init)},
        PyType_Slot{Py_tp_dealloc, slot(value_dealloc)},
        PyType_Slot{Py_tp_traverse, slot(value_traverse)},
        PyType_Slot{Py_tp_clear, slot(value_clear)},
        PyType_Slot{Py_tp_repr, slot(represent)},
        PyType_Slot{Py_tp_hash, slot(hash)},
        PyType_Slot{Py_tp_richcompare, slot(compare)},
        PyType_Slot{Py_tp_setattro, slot(value_setattr)},
        PyType_Slot{Py_tp_members, members.data()},
        PyType_Slot{Py_tp_getset, value_attributes},
        PyType_Slot{Py_tp_methods, value_methods},
        PyType_Slot{Py_nb_add, slot(value_add)},
        PyType_Slot{Py_nb_multiply, slot(value_multiply)},
        PyType_Slot{Py_nb_power, slot(value_power)},
        PyType_Slot{Py_nb_negative, slot(value_negative)},
        PyType_Slot{Py_nb_subtract, slot(value_subtract)},
        PyType_Slot{Py_nb_true_divide, slot(value_divide)},
        PyType_Slot{Py_nb_absolute, slot(value_absolute)},
        PyType_Slot{Py_nb_float, slot(value_float)},
        PyType_Slot{Py_nb_index, slot(value_index)},
        PyType_Slot{0, nullptr},
    };
    PyType_Spec specification = {"microgradx.engine.Value", sizeof(ValueObject), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
                                 slots.data()};
    auto type = checked(PyType_FromSpec(&specification));
    value_type = reinterpret_cast<PyTypeObject*>(type.ptr());
    value_type->tp_vectorcall = value_vectorcall;
    type.attr("label") = "";
    // NumPy leaves `array * value` to Value's own operator, and does not first try to make an
    // array of the Value, which takes ten times as long.
    type.attr("__array_priority__") = 1000.0;
    return type;
}

}  // namespace mgx
