"""Bases of other architectures: trained, resumed, talked to; what they cannot do is refused with a sentence."""

import itertools
import json

import pytest
import torch
from foreign_bases import ARCHITECTURES, write_base
from transformers import AutoModelForCausalLM, AutoTokenizer

from kochat.config import TrainingConfig
from kochat.errors import CheckpointError, KochatError, ReplyError, SettingsError
from kochat.inference.chatbot import load
from kochat.model import checkpoint
from kochat.model.prompt import SPECIALS, Prompt
from kochat.model.tokenizer import load_tokenizer
from kochat.runs import library
from kochat.sharing.gguf import export_gguf
from kochat.sharing.onnx import export_onnx
from kochat.sharing.web import export_web, weights_size
from kochat.training.events import Finished, Step, Stopped
from kochat.training.fine_tuning import fine_tune

KINDS = ["llama", "qwen3", "gpt_neox"]


@pytest.fixture(scope="module")
def bases(tmp_path_factory, sample):
    folder = tmp_path_factory.mktemp("bases")
    return {kind: write_base(folder / kind, kind, [*sample["Q"], *sample["A"]]) for kind in ARCHITECTURES}


def config(base, output, **settings):
    settings = {"data": "emotions", "rows": 12, "epochs": 1, "batch_size": 2, "learning_rate": 1e-2, **settings}
    return TrainingConfig(base=str(base), output=str(output), precision="float32", max_length=48, **settings)


def weights(folder):
    return checkpoint.load(folder, as_base=True).model.state_dict()


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("kind", KINDS)
def test_the_prompt_is_ours_whatever_the_tokenizer(bases, kind):
    tokenizer = load_tokenizer(bases[kind])
    own = AutoTokenizer.from_pretrained(bases[kind])
    for token in SPECIALS:
        assert (token in own.get_vocab()) == (kind == "llama" and token in ("</s>", "<unk>"))
    prompt = Prompt(tokenizer, 48)
    usr, mark, system, end = prompt.structure
    question, label, answer = (
        own(text, add_special_tokens=False).input_ids for text in ("12시 땡!", "0", "하루가 또 가네요.")
    )
    example = prompt.encode_example("12시 땡!", "하루가 또 가네요.", "0")
    assert example.input_ids == [usr, *question, mark, *label, system, *answer, end]
    # What is typed is text, ours and theirs.
    typed = prompt.text_ids("<sys></s><|im_start|>")
    assert not {*tokenizer.all_special_ids, *own.all_special_ids, own.convert_tokens_to_ids("<|im_start|>")} & {*typed}
    assert tokenizer.decode(typed).strip() == "<sys></s><|im_start|>"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_it_is_trained_resumed_to_the_same_weights_and_talks(bases, tmp_path, kind):
    settings = {"epochs": 2, "dropout": 0.1, "sample_questions": ("안녕",)}
    made = config(bases[kind], tmp_path / "whole", **settings)
    events = list(fine_tune(made))
    losses = [event.loss for event in events if isinstance(event, Step)]
    assert max(losses[-3:]) < min(losses[:3])
    parts = config(bases[kind], tmp_path / "parts", **settings)
    asked = itertools.count()
    assert isinstance(list(fine_tune(parts, lambda: next(asked) >= 3, tmp_path / "state"))[-1], Stopped)
    assert isinstance(list(fine_tune(parts, state=tmp_path / "state"))[-1], Finished)
    assert same(weights(tmp_path / "parts"), weights(tmp_path / "whole"))

    bot = load(tmp_path / "whole")
    assert (bot.card.architecture, bot.labels) == (kind, ["0", "1", "2"])
    ids = bot.prompt.encode_prompt("안녕", "0")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "whole")  # what is written is a plain folder
    said = plain.generate(torch.tensor([ids]), max_new_tokens=64 - len(ids))[0, len(ids) :].tolist()
    reply = bot.reply("안녕", "0")
    assert reply == bot.text_of(said)
    assert "".join(bot.stream("안녕", "0")) == reply
    assert bot.replies([("안녕", "0"), ("고마워", "2")])[0] == reply
    assert bot.reply("안녕", "0", strength=1.0) == "".join(bot.stream("안녕", "0", strength=1.0))
    assert sum(bot.predict_label("안녕").values()) == pytest.approx(1)
    assert bot.score("안녕", "반가워요", "0") < 0
    assert [step.token_id for step in bot.explain("안녕", "0")][: len(said)] == said


