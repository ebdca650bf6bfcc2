#pragma once

// Numbered objects that are reused: what one of them has allocated serves the next.

#include <cstdint>
#include <vector>

namespace mgx {

template <typename Object>
class Slab {
public:
    // The number of an object that is free to be used, in whatever state its last user left it.
    [[nodiscard]] std::uint32_t take() {
        if (free_.empty()) {
            objects_.emplace_back();
            free_.reserve(objects_.capacity());  // so that giving back never allocates
            return static_cast<std::uint32_t>(objects_.size() - 1);
        }
        const std::uint32_t number = free_.back();
        free_.pop_back();
        return number;
    }

    // The object's memory is kept for the next one, unless it is large or a great many are waiting.
    void give_back(std::uint32_t number) noexcept {
        if (free_.size() >= most_kept || objects_[number].is_large()) {
            objects_[number] = Object();
        }
        free_.push_back(number);
    }

    [[nodiscard]] Object& operator[](std::uint32_t number) noexcept { return objects_[number]; }

    [[nodiscard]] const std::vector<Object>& objects() const noexcept { return objects_; }

private:
    static constexpr std::size_t most_kept = 16384;

    std::vector<Object> objects_;
    std::vector<std::uint32_t> free_;
};

}  // namespace mgx
