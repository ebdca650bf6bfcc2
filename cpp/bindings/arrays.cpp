// Values in bulk, without a Python loop: NumPy arrays become nested lists of new leaves, nests of
// Values become arrays of their data or gradients, and optimisers step through all parameters.
//
// A nest is a Value, or a sequence of nests of the same shape; its shape is that of the array that
// it corresponds to. Whatever is to be changed is looked at as a whole first, so that an error
// leaves everything as it was.

#include "bindings/arrays.hpp"

#include <pybind11/numpy.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string>
#include <vector>

#include "bindings/scalar_conversion.hpp"
#include "bindings/tracing.hpp"
#include "bindings/value_object.hpp"

namespace mgx {

namespace {

class Nest {
public:
    // The Values need not have nodes, as those of an ended trace have none, if their nodes are of
    // no interest.
    explicit Nest(const py::object& values, bool needs_nodes = true) : needs_nodes_(needs_nodes) {
        visit(values, 0);
    }

    [[nodiscard]] const std::vector<py::object>& values() const noexcept { return values_; }
    [[nodiscard]] const std::vector<py::ssize_t>& shape() const noexcept { return shape_; }

private:
    static constexpr std::size_t most_dimensions = 32;

    void visit(const py::object& object, std::size_t depth) {
        if (is_value(object.ptr())) {
            if (needs_nodes_ && !has_node(as_value(object.ptr()))) {
                throw py::error_already_set();
            }
            is_deepest_ = true;
            check(depth == shape_.size());
            values_.push_back(object);
            return;
        }
        if (py::isinstance<py::array>(object) && py::array(object).ndim() == 0) {
            visit(object.attr("item")(), depth);
            return;
        }
        if (PyUnicode_Check(object.ptr()) || !py::hasattr(object, "__iter__")) {
            PyErr_Format(PyExc_TypeError,
                         "values must be Values in nested sequences, but there is a %.200s",
                         Py_TYPE(object.ptr())->tp_name);
            throw py::error_already_set();
        }
        const py::tuple items(object);
        const auto size = static_cast<py::ssize_t>(items.size());
        if (depth == shape_.size()) {
            check(!is_deepest_ && depth < most_dimensions);
            shape_.push_back(size);
        }
        check(shape_[depth] == size);
        for (const py::handle item : items) {
            visit(py::reinterpret_borrow<py::object>(item), depth + 1);
        }
    }

    static void check(bool regular) {
        if (!regular) {
            throw py::value_error(
                "values must have the shape of an array: sequences side by side must be of the "
                "same length and depth");
        }
    }

