#pragma once

// The arithmetic of Values: their number slots. See value_numbers.cpp.

#include "bindings/value_object.hpp"

namespace mgx {

PyObject* value_add(PyObject* left, PyObject* right) noexcept;
PyObject* value_multiply(PyObject* left, PyObject* right) noexcept;
PyObject* value_power(PyObject* base, PyObject* exponent, PyObject* modulus) noexcept;
PyObject* value_negative(PyObject* operand) noexcept;
PyObject* value_subtract(PyObject* left, PyObject* right) noexcept;
PyObject* value_divide(PyObject* left, PyObject* right) noexcept;
PyObject* value_absolute(PyObject* operand) noexcept;
PyObject* value_float(PyObject* operand) noexcept;
PyObject* value_index(PyObject* operand) noexcept;

// numpy.add(left, right) and the like, which apply an operator to the elements of arrays.
[[nodiscard]] PyObject* apply_to_elements(const char* function, PyObject* left,
                                          PyObject* right) noexcept;

// Whether +, *, ** and unary - of the type, from which the other operators are composed, are
// still the ones above: neither overridden in a subclass nor replaced on the class.
[[nodiscard]] inline bool has_native_operators(PyTypeObject* type) noexcept {
    const PyNumberMethods* numbers = type->tp_as_number;
    return numbers->nb_add == value_add && numbers->nb_multiply == value_multiply &&
           numbers->nb_power == value_power && numbers->nb_negative == value_negative;
}

// The wrapper of a new node, given one count of it; `watched` if an operand of it is.
[[nodiscard]] inline PyObject* wrap_result(Node owned, bool watched) noexcept {
    return watched ? wrap_watched(owned) : wrap(owned);
}

// The result of a unary operation on the Value `operand`.
template <Op op>
[[nodiscard]] PyObject* apply(PyObject* operand) noexcept {
    if (!has_node(as_value(operand))) {
        return nullptr;
    }
    return guarded<PyObject*>(nullptr, [&] {
        const Node x = as_value(operand)->node;
        return wrap_result(arena.unary<op>(x), is_watched(x));
    });
}

}  // namespace mgx
