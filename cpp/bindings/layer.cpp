// The calls of layers and multi-layer perceptrons.
//
// `LayerBase` and `MLPBase` add nothing but the call to `microgradx.nn.Layer` and `MLP`: `neurons`
// and `layers` are ordinary attributes of those. Where nothing in a layer is out of the ordinary
// its outputs are rows of one affine map of the arena; otherwise its neurons are called one by one.
// A perceptron hands the outputs of such a layer to the next without wrapping them.
//
// A layer's first neuron remembers the map of the layer's last call and the objects that the map
// was made of. The map serves again if the neurons of now hold exactly these objects and the arena
// says that nothing has happened to their nodes (affine.cpp). It holds no objects, and nodes only
// while nobody can tell; an object that is gone has raised the arena's version, so another in its
// place is not mistaken for it.

#include "bindings/layer.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <utility>

#include "bindings/neuron.hpp"
#include "bindings/spare_vector.hpp"

namespace mgx {

struct KnownLayer {
    std::uint32_t map = 0;
    std::vector<NeuronAttributes> neurons;
    std::vector<PyObject*> weights;  // neuron after neuron
    std::vector<Op> activations;     // each once
};

namespace {

PyObject* neurons_name = nullptr;  // interned
PyObject* layers_name = nullptr;

// Whether a new map of the neurons would be the same.
[[nodiscard]] bool is_current(const KnownLayer& known, PyObject* neurons,
                              std::size_t terms) noexcept {
    const auto rows = static_cast<std::size_t>(PySequence_Fast_GET_SIZE(neurons));
    if (!arena.is_current(known.map) || known.neurons.size() != rows ||
        known.weights.size() != rows * terms ||
        !std::ranges::all_of(known.activations, is_native)) {
        return false;
    }
    PyObject* const* weights = known.weights.data();
    PyTypeObject* type = nullptr;  // of the neuron before
    for (std::size_t i = 0; i < rows; ++i, weights += terms) {
        PyObject* const neuron = PySequence_Fast_GET_ITEM(neurons, static_cast<Py_ssize_t>(i));
        if (Py_TYPE(neuron) != type && !is_native_neuron(neuron)) {
            return false;
        }
        type = Py_TYPE(neuron);
        const NeuronAttributes& attributes = as_neuron(neuron)->attributes;
        if (attributes != known.neurons[i] || !is_list_of(attributes.w, terms) ||
            !std::equal(weights, weights + terms, PySequence_Fast_ITEMS(attributes.w))) {
            return false;
        }
    }
    return true;
}

// A map of the neurons and what it was made of; null if something is out of the ordinary.
[[nodiscard]] std::unique_ptr<KnownLayer> learn(PyObject* neurons, std::size_t terms) {
    auto known = std::make_unique<KnownLayer>();
    std::vector<Node> nodes;
    std::vector<Node> biases;
    std::vector<Op> activations;
    const auto add = [](std::vector<Node>& list, PyObject* parameter, Flags forbidden) {
        list.push_back(plain_node(parameter, forbidden));
        return list.back().page != nullptr && list.back().op() == Op::Leaf;
    };
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(neurons); ++i) {
        PyObject* const neuron = PySequence_Fast_GET_ITEM(neurons, i);
        if (!is_native_neuron(neuron)) {
            return nullptr;
        }
        const NeuronAttributes& attributes = as_neuron(neuron)->attributes;
        activations.push_back(named_activation(attributes));
        if (!is_native(activations.back()) || !is_list_of(attributes.w, terms) ||
            !add(biases, attributes.b, watched_input)) {
            return nullptr;
        }
        for (std::size_t term = 0; term < terms; ++term) {
            PyObject* const weight = PyList_GET_ITEM(attributes.w, static_cast<Py_ssize_t>(term));
            if (!add(nodes, weight, not_a_weight)) {
                return nullptr;
            }
            known->weights.push_back(weight);
        }
        known->neurons.push_back(attributes);
    }
    nodes.insert(nodes.end(), biases.begin(), biases.end());
    known->map = arena.make_map(nodes, activations, true);
    std::ranges::sort(activations);
    known->activations.assign(activations.begin(), std::ranges::unique(activations).begin());
    return known;
}

// The map of neurons with so many inputs, if nothing in them is out of the ordinary. Runs no Python
// code.
[[nodiscard]] const KnownLayer* current_map(PyObject* neurons, std::size_t terms) {
    if (terms == 0 || PySequence_Fast_GET_SIZE(neurons) == 0 || !may_fuse() ||
        !has_native_call(PySequence_Fast_GET_ITEM(neurons, 0))) {
        return nullptr;
    }
    KnownLayer*& known = as_neuron(PySequence_Fast_GET_ITEM(neurons, 0))->layer;
    if (known == nullptr || !is_current(*known, neurons, terms)) {
        forget_layer(std::exchange(known, nullptr));
        known = learn(neurons, terms).release();
    }
    return known;
}

// What a layer or a perceptron is called with, and what the layers make of it on the way: an object
// of Python's, or else nodes, the outputs of a layer, of which it owns a count each.
class Signal {
public:
    explicit Signal(PyObject* x) : object_(py::reinterpret_borrow<py::object>(x)) {}
    Signal(const Signal&) = delete;
    Signal& operator=(const Signal&) = delete;
    ~Signal() {
        for (const Node node : *nodes_) {
            if (node.page != nullptr) {
                arena.release(node);
            }
        }
    }

