// The arithmetic of Values.
//
// +, *, ** and the unary operations make nodes. A number beside a Value becomes a leaf. What is
// neither is left to the other operand's type (NotImplemented), except a NumPy array, to
// whose elements the operator is applied one by one.
//
// -x, x - y and x / y are composed as micrograd composes them: x * -1, x + (-y), x * y**-1. If a
// subclass or the user has replaced one of the operators they are made of, the composition goes
// through Python and meets the replacement; otherwise the arena fuses it, with the operands in the
// order in which they are written. The same holds for number + Value and number * Value, which are
// Value + number and Value * number.

#include "bindings/value_numbers.hpp"

#include "bindings/scalar_conversion.hpp"
#include "bindings/tracing.hpp"

namespace mgx {

namespace {

// An operand of a binary operator as a node: a Value's own, borrowed, or a new leaf for a number.
class Operand {
public:
    explicit Operand(PyObject* object) noexcept : object_(object) {
        if (PyFloat_CheckExact(object)) {
            number_ = Scalar::real(PyFloat_AS_DOUBLE(object));
        } else if (is_value(object)) {
            if (has_node(as_value(object))) {
                node_ = as_value(object)->node;
            } else {
                conversion_ = Conversion::failed;
            }
        } else {
            conversion_ = to_scalar(object, number_);
        }
    }
    Operand(const Operand&) = delete;
    Operand& operator=(const Operand&) = delete;
    ~Operand() {
        if (owned_) {
            arena.release(node_);
        }
    }

    [[nodiscard]] bool usable() const noexcept { return conversion_ == Conversion::number; }
    [[nodiscard]] bool failed() const noexcept { return conversion_ == Conversion::failed; }
    [[nodiscard]] bool is_number() const noexcept { return node_.page == nullptr || owned_; }
    [[nodiscard]] Scalar number() const noexcept { return number_; }
    [[nodiscard]] bool is_array() const noexcept { return mgx::is_array(object_); }
    [[nodiscard]] bool has_native_operators() const noexcept {
        return is_number() || mgx::has_native_operators(Py_TYPE(object_));
    }
    [[nodiscard]] bool watched() const noexcept {
        return node_.page != nullptr && is_watched(node_);
    }

    // The node, made if this is a number.
    [[nodiscard]] Node node() {
        if (node_.page == nullptr) {
            node_ = arena.leaf(number_);
            owned_ = true;
        }
        return node_;
    }

