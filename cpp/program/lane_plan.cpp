// Many samples at a time.
//
// What does not depend on the sample runs once, as the prologue. All else runs over blocks of
// samples: each instruction is done to all lanes of a block before the next, so that finding out
// what to do is paid once a block, and the lanes of a block stay in the cache. A slot is a vector
// of so many lanes; values and adjoints that are never needed at the same time share one
// (slots.cpp).
//
// The backward pass follows the forward pass of the same block. The order in which sums over
// samples are added up is fixed, whatever the number of threads and the width of registers: within
// a block by lane, blocks one after another within a chunk, and then the chunks one after another.
// How samples are divided into blocks and chunks depends on the program and their number alone.
//
// The last block's lanes beyond the last sample repeat that sample, so that nothing unheard of
// happens in them; their adjoints are never added to anything.

#include "program/lane_plan.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <thread>

#include "program/lane_memory.hpp"
#include "program/thread_pool.hpp"

namespace mgx {

using Kind = Instruction::Kind;

namespace {

constexpr std::size_t most_lanes = 128;
constexpr std::size_t fewest_lanes = 64;
constexpr std::size_t block_bytes = std::size_t{96} * 1024;
constexpr std::size_t most_chunks = 16;

using Clock = std::chrono::steady_clock;
constexpr auto time_between_checks = std::chrono::milliseconds(50);

constexpr std::size_t round_up(std::size_t number, std::size_t multiple) noexcept {
    return (number + multiple - 1) / multiple * multiple;
}
// From one vector of so many lanes to the next: an odd number of cache lines, as lines at multiples
// of a power of two would share few places of the cache.
constexpr std::size_t stride_of(std::size_t lanes) noexcept {
    return (lanes / lane_group | 1) * lane_group;
}
constexpr std::size_t divide_up(std::size_t number, std::size_t divisor) noexcept {
    return (number + divisor - 1) / divisor;
}

}  // namespace

std::size_t LanePlan::block_size(std::size_t samples) const noexcept {
    const std::size_t fitting =
        block_bytes / (std::max<std::size_t>(slots_, 1) * sizeof(double)) / lane_group * lane_group;
    const std::size_t most = std::clamp(fitting, fewest_lanes, most_lanes);
    const std::size_t blocks = std::max<std::size_t>(divide_up(samples, most), 1);
    return std::max(round_up(divide_up(samples, blocks), lane_group), lane_group);
}

void LanePlan::prepare(Workspace& workspace, std::size_t stride) const {
    if (workspace.stride == stride) {
        return;
    }
    workspace.stride = 0;
    workspace.lanes.resize(slots_ * stride);
    if (has_gradients_ && most_terms_ > 0) {
        workspace.scratch.resize(stride * (most_terms_ + lane_group));
    }
    workspace.inputs.resize(pointers_);
    workspace.input_adjoints.resize(pointers_);
    const auto at = [&](std::uint32_t slot) {
        return slot == no_slot ? nullptr : workspace.lanes.data() + slot * stride;
    };
    for (const Step& step : steps_) {
        const Instruction& instruction = program_.instructions[step.instruction];
        if (instruction.kind == Kind::Affine) {
            for (std::size_t term = 0; term < instruction.operand_count; ++term) {
                const Place& place = places_[step.first_place + 1 + term];
                workspace.inputs[step.first_pointer + term] = at(place.value);
                workspace.input_adjoints[step.first_pointer + term] = at(place.adjoint);
            }
        }
    }
    workspace.stride = stride;
}

// What a run needs besides the lanes.
struct LanePlan::Memory {
    ScalarPlan::Workspace prologue;
    std::vector<double> gathered;
    std::vector<Chunk> chunks;
    std::size_t block_size = 0;
    std::size_t chunk_size = 0;
    std::thread::id caller;
    std::atomic<bool> is_interrupted;
    std::atomic<std::size_t> first_failure;  // of a chunk
};

LanePlan::LanePlan(const Program& program, const WeightTables& tables, const Wish& wish)
    : program_(program),
      tables_(tables),
      idle_workspaces_(std::make_unique<Idle<Workspace>>()),
      idle_memories_(std::make_unique<Idle<Memory>>()) {
    build(wish);
}

LanePlan::~LanePlan() = default;

void LanePlan::run(const Batch& batch) const {
    if (batch.samples == 0) {  // not even the prologue runs, whose derivatives may be infinite
        if (batch.sums != nullptr) {
            std::fill_n(batch.sums, outputs_.size(), 0.0);
        }
        return;
    }
    auto memory = idle_memories_->take();
    prologue_->forward(batch.values, memory->prologue);
    tables_.gather(batch.values, memory->gathered);
    memory->block_size = block_size(batch.samples);
    memory->chunk_size = std::max(
        round_up(divide_up(batch.samples, most_chunks), memory->block_size), memory->block_size);
    memory->chunks.resize(divide_up(batch.samples, memory->chunk_size));
    memory->caller = std::this_thread::get_id();
    memory->is_interrupted = false;
    memory->first_failure = memory->chunks.size();
    run_tasks(memory->chunks.size(), [&](std::size_t number) { do_chunk(batch, *memory, number); });
    add_up(batch, *memory);
    idle_memories_->give_back(std::move(memory));
}

void LanePlan::do_chunk(const Batch& batch, Memory& memory, std::size_t number) const {
    Chunk& chunk = memory.chunks[number];
    try {
        chunk.error = nullptr;
        chunk.sums.assign(outputs_.size(), 0.0);
        if (batch.adjoints != nullptr) {
            chunk.splat_grads.assign(splats_.size(), 0.0);
            chunk.gathered_grads.assign(tables_.gathered(), 0.0);
            chunk.captured_grads.assign(number > 0 ? program_.captured : 0, 0.0);
            chunk.weight_grads = {
                number > 0 ? chunk.captured_grads.data() : batch.adjoints + program_.inputs,
                program_.inputs, chunk.gathered_grads.data()};
        }
        auto workspace = idle_workspaces_->take();
        prepare(*workspace, stride_of(memory.block_size));
        for (const auto& [value, place] : splats_) {
            std::fill_n(workspace->lanes.data() + place.value * workspace->stride,
                        workspace->stride, batch.values[index_of(value)]);
        }
        const Weights<const double> weights{batch.values, 0, memory.gathered.data()};
        const bool checks = batch.check && std::this_thread::get_id() == memory.caller;
        auto last_check = checks ? Clock::now() : Clock::time_point();
        const std::size_t end = std::min((number + 1) * memory.chunk_size, batch.samples);
        for (std::size_t first = number * memory.chunk_size; first < end;
             first += memory.block_size) {
            if (memory.is_interrupted || number > memory.first_failure) {
                break;
            }
            const std::size_t samples = std::min(memory.block_size, end - first);
            std::exception_ptr error;
            // An instruction may fail for a sample, and a later one for a sample before it.
            for (std::size_t count = samples; count > 0; count = workspace->failed_sample) {
                workspace->failed_sample = 0;
                try {
                    run_block(batch, weights, *workspace, chunk, first, count);
                    break;
                } catch (const std::exception&) {
                    error = std::current_exception();
                }
            }
            if (error != nullptr) {
                std::rethrow_exception(error);
            }
            if (checks && Clock::now() - last_check > time_between_checks) {
                check(batch, memory);
                last_check = Clock::now();
            }
        }
        idle_workspaces_->give_back(std::move(workspace));
    } catch (...) {
        chunk.error = std::current_exception();
        std::size_t first = memory.first_failure;
        while (number < first && !memory.first_failure.compare_exchange_weak(first, number)) {
        }
    }
}

void LanePlan::check(const Batch& batch, Memory& memory) {
    try {
        batch.check();
    } catch (...) {
        memory.is_interrupted = true;
        throw;
    }
}

void LanePlan::add_up(const Batch& batch, Memory& memory) const {
    std::vector<Chunk>& chunks = memory.chunks;
    for (const Chunk& chunk : chunks) {
        if (chunk.error != nullptr) {
            std::rethrow_exception(chunk.error);
        }
    }
    for (std::size_t i = 0; batch.sums != nullptr && i < outputs_.size(); ++i) {
        batch.sums[i] = 0.0;
        for (const Chunk& chunk : chunks) {
            batch.sums[i] += chunk.sums[i];
        }
    }
    if (batch.adjoints == nullptr) {
        return;
    }
    for (std::size_t i = 0; i < splats_.size(); ++i) {
        for (const Chunk& chunk : chunks) {
            batch.adjoints[index_of(splats_[i].first)] += chunk.splat_grads[i];
        }
    }
    for (std::size_t number = 0; number < chunks.size(); ++number) {
        for (std::size_t i = 0; number > 0 && i < program_.captured; ++i) {
            batch.adjoints[program_.inputs + i] += chunks[number].captured_grads[i];
        }
        tables_.scatter(chunks[number].gathered_grads, batch.adjoints);
    }
    prologue_->backward(batch.values, batch.adjoints, memory.prologue);
}

}  // namespace mgx
