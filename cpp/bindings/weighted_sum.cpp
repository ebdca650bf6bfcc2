// The sum at the heart of a neuron, and sums of one's own.
//
// micrograd writes `sum((wi*xi for wi, xi in zip(w, x)), b)`. Here it is one fused node of the
// arena, which shows those nodes when asked. Fusing is for plain cases: float weights, inputs and a
// bias that are Values proper with Value's own operators and no callback of the user's in their
// past. All others, which may do anything at each product and sum, go through Python's operators.

#include "bindings/weighted_sum.hpp"

#include <algorithm>

#include "bindings/scalar_conversion.hpp"
#include "bindings/spare_vector.hpp"
#include "bindings/value_numbers.hpp"

namespace mgx {

namespace {

// The result of a map of one row that serves but once.
Node apply_once(std::span<const Node> nodes, Op activation, const std::vector<Input>& inputs,
                double scale = 1.0) {
    SpareVector<Node> results;
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

// Whether the object is a number that is read without running code of its type's.
[[nodiscard]] bool converts_at_once(PyObject* object) noexcept {
    return PyFloat_Check(object) || PyLong_Check(object);
}

}  // namespace

bool may_fuse() noexcept { return arena.is_fusing() && has_native_operators(value_type); }

Inputs::Inputs(PyObject* iterable)
    : items_(as_fast_sequence(iterable, "the inputs of a neuron must be iterable")) {}

py::list Inputs::as_list() {
    py::list list(items_);
    items_ = list;
    return list;
}

const Inputs::Converted* Inputs::known(Py_ssize_t i) const noexcept {
    const auto index = static_cast<std::size_t>(i);
    return index < conversions_.size() && conversions_[index].object.ptr() == (*this)[i]
               ? &conversions_[index]
               : nullptr;
}

const Inputs::Converted& Inputs::converted(Py_ssize_t i) {
    if (const Converted* conversion = known(i)) {
        return *conversion;
    }
    Converted conversion;
    conversion.object = py::reinterpret_borrow<py::object>((*this)[i]);
    const Conversion outcome = to_scalar(conversion.object.ptr(), conversion.number);
    if (outcome == Conversion::failed) {
        throw py::error_already_set();
    }
    conversion.is_number = outcome == Conversion::number;
    const auto index = static_cast<std::size_t>(i);
    if (conversions_.size() <= index) {
        conversions_.resize(std::max(index + 1, static_cast<std::size_t>(size())));
    }
    return conversions_[index] = std::move(conversion);
}

Inputs::Contents Inputs::read(std::vector<Input>& inputs) const {
    inputs.clear();
    Contents contents = Contents::plain;
    for (Py_ssize_t i = 0; i < size(); ++i) {
        PyObject* const object = (*this)[i];
        if (const Node node = plain_node(object, watched_input); node.page != nullptr) {
            inputs.push_back({node, node.data()});
        } else if (PyFloat_CheckExact(object)) {
            inputs.push_back({{}, Scalar::real(PyFloat_AS_DOUBLE(object))});
        } else {
            Scalar number;
            const Contents found = read_unusual(i, number);
            if (found == Contents::special) {
                return found;
            }
            contents = std::max(contents, found);
            inputs.push_back({{}, number});
        }
    }
    return contents;
}

Inputs::Contents Inputs::read_unusual(Py_ssize_t i, Scalar& number) const {
    PyObject* const object = (*this)[i];
    if (const Converted* conversion = known(i)) {
        number = conversion->number;
        return conversion->is_number ? Contents::plain : Contents::special;
    }
    if (is_value(object)) {
        return Contents::special;
    }
    if (!converts_at_once(object)) {
        return Contents::unconverted;
    }
    if (to_scalar(object, number) != Conversion::number) {
        PyErr_Clear();  // operators will say so
        return Contents::special;
    }
    return Contents::plain;
}

// Converting a number can run code of its type's, which may change the inputs or what they are: a
// copy of our own is converted, and looked at when all that is done.
void Inputs::convert() {
    items_ = py::tuple(items_);
    for (Py_ssize_t i = 0; i < size(); ++i) {
        PyObject* const object = (*this)[i];
        if (!PyFloat_CheckExact(object) && !is_value(object) && !converted(i).is_number) {
            return;  // what comes behind it is none of ours, should its operators fail
        }
    }
}

namespace {

// The nodes of the weights and of the bias behind them; false if one is not plain.
bool collect_parameters(std::vector<Node>& nodes, PyObject* weights, std::size_t inputs,
                        PyObject* bias) {
    if (inputs == 0 || !is_list_of(weights, inputs) || !may_fuse()) {
        return false;
    }
    for (std::size_t i = 0; i < inputs; ++i) {
        nodes.push_back(
            plain_node(PyList_GET_ITEM(weights, static_cast<Py_ssize_t>(i)), not_a_weight));
        if (nodes.back().page == nullptr) {
            return false;
        }
    }
    nodes.push_back(plain_node(bias, watched_input));
    return nodes.back().page != nullptr;
}

// One of Python's operators, and what Value's own is.
struct Operator {
    PyObject* (*apply)(PyObject*, PyObject*);
    binaryfunc PyNumberMethods::* slot;
    binaryfunc native;
    const char* of_elements;  // NumPy's function
};
constexpr Operator addition = {PyNumber_Add, &PyNumberMethods::nb_add, value_add, "add"};
constexpr Operator multiplication = {PyNumber_Multiply, &PyNumberMethods::nb_multiply,
                                     value_multiply, "multiply"};

[[nodiscard]] bool has_native(const Operator& op, PyObject* object) noexcept {
    return is_value(object) && Py_TYPE(object)->tp_as_number->*op.slot == op.native;
}

[[noreturn]] void refuse(const char* argument, PyObject* object) {
    PyErr_Format(PyExc_TypeError, "%s must be Values or real numbers, not %.200s", argument,
                 Py_TYPE(object)->tp_name);
    throw py::error_already_set();
}

// What the operator makes of a Value and an object, on whichever side, that is neither a Value nor
// a number, as the Value's own has found already.
py::object apply_to_stranger(const Operator& op, PyObject* left, PyObject* right,
                             const char* argument) {
    PyObject* const stranger = is_value(left) ? right : left;
    if (is_array(stranger)) {
        return checked(apply_to_elements(op.of_elements, left, right));
    }
    const PyNumberMethods* numbers = Py_TYPE(stranger)->tp_as_number;
    const binaryfunc own = numbers != nullptr ? numbers->*op.slot : nullptr;
    auto result = own != nullptr ? checked(own(left, right)) : py::object();
    if (!result || result.ptr() == Py_NotImplemented) {
        refuse(argument, stranger);
    }
    return result;
}

// What the operator makes of an object and the i-th input, which it converts if Value's own would.
py::object apply_to_input(const Operator& op, const py::object& left, Inputs& inputs, Py_ssize_t i,
                          const char* argument) {
    const auto right = py::reinterpret_borrow<py::object>(inputs[i]);
    if (!has_native(op, left.ptr()) || is_value(right.ptr()) || converts_at_once(right.ptr())) {
        return checked(op.apply(left.ptr(), right.ptr()));
    }
    const Inputs::Converted& conversion = inputs.converted(i);
    return conversion.is_number
               ? checked(op.apply(left.ptr(), checked(from_scalar(conversion.number)).ptr()))
               : apply_to_stranger(op, left.ptr(), right.ptr(), argument);
}

// Whether the object cannot be an operand of a sum or a product with a Value, unless the other is
// out of the ordinary.
[[nodiscard]] bool is_no_operand(PyObject* object) noexcept {
    const PyNumberMethods* numbers = Py_TYPE(object)->tp_as_number;
    return PyComplex_Check(object) || numbers == nullptr ||
           (numbers->nb_add == nullptr && numbers->nb_multiply == nullptr);
}

// Name the argument if operators have failed for an object in it that is no operand at all.
void blame(const py::error_already_set& error, const char* argument, PyObject* object) {
    if (is_no_operand(object) && error.matches(PyExc_TypeError)) {
        refuse(argument, object);
    }
}

constexpr auto neuron_inputs = "the inputs of a neuron";

}  // namespace

bool would_fuse(PyObject* weights, Py_ssize_t inputs, PyObject* bias) {
    SpareVector<Node> nodes;
    return collect_parameters(*nodes, weights, static_cast<std::size_t>(inputs), bias);
}

Node fused_weighted_sum(PyObject* weights, const std::vector<Input>& inputs, PyObject* bias,
                        Op activation) {
    SpareVector<Node> nodes;
    return collect_parameters(*nodes, weights, inputs.size(), bias)
               ? apply_once(*nodes, activation, inputs)
               : Node{};
}

py::object weighted_sum_in_python(const py::object& weights, Inputs& inputs,
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
        try {
            sum = sum + apply_to_input(multiplication, weight, inputs, i, neuron_inputs);
        } catch (const py::error_already_set& error) {
            blame(error, neuron_inputs, input.ptr());
            throw;
        }
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

// ws[0] * xs[0] + ..., added to the bias, by Python's operators. The collector's items are those
// factors that are not the Values of the products.
py::object dot_in_python(const py::tuple& weights, const py::tuple& inputs, Inputs& collector,
                         const py::object& bias) {
    py::object sum = bias;
    for (std::size_t i = 0; i < weights.size(); ++i) {
        const py::object weight = weights[i];
        const py::object input = inputs[i];
        const auto index = static_cast<Py_ssize_t>(i);
        try {
            const Inputs::Converted* conversion = collector.known(index);
            py::object product;
            if (is_value(weight.ptr())) {
                product = apply_to_input(multiplication, weight, collector, index, "xs");
            } else if (conversion == nullptr || !has_native(multiplication, input.ptr())) {
                product = weight * input;
            } else if (conversion->is_number) {
                product = checked(from_scalar(conversion->number)) * input;
            } else {
                product = apply_to_stranger(multiplication, weight.ptr(), input.ptr(), "ws");
            }
            sum = sum + product;
        } catch (const py::error_already_set& error) {
            blame(error, "ws", weight.ptr());
            blame(error, "xs", input.ptr());
            throw;
        }
    }
    return as_value_object(sum, "the sum of the products of ws and xs");
}

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
    py::object bias = b;
    Scalar number;
    if (!is_value(b.ptr())) {  // may run code, so it comes first
        if (!to_scalar_or_error(b.ptr(), "b", number)) {
            throw py::error_already_set();
        }
        bias = wrapped(arena.leaf(number));
    }
    Inputs collector(others.ptr());
    SpareVector<Input> collected;
    const bool plain = collector.collect(
        *collected, [&] { return would_fuse(factors.ptr(), collector.size(), bias.ptr()); });
    const Node fused =
        plain ? fused_weighted_sum(factors.ptr(), *collected, bias.ptr(), AffineMap::no_activation)
              : Node{};
    if (fused.page != nullptr) {
        return wrapped(fused);
    }
    return dot_in_python(weights, inputs, collector,
                         is_value(b.ptr()) ? b : checked(from_scalar(number)));
}

// The sum, or the mean if the activation is Op::Mul, as one node; none if something in it is not
// plain.
Node fused_sum(Inputs& inputs, Op activation, double scale) {
    // Python adds numbers up before the first Value, and ints to ints, by themselves.
    const auto begins_with_plain_value = [&] {
        return inputs.size() > 0 && may_fuse() &&
               plain_node(inputs[0], not_a_weight).page != nullptr;
    };
    SpareVector<Input> collected;
    if (!inputs.collect(*collected, begins_with_plain_value) || !begins_with_plain_value()) {
        return {};
    }
    const Reference zero(arena, arena.leaf(Scalar::integer(0.0)));
    const Node start = zero.get();
    return apply_once(std::span(&start, 1), activation, *collected, scale);
}

py::object sum_in_python(Inputs& inputs) {
    // Python's own adds up what comes before the first Value, which it does to floats more exactly
    // than + does.
    py::list numbers;
    Py_ssize_t i = 0;
    while (i < inputs.size() && !is_value(inputs[i])) {
        numbers.append(py::handle(inputs[i++]));
    }
    py::object sum;
    try {
        sum = py::module_::import("builtins").attr("sum")(numbers);
        for (; i < inputs.size(); ++i) {
            sum = apply_to_input(addition, sum, inputs, i, "values");
        }
    } catch (const py::error_already_set& error) {
        for (const py::handle number : numbers) {
            blame(error, "values", number.ptr());
        }
        if (i < inputs.size()) {
            blame(error, "values", inputs[i]);
        }
        throw;
    }
    return as_value_object(sum, "values");
}

py::object sum(const py::object& values) {
    Inputs inputs(py::tuple(as_fast_sequence(values.ptr(), "values must be iterable")).ptr());
    const Node fused = fused_sum(inputs, AffineMap::no_activation, 1.0);
    return fused.page != nullptr ? wrapped(fused) : sum_in_python(inputs);
}

py::object mean(const py::object& values) {
    Inputs inputs(py::tuple(as_fast_sequence(values.ptr(), "values must be iterable")).ptr());
    if (inputs.size() == 0) {
        throw py::value_error("values is empty: it has no mean");
    }
    const double scale = 1.0 / static_cast<double>(inputs.size());
    const Node fused = fused_sum(inputs, Op::Mul, scale);
    return fused.page != nullptr ? wrapped(fused) : sum_in_python(inputs) * py::float_(scale);
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