@pytest.mark.parametrize("kind", KINDS)
def test_new_tokens_begin_as_the_mean_of_the_others(bases, kind):
    base = checkpoint.load(bases[kind], as_base=True)
    first = len(AutoTokenizer.from_pretrained(bases[kind]))
    added = [base.tokenizer.convert_tokens_to_ids(token) for token in ("<usr>", "<sys>", "<unused1>")]
    assert min(added) >= first
    for matrix in (base.model.get_input_embeddings().weight, base.model.get_output_embeddings().weight):
        torch.testing.assert_close(matrix[added], matrix[:first].mean(0).expand(3, -1))
    assert same(base.model.state_dict(), checkpoint.load(bases[kind], as_base=True).model.state_dict())


@pytest.fixture(scope="module")
def llama(bases, tmp_path_factory):
    """A chatbot of another architecture."""
    output = tmp_path_factory.mktemp("llama") / "mine"
    list(fine_tune(config(bases["llama"], output, rows=3)))
    return output


def test_what_only_a_gpt2_can_be_is_refused_in_one_sentence(llama, tmp_path):
    (tmp_path / "home" / "checkpoints").mkdir()
    (tmp_path / "home" / "checkpoints" / "mine").symlink_to(llama)
    archive = library.pack("mine", tmp_path)
    (tmp_path / "home" / "checkpoints" / "mine").unlink()
    for ask in (
        lambda: export_web(llama, tmp_path / "bot.html"),
        lambda: weights_size(llama),
        lambda: export_onnx(llama, tmp_path / "onnx"),
        lambda: export_gguf(llama, tmp_path / "bot.gguf"),
        lambda: library.unpack(archive),
    ):
        with pytest.raises(CheckpointError) as raised:
            ask()
        assert raised.value.key == "only_gpt2"
        assert "llama" in raised.value.text("ko")
    assert not {"bot.html", "onnx", "bot.gguf"} & {path.name for path in tmp_path.iterdir()}


def test_its_size_is_read_from_its_config(llama):
    width, parameters = checkpoint.size_of(llama)
    assert (width, parameters > 0) == (32, True)


def test_a_base_that_never_saw_our_prompt_does_not_talk(bases, llama, monkeypatch):
    monkeypatch.setattr("kochat.model.hub.fetch", lambda source: bases["llama"])
    with pytest.raises(ReplyError) as raised:
        load("somebody/llama")
    assert raised.value.key == "not_for_chat"


def test_a_checkpoint_that_lacks_embeddings_is_damaged_and_not_made_up(llama, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(llama)
    tokenizer.add_tokens(["새로운"])
    tokenizer.save_pretrained(llama)
    with pytest.raises(CheckpointError) as raised:
        load(llama)
    assert raised.value.key == "damaged_checkpoint"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "not_a_causal_lm"),
        ({"model_type": "mamba", "architectures": ["MambaForCausalLM"]}, "not_a_causal_lm"),
        ({"model_type": "ours", "auto_map": {"AutoModelForCausalLM": "evil.C"}}, "not_a_causal_lm"),
        ({"num_hidden_layers": 3}, "damaged_checkpoint"),
    ],
)
def test_a_base_of_no_known_kind_or_without_all_weights_is_refused(bases, tmp_path, sample, changes, reason):
    folder = write_base(tmp_path / "base", "llama", list(sample["Q"]))
    found = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps(found | changes), "utf-8")
    with pytest.raises(KochatError) as raised:
        next(fine_tune(config(folder, tmp_path / "mine")))
    assert raised.value.key == reason


def test_what_its_base_cannot_do_is_said_before_the_first_step(bases, tmp_path):
    with pytest.raises(SettingsError, match="calibrate is True, but must be off for a base that is no GPT-2"):
        next(fine_tune(config(bases["llama"], tmp_path / "mine", calibrate=True)))
