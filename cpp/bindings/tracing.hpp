#pragma once

// What a Value may not be asked while a function is being traced. See tracing.cpp.

#include "bindings/python.hpp"

namespace mgx {

// How many traces there are at the moment, in all threads.
extern int traces_running;

// microgradx.TraceError.
extern PyObject* trace_error;

// Whether this thread is tracing.
[[nodiscard]] bool is_tracing() noexcept;

// False, with a TraceError set, if this thread is tracing. `what` is done, such as "reading data".
[[nodiscard]] bool fail_if_tracing(const char* what) noexcept;
[[nodiscard]] inline bool allow(const char* what) noexcept {
    return traces_running == 0 || fail_if_tracing(what);
}

// The class Trace.
void add_tracing(py::module_& module);

}  // namespace mgx