    bool needs_nodes_;
    std::vector<py::object> values_;
    std::vector<py::ssize_t> shape_;
    bool is_deepest_ = false;  // whether the depth of the Values is known
};

py::object as_array(const py::object& numbers) {
    const py::module_ numpy = py::module_::import("numpy");
    if (py::isinstance(numbers, numpy.attr("ma").attr("MaskedArray"))) {
        throw py::type_error("array must not be masked: use filled() to give all numbers");
    }
    py::object array;
    try {
        array = numpy.attr("asarray")(numbers);
    } catch (py::error_already_set& error) {
        if (!error.matches(PyExc_ValueError)) {
            throw;
        }
        py::raise_from(error, PyExc_ValueError,
                       "array must not be ragged: lists side by side must have the same length");
        throw py::error_already_set();
    }
    const auto kind = array.attr("dtype").attr("kind").cast<std::string>();
    if (kind == "M" || kind == "m") {  // whose elements Python takes for ints
        throw py::type_error(
            py::str("array must be of real numbers, not {}").format(array.attr("dtype")));
    }
    return array;
}

Scalar number(py::handle object) {
    Scalar scalar;
    if (!to_scalar_or_error(object.ptr(), "array", scalar)) {
        throw py::error_already_set();
    }
    return scalar;
}

std::vector<Scalar> scalars_of(const py::object& array) {
    std::vector<Scalar> scalars;
    if (py::isinstance<py::array_t<double>>(array)) {  // most are, and need not become objects
        const py::array_t<double, py::array::c_style> floats(array);
        scalars.reserve(static_cast<std::size_t>(floats.size()));
        std::transform(floats.data(), floats.data() + floats.size(), std::back_inserter(scalars),
                       Scalar::real);
        return scalars;
    }
    for (const py::handle item : array.attr("ravel")().attr("tolist")()) {
        scalars.push_back(number(item));
    }
    return scalars;
}

// Of lists in lists, so many deep, of numbers.
py::object leaves(py::handle numbers, std::size_t dimensions) {
    if (dimensions == 0) {
        return wrapped(arena.leaf(number(numbers)));
    }
    py::list values;
    for (const py::handle item : numbers) {
        values.append(leaves(item, dimensions - 1));
    }
    return values;
}

py::object values_of(const py::object& array) {
    const py::object numbers = as_array(array);
    return leaves(numbers.attr("tolist")(), numbers.attr("ndim").cast<std::size_t>());
}

// An array with what `read` finds at each of the Values.
template <typename Element, typename Read>
py::array_t<Element> array_of(const Nest& nest, Read read) {
    py::array_t<Element> array(nest.shape());
    Element* element = array.mutable_data();
    for (const py::object& value : nest.values()) {
        *element++ = read(value.ptr());
    }
    return array;
}

template <double& (Node::*number)() const noexcept>
py::array_t<double> numbers_of(const py::object& values) {
    if (!allow("reading the numbers")) {
        throw py::error_already_set();
    }
    return array_of<double>(Nest(values),
                            [](PyObject* it) { return (as_value(it)->node.*number)(); });
}

// What Python's `id` gives for each.
py::array_t<std::intptr_t> identities(const py::object& values) {
    return array_of<std::intptr_t>(
        Nest(values, false), [](PyObject* it) { return reinterpret_cast<std::intptr_t>(it); });
}

void assign(const py::object& values, const py::object& array) {
    if (!allow("assigning the numbers")) {
        throw py::error_already_set();
    }
    const Nest nest(values);
    const py::object numbers = as_array(array);
    py::tuple shape(nest.shape().size());
    for (std::size_t i = 0; i < nest.shape().size(); ++i) {
        shape[i] = nest.shape()[i];
    }
    if (!shape.equal(numbers.attr("shape"))) {
        throw py::value_error(py::str("array must have the shape of values, {}, not {}")
                                  .format(shape, numbers.attr("shape")));
    }
    const std::vector<Scalar> scalars = scalars_of(numbers);
    auto scalar = scalars.begin();
    for (const py::object& value : nest.values()) {
        const Node node = as_value(value.ptr())->node;
        node.set_data(*scalar++);
        arena.changed(node);
    }
}

constexpr auto values_documentation = R"(values(array, /)
--

Make a Value of each number of an array.

Parameters
----------
array : array_like of real numbers
    Of any shape.

Returns
-------
list or Value
    New Values in lists nested as `array` is; a Value if it has no dimensions.

Raises
------
TypeError
    If an element is not a real number.
ValueError
    If `array` is ragged.

Examples
--------
>>> import microgradx as mgx
>>> mgx.values([[1, 2.5]])
[[Value(data=1.0, grad=0), Value(data=2.5, grad=0)]])";

// The docstring of a function that reads a number of each Value.
std::string reading_documentation(const std::string& name, const std::string& what,
                                  const std::string& example) {
    return name + "(values, /)\n--\n\nCollect the " + what + R"( of Values in an array.

Parameters
----------
values : Value or nested sequences of Values
    Sequences side by side are of the same length and depth.

Returns
-------
numpy.ndarray of float64
    With the shape of the nesting, which is () for a Value alone.

Raises
------
TypeError
    If there is anything but Values.
ValueError
    If the nesting is ragged.
TraceError
    In a function that is being compiled.)" MGX_EXAMPLES +
           example;
}

constexpr auto identities_documentation = R"(identities(values, /)
--

Collect the identities of Values in an array, with the shape of the nesting.)";

constexpr auto assign_documentation = R"(assign(values, array, /)
--

Assign the numbers of an array to the data of Values.

Parameters
----------
values : Value or nested sequences of Values
    Sequences side by side are of the same length and depth.
array : array_like of real numbers
    With the shape of the nesting.

Raises
------
TypeError
    If there is anything but Values in `values` or but real numbers in `array`.
ValueError
    If the shapes differ or one is ragged. No Value has changed then.
TraceError
    In a function that is being compiled.

Examples
--------
>>> import microgradx as mgx
>>> x = mgx.values([2.0, 3.0])
>>> mgx.assign(x, [0.5, 1.5])
>>> x
[Value(data=0.5, grad=0), Value(data=1.5, grad=0)])";

}  // namespace

void add_arrays(py::module_& module) {
    using namespace py::literals;
    module.def("values", &values_of, "array"_a, py::pos_only(), values_documentation);
    module.def(
        "data", &numbers_of<&Node::data_value>, "values"_a, py::pos_only(),
        reading_documentation("data", "data",
                              ">>> mgx.data([mgx.Value(2.0), mgx.Value(3.0)])\narray([2., 3.])")
            .c_str());
    module.def("grads", &numbers_of<&Node::grad_value>, "values"_a, py::pos_only(),
               reading_documentation("grads", "gradients",
                                     ">>> x = mgx.values([2.0, 3.0])\n"
                                     ">>> (x[0] * x[1]).backward()\n"
                                     ">>> mgx.grads(x)\narray([3., 2.])")
                   .c_str());
    module.def("identities", &identities, "values"_a, py::pos_only(), identities_documentation);
    module.def("assign", &assign, "values"_a, "array"_a, py::pos_only(), assign_documentation);
}

}  // namespace mgx
