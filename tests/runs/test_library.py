"""Keeping checkpoints: renamed, deleted, out as a zip and in again; what must not come in."""

import json
import lzma
import os
import shutil
import stat
import unicodedata
import zipfile
from dataclasses import replace

import pytest
import torch

from kochat.config import TrainingConfig
from kochat.data import pairs
from kochat.errors import CheckpointError
from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.runs import library, queue


@pytest.fixture
def own(home, model, tokenizer):
    """A checkpoint of one's own, called mine."""
    card, pairs = Card(labels=["0", "1"], max_length=64), [("안녕", "반가워요, 정말", "0")]
    return checkpoint.save(home / "checkpoints" / "mine", model, tokenizer, card, pairs=pairs)


def names():
    return [name for name in checkpoint.list_checkpoints(for_chat=False) if name != "kochat-mini"]


def test_a_renamed_checkpoint_says_its_new_name_and_talks(own, home):
    assert library.rename("mine", "우리-봇") == home / "checkpoints" / "우리-봇"
    assert names() == ["우리-봇"]
    assert "# 우리-봇" in (home / "checkpoints" / "우리-봇" / "README.md").read_text("utf-8")
    assert checkpoint.load(home / "checkpoints" / "우리-봇").card.labels == ["0", "1"]
    for taken in ("kochat-mini", "우리-봇", "../x"):
        with pytest.raises(CheckpointError):
            library.rename("우리-봇", taken)


def test_a_deleted_checkpoint_is_gone(own, home):
    library.delete("mine")
    assert names() == []
    assert list((home / "checkpoints").iterdir()) == []


def test_the_shipped_one_and_one_that_a_run_works_with_stay(own, home):
    queue.create(TrainingConfig(data="emotions", base=str(own), output=str(home / "checkpoints" / "next")))
    for change in (library.delete, lambda name: library.rename(name, "other")):
        with pytest.raises(CheckpointError, match="comes with kochat"):
            change("kochat-mini")
        with pytest.raises(CheckpointError, match="in use by the run “next”"):
            change("mine")
        with pytest.raises(CheckpointError, match="no checkpoint"):
            change("nothing")
    assert names() == ["mine"]


def test_uploads_go_after_a_day_unless_a_run_or_a_checkpoint_needs_them(own, home):
    kept = [pairs.keep(f"Q,A\n{name},네\n".encode(), f"{name}.csv", home / "uploads") for name in "abcd"]
    of_run, of_checkpoint, _new, old = kept
    queue.create(TrainingConfig(data=str(of_run), base=str(own), output=str(home / "checkpoints" / "next")))
    checkpoint.write_card(own, "mine", replace(checkpoint.read_card(own), data={"source": "b"}))
    copy = of_run.with_name("copy.csv")
    copy.write_bytes(of_run.read_bytes())
    for path in (of_run, of_checkpoint, old, copy):
        os.utime(path, (0, 0))
    library.forget_uploads()
    assert [path.is_file() for path in kept] == [True, True, True, False]
    assert not old.parent.exists()
    assert not copy.exists()
    shutil.rmtree(home / "uploads")
    library.forget_uploads()  # none at all


def test_out_as_a_zip_and_in_again_it_is_the_same(own, home, tmp_path):
    packed = library.pack("mine", tmp_path)
    before = checkpoint.load(own)
    with pytest.raises(CheckpointError, match="already"):
        library.unpack(packed)
    library.delete("mine")
    after = checkpoint.load(library.unpack(packed))
    assert names() == ["mine"]
    assert after.card == before.card
    assert after.pairs == [("안녕", "반가워요, 정말", "0")]
    assert (home / "checkpoints" / "mine" / "README.md").read_text("utf-8").startswith("---\nlanguage: ko")
    assert torch.equal(after.model.transformer.wte.weight, before.model.transformer.wte.weight)


def test_files_without_a_folder_take_the_name_of_the_zip(own, tmp_path):
    with zipfile.ZipFile(tmp_path / "flat.zip", "w") as archive:
        for file in own.iterdir():
            archive.write(file, file.name)
    assert library.unpack(tmp_path / "flat.zip").name == "flat"


