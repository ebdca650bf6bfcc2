#pragma once

// Lists of a program's values, as ranges of those that follow one another: the weights of a layer
// may be very many, and most often do.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace mgx {

// Names a value of a program. The inputs come first, then the captured nodes, then the results of
// the instructions.
enum class ValueId : std::uint32_t {};

[[nodiscard]] constexpr std::size_t index_of(ValueId value) noexcept {
    return static_cast<std::size_t>(value);
}

struct ValueRange {
    ValueId first;
    std::uint32_t count;

    [[nodiscard]] std::size_t end() const noexcept { return index_of(first) + count; }
    [[nodiscard]] ValueId operator[](std::uint32_t i) const noexcept {
        return ValueId{static_cast<std::uint32_t>(first) + i};
    }
    friend bool operator==(const ValueRange&, const ValueRange&) = default;
};

class ValueRanges {
public:
    void append(ValueId value) { append({value, 1}); }
    void append(ValueRange range) {
        if (!ranges_.empty() && ranges_.back().end() == index_of(range.first)) {
            ranges_.back().count += range.count;
        } else if (range.count > 0) {
            ranges_.push_back(range);
        }
    }

    void append(const ValueRanges& values) {
        for (const ValueRange& range : values.ranges()) {
            append(range);
        }
    }

    [[nodiscard]] std::span<const ValueRange> ranges() const noexcept { return ranges_; }
    [[nodiscard]] std::size_t size() const noexcept {  // of values
        std::size_t values = 0;
        for (const ValueRange& range : ranges_) {
            values += range.count;
        }
        return values;
    }
    template <typename Visitor>
    void for_each(Visitor visit) const {
        for (const ValueRange& range : ranges_) {
            for (std::uint32_t i = 0; i < range.count; ++i) {
                visit(range[i]);
            }
        }
    }

    friend bool operator==(const ValueRanges&, const ValueRanges&) = default;

private:
    std::vector<ValueRange> ranges_;  // none ends where the next one begins
};

}  // namespace mgx