    // Replace it by the outputs of the layer.
    void pass(PyObject* layer) {
        const auto neurons = as_fast_sequence(py::getattr(layer, neurons_name).ptr(),
                                              "the neurons of a layer must be iterable");
        if (object_) {
            pass_object(neurons);
        } else if (!pass_nodes(neurons)) {
            static_cast<void>(object());
            Inputs inputs(this->inputs().ptr());
            pass_one_by_one(py::tuple(neurons), inputs);
        }
    }

    // Replace it by what the callable returns for it.
    void pass_as_object(const py::object& callable) { object_ = callable(object()); }

    [[nodiscard]] const py::object& object() {
        if (!object_) {
            // Making wrappers can run code, which must find no list with holes.
            py::list list;
            for (Node& node : *nodes_) {
                list.append(wrapped(std::exchange(node, {})));
            }
            nodes_->clear();
            object_ = unless_single(list);
        }
        return object_;
    }

private:
    [[nodiscard]] static py::object unless_single(const py::list& outputs) {
        return outputs.size() == 1 ? py::object(outputs[0]) : py::object(outputs);
    }

    [[nodiscard]] py::object inputs() const {
        return is_value(object_.ptr()) ? py::make_tuple(object_) : object_;
    }

    void pass_object(const py::object& neurons) {
        Inputs inputs(this->inputs().ptr());
        const auto map = [&] {
            return current_map(neurons.ptr(), static_cast<std::size_t>(inputs.size()));
        };
        SpareVector<Input> collected;
        const bool plain = inputs.collect(  // may run code that changes the neurons
            *collected, [&] { return map() != nullptr; });
        const KnownLayer* known = plain ? map() : nullptr;
        if (known == nullptr) {
            pass_one_by_one(py::tuple(neurons), inputs);
            return;
        }
        arena.apply(known->map, *collected, *nodes_);
        object_ = py::object();
    }

    // Tells whether it has done it; if not, the signal means what it did.
    [[nodiscard]] bool pass_nodes(const py::object& neurons) {
        const KnownLayer* known = current_map(neurons.ptr(), nodes_->size());
        if (known == nullptr) {
            return false;
        }
        SpareVector<Input> collected;
        for (const Node node : *nodes_) {
            if (node.has(watched_input)) {  // by code that has run since the last layer
                return false;
            }
            collected->push_back({node, node.data()});
        }
        SpareVector<Node> outputs;
        arena.apply_taking(known->map, *collected, *outputs);
        std::swap(*nodes_, *outputs);
        return true;
    }

    void pass_one_by_one(const py::tuple& neurons, Inputs& inputs) {
        const py::list items = inputs.as_list();
        py::list outputs;
        for (const py::handle neuron : neurons) {
            outputs.append(has_native_call(neuron.ptr()) ? neuron_output(neuron.ptr(), inputs)
                                                         : neuron(items));
        }
        object_ = unless_single(outputs);
    }

    py::object object_;
    SpareVector<Node> nodes_;
};

PyObject* call_layer(PyObject* layer, PyObject* arguments, PyObject* keywords) noexcept {
    PyObject* x = only_argument(arguments, keywords);
    return x == nullptr ? nullptr : guarded<PyObject*>(nullptr, [&] {
        Signal signal(x);
        signal.pass(layer);
        return Py_NewRef(signal.object().ptr());
    });
}

PyObject* call_mlp(PyObject* mlp, PyObject* arguments, PyObject* keywords) noexcept {
    PyObject* x = only_argument(arguments, keywords);
    return x == nullptr ? nullptr : guarded<PyObject*>(nullptr, [&] {
        Signal signal(x);
        for (const py::handle layer : py::getattr(mlp, layers_name)) {
            if (Py_TYPE(layer.ptr())->tp_call == call_layer) {
                signal.pass(layer.ptr());
            } else {
                signal.pass_as_object(py::reinterpret_borrow<py::object>(layer));
            }
        }
        return Py_NewRef(signal.object().ptr());
    });
}

py::object create_type(const char* name, const char* documentation, ternaryfunc call) {
    std::array slots = {PyType_Slot{Py_tp_doc, const_cast<char*>(documentation)},
                        PyType_Slot{Py_tp_call, reinterpret_cast<void*>(call)},
                        PyType_Slot{0, nullptr}};
    PyType_Spec specification = {name, sizeof(PyObject), 0,
                                 Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots.data()};
    return checked(PyType_FromSpec(&specification));
}

}  // namespace

void forget_layer(KnownLayer* layer) noexcept {
    if (layer != nullptr) {
        arena.release_map(layer->map);
        delete layer;
    }
}

py::object create_layer_type() {
    neurons_name = PyUnicode_InternFromString("neurons");
    return create_type("microgradx._core.LayerBase",
                       "The call of a layer, which has the attribute ``neurons``.", call_layer);
}

py::object create_mlp_type() {
    layers_name = PyUnicode_InternFromString("layers");
    return create_type("microgradx._core.MLPBase",
                       "The call of a perceptron, which has the attribute ``layers``.", call_mlp);
}

}  // namespace mgx