def repacked(own, path, folder, litter=(), raw=None):
    """A checkpoint as Finder or Explorer packs it; `raw` is the folder's name in bytes, without the flag of UTF-8."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in litter:
            archive.writestr(name, b"\0")
        for file in own.iterdir():
            archive.writestr(f"{folder}/{file.name}", file.read_bytes())
    if raw is not None:
        assert len(raw) == len(folder)
        path.write_bytes(path.read_bytes().replace(folder.encode(), raw))
    return path


def test_what_finder_and_explorer_leave_in_a_zip_is_left_out(own, tmp_path):
    litter = ["__MACOSX/._내 봇", "__MACOSX/내 봇/._config.json", "내 봇/.DS_Store", "desktop.ini", "내 봇/Thumbs.db"]
    assert library.unpack(repacked(own, tmp_path / "x.zip", "내 봇", litter)).name == "내 봇"


def test_a_folder_around_the_folder_is_no_matter(own, tmp_path):
    assert library.unpack(repacked(own, tmp_path / "x.zip", "받은 것/우리 봇")).name == "우리 봇"


@pytest.mark.parametrize(
    "raw", ["내봇".encode("cp949"), "내봇".encode(), unicodedata.normalize("NFD", "내봇").encode()]
)
def test_the_name_of_a_folder_is_decoded_as_it_was_meant(own, tmp_path, raw):
    assert library.unpack(repacked(own, tmp_path / "x.zip", "x" * len(raw), raw=raw)).name == "내봇"


def test_a_folder_that_cannot_be_a_name_takes_that_of_the_zip(own, tmp_path):
    assert library.unpack(repacked(own, tmp_path / "봇 2.zip", "?!")).name == "봇 2"
    assert library.unpack(repacked(own, tmp_path / "mybot (1).zip", "?!")).name == "mybot 1"


@pytest.mark.parametrize("name", ["내 봇", "v1.2"])
def test_every_name_that_a_training_may_have_comes_back_out_of_its_own_zip(own, tmp_path, name):
    library.rename("mine", name)
    packed = library.pack(name, tmp_path)
    library.delete(name)
    assert library.unpack(packed).name == name
    assert checkpoint.load(name).name == checkpoint.load(unicodedata.normalize("NFD", name)).name == name


def link(name):
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


@pytest.mark.parametrize(
    "name",
    [
        "new/pytorch_model.bin",
        "new/model.py",
        "../evil.json",
        "/etc/evil.json",
        "new/../../evil.json",
        "new/b/c.json",
        "new\\..\\evil.json",
        "new/.hidden.json",
        link("new/config-link.json"),
    ],
)
def test_what_does_not_belong_into_a_checkpoint_is_refused(own, home, tmp_path, name):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for file in own.iterdir():
            archive.write(file, f"new/{file.name}")
        archive.writestr(name, "{}")
    with pytest.raises(CheckpointError, match=r"does not belong|could not be read as the zip"):
        library.unpack(tmp_path / "x.zip")
    assert names() == ["mine"]
    assert not list(tmp_path.glob("**/evil.json"))
    assert [path.name for path in (home / "checkpoints").iterdir()] == ["mine"]


def packed_as(own, path, change):
    with zipfile.ZipFile(path, "w") as archive:
        for file in own.iterdir():
            change(archive, file)
    return path


def with_file(name, text):
    """What puts another text in the place of one file."""
    return lambda archive, file: archive.writestr(f"new/{file.name}", text if file.name == name else file.read_bytes())


@pytest.mark.slow
def test_a_broken_incomplete_or_oversized_one_is_refused(own, home, tmp_path, monkeypatch):
    def refused(path, sentence):
        with pytest.raises(CheckpointError, match=sentence):
            library.unpack(path)
        assert [path.name for path in (home / "checkpoints").iterdir()] == ["mine"]

    (tmp_path / "no.zip").write_bytes(b"PK no zip")
    refused(tmp_path / "no.zip", "could not be read as the zip")

    def without_weights(archive, file):
        if file.suffix != ".safetensors":
            archive.write(file, f"new/{file.name}")

    refused(packed_as(own, tmp_path / "less.zip", without_weights), "less.zip is incomplete: model.safetensors")

    def torn(archive, file):
        data = file.read_bytes()
        archive.writestr(f"new/{file.name}", data[: len(data) // 2] if file.suffix == ".safetensors" else data)

    refused(packed_as(own, tmp_path / "torn.zip", torn), "torn.zip is damaged")

    def untrained(archive, file):
        card = {**json.loads((own / "kochat.json").read_text("utf-8")), "labels": []}
        archive.writestr(f"new/{file.name}", json.dumps(card) if file.name == "kochat.json" else file.read_bytes())

    refused(packed_as(own, tmp_path / "base.zip", untrained), "was not trained to answer")
    bomb = lzma.compress(bytes(2**27))
    refused(packed_as(own, tmp_path / "bomb.zip", with_file("pairs.csv.xz", bomb)), "bomb.zip is damaged")
    config = json.loads((own / "config.json").read_text("utf-8"))
    for nonsense in (
        {"n_inner": 10**9},
        {"n_embd": float("inf")},
        {"n_layer": -1},
        {"auto_map": {"AutoModel": "x.Y"}},
        {"quantization_config": {"load_in_8bit": True}},
        {"attn_implementation": "a/kernel"},
    ):
        changed = json.dumps({**config, **nonsense})
        refused(
            packed_as(own, tmp_path / "odd.zip", with_file("config.json", changed)), "odd.zip is damaged|read as the"
        )
    refused(packed_as(own, tmp_path / "list.zip", with_file("config.json", "[]")), "could not be read as the zip")
    card = json.loads((own / "kochat.json").read_text("utf-8"))
    for nonsense in (
        {"labels": 5},
        {"labels": [["a"]]},
        {"max_length": "x"},
        {"max_length": 4},
        {"strength": "x"},
        {"metrics": [1]},
        {"defaults": "x"},
        {"recipe": None},
        {"label_names": {"0": []}},
    ):
        changed = json.dumps({**card, **nonsense})
        refused(packed_as(own, tmp_path / "odd.zip", with_file("kochat.json", changed)), "odd.zip is damaged")
    whole = library.pack("mine", tmp_path)
    monkeypatch.setattr(library, "MAX_BYTES", 1000)
    refused(whole, "already|could not be read as the zip")
    whole.rename(tmp_path / "big.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    refused(tmp_path / "empty.zip", "could not be read as the zip")
