#pragma once

// Numbers from Python to the core and back.

#include "bindings/python.hpp"
#include "core/scalar.hpp"

namespace mgx {

enum class Conversion {
    number,  // converted
    other,   // not a number: no error is set
    failed   // a Python error is set, such as that of an int beyond every float
};

// Any real number: int, bool, float, their subclasses, NumPy's scalars and arrays without
// dimensions, and whatever registers as numbers.Real. A Value is not a number here.
[[nodiscard]] Conversion to_scalar_slowly(PyObject* object, Scalar& scalar) noexcept;

[[nodiscard]] inline Conversion to_scalar(PyObject* object, Scalar& scalar) noexcept {
    if (PyFloat_CheckExact(object)) {
        scalar = Scalar::real(PyFloat_AS_DOUBLE(object));
        return Conversion::number;
    }
    return to_scalar_slowly(object, scalar);
}

// As to_scalar, but what is not a number sets a TypeError that names the argument.
[[nodiscard]] bool to_scalar_or_error(PyObject* object, const char* argument,
                                      Scalar& scalar) noexcept;

// An int or a float, as a new reference.
[[nodiscard]] PyObject* from_scalar(Scalar scalar) noexcept;

// Whether the object is a NumPy array with at least one dimension.
[[nodiscard]] bool is_array(PyObject* object) noexcept;

}  // namespace mgx
