// Tracing a function: it is called with Values that stand for any number, and what it computes is
// recorded (cpp/program/recorder.cpp).
//
// These Values hold NaN, which is in the domain of every operation, so nothing fails for want of a
// number. But nobody may look: a number read from a Value, or a comparison, would decide once and
// for all what the program does. While a thread is tracing, that is an error there, for all Values:
// also the number of one that was there before would be frozen into the program.
//
// Values of a trace that somebody still holds when it is over have no meaning. Their type becomes
// one whose operations raise.

#include "bindings/tracing.hpp"

#include <pythread.h>

#include <algorithm>
#include <deque>
#include <limits>
#include <memory>
#include <vector>

#include "bindings/compiled.hpp"
#include "bindings/scalar_conversion.hpp"
#include "bindings/value_object.hpp"
#include "core/reference.hpp"
#include "program/recorder.hpp"

namespace mgx {

int traces_running = 0;
PyObject* trace_error = nullptr;

namespace {

unsigned long tracing_thread = 0;

[[nodiscard]] Node node_of(const py::handle& value) {
    if (!is_value(value.ptr())) {
        throw py::type_error("a Value is needed here");
    }
    if (!has_node(as_value(value.ptr()))) {
        throw py::error_already_set();
    }
    return as_value(value.ptr())->node;
}

class Trace {
public:
    explicit Trace(std::size_t inputs) : recorder_(arena) {
        for (std::size_t i = 0; i < inputs; ++i) {
            const Scalar unknown = Scalar::real(std::numeric_limits<double>::quiet_NaN());
            inputs_.append(wrapped(arena.leaf(unknown)));
        }
        if (traces_running++ > 0) {
            --traces_running;
            throw std::logic_error("a trace is running already");
        }
        tracing_thread = PyThread_get_thread_ident();
        current_ = this;
        numbers_are_unknown = true;
    }
    Trace(const Trace&) = delete;
    Trace& operator=(const Trace&) = delete;
    ~Trace() { stop(); }

    [[nodiscard]] py::list inputs() const { return inputs_; }

    [[nodiscard]] std::shared_ptr<Compiled> record(const py::list& outputs, std::string structure) {
        std::vector<Node> input_nodes;
        std::vector<Node> output_nodes;
        for (const py::handle input : inputs_) {
            input_nodes.push_back(as_value(input.ptr())->node);
        }
        for (const py::handle output : outputs) {
            output_nodes.push_back(node_of(output));
        }
        numbers_are_unknown = false;  // those of constants, which are folded, are known
        Recording recording = recorder_.record(input_nodes, output_nodes);
        std::vector<PassStatistics> statistics;
        Program program = optimise(std::move(recording.program), statistics);
        std::vector<NodeId> captured = std::move(recording.captured);
        if (const auto order = order_captured(program); order.has_value()) {
            std::vector<NodeId> ordered;
            ordered.reserve(captured.size());
            for (const std::uint32_t number : *order) {
                ordered.push_back(captured[number]);
            }
            captured = std::move(ordered);
        }
        return std::make_shared<Compiled>(std::move(program), std::move(structure),
                                          std::move(statistics), std::move(captured));
    }

    // The trace is over: what is left of it is of no use. Gives up the inputs.
    void close() {
        stop();
        std::vector<NodeId> left;
        std::vector<py::object> left_takes;
        // Takes hold what they take from, the last one first, and so the inputs: they go before.
        while (!taken_.empty()) {
            py::object value = taken_.attr("pop")();
            const Node node = as_value(value.ptr())->node;
            if (node.count() > 2 || Py_REFCNT(value.ptr()) > 1) {  // of wrapper and recorder
                left.push_back(node.id);
                left_takes.push_back(std::move(value));
            } else {
                recorder_.forget_take(node.id);
            }
        }
        for (const py::handle input : inputs_) {
            const Node node = as_value(input.ptr())->node;
            if (node.count() > 1 || Py_REFCNT(input.ptr()) > 1) {  // of the wrapper and the list
                left.push_back(node.id);
            }
        }
        if (!left.empty()) {
            const std::vector<NodeId> dependents = arena.dependents(left);
            left.insert(left.end(), dependents.begin(), dependents.end());
            retire_all(left);
        }
        inputs_ = py::list();
    }

    [[nodiscard]] static Trace& current() { return *current_; }
    void add_take(const py::object& value, TakeOperands operands) {
        taken_.append(value);
        recorder_.add_take(as_value(value.ptr())->node.id, std::move(operands));
    }

private:
    void stop() noexcept {
        if (current_ == this) {
            current_ = nullptr;
            --traces_running;
            numbers_are_unknown = false;
        }
    }

