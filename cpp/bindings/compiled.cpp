// Calling recorded programs.
//
// Each call reads the numbers of the captured nodes as they are now. A result is a node of the
// arena that knows its derivatives by the captured nodes: they are computed together with it, as a
// backward pass nearly always follows, and while the numbers are in the cache it costs least.
//
// Plans, made for what is wanted when it is first wanted, are kept. The interpreter lock guards all
// that belongs to the object; it is given up while a long batch runs, which touches nothing of it.

#include "bindings/compiled.hpp"

#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <unordered_map>
#include <utility>

#include "bindings/tracing.hpp"
#include "bindings/value_object.hpp"
#include "program/evaluate.hpp"
#include "program/schedule.hpp"
#include "program/thread_pool.hpp"

namespace mgx {

namespace {

// From so many operations on, other Python threads may run meanwhile.
constexpr std::size_t long_run = 100'000;

[[nodiscard]] std::size_t work_of(const Program& program, std::size_t samples) noexcept {
    return samples * (program.nodes + 1);
}

// Give way to other threads and to signals such as Ctrl-C.
void check_signals() {
    const py::gil_scoped_acquire lock;
    if (PyErr_CheckSignals() != 0) {
        throw py::error_already_set();
    }
}

py::array_t<double> array_like(const Leaf& leaf, std::optional<std::size_t> leading) {
    std::vector<py::ssize_t> shape;
    if (leading.has_value()) {
        shape.push_back(static_cast<py::ssize_t>(*leading));
    }
    if (leaf.kind == Leaf::Kind::Numbers || leaf.kind == Leaf::Kind::Samples) {
        const py::ssize_t first = leaf.kind == Leaf::Kind::Samples ? 1 : 0;
        shape.insert(shape.end(), leaf.array.shape() + first,
                     leaf.array.shape() + leaf.array.ndim());
    }
    return py::array_t<double>(shape);
}

// The group of these operands and of the Values among the arguments, and the derivatives by them.
std::pair<std::uint32_t, std::vector<double>> group_with_arguments(
    const Arguments& arguments, std::span<const NodeId> captured,
    const std::vector<double>& adjoints, std::size_t inputs) {
    std::vector<NodeId> operands(captured.begin(), captured.end());
    const auto first = adjoints.begin() + static_cast<std::ptrdiff_t>(inputs);
    std::vector<double> derivatives(first, first + static_cast<std::ptrdiff_t>(captured.size()));
    std::unordered_map<NodeId, std::size_t> places;
    for (std::size_t i = 0; i < operands.size(); ++i) {
        places.emplace(operands[i], i);
    }
    for (const Leaf& leaf : arguments.leaves()) {
        if (leaf.kind == Leaf::Kind::Value) {
            const auto [place, is_new] = places.try_emplace(leaf.node.id, operands.size());
            if (is_new) {
                operands.push_back(leaf.node.id);
                derivatives.push_back(0.0);
            }
            derivatives[place->second] += adjoints[leaf.first_input];
        }
    }
    return {arena.make_group(std::move(operands)), std::move(derivatives)};
}

bool has_values(const Arguments& arguments) noexcept {
    return std::ranges::any_of(arguments.leaves(),
                               [](const Leaf& leaf) { return leaf.kind == Leaf::Kind::Value; });
}

}  // namespace

Compiled::Compiled(Program program, std::string structure, std::vector<PassStatistics> statistics,
                   std::vector<NodeId> captured)
    : prepared_(std::move(program)),
      structure_(std::move(structure)),
      statistics_(std::move(statistics)),
      group_(arena.make_group(std::move(captured))) {}

Compiled::~Compiled() { arena.release_group(group_); }

std::span<const NodeId> Compiled::captured_nodes() const noexcept { return arena.group(group_); }

const Compiled::Prepared& Compiled::for_one_sample() {
    if (reordered_ == nullptr) {
        std::optional<Program> alike = put_alike_together(program());
        reordered_ = std::make_unique<Prepared>(alike.has_value() ? *std::move(alike)
                                                                  : follow_chains(program()));
    }
    return *reordered_;
}

const ScalarPlan& Compiled::scalar_plan(bool by_inputs, bool by_captured) {
    std::unique_ptr<ScalarPlan>& plan =
        scalar_plans_[{by_inputs ? 'i' : '-', by_captured ? 'c' : '-'}];
    if (plan == nullptr) {
        const auto& [program, tables] = for_one_sample();
        std::vector<char> wanted(program.values);
        std::fill_n(wanted.begin(), program.inputs, by_inputs ? 1 : 0);
        std::fill_n(wanted.begin() + program.inputs, program.captured, by_captured ? 1 : 0);
        plan = std::make_unique<ScalarPlan>(program, tables,
                                            Selection::all(program, std::move(wanted)));
    }
    return *plan;
}

const LanePlan& Compiled::lane_plan(const LanePlan::Wish& wish) {
    std::string key(wish.varying.begin(), wish.varying.end());
    key += {wish.shared_gradients ? 's' : '-', wish.varying_gradients ? 'v' : '-'};
    std::unique_ptr<LanePlan>& plan = lane_plans_[key];
    if (plan == nullptr) {
        plan = std::make_unique<LanePlan>(program(), prepared_.tables, wish);
    }
    return *plan;
}

void Compiled::set_values(const Arguments& arguments, Memory& memory) const {
    if (!allow("computing with the numbers")) {
        throw py::error_already_set();
    }
    std::vector<double>& values = memory.values;
    if (arguments.is_batched() && arguments.samples() == 0) {
        values.resize(program().inputs);  // nothing is computed with the others
        return;
    }
    values.resize(program().values);
    for (const Leaf& leaf : arguments.leaves()) {
        switch (leaf.kind) {
            case Leaf::Kind::Number:
                values[leaf.first_input] = leaf.number;
                break;
            case Leaf::Kind::Value:
                values[leaf.first_input] = leaf.node.data_value();
                break;
            case Leaf::Kind::Numbers:
                std::copy_n(leaf.array.data(), leaf.inputs,
                            values.begin() + static_cast<std::ptrdiff_t>(leaf.first_input));
                break;
            case Leaf::Kind::Samples:
                break;
        }
    }
    double* value = values.data() + program().inputs;
    for (const NodeRuns::Run run : arena.nodes_of_group(group_)) {
        value = std::ranges::copy(run.of(&Page::data), value).out;
    }
}

void Compiled::forward(const ScalarPlan& plan, Memory& memory) const {
    try {
        plan.forward(memory.values.data(), memory.workspace);
    } catch (const std::exception&) {
        // What fails first in the function's own order is to be told.
        const ScalarPlan own(program(), prepared_.tables,
                             Selection::all(program(), std::vector<char>(program().values)));
        own.forward(memory.values.data(), memory.workspace);
        throw;
    }
}

bool Compiled::has_gradient(const Arguments& arguments) const noexcept {
    return program().captured > 0 || has_values(arguments);
}

py::object Compiled::differentiated(const Arguments& arguments, double data,
                                    std::vector<double>& adjoints) const {
    if (adjoints.empty()) {
        return wrapped(arena.leaf(Scalar::real(data)));
    }
    if (!has_values(arguments)) {
        return wrapped(arena.differentiated(data, group_, adjoints, program().inputs));
    }
    auto [group, derivatives] =
        group_with_arguments(arguments, captured_nodes(), adjoints, program().inputs);
    Node result;
    try {
        result = arena.differentiated(data, group, derivatives, 0);
    } catch (...) {
        arena.release_group(group);
        throw;
    }
    arena.release_group(group);
    return wrapped(result);
}

py::list Compiled::call(const Arguments& arguments) {
    const bool by_captured = program().captured > 0;
    const bool by_inputs = has_values(arguments);
    const ScalarPlan& plan = scalar_plan(by_inputs, by_captured);
    auto memory = idle_.take();
    auto& [values, adjoints, workspace] = *memory;
    set_values(arguments, *memory);
    forward(plan, *memory);
    py::list results;
    adjoints.clear();
    for (const ValueId output : for_one_sample().program.outputs) {
        if (PyErr_CheckSignals() != 0) {
            throw py::error_already_set();
        }
        if (by_captured || by_inputs) {
            adjoints.assign(program().values, 0.0);
            adjoints[index_of(output)] = 1.0;
            plan.backward(values.data(), adjoints.data(), workspace);
        }
        results.append(differentiated(arguments, values[index_of(output)], adjoints));
    }
    idle_.give_back(std::move(memory));
    return results;
}

void Compiled::run(const LanePlan::Wish& wish, Batch& batch) {
    if (batch.samples == 0) {
        return;  // a plan is not worth making for it, and sums are 0 as they are
    }
    const LanePlan& plan = lane_plan(wish);
    if (work_of(program(), batch.samples) < long_run) {
        plan.run(batch);
        return;
    }
    batch.check = check_signals;
    const py::gil_scoped_release others_may_run;
    plan.run(batch);
}

namespace {

struct Matrices {
    std::vector<SampleMatrix> matrices;
    std::vector<char> varying;
};

// The batches among the arguments; with `all`, the other numbers, too, as rows for all samples.
Matrices matrices_of(const Arguments& arguments, const Program& program,
                     const std::vector<double>& values, bool all) {
    Matrices made;
    made.varying.assign(program.inputs, 0);
    for (const Leaf& leaf : arguments.leaves()) {
        const bool is_batch = leaf.kind == Leaf::Kind::Samples;
        if ((!is_batch && !all) || leaf.inputs == 0) {
            continue;
        }
        std::fill_n(made.varying.begin() + static_cast<std::ptrdiff_t>(leaf.first_input),
                    leaf.inputs, 1);
        made.matrices.push_back({is_batch ? leaf.array.data() : values.data() + leaf.first_input,
                                 leaf.inputs, leaf.first_input, !is_batch, nullptr});
    }
    return made;
}

}  // namespace

py::object Compiled::sum(const Arguments& arguments) { return scaled_sum(arguments, 1.0); }

py::object Compiled::mean(const Arguments& arguments) {
    if (arguments.samples() == 0) {
        throw py::value_error("there are no samples, so they have no mean");
    }
    return scaled_sum(arguments, 1.0 / static_cast<double>(arguments.samples()));
}

py::object Compiled::scaled_sum(const Arguments& arguments, double scale) {
    const bool has_gradients = has_gradient(arguments);
    auto memory = idle_.take();
    auto& [values, adjoints, workspace] = *memory;
    set_values(arguments, *memory);
    Matrices made = matrices_of(arguments, program(), values, false);
    adjoints.assign(has_gradients ? program().values : 0, 0.0);
    double sum = 0.0;
    Batch batch;
    batch.samples = arguments.samples();
    batch.matrices = made.matrices;
    batch.values = values.data();
    batch.adjoints = has_gradients ? adjoints.data() : nullptr;
    batch.seed = scale;
    batch.sums = &sum;
    run({std::move(made.varying), has_gradients, false}, batch);
    py::object result = differentiated(arguments, sum * scale, adjoints);
    idle_.give_back(std::move(memory));
    return result;
}

py::object Compiled::map(const Arguments& arguments) {
    auto memory = idle_.take();
    std::vector<double>& values = memory->values;
    set_values(arguments, *memory);
    Matrices made = matrices_of(arguments, program(), values, false);
    py::array_t<double> outputs({program().outputs.size(), arguments.samples()});
    Batch batch;
    batch.samples = arguments.samples();
    batch.matrices = made.matrices;
    batch.values = values.data();
    batch.outputs = outputs.mutable_data();
    run({std::move(made.varying), false, false}, batch);
    idle_.give_back(std::move(memory));
    return outputs;
}

py::tuple Compiled::value_and_grad(const Arguments& arguments) {
    const ScalarPlan& plan = scalar_plan(true, false);
    auto memory = idle_.take();
    auto& [values, adjoints, workspace] = *memory;
    set_values(arguments, *memory);
    forward(plan, *memory);
    const std::size_t rows = program().outputs.size();
    py::array_t<double> outputs(static_cast<py::ssize_t>(rows));
    std::vector<double> jacobian(rows * program().inputs);
    for (std::size_t row = 0; row < rows; ++row) {
        if (PyErr_CheckSignals() != 0) {
            throw py::error_already_set();
        }
        const std::size_t output = index_of(for_one_sample().program.outputs[row]);
        outputs.mutable_data()[row] = values[output];
        adjoints.assign(program().values, 0.0);
        adjoints[output] = 1.0;
        plan.backward(values.data(), adjoints.data(), workspace);
        std::copy_n(adjoints.begin(), program().inputs,
                    jacobian.begin() + static_cast<std::ptrdiff_t>(row * program().inputs));
    }
    const py::object grads = arguments.map([&](const Leaf& leaf) -> py::object {
        py::array_t<double> grad = array_like(leaf, rows);
        for (std::size_t row = 0; row < rows; ++row) {
            std::copy_n(jacobian.data() + row * program().inputs + leaf.first_input, leaf.inputs,
                        grad.mutable_data() + row * leaf.inputs);
        }
        return grad;
    });
    idle_.give_back(std::move(memory));
    return py::make_tuple(outputs, grads);
}

py::tuple Compiled::map_value_and_grad(const Arguments& arguments) {
    auto memory = idle_.take();
    std::vector<double>& values = memory->values;
    set_values(arguments, *memory);
    Matrices made = matrices_of(arguments, program(), values, true);
    py::array_t<double> outputs(static_cast<py::ssize_t>(arguments.samples()));
    std::size_t matrix = 0;
    const py::object grads = arguments.map([&](const Leaf& leaf) -> py::object {
        py::array_t<double> grad = array_like(leaf, arguments.samples());
        if (leaf.inputs > 0) {
            made.matrices[matrix++].grads = grad.mutable_data();
        }
        return grad;
    });
    Batch batch;
    batch.samples = arguments.samples();
    batch.matrices = made.matrices;
    batch.values = values.data();
    batch.outputs = outputs.mutable_data();
    run({std::move(made.varying), false, true}, batch);
    idle_.give_back(std::move(memory));
    return py::make_tuple(outputs, grads);
}

py::list Compiled::stats() const {
    using namespace py::literals;
    py::list rows;
    for (const PassStatistics& row : statistics_) {
        rows.append(py::dict("pass"_a = row.pass, "instructions"_a = row.instructions,
                             "nodes"_a = row.nodes));
    }
    return rows;
}

py::list Compiled::captured() const {
    py::list values;
    for (const NodeId id : captured_nodes()) {
        values.append(checked(wrapper_of(arena.node(id))));
    }
    return values;
}

namespace {

// Raised whenever pickles of before would be misread: what there is besides the rows of ops.def
// among the operations, what kinds of instruction there are, and what a state consists of.
constexpr int state_version = 1;

// What the numbers in a pickle mean.
py::tuple state_format() {
    py::list names;
    names.append(state_version);
    for (const OpInfo& row : operations()) {
        names.append(row.name);
    }
    return py::tuple(names);
}

template <typename Number>
using Column = py::array_t<Number, py::array::c_style | py::array::forcecast>;

template <typename Number, typename Get>
Column<Number> column(std::size_t rows, Get get) {
    Column<Number> made(static_cast<py::ssize_t>(rows));
    for (std::size_t i = 0; i < rows; ++i) {
        made.mutable_data()[i] = static_cast<Number>(get(i));
    }
    return made;
}

// Where ranges of values begin, and how long they are.
py::tuple columns(const ValueRanges& values) {
    const auto ranges = values.ranges();
    return py::make_tuple(
        column<std::uint32_t>(ranges.size(), [&](std::size_t i) { return ranges[i].first; }),
        column<std::uint32_t>(ranges.size(), [&](std::size_t i) { return ranges[i].count; }));
}

void check(bool is_sound) {
    if (!is_sound) {
        throw py::value_error("the pickled program is damaged");
    }
}

// What a part of a pickle is if it is what it should be.
template <typename Part>
Part part(const py::handle& object) {
    check(py::isinstance<Part>(object));
    return py::reinterpret_borrow<Part>(object);
}

template <typename Number>
Column<Number> column_of(const py::handle& object) {
    auto numbers = part<Column<Number>>(object);
    check(numbers.ndim() == 1);
    return numbers;
}

std::size_t count_of(const py::handle& object) {
    const std::size_t count = PyLong_AsSize_t(part<py::int_>(object).ptr());
    const bool is_negative_or_too_large = PyErr_Occurred() != nullptr;
    PyErr_Clear();
    check(!is_negative_or_too_large);
    return count;
}

ValueRanges ranges_of(const py::handle& object) {
    const auto pair = part<py::tuple>(object);
    check(pair.size() == 2);
    const auto firsts = column_of<std::uint32_t>(pair[0]);
    const auto counts = column_of<std::uint32_t>(pair[1]);
    check(firsts.size() == counts.size());
    ValueRanges ranges;
    for (py::ssize_t i = 0; i < firsts.size(); ++i) {
        const ValueRange range{ValueId{firsts.data()[i]}, counts.data()[i]};
        check(range.end() <= index_of(Program::last_value));
        ranges.append(range);
    }
    return ranges;
}

// Whether the numbers are there before any instruction but constants runs.
[[nodiscard]] bool are_weights(const Program& program, const std::vector<char>& is_constant,
                               const ValueRanges& values) {
    return std::ranges::all_of(values.ranges(), [&](const ValueRange& range) {
        const std::size_t first_other = std::max(index_of(range.first), program.first_computed());
        return index_of(range.first) >= program.inputs && range.end() <= is_constant.size() &&
               (range.end() <= program.first_computed() ||
                std::all_of(is_constant.begin() + static_cast<std::ptrdiff_t>(first_other),
                            is_constant.begin() + static_cast<std::ptrdiff_t>(range.end()),
                            [](char is) { return is != 0; }));
    });
}

}  // namespace

py::tuple Compiled::state() const {
    const auto& instructions = program().instructions;
    const std::size_t rows = instructions.size();
    py::list values;
    for (const NodeId id : captured_nodes()) {
        const Node node = arena.node(id);
        values.append(node.op() == Op::Leaf ? checked(wrapper_of(node))
                                            : wrapped(arena.leaf(node.data())));
    }
    py::list parameters;
    for (const auto& [weights, biases] : program().parameters) {
        parameters.append(py::make_tuple(columns(weights), columns(biases)));
    }
    py::list statistics;
    for (const auto& [pass, instructions_after, nodes] : statistics_) {
        statistics.append(py::make_tuple(pass, instructions_after, nodes));
    }
    return py::make_tuple(
        state_format(), structure_, program().inputs, values,
        column<std::uint8_t>(rows, [&](std::size_t i) { return instructions[i].kind; }),
        column<std::uint8_t>(rows, [&](std::size_t i) { return instructions[i].op; }),
        column<std::uint32_t>(rows, [&](std::size_t i) { return instructions[i].operand_count; }),
        column<std::uint32_t>(rows, [&](std::size_t i) { return instructions[i].results; }),
        column<std::uint32_t>(rows, [&](std::size_t i) { return instructions[i].parameters; }),
        column<double>(rows, [&](std::size_t i) { return instructions[i].number; }),
        column<std::uint32_t>(program().operands.size(),
                              [&](std::size_t i) { return program().operands[i]; }),
        parameters,
        column<std::uint32_t>(program().outputs.size(),
                              [&](std::size_t i) { return program().outputs[i]; }),
        statistics);
}

std::shared_ptr<Compiled> Compiled::restored(const py::tuple& state) {
    if (state.size() != 14 || !py::object(state[0]).equal(state_format())) {
        throw py::value_error("the program was pickled by another version of microgradx");
    }
    const auto structure = part<py::str>(state[1]);
    const auto values = part<py::list>(state[3]);
    const auto kinds = column_of<std::uint8_t>(state[4]);
    const auto ops = column_of<std::uint8_t>(state[5]);
    const auto counts = column_of<std::uint32_t>(state[6]);
    const auto results = column_of<std::uint32_t>(state[7]);
    const auto numbers_of_parameters = column_of<std::uint32_t>(state[8]);
    const auto numbers = column_of<double>(state[9]);
    const auto operands = column_of<std::uint32_t>(state[10]);
    const auto outputs = column_of<std::uint32_t>(state[12]);

    std::vector<NodeId> captured;
    check(values.size() <= index_of(Program::last_value));
    for (const py::handle value : values) {
        check(is_value(value.ptr()) && has_node(as_value(value.ptr())));
        captured.push_back(as_value(value.ptr())->node.id);
    }
    Program program;
    const std::size_t inputs = count_of(state[2]);
    check(inputs <= index_of(Program::last_value) - captured.size());
    program.inputs = static_cast<std::uint32_t>(inputs);
    program.captured = static_cast<std::uint32_t>(captured.size());
    program.values = program.inputs + program.captured;
    const auto list = [&](std::span<const std::uint32_t> ids) {
        std::vector<ValueId> made;
        for (const std::uint32_t id : ids) {
            check(id < program.values);
            made.push_back(ValueId{id});
        }
        return made;
    };
    for (const py::handle one : part<py::list>(state[11])) {
        const auto pair = part<py::tuple>(one);
        check(pair.size() == 2);
        program.parameters.push_back({ranges_of(pair[0]), ranges_of(pair[1])});
    }
    const py::ssize_t rows = kinds.size();
    check(ops.size() == rows && counts.size() == rows && results.size() == rows &&
          numbers.size() == rows && numbers_of_parameters.size() == rows);
    std::span<const std::uint32_t> rest(operands.data(), static_cast<std::size_t>(operands.size()));
    std::vector<char> is_constant(program.values);
    for (py::ssize_t i = 0; i < rows; ++i) {
        const std::uint32_t count = counts.data()[i];
        check(kinds.data()[i] <= static_cast<int>(Instruction::Kind::Take) &&
              ops.data()[i] < op_count && count <= rest.size());
        Instruction instruction;
        instruction.kind = Instruction::Kind{kinds.data()[i]};
        instruction.op = Op{ops.data()[i]};
        instruction.results = results.data()[i];
        instruction.parameters = numbers_of_parameters.data()[i];
        instruction.number = numbers.data()[i];
        instruction.operand_count = count;
        check(program.is_well_formed(instruction) &&
              std::size_t{program.values} + instruction.results <= index_of(Program::last_value));
        if (instruction.kind == Instruction::Kind::Affine) {
            const auto& [weights, biases] = program.parameters_of(instruction);
            check(are_weights(program, is_constant, weights) &&
                  are_weights(program, is_constant, biases));
        }
        program.append(instruction, list(rest.first(count)));
        rest = rest.subspan(count);
        is_constant.resize(program.values, instruction.kind == Instruction::Kind::Constant ? 1 : 0);
    }
    program.outputs = list({outputs.data(), static_cast<std::size_t>(outputs.size())});

    std::vector<PassStatistics> statistics;
    for (const py::handle row : part<py::list>(state[13])) {
        const auto columns = part<py::tuple>(row);
        check(columns.size() == 3);
        statistics.push_back(
            {part<py::str>(columns[0]), count_of(columns[1]), count_of(columns[2])});
    }
    return std::make_shared<Compiled>(std::move(program), structure, std::move(statistics),
                                      std::move(captured));
}

namespace {

enum class Outputs { One, Any };

void check_outputs(const Compiled& program, Outputs allowed) {
    if (allowed == Outputs::One && program.outputs() != 1) {
        throw py::type_error("the program has " + std::to_string(program.outputs()) +
                             " outputs, but this is of programs with one");
    }
}

std::string method_documentation(const char* name, const char* summary, const char* returns,
                                 bool batched, Outputs allowed) {
    std::string text = name;
    text += "(self, args, /)\n--\n\n";
    text += summary;
    text += R"(

A :class:`~microgradx.CompiledFunction` calls this; there is hardly ever a reason to do so.

Parameters
----------
args : tuple
    The arguments as the compiled function takes them)";
    text += batched ? ": arrays have a leading axis\n    along which the samples lie." : ".";
    text += "\n\nReturns\n-------\n";
    text += returns;
    text += R"(
    None if the program is not of arguments with this structure.

Raises
------
TypeError
    If there is something that is neither a number nor a Value)";
    text += allowed == Outputs::One ? ", or if there are several outputs." : ".";
    text += "\nValueError\n    As the operations do";
    text += batched ? ", or if leading axes differ or there is none." : ".";
    return text;
}

