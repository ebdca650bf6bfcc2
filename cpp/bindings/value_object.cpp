// The life of a wrapper.
//
// A wrapper owns one count of its node. Most wrappers are plain: nothing but the node, not tracked
// by the garbage collector, forgotten by the node when Python drops them, and made anew if somebody
// asks for them again. Their memory comes from a short free list.
//
// A wrapper that gets attributes, a callback or operands, or that is of a subclass, would lose them
// that way. It is kept instead (`keep`): the arena holds one reference to it while its node has a
// consumer, and the garbage collector tracks it.
//
// The collector cannot see the arena's references, neither that one nor those from a node to its
// operands. So wherever a closure could make a cycle, the way from a node to its operands leads
// through Python: `operands` holds their wrappers and the node holds none (`hold_operands`).
// Then all references of the cycle are visible, and one collection takes it. That is so for nodes
// computed from one with a callback, and for nodes that have been computed from a Value by the time
// when an object that may lead back to them is assigned to an attribute of it.
//
// A weak reference must not die before the node, and Python tells nobody when one is made; a plain
// wrapper that has any when it is about to be freed while its node lives becomes a kept one.

#include "bindings/value_object.hpp"

#include <array>
#include <cstddef>
#include <cstdlib>
#include <deque>
#include <string_view>
#include <vector>

#include "bindings/tracing.hpp"

namespace mgx {

namespace {

// Takes part in the reference counts of kept wrappers, and runs callbacks.
class PythonHost final : public WrapperHost {
public:
    void hold(Wrapper wrapper) noexcept override { Py_INCREF(static_cast<PyObject*>(wrapper)); }

    void drop(Wrapper wrapper) noexcept override { Py_DECREF(static_cast<PyObject*>(wrapper)); }

