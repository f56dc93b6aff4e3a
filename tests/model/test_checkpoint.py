"""Checkpoints: written whole or not at all, loaded strictly, named safely, listed in order."""

import errno
import json
import lzma
import os
import shutil
import stat

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from transformers import GPT2LMHeadModel, PreTrainedTokenizerFast

from kochat.errors import CheckpointError
from kochat.inference import chatbot
from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.model.checkpoint import folder_of, list_checkpoints, load, read_card, record, safe_name, save

WEIGHTS = "model.safetensors"


def refusal(call, *arguments, **options) -> CheckpointError:
    with pytest.raises(CheckpointError) as caught:
        call(*arguments, **options)
    return caught.value


def edit_json(path, **values):
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **values}), "utf-8")


# Save and load.


def test_what_is_saved_is_loaded_again(tmp_path, model, tokenizer):
    card = Card(labels=["0", "우산장수"], max_length=64, strength=2.5, sources=["emotions"], base="kochat-mini")
    path = save(tmp_path / "deep" / "mine", model, tokenizer, card)
    loaded = load(path)
    assert (path, loaded.name, loaded.card) == (tmp_path / "deep" / "mine", "mine", card)
    saved, read = model.state_dict(), loaded.model.state_dict()
    assert saved.keys() == read.keys()
    assert all(torch.equal(saved[name], read[name]) for name in saved)
    assert loaded.tokenizer.get_vocab() == tokenizer.get_vocab()
    assert loaded.tokenizer("12시 땡! 😀").input_ids == tokenizer("12시 땡! 😀").input_ids
    assert load(str(path)).card == card


def test_a_checkpoint_is_called_by_its_folder_however_it_is_reached(tiny_checkpoint, monkeypatch):
    monkeypatch.chdir(tiny_checkpoint)
    assert load(".").name == load("../tiny/").name == "tiny"


def test_a_checkpoint_is_a_plain_transformers_folder(tiny_checkpoint, model, tokenizer):
    assert {"config.json", WEIGHTS, "tokenizer.json", "kochat.json", "README.md"} <= set(os.listdir(tiny_checkpoint))
    plain = GPT2LMHeadModel.from_pretrained(tiny_checkpoint)
    assert torch.equal(plain.lm_head.weight, model.lm_head.weight)
    assert PreTrainedTokenizerFast.from_pretrained(tiny_checkpoint).eos_token_id == tokenizer.eos_token_id
    assert not [path for path in tiny_checkpoint.iterdir() if path.suffix in (".bin", ".pt", ".pkl")]
    assert stat.S_IMODE(tiny_checkpoint.stat().st_mode) == 0o755


@pytest.mark.parametrize(("dtype", "bytes_each"), [("float32", 4), ("float16", 2), ("bfloat16", 2)])
def test_every_weight_is_written_once(tmp_path, model, tokenizer, dtype, bytes_each):
    path = checkpoint.save(tmp_path / "saved", model, tokenizer, Card(labels=["0"]), dtype) / "model.safetensors"
    with safe_open(path, "pt") as file:
        names = set(file.keys())
    # The matrix of the vocabulary is the first layer and the last.
    assert names == set(model.state_dict()) - {"lm_head.weight"}
    assert 0 <= path.stat().st_size - bytes_each * model.num_parameters() < 4096


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weights_saved_small_are_loaded_as_float32(tmp_path, model, tokenizer, dtype):
    path = save(tmp_path / "small", model, tokenizer, Card(), dtype)
    assert {tensor.dtype for tensor in load_file(path / WEIGHTS).values()} == {getattr(torch, dtype)}
    loaded = load(path).model
    assert {tensor.dtype for tensor in loaded.state_dict().values()} == {torch.float32}
    assert model.dtype == torch.float32  # the model that was saved stays as it is
    for name, tensor in model.state_dict().items():
        rounded = tensor.to(getattr(torch, dtype)).float()
        assert torch.equal(loaded.state_dict()[name], rounded)
        torch.testing.assert_close(rounded, tensor, rtol=0.01, atol=1e-4)


def test_a_name_that_is_taken_is_refused_and_what_is_there_stays(tiny_checkpoint, tmp_path, model, tokenizer):
    before = (tiny_checkpoint / WEIGHTS).stat().st_mtime_ns
    assert refusal(save, tiny_checkpoint, model, tokenizer, Card()).key == "name_taken"
    assert (tiny_checkpoint / WEIGHTS).stat().st_mtime_ns == before
    (tmp_path / "file").touch()
    assert refusal(save, tmp_path / "file", model, tokenizer, Card()).key == "name_taken"
    assert refusal(save, " ", model, tokenizer, Card()).key == "unsafe_name"


