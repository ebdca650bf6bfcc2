#pragma once

// What optimisers change. See parameters.cpp.

#include "bindings/python.hpp"

namespace mgx {

void add_parameters(py::module_& module);

}  // namespace mgx
