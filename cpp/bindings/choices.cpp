// The binary operations of ops.def that no operator of Python's makes, and what is made of them.
//
// where(condition, x, y) is a sum: of x where the condition holds, and of y where it does not. What
// is not chosen counts as -0.0, which changes no sum, and gets no gradient.

#include "bindings/choices.hpp"

#include "bindings/value_object.hpp"
#include "bindings/weighted_sum.hpp"
#include "core/reference.hpp"

namespace mgx {

namespace {

py::object operand(const py::object& object, const char* argument) {
    const py::object value = as_value_object(object, argument);
    if (!has_node(as_value(value.ptr()))) {
        throw py::error_already_set();
    }
    return value;
}

[[nodiscard]] Node node_of(const py::object& value) noexcept { return as_value(value.ptr())->node; }

[[nodiscard]] py::object result(Node owned, bool watched) {
    return checked(watched ? wrap_watched(owned) : wrap(owned));
}

template <Op op>
py::object apply(const py::object& x, const py::object& y) {
    const py::object left = operand(x, "x");
    const py::object right = operand(y, "y");
    const bool watched = is_watched(node_of(left)) || is_watched(node_of(right));
    return result(arena.binary<op>(node_of(left), node_of(right)), watched);
}

py::object where(const py::object& condition, const py::object& x, const py::object& y) {
    if (!is_value(condition.ptr())) {
        const int is_true = PyObject_IsTrue(condition.ptr());
        if (is_true < 0) {
            throw py::error_already_set();
        }
        const py::object left = operand(x, "x");
        const py::object right = operand(y, "y");
        return is_true != 0 ? left : right;
    }
    const py::object choice = operand(condition, "condition");
    const py::object left = operand(x, "x");
    const py::object right = operand(y, "y");
    const Reference kept(arena, arena.binary<Op::If>(node_of(choice), node_of(left)));
    const Reference other(arena, arena.binary<Op::Else>(node_of(choice), node_of(right)));
    const bool watched =
        is_watched(node_of(choice)) || is_watched(node_of(left)) || is_watched(node_of(right));
    return result(arena.binary<Op::Add>(kept.get(), other.get()), watched);
}

template <Op op>
void add(py::module_& module, const char* name, const char* doc, const char* example) {
    using namespace py::literals;
    const std::string documentation = name + std::string("(x, y, /)\n--\n\n") + doc + R"(

Parameters
----------
x, y : Value or number
    The operands.

Returns
-------
Value

Raises
------
TypeError
    If one is neither a Value nor a real number.)" MGX_EXAMPLES +
                                      example;
    module.def(name, &apply<op>, "x"_a, "y"_a, py::pos_only(), documentation.c_str());
}

constexpr auto where_documentation = R"(where(condition, x, y, /)
--

Choose `x` where the condition is not 0, else `y`.

Both are computed in any case. Only the chosen one gets a gradient.

Parameters
----------
condition : Value or bool
    Such as ``microgradx.greater(a, b)``.
x, y : Value or number
    What is chosen from.

Returns
-------
Value

Raises
------
TypeError
    If `x` or `y` is neither a Value nor a real number.

Examples
--------
>>> import microgradx as mgx
>>> x = mgx.Value(-2.0)
>>> mgx.where(mgx.greater(x, 0), x, 10.0)
Value(data=10.0, grad=0))";

}  // namespace

void add_choices(py::module_& module) {
    using namespace py::literals;
#define MGX_UNARY(...)
#define MGX_BINARY(Name, method, label, value, left, right, low, high, doc, example)   \
    if constexpr (Op::Name != Op::Add && Op::Name != Op::Mul && Op::Name != Op::Pow) { \
        add<Op::Name>(module, #method, doc, example);                                  \
    }
#include "core/ops.def"
#undef MGX_UNARY
#undef MGX_BINARY
    module.def("where", &where, "condition"_a, "x"_a, "y"_a, py::pos_only(), where_documentation);
}

}  // namespace mgx