# The three ways in which a full disk is told, seen on one: by Python, by safetensors, by tokenizers.
FULL = [
    OSError(errno.ENOSPC, "No space left on device"),
    SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    Exception("No space left on device (os error 28)"),
]


@pytest.mark.parametrize("error", FULL, ids=["python", "safetensors", "tokenizers"])
@pytest.mark.parametrize("step", ["model.gpt2.save_model", "model.checkpoint.write_card", "files._sync"])
def test_a_full_disk_is_told_in_a_sentence_and_leaves_nothing(tmp_path, monkeypatch, model, tokenizer, step, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(f"kochat.{step}", fail)
    assert refusal(save, tmp_path / "new" / "mine", model, tokenizer, Card()).key == "disk_full"
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O error"), RuntimeError("a bug"), KeyboardInterrupt()])
def test_any_other_failure_comes_through_and_leaves_nothing(tmp_path, monkeypatch, model, tokenizer, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(PreTrainedTokenizerFast, "save_pretrained", fail)
    with pytest.raises(type(error)) as caught:
        save(tmp_path / "new" / "mine", model, tokenizer, Card())
    assert caught.value is error
    assert list((tmp_path / "new").iterdir()) == []
    monkeypatch.undo()
    assert load(save(tmp_path / "new" / "mine", model, tokenizer, Card())).name == "mine"


# Its pairs.

PAIRS = [
    ("12시 땡!", "하루가 또 가네요.", "0"),
    ('쉼표, "따옴표"', "두 줄\n답장\r\n이에요\r", "우산장수"),
    ("😀", " =1+1 ", "2"),
    ("12시 땡!", "하루가 또 가네요.", "0"),
]


def test_pairs_are_kept_as_they_are_and_read_when_they_are_asked_for(tmp_path, model, tokenizer):
    longest = ("가" * 799, "", "0")
    rows = [*PAIRS, longest, ("가" * 799, "나", "0"), ("반쪽 \ud83d", "?", "0")]
    path = save(tmp_path / "mine", model, tokenizer, Card(labels=["0"]), pairs=rows)
    assert load(path).pairs == [*PAIRS, longest, ("반쪽 ?", "?", "0")]
    kept = load(path)
    (path / checkpoint.PAIRS_FILE).unlink()
    assert kept.pairs == []


def test_validation_pairs_are_kept_beside_them_and_an_older_folder_has_none(tmp_path, model, tokenizer):
    path = save(tmp_path / "mine", model, tokenizer, Card(labels=["0"]), pairs=PAIRS[:1], validation=PAIRS)
    assert (load(path).pairs, load(path).validation) == (PAIRS[:1], PAIRS)
    (path / "validation.csv.xz").write_bytes(b"garbage")
    error = refusal(lambda: load(path).validation)
    assert (error.key, error.values) == ("damaged_checkpoint", {"name": "mine"})
    (path / "validation.csv.xz").unlink()
    assert load(path).validation == []


def packed_pairs(text="", rows=0):
    return lzma.compress(("Q,A,label\n" + text + "안녕,반가워요,0\n" * rows).encode())


@pytest.mark.parametrize(
    ("content", "is_good"),
    [
        (packed_pairs("a,b,c\n"), True),
        (packed_pairs(rows=25_000), True),
        (packed_pairs(rows=25_001), False),
        (packed_pairs("a,b\n"), False),
        (packed_pairs('"a,b,c\n'), False),  # the quote never ends
        (packed_pairs(f"{'a' * 2**18},b,c\n"), False),
        (lzma.compress(b"question,answer,label\n"), False),
        (lzma.compress(b"Q,A,label\n\xff,b,c\n"), False),
        (lzma.compress(b"Q,A,label\n" + b"\n" * 2**26), False),  # of 10 KB
        (packed_pairs("a,b,c\n")[:-20], False),
        (b"garbage", False),
        (b"", False),
    ],
)
def test_pairs_that_are_damaged_or_too_many_are_refused(tiny_checkpoint, content, is_good):
    (tiny_checkpoint / checkpoint.PAIRS_FILE).write_bytes(content)
    if is_good:
        assert len(load(tiny_checkpoint).pairs) in (1, 25_000)
        return
    error = refusal(lambda: load(tiny_checkpoint).pairs)
    assert (error.key, error.values) == ("damaged_checkpoint", {"name": "tiny"})
    assert refusal(chatbot.load, tiny_checkpoint).key == "damaged_checkpoint"


# Names.


@pytest.mark.parametrize("name", ["mine", "나의-봇_2", "a" * 60, "_x", "가" * 60, "Ünïcode", "내 봇", "v1.2 새 것"])
def test_names_of_letters_digits_and_dashes_are_folders(name, home):
    assert safe_name(f" {name}\n") == name
    assert folder_of(name) == home / "checkpoints" / name


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "../x",
        "..",
        ".",
        "a/b",
        "/a",
        "a\\b",
        "a..b",
        ".a",
        "a.",
        "-a",
        "a  b",
        "a\nb",
        "a\0b",
        "a" * 61,
        "😀",
        "con.x",
    ],
)
def test_names_that_could_leave_their_folder_are_refused(name):
    error = refusal(folder_of, name)
    assert (error.key, error.values["longest"]) == ("unsafe_name", 60)