// Defines a method of programs for arguments, taken apart or not. For those that the program is not
// of it returns None if they are not.
template <bool batched, Outputs allowed, auto method, class Class>
void add_method(Class& program_class, const char* name, const char* summary, const char* returns) {
    const std::string documentation =
        method_documentation(name, summary, returns, batched, allowed);
    program_class.def(
        name,
        [](Compiled& program, const py::tuple& args) {
            check_outputs(program, allowed);
            const Arguments arguments(args, batched);
            return program.fits(arguments) ? py::object((program.*method)(arguments)) : py::none();
        },
        py::arg("args"), py::pos_only(), documentation.c_str());
    program_class.def(
        name,
        [](Compiled& program, const Arguments& arguments) {
            check_outputs(program, allowed);
            if (!program.fits(arguments) || arguments.is_batched() != batched) {
                throw py::value_error("the program is not of arguments with this structure");
            }
            return py::object((program.*method)(arguments));
        },
        py::arg("args"), py::pos_only());
}

constexpr auto program_documentation = R"(What a compiled function computes, as instructions.

``str(program)`` lists them. ``%0, %1, ...`` are the numbers in the arguments, then the Values that
were there before the function was traced, then the instructions' results. A compiled function makes
it: :attr:`microgradx.CompiledFunction.program`.

