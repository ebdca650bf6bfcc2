// The loops of optimisers over parameters.
//
// The list of an optimiser is taken apart once. It holds its Values, so that their nodes, which
// never move, can be reached without them from then on.

#include "bindings/parameters.hpp"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bindings/tracing.hpp"
#include "bindings/value_object.hpp"
#include "core/node_runs.hpp"

namespace mgx {

namespace {

using State = py::array_t<double, py::array::c_style>;

class Parameters {
public:
    Parameters(const py::list& values, std::uint64_t steps) : values_(values), steps_(steps) {
        if (!allow("optimising a Value")) {  // whose node is another's when the trace is over
            throw py::error_already_set();
        }
        for (const py::handle value : values_) {
            if (!is_value(value.ptr())) {
                throw py::type_error(py::str("params must be Values, not {}")
                                         .format(py::type::of(value).attr("__name__")));
            }
            if (!has_node(as_value(value.ptr()))) {
                throw py::error_already_set();
            }
            nodes_.add(as_value(value.ptr())->node);
        }
    }

    [[nodiscard]] py::list values() const { return py::list(values_); }

    [[nodiscard]] std::uint64_t steps() const noexcept { return steps_; }
    void set_steps(std::uint64_t steps) noexcept { steps_ = steps; }

    void zero_grads() {
        if (!allow("changing the gradient")) {
            throw py::error_already_set();
        }
        for (const NodeRuns::Run run : nodes_) {
            std::ranges::fill(run.of(&Page::grads), 0.0);
            for (GradFlags& flags : run.of(&Page::grad_flags)) {
                set(flags, GradFlags::IsInteger, true);
            }
        }
    }

    void sgd_step(double lr, double weight_decay) {
        const Decay decayed{weight_decay};
        step_each([&](double p, double g, std::size_t) { return p - lr * decayed(p, g); });
    }

    void momentum_step(double lr, double momentum, double dampening, double weight_decay,
                       bool nesterov, State momentum_buffer, bool is_first) {
        const Decay decayed{weight_decay};
        double* const velocity = numbers(momentum_buffer, "momentum_buffer");
        step_each([&](double p, double g, std::size_t i) {
            g = decayed(p, g);
            velocity[i] = is_first ? g : momentum * velocity[i] + (1.0 - dampening) * g;
            return p - lr * (nesterov ? g + momentum * velocity[i] : velocity[i]);
        });
    }

    void rmsprop_step(double lr, double alpha, double eps, double weight_decay, double momentum,
                      State square_avg, std::optional<State> grad_avg,
                      std::optional<State> momentum_buffer) {
        const Decay decayed{weight_decay};
        double* const squares = numbers(square_avg, "square_avg");
        double* const means = grad_avg.has_value() ? numbers(*grad_avg, "grad_avg") : nullptr;
        double* const velocity =
            momentum_buffer.has_value() ? numbers(*momentum_buffer, "momentum_buffer") : nullptr;
        step_each([&](double p, double g, std::size_t i) {
            g = decayed(p, g);
            squares[i] = alpha * squares[i] + (1.0 - alpha) * g * g;
            double variance = squares[i];
            if (means != nullptr) {
                means[i] += (1.0 - alpha) * (g - means[i]);
                variance -= means[i] * means[i];
            }
            double change = g / (std::sqrt(variance) + eps);
            if (velocity != nullptr) {
                change = velocity[i] = momentum * velocity[i] + change;
            }
            return p - lr * change;
        });
    }

    void adam_step(double lr, double beta1, double beta2, double eps, double weight_decay,
                   bool decays_apart, State exp_avg, State exp_avg_sq,
                   std::optional<State> max_exp_avg_sq) {
        const Decay decayed{decays_apart ? 0.0 : weight_decay};
        const double kept = decays_apart ? 1.0 - lr * weight_decay : 1.0;
        double* const means = numbers(exp_avg, "exp_avg");
        double* const squares = numbers(exp_avg_sq, "exp_avg_sq");
        double* const largest =
            max_exp_avg_sq.has_value() ? numbers(*max_exp_avg_sq, "max_exp_avg_sq") : nullptr;
        // The number of the step tells how far the averages still are from theirs.
        const auto step = static_cast<double>(steps_ + 1);
        const double step_size = lr / (1.0 - std::pow(beta1, step));
        const double root_correction = std::sqrt(1.0 - std::pow(beta2, step));
        step_each([&](double p, double g, std::size_t i) {
            g = decayed(p, g);
            means[i] += (1.0 - beta1) * (g - means[i]);
            squares[i] = beta2 * squares[i] + (1.0 - beta2) * g * g;
            double square = squares[i];
            if (largest != nullptr) {
                square = largest[i] = std::max(largest[i], square);
            }
            return kept * p - step_size * (means[i] / (std::sqrt(square) / root_correction + eps));
        });
    }

private:
    // The penalty on the squares of parameters, as a part of the gradient.
    struct Decay {
        double weight_decay;
        [[nodiscard]] double operator()(double p, double g) const noexcept {
            return weight_decay == 0.0 ? g : g + weight_decay * p;
        }
    };

