"""A checkpoint as ONNX with a KV cache, in a folder laid out as transformers.js expects it.

Knows GPT-2 as a graph of ONNX operators, with the names of inputs and outputs that transformers.js and Optimum give
them. The graph is written out here rather than traced, so that it needs the package onnx alone; onnxruntime makes the
smaller one in 8 bits.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from kochat.errors import CheckpointError
from kochat.files import atomic_folder
from kochat.inference.chatbot import Chatbot
from kochat.model import checkpoint as checkpoints
from kochat.model.weights import Weights
from kochat.sharing.engines import card_for_engines, chat_template, chatbot_for_engines, package

OPSET = 17  # the first with LayerNormalization; browsers know it too
MOST_NEGATIVE = -3e38  # a score that becomes no probability
USAGE = """
```js
import {{ AutoModelForCausalLM, AutoTokenizer }} from "@huggingface/transformers";

const [tokenizer, model] = await Promise.all([
  AutoTokenizer.from_pretrained("{name}"),
  AutoModelForCausalLM.from_pretrained("{name}", {{ dtype: "fp32" }}), // "q8" is a quarter of the size
]);
const turns = [{{ role: "user", content: "12시 땡!" }}];
const inputs = tokenizer.apply_chat_template(turns, {{ label: {label}, return_dict: true }});
const tokens = await model.generate({{ ...inputs, max_new_tokens: {max_length}, do_sample: false }});
const reply = tokens.slice(null, [inputs.input_ids.dims[1], null]);
console.log(tokenizer.batch_decode(reply, {{ skip_special_tokens: true }})[0].trim());
```

