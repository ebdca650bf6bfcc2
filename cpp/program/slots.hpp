#pragma once

// Which values of a program can share memory. See slots.cpp.

#include <cstdint>
#include <vector>

namespace mgx {

// Places for so many vectors of lanes side by side, from one point in time to another, both
// included, which is no earlier.
struct Tenancy {
    std::uint32_t from = 0;
    std::uint32_t until = 0;
    std::uint32_t width = 1;
    std::uint32_t first_slot = 0;  // which is found
};

// Find a slot for each, such that no two have the same at the same time; how many there are then.
[[nodiscard]] std::uint32_t allocate_slots(std::vector<Tenancy>& tenancies);

}  // namespace mgx