Examples
--------
>>> import microgradx as mgx
>>> w = mgx.Value(3.0)
>>> f = mgx.compile(lambda x, y: (w * x + y).relu())
>>> f(2.0, 1.0)
Value(data=7.0, grad=0)
>>> print(f.program)
inputs %0..%1
captured %2
  %3 = mul %2 %0
  %4 = add %3 %1
  %5 = relu %4
return %5
<BLANKLINE>
>>> f.program.captured
[Value(data=3.0, grad=0)]
>>> f.program.sources
[[], [], [0, 1], [0, 2], [3], [4]]
>>> f.program.stats[-1]["instructions"]
3
>>> f.program.structure
'vv'
>>> f.program.call((2.0, -7.0))
[Value(data=0.0, grad=0)])";

constexpr auto set_num_threads_documentation = R"(set_num_threads(n, /)
--

Let calls of compiled functions with many samples use so many threads; 1 at first.

Results are the same for every number.

Parameters
----------
n : int
    How many, at least 1.

Raises
------
ValueError
    If `n` is 0.
TypeError
    If `n` is negative, or no whole number.

Examples
--------
>>> import microgradx as mgx
>>> mgx.set_num_threads(2)
>>> mgx.get_num_threads()
2
>>> mgx.set_num_threads(1))";

