#pragma once

// The sum at the heart of a neuron. See weighted_sum.cpp.

#include <cstdint>
#include <optional>
#include <vector>

#include "bindings/value_object.hpp"

namespace mgx {

// The inputs of one neuron, or of all neurons of a layer.
class Inputs {
public:
    // From any iterable. Throws error_already_set.
    explicit Inputs(PyObject* iterable);
    Inputs(const Inputs&) = delete;
    Inputs& operator=(const Inputs&) = delete;
    ~Inputs();

    [[nodiscard]] Py_ssize_t size() const noexcept {
        return PySequence_Fast_GET_SIZE(items_.ptr());
    }
    [[nodiscard]] PyObject* operator[](Py_ssize_t i) const noexcept {
        return PySequence_Fast_GET_ITEM(items_.ptr(), i);
    }
    [[nodiscard]] PyObject* items() const noexcept { return items_.ptr(); }

    // The arena's list of the inputs, which stays ours; none if an input is neither a number nor a
    // plain Value. Numbers become leaves, which every neuron has of its own; converting them can
    // run Python code.
    [[nodiscard]] std::optional<std::uint32_t> list();

private:
    void give_up_list() noexcept;

    py::object items_;
    std::optional<std::uint32_t> list_;
    bool holds_numbers_ = false;
};

// The sum bias + weights[0]*inputs[0] + weights[1]*inputs[1] + ..., added in this order, and the
// operation `activation` of it (or Dot::no_activation), as one node that the caller owns; no_node
// if something in it is not plain. Runs no Python code.
[[nodiscard]] NodeId fused_weighted_sum(PyObject* weights, std::optional<std::uint32_t> inputs,
                                        PyObject* bias, Op activation);

// The same sum by Python's operators, whatever they make of it. Throws error_already_set,
// ValueError if there are more or fewer inputs than weights.
[[nodiscard]] py::object weighted_sum_in_python(const py::object& weights, const Inputs& inputs,
                                                const py::object& bias);

}  // namespace mgx
