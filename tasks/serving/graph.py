"""A sequence model as an ONNX graph: any number of people, any length, padding without effect.

Built node by node from the weights: exporters that trace a model freeze the number of steps or
lose the lengths. B people, T steps, D channels, E embedded width, H hidden units, S static,
C logits.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from rnn.model import SequenceModel

Weights = NDArray[np.float32]

# Where ONNX has each of torch's gates: torch writes r z n and i f g o, ONNX z r n and i o f g.
GATES = {"rnn": (0,), "gru": (1, 0, 2), "lstm": (0, 3, 1, 2)}
OPERATOR = {"rnn": "RNN", "gru": "GRU", "lstm": "LSTM"}
OPSET = 18
# The newest that ONNX Runtime reads is not the newest that onnx writes.
IR_VERSION = 10


@dataclass
class _Graph:
    """Nodes and weights so far; every value has a name."""

    nodes: list[Any] = field(default_factory=list)
    weights: list[Any] = field(default_factory=list)

    def constant(self, name: str, value: NDArray[Any] | np.generic) -> str:
        """Keep an array and return its name."""
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def node(self, operator: str, inputs: list[str], outputs: int = 1, **attributes: Any) -> str:
        """Add a node and return the name of its last output, those before it unused."""
        name = f"{operator.lower()}_{len(self.nodes)}"
        names = [""] * (outputs - 1) + [name]
        self.nodes.append(helper.make_node(operator, inputs, names, name=name, **attributes))
        return name

    def integers(self, *values: int) -> str:
        """Keep a list of int64."""
        return self.constant(f"integers_{len(self.weights)}", np.array(values, dtype=np.int64))

    def reshaped(self, value: str, *shape: int) -> str:
        """Reshape; 0 keeps a dimension, -1 takes what is left."""
        return self.node("Reshape", [value, self.integers(*shape)])


def _numpy(tensor: Any) -> Weights:
    """A parameter on the CPU."""
    found: Weights = tensor.detach().cpu().numpy().astype(np.float32)
    return found


def _gates(model: SequenceModel, kind: str, layer: int) -> Weights:
    """Weights or biases of a layer [directions, gates x H, ...] in ONNX's order of gates."""
    directions = ("", "_reverse") if model.config.bidirectional else ("",)
    stacked = []
    for direction in directions:
        value = _numpy(getattr(model.recurrent, f"{kind}_l{layer}{direction}"))
        parts = np.split(value, len(GATES[model.config.cell]))
        stacked.append(np.concatenate([parts[gate] for gate in GATES[model.config.cell]]))
    return np.stack(stacked)


def _layer(graph: _Graph, model: SequenceModel, layer: int, steps: str, last: bool) -> str:
    """One recurrent layer: all outputs [T, B, .], or where `last` each person's last [., B, H]."""
    cell = model.config.cell
    names = [steps]
    for kind, short in (("weight_ih", "W"), ("weight_hh", "R")):
        names.append(graph.constant(f"{short}_{layer}", _gates(model, kind, layer)))
    biases = [_gates(model, kind, layer) for kind in ("bias_ih", "bias_hh")]
    names += [graph.constant(f"B_{layer}", np.concatenate(biases, 1)), "lengths_int32"]
    settings: dict[str, Any] = {
        "hidden_size": model.config.hidden_size,
        "direction": "bidirectional" if model.config.bidirectional else "forward",
    }
    if cell == "gru":
        # torch multiplies by the reset gate after the product with the state.
        settings["linear_before_reset"] = 1
    if last:
        return graph.node(OPERATOR[cell], names, outputs=2, **settings)
    outputs = graph.node(OPERATOR[cell], names, **settings)
    outputs = graph.node("Transpose", [outputs], perm=[0, 2, 1, 3])
    return graph.reshaped(outputs, 0, 0, -1)


def _real(graph: _Graph, outputs: str) -> str:
    """Bool [B, T, 1], true where a step is not padding; outputs are [B, T, .]."""
    steps = graph.node("Shape", [outputs], start=1, end=2)
    number = len(graph.weights)
    zero = graph.constant(f"zero_{number}", np.int64(0))
    one = graph.constant(f"one_{number}", np.int64(1))
    count = graph.node("Squeeze", [steps])
    numbers = graph.reshaped(graph.node("Range", [zero, count, one]), 1, -1, 1)
    return graph.node("Less", [numbers, graph.reshaped("lengths", -1, 1, 1)])


def _convolved(graph: _Graph, model: SequenceModel, steps: str) -> str:
    """Convolutions over time with SiLU, padded steps zero before each: [B, T, E]."""
    if not model.config.conv:
        return steps
    real = _real(graph, steps)
    nothing = graph.constant("no_step", np.float32(0))
    for index, layer in enumerate(model.conv.layers):
        ahead = model.conv.ahead(layer)
        weight = _numpy(layer.weight)
        names = [graph.constant(f"conv_{index}", weight)]
        names.append(graph.constant(f"conv_{index}_bias", _numpy(layer.bias)))
        kept = graph.node("Where", [real, steps, nothing])
        kept = graph.node("Transpose", [kept], perm=[0, 2, 1])
        made = graph.node("Conv", [kept, *names], pads=[weight.shape[2] - 1 - ahead, ahead])
        made = graph.node("Mul", [made, graph.node("Sigmoid", [made])])
        steps = graph.node("Transpose", [made], perm=[0, 2, 1])
    return steps