# What cannot be loaded.


def test_a_path_with_nothing_there_is_named(tmp_path):
    assert str(refusal(load, tmp_path / "none")).startswith(f"There is no checkpoint {tmp_path}/none.")
    assert refusal(load, "checkpoints/none").key == "no_checkpoint"
    assert refusal(load, "").key == "no_checkpoint"
    assert refusal(load, "nobody").key == "no_checkpoint"


def test_a_bare_name_is_that_of_the_list_where_no_folder_is_called_so(home, model, tokenizer, tmp_path, monkeypatch):
    listed = save(home / "checkpoints" / "내-챗봇-2", model, tokenizer, Card(labels=["0"]))
    assert load("내-챗봇-2").folder == listed
    assert load("내-챗봇-2", as_base=True).name == "내-챗봇-2"
    monkeypatch.chdir(tmp_path)
    here = save(tmp_path / "내-챗봇-2", model, tokenizer, Card(labels=["0"]))
    assert load("내-챗봇-2").folder == here
    (listed / "config.json").write_text("{")
    (listed / "kochat.json").write_text("{")
    monkeypatch.chdir(home)
    assert refusal(load, "내-챗봇-2").key == "damaged_checkpoint"


@pytest.mark.parametrize("file", ["config.json", WEIGHTS, "tokenizer.json", "kochat.json"])
def test_an_incomplete_folder_names_what_is_missing(tiny_checkpoint, file):
    (tiny_checkpoint / file).unlink()
    error = refusal(load, tiny_checkpoint)
    assert (error.key, error.values) == ("incomplete_checkpoint", {"name": "tiny", "missing": file})


def test_a_base_may_lack_the_card_and_have_its_weights_in_a_bin(tiny_checkpoint):
    (tiny_checkpoint / "kochat.json").unlink()
    assert load(tiny_checkpoint, as_base=True).card.labels == []
    torch.save(load_file(tiny_checkpoint / WEIGHTS), tiny_checkpoint / "pytorch_model.bin")
    (tiny_checkpoint / WEIGHTS).unlink()
    assert load(tiny_checkpoint, as_base=True).name == "tiny"
    (tiny_checkpoint / "pytorch_model.bin").unlink()
    assert refusal(load, tiny_checkpoint, as_base=True).values["missing"] == WEIGHTS


def truncate(folder):
    weights = folder / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-100])


def flip_a_byte(folder):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)


def leave_out_a_weight(folder):
    weights = load_file(folder / WEIGHTS)
    del weights["transformer.h.1.mlp.c_fc.bias"]
    save_file(weights, folder / WEIGHTS, {"format": "pt"})


def put_in_nan(folder):
    weights = load_file(folder / WEIGHTS)
    weights["transformer.ln_f.bias"][0] = torch.nan
    save_file(weights, folder / WEIGHTS, {"format": "pt"})


def without_checksum(damage):
    """The same damage where no checksum finds it."""

    def both(folder):
        damage(folder)
        edit_json(folder / "kochat.json", weights_sha256="")

    return both


