#pragma once

// The arguments of a compiled function. See arguments.cpp.

#include <pybind11/numpy.h>

#include <string>
#include <vector>

#include "bindings/python.hpp"
#include "core/arena.hpp"

namespace mgx {

using Array = py::array_t<double, py::array::c_style | py::array::forcecast>;

// One of the things that arguments consist of.
struct Leaf {
    enum class Kind { Number, Value, Numbers, Samples };

    Kind kind = Kind::Number;
    std::size_t first_input = 0;  // of the program
    std::size_t inputs = 1;
    double number = 0.0;
    py::object value;  // which is the argument, or in it
    Node node;         // of a Value
    Array array;       // of Numbers, or of Samples, a row for each
};

class Arguments {
public:
    // With `batched`, arrays have a leading axis along which the samples lie.
    Arguments(const py::tuple& arguments, bool batched);

    [[nodiscard]] const std::vector<Leaf>& leaves() const noexcept { return leaves_; }
    [[nodiscard]] std::size_t inputs() const noexcept { return inputs_; }
    [[nodiscard]] std::size_t samples() const noexcept { return samples_; }
    [[nodiscard]] bool is_batched() const noexcept { return batched_; }

    // How they are nested, without their numbers: arguments with the same structure can be given to
    // the same program.
    [[nodiscard]] const std::string& structure() const noexcept { return structure_; }

    // The Values nested as the arguments of one sample are.
    [[nodiscard]] py::tuple nest(const py::list& values) const;

    // An object for each leaf, nested as the arguments are; the object itself if there is but one
    // argument.
    template <typename Make>
    [[nodiscard]] py::object map(Make make) const {
        const py::tuple mapped = map_nest(nesting_, make);
        return mapped.size() == 1 ? py::object(mapped[0]) : py::object(mapped);
    }

private:
    [[nodiscard]] py::object visit(const py::handle& object);
    [[nodiscard]] py::object add_nest(const py::handle& object);
    [[nodiscard]] py::object add_array(const py::array& object);
    [[nodiscard]] py::object add_leaf(Leaf leaf);

    // Replace the numbers of leaves in the nesting by what `make` makes of the leaves.
    template <typename Make>
    [[nodiscard]] py::object map_nest(const py::handle& nesting, Make& make) const {
        if (PyLong_Check(nesting.ptr())) {
            return make(leaves_[nesting.cast<std::size_t>()]);
        }
        py::list mapped;
        for (const py::handle item : nesting) {
            mapped.append(map_nest(item, make));
        }
        return as_type_of(nesting, mapped);
    }
    // A list of items as a tuple if the nest is one, a named one if that is.
    [[nodiscard]] static py::object as_type_of(const py::handle& nest, const py::list& items);

    bool batched_;
    std::vector<Leaf> leaves_;
    std::string structure_;
    std::size_t inputs_ = 0;
    std::size_t samples_ = 0;
    bool has_samples_ = false;
    std::size_t argument_ = 0;  // that is being visited
    py::tuple nesting_;         // of the arguments, with the numbers of leaves in place of leaves
};

}  // namespace mgx
