// Slot allocation by linear scan: time passes, and who begins takes the place of somebody of the
// same width who has ended, the last one first, as that is most likely still in the cache.

#include "program/slots.hpp"

#include <algorithm>
#include <map>
#include <numeric>

namespace mgx {

namespace {

// The tenancies in the order of one of their times, which are small numbers.
[[nodiscard]] std::vector<std::uint32_t> in_order_of(std::uint32_t Tenancy::* time,
                                                     const std::vector<Tenancy>& tenancies) {
    std::vector<std::uint32_t> next_place(1, 0);
    for (const Tenancy& tenancy : tenancies) {
        if (next_place.size() < tenancy.*time + 2) {
            next_place.resize(tenancy.*time + 2);
        }
        ++next_place[tenancy.*time + 1];
    }
    std::partial_sum(next_place.begin(), next_place.end(), next_place.begin());
    std::vector<std::uint32_t> order(tenancies.size());
    for (std::uint32_t i = 0; i < tenancies.size(); ++i) {
        order[next_place[tenancies[i].*time]++] = i;
    }
    return order;
}

}  // namespace

std::uint32_t allocate_slots(std::vector<Tenancy>& tenancies) {
    const std::vector<std::uint32_t> by_end = in_order_of(&Tenancy::until, tenancies);
    auto first_living = by_end.begin();
    std::map<std::uint32_t, std::vector<std::uint32_t>> vacant;  // first slots, by width
    std::uint32_t slots = 0;
    for (const std::uint32_t i : in_order_of(&Tenancy::from, tenancies)) {
        Tenancy& tenancy = tenancies[i];
        for (; tenancies[*first_living].until < tenancy.from; ++first_living) {
            const Tenancy& ended = tenancies[*first_living];
            vacant[ended.width].push_back(ended.first_slot);
        }
        std::vector<std::uint32_t>& places = vacant[tenancy.width];
        if (places.empty()) {
            tenancy.first_slot = slots;
            slots += tenancy.width;
        } else {
            tenancy.first_slot = places.back();
            places.pop_back();
        }
    }
    return slots;
}

}  // namespace mgx
