// The sum at the heart of a neuron.
//
// micrograd writes `sum((wi*xi for wi, xi in zip(w, x)), b)`. Here it is one fused node of the
// arena, which shows those nodes when asked. Fusing is for plain cases: float weights, inputs and a
// bias that are Values proper with Value's own operators and no callback of the user's in their
// past. All others, which may do anything at each product and sum, go through Python's operators.

#include "bindings/weighted_sum.hpp"

#include <algorithm>

#include "bindings/scalar_conversion.hpp"
#include "bindings/value_numbers.hpp"

namespace mgx {

namespace {

constexpr Flags watched = Flags::HasCallback | Flags::OperandsByWrapper;

// The node of a plain Value of which none of the flags is set; null for anything else.
template <Flags forbidden>
[[nodiscard]] inline LiveNode plain_node(PyObject* object) noexcept {
    if (is_exact_value(object)) {
        const ValueObject* value = as_value(object);
        if (value->content != nullptr && !value->content->has(forbidden)) {
            return {value->content, value->node};
        }
    }
    return {nullptr, no_node};
}

// A buffer that is used again and again; no Python code runs while it is in use.
std::vector<LiveNode> input_nodes;

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

Inputs::~Inputs() { give_up_list(); }

void Inputs::give_up_list() noexcept {
    if (list_.has_value()) {
        arena.release_input_list(*list_);
        list_.reset();
    }
}

std::optional<std::uint32_t> Inputs::list() {
    if (list_.has_value() && !holds_numbers_) {
        return list_;
    }
    give_up_list();
    std::vector<PyObject*> numbers;
    input_nodes.clear();
    for (Py_ssize_t i = 0; i < size(); ++i) {
        input_nodes.push_back(plain_node<watched>((*this)[i]));
        if (input_nodes.back().node == nullptr) {
            if (is_value((*this)[i])) {
                return std::nullopt;
            }
            numbers.push_back((*this)[i]);
        }
    }
    if (numbers.empty()) {
        list_ = arena.make_input_list(input_nodes);
        return list_;
    }
    // Converting a number can run code of its type's, which may change the inputs or use the
    // buffer: from here on the inputs are a copy of our own, and the buffer is filled anew
    // afterwards.
    items_ = py::tuple(items_);
    std::vector<NodeId> leaves;
    const auto release_leaves = [&leaves]() noexcept {
        for (const NodeId leaf : leaves) {
            arena.release(leaf);
        }
    };
    try {
        for (PyObject* number : numbers) {
            Scalar scalar;
            if (to_scalar(number, scalar) != Conversion::number) {
                PyErr_Clear();
                release_leaves();
                return std::nullopt;
            }
            leaves.reserve(numbers.size());
            leaves.push_back(arena.leaf(scalar));
        }
        input_nodes.clear();
        auto leaf = leaves.begin();
        for (Py_ssize_t i = 0; i < size(); ++i) {
            LiveNode input = plain_node<Flags::None>((*this)[i]);
            if (input.node == nullptr && leaf != leaves.end()) {
                input = {&arena.node(*leaf), *leaf};
                ++leaf;
            }
            input_nodes.push_back(input);
        }
        // A conversion may even have made a Value one of a subclass.
        const bool complete = std::ranges::none_of(
            input_nodes, [](const LiveNode& input) { return input.node == nullptr; });
        if (!complete) {
            release_leaves();
            return std::nullopt;
        }
        list_ = arena.make_input_list(input_nodes);
    } catch (...) {
        release_leaves();
        throw;
    }
    release_leaves();
    holds_numbers_ = true;
    return list_;
}

NodeId fused_weighted_sum(PyObject* weights, std::optional<std::uint32_t> inputs, PyObject* bias,
                          Op activation) {
    if (!inputs.has_value() || !PyList_CheckExact(weights) || PyList_GET_SIZE(weights) == 0 ||
        static_cast<std::size_t>(PyList_GET_SIZE(weights)) != arena.input_count(*inputs) ||
        !has_native_operators(value_type)) {
        return no_node;
    }
    const LiveNode bias_node = plain_node<watched>(bias);
    if (bias_node.node == nullptr) {
        return no_node;
    }
    PyObject** weight = PySequence_Fast_ITEMS(weights);
    return arena.dot(bias_node.id, *inputs, activation,
                     [&weight] { return plain_node<watched | Flags::IntegerData>(*weight++); });
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