    static void retire_all(std::span<const NodeId> nodes) {
        // A wrapper that held the operands gives them back to its node: all must still live then.
        std::deque<Reference> alive;
        std::vector<py::object> wrappers;
        for (const NodeId node : nodes) {
            arena.retain(arena.node(node));
            alive.emplace_back(arena, arena.node(node));
            if (Wrapper wrapper = arena.node(node).wrapper(); wrapper != nullptr) {
                wrappers.push_back(
                    py::reinterpret_borrow<py::object>(static_cast<PyObject*>(wrapper)));
            }
        }
        for (const py::object& wrapper : wrappers) {
            if (is_retired(as_value(wrapper.ptr()))) {
                continue;
            }
            retire(as_value(wrapper.ptr()));
        }
    }

    static inline Trace* current_ = nullptr;

    Recorder recorder_;
    py::list inputs_;
    py::list taken_;  // the results of take, which do not depend on numbers that are known
};

py::object take(const py::list& entries, const py::object& index) {
    if (!is_tracing()) {
        throw std::logic_error("take is recorded in traces only");
    }
    TakeOperands operands{node_of(index).id, {}};
    std::vector<NodeId> distinct{operands.index};
    for (const py::handle entry : entries) {
        const NodeId node = node_of(entry).id;
        operands.entries.push_back(node);
        distinct.push_back(node);
    }
    std::ranges::sort(distinct);
    distinct.erase(std::ranges::unique(distinct).begin(), distinct.end());
    const Scalar unknown = Scalar::real(std::numeric_limits<double>::quiet_NaN());
    py::object taken = wrapped(arena.custom(unknown, distinct));
    Trace::current().add_take(taken, std::move(operands));
    return taken;
}

constexpr auto trace_error_documentation =
    R"(A function that is being compiled does what a recorded program cannot.

Such as looking at a number, which it does not know yet. See :func:`microgradx.compile`.

Examples
--------
>>> import microgradx as mgx
>>> absolute = mgx.compile(lambda x: x if x > 0 else -x)
>>> absolute(-2.0)  # doctest: +ELLIPSIS
Traceback (most recent call last):
    ...
microgradx.TraceError: line 1 of ...: comparing the number of a Value is not possible here: ...
>>> absolute = mgx.compile(lambda x: mgx.where(mgx.greater(x, 0), x, -x))
>>> absolute(-2.0)
Value(data=2.0, grad=0))";

}  // namespace

bool is_tracing() noexcept {
    return traces_running > 0 && PyThread_get_thread_ident() == tracing_thread;
}

bool fail_if_tracing(const char* what) noexcept {
    if (!is_tracing()) {
        return true;
    }
    const char* const remedy =
        "a function that is being compiled computes with numbers it does not know yet. Choose "
        "between numbers with microgradx.where, maximum, minimum or take, compare them with "
        "greater or less, and pass what must be known as one of static_argnames";
    PyFrameObject* const frame = PyEval_GetFrame();
    if (frame == nullptr) {
        PyErr_Format(trace_error, "%s of a Value: %s", what, remedy);
        return false;
    }
    const auto code =
        py::reinterpret_steal<py::object>(reinterpret_cast<PyObject*>(PyFrame_GetCode(frame)));
    PyObject* const file = PyObject_GetAttrString(code.ptr(), "co_filename");
    PyErr_Format(trace_error, "line %d of %S: %s of a Value is not possible here: %s",
                 PyFrame_GetLineNumber(frame), file != nullptr ? file : Py_None, what, remedy);
    Py_XDECREF(file);
    return false;
}

void add_tracing(py::module_& module) {
    using namespace py::literals;
    trace_error = PyErr_NewExceptionWithDoc("microgradx.TraceError", trace_error_documentation,
                                            PyExc_TypeError, nullptr);
    module.attr("TraceError") = py::handle(trace_error);
    py::class_<Trace>(module, "Trace", "The recording of a function of scalars.")
        .def(py::init<std::size_t>(), "inputs"_a,
             "__init__(self, inputs)\n--\n\nBegin to record a function of so many numbers.")
        .def_property_readonly("inputs", &Trace::inputs, "Values that stand for any number.")
        .def("record", &Trace::record, "outputs"_a, "structure"_a, py::pos_only(),
             "record(self, outputs, structure, /)\n--\n\n"
             "Make a program that computes these Values of the inputs.")
        .def("close", &Trace::close,
             "close(self, /)\n--\n\n"
             "End the trace. Values of it that somebody still holds become useless.");
    module.def("is_tracing", &is_tracing,
               "is_tracing()\n--\n\nTell whether this thread is tracing a function.");
    module.def("take", &take, "entries"_a, "index"_a, py::pos_only(),
               "take(entries, index, /)\n--\n\n"
               "Record the choice of one of the Values by a traced index.");
}

}  // namespace mgx
