#pragma once

// A number in a graph under test: owns one count of its node, as a Python variable would.

#include <utility>

#include "core/arena.hpp"
#include "core/backward.hpp"

namespace mgx {

class Number {
public:
    Number(Arena& arena, LiveNode owned) noexcept : arena_(&arena), live_(owned) {}
    Number(Arena& arena, double data) : Number(arena, arena.leaf(Scalar::real(data))) {}
    Number(Arena& arena, int data) : Number(arena, arena.leaf(Scalar::integer(data))) {}

    Number(Number&& other) noexcept : arena_(other.arena_), live_(std::exchange(other.live_, {})) {}
    Number& operator=(Number&& other) noexcept {
        std::swap(arena_, other.arena_);
        std::swap(live_, other.live_);
        return *this;
    }
    ~Number() { forget(); }

    void forget() noexcept {
        if (live_.node != nullptr) {
            arena_->release(std::exchange(live_, {}));
        }
    }

    [[nodiscard]] Arena& arena() const noexcept { return *arena_; }
    [[nodiscard]] LiveNode live() const noexcept { return live_; }
    [[nodiscard]] NodeId id() const noexcept { return live_.id; }
    [[nodiscard]] Node& node() const noexcept { return *live_.node; }
    [[nodiscard]] double data() const noexcept { return node().data().value; }
    [[nodiscard]] double grad() const noexcept { return node().grad().value; }

private:
    Arena* arena_;
    LiveNode live_;
};

// A number that is in the graph already.
[[nodiscard]] inline Number reference(Arena& arena, NodeId id) {
    const LiveNode live = arena.live(id);
    arena.retain(live);
    return {arena, live};
}

[[nodiscard]] inline Number operator+(const Number& x, const Number& y) {
    return {x.arena(), x.arena().binary<Op::Add>(x.live(), y.live())};
}
[[nodiscard]] inline Number operator*(const Number& x, const Number& y) {
    return {x.arena(), x.arena().binary<Op::Mul>(x.live(), y.live())};
}
[[nodiscard]] inline Number operator-(const Number& x) {
    return {x.arena(), x.arena().negative(x.live())};
}
[[nodiscard]] inline Number operator-(const Number& x, const Number& y) {
    return {x.arena(), x.arena().difference(x.live(), y.live())};
}
[[nodiscard]] inline Number operator/(const Number& x, const Number& y) {
    return {x.arena(), x.arena().quotient(x.live(), y.live())};
}
[[nodiscard]] inline Number pow(const Number& x, double exponent) {
    return {x.arena(), x.arena().power(x.live(), Scalar::real(exponent))};
}
[[nodiscard]] inline Number relu(const Number& x) {
    return {x.arena(), x.arena().unary<Op::Relu>(x.live())};
}

inline void backward(const Number& root) { backward(root.arena(), root.id()); }

// A node that its user defines, of the numbers given.
template <typename... Numbers>
[[nodiscard]] Number custom(const Number& first, const Numbers&... others) {
    const std::array operands{first.id(), others.id()...};
    return {first.arena(), first.arena().custom(first.node().data(), operands)};
}

}  // namespace mgx
