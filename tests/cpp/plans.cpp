// Running programs. The ScalarPlan is compared with the eager engine, the LanePlan with the
// ScalarPlan, sample by sample: on whole numbers all sums are exact, in whatever order they are
// added, so the results must be equal.

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/errors.hpp"
#include "numbers.hpp"
#include "program/lane_plan.hpp"
#include "program/schedule.hpp"
#include "program/slots.hpp"
#include "program/thread_pool.hpp"
#include "programs.hpp"

namespace mgx {

namespace {

// Inputs that are columns of a matrix, or all of one row.
struct Columns {
    std::size_t first;
    std::size_t count;
    bool is_shared = false;
};
using Layout = std::vector<Columns>;

const std::vector<Layout> layouts{
    {{0, 3}, {3, 1}}, {{0, 5}}, {}, {{1, 1}, {3, 2, true}}, {{2, 3, true}}};

struct Gradients {
    bool shared;
    bool varying;
};
const std::vector<Gradients> all_gradients{
    {false, false}, {true, false}, {false, true}, {true, true}};

// The numbers of a batch: a row of sources for each sample, of which the captured ones and those
// that do not vary are those of the first.
class Data {
public:
    Data(const Program& program, const Layout& layout, std::vector<Numbers> rows)
        : program_(program), layout_(layout), rows_(std::move(rows)) {
        for (Numbers& row : rows_) {
            for (std::size_t i = 0; i < row.size(); ++i) {
                row[i] = has_own(i) ? row[i] : rows_.front()[i];
            }
        }
    }

    [[nodiscard]] const Program& program() const { return program_; }
    [[nodiscard]] const Layout& layout() const { return layout_; }
    [[nodiscard]] const std::vector<Numbers>& rows() const { return rows_; }
    [[nodiscard]] bool varies(std::size_t input) const {
        return std::ranges::any_of(layout_, [input](const Columns& columns) {
            return input >= columns.first && input < columns.first + columns.count;
        });
    }
    [[nodiscard]] Numbers matrix(const Columns& columns, std::size_t samples) const {
        Numbers numbers;
        for (std::size_t sample = 0; sample < (columns.is_shared ? 1 : samples); ++sample) {
            const auto first = rows_[sample].begin() + static_cast<std::ptrdiff_t>(columns.first);
            numbers.insert(numbers.end(), first,
                           first + static_cast<std::ptrdiff_t>(columns.count));
        }
        return numbers;
    }

private:
    [[nodiscard]] bool has_own(std::size_t input) const {
        return std::ranges::any_of(layout_, [input](const Columns& columns) {
            return !columns.is_shared && input >= columns.first &&
                   input < columns.first + columns.count;
        });
    }

    const Program& program_;
    Layout layout_;
    std::vector<Numbers> rows_;
};

struct BatchOutcome {
    std::vector<Numbers> outputs;            // of each sample
    Numbers sums;                            // of each output
    Numbers shared_gradients;                // by all sources that do not vary, 0 for the others
    std::vector<Numbers> varying_gradients;  // of each sample, by the columns
};

// A program with its plan for many samples.
class LaneRun {
public:
    LaneRun(const Program& program, const Layout& layout, Gradients gradients)
        : program_(program),
          tables_(program),
          gradients_(gradients),
          plan_(program, tables_, wish(program, layout, gradients)) {}

    [[nodiscard]] const LanePlan& plan() const { return plan_; }

    // Adjoints are added to `before`, the output's being `seed`.
    [[nodiscard]] BatchOutcome operator()(const Data& data, std::size_t samples, double seed = 1.0,
                                          double before = 0.0,
                                          const std::function<void()>& check = {}) const {
        std::vector<Numbers> matrices;
        std::vector<Numbers> grads;
        std::vector<SampleMatrix> given;
        for (const Columns& columns : data.layout()) {
            matrices.push_back(data.matrix(columns, std::max<std::size_t>(samples, 1)));
            grads.emplace_back(samples * columns.count, 1e300);
        }
        for (std::size_t i = 0; i < matrices.size(); ++i) {
            const Columns& columns = data.layout()[i];
            given.push_back({matrices[i].data(), columns.count, columns.first, columns.is_shared,
                             gradients_.varying ? grads[i].data() : nullptr});
        }
        const std::size_t sources = std::size_t{program_.inputs} + program_.captured;
        Numbers values = data.rows().front();
        for (std::size_t i = 0; i < program_.inputs; ++i) {
            values[i] = data.varies(i) ? 1e300 : values[i];  // which nobody reads
        }
        values.resize(program_.values);
        Numbers adjoints(program_.values);
        std::fill_n(adjoints.begin() + program_.inputs, program_.captured, before);
        const std::size_t outputs = program_.outputs.size();
        Numbers results(outputs * samples);
        BatchOutcome outcome;
        outcome.sums.resize(outputs, 1e300);
        Batch batch;
        batch.samples = samples;
        batch.matrices = given;
        batch.values = values.data();
        batch.adjoints = gradients_.shared ? adjoints.data() : nullptr;
        batch.seed = seed;
        batch.sums = outcome.sums.data();
        batch.outputs = results.data();
        batch.check = check;
        plan_.run(batch);
        outcome.outputs.assign(samples, Numbers(outputs));
        outcome.varying_gradients.assign(samples, {});
        for (std::size_t sample = 0; sample < samples; ++sample) {
            for (std::size_t i = 0; i < outputs; ++i) {
                outcome.outputs[sample][i] = results[i * samples + sample];
            }
            for (std::size_t i = 0; gradients_.varying && i < given.size(); ++i) {
                const auto first =
                    grads[i].begin() + static_cast<std::ptrdiff_t>(sample * given[i].columns);
                outcome.varying_gradients[sample].insert(
                    outcome.varying_gradients[sample].end(), first,
                    first + static_cast<std::ptrdiff_t>(given[i].columns));
            }
        }
        adjoints.resize(gradients_.shared ? sources : 0);
        outcome.shared_gradients = std::move(adjoints);
        return outcome;
    }

private:
    [[nodiscard]] static LanePlan::Wish wish(const Program& program, const Layout& layout,
                                             Gradients gradients) {
        LanePlan::Wish wish{std::vector<char>(program.inputs), gradients.shared, gradients.varying};
        for (const Columns& columns : layout) {
            std::fill_n(wish.varying.begin() + static_cast<std::ptrdiff_t>(columns.first),
                        columns.count, 1);
        }
        return wish;
    }