    void negate() noexcept { number_ = number_ * Scalar::integer(-1.0); }

private:
    PyObject* object_;
    Node node_;
    Scalar number_;
    Conversion conversion_ = Conversion::number;
    bool owned_ = false;
};

// What the operator makes of operands that it cannot use itself.
PyObject* unusable(const char* function, const Operand& left, const Operand& right,
                   PyObject* left_object, PyObject* right_object) noexcept {
    if (left.failed() || right.failed()) {
        return nullptr;
    }
    if (left.is_array() || right.is_array()) {
        return apply_to_elements(function, left_object, right_object);
    }
    return Py_NewRef(Py_NotImplemented);
}

template <Op op>
PyObject* binary(Operand& left, Operand& right) noexcept {
    return guarded<PyObject*>(nullptr, [&] {
        const bool watched = left.watched() || right.watched();
        const Node x = left.node();
        return wrap_result(arena.binary<op>(x, right.node()), watched);
    });
}

// For two plain Values, which most operations are between: neither needs to be looked at again.
[[nodiscard]] bool both_exact(PyObject* left, PyObject* right) noexcept {
    return is_exact_value(left) && is_exact_value(right) && as_value(left)->node.id != no_node &&
           as_value(right)->node.id != no_node;
}

template <Op op>
PyObject* binary_of_exact(PyObject* left, PyObject* right) noexcept {
    return guarded<PyObject*>(nullptr, [&] {
        const Node x = as_value(left)->node;
        const Node y = as_value(right)->node;
        const bool watched = is_watched(x) || is_watched(y);
        return wrap_result(arena.binary<op>(x, y), watched);
    });
}

}  // namespace

PyObject* apply_to_elements(const char* function, PyObject* left, PyObject* right) noexcept {
    return guarded<PyObject*>(nullptr, [&] {
        return py::module_::import("numpy")
            .attr(function)(py::handle(left), py::handle(right))
            .release()
            .ptr();
    });
}

PyObject* value_add(PyObject* left, PyObject* right) noexcept {
    if (both_exact(left, right)) {
        return binary_of_exact<Op::Add>(left, right);
    }
    Operand x(left);
    Operand y(right);
    if (!x.usable() || !y.usable()) {
        return unusable("add", x, y, left, right);
    }
    if (!x.is_number()) {
        return binary<Op::Add>(x, y);
    }
    return Py_TYPE(right)->tp_as_number->nb_add == value_add ? binary<Op::Add>(y, x)
                                                             : PyNumber_Add(right, left);
}

PyObject* value_multiply(PyObject* left, PyObject* right) noexcept {
    if (both_exact(left, right)) {
        return binary_of_exact<Op::Mul>(left, right);
    }
    Operand x(left);
    Operand y(right);
    if (!x.usable() || !y.usable()) {
        return unusable("multiply", x, y, left, right);
    }
    if (!x.is_number()) {
        return binary<Op::Mul>(x, y);
    }
    return Py_TYPE(right)->tp_as_number->nb_multiply == value_multiply
               ? binary<Op::Mul>(y, x)
               : PyNumber_Multiply(right, left);
}

PyObject* value_power(PyObject* base, PyObject* exponent, PyObject* modulus) noexcept {
    if (modulus != Py_None) {
        PyErr_SetString(PyExc_TypeError, "pow() of a Value takes no modulus");
        return nullptr;
    }
    Operand x(base);
    Operand y(exponent);
    if (!x.usable() || !y.usable()) {
        return unusable("power", x, y, base, exponent);
    }
    if (!y.is_number()) {
        return binary<Op::Pow>(x, y);
    }
    return guarded<PyObject*>(
        nullptr, [&] { return wrap_result(arena.power(x.node(), y.number()), x.watched()); });
}

PyObject* value_negative(PyObject* operand) noexcept {
    Operand x(operand);
    if (!x.usable()) {
        return nullptr;
    }
    if (x.has_native_operators() && !x.watched()) {
        return guarded<PyObject*>(nullptr, [&] { return wrap(arena.negative(x.node())); });
    }
    PyObject* minus_one = PyLong_FromLong(-1);
    PyObject* result = minus_one != nullptr ? PyNumber_Multiply(operand, minus_one) : nullptr;
    Py_XDECREF(minus_one);
    return result;
}

PyObject* value_subtract(PyObject* left, PyObject* right) noexcept {
    Operand x(left);
    Operand y(right);
    if (!x.usable() || !y.usable()) {
        return unusable("subtract", x, y, left, right);
    }
    if (x.has_native_operators() && y.has_native_operators() && !x.watched() && !y.watched()) {
        if (y.is_number()) {
            y.negate();
            return binary<Op::Add>(x, y);
        }
        return guarded<PyObject*>(nullptr,
                                  [&] { return wrap(arena.difference(x.node(), y.node())); });
    }
    PyObject* minus_right = PyNumber_Negative(right);
    PyObject* result = minus_right != nullptr ? PyNumber_Add(left, minus_right) : nullptr;
    Py_XDECREF(minus_right);
    return result;
}

PyObject* value_divide(PyObject* left, PyObject* right) noexcept {
    Operand x(left);
    Operand y(right);
    if (!x.usable() || !y.usable()) {
        return unusable("divide", x, y, left, right);
    }
    if (x.has_native_operators() && y.has_native_operators() && !x.watched() && !y.watched()) {
        return guarded<PyObject*>(nullptr, [&] {
            const Scalar minus_one = Scalar::integer(-1.0);
            if (y.is_number()) {
                const Reference inverse(arena, arena.leaf(pow(y.number(), minus_one)));
                return wrap(arena.binary<Op::Mul>(x.node(), inverse.get()));
            }
            return wrap(arena.quotient(x.node(), y.node()));
        });
    }
    PyObject* minus_one = PyLong_FromLong(-1);
    PyObject* inverse = minus_one != nullptr ? PyNumber_Power(right, minus_one, Py_None) : nullptr;
    PyObject* result = inverse != nullptr ? PyNumber_Multiply(left, inverse) : nullptr;
    Py_XDECREF(inverse);
    Py_XDECREF(minus_one);
    return result;
}

PyObject* value_absolute(PyObject* operand) noexcept { return apply<Op::Abs>(operand); }

PyObject* value_float(PyObject* operand) noexcept {
    const ValueObject* value = as_value(operand);
    return has_node(value) && allow("float()") ? PyFloat_FromDouble(value->node.data_value())
                                               : nullptr;
}

PyObject* value_index(PyObject* /*operand*/) noexcept {
    if (allow("using the number, as an index or to repeat a list,")) {
        PyErr_SetString(PyExc_TypeError, "'Value' object cannot be interpreted as an integer");
    }
    return nullptr;
}

}  // namespace mgx
