// The sum at the heart of a neuron, and sums of one's own.
//
// micrograd writes `sum((wi*xi for wi, xi in zip(w, x)), b)`. Here it is one fused node of the
// arena, which shows those nodes when asked. Fusing is for plain cases: float weights, inputs and a
// bias that are Values proper with Value's own operators and no callback of the user's in their
// past. All others, which may do anything at each product and sum, go through Python's operators.

#include "bindings/weighted_sum.hpp"

#include "bindings/scalar_conversion.hpp"
#include "bindings/spare_vector.hpp"
#include "bindings/value_numbers.hpp"

namespace mgx {

namespace {

// The result of a map of one row that serves but once.
LiveNode apply_once(std::span<const LiveNode> nodes, Op activation,
                    const std::vector<Input>& inputs, double scale = 1.0) {
    SpareVector<LiveNode> results;
    const std::uint32_t map = arena.make_map(nodes, std::span(&activation, 1), false, scale);
    try {
        arena.apply(map, inputs, *results);
    } catch (...) {
        arena.release_map(map);
        throw;
    }
    arena.release_map(map);
    return results->front();
}

}  // namespace

bool may_fuse() noexcept { return arena.is_fusing() && has_native_operators(value_type); }

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
            inputs.push_back({{}, number});
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

LiveNode fused_weighted_sum(PyObject* weights, const std::vector<Input>& inputs, PyObject* bias,
                            Op activation) {
    if (inputs.empty() || !is_list_of(weights, inputs.size()) || !may_fuse()) {
        return {};
    }
    SpareVector<LiveNode> nodes;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        nodes->push_back(
            plain_node(PyList_GET_ITEM(weights, static_cast<Py_ssize_t>(i)), not_a_weight));
        if (nodes->back().node == nullptr) {
            return {};
        }
    }
    nodes->push_back(plain_node(bias, watched_input));
    if (nodes->back().node == nullptr) {
        return {};
    }
    return apply_once(*nodes, activation, inputs);
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

py::object as_value_object(const py::object& object, const char* argument) {
    Scalar number;
    if (is_value(object.ptr())) {
        return object;
    }
    if (!to_scalar_or_error(object.ptr(), argument, number)) {
        throw py::error_already_set();
    }
    return wrapped(arena.leaf(number));
}

namespace {

py::object dot(const py::object& ws, const py::object& xs, const py::object& b) {
    const py::tuple weights(as_fast_sequence(ws.ptr(), "ws must be iterable"));
    const py::tuple inputs(as_fast_sequence(xs.ptr(), "xs must be iterable"));
    if (weights.size() != inputs.size()) {
        PyErr_Format(PyExc_ValueError, "ws and xs must be of the same length, not %zu and %zu",
                     weights.size(), inputs.size());
        throw py::error_already_set();
    }
    // A product with a number is that of the Value, on whichever side it stands.
    py::list factors(weights.size());
    py::tuple others(weights.size());
    for (std::size_t i = 0; i < weights.size(); ++i) {
        const bool swapped = !is_value(weights[i].ptr());
        factors[i] = swapped ? inputs[i] : weights[i];
        others[i] = swapped ? weights[i] : inputs[i];
    }
    const py::object bias = as_value_object(b, "b");  // may run code, so it comes first
    Inputs collector(others.ptr());
    SpareVector<Input> collected;
    const LiveNode fused =
        collector.collect(*collected)
            ? fused_weighted_sum(factors.ptr(), *collected, bias.ptr(), AffineMap::no_activation)
            : LiveNode{};
    return fused.node != nullptr
               ? wrapped(fused)
               : as_value_object(weighted_sum_in_python(weights, Inputs(inputs.ptr()), b),
                                 "the sum of the products of ws and xs");
}

// The sum, or the mean if the activation is Op::Mul, as one node; null if something in it is not
// plain.
LiveNode fused_sum(Inputs& inputs, Op activation, double scale) {
    SpareVector<Input> collected;
    // Python adds numbers up before the first Value, and ints to ints, by themselves.
    if (!inputs.collect(*collected) || !may_fuse() || collected->empty() ||
        collected->front().is_number() || collected->front().data.is_integer) {
        return {};
    }
    const Reference zero(arena, arena.leaf(Scalar::integer(0.0)));
    const LiveNode start = zero.get();
    return apply_once(std::span(&start, 1), activation, *collected, scale);
}

py::object sum_in_python(const Inputs& inputs) {
    return as_value_object(py::module_::import("builtins").attr("sum")(py::handle(inputs.items())),
                           "values");
}

py::object sum(const py::object& values) {
    Inputs inputs(py::tuple(as_fast_sequence(values.ptr(), "values must be iterable")).ptr());
    const LiveNode fused = fused_sum(inputs, AffineMap::no_activation, 1.0);
    return fused.node != nullptr ? wrapped(fused) : sum_in_python(inputs);
}

py::object mean(const py::object& values) {
    Inputs inputs(py::tuple(as_fast_sequence(values.ptr(), "values must be iterable")).ptr());
    if (inputs.size() == 0) {
        throw py::value_error("values is empty: it has no mean");
    }
    const double scale = 1.0 / static_cast<double>(inputs.size());
    const LiveNode fused = fused_sum(inputs, Op::Mul, scale);
    return fused.node != nullptr ? wrapped(fused) : sum_in_python(inputs) * py::float_(scale);
}

constexpr auto dot_documentation = R"(dot(ws, xs, b=0)
--

Compute ``b + ws[0] * xs[0] + ws[1] * xs[1] + ...``, added in this order.

The result is one node, which shows the products and sums when somebody looks.

Parameters
----------
ws, xs : iterable of Value or number
    Of the same length.
b : Value or number, default 0
    What the products are added to.

Returns
-------
Value

Raises
------
ValueError
    If `ws` and `xs` differ in length.
TypeError
    If there is anything but Values and real numbers.

Examples
--------
>>> import microgradx as mgx
>>> weights = mgx.values([2.0, 3.0])
>>> mgx.dot(weights, [10.0, 1.0], 0.5)
Value(data=23.5, grad=0))";

constexpr auto sum_documentation = R"(sum(values, /)
--

Compute what Python's ``sum(values)`` does, as one node.

Parameters
----------
values : iterable of Value or number
    What is added, in this order.

Returns
-------
Value
    Of nothing, 0.

Raises
------
TypeError
    If there is anything but Values and real numbers.

Examples
--------
>>> import microgradx as mgx
>>> mgx.sum(mgx.values([2.0, 3.0]))
Value(data=5.0, grad=0))";

constexpr auto mean_documentation = R"(mean(values, /)
--

Compute ``sum(values) * (1 / len(values))``, as one node.

Parameters
----------
values : iterable of Value or number
    At least one.

Returns
-------
Value

Raises
------
ValueError
    If there are no values.
TypeError
    If there is anything but Values and real numbers.

Examples
--------
>>> import microgradx as mgx
>>> mgx.mean(mgx.values([2.0, 3.0]))
Value(data=2.5, grad=0))";

}  // namespace

void add_sums(py::module_& module) {
    using namespace py::literals;
    module.def("dot", &dot, "ws"_a, "xs"_a, "b"_a = 0, dot_documentation);
    module.def("sum", &sum, "values"_a, py::pos_only(), sum_documentation);
    module.def("mean", &mean, "values"_a, py::pos_only(), mean_documentation);
}

}  // namespace mgx
