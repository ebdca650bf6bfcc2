// The sum at the heart of a neuron, in one call.
//
// It makes the nodes that micrograd's `sum((wi*xi for wi, xi in zip(w, x)), b)` makes, in the same
// order, without wrappers for those in between. Where a Value is of a subclass, has
// replaced operators or a callback of the user's in its past, the sum goes through Python's
// operators instead, which treat these as they should.

#include "bindings/weighted_sum.hpp"

#include "bindings/scalar_conversion.hpp"
#include "bindings/value_numbers.hpp"

namespace mgx {

namespace {

// A term's factor that needs no more than the arena: a plain Value or a number.
class Factor {
public:
    explicit Factor(PyObject* object) noexcept {
        if (is_exact_value(object)) {
            id_ = as_value(object)->node;
            plain_ = id_ != no_node && !is_watched(arena.node(id_));
        } else {
            plain_ = !mgx::is_value(object) && to_scalar(object, number_) == Conversion::number;
        }
    }

    [[nodiscard]] bool is_plain() const noexcept { return plain_; }
    [[nodiscard]] bool is_value() const noexcept { return id_ != no_node; }

    // A count of the node, which the caller owns.
    [[nodiscard]] NodeId acquire() const {
        if (id_ == no_node) {
            return arena.leaf(number_);
        }
        arena.retain(id_);
        return id_;
    }

private:
    NodeId id_ = no_node;
    Scalar number_;
    bool plain_ = false;
};

// The whole sum, or null if something in it is not plain. Throws what the arena throws.
PyObject* sum_in_arena(PyObject* weights, PyObject* inputs, Py_ssize_t terms, PyObject* bias) {
    const Factor first(bias);
    if (!has_native_operators(value_type) || !first.is_plain() || !first.is_value()) {
        return nullptr;
    }
    Reference sum(arena, first.acquire());
    for (Py_ssize_t i = 0; i < terms; ++i) {
        const Factor weight(PySequence_Fast_GET_ITEM(weights, i));
        const Factor input(PySequence_Fast_GET_ITEM(inputs, i));
        if (!weight.is_plain() || !input.is_plain() || !weight.is_value()) {
            PyErr_Clear();
            return nullptr;
        }
        const NodeId product = arena.binary_taking<Op::Mul>(weight.acquire(), input.acquire());
        sum.replace(arena.binary_taking<Op::Add>(sum.id(), product));
    }
    const NodeId result = sum.id();
    return arena.wrapper(result) != nullptr ? wrapper_of(result) : wrap(sum.take());
}

py::object sum_in_python(PyObject* weights, PyObject* inputs, Py_ssize_t terms, PyObject* bias) {
    auto sum = py::reinterpret_borrow<py::object>(bias);
    for (Py_ssize_t i = 0; i < terms; ++i) {
        const auto product = py::reinterpret_steal<py::object>(PyNumber_Multiply(
            PySequence_Fast_GET_ITEM(weights, i), PySequence_Fast_GET_ITEM(inputs, i)));
        if (!product) {
            throw py::error_already_set();
        }
        sum = py::reinterpret_steal<py::object>(PyNumber_Add(sum.ptr(), product.ptr()));
        if (!sum) {
            throw py::error_already_set();
        }
    }
    return sum;
}

py::object as_sequence(PyObject* object, const char* message) {
    auto sequence = py::reinterpret_steal<py::object>(PySequence_Fast(object, message));
    if (!sequence) {
        throw py::error_already_set();
    }
    return sequence;
}

}  // namespace

const char* const weighted_sum_documentation =
    "weighted_sum(weights, inputs, bias, /)\n--\n\n"
    "The sum ``bias + weights[0]*inputs[0] + weights[1]*inputs[1] + ...``, added in this order.\n\n"
    "Parameters\n----------\n"
    "weights : iterable of Value\n"
    "inputs : iterable of Value or number\n"
    "    As many as there are weights.\n"
    "bias : Value\n\n"
    "Raises\n------\n"
    "ValueError\n"
    "    If there are more or fewer inputs than weights.\n"
    "TypeError\n"
    "    If `weights` or `inputs` is not iterable, or a term has no product or sum.";

PyObject* weighted_sum(PyObject* /*module*/, PyObject* const* arguments,
                       Py_ssize_t count) noexcept {
    if (count != 3) {
        PyErr_Format(PyExc_TypeError, "weighted_sum() takes 3 arguments, not %zd", count);
        return nullptr;
    }
    return guarded<PyObject*>(nullptr, [&]() -> PyObject* {
        const auto weights = as_sequence(arguments[0], "weights must be iterable");
        const auto inputs = as_sequence(arguments[1], "inputs must be iterable");
        const Py_ssize_t terms = PySequence_Fast_GET_SIZE(weights.ptr());
        if (PySequence_Fast_GET_SIZE(inputs.ptr()) != terms) {
            PyErr_Format(PyExc_ValueError, "expected %zd inputs, one for each weight, but got %zd",
                         terms, PySequence_Fast_GET_SIZE(inputs.ptr()));
            return nullptr;
        }
        PyObject* sum = sum_in_arena(weights.ptr(), inputs.ptr(), terms, arguments[2]);
        if (sum == nullptr && PyErr_Occurred() == nullptr) {
            return sum_in_python(weights.ptr(), inputs.ptr(), terms, arguments[2]).release().ptr();
        }
        return sum;
    });
}

}  // namespace mgx
