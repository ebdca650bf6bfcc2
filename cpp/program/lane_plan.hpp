#pragma once

// Running a program for many samples, side by side in lanes. See lane_plan.cpp.

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "program/lane_kernels.hpp"
#include "program/program.hpp"
#include "program/scalar_plan.hpp"
#include "program/weight_tables.hpp"

namespace mgx {

// A matrix with a row for each sample; its columns are inputs of the program that follow one
// another.
struct SampleMatrix {
    const double* numbers = nullptr;  // row after row
    std::size_t columns = 1;
    std::size_t first_input = 0;
    bool is_shared = false;   // there is one row, which is every sample's
    double* grads = nullptr;  // a matrix like it, with a row for each sample, or null
};

// What a run is given and gives back.
struct Batch {
    std::size_t samples = 0;
    std::span<const SampleMatrix> matrices;

    // All values of the program, of which the captured ones and the inputs that no matrix holds are
    // set. Their adjoints, or null; they are added to.
    double* values = nullptr;
    double* adjoints = nullptr;
    double seed = 1.0;  // the adjoint of the output in each sample

    double* sums = nullptr;     // of each output over all samples, or null
    double* outputs = nullptr;  // of each output in turn, all samples, or null

    // Called now and then from the thread that runs the batch; ends the run by throwing.
    std::function<void()> check;
};

// Objects that are kept for reuse, by whichever thread comes next. Mostly there is but one, which
// is had without a lock.
template <typename Object>
class Idle {
public:
    Idle() = default;
    Idle(const Idle&) = delete;
    Idle& operator=(const Idle&) = delete;
    ~Idle() { delete last_.load(); }

    [[nodiscard]] std::unique_ptr<Object> take() {
        if (Object* const last = last_.exchange(nullptr); last != nullptr) {
            return std::unique_ptr<Object>(last);
        }
        const std::scoped_lock lock(mutex_);
        if (objects_.empty()) {
            return std::make_unique<Object>();
        }
        auto object = std::move(objects_.back());
        objects_.pop_back();
        return object;
    }
    void give_back(std::unique_ptr<Object> object) {
        object.reset(last_.exchange(object.release()));
        if (object != nullptr) {
            const std::scoped_lock lock(mutex_);
            objects_.push_back(std::move(object));
        }
    }

private:
    std::atomic<Object*> last_ = nullptr;  // given back, and owned
    std::mutex mutex_;
    std::vector<std::unique_ptr<Object>> objects_;
};

class LanePlan {
public:
    struct Wish {
        std::vector<char> varying;       // whether each input is a column of a matrix
        bool shared_gradients = false;   // by captured nodes and by the other inputs
        bool varying_gradients = false;  // by the columns
    };

    // The program and the tables, which are the program's, must outlive the plan.
    LanePlan(const Program& program, const WeightTables& tables, const Wish& wish);
    LanePlan(const LanePlan&) = delete;
    LanePlan& operator=(const LanePlan&) = delete;
    ~LanePlan();

    // Throws what the eager engine throws, for the first sample in which something does.
    void run(const Batch& batch) const;

    // How many vectors of lanes a block needs.
    [[nodiscard]] std::size_t slots() const noexcept { return slots_; }
    [[nodiscard]] std::size_t block_size(std::size_t samples) const noexcept;

private:
    static constexpr std::uint32_t no_slot = 0xFFFFFFFF;

    // The lanes of a value and of its adjoint.
    struct Place {
        std::uint32_t value = no_slot;
        std::uint32_t adjoint = no_slot;
    };
    struct Range {
        std::uint32_t first;
        std::uint32_t count;
    };
    struct Step {
        std::uint32_t instruction;
        std::uint32_t first_place;   // in places_: the result's, then the operands'
        std::uint32_t first_zeroed;  // of the ranges that are zeroed before the backward step
        std::uint32_t last_zeroed;
        std::uint32_t first_pointer;  // of an Affine, in the workspace's
        bool is_first;                // to give its operands adjoints: they are not zeroed
    };
    struct Workspace;  // lane_memory.hpp
    struct Chunk;
    struct Memory;
    class Block;    // lane_block.cpp
    class Builder;  // lane_plan_builder.cpp

    void build(const Wish& wish);
    void do_chunk(const Batch& batch, Memory& memory, std::size_t number) const;
    void run_block(const Batch& batch, const Weights<const double>& weights, Workspace& workspace,
                   Chunk& chunk, std::size_t first_sample, std::size_t samples) const;
    static void check(const Batch& batch, Memory& memory);
    void prepare(Workspace& workspace, std::size_t stride) const;
    void add_up(const Batch& batch, Memory& memory) const;

    const Program& program_;
    const WeightTables& tables_;
    bool has_gradients_ = false;
    std::vector<char> gradients_;           // whether the adjoint of each value is wanted
    std::unique_ptr<ScalarPlan> prologue_;  // what is the same for all samples
    std::vector<Step> steps_;               // in order
    std::vector<Step> backward_steps_;      // last first
    std::vector<Place> places_;             // of the steps
    std::vector<Range> zeroed_;             // adjoints: of the steps, and
    std::vector<Range> zeroed_at_first_;
    std::vector<Place> inputs_;  // of varying ones
    std::vector<Place> outputs_;
    std::vector<std::pair<ValueId, Place>> splats_;  // values that are the same for all samples
    std::size_t slots_ = 0;
    std::size_t pointers_ = 0;
    std::size_t most_terms_ = 0;
    std::unique_ptr<Idle<Workspace>> idle_workspaces_;
    std::unique_ptr<Idle<Memory>> idle_memories_;
};

}  // namespace mgx
