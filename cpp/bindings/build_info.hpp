#pragma once

// Facts about the build, for bug reports and benchmarks.

#include "bindings/python.hpp"

namespace mgx {

// What this module was built from, how and for what, as a dict.
[[nodiscard]] py::dict build_info();

}  // namespace mgx