    // The numbers that an optimiser remembers, one for each parameter.
    [[nodiscard]] double* numbers(State& state, const char* name) const {
        if (state.ndim() != 1 || static_cast<std::size_t>(state.size()) != values_.size()) {
            throw py::value_error(std::string(name) +
                                  " must be a vector with a number for each of params");
        }
        return state.mutable_data();
    }

    // Give each parameter the data step(data, gradient, place).
    template <typename Step>
    void step_each(Step step) {
        if (!allow("changing the number")) {
            throw py::error_already_set();
        }
        Flags flags_of_all = Flags::None;
        std::size_t first = 0;
        for (const NodeRuns::Run run : nodes_) {
            const auto data = run.of(&Page::data);
            const auto grads = run.of(&Page::grads);
            for (std::size_t i = 0; i < run.count; ++i) {
                data[i] = step(data[i], grads[i], first + i);
            }
            first += run.count;
            for (Flags& flags : run.of(&Page::flags)) {
                flags_of_all = flags_of_all | flags;
                set(flags, Flags::IntegerData, false);
            }
        }
        arena.changed(flags_of_all);
        ++steps_;
    }

    py::tuple values_;
    NodeRuns nodes_;
    std::uint64_t steps_;  // taken so far
};

void zero_grads(const py::iterable& parameters) {
    const py::int_ zero(0);
    for (const py::handle parameter : parameters) {
        // Attributes of a class of the user's are the user's.
        if (!is_exact_value(parameter.ptr())) {
            parameter.attr("grad") = zero;
            continue;
        }
        if (!has_node(as_value(parameter.ptr())) || !allow("assigning a number")) {
            throw py::error_already_set();
        }
        as_value(parameter.ptr())->node.set_grad(Scalar::integer(0.0));
    }
}

}  // namespace

void add_parameters(py::module_& module) {
    using namespace py::literals;
    module.def("zero_grads", &zero_grads, "parameters"_a, py::pos_only(),
               "zero_grads(parameters, /)\n--\n\nAssign 0 to the `grad` of each.");
    py::class_<Parameters>(module, "Parameters", "The parameters of an optimiser.")
        .def(py::init<const py::list&, std::uint64_t>(), "values"_a, "steps"_a = 0, py::pos_only(),
             "__init__(self, values, steps=0, /)\n--\n\nTake apart a list of Values.")
        .def_property_readonly("values", &Parameters::values, "The Values, as a new list.")
        .def_property("steps", &Parameters::steps, &Parameters::set_steps,
                      "How many steps have been taken.")
        .def("zero_grads", &Parameters::zero_grads,
             "zero_grads(self, /)\n--\n\nSet the gradients to 0.")
        .def("sgd_step", &Parameters::sgd_step, "lr"_a, "weight_decay"_a, py::pos_only(),
             "sgd_step(self, lr, weight_decay, /)\n--\n\n"
             "Do a step of :class:`microgradx.optim.SGD` without momentum.")
        .def("momentum_step", &Parameters::momentum_step, "lr"_a, "momentum"_a, "dampening"_a,
             "weight_decay"_a, "nesterov"_a, "momentum_buffer"_a.noconvert(), "is_first"_a,
             py::pos_only(),
             "momentum_step(self, lr, momentum, dampening, weight_decay, nesterov, "
             "momentum_buffer, is_first, /)\n--\n\n"
             "Do a step of :class:`microgradx.optim.SGD` with momentum.")
        .def("rmsprop_step", &Parameters::rmsprop_step, "lr"_a, "alpha"_a, "eps"_a,
             "weight_decay"_a, "momentum"_a, "square_avg"_a.noconvert(), "grad_avg"_a.noconvert(),
             "momentum_buffer"_a.noconvert(), py::pos_only(),
             "rmsprop_step(self, lr, alpha, eps, weight_decay, momentum, square_avg, grad_avg, "
             "momentum_buffer, /)\n--\n\n"
             "Do a step of :class:`microgradx.optim.RMSprop`.")
        .def("adam_step", &Parameters::adam_step, "lr"_a, "beta1"_a, "beta2"_a, "eps"_a,
             "weight_decay"_a, "decays_apart"_a, "exp_avg"_a.noconvert(),
             "exp_avg_sq"_a.noconvert(), "max_exp_avg_sq"_a.noconvert(), py::pos_only(),
             "adam_step(self, lr, beta1, beta2, eps, weight_decay, decays_apart, exp_avg, "
             "exp_avg_sq, max_exp_avg_sq, /)\n--\n\n"
             "Do a step of :class:`microgradx.optim.Adam`, or of AdamW, whose weights decay apart "
             "from the\ngradients.")
        .def(
            "__reduce__",
            [](const py::object& self) {
                return py::make_tuple(py::type::of(self),
                                      py::make_tuple(self.attr("values"), self.attr("steps")));
            },
            "__reduce__(self, /)\n--\n\nHow to copy or pickle it.");
}

}  // namespace mgx
