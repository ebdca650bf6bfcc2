#pragma once

// A node: what the machine needs of one step of an expression, and nothing else. Its parts lie in
// the columns of a page; a Node here tells where.

#include <array>
#include <bit>
#include <cstdint>
#include <span>

#include "core/flags.hpp"
#include "core/op.hpp"
#include "core/page.hpp"
#include "core/scalar.hpp"
#include "core/wrapper_host.hpp"

namespace mgx {

// A node that is alive, or that a pair hides, under both of its names: the page it lies in does not
// change.
struct Node {
    Page* page = nullptr;  // null for none
    NodeId id = no_node;
    std::uint32_t slot = Page::slot_of(no_node);

    constexpr Node() = default;
    constexpr Node(Page& its_page, NodeId its_id) noexcept
        : page(&its_page), id(its_id), slot(Page::slot_of(its_id)) {}
    constexpr Node(Page& its_page, std::uint32_t its_slot) noexcept
        : page(&its_page), id(its_page.id_of(its_slot)), slot(its_slot) {}

    [[nodiscard]] double& data_value() const noexcept { return page->data[slot]; }
    [[nodiscard]] double& grad_value() const noexcept { return page->grads[slot]; }
    [[nodiscard]] std::array<NodeId, 2>& operands() const noexcept { return page->operands[slot]; }
    // References by living consumers, plus one for a living wrapper.
    [[nodiscard]] std::uint32_t& count() const noexcept { return page->counts[slot]; }
    [[nodiscard]] Op& op() const noexcept { return page->ops[slot]; }
    [[nodiscard]] Flags& flags() const noexcept { return page->flags[slot]; }
    [[nodiscard]] GradFlags& grad_flags() const noexcept { return page->grad_flags[slot]; }
    // Null if there is none.
    [[nodiscard]] Wrapper& wrapper() const noexcept { return page->wrappers[slot]; }

    // Whether any of the flags is set.
    [[nodiscard]] bool has(Flags any) const noexcept { return mgx::has(flags(), any); }
    void set(Flags flag, bool on) const noexcept { mgx::set(flags(), flag, on); }

    // Of those that stand in the node itself; the exponent of a PowConstant is not shown.
    [[nodiscard]] std::span<const NodeId> visible_operands() const noexcept {
        const bool is_unary = op() == Op::PowConstant || operands()[1] == no_node;
        return std::span(operands()).first(is_unary ? 1 : 2);
    }

    [[nodiscard]] bool is_due() const noexcept { return mgx::has(grad_flags(), GradFlags::IsDue); }
    void set_due(bool due) const noexcept { mgx::set(grad_flags(), GradFlags::IsDue, due); }
    [[nodiscard]] bool is_taken() const noexcept {
        return mgx::has(grad_flags(), GradFlags::IsTaken);
    }
    void set_taken(bool taken) const noexcept { mgx::set(grad_flags(), GradFlags::IsTaken, taken); }

    [[nodiscard]] Scalar data() const noexcept { return {data_value(), has(Flags::IntegerData)}; }
    void set_data(Scalar data) const noexcept {
        data_value() = data.value;
        set(Flags::IntegerData, data.is_integer);
    }

    [[nodiscard]] Scalar grad() const noexcept {
        return {grad_value(), mgx::has(grad_flags(), GradFlags::IsInteger)};
    }
    void set_grad(Scalar grad) const noexcept {
        grad_value() = grad.value;
        mgx::set(grad_flags(), GradFlags::IsInteger, grad.is_integer);
    }
};

// What a node of a pair hides, in the slot before its own: a node that nobody refers to yet, or
// none. Its operands are not there, so the gradient of the leaf -1 is in their place, as is whether
// that is an int in the place of the count.
[[nodiscard]] inline Node hidden_by(Node node) noexcept { return {*node.page, node.slot - 1}; }

[[nodiscard]] inline Scalar grad_of_constant(Node hidden) noexcept {
    return {std::bit_cast<double>(hidden.operands()), hidden.count() != 0};
}
inline void set_grad_of_constant(Node hidden, Scalar grad) noexcept {
    hidden.operands() = std::bit_cast<std::array<NodeId, 2>>(grad.value);
    hidden.count() = grad.is_integer ? 1 : 0;
}

}  // namespace mgx
