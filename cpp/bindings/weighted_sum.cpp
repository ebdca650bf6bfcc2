// The sum at the heart of a neuron.
//
// micrograd writes `sum((wi*xi for wi, xi in zip(w, x)), b)`. Here it is one fused node of the
// arena, which shows those nodes when asked. Fusing is for plain cases: float weights, inputs and a
// bias that are Values proper with Value's own operators and no callback of the user's in their
// past. All others, which may do anything at each product and sum, go through Python's operators.

#include "bindings/weighted_sum.hpp"

#include "bindings/scalar_conversion.hpp"
#include "bindings/spare.hpp"
#include "bindings/value_numbers.hpp"

namespace mgx {

namespace {

py::object as_fast_sequence(PyObject* iterable, const char* message) {
    auto sequence = py::reinterpret_steal<py::object>(PySequence_Fast(iterable, message));
    if (!sequence) {
        throw py::error_already_set();
    }
    return sequence;
}

}  // namespace

Inputs::Inputs(PyObject* iterable)
    : items_(as_fast_sequence(iterable, "the inputs of a neuron must be iterable")) {}

bool Inputs::collect(std::vector<Input>& inputs) {
    inputs.clear();
    for (Py_ssize_t i = 0; i < size(); ++i) {
        PyObject* const object = (*this)[i];
        const LiveNode live = plain_node(object, watched_input);
        Scalar number;
        if (live.node != nullptr) {
            inputs.push_back({live, live.node->data()});
        } else if (is_value(object)) {
            return false;
        } else if (!PyFloat_Check(object) && !PyLong_Check(object)) {
            return collect_carefully(inputs);
        } else if (to_scalar(object, number) == Conversion::number) {
            inputs.push_back({{nullptr, no_node}, number});
        } else {
            PyErr_Clear();
            return false;
        }
    }
    return true;
}

// Converting a number can run code of its type's, which may change the inputs or what they are: a
// copy of our own is converted, and looked at when all that is done.
bool Inputs::collect_carefully(std::vector<Input>& inputs) {
    items_ = py::tuple(items_);
    std::vector<Scalar> numbers;
    for (Py_ssize_t i = 0; i < size(); ++i) {
        Scalar number;
        if (!is_value((*this)[i]) && to_scalar((*this)[i], number) != Conversion::number) {
            PyErr_Clear();
            return false;
        }
        numbers.push_back(number);
    }
    inputs.clear();
    for (Py_ssize_t i = 0; i < size(); ++i) {
        const LiveNode live = plain_node((*this)[i], watched_input);
        if (live.node == nullptr && is_value((*this)[i])) {
            return false;
        }
        const Scalar number = numbers[static_cast<std::size_t>(i)];
        inputs.push_back({live, live.node != nullptr ? live.node->data() : number});
    }
    return true;
}

NodeId fused_weighted_sum(PyObject* weights, const std::vector<Input>& inputs, PyObject* bias,
                          Op activation) {
    if (!PyList_CheckExact(weights) || inputs.empty() ||
        static_cast<std::size_t>(PyList_GET_SIZE(weights)) != inputs.size() ||
        !has_native_operators(value_type)) {
        return no_node;
    }
    SpareVector<LiveNode> nodes;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        nodes->push_back(
            plain_node(PyList_GET_ITEM(weights, static_cast<Py_ssize_t>(i)), not_a_weight));
        if (nodes->back().node == nullptr) {
            return no_node;
        }
    }
    nodes->push_back(plain_node(bias, watched_input));
    if (nodes->back().node == nullptr) {
        return no_node;
    }
    SpareVector<NodeId> results;
    const std::uint32_t map = arena.make_map(*nodes, std::span(&activation, 1), false);
    try {
        arena.apply(map, inputs, *results);
    } catch (...) {
        arena.release_map(map);
        throw;
    }
    arena.release_map(map);
    return results->front();
}

py::object weighted_sum_in_python(const py::object& weights, const Inputs& inputs,
                                  const py::object& bias) {
    const auto sequence =
        as_fast_sequence(weights.ptr(), "the weights of a neuron must be iterable");
    const Py_ssize_t terms = PySequence_Fast_GET_SIZE(sequence.ptr());
    if (inputs.size() != terms) {
        PyErr_Format(PyExc_ValueError, "expected %zd inputs, one for each weight, but got %zd",
                     terms, inputs.size());
        throw py::error_already_set();
    }
    py::object sum = bias;
    for (Py_ssize_t i = 0; i < inputs.size() && i < PySequence_Fast_GET_SIZE(sequence.ptr()); ++i) {
        const auto weight =
            py::reinterpret_borrow<py::object>(PySequence_Fast_GET_ITEM(sequence.ptr(), i));
        const auto input = py::reinterpret_borrow<py::object>(inputs[i]);
        sum = sum + weight * input;
    }
    return sum;
}

}  // namespace mgx
