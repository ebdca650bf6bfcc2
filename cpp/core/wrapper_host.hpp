#pragma once

// How the arena speaks to the layer above it of the objects that wrap its nodes, without knowing
// what they are.

namespace mgx {

// Whatever the layer above has put in a node's handle; the arena only passes it back.
using Wrapper = void*;

class WrapperHost {
public:
    WrapperHost() = default;
    WrapperHost(const WrapperHost&) = delete;
    WrapperHost& operator=(const WrapperHost&) = delete;
    virtual ~WrapperHost() = default;

    // A node that keeps its wrapper has gained its first consumer: own a reference to the wrapper.
    virtual void hold(Wrapper wrapper) noexcept = 0;

    // It has lost its last consumer: give that reference up. Never called while the arena is in
    // the middle of a change, so the wrapper may be destroyed and may call the arena again.
    virtual void drop(Wrapper wrapper) noexcept = 0;

    // Run the step of the backward sweep that the user has assigned. May throw.
    virtual void run_callback(Wrapper wrapper) = 0;
};

}  // namespace mgx
