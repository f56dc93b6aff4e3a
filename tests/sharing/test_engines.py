"""The exports for other engines: ONNX in onnxruntime, GGUF in transformers and llama.cpp, and what their cards say."""

import json
import os
import sys

import pytest
import torch
from conftest import MINI
from transformers import AutoModelForCausalLM, AutoTokenizer
from typer.testing import CliRunner

from kochat.cli.main import app as commands
from kochat.errors import CheckpointError, ReplyError
from kochat.inference.chatbot import Chatbot, load
from kochat.model import checkpoint
from kochat.sharing.engines import chatbot_for_engines
from kochat.sharing.gguf import export_gguf
from kochat.sharing.onnx import export_onnx


@pytest.fixture(scope="module")
def onnx_folder(tmp_path_factory):
    """kochat-mini as ONNX."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    return export_onnx(MINI, tmp_path_factory.mktemp("onnx") / "mini")


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory):
    """kochat-mini as GGUF."""
    pytest.importorskip("gguf")
    return export_gguf(MINI, tmp_path_factory.mktemp("gguf") / "mini.gguf")


def asked_of(bot: Chatbot, number: int) -> list[tuple[str, str]]:
    questions = [question for question, _, _ in checkpoint.load(MINI).validation][:number]
    return [(question, bot.labels[i % len(bot.labels)]) for i, question in enumerate(questions)]


def greedy(session, bot: Chatbot, prompts: list[list[int]], steps: int) -> list[str]:
    """The replies to prompts of different lengths at once, by way of the KV cache; empty tokens stand before."""
    numpy = pytest.importorskip("numpy")
    longest, rows, config = max(map(len, prompts)), len(prompts), bot.weights.config
    new = numpy.array([[bot.tokenizer.pad_token_id] * (longest - len(ids)) + ids for ids in prompts])
    mask = numpy.array([[0] * (longest - len(ids)) + [1] * len(ids) for ids in prompts])
    names = [one.name for one in session.get_outputs()]
    shape = (rows, config["n_head"], 0, config["n_embd"] // config["n_head"])
    past = {name.replace("present", "past_key_values"): numpy.zeros(shape, "float32") for name in names[1:]}
    replies, is_open = [[] for _ in prompts], [True] * rows
    for _ in range(steps):
        places = numpy.maximum(mask.cumsum(1) - 1, 0)[:, -new.shape[1] :]
        values = session.run(None, {"input_ids": new, "attention_mask": mask, "position_ids": places, **past})
        past = dict(zip(past, values[1:], strict=True))
        tokens = values[0][:, -1].argmax(1)
        for i, token in enumerate(tokens.tolist()):
            is_open[i] = is_open[i] and token != bot.tokenizer.eos_token_id
            replies[i] += [token] * is_open[i]
        new, mask = tokens[:, None], numpy.concatenate([mask, numpy.ones((rows, 1), mask.dtype)], 1)
        if not any(is_open):
            break
    return [bot.tokenizer.decode(ids).strip() for ids in replies]


def test_onnx_replies_as_python_without_strength(onnx_folder):
    runtime, bot = pytest.importorskip("onnxruntime"), load(MINI)
    asked = asked_of(bot, 100)
    prompts = [bot.prompt.encode_prompt(*one) for one in asked]
    session = runtime.InferenceSession(onnx_folder / "onnx" / "model.onnx")
    assert greedy(session, bot, prompts, steps=64) == bot.replies(asked, 0.0)
    small = runtime.InferenceSession(onnx_folder / "onnx" / "model_quantized.onnx")
    assert greedy(small, bot, [bot.prompt.encode_prompt("12시 땡!", "0")], steps=64) == ["하루가 또 가네요."]


def test_the_onnx_folder_is_laid_out_as_transformers_js_expects(onnx_folder):
    files = {path.relative_to(onnx_folder).as_posix() for path in onnx_folder.rglob("*") if path.is_file()}
    wanted = {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "README.md"}
    assert files == wanted | {"onnx/model.onnx", "onnx/model_quantized.onnx"}
    bot, tokenizer = load(MINI), AutoTokenizer.from_pretrained(onnx_folder)
    question = [{"role": "user", "content": "남자친구랑 헤어졌어"}]
    for label in (*bot.labels, ""):
        ids = tokenizer.apply_chat_template(question, label=label, return_dict=True)["input_ids"]
        assert ids == bot.prompt.encode_prompt("남자친구랑 헤어졌어", label or None)
    first = tokenizer.apply_chat_template(question, return_dict=True)["input_ids"]
    assert first == bot.prompt.encode_prompt("남자친구랑 헤어졌어", "0")
    config = json.loads((onnx_folder / "config.json").read_text("utf-8"))
    assert (config["model_type"], config["vocab_size"]) == ("gpt2", 6400)
    card = (onnx_folder / "README.md").read_text("utf-8")
    for said in ("cannot be strengthened", "not predicted", "not cut", "transformers.js", "license: mit"):
        assert said in card, said


def test_gguf_is_read_back_by_transformers(gguf_file):
    bot = load(MINI)
    # transformers takes the number of positions of a GPT-2 for 1,024, whatever the file says.
    positions = bot.weights.config["n_positions"]
    read = AutoModelForCausalLM.from_pretrained(
        gguf_file.parent, gguf_file=gguf_file.name, dtype=torch.float32, n_positions=positions
    )
    found = {name.removeprefix("transformer."): tensor for name, tensor in read.state_dict().items()}
    assert found.keys() - {"lm_head.weight"} == bot.weights.tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in bot.weights.tensors.items())
    card = gguf_file.with_suffix(".md").read_text("utf-8")
    for said in ("cannot be strengthened", "not predicted", "not cut", "llama.cpp", "NFC"):
        assert said in card, said


def test_llama_cpp_splits_texts_and_replies_alike(gguf_file):
    llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed: it takes a C++ compiler")
    from test_web import texts_to_encode

    bot = load(MINI)
    engine = llama_cpp.Llama(str(gguf_file), n_ctx=bot.weights.config["n_positions"], verbose=False)
    normalize = bot.prompt.text_tokenizer.normalizer.normalize_str
    for text in map(str.strip, texts_to_encode(5000)):
        clean = normalize(text)
        spaced = clean if clean.startswith("▁") or not clean else " " + clean
        assert engine.tokenize(spaced.encode(), add_bos=False) == bot.prompt.text_ids(text), ascii(text)
    equal, asked = 0, asked_of(bot, 50)
    for (question, label), reply in zip(asked, bot.replies(asked, 0.0), strict=True):
        prompt = f"<usr> {question}<unused1> {label}<sys>".encode()
        ids = engine.tokenize(prompt, add_bos=False, special=True)
        assert ids == bot.prompt.encode_prompt(question, label)
        said = engine.create_completion(ids, max_tokens=64, temperature=0, repeat_penalty=1)["choices"][0]["text"]
        equal += said.strip() == reply
    assert equal >= 45  # its GELU is a table of 16 bits


def test_a_package_that_is_missing_is_named(tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(CheckpointError, match="needs the package onnx"):
        export_onnx(tiny_checkpoint, tmp_path / "new")
    with pytest.raises(CheckpointError, match="needs the package gguf"):
        export_gguf(tiny_checkpoint, tmp_path / "new.gguf")
    assert not list(tmp_path.glob("new*"))


def test_what_no_engine_computes_is_refused(tiny_base, tiny_checkpoint):
    loaded = checkpoint.load(tiny_checkpoint)
    loaded.weights.config["activation_function"] = "relu"
    with pytest.raises(CheckpointError) as raised:
        chatbot_for_engines(loaded)
    assert raised.value.key == "engine_unknown"
    with pytest.raises(ReplyError):
        chatbot_for_engines(checkpoint.load(tiny_base))


def test_the_commands_say_where_the_exports_are(tiny_checkpoint, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("gguf")
    run, folder, file = CliRunner().invoke, tmp_path / "onnx", tmp_path / "bot.gguf"
    assert (
        f"{folder} is ready" in run(commands, ["export", "onnx", str(tiny_checkpoint), "--output", str(folder)]).output
    )
    assert f"{file} is ready" in run(commands, ["export", "gguf", str(tiny_checkpoint), "--output", str(file)]).output
    with pytest.raises(CheckpointError, match="already"):
        export_onnx(tiny_checkpoint, folder)
    assert sorted(os.listdir(tmp_path / "onnx" / "onnx")) == ["model.onnx", "model_quantized.onnx"]
