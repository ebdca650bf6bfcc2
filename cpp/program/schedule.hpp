#pragma once

// The order of instructions that run one at a time. See schedule.cpp.

#include <optional>

#include "program/program.hpp"

namespace mgx {

// Whether many instructions with one operation follow one another, constants left out.
[[nodiscard]] bool has_long_runs(const Program& program);

// The program in an order in which many instructions with one operation follow one another, the
// constants first; nothing if there is too little to do at any time for that to pay. The
// inputs and the captured nodes keep their numbers.
[[nodiscard]] std::optional<Program> put_alike_together(const Program& program);

// The program in an order in which the longest chains are not interrupted: an instruction follows,
// if that can be, the operand that takes the longest to get to.
[[nodiscard]] Program follow_chains(const Program& program);

}  // namespace mgx
