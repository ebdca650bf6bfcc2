// The order of the passes.
//
// Constants come first, as they make expressions equal, and equal expressions before Dots, which
// hide their parts. A pass may leave dead instructions behind, which would count as uses to the
// next: they go in between.

#include "program/passes.hpp"

#include <array>
#include <utility>

namespace mgx {

Program optimise(Program program, std::vector<PassStatistics>& statistics) {
    struct Pass {
        std::string_view name;
        Program (*run)(Program);
    };
    static constexpr auto passes = std::to_array<Pass>({
        {"fold constants", fold_constants},
        {"merge common subexpressions", merge_common_subexpressions},
        {"remove dead code", remove_dead_code},
        {"form dots", form_dots},
        {"group affine", group_affine},
        {"fold activations", fold_activations},
        {"remove dead code", remove_dead_code},
    });
    statistics.push_back({"trace", program.instructions.size(), program.nodes});
    for (const Pass& pass : passes) {
        program = pass.run(std::move(program));
        statistics.push_back({std::string(pass.name), program.instructions.size(), program.nodes});
    }
    return program;
}

}  // namespace mgx
