// The module `microgradx._core`: registers what the other files define.

#include <pybind11/stl.h>

#include "bindings/arrays.hpp"
#include "bindings/build_info.hpp"
#include "bindings/choices.hpp"
#include "bindings/compiled.hpp"
#include "bindings/layer.hpp"
#include "bindings/neuron.hpp"
#include "bindings/parameters.hpp"
#include "bindings/tracing.hpp"
#include "bindings/value_type.hpp"
#include "bindings/weighted_sum.hpp"
#include "core/op.hpp"

namespace mgx {

namespace {

py::dict arena_counters() {
    using namespace py::literals;
    const ArenaCounters counters = arena.counters();
    return py::dict("nodes"_a = counters.interior_nodes + counters.leaves,
                    "interior_nodes"_a = counters.interior_nodes, "leaves"_a = counters.leaves,
                    "wrapped_nodes"_a = counters.wrapped_nodes, "pages"_a = counters.pages,
                    "free_pages"_a = counters.free_pages, "bytes"_a = counters.bytes);
}

// The table of ops.def as a tuple of named tuples.
void add_operations(py::module_& module) {
    using namespace py::literals;
    const py::object row_type =
        py::module_::import("collections")
            .attr("namedtuple")("Operation", "name label arity interval doc example",
                                "module"_a = module.attr("__name__"));
    row_type.attr("__doc__") =
        "A row of the table of operations.\n\n"
        "Attributes\n----------\n"
        "name : str\n    The method's name; that of a binary operator without underscores.\n"
        "label : str\n    What ``_op`` shows.\n"
        "arity : int\n    The number of operands.\n"
        "interval : tuple of float\n    Bounds between which the operation is smooth.\n"
        "doc : str\n    What it computes.\n"
        "example : str\n    A line for the interpreter, where ``mgx`` is microgradx, and what it "
        "prints.";
    py::list rows;
    for (const OpInfo& row : operations()) {
        rows.append(row_type(row.name, row.label, row.arity, py::make_tuple(row.low, row.high),
                             row.doc, row.example));
    }
    module.attr("Operation") = row_type;
    module.attr("OPS") = py::tuple(rows);
}

constexpr auto counters_documentation = R"(arena_counters()
--

Count what lives in the arena.

Returns
-------
dict
    ``nodes`` (``interior_nodes`` plus ``leaves``), ``wrapped_nodes`` (those that a Value wraps),
    ``pages`` in use, ``free_pages`` kept for reuse, and ``bytes`` of all of them.)";

constexpr auto build_info_documentation = R"(build_info()
--

Tell what this build is.

Returns
-------
dict
    ``version``, ``compiler``, ``build_type``, ``instruction_sets`` (that all code may use),
    ``kernels`` and ``lane_kernels`` (the instruction sets that the inner loops of layers and of
    compiled functions have chosen here).

Examples
--------
>>> import microgradx
>>> microgradx.build_info()["version"] == microgradx.__version__
True)";

}  // namespace

}  // namespace mgx

PYBIND11_MODULE(_core, module) {
    using namespace mgx;
    module.doc() = "The engine of microgradx: expression graphs of scalars in a C++ arena.";
    module.attr("__version__") = MGX_VERSION;

    // The docstrings of functions begin with signatures that Python's inspect can read.
    py::options options;
    options.disable_function_signatures();

    add_error_translation();
    connect_arena();
    module.attr("Value") = create_value_type();
    module.attr("NeuronBase") = create_neuron_type();
    module.attr("LayerBase") = create_layer_type();
    module.attr("MLPBase") = create_mlp_type();

    add_operations(module);
    add_arrays(module);
    add_sums(module);
    add_choices(module);
    add_compiled(module);
    add_parameters(module);
    add_tracing(module);
    module.def("arena_counters", &arena_counters, counters_documentation);
    module.def("build_info", &build_info, build_info_documentation);
}
