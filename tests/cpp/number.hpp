#pragma once

// A number in a graph under test: owns one count of its node, as a Python variable would.

#include <utility>

#include "core/arena.hpp"
#include "core/backward.hpp"

namespace mgx {

class Number {
public:
    Number(Arena& arena, Node owned) noexcept : arena_(&arena), node_(owned) {}
    Number(Arena& arena, double data) : Number(arena, arena.leaf(Scalar::real(data))) {}
    Number(Arena& arena, int data) : Number(arena, arena.leaf(Scalar::integer(data))) {}

    Number(Number&& other) noexcept : arena_(other.arena_), node_(std::exchange(other.node_, {})) {}
    Number& operator=(Number&& other) noexcept {
        std::swap(arena_, other.arena_);
        std::swap(node_, other.node_);
        return *this;
    }
    ~Number() { forget(); }

    void forget() noexcept {
        if (node_.page != nullptr) {
            arena_->release(std::exchange(node_, {}));
        }
    }

    [[nodiscard]] Arena& arena() const noexcept { return *arena_; }
    [[nodiscard]] Node node() const noexcept { return node_; }
    [[nodiscard]] NodeId id() const noexcept { return node_.id; }
    [[nodiscard]] double data() const noexcept { return node().data().value; }
    [[nodiscard]] double grad() const noexcept { return node().grad().value; }

private:
    Arena* arena_;
    Node node_;
};

// A number that is in the graph already.
[[nodiscard]] inline Number reference(Arena& arena, NodeId id) {
    const Node node = arena.node(id);
    arena.retain(node);
    return {arena, node};
}

[[nodiscard]] inline Number operator+(const Number& x, const Number& y) {
    return {x.arena(), x.arena().binary<Op::Add>(x.node(), y.node())};
}
[[nodiscard]] inline Number operator*(const Number& x, const Number& y) {
    return {x.arena(), x.arena().binary<Op::Mul>(x.node(), y.node())};
}
[[nodiscard]] inline Number operator-(const Number& x) {
    return {x.arena(), x.arena().negative(x.node())};
}
[[nodiscard]] inline Number operator-(const Number& x, const Number& y) {
    return {x.arena(), x.arena().difference(x.node(), y.node())};
}
[[nodiscard]] inline Number operator/(const Number& x, const Number& y) {
    return {x.arena(), x.arena().quotient(x.node(), y.node())};
}
[[nodiscard]] inline Number pow(const Number& x, double exponent) {
    return {x.arena(), x.arena().power(x.node(), Scalar::real(exponent))};
}
[[nodiscard]] inline Number relu(const Number& x) {
    return {x.arena(), x.arena().unary<Op::Relu>(x.node())};
}

inline void backward(const Number& root) { backward(root.arena(), root.id()); }

// A node that its user defines, of the numbers given.
template <typename... Numbers>
[[nodiscard]] Number custom(const Number& first, const Numbers&... others) {
    const std::array operands{first.id(), others.id()...};
    return {first.arena(), first.arena().custom(first.node().data(), operands)};
}

}  // namespace mgx
