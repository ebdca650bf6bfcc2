// Taking arguments apart: numbers, Values and arrays, in lists and tuples however deep.
//
// In a call for one sample an array stands for nested lists of its numbers. In a call for many it
// has a row for each sample, as has a list of nothing but numbers, which NumPy makes an array of.

#include "bindings/arguments.hpp"

#include "bindings/scalar_conversion.hpp"
#include "bindings/value_object.hpp"

namespace mgx {

namespace {

[[nodiscard]] bool is_nest(const py::handle& object) noexcept {
    return PyList_Check(object.ptr()) || PyTuple_Check(object.ptr());
}

// Arguments may be nested no deeper than Python's own calls.
class Depth {
public:
    Depth() {
        if (Py_EnterRecursiveCall(" in the arguments of a compiled function") != 0) {
            throw py::error_already_set();
        }
    }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;
    ~Depth() { Py_LeaveRecursiveCall(); }
};

// Whether there is nothing but numbers in lists and tuples.
[[nodiscard]] bool is_of_numbers(const py::handle& object) {
    const Depth depth;
    if (!is_nest(object)) {
        return PyFloat_Check(object.ptr()) || PyLong_Check(object.ptr()) ||
               (!is_value(object.ptr()) && !is_array(object.ptr()));
    }
    for (const py::handle item : object) {
        if (!is_of_numbers(item)) {
            return false;
        }
    }
    return true;
}

}  // namespace

Arguments::Arguments(const py::tuple& arguments, bool batched) : batched_(batched) {
    py::tuple nesting(arguments.size());
    for (; argument_ < arguments.size(); ++argument_) {
        nesting[argument_] = visit(arguments[argument_]);
    }
    nesting_ = std::move(nesting);
    if (batched_ && !has_samples_) {
        throw py::value_error(
            "no argument is an array with a leading axis along which the samples lie");
    }
}

py::object Arguments::visit(const py::handle& object) {
    if (is_value(object.ptr())) {
        if (!has_node(as_value(object.ptr()))) {
            throw py::error_already_set();
        }
        structure_ += 'v';
        return add_leaf({Leaf::Kind::Value,
                         inputs_,
                         1,
                         0.0,
                         py::reinterpret_borrow<py::object>(object),
                         as_value(object.ptr())->node,
                         {}});
    }
    if (PyFloat_CheckExact(object.ptr())) {
        structure_ += 'v';
        return add_leaf(
            {Leaf::Kind::Number, inputs_, 1, PyFloat_AS_DOUBLE(object.ptr()), {}, {}, {}});
    }
    if (py::isinstance<py::array>(object) && py::reinterpret_borrow<py::array>(object).ndim() > 0) {
        return add_array(py::reinterpret_borrow<py::array>(object));
    }
    if (is_nest(object)) {
        return add_nest(object);
    }
    Scalar number;
    switch (to_scalar(object.ptr(), number)) {
        case Conversion::number:
            structure_ += 'v';
            return add_leaf({Leaf::Kind::Number, inputs_, 1, number.value, {}, {}, {}});
        case Conversion::failed:
            throw py::error_already_set();
        case Conversion::other:
            break;
    }
    PyErr_Format(PyExc_TypeError,
                 "argument %zu must consist of real numbers, Values, arrays, lists and tuples, but "
                 "there is a %.200s: name the argument in static_argnames if it is none of these",
                 argument_ + 1, Py_TYPE(object.ptr())->tp_name);
    throw py::error_already_set();
}

py::object Arguments::add_nest(const py::handle& object) {
    if (batched_ && py::len(object) > 0 && is_of_numbers(object)) {
        return add_array(py::module_::import("numpy").attr("asarray")(object).cast<py::array>());
    }
    const Depth depth;
    const bool is_tuple = PyTuple_Check(object.ptr());
    structure_ += is_tuple ? '(' : '[';
    py::list nesting;
    for (const py::handle item : py::tuple(py::reinterpret_borrow<py::object>(object))) {
        nesting.append(visit(item));
    }
    structure_ += is_tuple ? ')' : ']';
    return as_type_of(object, nesting);
}

py::object Arguments::as_type_of(const py::handle& nest, const py::list& items) {
    if (PyList_Check(nest.ptr())) {
        return items;
    }
    const bool is_named = !PyTuple_CheckExact(nest.ptr()) && py::hasattr(nest, "_make");
    return is_named ? py::object(nest.attr("_make")(items)) : py::object(py::tuple(items));
}

py::object Arguments::add_array(const py::array& object) {
    const char kind = object.dtype().kind();
    if (kind == 'O' && !batched_) {
        return add_nest(object.attr("tolist")());
    }
    if (kind != 'f' && kind != 'i' && kind != 'u' && kind != 'b') {
        PyErr_Format(PyExc_TypeError, "argument %zu must be of real numbers, not %S", argument_ + 1,
                     object.dtype().ptr());
        throw py::error_already_set();
    }
    Array array = Array::check_(object) ? py::reinterpret_borrow<Array>(object) : Array(object);
    const auto dimensions = static_cast<std::size_t>(array.ndim());
    const auto size = static_cast<std::size_t>(array.size());
    structure_ += "a(";
    for (std::size_t i = batched_ ? 1 : 0; i < dimensions; ++i) {
        structure_ += std::to_string(array.shape(static_cast<py::ssize_t>(i))) + ',';
    }
    structure_ += ')';
    if (!batched_) {
        return add_leaf({Leaf::Kind::Numbers, inputs_, size, 0.0, {}, {}, std::move(array)});
    }
    const auto samples = static_cast<std::size_t>(array.shape(0));
    if (has_samples_ && samples != samples_) {
        PyErr_Format(PyExc_ValueError,
                     "argument %zu has %zu samples along its leading axis, but an argument before "
                     "it has %zu",
                     argument_ + 1, samples, samples_);
        throw py::error_already_set();
    }
    has_samples_ = true;
    samples_ = samples;
    std::size_t columns = 1;
    for (std::size_t i = 1; i < dimensions; ++i) {
        columns *= static_cast<std::size_t>(array.shape(static_cast<py::ssize_t>(i)));
    }
    return add_leaf({Leaf::Kind::Samples, inputs_, columns, 0.0, {}, {}, std::move(array)});
}

py::object Arguments::add_leaf(Leaf leaf) {
    inputs_ += leaf.inputs;
    leaves_.push_back(std::move(leaf));
    return py::int_(leaves_.size() - 1);
}

namespace {

py::object nest_array(const py::list& values, std::size_t& next, const Array& array,
                      py::ssize_t axis) {
    if (axis == array.ndim()) {
        return values[next++];
    }
    py::list nested;
    for (py::ssize_t i = 0; i < array.shape(axis); ++i) {
        nested.append(nest_array(values, next, array, axis + 1));
    }
    return nested;
}

}  // namespace

py::tuple Arguments::nest(const py::list& values) const {
    auto make = [&](const Leaf& leaf) -> py::object {
        std::size_t next = leaf.first_input;
        switch (leaf.kind) {
            case Leaf::Kind::Numbers:
                return nest_array(values, next, leaf.array, 0);
            case Leaf::Kind::Samples:
                return nest_array(values, next, leaf.array, 1);
            default:
                return values[next];
        }
    };
    return map_nest(nesting_, make);
}

}  // namespace mgx
