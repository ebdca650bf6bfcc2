#pragma once

#include "bindings/python.hpp"

namespace mgx {

// weighted_sum(weights, inputs, bias): bias + weights[0]*inputs[0] + weights[1]*inputs[1] + ...
PyObject* weighted_sum(PyObject* module, PyObject* const* arguments, Py_ssize_t count) noexcept;

extern const char* const weighted_sum_documentation;

}  // namespace mgx
