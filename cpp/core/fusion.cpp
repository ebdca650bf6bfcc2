// Fused nodes: what is stored of a weighted sum, and how it becomes visible.
//
// A weighted sum `bias + w0*x0 + w1*x1 + ...` of n terms, and the activation function applied to
// it, is one node, a Dot, where micrograd has 2n or 2n + 1: a product and a sum a term, and the
// result. All but the last are hidden: nobody but the Dot refers to them, so as long as nobody
// looks they need not exist. What they would hold follows from little: their data from the products
// and the bias at the time of the forward pass, which the Dot keeps, and their gradients, after one
// backward sweep, all equal what the Dot passed on to them, which it keeps too.
//
// Once somebody looks (asks for operands, assigns a callback, calls the backward step by hand) or a
// second sweep comes by (after which the hidden gradients would differ), the Dot is expanded: the
// hidden nodes are made, as ordinary nodes, with the data and gradients they would have, and the
// Dot turns into the last of the sums, or the activation function of it. Nothing else in the engine
// knows of fusion.
//
// The hidden nodes belong between the Dot's operands and the Dot, where the log has no room. They
// live in an annex: pages outside of the log that the backward sweep visits when it comes to the
// place of their owner, the Dot, after the owner itself. Their operands are older than the owner or
// before them in the annex, and their consumers are the owner, behind them in the annex or newer
// than the owner, so the order is topological still. The owner's slot stays taken while its annex
// lives.

#include <utility>

#include "core/arena.hpp"

namespace mgx {

std::uint32_t Arena::make_input_list(std::span<const LiveNode> inputs) {
    const std::uint32_t number = input_lists_.take();
    InputList& list = input_lists_[number];
    try {
        list.inputs.assign(inputs.begin(), inputs.end());
    } catch (...) {
        input_lists_.give_back(number);
        throw;
    }
    for (const LiveNode& input : inputs) {
        retain(input);
    }
    list.users = 1;
    list.sweep = 0;
    return number;
}

void Arena::release_input_list(std::uint32_t number) noexcept {
    if (--input_lists_[number].users > 0) {
        return;
    }
    // Releasing can run code that makes lists, so the list is put back first.
    const auto inputs = std::exchange(input_lists_[number].inputs, {});
    input_lists_.give_back(number);
    for (const LiveNode& input : inputs) {
        release(input.id);
    }
}

std::uint32_t Arena::begin_dot(std::size_t terms) {
    const std::uint32_t number = dots_.take();
    try {
        dots_[number].resize(terms);
    } catch (...) {
        dots_.give_back(number);
        throw;
    }
    return number;
}

void Arena::abandon_dot(std::uint32_t number, std::size_t terms) noexcept {
    for (std::size_t i = 0; i < terms; ++i) {
        release(dots_[number].weights[i]);
    }
    dots_.give_back(number);
}

NodeId Arena::finish_dot(std::uint32_t number, NodeId bias, std::uint32_t input_list, Op activation,
                         double sum) {
    const NodeId id =
        interior(Op::Dot, evaluate(activation, Scalar::real(sum)), {NodeId{number}, bias});
    ++input_lists_[input_list].users;
    Dot& dot = dots_[number];
    dot.activation = activation;
    dot.sum = sum;
    dot.input_list = input_list;
    dot.swept = false;
    dot.hidden_grad = Scalar::integer(0.0);
    dot.bias_data = node(bias).data_value;
    retain(bias);
    return id;
}

void Arena::expand(NodeId id) {
    Node& owner = node(id);
    const auto number = static_cast<std::uint32_t>(owner.operands[0]);
    const std::size_t terms = dots_[number].weights.size();
    PageList& annex = annexes_[id];
    try {
        for (std::size_t room = 0; room < 2 * terms; room += Page::slots) {
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
    Page* page = annex.first();
    const Dot& dot = dots_[number];
    const auto hidden_node = [&](Op op, double data, NodeId left, NodeId right) {
        if (page->filled == Page::slots) {
            page = page->next;
        }
        const NodeId hidden = fill(*page, page->filled++, op, Scalar::real(data), {left, right});
        node(hidden).set_grad(dot.hidden_grad);
        return hidden;
    };
    const InputList& list = input_lists_[dot.input_list];
    NodeId sum = owner.operands[1];
    double sum_data = dot.bias_data;
    for (std::size_t i = 0; i < terms; ++i) {
        const NodeId input = list.inputs[i].id;
        retain(input);
        const NodeId product = hidden_node(Op::Mul, dot.products[i], dot.weights[i], input);
        if (i + 1 < terms || dot.activation != Dot::no_activation) {
            sum_data += dot.products[i];
            sum = hidden_node(Op::Add, sum_data, sum, product);
        } else {
            owner.op = Op::Add;
            owner.operands = {sum, product};
        }
    }
    if (dot.activation != Dot::no_activation) {
        owner.op = dot.activation;
        owner.operands = {sum, no_node};
    }
    owner.set(Flags::HasAnnex, true);
    release_input_list(dot.input_list);
    dots_.give_back(number);
}

std::string_view Arena::label(NodeId id) noexcept {
    const Node& labelled = node(id);
    if (labelled.op != Op::Dot) {
        return mgx::label(labelled.op);
    }
    const Op activation = dots_[static_cast<std::uint32_t>(labelled.operands[0])].activation;
    return mgx::label(activation != Dot::no_activation ? activation : Op::Add);
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
    if (node(owner).has(Flags::IsDead)) {
        vacate(this->page(owner), Page::bit_of(owner));
    } else {
        node(owner).set(Flags::HasAnnex, false);
    }
}

}  // namespace mgx
