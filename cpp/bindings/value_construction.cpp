// Value(data, _children=(), _op='', label=''): leaves, and nodes whose operation the user defines.

#include <array>
#include <unordered_set>
#include <vector>

#include "bindings/scalar_conversion.hpp"
#include "bindings/value_type.hpp"

namespace mgx {

namespace {

struct Given {
    PyObject* data = nullptr;
    PyObject* children = nullptr;
    PyObject* op = nullptr;
    PyObject* label = nullptr;
};

// The children, each once, in their order. Throws error_already_set.
std::vector<py::object> distinct_values(PyObject* children) {
    if (children == nullptr || children == Py_None) {
        return {};
    }
    std::vector<py::object> values;
    std::unordered_set<PyObject*> seen;
    for (const py::handle child : py::iter(children)) {
        if (!is_value(child.ptr())) {
            PyErr_Format(PyExc_TypeError, "_children must be Values, not %.200s",
                         Py_TYPE(child.ptr())->tp_name);
            throw py::error_already_set();
        }
        if (!has_node(as_value(child.ptr()))) {
            throw py::error_already_set();
        }
        if (seen.insert(child.ptr()).second) {
            values.push_back(py::reinterpret_borrow<py::object>(child));
        }
    }
    return values;
}

[[nodiscard]] bool is_empty_string(PyObject* object) noexcept {
    return PyUnicode_Check(object) && PyUnicode_GET_LENGTH(object) == 0;
}

// Throws error_already_set.
void construct(ValueObject* value, const Given& given) {
    Scalar data;
    if (!to_scalar_or_error(given.data, "data", data)) {
        throw py::error_already_set();
    }
    const auto children = distinct_values(given.children);
    if (value->node.id != no_node) {
        const Node node = value->node;
        if (node.op() != Op::Leaf || !children.empty()) {
            PyErr_SetString(PyExc_RuntimeError,
                            "__init__ of a Value that has operands cannot be called again");
            throw py::error_already_set();
        }
        node.set_data(data);
        arena.changed(node);
        node.set_grad(Scalar::integer(0.0));
    } else if (children.empty()) {
        attach(value, arena.leaf(data));
    } else {
        std::vector<NodeId> ids;
        for (const py::object& child : children) {
            ids.push_back(as_value(child.ptr())->node.id);
        }
        attach(value, arena.custom(data, ids));
        if (!hold_operands(value)) {
            throw py::error_already_set();
        }
    }
    for (const auto& [name, text] : {std::pair{"_op", given.op}, std::pair{"label", given.label}}) {
        if (text != nullptr && !is_empty_string(text) &&
            !set_instance_attribute(value, name, text)) {
            throw py::error_already_set();
        }
    }
}

}  // namespace

int value_init(PyObject* object, PyObject* arguments, PyObject* keywords) noexcept {
    static std::array<char*, 5> names = {const_cast<char*>("data"), const_cast<char*>("_children"),
                                         const_cast<char*>("_op"), const_cast<char*>("label"),
                                         nullptr};
    Given given;
    if (PyArg_ParseTupleAndKeywords(arguments, keywords, "O|OOO:Value", names.data(), &given.data,
                                    &given.children, &given.op, &given.label) == 0) {
        return -1;
    }
    return guarded(-1, [&] {
        construct(as_value(object), given);
        return 0;
    });
}

PyObject* value_vectorcall(PyObject* type, PyObject* const* arguments, size_t flagged_count,
                           PyObject* keyword_names) noexcept {
    const auto count = PyVectorcall_NARGS(flagged_count);
    const bool untouched = value_type->tp_init == value_init && value_type->tp_new == value_new;
    if (untouched && keyword_names == nullptr && count >= 1 && count <= 4) {
        Scalar data;
        if (count == 1) {
            return to_scalar_or_error(arguments[0], "data", data)
                       ? guarded<PyObject*>(nullptr, [&] { return wrap(arena.leaf(data)); })
                       : nullptr;
        }
        return guarded<PyObject*>(nullptr, [&] {
            auto object = checked(as_object(new_value()));
            construct(as_value(object.ptr()),
                      {arguments[0], arguments[1], count > 2 ? arguments[2] : nullptr,
                       count > 3 ? arguments[3] : nullptr});
            return object.release().ptr();
        });
    }
    return guarded<PyObject*>(nullptr, [&] {
        py::tuple positional(static_cast<std::size_t>(count));
        for (Py_ssize_t i = 0; i < count; ++i) {
            positional[static_cast<std::size_t>(i)] = py::handle(arguments[i]);
        }
        py::dict keywords;
        const Py_ssize_t named = keyword_names != nullptr ? PyTuple_GET_SIZE(keyword_names) : 0;
        for (Py_ssize_t i = 0; i < named; ++i) {
            keywords[PyTuple_GET_ITEM(keyword_names, i)] = py::handle(arguments[count + i]);
        }
        return PyType_Type.tp_call(type, positional.ptr(), keywords.ptr());
    });
}

}  // namespace mgx
