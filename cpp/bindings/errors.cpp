// The translation of C++ exceptions, ours and the standard library's, to Python's.

#include "core/errors.hpp"

#include <exception>
#include <new>
#include <utility>

#include "bindings/python.hpp"
#include "bindings/tracing.hpp"
#include "program/recorder.hpp"

namespace mgx {

void set_python_error() noexcept {
    try {
        throw;
    } catch (py::error_already_set& error) {
        error.restore();
    } catch (const DivisionByZero& error) {
        PyErr_SetString(PyExc_ZeroDivisionError, error.what());
    } catch (const DomainError& error) {
        PyErr_SetString(PyExc_ValueError, error.what());
    } catch (const Overflow& error) {
        PyErr_SetString(PyExc_OverflowError, error.what());
    } catch (const CannotRecord& error) {
        PyErr_SetString(trace_error, error.what());
    } catch (const BadIndex& error) {
        PyErr_SetString(PyExc_IndexError, error.what());
    } catch (const std::bad_alloc&) {
        PyErr_SetString(PyExc_MemoryError, "no memory is left for another node");
    } catch (const std::exception& error) {
        PyErr_SetString(PyExc_RuntimeError, error.what());
    }
}

void add_error_translation() {
    // Those that pybind11 would take for others.
    py::register_local_exception_translator([](std::exception_ptr error) {
        try {
            std::rethrow_exception(std::move(error));
        } catch (const DivisionByZero&) {
            set_python_error();
        } catch (const CannotRecord&) {
            set_python_error();
        }
    });
}

}  // namespace mgx