constexpr auto get_num_threads_documentation = R"(get_num_threads()
--

Tell how many threads a call of a compiled function may use.

Returns
-------
int

Examples
--------
>>> import microgradx as mgx
>>> mgx.get_num_threads()
1)";

}  // namespace

void add_compiled(py::module_& module) {
    using namespace py::literals;
    py::class_<Arguments>(module, "Arguments", "The arguments of a compiled function, taken apart.")
        .def(py::init<const py::tuple&, bool>(), "arguments"_a, "batched"_a, py::pos_only(),
             "__init__(self, arguments, batched, /)\n--\n\n"
             "Take arguments apart, which have a leading axis for the samples if batched.")
        .def_property_readonly("structure", &Arguments::structure,
                               "How they are nested, without their numbers.")
        .def_property_readonly("inputs", &Arguments::inputs,
                               "How many numbers a sample consists of.")
        .def_property_readonly("samples", &Arguments::samples, "How many samples there are.")
        .def("nest", &Arguments::nest, "values"_a, py::pos_only(),
             "nest(self, values, /)\n--\n\n"
             "Put Values, one for each number of a sample, in place of the numbers.");
    py::class_<Compiled, std::shared_ptr<Compiled>> program_class(module, "Program",
                                                                  program_documentation);
    add_method<false, Outputs::Any, &Compiled::call>(
        program_class, "call", "Compute the outputs for one sample.", "list of Value");
    add_method<true, Outputs::One, &Compiled::sum>(program_class, "sum",
                                                   "Add up the output over samples.", "Value");
    add_method<true, Outputs::One, &Compiled::mean>(
        program_class, "mean", "Compute the mean of the output over samples.", "Value");
    add_method<true, Outputs::Any, &Compiled::map>(
        program_class, "map", "Compute the outputs for each sample, without derivatives.",
        "numpy.ndarray of float64\n    Of shape (k, N), for k outputs and N samples.");
    add_method<false, Outputs::Any, &Compiled::value_and_grad>(
        program_class, "value_and_grad",
        "Compute the outputs for one sample and their gradients by the arguments.",
        "tuple of numpy.ndarray of float64, and arrays nested as the arguments are\n"
        "    The outputs, of shape (k,), and gradients with an axis of length k before that of the "
        "argument.");
    add_method<true, Outputs::One, &Compiled::map_value_and_grad>(
        program_class, "map_value_and_grad",
        "Compute the output for each sample and its gradients by the arguments.",
        "tuple of numpy.ndarray of float64, and arrays nested as the arguments are\n"
        "    The outputs, of shape (N,), and gradients with a leading axis of length N.");
    program_class
        .def("__str__", &Compiled::listing, "__str__(self, /)\n--\n\nList the instructions.")
        .def_property_readonly(
            "sources", &Compiled::sources,
            "For each line of the listing, the numbers of the lines whose values "
            "it uses, counted from 0.")
        .def_property_readonly("stats", &Compiled::stats,
                               "What each pass has left: a list of dicts with the name of the "
                               "``pass``, the number of\n``instructions`` and that of the scalar "
                               "``nodes`` they stand for.")
        .def_property_readonly("captured", &Compiled::captured,
                               "The Values that were there before the function was traced.")
        .def_property_readonly("structure", &Compiled::structure,
                               "How the arguments are nested for which the function was traced.")
        .def(
            "__reduce__",
            [](const py::object& self) {
                const py::object restore =
                    py::module_::import("microgradx._core").attr("restore_program");
                return py::make_tuple(restore, py::make_tuple(self.cast<Compiled&>().state()));
            },
            "__reduce__(self, /)\n--\n\nHow to copy or pickle it.");
    module.def("restore_program", &Compiled::restored, "state"_a, py::pos_only(),
               "restore_program(state, /)\n--\n\nMake a program of what a pickle holds of it.");
    module.def(
        "set_num_threads",
        [](std::size_t count) {
            if (count == 0) {
                throw py::value_error("n must be at least 1");
            }
            set_thread_count(count);
        },
        "n"_a, py::pos_only(), set_num_threads_documentation);
    module.def("get_num_threads", &thread_count, get_num_threads_documentation);
}

}  // namespace mgx
