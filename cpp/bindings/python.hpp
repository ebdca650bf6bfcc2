#pragma once

// What every binding needs: Python, pybind11, and the way from C++ errors to Python's.

#include <pybind11/pybind11.h>

#include <utility>

namespace mgx {

namespace py = pybind11;

// What comes before an example of ops.def in a docstring.
#define MGX_EXAMPLES "\n\nExamples\n--------\n>>> import microgradx as mgx\n"

// Set the Python error that stands for the C++ exception being handled.
void set_python_error() noexcept;

// Do the same for functions that pybind11 calls.
void add_error_translation();

// The result of `body`, or `failure` with a Python error set if it throws. For functions that
// Python calls directly, through a slot or a method table.
template <typename Result, typename Body>
[[nodiscard]] Result guarded(Result failure, Body&& body) noexcept {
    try {
        return std::forward<Body>(body)();
    } catch (...) {
        set_python_error();
        return failure;
    }
}

// The object of the new reference that a function of Python's returned. Throws error_already_set if
// it is null.
[[nodiscard]] inline py::object checked(PyObject* reference) {
    auto object = py::reinterpret_steal<py::object>(reference);
    return object ? object : throw py::error_already_set();
}

// The iterable itself if it is a list or a tuple, else a list of its items. Throws
// error_already_set, a TypeError with the message if it is not iterable.
[[nodiscard]] inline py::object as_fast_sequence(PyObject* iterable, const char* message) {
    return checked(PySequence_Fast(iterable, message));
}

}  // namespace mgx
