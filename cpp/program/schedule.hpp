#pragma once

// The order in which instructions run one at a time. See schedule.cpp.

#include <cstdint>
#include <span>
#include <vector>

#include "program/program.hpp"

namespace mgx {

// Whether one loop can do both instructions.
[[nodiscard]] bool are_alike(const Instruction& one, const Instruction& other) noexcept;

// These instructions, given by their numbers in order, in an order in which many that are alike
// follow one another, and each follows those whose results it needs.
[[nodiscard]] std::vector<std::uint32_t> put_alike_together(
    const Program& program, std::span<const std::uint32_t> instructions);

}  // namespace mgx
