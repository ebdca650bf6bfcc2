// The module `microgradx._core`: registers what the other files define.

#include <pybind11/stl.h>

#include "bindings/build_info.hpp"
#include "bindings/neuron.hpp"
#include "bindings/value_type.hpp"
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

py::tuple operation_rows() {
    py::list rows;
    for (const OpInfo& row : operations()) {
        rows.append(row);
    }
    return py::tuple(rows);
}

PyMethodDef functions[] = {
    {"layer_outputs", reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(layer_outputs)),
     METH_FASTCALL, layer_outputs_documentation},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

}  // namespace mgx

PYBIND11_MODULE(_core, module) {
    using namespace mgx;
    module.doc() = "The engine of microgradx: expression graphs of scalars in a C++ arena.";
    module.attr("__version__") = MGX_VERSION;

    connect_arena();
    module.attr("Value") = create_value_type();
    module.attr("NeuronBase") = create_neuron_type();
    if (PyModule_AddFunctions(module.ptr(), functions) != 0) {
        throw py::error_already_set();
    }

    py::class_<OpInfo>(module, "Operation", "A row of the table of operations.")
        .def_property_readonly(
            "name", [](const OpInfo& row) { return row.name; },
            "The method's name; that of a binary one without its underscores.")
        .def_property_readonly(
            "label", [](const OpInfo& row) { return row.label; }, "What ``_op`` shows.")
        .def_readonly("arity", &OpInfo::arity, "The number of operands.")
        .def_property_readonly(
            "interval", [](const OpInfo& row) { return py::make_tuple(row.low, row.high); },
            "Bounds between which the operation is smooth.")
        .def_property_readonly(
            "doc", [](const OpInfo& row) { return row.doc; }, "What it computes.");
    module.attr("OPS") = operation_rows();

    module.def("arena_counters", &arena_counters,
               "Count what lives in the arena.\n\n"
               "Returns\n-------\n"
               "dict\n"
               "    ``nodes`` (``interior_nodes`` plus ``leaves``), ``wrapped_nodes`` (those that a "
               "Value wraps),\n"
               "    ``pages`` in use, ``free_pages`` kept for reuse, and ``bytes`` of all of them.");
    module.def("build_info", &build_info,
               "Tell what this build is.\n\n"
               "Returns\n-------\n"
               "dict\n"
               "    ``version``, ``compiler``, ``build_type`` and ``instruction_sets``.");
}
