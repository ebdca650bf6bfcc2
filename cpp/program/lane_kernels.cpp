// The choice among the instruction sets that the loops over lanes were built for.

#include "program/lane_kernels.hpp"

#include <cstdlib>
#include <string_view>

namespace mgx {

namespace lanes_baseline {
extern const LaneKernels kernels;
}
#ifdef MGX_X86_64
namespace lanes_avx2 {
extern const LaneKernels kernels;
}
namespace lanes_avx512 {
extern const LaneKernels kernels;
}
#endif

std::vector<const LaneKernels*> available_lane_kernels() {
    std::vector<const LaneKernels*> available{&lanes_baseline::kernels};
#ifdef MGX_X86_64
    if (__builtin_cpu_supports("avx2") != 0) {
        available.push_back(&lanes_avx2::kernels);
    }
    if (__builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
        __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512bw") != 0) {
        available.push_back(&lanes_avx512::kernels);
    }
#endif
    return available;
}

const LaneKernels& lane_kernels() noexcept {
    static const LaneKernels& chosen = []() -> const LaneKernels& {
        const auto available = available_lane_kernels();
        const char* const wish = std::getenv("MICROGRADX_ISA");
        for (const LaneKernels* candidate : available) {
            if (wish != nullptr && std::string_view(wish) == candidate->instruction_set) {
                return *candidate;
            }
        }
        return *available.back();
    }();
    return chosen;
}

}  // namespace mgx