    const Program& program_;
    WeightTables tables_;
    Gradients gradients_;
    LanePlan plan_;
};

// What the plan should give for the first so many samples, by a ScalarPlan.
class Expectation {
public:
    explicit Expectation(const Data& data) : data_(data) {
        ScalarRun run(data.program());
        for (const Numbers& row : data.rows()) {
            samples_.push_back(run(row));
        }
    }

    template <typename Compare>
    void check(const BatchOutcome& actual, std::size_t samples, Gradients gradients,
               Compare compare_values, Compare compare_gradients, double seed = 1.0,
               double before = 0.0) const {
        const Program& program = data_.program();
        Numbers sums(program.outputs.size());
        Numbers shared(data_.rows().front().size());
        std::fill_n(shared.begin() + program.inputs, program.captured, before);
        for (std::size_t sample = 0; sample < samples; ++sample) {
            CAPTURE(sample);
            const Outcome& expected = samples_[sample];
            require_all(actual.outputs[sample], expected.outputs, compare_values);
            for (std::size_t i = 0; i < sums.size(); ++i) {
                sums[i] += expected.outputs[i];
            }
            Numbers varying;
            for (const Columns& columns : data_.layout()) {
                for (std::size_t i = 0; gradients.varying && i < columns.count; ++i) {
                    varying.push_back(seed * expected.gradients[columns.first + i]);
                }
            }
            require_all(actual.varying_gradients[sample], varying, compare_gradients);
            for (std::size_t i = 0; i < shared.size(); ++i) {
                shared[i] +=
                    data_.varies(i) && i < program.inputs ? 0.0 : seed * expected.gradients[i];
            }
        }
        require_all(actual.sums, sums, compare_gradients);
        if (gradients.shared) {
            require_all(actual.shared_gradients, shared, compare_gradients);
        }
    }

private:
    const Data& data_;
    std::vector<Outcome> samples_;
};

using Comparison = bool (*)(double, double);

std::vector<Numbers> random_rows(RandomAuthor& author, const Program& program,
                                 std::size_t samples) {
    std::vector<Numbers> rows;
    for (std::size_t i = 0; i < samples; ++i) {
        rows.push_back(author.sources(program.inputs + program.captured));
    }
    return rows;
}

// Rows of one number each, which is `number` but for some samples.
std::vector<Numbers> rows_with(std::size_t samples, double number,
                               const std::vector<std::pair<std::size_t, double>>& others) {
    std::vector<Numbers> rows(samples, {number});
    for (const auto& [sample, other] : others) {
        rows[sample] = {other};
    }
    return rows;
}

// What a run throws.
template <typename Error>
std::string error_of(const LaneRun& run, const Data& data) {
    try {
        static_cast<void>(run(data, data.rows().size()));
    } catch (const Error& error) {
        return error.what();
    }
    return "none";
}

struct ThreadCount {
    explicit ThreadCount(std::size_t count) { set_thread_count(count); }
    ThreadCount(const ThreadCount&) = delete;
    ThreadCount& operator=(const ThreadCount&) = delete;
    ~ThreadCount() { set_thread_count(1); }
};

// A program whose values are all needed in the backward pass, so that a block has few lanes.
Program wide_program(std::size_t width) {
    Writer writer(2, static_cast<std::uint32_t>(width));
    Values products;
    for (std::size_t i = 0; i < width; ++i) {
        products.push_back(writer.mul(writer.input(i % 2), writer.captured(i)));
    }
    ValueId sum = writer.input(1);
    for (std::size_t i = 0; i < width; ++i) {
        sum = writer.add(sum, writer.mul(products[i], products[width - 1 - i]));
    }
    return writer.returning({sum});
}

Program optimised(const Program& program) {
    std::vector<PassStatistics> statistics;
    return optimise(program, statistics);
}

Op op_of(const OpInfo& wanted) {
    const OpInfo* row = operations().data();
#define MGX_UNARY(Name, ...) \
    if (row++ == &wanted) {  \
        return Op::Name;     \
    }
#define MGX_BINARY(Name, ...) MGX_UNARY(Name)
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY
    throw std::invalid_argument("this is no row of ops.def");
}

}  // namespace

TEST_CASE("ScalarPlan: values are the eager engine's to the last bit, and so are derivatives") {
    for (unsigned seed = 0; seed < 200; ++seed) {
        CAPTURE(seed);
        for (const Style style : {Style::Whole, Style::Smooth, Style::Mixed}) {
            RandomAuthor author(seed, style);
            const Program program = author.write();
            const Program better = optimised(program);
            const Numbers sources = author.sources(program.inputs + program.captured);
            const Outcome expected = run_eagerly(program, sources);
            const Program chains = follow_chains(better);
            for (const Program* each : {&program, &better, &chains}) {
                const Outcome actual = run_scalar_plan(*each, sources);
                require_all(actual.outputs, expected.outputs, same_bits);
                require_all(actual.gradients, expected.gradients,
                            style == Style::Whole ? are_equal : are_close);
            }
        }
    }
}

TEST_CASE("ScalarPlan: every operation, in every way of using the last result") {
    for (const OpInfo& row : operations()) {
        CAPTURE(row.name);
        const Op op = op_of(row);
        for (const bool is_only : {false, true}) {
            CAPTURE(is_only);
            Writer writer(2, 0);
            const ValueId x = writer.input(0);
            const ValueId y = writer.input(1);
            const ValueId constant = writer.constant(1.375);
            Values outputs;
            const auto last = [&] {
                const ValueId root = writer.apply(Op::Sqrt, x);
                if (!is_only) {
                    outputs.push_back(root);
                }
                return root;
            };
            if (row.arity == 1) {
                outputs.push_back(writer.apply(op, last()));
                outputs.push_back(writer.apply(op, y));
            } else {
                outputs.push_back(writer.apply(op, last(), y));
                outputs.push_back(writer.apply(op, y, last()));
                const ValueId both = last();
                outputs.push_back(writer.apply(op, both, both));
                outputs.push_back(writer.apply(op, last(), constant));
                outputs.push_back(writer.apply(op, constant, last()));
                outputs.push_back(writer.apply(op, x, y));
                outputs.push_back(writer.apply(op, y, constant));
                outputs.push_back(writer.apply(op, constant, y));
                outputs.push_back(writer.apply(op, y, y));
            }
            const Program program = writer.returning(outputs);
            for (const Numbers& sources : {Numbers{0.75, 1.25}, Numbers{1.5, 1.5}}) {
                const Outcome expected = run_eagerly(program, sources);
                const Outcome actual = run_scalar_plan(program, sources);
                require_all(actual.outputs, expected.outputs, same_bits);
                require_all(actual.gradients, expected.gradients, are_close);
            }
        }
    }
}

TEST_CASE("ScalarPlan: every operation in runs") {
    constexpr std::uint32_t width = 48;
    Writer writer(width, 1);
    Values values;
    for (std::uint32_t i = 0; i < width; ++i) {
        values.push_back(writer.input(i));
    }
    std::mt19937 generator(1);
    const ValueId low = writer.constant(0.625);
    const ValueId high = writer.constant(1.75);
    for (std::uint32_t layer = 0; layer < 12; ++layer) {
        Values next;
        for (std::uint32_t i = 0; i < width; ++i) {
            const OpInfo& row = operations()[(layer * 3 + i % 3) % operations().size()];
            const ValueId other = values[generator() % width];
            ValueId result = row.arity == 1 ? writer.apply(op_of(row), values[i])
                                            : writer.apply(op_of(row), values[i], other);
            if (i % 4 == 0) {
                result = writer.power(other, 1.5);
            } else if (i % 4 == 1) {
                result = writer.sum({values[i], other, writer.captured(0)});
            }
            result = writer.apply(Op::Maximum, result, low);
            next.push_back(writer.apply(Op::Minimum, result, high));
        }
        values = std::move(next);
    }
    const Program program = writer.returning(values);
    const std::optional<Program> alike = put_alike_together(program);
    REQUIRE(alike.has_value());
    CHECK_FALSE(has_long_runs(program));
    CHECK(has_long_runs(*alike));
    Numbers sources;
    for (std::uint32_t i = 0; i <= width; ++i) {
        sources.push_back(0.75 + i / 64.0);
    }
    const Outcome expected = run_eagerly(program, sources);
    const Outcome actual = run_scalar_plan(*alike, sources);
    require_all(actual.outputs, expected.outputs, same_bits);
    require_all(actual.gradients, expected.gradients, are_close);
}

TEST_CASE("ScalarPlan: powers with the usual exponents at the edge of what a float holds") {
    for (const double exponent : {2.0, -1.0, 0.0, 1.0, 3.0, -2.0, 0.5}) {
        Writer writer(1, 0);
        const Program program = writer.returning({writer.power(writer.input(0), exponent)});
        for (const double x :
             {0.0, -0.0, 1.0, -3.0, 1e-310, -5e-324, 1e-300, 1e150, -1e150, 1.3e154, 1e155, 1e160,
              1e-200, 1e300, infinity, -infinity, not_a_number}) {
            CAPTURE(exponent);
            CAPTURE(x);
            const auto outcome_of = [&](auto run) -> std::pair<std::string, Outcome> {
                try {
                    return {"", run(program, Numbers{x})};
                } catch (const std::exception& error) {
                    return {error.what(), {}};
                }
            };
            const auto [expected_error, expected] = outcome_of(run_eagerly);
            const auto [actual_error, actual] = outcome_of(run_scalar_plan);
            CHECK(actual_error == expected_error);
            require_all(actual.outputs, expected.outputs, are_close);
            require_all(actual.gradients, expected.gradients, are_close);
        }
    }
}

TEST_CASE("ScalarPlan: only what is selected runs, and only wanted adjoints are computed") {
    Writer writer(2, 1);
    const ValueId x = writer.input(0);
    const ValueId left = writer.apply(Op::Exp, x);
    const ValueId right = writer.mul(writer.input(1), writer.captured(0));
    const ValueId log = writer.apply(Op::Log, left);
    const Program program = writer.returning({writer.add(log, right)});
    const WeightTables tables(program);
    std::vector<char> wanted(program.values);
    wanted[1] = 1;
    Selection selection = Selection::all(program, wanted);
    CHECK(selection.gradients == std::vector<char>{0, 1, 0, 0, 1, 0, 1});
    ScalarPlan::Workspace workspace;
    Numbers values{2.0, 3.0, 5.0, 7.0, 0.0, 0.0, 0.0};
    Numbers adjoints{0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0};
    SUBCASE("adjoints") {
        const ScalarPlan plan(program, tables, selection);
        plan.forward(values.data(), workspace);
        CHECK(values.back() == std::log(std::exp(2.0)) + 15.0);
        plan.backward(values.data(), adjoints.data(), workspace);
        CHECK(adjoints[1] == 5.0);
        CHECK(adjoints[0] == 0.0);
    }
    SUBCASE("instructions") {
        selection.instructions[0] = 0;
        const ScalarPlan plan(program, tables, selection);
        plan.forward(values.data(), workspace);
        CHECK(values[3] == 7.0);
        CHECK(values.back() == std::log(7.0) + 15.0);
    }
}

TEST_CASE("ScalarPlan: takes") {
    Writer writer(2, 3);
    const ValueId entry = writer.mul(writer.input(1), writer.input(1));
    const ValueId from_table =
        writer.take({writer.input(0), writer.captured(0), writer.captured(2)});
    const ValueId computed = writer.take({writer.input(0), writer.captured(1), entry});
    const Program program = writer.returning({from_table, computed});
    const Outcome outcome = run_scalar_plan(program, {1.0, 3.0, 10.0, 20.0, 30.0});
    CHECK(outcome.outputs == Numbers{30.0, 9.0});
    CHECK(outcome.gradients == Numbers{0.0, 6.0, 0.0, 0.0, 1.0});
    for (const double index : {2.0, -1.0, 0.5, std::numeric_limits<double>::quiet_NaN()}) {
        CHECK_THROWS_AS(static_cast<void>(run_scalar_plan(program, {index, 3.0, 1.0, 2.0, 3.0})),
                        BadIndex);
    }
}

TEST_CASE("WeightTables: weights that stand side by side are read there, others are gathered") {
    Writer writer(2, 9);
    const Values inputs{writer.input(0), writer.input(1)};
    const ValueId first = writer.affine(inputs, writer.captured(0, 4), writer.captured(4, 2));
    const ValueId again =
        writer.affine({first, next(first)}, writer.captured(0, 4), writer.captured(4, 2), Op::Relu);
    const Values doubled{writer.captured(6), writer.captured(6)};
    const ValueId twice = writer.affine({again, next(again)}, doubled, writer.captured(8, 1));
    const Program program = writer.returning({twice});
    const WeightTables tables(program);
    CHECK(tables.all().size() == 2);
    CHECK(tables.number_of(0) == tables.number_of(1));
    CHECK_FALSE(tables[0].weights.is_gathered);
    CHECK_FALSE(tables[0].biases.is_gathered);
    CHECK(tables[1].weights.is_gathered);
    CHECK(tables.gathered() == 2);
    const Numbers sources{1.0, 2.0, 1.0, -1.0, 2.0, 3.0, 5.0, 7.0, 10.0, 0.0, 4.0};
    const Outcome expected = run_eagerly(program, sources);
    const Outcome actual = run_scalar_plan(program, sources);
    CHECK(actual.outputs == expected.outputs);
    CHECK(actual.gradients == expected.gradients);
}

TEST_CASE("LanePlan: batches of all sizes") {
    constexpr std::size_t most = 140;
    for (const unsigned seed : {3U, 11U, 17U}) {
        CAPTURE(seed);
        RandomAuthor author(seed, Style::Whole);
        const Program program = optimised(author.write());
        const Data data(program, layouts[0], random_rows(author, program, most));
        const Expectation expectation(data);
        const Gradients gradients{true, true};
        const LaneRun run(program, layouts[0], gradients);
        for (std::size_t samples = 0; samples <= most; ++samples) {
            CAPTURE(samples);
            expectation.check<Comparison>(run(data, samples, 2.0, 1000.0), samples, gradients,
                                          are_equal, are_equal, 2.0, 1000.0);
        }
    }
}

TEST_CASE("LanePlan: small blocks of a program with many values") {
    const Program program = wide_program(300);
    RandomAuthor author(1, Style::Whole);
    const Data data(program, {{0, 2}}, random_rows(author, program, 140));
    const Expectation expectation(data);
    const LaneRun run(program, {{0, 2}}, {true, true});
    REQUIRE(run.plan().slots() > 300);
    REQUIRE(run.plan().block_size(140) <= 64);
    for (const std::size_t samples : {1U, 63U, 64U, 65U, 72U, 127U, 128U, 129U, 140U}) {
        CAPTURE(samples);
        expectation.check<Comparison>(run(data, samples), samples, {true, true}, are_equal,
                                      are_equal);
    }
}

TEST_CASE("LanePlan: whatever varies and whatever gradients are wanted, on whole numbers") {
    for (unsigned seed = 0; seed < 60; ++seed) {
        CAPTURE(seed);
        RandomAuthor author(seed, Style::Whole);
        const Program program = author.write();
        const Program better = optimised(program);
        const auto rows = random_rows(author, program, 150);
        for (const Layout& layout : layouts) {
            CAPTURE(&layout - layouts.data());
            const Data data(program, layout, rows);
            const Data better_data(better, layout, rows);
            const Expectation expectation(data);
            for (const Gradients gradients : all_gradients) {
                CAPTURE(gradients.shared);
                CAPTURE(gradients.varying);
                for (const Data* each : {&data, &better_data}) {
                    const LaneRun run(each->program(), layout, gradients);
                    for (const std::size_t samples : {5U, 150U}) {
                        CAPTURE(samples);
                        expectation.check<Comparison>(run(*each, samples), samples, gradients,
                                                      are_equal, are_equal);
                    }
                }
            }
        }
    }
}

TEST_CASE("LanePlan: smooth functions, to within what vector functions may differ by") {
    for (unsigned seed = 0; seed < 60; ++seed) {
        CAPTURE(seed);
        RandomAuthor author(seed, Style::Smooth);
        const Program program = optimised(author.write());
        const Layout& layout = layouts[seed % layouts.size()];
        const Data data(program, layout, random_rows(author, program, 40));
        const Expectation expectation(data);
        for (const Gradients gradients : {Gradients{false, false}, Gradients{true, true}}) {
            const LaneRun run(program, layout, gradients);
            expectation.check<Comparison>(run(data, 40), 40, gradients, are_close, are_close);
        }
    }
}

TEST_CASE("LanePlan: a captured node may be both a weight and a bias, and so of several maps") {
    Writer writer(2, 4);
    const Values inputs{writer.input(0), writer.input(1)};
    const ValueId one = writer.affine(inputs, writer.captured(0, 2), writer.captured(0, 1));
    const ValueId two =
        writer.affine(inputs, writer.captured(0, 4), writer.captured(1, 2), Op::Relu);
    const ValueId three = writer.affine(inputs, writer.captured(1, 2), writer.captured(3, 1));
    const Program program = writer.returning({one, two, next(two), three});
    RandomAuthor author(3, Style::Whole);
    const Layout layout{{0, 2}};
    const Data data(program, layout, random_rows(author, program, 140));
    const Expectation expectation(data);
    const LaneRun run(program, layout, {true, true});
    for (const std::size_t samples : {1U, 8U, 140U}) {
        expectation.check<Comparison>(run(data, samples), samples, {true, true}, are_equal,
                                      are_equal);
    }
}

TEST_CASE("LanePlan: derivatives of a small network against finite differences") {
    Writer writer(3, 11);
    const Values inputs{writer.input(0), writer.input(1)};
    const ValueId hidden =
        writer.affine(inputs, writer.captured(0, 4), writer.captured(4, 2), Op::Tanh);
    const ValueId margin = writer.dot(
        {writer.captured(6), writer.captured(7), hidden, writer.captured(8), next(hidden)});
    const ValueId scaled = writer.mul(margin, writer.apply(Op::Exp, writer.captured(9)));
    const ValueId error = writer.add(scaled, writer.mul(writer.constant(-1.0), writer.input(2)));
    const ValueId squared = writer.power(error, 2.0);
    const ValueId penalty = writer.apply(Op::Cos, writer.mul(writer.captured(10), hidden));
    const Program program = writer.returning({writer.add(squared, penalty)});
    const Layout layout{{0, 3}};
    RandomAuthor author(5, Style::Smooth);
    std::vector<Numbers> rows = random_rows(author, program, 20);
    for (double& number : rows.front()) {
        number /= 3.0;
    }
    const LaneRun run(program, layout, {true, true});
    const LaneRun forward(program, layout, {false, false});
    const BatchOutcome outcome = run(Data(program, layout, rows), rows.size());
    const double step = 1e-5;
    const auto slope = [&](std::size_t sample, std::size_t source) {
        const auto sum_at = [&](double offset) {
            std::vector<Numbers> moved = rows;
            moved[sample][source] += offset;
            return forward(Data(program, layout, moved), rows.size()).sums.front();
        };
        return (sum_at(step) - sum_at(-step)) / (2.0 * step);
    };
    for (std::size_t i = 0; i < program.captured; ++i) {
        CAPTURE(i);
        CHECK(outcome.shared_gradients[3 + i] == doctest::Approx(slope(0, 3 + i)).epsilon(1e-6));
    }
    for (const std::size_t sample : {0U, 7U, 8U, 19U}) {
        for (std::size_t i = 0; i < 3; ++i) {
            CAPTURE(sample);
            CAPTURE(i);
            CHECK(outcome.varying_gradients[sample][i] ==
                  doctest::Approx(slope(sample, i)).epsilon(1e-6));
        }
    }
}

TEST_CASE("LanePlan: the derivatives of log(1 + exp(a*x)) are known") {
    Writer writer(1, 1);
    const ValueId power = writer.apply(Op::Exp, writer.mul(writer.captured(0), writer.input(0)));
    const Program program =
        writer.returning({writer.apply(Op::Log, writer.add(writer.constant(1.0), power))});
    const Layout layout{{0, 1}};
    constexpr double slope = 0.75;
    std::vector<Numbers> rows;
    double expected = 0.0;
    for (int i = 0; i < 100; ++i) {
        rows.push_back({i / 10.0 - 5.0, slope});
        expected += rows.back()[0] / (1.0 + std::exp(-slope * rows.back()[0]));
    }
    const BatchOutcome outcome =
        LaneRun(program, layout, {true, true})(Data(program, layout, rows), rows.size());
    CHECK(outcome.shared_gradients[1] == doctest::Approx(expected).epsilon(1e-13));
    for (std::size_t i = 0; i < rows.size(); ++i) {
        CHECK(outcome.outputs[i][0] ==
              doctest::Approx(std::log1p(std::exp(slope * rows[i][0]))).epsilon(1e-13));
        CHECK(outcome.varying_gradients[i][0] ==
              doctest::Approx(slope / (1.0 + std::exp(-slope * rows[i][0]))).epsilon(1e-13));
    }
}

TEST_CASE("LanePlan: outputs may be inputs, captured, constants and repeated") {
    Writer writer(3, 2);
    const ValueId product = writer.mul(writer.input(0), writer.captured(0));
    const ValueId shared = writer.mul(writer.input(2), writer.captured(1));
    const Program program = writer.returning({product, product, writer.input(0), writer.input(1),
                                              writer.input(1), writer.input(2), writer.captured(1),
                                              writer.constant(5.0), shared, product, shared});
    RandomAuthor author(1, Style::Whole);
    const Layout layout{{0, 2}};
    const Data data(program, layout, random_rows(author, program, 20));
    const Expectation expectation(data);
    for (const Gradients gradients : all_gradients) {
        const LaneRun run(program, layout, gradients);
        expectation.check<Comparison>(run(data, 20), 20, gradients, are_equal, are_equal);
    }
}

TEST_CASE("LanePlan: lanes beyond the last sample add nothing, not even NaN") {
    Writer writer(2, 1);
    const ValueId scaled = writer.mul(writer.input(0), writer.captured(0));
    const Program program =
        writer.returning({writer.apply(Op::Sqrt, writer.add(scaled, writer.input(1)))});
    const Layout layout{{0, 1}};
    std::vector<Numbers> rows(9, {4.0, 0.0, 1.0});
    rows.back()[0] = 0.0;
    const LaneRun run(program, layout, {true, true});
    const BatchOutcome outcome = run(Data(program, layout, rows), 9);
    CHECK(outcome.shared_gradients[1] == infinity);
    CHECK(outcome.varying_gradients[0] == Numbers{0.25});
    CHECK(outcome.varying_gradients[8] == Numbers{infinity});
    const BatchOutcome without = run(Data(program, layout, rows), 7);
    CHECK(without.shared_gradients == Numbers{0.0, 7 * 0.25, 7 * 1.0});
}

TEST_CASE("LanePlan: takes from tables and among varying entries") {
    Writer writer(2, 5);
    const ValueId index = writer.input(0);
    const ValueId square = writer.mul(writer.input(1), writer.input(1));
    const ValueId shared = writer.mul(writer.captured(4), writer.captured(0));
    Values outputs;
    SUBCASE("side by side") {
        outputs = {
            writer.take({index, writer.captured(1), writer.captured(2), writer.captured(3)})};
    }
    SUBCASE("gathered, with a repetition") {
        outputs = {
            writer.take({index, writer.captured(3), writer.captured(0), writer.captured(3)})};
    }
    SUBCASE("computed for all samples at once") {
        outputs = {writer.take({index, shared, writer.captured(0), writer.constant(7.0)})};
    }
    SUBCASE("varying") { outputs = {writer.take({index, square, shared, writer.input(1)})}; }
    SUBCASE("the index among its own entries") {
        outputs = {writer.take({index, index, square, index})};
    }
    SUBCASE("at an index that is the same for all samples") {
        const ValueId one = writer.constant(1.0);
        outputs = {writer.take({one, square, writer.captured(1)}),
                   writer.take({one, writer.captured(1), square}),
                   writer.take({one, writer.captured(1), shared})};
    }
    const Program program = writer.returning(outputs);
    RandomAuthor author(2, Style::Whole);
    std::vector<Numbers> rows = random_rows(author, program, 100);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        rows[i][0] = static_cast<double>(i * i % 3);
    }
    const Layout layout{{0, 2}};
    const Data data(program, layout, rows);
    const Expectation expectation(data);
    for (const Gradients gradients : all_gradients) {
        CAPTURE(gradients.shared);
        CAPTURE(gradients.varying);
        const LaneRun run(program, layout, gradients);
        for (const std::size_t samples : {0U, 1U, 9U, 100U}) {
            expectation.check<Comparison>(run(data, samples), samples, gradients, are_equal,
                                          are_equal);
        }
    }
}

