#pragma once

// A vector for a short while, whose memory serves one user after another.

#include <array>
#include <cstddef>
#include <utility>
#include <vector>

namespace mgx {

template <typename Element>
class SpareVector {
public:
    SpareVector() noexcept {
        if (count_ > 0) {
            vector_ = std::move(spares_[--count_]);
            vector_.clear();
        }
    }
    SpareVector(const SpareVector&) = delete;
    SpareVector& operator=(const SpareVector&) = delete;
    ~SpareVector() {
        if (count_ < spares_.size() && vector_.capacity() <= most_elements) {
            spares_[count_++] = std::move(vector_);
        }
    }

    [[nodiscard]] std::vector<Element>& operator*() noexcept { return vector_; }
    [[nodiscard]] std::vector<Element>* operator->() noexcept { return &vector_; }

private:
    static constexpr std::size_t most_elements = 4096;

    inline static std::array<std::vector<Element>, 4> spares_;
    inline static std::size_t count_ = 0;

    std::vector<Element> vector_;
};

}  // namespace mgx