`onnx/model.onnx` computes in 32 bits, `onnx/model_quantized.onnx` with weights of 8 bits, which changes some replies.
Inputs and outputs are those of Optimum's exports, so onnxruntime runs them everywhere.
"""


def export_onnx(checkpoint: str | os.PathLike, output: str | os.PathLike) -> Path:
    """Write the folder `output`, which must not be there yet, and return its path.

    Raises CheckpointError, HubError, ReplyError where it is a base that does not answer.
    """
    output = Path(output)
    package("onnx")
    quantization = package("onnxruntime.quantization")
    if output.exists():
        raise CheckpointError("name_taken", name=output.name)
    loaded = checkpoints.load(checkpoint)
    bot = chatbot_for_engines(loaded)
    with atomic_folder(output) as folder:
        whole, small = folder / "onnx" / "model.onnx", folder / "onnx" / "model_quantized.onnx"
        whole.parent.mkdir()
        whole.write_bytes(onnx_model(bot.weights).SerializeToString())
        quantization.quantize_dynamic(
            whole, small, op_types_to_quantize=["MatMul"], per_channel=True, weight_type=quantization.QuantType.QInt8
        )
        _write_rest(folder, bot, json.loads((loaded.folder / "config.json").read_text("utf-8")))
    return output


def _write_rest(folder: Path, bot: Chatbot, config: dict[str, Any]) -> None:
    bot.tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    # transformers.js knows tokenizers by the names of the classes that transformers had for long.
    tokenizer |= {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": chat_template(bot)}
    ids = {f"{kind}_token_id": getattr(bot.tokenizer, f"{kind}_token_id") for kind in ("bos", "eos", "pad")}
    values = {"name": bot.name, "label": json.dumps(bot.labels[0], ensure_ascii=False)}
    usage = USAGE.format(**values, max_length=bot.prompt.max_length)
    written = {
        "config.json": config | {"vocab_size": bot.weights.config["vocab_size"]},
        "generation_config.json": ids,
        "tokenizer_config.json": tokenizer,
    }
    for name, value in written.items():
        (folder / name).write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", "utf-8")
    (folder / "README.md").write_text(card_for_engines(bot, "transformers.js", usage), "utf-8")


def onnx_model(weights: Weights) -> Any:
    """The onnx.ModelProto of a GPT-2, in float32.

    Inputs: input_ids, position_ids (batch, sequence), attention_mask (batch, past + sequence), and for each layer
    past_key_values.N.key and .value (batch, heads, past, head size). Outputs: logits (batch, sequence, vocabulary) and
    present.N.key and .value (batch, heads, past + sequence, head size).
    """
    onnx, config = package("onnx"), weights.config
    graph = _Graph(onnx)
    heads, size = config["n_head"], config["n_embd"] // config["n_head"]
    for name, tensor in weights.tensors.items():
        if name != "lm_head.weight" or not tensor.equal(weights.tensors["wte.weight"]):
            graph.constant(name, tensor.numpy())
    graph.input("input_ids", onnx.TensorProto.INT64, ["batch", "sequence"])
    graph.input("attention_mask", onnx.TensorProto.INT64, ["batch", "total"])
    graph.input("position_ids", onnx.TensorProto.INT64, ["batch", "sequence"])
    embedded = [graph.op("Gather", "wte.weight", "input_ids"), graph.op("Gather", "wpe.weight", "position_ids")]
    hidden, mask = graph.op("Add", *embedded), _mask(graph)
    for layer in range(config["n_layer"]):
        past = [f"past_key_values.{layer}.{kind}" for kind in ("key", "value")]
        for name in past:
            graph.input(name, onnx.TensorProto.FLOAT, ["batch", heads, "past", size])
        hidden = graph.op("Add", hidden, _attention(graph, hidden, mask, f"h.{layer}", past, config))
        hidden = graph.op("Add", hidden, _feed_forward(graph, hidden, f"h.{layer}", config))
    hidden = _normalized(graph, hidden, "ln_f", config)
    head = graph.op("Transpose", graph.named_or("lm_head.weight", "wte.weight"), perm=[1, 0])
    graph.op("MatMul", hidden, head, output="logits")
    graph.output("logits", ["batch", "sequence", config["vocab_size"]])
    for layer in range(config["n_layer"]):
        for kind in ("key", "value"):
            graph.output(f"present.{layer}.{kind}", ["batch", heads, "total", size])
    return graph.model()


class _Graph:
    """Collects the parts of an ONNX graph; a part is known by its name."""

    def __init__(self, onnx: Any):
        self.onnx, self.nodes, self.constants, self.inputs, self.outputs = onnx, [], {}, [], []

    def constant(self, name: str, value: Any) -> str:
        self.constants.setdefault(name, self.onnx.numpy_helper.from_array(value, name))
        return name

    def number(self, *values: float, dtype: str = "int64") -> str:
        """A constant: a list, or of one number of float32 a scalar."""
        import numpy

        array = numpy.array(values if dtype == "int64" else values[0], dtype)
        return self.constant(f"{dtype}:{values}", array)

    def named_or(self, name: str, other: str) -> str:
        return name if name in self.constants else other

    def op(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """A node of one output, whose name is returned."""
        name = output or f"{kind}.{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def split(self, name: str, count: int) -> list[str]:
        """The last axis in equal parts."""
        parts = [f"Split.{len(self.nodes)}.{i}" for i in range(count)]
        self.nodes.append(self.onnx.helper.make_node("Split", [name], parts, axis=-1))
        return parts

    def input(self, name: str, kind: int, shape: list[str | int]) -> None:
        self.inputs.append(self.onnx.helper.make_tensor_value_info(name, kind, shape))

    def output(self, name: str, shape: list[str | int]) -> None:
        kind = self.onnx.TensorProto.FLOAT
        self.outputs.append(self.onnx.helper.make_tensor_value_info(name, kind, shape))

    def model(self) -> Any:
        """The model, checked."""
        helper = self.onnx.helper
        graph = helper.make_graph(self.nodes, "gpt2", self.inputs, self.outputs, list(self.constants.values()))
        opset = helper.make_opsetid("", OPSET)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=8, producer_name="kochat")
        self.onnx.checker.check_model(model)
        return model


def _mask(graph: _Graph) -> str:
    """What is added to the scores, (batch, 1, sequence, total): 0 for tokens before, else as good as -infinity."""
    zero, one = (graph.op("Squeeze", graph.number(value)) for value in (0, 1))
    second = graph.number(1)
    total = graph.op("Squeeze", graph.op("Gather", graph.op("Shape", "attention_mask"), second))
    new = graph.op("Squeeze", graph.op("Gather", graph.op("Shape", "input_ids"), second))
    keys = graph.op("Range", zero, total, one)
    queries = graph.op("Unsqueeze", graph.op("Range", graph.op("Sub", total, new), total, one), second)
    is_before = graph.op("LessOrEqual", keys, queries)
    is_token = graph.op("Cast", "attention_mask", to=graph.onnx.TensorProto.BOOL)
    allowed = graph.op("And", is_before, graph.op("Unsqueeze", is_token, graph.number(1, 2)))
    nothing, most = (graph.number(value, dtype="float32") for value in (0.0, MOST_NEGATIVE))
    return graph.op("Where", allowed, nothing, most)


def _attention(graph: _Graph, hidden: str, mask: str, layer: str, past: list[str], config: dict[str, Any]) -> str:
    heads, size = config["n_head"], config["n_embd"] // config["n_head"]
    both = _linear(graph, _normalized(graph, hidden, f"{layer}.ln_1", config), f"{layer}.attn.c_attn")
    by_head = [
        graph.op("Transpose", graph.op("Reshape", part, graph.number(0, 0, heads, size)), perm=[0, 2, 1, 3])
        for part in graph.split(both, 3)
    ]
    number = layer.removeprefix("h.")
    keys, values = (
        graph.op("Concat", before, new, axis=2, output=f"present.{number}.{kind}")
        for before, new, kind in zip(past, by_head[1:], ("key", "value"), strict=True)
    )
    scores = graph.op("MatMul", by_head[0], graph.op("Transpose", keys, perm=[0, 1, 3, 2]))
    scaled = graph.op("Mul", scores, graph.number(size**-0.5, dtype="float32"))
    shares = graph.op("Softmax", graph.op("Add", scaled, mask), axis=-1)
    found = graph.op("Transpose", graph.op("MatMul", shares, values), perm=[0, 2, 1, 3])
    return _linear(graph, graph.op("Reshape", found, graph.number(0, 0, config["n_embd"])), f"{layer}.attn.c_proj")


def _feed_forward(graph: _Graph, hidden: str, layer: str, config: dict[str, Any]) -> str:
    inner = _linear(graph, _normalized(graph, hidden, f"{layer}.ln_2", config), f"{layer}.mlp.c_fc")
    return _linear(graph, _gelu(graph, inner), f"{layer}.mlp.c_proj")


def _gelu(graph: _Graph, x: str) -> str:
    """GELU by its tanh: x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2."""
    cubic, root, half, one, three = (
        graph.number(value, dtype="float32") for value in (0.044715, 0.7978845608028654, 0.5, 1.0, 3.0)
    )
    inner = graph.op("Add", x, graph.op("Mul", graph.op("Pow", x, three), cubic))
    tanh = graph.op("Tanh", graph.op("Mul", inner, root))
    return graph.op("Mul", graph.op("Mul", x, graph.op("Add", tanh, one)), half)


def _linear(graph: _Graph, x: str, name: str) -> str:
    return graph.op("Add", graph.op("MatMul", x, f"{name}.weight"), f"{name}.bias")


def _normalized(graph: _Graph, x: str, name: str, config: dict[str, Any]) -> str:
    epsilon = config["layer_norm_epsilon"]
    return graph.op("LayerNormalization", x, f"{name}.weight", f"{name}.bias", axis=-1, epsilon=epsilon)
