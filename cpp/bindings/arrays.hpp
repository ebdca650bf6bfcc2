#pragma once

// Values in bulk: to and from NumPy arrays, and the steps of optimisers. See arrays.cpp.

#include "bindings/python.hpp"

namespace mgx {

void add_arrays(py::module_& module);

}  // namespace mgx
