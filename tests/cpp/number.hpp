#pragma once

// A number in a graph under test: owns one count of its node, as a Python variable would.

#include <utility>

#include "core/arena.hpp"

namespace mgx {

class Number {
public:
    Number(Arena& arena, NodeId owned) noexcept : arena_(&arena), id_(owned) {}
    Number(Arena& arena, double data) : Number(arena, arena.leaf(Scalar::real(data))) {}
    Number(Arena& arena, int data) : Number(arena, arena.leaf(Scalar::integer(data))) {}

    Number(Number&& other) noexcept
        : arena_(other.arena_), id_(std::exchange(other.id_, no_node)) {}
    Number& operator=(Number&& other) noexcept {
        std::swap(arena_, other.arena_);
        std::swap(id_, other.id_);
        return *this;
    }
    ~Number() { forget(); }

    void forget() noexcept {
        if (id_ != no_node) {
            arena_->release(std::exchange(id_, no_node));
        }
    }

    [[nodiscard]] Arena& arena() const noexcept { return *arena_; }
    [[nodiscard]] NodeId id() const noexcept { return id_; }
    [[nodiscard]] Node& node() const noexcept { return arena_->node(id_); }
    [[nodiscard]] double data() const noexcept { return node().data().value; }
    [[nodiscard]] double grad() const noexcept { return node().grad().value; }

private:
    Arena* arena_;
    NodeId id_;
};

[[nodiscard]] inline Number operator+(const Number& x, const Number& y) {
    return {x.arena(), x.arena().binary<Op::Add>(x.id(), y.id())};
}
[[nodiscard]] inline Number operator*(const Number& x, const Number& y) {
    return {x.arena(), x.arena().binary<Op::Mul>(x.id(), y.id())};
}
[[nodiscard]] inline Number pow(const Number& x, double exponent) {
    return {x.arena(), x.arena().power(x.id(), Scalar::real(exponent))};
}
[[nodiscard]] inline Number relu(const Number& x) {
    return {x.arena(), x.arena().unary<Op::Relu>(x.id())};
}

// A node that its user defines, of the numbers given.
template <typename... Numbers>
[[nodiscard]] Number custom(const Number& first, const Numbers&... others) {
    const std::array operands{first.id(), others.id()...};
    return {first.arena(), first.arena().custom(first.node().data(), operands)};
}

}  // namespace mgx
