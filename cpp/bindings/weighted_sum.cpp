// The sum at the heart of a neuron.
//
// micrograd writes `sum((wi*xi for wi, xi in zip(w, x)), b)`. Here it is one fused node of the arena,
// which shows those nodes when asked. Fusing is for plain cases: float weights, inputs and a bias
// that are Values proper with Value's own operators and no callback of the user's in their past. All
// others, which may do anything at each product and sum, go through Python's operators.

#include "bindings/weighted_sum.hpp"

#include "bindings/scalar_conversion.hpp"
#include "bindings/value_numbers.hpp"

namespace mgx {

namespace {

// The node of a plain Value of which none of the flags is set; no_node for anything else.
[[nodiscard]] NodeId plain_node(PyObject* object, Flags forbidden) noexcept {
    if (!is_exact_value(object)) {
        return no_node;
    }
    const NodeId id = as_value(object)->node;
    return id != no_node && !arena.node(id).has(forbidden) ? id : no_node;
}

constexpr Flags watched = Flags::HasCallback | Flags::OperandsByWrapper;

// Buffers that are used again and again; no Python code runs while they are in use.
std::vector<NodeId> input_ids;
std::vector<NodeId> weight_ids;

[[nodiscard]] bool collect_weights(PyObject* weights, Py_ssize_t terms) {
    weight_ids.resize(static_cast<std::size_t>(terms));
    for (std::size_t i = 0; i < weight_ids.size(); ++i) {
        PyObject* weight = PySequence_Fast_GET_ITEM(weights, static_cast<Py_ssize_t>(i));
        weight_ids[i] = plain_node(weight, watched | Flags::IntegerData);
        if (weight_ids[i] == no_node) {
            return false;
        }
    }
    return true;
}

py::object sum_in_python(PyObject* weights, const Inputs& inputs, PyObject* bias) {
    auto sum = py::reinterpret_borrow<py::object>(bias);
    for (Py_ssize_t i = 0; i < inputs.size() && i < PySequence_Fast_GET_SIZE(weights); ++i) {
        const auto weight = py::reinterpret_borrow<py::object>(PySequence_Fast_GET_ITEM(weights, i));
        const auto input = py::reinterpret_borrow<py::object>(inputs[i]);
        sum = sum + weight * input;
    }
    return sum;
}

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
    input_ids.clear();
    for (Py_ssize_t i = 0; i < size(); ++i) {
        input_ids.push_back(plain_node((*this)[i], watched));
        if (input_ids.back() == no_node) {
            if (is_value((*this)[i])) {
                return std::nullopt;
            }
            numbers.push_back((*this)[i]);
        }
    }
    if (numbers.empty()) {
        list_ = arena.make_input_list(input_ids);
        return list_;
    }
    // Converting a number can run code of its type's, so the buffer is filled anew afterwards.
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
        input_ids.clear();
        auto leaf = leaves.begin();
        for (Py_ssize_t i = 0; i < size(); ++i) {
            const NodeId id = plain_node((*this)[i], Flags::None);
            input_ids.push_back(id != no_node ? id : *leaf++);
        }
        list_ = arena.make_input_list(input_ids);
    } catch (...) {
        release_leaves();
        throw;
    }
    release_leaves();
    holds_numbers_ = true;
    return list_;
}

WeightedSum weighted_sum(PyObject* weights, Inputs& inputs, PyObject* bias) {
    const auto sequence = as_fast_sequence(weights, "the weights of a neuron must be iterable");
    const Py_ssize_t terms = PySequence_Fast_GET_SIZE(sequence.ptr());
    if (inputs.size() != terms) {
        PyErr_Format(PyExc_ValueError, "expected %zd inputs, one for each weight, but got %zd", terms,
                     inputs.size());
        throw py::error_already_set();
    }
    if (terms > 0 && has_native_operators(value_type)) {
        const auto list = inputs.list();
        const NodeId bias_id = plain_node(bias, watched);
        if (list.has_value() && bias_id != no_node && collect_weights(sequence.ptr(), terms)) {
            return {arena.dot(bias_id, weight_ids, *list), {}};
        }
    }
    return {no_node, sum_in_python(sequence.ptr(), inputs, bias)};
}

}  // namespace mgx
