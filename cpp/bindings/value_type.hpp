#pragma once

// The parts that the type `Value` is assembled from. See value_type.cpp.

#include "bindings/value_object.hpp"

namespace mgx {

// Create the type, as a new reference. Throws error_already_set.
[[nodiscard]] py::object create_value_type();

// From value_attributes.cpp.
extern PyGetSetDef value_attributes[];
int value_setattr(PyObject* object, PyObject* name, PyObject* assigned) noexcept;
// Set (or delete, if null is assigned) an entry of the instance's dictionary.
[[nodiscard]] bool set_instance_attribute(ValueObject* value, const char* name,
                                          PyObject* assigned) noexcept;
// Keep the wrapper if it has a dictionary by now.
[[nodiscard]] bool keep_if_attributed(ValueObject* value) noexcept;

// From value_construction.cpp.
int value_init(PyObject* object, PyObject* arguments, PyObject* keywords) noexcept;
PyObject* value_vectorcall(PyObject* type, PyObject* const* arguments, size_t flagged_count,
                           PyObject* keyword_names) noexcept;

// From value_methods.cpp.
extern PyMethodDef value_methods[];

}  // namespace mgx
