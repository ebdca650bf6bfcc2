#pragma once

// What the runs of a LanePlan keep in memory.

#include <cstdint>
#include <exception>
#include <vector>

#include "program/lane_plan.hpp"

namespace mgx {

// Memory for lanes, which begins where a cache line does.
class LaneMemory {
public:
    void resize(std::size_t doubles) {
        memory_.resize(doubles + line);
        auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
        const std::size_t beyond = address / sizeof(double) % line;
        first_ = memory_.data() + (line - beyond) % line;
    }
    [[nodiscard]] double* data() noexcept { return first_; }

private:
    static constexpr std::size_t line = 8;
    std::vector<double> memory_;
    double* first_ = nullptr;
};

struct LanePlan::Workspace {
    LaneMemory lanes;
    LaneMemory scratch;
    std::size_t stride = 0;
    std::vector<const double*> inputs;  // of affine instructions
    std::vector<double*> input_adjoints;
    std::size_t failed_sample = 0;  // of the block, if one has failed
};

// What a chunk of samples adds up to.
struct LanePlan::Chunk {
    std::vector<double> sums;            // of outputs
    std::vector<double> splat_grads;     // of the values that are the same for all samples
    std::vector<double> captured_grads;  // of the first chunk they are those of the batch
    std::vector<double> gathered_grads;
    Weights<double> weight_grads{};
    std::exception_ptr error;
};

}  // namespace mgx
