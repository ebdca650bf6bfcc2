// Numbers from Python to the core and back.
//
// The order of the questions is the order in which numbers turn up in programs: Python's own first,
// NumPy's next, anything registered as a real number last. NumPy itself is never imported here: an
// object can only be of its types if someone else has imported it.

#include "bindings/scalar_conversion.hpp"

#include <cmath>
#include <cstdlib>

namespace mgx {

namespace {

// The attribute of the module, or null without an error if the module has not been imported.
PyObject* attribute_if_imported(const char* module_name, const char* attribute) noexcept {
    PyObject* name = PyUnicode_FromString(module_name);
    PyObject* module = name != nullptr ? PyImport_GetModule(name) : nullptr;
    Py_XDECREF(name);
    PyObject* found = module != nullptr ? PyObject_GetAttrString(module, attribute) : nullptr;
    Py_XDECREF(module);
    if (found == nullptr) {
        PyErr_Clear();
    }
    return found;
}

// Whether the object is of a type of NumPy's; the type is looked up once and kept.
bool is_numpy(PyObject* object, const char* type_name, PyObject*& type) noexcept {
    if (type == nullptr) {
        type = attribute_if_imported("numpy", type_name);
    }
    return type != nullptr && PyType_Check(type) &&
           PyObject_TypeCheck(object, reinterpret_cast<PyTypeObject*>(type));
}

bool is_any_array(PyObject* object) noexcept {
    static PyObject* type = nullptr;
    return is_numpy(object, "ndarray", type);
}

bool is_numpy_bool(PyObject* object) noexcept {
    static PyObject* type = nullptr;
    return is_numpy(object, "bool_", type);
}

// 1 or 0, or -1 with an error set: the question runs code, which Ctrl-C can interrupt.
int is_registered_real(PyObject* object) noexcept {
    static PyObject* type = nullptr;
    if (type == nullptr) {
        PyObject* numbers = PyImport_ImportModule("numbers");
        type = numbers != nullptr ? PyObject_GetAttrString(numbers, "Real") : nullptr;
        Py_XDECREF(numbers);
    }
    return type != nullptr ? PyObject_IsInstance(object, type) : -1;
}

// Owns `number`, which may be null with an error set.
Conversion take_integer(PyObject* number, Scalar& scalar) noexcept {
    if (number == nullptr) {
        return Conversion::failed;
    }
    const double value = PyLong_AsDouble(number);
    bool is_exact = std::abs(value) < Scalar::largest_integer;
    if (std::abs(value) == Scalar::largest_integer) {  // or rounded to it
        is_exact =
            std::abs(PyLong_AsLongLong(number)) == static_cast<long long>(Scalar::largest_integer);
    }
    Py_DECREF(number);
    if (value == -1.0 && PyErr_Occurred() != nullptr) {
        return Conversion::failed;
    }
    scalar = is_exact ? Scalar::integer(value) : Scalar::real(value);
    return Conversion::number;
}

Conversion take_float(PyObject* number, Scalar& scalar) noexcept {
    if (number == nullptr) {
        return Conversion::failed;
    }
    scalar = Scalar::real(PyFloat_AS_DOUBLE(number));
    Py_DECREF(number);
    return Conversion::number;
}

}  // namespace

Conversion to_scalar_slowly(PyObject* object, Scalar& scalar) noexcept {
    if (PyLong_Check(object)) {
        return take_integer(Py_NewRef(object), scalar);
    }
    if (PyFloat_Check(object)) {
        scalar = Scalar::real(PyFloat_AS_DOUBLE(object));
        return Conversion::number;
    }
    if (PyUnicode_Check(object) || PySequence_Check(object)) {
        if (!is_any_array(object) || is_array(object)) {
            return Conversion::other;
        }
        PyObject* item = PyObject_CallMethod(object, "item", nullptr);
        if (item == nullptr) {
            return Conversion::failed;
        }
        const Conversion conversion =
            is_any_array(item) ? Conversion::other : to_scalar(item, scalar);
        Py_DECREF(item);
        return conversion;
    }
    if (PyIndex_Check(object)) {
        PyObject* number = PyNumber_Index(object);
        if (number != nullptr || !PyErr_ExceptionMatches(PyExc_TypeError)) {
            return take_integer(number, scalar);
        }
        PyErr_Clear();
    }
    if (is_numpy_bool(object)) {
        scalar = Scalar::integer(PyObject_IsTrue(object) == 1 ? 1.0 : 0.0);
        return Conversion::number;
    }
    const int is_real = is_registered_real(object);
    if (is_real < 0) {
        return Conversion::failed;
    }
    return is_real == 1 ? take_float(PyNumber_Float(object), scalar) : Conversion::other;
}

bool to_scalar_or_error(PyObject* object, const char* argument, Scalar& scalar) noexcept {
    switch (to_scalar(object, scalar)) {
        case Conversion::number:
            return true;
        case Conversion::other:
            PyErr_Format(PyExc_TypeError, "%s must be a real number, not %.200s", argument,
                         Py_TYPE(object)->tp_name);
            return false;
        case Conversion::failed:
            return false;
    }
    return false;
}

PyObject* from_scalar(Scalar scalar) noexcept {
    return scalar.is_integer ? PyLong_FromDouble(scalar.value) : PyFloat_FromDouble(scalar.value);
}

bool is_array(PyObject* object) noexcept {
    if (!is_any_array(object)) {
        return false;
    }
    PyObject* dimensions = PyObject_GetAttrString(object, "ndim");
    const long count = dimensions != nullptr ? PyLong_AsLong(dimensions) : 0;
    Py_XDECREF(dimensions);
    PyErr_Clear();
    return count > 0;
}

}  // namespace mgx