DAMAGES = {
    "truncated": truncate,
    "one byte flipped": flip_a_byte,
    "truncated, no checksum": without_checksum(truncate),
    "empty weights": without_checksum(lambda folder: (folder / WEIGHTS).write_bytes(b"")),
    "a weight left out": without_checksum(leave_out_a_weight),
    "a weight that is no number": without_checksum(put_in_nan),
    "other width": lambda folder: edit_json(folder / "config.json", n_embd=16),
    "fewer layers": lambda folder: edit_json(folder / "config.json", n_layer=1),
    "more layers": lambda folder: edit_json(folder / "config.json", n_layer=3),
    "width in words": lambda folder: edit_json(folder / "config.json", n_embd="eight"),
    "config of no model": lambda folder: (folder / "config.json").write_text("{}"),
    "config that is a list": lambda folder: (folder / "config.json").write_text("[]"),
    "config garbage": lambda folder: (folder / "config.json").write_text("{garbage"),
    "tokenizer garbage": lambda folder: (folder / "tokenizer.json").write_text("{garbage"),
    "tokenizer that is a list": lambda folder: (folder / "tokenizer.json").write_text("[]"),
    "tokenizer empty": lambda folder: (folder / "tokenizer.json").write_text(""),
    "card garbage": lambda folder: (folder / "kochat.json").write_text("{garbage"),
    "card that is a list": lambda folder: (folder / "kochat.json").write_text("[]"),
    "card of bytes": lambda folder: (folder / "kochat.json").write_bytes(b"\xff\xfe\x00"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_is_refused(tiny_checkpoint, damage):
    damage(tiny_checkpoint)
    error = refusal(load, tiny_checkpoint)
    assert (error.key, error.values) == ("damaged_checkpoint", {"name": "tiny"})


def test_a_model_of_another_kind_is_refused_by_its_kind(tiny_checkpoint):
    edit_json(tiny_checkpoint / "config.json", model_type="bert")
    assert str(refusal(load, tiny_checkpoint)).startswith("tiny is a bert model, which kochat cannot train.")


def test_code_in_a_folder_is_not_run(tiny_checkpoint, tmp_path):
    (tiny_checkpoint / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass C: pass\n")
    edit_json(tiny_checkpoint / "config.json", auto_map={"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.C"})
    assert load(tiny_checkpoint).name == "tiny"

    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "ran"), "w")

    (tiny_checkpoint / WEIGHTS).unlink()
    (tiny_checkpoint / "kochat.json").unlink()
    torch.save({"transformer.wte.weight": Evil()}, tiny_checkpoint / "pytorch_model.bin")
    assert refusal(load, tiny_checkpoint, as_base=True).key == "damaged_checkpoint"
    assert not (tmp_path / "ran").exists()


def test_a_card_of_a_later_version_is_read_as_far_as_it_is_known(tiny_checkpoint):
    edit_json(tiny_checkpoint / "kochat.json", of_a_later_version=1)
    assert read_card(tiny_checkpoint).labels == ["0", "1", "2"]


# The list.


@pytest.fixture
def listed(home, tmp_path, monkeypatch, tiny_checkpoint, tiny_base):
    """Put a copy of the tiny checkpoint (or base) into the list, made at `second`; none is shipped but by `shipped`."""
    monkeypatch.setattr(checkpoint, "SHIPPED_CHECKPOINTS", tmp_path / "shipped")

    def put(name, second=0, base=False, shipped=False):
        path = (tmp_path / "shipped" if shipped else home / "checkpoints") / name
        shutil.copytree(tiny_base if base else tiny_checkpoint, path)
        os.utime(path, (second, second))
        return path

    return put


def test_the_list_has_kochat_mini_first_then_what_was_trained_newest_first(listed):
    assert list_checkpoints() == {}
    listed("old", 10)
    paths = [listed("new", 30), listed("middle", 20)]
    mini, other = listed("kochat-mini", shipped=True), listed("another", shipped=True)
    found = list_checkpoints()
    assert list(found) == ["kochat-mini", "new", "middle", "old", "another"]
    assert (found["kochat-mini"], found["new"], found["middle"], found["another"]) == (mini, *paths, other)


def test_the_list_leaves_out_what_is_hidden_incomplete_or_damaged(listed, home):
    listed("good")
    listed(".mine-abc123")
    (listed("incomplete") / WEIGHTS).unlink()
    (listed("damaged") / "kochat.json").write_text("{garbage")
    (home / "checkpoints" / "a file").touch()
    assert list(list_checkpoints()) == list(list_checkpoints(for_chat=False)) == ["good"]


def test_bases_are_listed_only_for_training(listed):
    listed("base", 20, base=True)
    listed("bot", 10)
    assert list(list_checkpoints()) == ["bot"]
    assert list(list_checkpoints(for_chat=False)) == ["base", "bot"]


def test_a_shipped_name_is_listed_once(listed):
    shipped = listed("kochat-mini", shipped=True)
    listed("kochat-mini")
    assert list_checkpoints() == {"kochat-mini": shipped}


# Figures.


def test_figures_are_added_to_the_card_and_the_weights_stay(tiny_checkpoint):
    weights = (tiny_checkpoint / WEIGHTS).read_bytes()
    record(tiny_checkpoint, {"seconds": 1.5})
    record(tiny_checkpoint, {"note": "안녕"})
    loaded = load(tiny_checkpoint)
    assert loaded.card.metrics == {"seconds": 1.5, "note": "안녕"}
    assert (tiny_checkpoint / WEIGHTS).read_bytes() == weights
    assert "# tiny\n" in (tiny_checkpoint / "README.md").read_text("utf-8")
    (tiny_checkpoint / "kochat.json").unlink()
    assert refusal(record, tiny_checkpoint, {}).key == "incomplete_checkpoint"
