#pragma once

// Functions that choose between numbers. See choices.cpp.

#include "bindings/python.hpp"

namespace mgx {

void add_choices(py::module_& module);

}  // namespace mgx