    void run_callback(Wrapper wrapper) override {
        const auto value = py::reinterpret_borrow<py::object>(static_cast<PyObject*>(wrapper));
        const auto callback = py::reinterpret_borrow<py::object>(as_value(value.ptr())->callback);
        callback();
    }
};

PythonHost host;

// Values as new, which keep their references to the type: counting these for each would cost as
// much as the arithmetic.
constexpr std::size_t most_free_values = 1024;
std::array<ValueObject*, most_free_values> free_values;
std::size_t free_value_count = 0;

// Whether nothing would be lost with the wrapper, and nobody but the node knows of it. (Of weights
// affine maps know.)
[[nodiscard]] bool is_plain(const ValueObject* value) noexcept {
    return Py_TYPE(value) == value_type && value->node.id != no_node &&
           !value->node.has(Flags::KeepsWrapper | Flags::IsWeight) &&
           value->attributes == nullptr && value->weak_references == nullptr &&
           PyObject_GC_IsTracked(as_object(const_cast<ValueObject*>(value))) == 0;
}

void connect(ValueObject* value, Node node) noexcept {
    value->node = node;
    node.wrapper() = value;
}

void free_memory(ValueObject* value) noexcept {
    PyTypeObject* type = Py_TYPE(value);
    if (type == value_type && free_value_count < most_free_values) {
        value->node = {};
        free_values[free_value_count++] = value;
    } else {
        type->tp_free(as_object(value));
        Py_DECREF(type);
    }
}

// Where retired Values are, which have no_node for an id: it is one with which nothing is fused.
constinit Page page_of_ended_traces = []() noexcept {
    Page page{};
    page.ops[Page::slot_of(no_node)] = Op::Custom;
    page.flags[Page::slot_of(no_node)] = Flags::HasCallback;
    return page;
}();

}  // namespace

Arena arena;
PyTypeObject* value_type = nullptr;

void connect_arena() noexcept {
    arena.set_host(host);
    const char* const fusion = std::getenv("MICROGRADX_FUSION");
    arena.set_fusing(fusion == nullptr || std::string_view(fusion) != "0");
}

void retire(ValueObject* value) noexcept {
    const Node node = value->node;
    const bool is_held = node.has(Flags::KeepsWrapper) && node.count() >= 2;
    arena.forget_wrapper(node);
    value->node = {page_of_ended_traces, no_node};
    arena.release(node);
    if (is_held) {
        Py_DECREF(as_object(value));
    }
}

bool is_retired(const ValueObject* value) noexcept {
    return value->node.page == &page_of_ended_traces;
}

bool fail_without_node(const ValueObject* value) noexcept {
    if (is_retired(value)) {
        PyErr_SetString(trace_error,
                        "this Value belongs to a trace that is over: a compiled function must "
                        "return what it computes, not keep it");
        return false;
    }
    PyErr_Format(PyExc_AttributeError,
                 "this %.200s holds no number yet: its __init__ must call "
                 "super().__init__(data) first",
                 Py_TYPE(value)->tp_name);
    return false;
}

ValueObject* new_value() noexcept {
    if (free_value_count > 0) [[likely]] {
        ValueObject* value = free_values[--free_value_count];
        _Py_NewReference(as_object(value));
        return value;
    }
    ValueObject* value = PyObject_GC_New(ValueObject, value_type);
    if (value != nullptr) {
        value->node = {};
        value->attributes = nullptr;
        value->weak_references = nullptr;
        value->callback = nullptr;
        value->operands = nullptr;
    }
    return value;
}

void attach(ValueObject* value, Node owned) {
    connect(value, owned);
    if (!is_exact_value(as_object(value)) || value->attributes != nullptr) {
        keep(value);
    }
}

PyObject* wrap(Node owned) noexcept {
    ValueObject* value = new_value();
    if (value == nullptr) {
        arena.release(owned);
        return nullptr;
    }
    if (Wrapper wrapper = owned.wrapper(); wrapper != nullptr) [[unlikely]] {
        // The garbage collector has run code that has found the node in the graph.
        PyObject* existing = Py_NewRef(static_cast<PyObject*>(wrapper));
        Py_DECREF(as_object(value));
        arena.release(owned);
        return existing;
    }
    connect(value, owned);
    return as_object(value);
}

PyObject* wrap_watched(Node owned) noexcept {
    PyObject* result = wrap(owned);
    if (result != nullptr && !hold_operands(as_value(result))) {
        Py_CLEAR(result);
    }
    return result;
}

PyObject* wrapper_of(Node node) noexcept {
    if (Wrapper existing = node.wrapper(); existing != nullptr) {
        return Py_NewRef(static_cast<PyObject*>(existing));
    }
    ValueObject* value = new_value();  // may run the garbage collector, which may wrap the node
    if (value == nullptr) {
        return nullptr;
    }
    if (Wrapper existing = node.wrapper(); existing != nullptr) {
        Py_DECREF(as_object(value));
        return Py_NewRef(static_cast<PyObject*>(existing));
    }
    arena.retain(node);
    connect(value, node);
    return as_object(value);
}

void keep(ValueObject* value) {
    if (PyObject_GC_IsTracked(as_object(value)) == 0) {
        PyObject_GC_Track(as_object(value));
    }
    if (value->node.id != no_node) {
        arena.keep_wrapper(value->node.id);
    }
}

bool hold_operands(ValueObject* value) noexcept {
    if (value->operands != nullptr || value->node.op() == Op::Leaf) {
        return true;
    }
    return guarded(false, [&] {
        const auto operands = arena.operands(value->node.id);
        std::vector<py::object> wrappers;
        wrappers.reserve(operands.size());
        for (const NodeId operand : operands) {
            wrappers.push_back(py::reinterpret_steal<py::object>(wrapper_of(arena.node(operand))));
            if (!wrappers.back()) {
                return false;
            }
        }
        // Whoever looks at all tuples while wrappers are made must find none with holes.
        py::tuple tuple(wrappers.size());
        for (std::size_t i = 0; i < wrappers.size(); ++i) {
            PyTuple_SET_ITEM(tuple.ptr(), static_cast<Py_ssize_t>(i), wrappers[i].release().ptr());
        }
        keep(value);
        if (value->operands == nullptr) {  // the garbage collector may have come here in between
            value->operands = tuple.release().ptr();
            arena.leave_operands_to_wrapper(value->node.id);
        }
        return true;
    });
}

bool show_dependents_to_collector(ValueObject* value) noexcept {
    if (value->node.count() == 1 && !value->node.has(Flags::HeldByWrapper)) {
        return true;
    }
    return guarded(false, [&] {
        // Making wrappers can run code that drops some of the nodes.
        std::deque<Reference> dependents;
        for (const NodeId dependent : arena.dependents(std::span(&value->node.id, 1))) {
            arena.retain(arena.node(dependent));
            dependents.emplace_back(arena, arena.node(dependent));
        }
        for (const Reference& dependent : dependents) {
            const auto wrapper = py::reinterpret_steal<py::object>(wrapper_of(dependent.get()));
            if (!wrapper || !hold_operands(as_value(wrapper.ptr()))) {
                return false;
            }
        }
        return true;
    });
}

PyObject* value_new(PyTypeObject* type, PyObject* /*arguments*/, PyObject* /*keywords*/) noexcept {
    if (type == value_type) {
        return as_object(new_value());
    }
    PyObject* object = type->tp_alloc(type, 0);
    if (object != nullptr) {
        as_value(object)->node = {};
    }
    return object;
}

void value_dealloc(PyObject* object) noexcept {
    ValueObject* value = as_value(object);
    PyTypeObject* type = Py_TYPE(object);
    if (is_plain(value)) {
        value->node.wrapper() = nullptr;
        arena.release(value->node);
        free_memory(value);
        return;
    }
    // Clearing weak references runs code, which must not find the object through the collector.
    if (PyObject_GC_IsTracked(object) != 0) {
        PyObject_GC_UnTrack(object);
    }
    if (value->weak_references != nullptr && type == value_type && value->node.id != no_node &&
        arena.is_referred_to(value->node)) {
        // Being kept gives the object, which has no reference left, the arena's.
        const bool kept = guarded(false, [&] {
            keep(value);
            return true;
        });
        if (kept) {
            return;
        }
        PyErr_Clear();
    }
    // From here on code may run that finds the node in the graph and has a new wrapper made for it.
    const Node node = value->node;
    if (node.id != no_node) {
        arena.forget_wrapper(node);
        value->node = {};
    }
    if (value->weak_references != nullptr) {
        PyObject_ClearWeakRefs(object);
    }
    Py_CLEAR(value->attributes);
    Py_CLEAR(value->callback);
    Py_CLEAR(value->operands);
    if (node.id != no_node) {
        arena.release(node);
    }
    free_memory(value);
}

int value_traverse(PyObject* object, visitproc visit, void* arg) noexcept {
    const ValueObject* value = as_value(object);
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(value->attributes);
    Py_VISIT(value->callback);
    Py_VISIT(value->operands);
    return 0;
}

int value_clear(PyObject* object) noexcept {
    // The operands stay: while the node lives, its operands must.
    ValueObject* value = as_value(object);
    if (value->node.id != no_node) {
        value->node.set(Flags::HasCallback, false);
    }
    Py_CLEAR(value->attributes);
    Py_CLEAR(value->callback);
    return 0;
}

}  // namespace mgx
