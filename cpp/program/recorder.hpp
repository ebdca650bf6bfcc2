#pragma once

// From a graph in the arena to a program. See recorder.cpp.

#include <memory>
#include <span>
#include <stdexcept>
#include <unordered_map>
#include <vector>

#include "core/arena.hpp"
#include "program/program.hpp"

namespace mgx {

// A graph that no program can stand for.
class CannotRecord : public std::runtime_error {
    using std::runtime_error::runtime_error;
};

// An entry of a table, chosen by a number that is only known when the program runs. In the graph it
// is a custom node of the index and the entries.
struct TakeOperands {
    NodeId index;
    std::vector<NodeId> entries;
};

struct Recording {
    Program program;
    std::vector<NodeId> captured;
};

// Records what is computed while it lives.
class Recorder {
public:
    explicit Recorder(Arena& recorded) : arena_(recorded), start_(recorded.start_fresh_pages()) {}
    Recorder(const Recorder&) = delete;
    Recorder& operator=(const Recorder&) = delete;
    ~Recorder() {
        for (const auto& [node, operands] : takes_) {
            arena_.release(arena_.node(node));
        }
    }

    // The node has been made to be a Take. It lives as long as the recorder.
    void add_take(NodeId node, TakeOperands operands) {
        takes_.emplace(node, std::move(operands));
        arena_.retain(arena_.node(node));
    }

    // The node is of no interest any more.
    void forget_take(NodeId node) {
        takes_.erase(node);
        arena_.release(arena_.node(node));
    }

    // The program that computes the outputs of the inputs, which are leaves. Throws CannotRecord.
    [[nodiscard]] Recording record(std::span<const Node> inputs,
                                   std::span<const Node> outputs) const;

    // Whether the node has been made since recording began.
    [[nodiscard]] bool is_new(Node node) const noexcept { return arena_.position(node) > start_; }

private:
    class Walk;

    Arena& arena_;
    std::uint64_t start_;  // pages opened later hold new nodes alone
    std::unordered_map<NodeId, TakeOperands> takes_;
};

}  // namespace mgx