TEST_CASE("LanePlan: what is the same for all samples is computed once") {
    Writer writer(2, 2);
    const ValueId shared = writer.mul(writer.input(1), writer.captured(0));
    const ValueId squared = writer.mul(shared, shared);
    const ValueId varying = writer.mul(squared, writer.input(0));
    const Program program = writer.returning({varying, squared, writer.captured(1)});
    const Layout layout{{0, 1}};
    const LaneRun run(program, layout, {true, false});
    // The matrix, two more values, the result, and adjoints.
    CHECK(run.plan().slots() <= 10);
    std::vector<Numbers> rows;
    for (int i = 0; i < 30; ++i) {
        rows.push_back({static_cast<double>(i), 2.0, 3.0, 4.0});
    }
    const BatchOutcome outcome = run(Data(program, layout, rows), 30);
    CHECK(outcome.sums == Numbers{36.0 * 435.0, 36.0 * 30.0, 120.0});
    // d/ds of s**2 * (435 + 30) with s = 6.
    CHECK(outcome.shared_gradients == Numbers{0.0, 3.0 * 12.0 * 465.0, 2.0 * 12.0 * 465.0, 30.0});
}

TEST_CASE("LanePlan: values that nobody needs any more make room for others") {
    Writer writer(1, 0);
    ValueId value = writer.input(0);
    for (int i = 0; i < 1000; ++i) {
        value = writer.apply(i % 2 == 0 ? Op::Relu : Op::Abs, value);
    }
    const Program program = writer.returning({value});
    CHECK(LaneRun(program, {{0, 1}}, {false, false}).plan().slots() <= 5);
}

