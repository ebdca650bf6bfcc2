#pragma once

// A recorded program, bound to the nodes that it captured. See compiled.cpp.

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "bindings/arguments.hpp"
#include "program/lane_plan.hpp"
#include "program/passes.hpp"
#include "program/recorder.hpp"

namespace mgx {

class Compiled {
public:
    // The program is of arguments with this structure.
    Compiled(Program program, std::string structure, std::vector<PassStatistics> statistics,
             std::vector<NodeId> captured);
    Compiled(const Compiled&) = delete;
    Compiled& operator=(const Compiled&) = delete;
    ~Compiled();

    // Whether the program is of such arguments. The others need ones that are.
    [[nodiscard]] bool fits(const Arguments& arguments) const noexcept {
        return arguments.structure() == structure_ && arguments.inputs() == program().inputs;
    }

    // The outputs for one sample, Values that can be differentiated by the captured nodes and by
    // the Values among the arguments.
    [[nodiscard]] py::list call(const Arguments& arguments);
    // The sum and the mean over all samples, likewise.
    [[nodiscard]] py::object sum(const Arguments& arguments);
    [[nodiscard]] py::object mean(const Arguments& arguments);
    // The outputs of all samples: an array with a row for each output.
    [[nodiscard]] py::object map(const Arguments& arguments);
    // The outputs and their gradients by the arguments, whose arrays have an axis for the outputs
    // before their own.
    [[nodiscard]] py::tuple value_and_grad(const Arguments& arguments);
    // The only output of all samples, and its gradients by the arguments of each sample.
    [[nodiscard]] py::tuple map_value_and_grad(const Arguments& arguments);

    [[nodiscard]] std::size_t outputs() const noexcept { return program().outputs.size(); }
    [[nodiscard]] const std::string& structure() const noexcept { return structure_; }
    [[nodiscard]] std::string listing() const { return program().listing(); }
    [[nodiscard]] std::vector<std::vector<std::size_t>> sources() const {
        return program().listing_sources();
    }
    [[nodiscard]] py::list stats() const;
    [[nodiscard]] py::list captured() const;

    // For pickling.
    [[nodiscard]] py::tuple state() const;
    [[nodiscard]] static std::shared_ptr<Compiled> restored(const py::tuple& state);

private:
    [[nodiscard]] const Program& program() const noexcept { return prepared_.program; }
    [[nodiscard]] std::span<const NodeId> captured_nodes() const noexcept;

    // A program with the tables of its weights.
    struct Prepared {
        Program program;
        WeightTables tables;

        explicit Prepared(Program it) : program(std::move(it)), tables(program) {}
    };
    // The program in the order in which it runs for one sample.
    [[nodiscard]] const Prepared& for_one_sample();
    [[nodiscard]] const ScalarPlan& scalar_plan(bool by_inputs, bool by_captured);
    [[nodiscard]] const LanePlan& lane_plan(const LanePlan::Wish& wish);
    // The memory of a call.
    struct Memory {
        std::vector<double> values;
        std::vector<double> adjoints;
        ScalarPlan::Workspace workspace;
    };
    void set_values(const Arguments& arguments, Memory& memory) const;
    // Run the plan for one sample.
    void forward(const ScalarPlan& plan, Memory& memory) const;
    [[nodiscard]] bool has_gradient(const Arguments& arguments) const noexcept;
    // A Value with derivatives, for which the adjoints are exchanged.
    [[nodiscard]] py::object differentiated(const Arguments& arguments, double data,
                                            std::vector<double>& adjoints) const;
    [[nodiscard]] py::object scaled_sum(const Arguments& arguments, double scale);
    void run(const LanePlan::Wish& wish, Batch& batch);

    Prepared prepared_;
    std::unique_ptr<Prepared> reordered_;  // for one sample, once it is needed
    std::string structure_;
    std::vector<PassStatistics> statistics_;
    std::uint32_t group_;  // of the captured nodes, which it holds
    std::map<std::string, std::unique_ptr<ScalarPlan>> scalar_plans_;
    std::map<std::string, std::unique_ptr<LanePlan>> lane_plans_;
    Idle<Memory> idle_;
};

void add_compiled(py::module_& module);

}  // namespace mgx
