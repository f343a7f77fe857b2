"""The ONNX graph of a BERT sentence encoder, written from its safetensors weights.

The graph takes the token ids of one unpadded text and gives its embedding: mean of the last layer's token vectors,
scaled to unit length (Reimers & Gurevych 2019, "Sentence-BERT"). Layers are those of Devlin et al. 2018, "BERT".
One text, no padding: so no attention mask, and nothing in the result depends on neighbours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from usher.core.late import TOKEN_DIMENSIONS

Weights = Mapping[str, NDArray[np.float32]]

OPSET = 20  # the first with Gelu; onnxruntime has it from 1.17
IR_VERSION = 9
LAYERS, HEADS, HIDDEN, POSITIONS = 6, 12, 384, 256
LAYER_NORM_EPSILON = 1e-12


@dataclass
class _Graph:
    """Nodes and constants in the order in which they are added; each method returns its output's name."""

    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def constant(self, name: str, value: NDArray[Any]) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, op: str, *inputs: str, out: str, **attributes: Any) -> str:
        self.nodes.append(self._node(op, inputs, [out], attributes))
        return out

    def split(self, tensor: str, outs: list[str], axis: int) -> list[str]:
        self.nodes.append(self._node("Split", (tensor,), outs, {"axis": axis, "num_outputs": len(outs)}))
        return outs

    @staticmethod
    def _node(op: str, inputs: tuple[str, ...], outputs: list[str], attributes: Mapping[str, Any]) -> Any:
        from onnx import helper

        return helper.make_node(op, list(inputs), outputs, name=outputs[0], **attributes)

    def linear(self, x: str, weight: NDArray[np.float32], bias: NDArray[np.float32], out: str) -> str:
        """x W + b, with W of shape (in, out)."""
        w, b = self.constant(f"{out}.weight", weight), self.constant(f"{out}.bias", bias)
        return self.add("Gemm", x, w, b, out=out)

    def layer_norm(self, x: str, weights: Weights, source: str, out: str) -> str:
        scale = self.constant(f"{out}.scale", weights[f"{source}.weight"])
        shift = self.constant(f"{out}.shift", weights[f"{source}.bias"])
        return self.add("LayerNormalization", x, scale, shift, out=out, axis=-1, epsilon=LAYER_NORM_EPSILON)


def build_graph(weights: Weights) -> bytes:
    """The serialised model: input `ids` (int64, n tokens, n <= 256), outputs `embedding` (float32, 384) and `tokens`
    (float32, n x `TOKEN_DIMENSIONS`): the text's unit vector, and that of each of its tokens."""
    from onnx import TensorProto, helper

    graph = _Graph()
    x = _embed_tokens(graph, weights)
    for layer in range(LAYERS):
        x = _layer(graph, weights, layer, x)
    first_axis = graph.constant("first_axis", np.array([0], dtype=np.int64))
    mean = graph.add("ReduceMean", x, first_axis, out="mean", keepdims=0)
    graph.add("LpNormalization", mean, out="embedding", axis=0, p=2)
    unit = graph.add("LpNormalization", x, out="unit", axis=-1, p=2)
    directions = graph.constant("directions", _main_directions(weights["embeddings.word_embeddings.weight"]))
    fewer = graph.add("MatMul", unit, directions, out="fewer")
    graph.add("LpNormalization", fewer, out="tokens", axis=-1, p=2)
    built = helper.make_graph(
        graph.nodes,
        "sentence-encoder",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["tokens"])],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [HIDDEN]),
            helper.make_tensor_value_info("tokens", TensorProto.FLOAT, ["tokens", TOKEN_DIMENSIONS]),
        ],
        graph.constants,
    )
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    return bytes(model.SerializeToString(deterministic=True))


def _main_directions(words: NDArray[np.float32]) -> NDArray[np.float32]:
    """The directions in which the words of the model's own vocabulary spread most: its principal components.

    Token vectors keep only these. They are the same everywhere, and owe nothing to any document.
    """
    wide = words.astype(np.float64)
    unit = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-12)
    _, vectors = np.linalg.eigh(unit.T @ unit)  # in ascending order of spread
    most = vectors[:, ::-1][:, :TOKEN_DIMENSIONS]
    signs = np.sign(most[np.abs(most).argmax(axis=0), np.arange(TOKEN_DIMENSIONS)])  # libraries differ in the sign
    return np.asarray(most * signs, dtype=np.float32)


