#pragma once

// The Python object that wraps a node: its memory and its life. See value_object.cpp.

#include "bindings/python.hpp"
#include "core/arena.hpp"
#include "core/reference.hpp"

namespace mgx {

// NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): Python's allocators make it
struct ValueObject {
    PyObject_HEAD
    Node node;             // none until a subclass has called super().__init__
    PyObject* attributes;  // the instance's __dict__, or null
    PyObject* weak_references;
    PyObject* callback;  // what the user has assigned to _backward, or null
    PyObject* operands;  // their wrappers, a tuple, or null if the node holds the operands
};

// The one arena of the process, guarded by the interpreter lock.
extern Arena arena;

// The type `microgradx.Value`, created when the module is imported.
extern PyTypeObject* value_type;

[[nodiscard]] inline bool is_exact_value(PyObject* object) noexcept {
    return Py_TYPE(object) == value_type;
}
[[nodiscard]] inline bool is_value(PyObject* object) noexcept {
    return is_exact_value(object) || PyType_IsSubtype(Py_TYPE(object), value_type) != 0;
}
[[nodiscard]] inline ValueObject* as_value(PyObject* object) noexcept {
    return reinterpret_cast<ValueObject*>(object);
}
[[nodiscard]] inline PyObject* as_object(ValueObject* value) noexcept {
    return reinterpret_cast<PyObject*>(value);
}

// Let the arena hold and drop wrappers, and run their callbacks; and not fuse if the environment
// variable MICROGRADX_FUSION is 0, which tests set to compare.
void connect_arena() noexcept;

// Take its node away from a Value of a trace that is over: whoever uses it gets a TraceError.
void retire(ValueObject* value) noexcept;
[[nodiscard]] bool is_retired(const ValueObject* value) noexcept;

// Whether the value has a node; if not, the error that says how it can have got none is set.
[[nodiscard]] bool fail_without_node(const ValueObject* value) noexcept;
[[nodiscard]] inline bool has_node(const ValueObject* value) noexcept {
    return value->node.id != no_node || fail_without_node(value);
}

// A new Value without a node, or null with an error set.
[[nodiscard]] ValueObject* new_value() noexcept;

// Make `value` the wrapper of the node, taking over one count of it.
void attach(ValueObject* value, Node owned);

// The wrapper of a node that had none when it was made, taking over one count of it.
[[nodiscard]] PyObject* wrap(Node owned) noexcept;
// The same for a node that has a watched operand; see is_watched.
[[nodiscard]] PyObject* wrap_watched(Node owned) noexcept;
// As `wrap`, for C++: throws error_already_set.
[[nodiscard]] inline py::object wrapped(Node owned) { return checked(wrap(owned)); }

// The wrapper of the node, made if it has none: a new reference, or null with an error set.
[[nodiscard]] PyObject* wrapper_of(Node node) noexcept;

// The wrapper has something to lose now: it lives as long as its node, and the garbage collector
// looks at it.
void keep(ValueObject* value);

// Let the wrapper rather than the node hold the operands, as wrappers, so that they stay the same
// objects while this one lives and so that the garbage collector sees the way to them.
[[nodiscard]] bool hold_operands(ValueObject* value) noexcept;

// Let all Values computed from this one hold their operands: something that it has been given may
// lead back to it through them, and the garbage collector must see the whole cycle.
[[nodiscard]] bool show_dependents_to_collector(ValueObject* value) noexcept;

// Whether consumers of the node should hold their operands by wrappers: a callback's closure may
// refer to any of them, and the garbage collector must see the whole cycle to collect it at once.
[[nodiscard]] inline bool is_watched(Node node) noexcept {
    return node.has(Flags::HasCallback | Flags::OperandsByWrapper);
}

// The slots that have to do with the life of a Value.
PyObject* value_new(PyTypeObject* type, PyObject* arguments, PyObject* keywords) noexcept;
void value_dealloc(PyObject* object) noexcept;
int value_traverse(PyObject* object, visitproc visit, void* arg) noexcept;
int value_clear(PyObject* object) noexcept;

}  // namespace mgx
