// Fused nodes: what they hide, and how it becomes visible.
//
// One node stands for several of micrograd's, of which all but the last are hidden: nobody else
// refers to them, so as long as nobody looks they need not exist. Once somebody looks (asks for
// operands, assigns a callback, calls the backward step by hand) the fused node is expanded: the
// hidden nodes are made, as ordinary nodes, with the data and gradients they would have, and the
// fused node turns into the last. The backward sweep, the recorder and the arena's bookkeeping take
// fused nodes as they are; nothing else knows of them.
//
// Pairs. -x is x * -1, x - y is x + y * -1, and x / y is x * y ** -1: a leaf -1, which a power does
// not show, and for the last two a node in between. What these hold, their data and gradients,
// stands in the slot before the pair's own, which is vacant as long as it is hidden. The sweep does
// the steps of both nodes at once, as often as it comes by.
//
// Dots. A weighted sum `bias + w0*x0 + w1*x1 + ...` of n terms, and the activation function applied
// to it, is one node, a Dot, where micrograd has 2n or 2n + 1: a product and a sum a term, and the
// result. What the hidden nodes would hold follows from little: their data from those of the
// operands at the time of the forward pass, which the Dot's affine map and application have, and
// their gradients, after one backward sweep, all equal what the Dot passed on to them, which it
// keeps too. A second sweep, after which they would differ, expands the Dot. It turns into the last
// of the sums, or the activation function of it, or, of a mean, into the product with 1/n.
//
// A Dot's hidden nodes belong between the Dot's operands and the Dot, where the log has no room.
// They live in an annex: pages outside of the log that the backward sweep visits when it comes to
// the place of their owner, the Dot, after the owner itself. Their operands are older than the
// owner or before them in the annex, and their consumers are the owner, behind them in the annex or
// newer than the owner, so the order is topological still. The owner's slot stays taken while its
// annex lives.

#include "core/arena.hpp"
#include "core/reference.hpp"

