#pragma once

// What every binding needs: Python, pybind11, and the way from C++ errors to Python's.

#include <pybind11/pybind11.h>

#include <utility>

namespace mgx {

namespace py = pybind11;

// Set the Python error that stands for the C++ exception being handled.
void set_python_error() noexcept;

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

}  // namespace mgx