TEST_CASE("LanePlan: errors name the first sample that has one, and the plan goes on working") {
    Writer writer(1, 0);
    const ValueId x = writer.input(0);
    const Layout layout{{0, 1}};
    const auto check = [&](ValueId output, double good, double bad, auto error, bool gradients) {
        const Program program = writer.returning({output});
        const LaneRun run(program, layout, {false, gradients});
        for (const std::size_t threads : {1U, 3U}) {
            const ThreadCount guard(threads);
            for (const std::size_t samples : {1U, 3U, 8U, 130U, 3000U}) {
                const auto expected =
                    run(Data(program, layout, rows_with(samples, good, {})), samples);
                for (const std::size_t sample : {std::size_t{0}, samples / 2, samples - 1}) {
                    const Data data(program, layout,
                                    rows_with(samples, good, {{samples - 1, bad}, {sample, bad}}));
                    const std::string message = error_of<decltype(error)>(run, data);
                    CAPTURE(message);
                    CHECK(message.ends_with(" (sample " + std::to_string(sample) + ")"));
                }
                const auto again =
                    run(Data(program, layout, rows_with(samples, good, {})), samples);
                CHECK(again.outputs == expected.outputs);
                CHECK(again.varying_gradients == expected.varying_gradients);
            }
        }
    };
    SUBCASE("a logarithm") { check(writer.apply(Op::Log, x), 1.0, -1.0, DomainError(""), false); }
    SUBCASE("a root, with derivatives") {
        check(writer.apply(Op::Sqrt, x), 1.0, -1.0, DomainError(""), true);
    }
    SUBCASE("a division by zero") {
        check(writer.power(x, -1.0), 2.0, 0.0, DivisionByZero(""), false);
    }
    SUBCASE("an overflow") { check(writer.power(x, 3.0), 2.0, 1e200, Overflow(""), false); }
    SUBCASE("a derivative") { check(writer.power(x, 0.5), 2.0, 0.0, DivisionByZero(""), true); }
    SUBCASE("an index beyond the end") {
        check(writer.take({x, x, x}), 1.0, 2.0, BadIndex(""), false);
    }
    SUBCASE("a negative index") { check(writer.take({x, x, x}), 1.0, -1.0, BadIndex(""), true); }
    SUBCASE("an index between entries") {
        check(writer.take({x, x, x}), 1.0, 0.5, BadIndex(""), false);
    }
    SUBCASE("an index that is no number") {
        check(writer.take({x, x, x}), 1.0, not_a_number, BadIndex(""), false);
    }
}

