// Slot allocation by linear scan: time passes, and who begins takes the place of somebody of the
// same width who has ended, the last one first, as that is most likely still in the cache.

#include "program/slots.hpp"

#include <algorithm>
#include <numeric>
#include <queue>
#include <utility>

namespace mgx {

std::uint32_t allocate_slots(std::vector<Tenancy>& tenancies) {
    std::vector<std::uint32_t> order(tenancies.size());
    std::iota(order.begin(), order.end(), 0U);
    std::ranges::sort(order, {}, [&](std::uint32_t i) { return std::pair(tenancies[i].from, i); });
    const auto ends_later = [&](std::uint32_t one, std::uint32_t other) {
        return tenancies[one].until > tenancies[other].until;
    };
    std::priority_queue<std::uint32_t, std::vector<std::uint32_t>, decltype(ends_later)> current(
        ends_later);
    std::map<std::uint32_t, std::vector<std::uint32_t>> vacant;  // first slots, by width
    std::uint32_t slots = 0;
    for (const std::uint32_t i : order) {
        Tenancy& tenancy = tenancies[i];
        while (!current.empty() && tenancies[current.top()].until < tenancy.from) {
            const Tenancy& ended = tenancies[current.top()];
            vacant[ended.width].push_back(ended.first_slot);
            current.pop();
        }
        std::vector<std::uint32_t>& places = vacant[tenancy.width];
        if (places.empty()) {
            tenancy.first_slot = slots;
            slots += tenancy.width;
        } else {
            tenancy.first_slot = places.back();
            places.pop_back();
        }
        current.push(i);
    }
    return slots;
}

}  // namespace mgx