def _pooled(graph: _Graph, model: SequenceModel, outputs: str) -> str:
    """Mean or attention over the real steps: [T, B, K] to [B, K]."""
    outputs = graph.node("Transpose", [outputs], perm=[1, 0, 2])
    real = _real(graph, outputs)
    nothing = graph.constant("nothing", np.float32(0))
    kept = graph.node("Where", [real, outputs, nothing])
    axis = graph.integers(1)
    if model.pooling.kind == "mean":
        count = graph.reshaped(graph.node("Cast", ["lengths"], to=TensorProto.FLOAT), -1, 1)
        return graph.node("Div", [graph.node("ReduceSum", [kept, axis], keepdims=0), count])
    key = graph.constant("key", _numpy(model.pooling.key.weight).T)
    shift = graph.constant("key_bias", _numpy(model.pooling.key.bias))
    query = graph.constant("query", _numpy(model.pooling.query.weight).T)
    hidden = graph.node("Tanh", [graph.node("Add", [graph.node("MatMul", [kept, key]), shift])])
    never = graph.constant("never", np.float32(-np.inf))
    scores = graph.node("Where", [real, graph.node("MatMul", [hidden, query]), never])
    shares = graph.node("Softmax", [scores], axis=1)
    return graph.node("ReduceSum", [graph.node("Mul", [shares, kept]), axis], keepdims=0)


def _encoded(graph: _Graph, model: SequenceModel) -> str:
    """The pooled state of each person, [B, K]."""
    steps = "inputs"
    if model.shape.vocabulary_size:
        table = graph.constant("embedding", _numpy(model.embedding.weight))
        steps = graph.node("Gather", [table, "inputs"])
    steps = _convolved(graph, model, steps)
    steps = graph.node("Transpose", [steps], perm=[1, 0, 2])
    graph.nodes.append(
        helper.make_node("Cast", ["lengths"], ["lengths_int32"], to=TensorProto.INT32)
    )
    layers = model.config.num_layers
    for layer in range(layers - 1):
        steps = _layer(graph, model, layer, steps, False)
    if model.pooling.kind != "last":
        return _pooled(graph, model, _layer(graph, model, layers - 1, steps, False))
    # Each direction's state after its own last step: the first one for the reverse direction.
    states = _layer(graph, model, layers - 1, steps, True)
    return graph.reshaped(graph.node("Transpose", [states], perm=[1, 0, 2]), 0, -1)


def _head(graph: _Graph, model: SequenceModel, values: str) -> str:
    """Feed-forward layers with SiLU between them; dropout does nothing once trained."""
    linears = [(n, m) for n, m in model.head.named_children() if hasattr(m, "weight")]
    for index, (name, linear) in enumerate(linears):
        weight = graph.constant(f"head_{name}", _numpy(linear.weight))
        bias = graph.constant(f"head_{name}_bias", _numpy(linear.bias))
        values = graph.node("Gemm", [values, weight, bias], transB=1)
        if index + 1 < len(linears):
            values = graph.node("Mul", [values, graph.node("Sigmoid", [values])])
    return values


def onnx_model(model: SequenceModel) -> onnx.ModelProto:
    """Return the graph of a trained model.

    Args:
        model: in eval mode.

    Returns:
        Inputs: `inputs` float [B, T, D], or int64 [B, T] of tokens; `lengths` int64 [B], each in
        1..T; `static` float [B, S], absent where S is 0. Output: `logits` float [B, C].

    Source: ONNX operators GRU, LSTM and RNN, opset 14.
    """
    graph, shape = _Graph(), model.shape
    tokens = bool(shape.vocabulary_size)
    kind = TensorProto.INT64 if tokens else TensorProto.FLOAT
    sizes: list[str | int] = ["people", "steps"] + ([] if tokens else [shape.input_size])
    inputs = [
        helper.make_tensor_value_info("inputs", kind, sizes),
        helper.make_tensor_value_info("lengths", TensorProto.INT64, ["people"]),
    ]
    values = _encoded(graph, model)
    if shape.static_size:
        static = ["people", shape.static_size]
        inputs.append(helper.make_tensor_value_info("static", TensorProto.FLOAT, static))
        values = graph.node("Concat", [values, "static"], axis=1)
    graph.node("Identity", [_head(graph, model, values)])
    graph.nodes[-1].output[0] = "logits"
    logits = helper.make_tensor_value_info(
        "logits", TensorProto.FLOAT, ["people", shape.output_size]
    )
    whole = helper.make_graph(graph.nodes, "sordino", inputs, [logits], graph.weights)
    made = helper.make_model(whole, opset_imports=[helper.make_opsetid("", OPSET)])
    made.ir_version = IR_VERSION
    onnx.checker.check_model(made)
    return made