TEST_CASE("LanePlan: of several instructions with errors the first sample's is thrown") {
    Writer writer(3, 0);
    const ValueId log = writer.apply(Op::Log, writer.input(0));
    const ValueId root = writer.apply(Op::Sqrt, writer.input(1));
    const ValueId taken = writer.take({writer.input(2), log, root});
    const Program program = writer.returning({taken});
    const Layout layout{{0, 3}};
    const LaneRun run(program, layout, {false, false});
    std::vector<Numbers> rows(10, {1.0, 1.0, 1.0});
    rows[7][0] = -1.0;
    rows[4][1] = -1.0;
    CHECK(error_of<DomainError>(run, Data(program, layout, rows)).ends_with("(sample 4)"));
    rows[2][2] = -1.0;
    CHECK(error_of<BadIndex>(run, Data(program, layout, rows)).ends_with("(sample 2)"));
    rows[0][1] = -1.0;
    CHECK(error_of<DomainError>(run, Data(program, layout, rows)).ends_with("(sample 0)"));
}

TEST_CASE("LanePlan: an error in what is the same for all samples names none") {
    Writer writer(1, 1);
    const ValueId log = writer.apply(Op::Log, writer.captured(0));
    const Program program = writer.returning({writer.mul(log, writer.input(0))});
    const LaneRun run(program, {{0, 1}}, {true, false});
    const std::vector<Numbers> bad(3, {1.0, -1.0});
    const std::string message = error_of<DomainError>(run, Data(program, {{0, 1}}, bad));
    CHECK(message != "none");
    CHECK(message.find("sample") == std::string::npos);
    const std::vector<Numbers> good(3, {2.0, 1.0});
    CHECK(run(Data(program, {{0, 1}}, good), 3).shared_gradients == Numbers{0.0, 6.0});
}

