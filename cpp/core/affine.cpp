// The forward pass of layers.
//
// The neurons of a layer compute `activation(bias + w0*x0 + w1*x1 + ...)` of the same inputs: one
// affine map with a row a neuron, whose results are as many nodes, Dots, that share all but their
// data and gradients. What stands behind a Dot and how it becomes visible is told in fusion.cpp.
//
// A map is read from the parameters' nodes once and never changes. It may be applied again while
// the watched weights' version is still the map's: a node that is a weight of a watched map has the
// flag IsWeight, and whatever happens to such a node that could matter to a map (its number, its
// wrapper, its callback) raises the version. So a training step reads each parameter once.
//
// A row's nodes are held while a Dot of the row lives. If the last one dies while the map may serve
// again, they are still held, so that calls whose outputs nobody keeps need not count all weights;
// but nobody can tell: the first thing that happens to any watched weight lets go of all such rows,
// and nodes that keep their wrappers are never held that way.
//
// A sum is added up in the order in which micrograd adds it; what runs side by side in the lanes of
// the processor are the rows.

#include "core/arena.hpp"
#include "core/kernels.hpp"

namespace mgx {

void AffineMap::find_runs() {
    runs.clear();
    first_run.clear();
    for (std::size_t row = 0; row < rows(); ++row) {
        first_run.push_back(static_cast<std::uint32_t>(runs.size()));
        for (std::size_t i = row * terms(); i < (row + 1) * terms(); ++i) {
            NodeRuns::add(runs, first_run.back(), NodeRuns::Run::of_one(nodes[i]));
        }
        runs.push_back(NodeRuns::Run::of_one(nodes[bias_of(row)]));
    }
    first_run.push_back(static_cast<std::uint32_t>(runs.size()));
}

std::uint32_t Arena::make_map(std::span<const Node> nodes, std::span<const Op> activations,
                              bool watched, double scale) {
    const std::uint32_t number = maps_.take();
    AffineMap& map = maps_[number];
    try {
        map.nodes.assign(nodes.begin(), nodes.end());
        map.activations.assign(activations.begin(), activations.end());
        map.data.resize(nodes.size());
        map.by_input.resize(map.weights());
        map.dots.assign(activations.size(), 0);
        map.is_held.assign(activations.size(), 0);
        map.keeps_wrapper.assign(activations.size(), 0);
        map.find_runs();
        idle_maps_.reserve(maps_.objects().size());  // so that giving up never allocates
    } catch (...) {
        maps_.give_back(number);
        throw;
    }
    const std::size_t rows = map.rows();
    const std::size_t terms = map.terms();
    for (std::size_t row = 0; row < rows; ++row) {
        map.for_each_run(row, [&](const NodeRuns::Run& run, std::size_t place) {
            std::ranges::copy(run.of(&Page::data), std::span(map.data).subspan(place).begin());
            if (run.any_has(Flags::KeepsWrapper, &Page::flags)) {
                map.keeps_wrapper[row] = 1;
            }
            if (watched) {
                for (Flags& flags : run.of(&Page::flags)) {
                    set(flags, Flags::IsWeight, true);
                }
            }
        });
        for (std::size_t i = 0; i < terms; ++i) {
            map.by_input[i * rows + row] = map.data[row * terms + i];
        }
    }
    map.version = watched ? weights_version_ : 0;
    map.position = pages_opened_;
    map.has_maker = true;
    map.scale = scale;
    map.scale_grad = Scalar::integer(0.0);
    return number;
}

void Arena::release_map(std::uint32_t number) noexcept {
    if (maps_[number].may_be_idle) {
        let_go_of_idle_rows();
    }
    maps_[number].has_maker = false;
    if (maps_[number].applications == 0) {
        maps_.give_back(number);
    }
}

FusedParts Arena::fused_parts(Node dot) noexcept {
    const Application& parts = application(dot);
    const AffineMap& map = maps_[parts.map];
    const std::size_t row = row_of(dot);
    return {static_cast<std::uint32_t>(dot.operands()[0]),
            std::span(map.nodes).subspan(row * map.terms(), map.terms()),
            map.runs_of(row),
            parts.inputs,
            map.nodes[map.bias_of(row)],
            map.position,
            map.activations[row],
            map.scale};
}

void Arena::apply_taking(std::uint32_t map_number, std::span<const Input> inputs,
                         std::vector<Node>& results) {
    const std::uint32_t number = applications_.take();
    AffineMap& map = maps_[map_number];
    Application& application = applications_[number];
    const std::size_t rows = map.rows();
    std::size_t made = 0;
    try {
        results.resize(rows);
        application.inputs.assign(inputs.begin(), inputs.end());
        application.rows.resize(rows);
        sums_.assign(map.data.end() - static_cast<std::ptrdiff_t>(rows), map.data.end());
        if (map.is_sum()) {
            for (const Input& input : inputs) {
                sums_.front() += input.data.value;
            }
        } else {
            numbers_.clear();
            for (const Input& input : inputs) {
                numbers_.push_back(input.data.value);
            }
            kernels().add_products(map.by_input.data(), numbers_.data(), numbers_.size(),
                                   sums_.data(), rows);
        }
        for (; made < rows; ++made) {
            const double sum = sums_[made];
            const Scalar data = map.is_mean() ? Scalar::real(sum * map.scale)
                                              : evaluate(map.activations[made], Scalar::real(sum));
            results[made] =
                interior(Op::Dot, data, {NodeId{number}, NodeId{static_cast<std::uint32_t>(made)}});
            application.rows[made] = {results[made].id, false, sum, Scalar::integer(0.0)};
        }
    } catch (...) {
        for (const Node dot : std::span(results).first(made)) {
            vacate(dot);
        }
        results.clear();
        applications_.give_back(number);
        throw;
    }
    application.map = map_number;
    application.dots = static_cast<std::uint32_t>(rows);
    ++map.applications;
    for (std::size_t row = 0; row < rows; ++row) {
        ++map.dots[row];
        if (map.is_held[row] == 0) {
            map.is_held[row] = 1;
            for (const NodeRuns::Run& run : map.runs_of(row)) {
                retain(run);
            }
        }
    }
}

}  // namespace mgx
