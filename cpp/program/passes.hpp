#pragma once

// The passes: each makes of a program another one that computes the same, to the last bit, with
// less work, or gives it back as it is. Each is in a file of its name.

#include <optional>
#include <string>
#include <vector>

#include "program/program.hpp"

namespace mgx {

// Instructions whose operands are constants become constants.
[[nodiscard]] Program fold_constants(Program program);

// Instructions that compute the same of the same operands become one.
[[nodiscard]] Program merge_common_subexpressions(Program program);

// Instructions whose results nobody uses go.
[[nodiscard]] Program remove_dead_code(Program program);

// Chains of additions of products, `b + w0*x0 + w1*x1 + ...`, become Dots.
[[nodiscard]] Program form_dots(Program program);

// Dots and Affines of the same inputs, with weights that are captured or constant, become one
// Affine.
[[nodiscard]] Program group_affine(Program program);

// An operation that is applied to all results of an Affine, and to nothing but them, becomes part
// of it.
[[nodiscard]] Program fold_activations(Program program);

// Renumber the captured nodes so that weights stand side by side: the number that each had before,
// or nothing if they do already.
[[nodiscard]] std::optional<std::vector<std::uint32_t>> order_captured(Program& program);

struct PassStatistics {
    std::string pass;
    std::size_t instructions;  // after it
    std::size_t nodes;
};

// All of them in order; `statistics` gets an entry for the program as it is and one for each pass.
[[nodiscard]] Program optimise(Program program, std::vector<PassStatistics>& statistics);

}  // namespace mgx
