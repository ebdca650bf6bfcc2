#pragma once

// What Python is to the arena, in the least code: objects that wrap nodes and count their own
// references, live as long as these say, and may hold a step of the backward sweep.

#include <algorithm>
#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

#include "core/arena.hpp"
#include "number.hpp"

namespace mgx {

struct FakeWrapper {
    NodeId node;
    std::size_t references = 1;
    std::function<void()> callback = {};
    std::vector<FakeWrapper*> operands = {};  // once the node has left them to this wrapper
};

class FakeHost final : public WrapperHost {
public:
    explicit FakeHost(Arena& arena) : arena_(arena) { arena.set_host(*this); }

    // A wrapper of the number's node, with one reference, which the caller owns.
    [[nodiscard]] FakeWrapper* wrap(const Number& number) {
        auto* wrapper = new FakeWrapper{number.id()};
        arena_.retain(number.node());
        number.node().wrapper() = wrapper;
        ++living_;
        return wrapper;
    }

    // Give one reference up.
    void forget(FakeWrapper* wrapper) noexcept {
        if (--wrapper->references > 0) {
            return;
        }
        --living_;
        const Node node = arena_.node(wrapper->node);
        node.wrapper() = nullptr;
        for (FakeWrapper* operand : wrapper->operands) {
            forget(operand);
        }
        arena_.release(node);
        delete wrapper;
    }

    // As assigning `_backward` does: the wrapper lives as long as its node from now on.
    void assign_backward(const Number& number, std::function<void()> step) {
        FakeWrapper* wrapper = wrap(number);
        wrapper->callback = std::move(step);
        arena_.set_callback(number.id(), true);
        arena_.keep_wrapper(number.id());
        forget(wrapper);
    }

    void hold(Wrapper wrapper) noexcept override {
        ++holds_;
        ++static_cast<FakeWrapper*>(wrapper)->references;
    }

    void drop(Wrapper wrapper) noexcept override {
        ++drops_;
        deepest_drop_ = std::max(deepest_drop_, ++running_drops_);
        forget(static_cast<FakeWrapper*>(wrapper));
        --running_drops_;
    }

    void run_callback(Wrapper wrapper) override { static_cast<FakeWrapper*>(wrapper)->callback(); }

    [[nodiscard]] std::size_t living() const noexcept { return living_; }
    [[nodiscard]] std::size_t holds() const noexcept { return holds_; }
    [[nodiscard]] std::size_t drops() const noexcept { return drops_; }
    // How many calls of `drop` have run inside one another at most.
    [[nodiscard]] std::size_t deepest_drop() const noexcept { return deepest_drop_; }

private:
    Arena& arena_;
    std::size_t living_ = 0;
    std::size_t holds_ = 0;
    std::size_t drops_ = 0;
    std::size_t running_drops_ = 0;
    std::size_t deepest_drop_ = 0;
};

}  // namespace mgx