TEST_CASE("LanePlan: a run ends when its check throws, and the plan goes on working") {
    Writer writer(1, 0);
    ValueId value = writer.input(0);
    for (int i = 0; i < 200; ++i) {
        value = writer.apply(Op::Tanh, value);
    }
    const Program program = writer.returning({value});
    const LaneRun run(program, {{0, 1, true}}, {false, false});
    const Data data(program, {{0, 1, true}}, {{0.5}});
    struct Interruption {};
    for (const std::size_t threads : {1U, 2U}) {
        const ThreadCount guard(threads);
        const std::thread::id caller = std::this_thread::get_id();
        int calls = 0;
        const auto check = [&] {
            REQUIRE(std::this_thread::get_id() == caller);
            ++calls;
            throw Interruption();
        };
        SampleMatrix matrix;
        const double number = 0.5;
        matrix.numbers = &number;
        matrix.is_shared = true;
        Numbers values(program.values);
        Numbers sums(1);
        Batch batch;
        batch.samples = 20'000'000;  // so many that it would take long
        batch.matrices = {&matrix, 1};
        batch.values = values.data();
        batch.sums = sums.data();
        batch.check = check;
        CHECK_THROWS_AS(run.plan().run(batch), Interruption);
        CHECK(calls == 1);
        CHECK(run(data, 1).outputs == run(data, 1, 1.0, 0.0, check).outputs);
        CHECK(calls == 1);
    }
}