def _embed_tokens(graph: _Graph, weights: Weights) -> str:
    """Word + position + segment. There is one segment, so its row is added to the position table beforehand."""
    words = graph.constant("words", weights["embeddings.word_embeddings.weight"])
    table = weights["embeddings.position_embeddings.weight"][:POSITIONS]
    positions = graph.constant("positions", table + weights["embeddings.token_type_embeddings.weight"][0])
    zero = graph.constant("zero", np.array([0], dtype=np.int64))
    word = graph.add("Gather", words, "ids", out="word", axis=0)
    length = graph.add("Shape", "ids", out="length")
    position = graph.add("Slice", positions, zero, length, zero, out="position")
    total = graph.add("Add", word, position, out="word+position")
    return graph.layer_norm(total, weights, "embeddings.LayerNorm", "embedded")


def _layer(graph: _Graph, weights: Weights, layer: int, x: str) -> str:
    source, name = f"encoder.layer.{layer}", f"layer{layer}"
    mixed = _attention(graph, weights, f"{source}.attention.self", name, x)
    out = graph.linear(mixed, *_parameters(weights, f"{source}.attention.output.dense"), f"{name}.attention")
    residual = graph.add("Add", out, x, out=f"{name}.attention+x")
    attended = graph.layer_norm(residual, weights, f"{source}.attention.output.LayerNorm", f"{name}.attended")
    wide = graph.linear(attended, *_parameters(weights, f"{source}.intermediate.dense"), f"{name}.wide")
    active = graph.add("Gelu", wide, out=f"{name}.active", approximate="none")
    narrow = graph.linear(active, *_parameters(weights, f"{source}.output.dense"), f"{name}.narrow")
    residual = graph.add("Add", narrow, attended, out=f"{name}.narrow+x")
    return graph.layer_norm(residual, weights, f"{source}.output.LayerNorm", f"{name}.out")


def _attention(graph: _Graph, weights: Weights, source: str, name: str, x: str) -> str:
    """Scaled dot-product attention of all heads; the scale is folded into the query's weights."""
    (wq, bq), (wk, bk), (wv, bv) = (_parameters(weights, f"{source}.{part}") for part in ("query", "key", "value"))
    scale = np.float32((HIDDEN // HEADS) ** -0.5)
    weight, bias = np.concatenate([wq * scale, wk, wv], axis=1), np.concatenate([bq * scale, bk, bv])
    qkv = graph.linear(x, weight, bias, f"{name}.qkv")
    by_head = graph.constant(f"{name}.by_head", np.array([0, HEADS, HIDDEN // HEADS], dtype=np.int64))
    flat = graph.constant(f"{name}.flat", np.array([0, HIDDEN], dtype=np.int64))
    heads = []
    for part, order in zip(
        graph.split(qkv, [f"{name}.{p}" for p in "qkv"], axis=1), ([1, 0, 2], [1, 2, 0], [1, 0, 2]), strict=True
    ):
        shaped = graph.add("Reshape", part, by_head, out=f"{part}.shaped")
        heads.append(graph.add("Transpose", shaped, out=f"{part}.heads", perm=order))
    query, key, value = heads
    scores = graph.add("MatMul", query, key, out=f"{name}.scores")
    share = graph.add("Softmax", scores, out=f"{name}.share", axis=-1)
    mixed = graph.add("MatMul", share, value, out=f"{name}.mixed")
    ordered = graph.add("Transpose", mixed, out=f"{name}.ordered", perm=[1, 0, 2])
    return graph.add("Reshape", ordered, flat, out=f"{name}.merged")


def _parameters(weights: Weights, source: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A linear layer's weight as (in, out), and its bias; the file has the weight as (out, in)."""
    return weights[f"{source}.weight"].T, weights[f"{source}.bias"]
