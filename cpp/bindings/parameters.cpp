// The loops of optimisers over parameters.
//
// The list of an optimiser is taken apart once. It holds its Values, so that their nodes, which
// never move, can be reached without them from then on.

#include "bindings/parameters.hpp"

#include <vector>

#include "bindings/tracing.hpp"
#include "bindings/value_object.hpp"

namespace mgx {

namespace {

class Parameters {
public:
    explicit Parameters(const py::list& values) : values_(values) {
        nodes_.reserve(values_.size());
        for (const py::handle value : values_) {
            if (!is_value(value.ptr())) {
                throw py::type_error(py::str("params must be Values, not {}")
                                         .format(py::type::of(value).attr("__name__")));
            }
            if (!has_node(as_value(value.ptr()))) {
                throw py::error_already_set();
            }
            nodes_.push_back(as_value(value.ptr())->content);
        }
    }

    [[nodiscard]] py::list values() const { return py::list(values_); }

    void zero_grads() {
        if (!allow("changing the gradient")) {
            throw py::error_already_set();
        }
        for (Node* node : nodes_) {
            node->grad_value = 0.0;
            set(node->grad_flags, GradFlags::IsInteger, true);
        }
    }

    void sgd_step(double lr, double momentum, double weight_decay, const py::buffer& velocities) {
        if (!allow("changing the number")) {
            throw py::error_already_set();
        }
        const auto step_each = [&](auto step) {
            const Node* weight = nullptr;
            for (Node* node : nodes_) {
                node->data_value -= lr * step(*node);
                node->set(Flags::IntegerData, false);
                weight = node->has(Flags::IsWeight) ? node : weight;
            }
            if (weight != nullptr) {
                arena.changed(*weight);  // one stands for all
            }
        };
        const auto decayed = [weight_decay](const Node& node) {
            return weight_decay == 0.0 ? node.grad_value
                                       : node.grad_value + weight_decay * node.data_value;
        };
        if (momentum == 0.0) {
            step_each(decayed);
            return;
        }
        const py::buffer_info buffer = velocities.request(true);
        if (static_cast<std::size_t>(buffer.size) != nodes_.size() ||
            buffer.format != py::format_descriptor<double>::format()) {
            throw py::value_error("velocities must be floats, one for each of params");
        }
        auto* velocity = static_cast<double*>(buffer.ptr);
        step_each([&](const Node& node) {
            *velocity = momentum * *velocity + decayed(node);
            return *velocity++;
        });
    }

private:
    py::tuple values_;
    std::vector<Node*> nodes_;
};

}  // namespace

void add_parameters(py::module_& module) {
    using namespace py::literals;
    py::class_<Parameters>(module, "Parameters", "The parameters of an optimiser.")
        .def(py::init<const py::list&>(), "values"_a, py::pos_only())
        .def_property_readonly("values", &Parameters::values, "The Values, as a new list.")
        .def("zero_grads", &Parameters::zero_grads, "Set the gradients to 0.")
        .def("sgd_step", &Parameters::sgd_step, "lr"_a, "momentum"_a, "weight_decay"_a,
             "velocities"_a, py::pos_only(),
             "Do a step of stochastic gradient descent; see :class:`microgradx.optim.SGD`.")
        .def("__reduce__", [](const py::object& self) {
            return py::make_tuple(py::type::of(self), py::make_tuple(self.attr("values")));
        });
}

}  // namespace mgx