TEST_CASE("LanePlan: results are the same for every number of threads") {
    for (const unsigned seed : {1U, 4U, 9U}) {
        CAPTURE(seed);
        RandomAuthor author(seed, Style::Smooth);
        const Program program = optimised(author.write());
        const auto rows = random_rows(author, program, 3000);
        const Data data(program, layouts[0], rows);
        const LaneRun run(program, layouts[0], {true, true});
        for (const std::size_t samples : {100U, 300U, 2047U, 3000U}) {
            CAPTURE(samples);
            const BatchOutcome expected = run(data, samples);
            for (const std::size_t threads : {2U, 4U, 20U, 1U}) {
                CAPTURE(threads);
                const ThreadCount guard(threads);
                const BatchOutcome actual = run(data, samples);
                CHECK(actual.outputs == expected.outputs);
                CHECK(actual.sums == expected.sums);
                CHECK(actual.shared_gradients == expected.shared_gradients);
                CHECK(actual.varying_gradients == expected.varying_gradients);
            }
        }
    }
}

TEST_CASE("LanePlan: several threads may run one plan at a time") {
    RandomAuthor author(4, Style::Whole);
    const Program program = optimised(author.write());
    const Data data(program, layouts[0], random_rows(author, program, 1000));
    const LaneRun run(program, layouts[0], {true, true});
    const BatchOutcome expected = run(data, 1000);
    const ThreadCount guard(3);
    std::atomic<int> differences = 0;
    std::vector<std::thread> callers;
    for (int i = 0; i < 4; ++i) {
        callers.emplace_back([&] {
            for (int call = 0; call < 10; ++call) {
                const BatchOutcome actual = run(data, 1000);
                differences += actual.outputs != expected.outputs ||
                               actual.shared_gradients != expected.shared_gradients ||
                               actual.varying_gradients != expected.varying_gradients;
            }
        });
    }
    for (const std::size_t threads : {2U, 1U, 4U, 3U}) {
        set_thread_count(threads);
        std::this_thread::yield();
    }
    for (std::thread& caller : callers) {
        caller.join();
    }
    CHECK(differences == 0);
}

