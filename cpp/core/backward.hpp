#pragma once

// Reverse-mode differentiation over an arena. See backward.cpp.

#include "core/arena.hpp"

namespace mgx {

// Set the gradient of `root` to one and add, to the gradient of every node that it depends on, the
// derivative of `root` by that node. Gradients are not cleared first.
void backward(Arena& arena, NodeId root);

// One step of the sweep: add to the operands' gradients what `id` passes on to them, by the
// operation's own rule, whatever callback the node has.
void backward_step(Arena& arena, NodeId id);

}  // namespace mgx