namespace mgx {

namespace {

constexpr Scalar minus_one = Scalar::integer(-1.0);

}  // namespace

void Arena::expand_dot(NodeId id) {
    const Node owner = node(id);
    const auto number = static_cast<std::uint32_t>(owner.operands()[0]);
    const std::size_t row = row_of(owner);
    const Application& dot = applications_[number];
    const AffineMap& map = maps_[dot.map];
    const Op activation = map.activations[row];
    const std::size_t terms = dot.inputs.size();
    const std::size_t visible_sums = activation == AffineMap::no_activation ? 1 : 0;
    const std::size_t hidden = terms * (map.is_sum() ? 1 : 2) - visible_sums;
    std::vector<NodeId> leaves = leaves_of_numbers(dot, row);
    Page* page = nullptr;
    if (hidden > 0) {
        try {
            page = &make_annex(id, hidden);
        } catch (...) {
            for (const NodeId leaf : leaves) {
                release(node(leaf));
            }
            throw;
        }
        owner.set(Flags::HasAnnex, true);
    }
    const auto hidden_node = [&](Op op, double data, NodeId left, NodeId right) {
        if (page->filled == Page::slots) {
            page = page->next;
        }
        const Node made = fill(*page, page->filled++, op, Scalar::real(data), {left, right});
        made.set_grad(dot.rows[row].hidden_grad);
        return made.id;
    };
    const auto retained = [this](Node operand) {
        retain(operand);
        return operand.id;
    };
    auto leaf = leaves.begin();
    NodeId sum = retained(map.nodes[map.bias_of(row)]);
    double sum_data = map.data[map.bias_of(row)];
    for (std::size_t i = 0; i < terms; ++i) {
        const Input& input = dot.inputs[i];
        NodeId term = input.is_number() ? *leaf++ : retained(input.node);
        double term_data = input.data.value;
        if (!map.is_sum()) {
            const std::size_t weight = row * terms + i;
            term_data *= map.data[weight];
            term = hidden_node(Op::Mul, term_data, retained(map.nodes[weight]), term);
        }
        if (i + 1 < terms || visible_sums == 0) {
            sum_data += term_data;
            sum = hidden_node(Op::Add, sum_data, sum, term);
        } else {
            owner.op() = Op::Add;
            owner.operands() = {sum, term};
        }
    }
    if (activation != AffineMap::no_activation) {
        owner.op() = activation;
        owner.operands() = {sum, map.is_mean() ? *leaf : no_node};
    }
    leave_application(number, row);
}

Node Arena::negative(Node x) {
    if (!is_fusing_) {
        const Reference constant(*this, leaf(minus_one));
        return binary<Op::Mul>(x, constant.get());
    }
    return fused_pair(Op::Negative, x.data() * minus_one, minus_one, x);
}

Node Arena::difference(Node x, Node y) {
    if (!is_fusing_) {
        const Reference hidden(*this, negative(y));
        return binary<Op::Add>(x, hidden.get());
    }
    const Scalar hidden = y.data() * minus_one;
    return fused_pair(Op::Difference, x.data() + hidden, hidden, x, y);
}

Node Arena::quotient(Node x, Node y) {
    if (!is_fusing_) {
        const Reference hidden(*this, power(y, minus_one));
        return binary<Op::Mul>(x, hidden.get());
    }
    const Scalar hidden = pow(y.data(), minus_one);
    return fused_pair(Op::Quotient, x.data() * hidden, hidden, x, y);
}

Node Arena::fused_pair(Op op, Scalar data, Scalar hidden_data, Node x, Node y) {
    Page* last = log_.last();
    if (last == nullptr || last->filled + 2 > Page::slots) {
        last = &open_page(PageKind::Log);
    }
    const Node hidden(*last, last->filled++);
    hidden.op() = Op::Leaf;
    hidden.data_value() = hidden_data.value;
    hidden.flags() = hidden_data.is_integer ? Flags::IntegerData : Flags::None;
    hidden.grad_value() = 0.0;
    hidden.grad_flags() = GradFlags::IsInteger;
    set_grad_of_constant(hidden, Scalar::integer(0.0));
    const Node result = fill(*last, last->filled++, op, data, {x.id, y.id});
    retain(x);
    if (y.page != nullptr) {
        retain(y);
    }
    return result;
}

void Arena::expand_pair(Node owner) {
    const Node constant = leaf(minus_one);
    const Node hidden = hidden_by(owner);
    if (owner.op() == Op::Negative) {
        constant.set_grad(grad_of_constant(hidden));
        owner.op() = Op::Mul;
        owner.operands()[1] = constant.id;
        return;
    }
    if (owner.op() == Op::Difference) {
        constant.set_grad(grad_of_constant(hidden));
        owner.op() = Op::Add;
        hidden.op() = Op::Mul;
    } else {
        owner.op() = Op::Mul;
        hidden.op() = Op::PowConstant;
    }
    hidden.operands() = {owner.operands()[1], constant.id};
    hidden.count() = 1;
    owner.operands()[1] = hidden.id;
    owner.page->vacant &= ~Page::bit_of(hidden.id);
}

Page& Arena::make_annex(NodeId id, std::size_t nodes) {
    PageList& annex = annexes_[id];
    try {
        for (std::size_t room = 0; room < nodes; room += Page::slots) {
            Page& page = open_page(PageKind::Annex);
            page.owner = id;
            annex.append(page);
        }
    } catch (...) {
        while (Page* page = annex.last()) {
            annex.remove(*page);
            close_page(*page);
        }
        annexes_.erase(id);
        throw;
    }
    return *annex.first();
}

std::vector<NodeId> Arena::leaves_of_numbers(const Application& dot, std::size_t row) {
    std::vector<NodeId> leaves;
    const AffineMap& map = maps_[dot.map];
    const auto make = [&](Scalar data) {
        leaves.reserve(dot.inputs.size() + 1);
        const Node made = leaf(data);
        leaves.push_back(made.id);
        return made;
    };
    try {
        for (std::size_t i = 0; i < dot.inputs.size(); ++i) {
            if (dot.inputs[i].is_number()) {
                const Node made = make(dot.inputs[i].data);
                if (dot.rows[row].swept) {
                    const Scalar factor = map.is_sum()
                                              ? Scalar::integer(1.0)
                                              : Scalar::real(map.data[row * dot.inputs.size() + i]);
                    made.set_grad(Scalar::integer(0.0) + factor * dot.rows[row].hidden_grad);
                }
            }
        }
        if (map.is_mean()) {
            make(Scalar::real(map.scale)).set_grad(map.scale_grad);
        }
    } catch (...) {
        for (const NodeId made : leaves) {
            release(node(made));
        }
        throw;
    }
    return leaves;
}

std::string_view Arena::label(NodeId id) noexcept {
    const Node labelled = node(id);
    if (labelled.op() != Op::Dot) {
        return mgx::label(labelled.op());
    }
    const Op activation = maps_[application(labelled).map].activations[row_of(labelled)];
    return mgx::label(activation != AffineMap::no_activation ? activation : Op::Add);
}

void Arena::annex_page_emptied(Page& page) noexcept {
    const NodeId owner = page.owner;
    const auto annex = annexes_.find(owner);
    annex->second.remove(page);
    close_page(page);
    if (annex->second.first() != nullptr) {
        return;
    }
    annexes_.erase(annex);
    const Node place = node(owner);
    place.set(Flags::HasAnnex, false);
    if (place.has(Flags::IsDead)) {
        vacate(place);
    }
}

}  // namespace mgx