TEST_CASE("run_tasks: each task is done once, by as many threads as are wanted") {
    for (const std::size_t threads : {1U, 2U, 4U, 0U, 3U}) {
        const ThreadCount guard(threads);
        CHECK(thread_count() == threads);
        for (const std::size_t tasks : {0U, 1U, 2U, 5U, 1000U}) {
            std::vector<std::atomic<int>> done(tasks);
            run_tasks(tasks, [&](std::size_t task) { ++done[task]; });
            CHECK(std::ranges::all_of(done, [](const auto& times) { return times == 1; }));
        }
    }
}

TEST_CASE("run_tasks: workers take part") {
    const ThreadCount guard(2);
    std::atomic<int> arrived = 0;
    run_tasks(2, [&](std::size_t) {
        ++arrived;
        while (arrived < 2) {  // waits for the other task, which another thread must do
            std::this_thread::yield();
        }
    });
    CHECK(arrived == 2);
}

TEST_CASE("allocate_slots: no two have the same slot at the same time") {
    std::mt19937 generator(1);
    const auto choose = [&](std::uint32_t choices) {
        return static_cast<std::uint32_t>(generator()) % choices;
    };
    for (int round = 0; round < 200; ++round) {
        std::vector<Tenancy> tenancies(1 + generator() % 60);
        std::uint32_t width = 0;
        for (Tenancy& tenancy : tenancies) {
            tenancy.from = choose(40);
            tenancy.until = tenancy.from + choose(choose(4) == 0 ? 40 : 4);
            tenancy.width = choose(4);
            width += tenancy.width;
        }
        const std::uint32_t slots = allocate_slots(tenancies);
        CHECK(slots <= width);
        for (std::size_t i = 0; i < tenancies.size(); ++i) {
            const Tenancy& one = tenancies[i];
            REQUIRE(one.first_slot + one.width <= slots);
            for (std::size_t j = 0; j < i; ++j) {
                const Tenancy& other = tenancies[j];
                const bool at_once = one.from <= other.until && other.from <= one.until;
                const bool overlap = one.first_slot < other.first_slot + other.width &&
                                     other.first_slot < one.first_slot + one.width;
                REQUIRE_FALSE((at_once && overlap));
            }
        }
    }
}

TEST_CASE("allocate_slots: who begins takes the place of who has ended, not of who is ending") {
    std::vector<Tenancy> tenancies{{0, 1, 1, 0}, {1, 2, 1, 0}, {2, 3, 1, 0}, {3, 4, 1, 0}};
    CHECK(allocate_slots(tenancies) == 2);
    CHECK(tenancies[2].first_slot == tenancies[0].first_slot);
    CHECK(tenancies[3].first_slot == tenancies[1].first_slot);
    std::vector<Tenancy> none;
    CHECK(allocate_slots(none) == 0);
}

}  // namespace mgx
