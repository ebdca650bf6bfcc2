#pragma once

// The sum at the heart of a neuron. See weighted_sum.cpp.

#include <cstddef>
#include <utility>
#include <vector>

#include "bindings/value_object.hpp"

namespace mgx {

// The inputs of one neuron, or of all neurons of a layer. Each is converted to a number but once.
class Inputs {
public:
    // What the conversion of an object has given.
    struct Converted {
        py::object object;
        bool is_number = false;
        Scalar number;
    };

    // From any iterable. Throws error_already_set.
    explicit Inputs(PyObject* iterable);

    [[nodiscard]] Py_ssize_t size() const noexcept {
        return PySequence_Fast_GET_SIZE(items_.ptr());
    }
    [[nodiscard]] PyObject* operator[](Py_ssize_t i) const noexcept {
        return PySequence_Fast_GET_ITEM(items_.ptr(), i);
    }
    [[nodiscard]] PyObject* items() const noexcept { return items_.ptr(); }

    // The inputs as a list, which they are from now on, whoever changes it.
    [[nodiscard]] py::list as_list();

    // Collect the inputs as the arena takes them, which are borrowed; false, with nothing of use
    // collected, if one is neither a number nor a plain Value. Converting numbers can run Python
    // code, and is left to operators unless `is_of_use` says now that the inputs can be used if
    // they are collected; no code runs after the last input has been collected. Throws
    // error_already_set if a conversion fails.
    template <typename IsOfUse>
    [[nodiscard]] bool collect(std::vector<Input>& inputs, IsOfUse is_of_use) {
        Contents contents = read(inputs);
        if (contents == Contents::unconverted && is_of_use()) {
            convert();
            contents = read(inputs);
        }
        return contents == Contents::plain;
    }

    // What the i-th input, which is no Value, is as a number; null if it has not been converted.
    [[nodiscard]] const Converted* known(Py_ssize_t i) const noexcept;
    // The same, converted now if it has not been. Throws error_already_set if that fails.
    [[nodiscard]] const Converted& converted(Py_ssize_t i);

private:
    enum class Contents {
        plain,        // collected
        unconverted,  // there are numbers, or what may be numbers, whose conversion can run code
        special       // there is something else
    };

    [[nodiscard]] Contents read(std::vector<Input>& inputs) const;
    // What the i-th input is that is neither a plain Value nor a float proper.
    [[nodiscard]] Contents read_unusual(Py_ssize_t i, Scalar& number) const;
    void convert();

    py::object items_;
    std::vector<Converted> conversions_;
};

// The next two take null as well, which a neuron's attributes are before they are assigned.
[[nodiscard]] inline bool is_list_of(PyObject* object, std::size_t size) noexcept {
    return object != nullptr && PyList_CheckExact(object) &&
           std::cmp_equal(PyList_GET_SIZE(object), size);
}

// The node of a plain Value of which none of the flags is set; none for anything else.
[[nodiscard]] inline Node plain_node(PyObject* object, Flags forbidden) noexcept {
    if (object != nullptr && is_exact_value(object)) {
        const ValueObject* value = as_value(object);
        if (value->node.page != nullptr && !value->node.has(forbidden)) {
            return value->node;
        }
    }
    return {};
}

// Whether sums may be fused at all: the arena does, and Value's operators are its own.
[[nodiscard]] bool may_fuse() noexcept;

// What a plain input, bias or weight must not be.
inline constexpr Flags watched_input = Flags::HasCallback | Flags::OperandsByWrapper;
inline constexpr Flags not_a_weight = watched_input | Flags::IntegerData;

// The sum bias + weights[0]*inputs[0] + weights[1]*inputs[1] + ..., added in this order, and the
// operation `activation` of it (or AffineMap::no_activation), as one node that the caller owns;
// none if something in it is not plain. Runs no Python code.
[[nodiscard]] Node fused_weighted_sum(PyObject* weights, const std::vector<Input>& inputs,
                                      PyObject* bias, Op activation);

// Whether it would be fused if so many inputs could be collected. Runs no Python code.
[[nodiscard]] bool would_fuse(PyObject* weights, Py_ssize_t inputs, PyObject* bias);

// The same sum by Python's operators, whatever they make of it. Throws error_already_set,
// ValueError if there are more or fewer inputs than weights.
[[nodiscard]] py::object weighted_sum_in_python(const py::object& weights, Inputs& inputs,
                                                const py::object& bias);

// The object itself if it is a Value, a new Value if it is a number. Throws error_already_set, a
// TypeError that names the argument.
[[nodiscard]] py::object as_value_object(const py::object& object, const char* argument);

// microgradx.dot, microgradx.sum and microgradx.mean.
void add_sums(py::module_& module);

}  // namespace mgx
