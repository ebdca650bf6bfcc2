// Facts about the build, told by the compiler and by CMake (MGX_VERSION, MGX_BUILD_TYPE).

#include "bindings/build_info.hpp"

#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "core/kernels.hpp"
#include "program/lane_kernels.hpp"

namespace mgx {

namespace {

std::string compiler() {
#if defined(__clang__)
    return std::string("Clang ") + __clang_version__;
#elif defined(__GNUC__)
    return std::string("GCC ") + __VERSION__;
#elif defined(_MSC_VER)
    return "MSVC " + std::to_string(_MSC_FULL_VER);
#else
    return "unknown";
#endif
}

// The instruction sets that the compiler was allowed to use throughout.
std::vector<std::string> instruction_sets() {
#if defined(__x86_64__) || defined(_M_X64)
    return {"x86-64", "sse2"};
#elif defined(__aarch64__) || defined(_M_ARM64)
    return {"aarch64", "neon"};
#else
    return {"generic"};
#endif
}

}  // namespace

py::dict build_info() {
    using namespace py::literals;
    return py::dict("version"_a = MGX_VERSION, "compiler"_a = compiler(),
                    "build_type"_a = MGX_BUILD_TYPE, "instruction_sets"_a = instruction_sets(),
                    "kernels"_a = kernels().instruction_set,
                    "lane_kernels"_a = lane_kernels().instruction_set);
}

}  // namespace mgx
