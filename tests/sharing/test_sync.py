"""Keeping a home in a folder and on the Hub, by the real client against a stand-in for its server, in this process."""

import json
import os
import shutil
import sqlite3
import threading
import time

import psutil
import pytest
from hub_server import Pushed

from kochat.config import TrainingConfig
from kochat.data import datasets, pairs, taught
from kochat.data.datasets import Dataset
from kochat.errors import HubError, SettingsError
from kochat.model import checkpoint
from kochat.runs import queue, registry
from kochat.sharing import sync, sync_targets, versions
from kochat.sharing.sync import Sync, sync_of
from kochat.sharing.sync_targets import FolderTarget, HubTarget, target_of

REPO = "somebody/kept"


@pytest.fixture(params=["folder", "hub"])
def target(request, tmp_path):
    """Makes another client of the same target, as each start of a server does."""
    if request.param == "hub":
        request.getfixturevalue("server")
        return lambda: HubTarget(REPO)
    return folder_target(tmp_path)


def folder_target(tmp_path):
    (tmp_path / "bucket").mkdir()
    return lambda: FolderTarget(tmp_path / "bucket", grace=0.0)


@pytest.fixture
def bucket(tmp_path):
    return folder_target(tmp_path)


@pytest.fixture
def at(tmp_path, monkeypatch):
    """Let this process be at another home, an empty one where there was none."""

    def go(name):
        monkeypatch.setenv("KOCHAT_HOME", str(tmp_path / name))
        (tmp_path / name).mkdir(exist_ok=True)
        return tmp_path / name

    return go


def begin(target) -> Sync:
    made = Sync(target() if callable(target) else target)
    made.bring()
    return made


def save(home, name, content="weights"):
    """Something that looks like a checkpoint."""
    folder = home / "checkpoints" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_text(content)
    (folder / "kochat.json").write_text("{}")
    return folder


def read(home) -> dict[str, str]:
    """What is in a home, but for what is hidden and for what is in datasets."""
    found = {path.relative_to(home).as_posix(): path for path in home.rglob("*") if path.is_file()}
    return {
        name: path.read_text() if not name.endswith(".pairs") else rows(path)
        for name, path in found.items()
        if not name.startswith(".sync") and "/." not in name
    }


def rows(path) -> str:
    return " ".join(f"{row.Q}={row.A}" for row in Dataset(path).page(0, 100)[0])


def a_run(home, name, data="emotions"):
    return queue.create(TrainingConfig(data=data, rows=60, output=str(home / "checkpoints" / name)))


def with_state(run, name="000001-000000010", content="state"):
    (run.state_folder / name).mkdir(parents=True)
    (run.state_folder / name / "model.safetensors").write_text(content)
    return run


def test_an_empty_home_gets_back_what_was_made_in_another(target, at):
    home = at("one")
    ours = begin(target)
    save(home, "우리 봇")
    datasets.empty(home / "datasets", "shop").add("언제 열어요?", "열 시요.", "0")
    taught.open_taught(home / "visitors" / "0123").add("안녕", "반가워요", "0")
    (home / "visitors" / "waiting.jsonl").write_text('{"row": 1}\n')
    kept = pairs.keep(b"Q,A,label\r\n" + b"a,b,0\r\n" * 60, "my.csv", home / "uploads")
    pairs.keep(b"Q,A\r\nc,d\r\n", "other.csv", home / "uploads")  # no run needs it
    run = with_state(a_run(home, "우리 봇-2", str(kept)))
    (run.path / "reserve").write_bytes(bytes(10))
    assert ours.copy()
    assert not ours.copy()
    before = read(home)
    there = at("two")
    begin(target)
    assert read(there) == {
        name: text for name, text in before.items() if not name.endswith(("reserve", "other.csv"))
    }
    assert checkpoint.list_checkpoints(for_chat=False).keys() - {"kochat-mini"} == set()  # these files are no model
    assert (there / "checkpoints" / "우리 봇" / "kochat.json").is_file()


def test_only_what_has_changed_is_copied(bucket, at, tmp_path):
    home = at("one")
    ours = begin(bucket)
    save(home, "a")
    run = with_state(a_run(home, "b"))
    ours.copy()
    before = set(sync_targets._files_of(tmp_path / "bucket"))
    run.write("preparing", what="starting")
    os.utime(home / "checkpoints" / "a" / "model.safetensors")  # the same content
    assert ours.copy()
    new = sorted(set(sync_targets._files_of(tmp_path / "bucket")) - before)
    id = new[0].split("/")[2]
    assert new == [f"runs/b/{id}/events.jsonl", f"versions/{id}.json"]
    there = at("two")
    begin(bucket)
    assert read(there) == read(home)


def test_what_is_deleted_does_not_come_back(target, at):
    home = at("one")
    ours = begin(target)
    save(home, "a")
    path = datasets.empty(home / "datasets", "d").path
    ours.copy()
    shutil.rmtree(home / "checkpoints" / "a")
    path.unlink()
    assert ours.copy()
    begin_again = at("two")
    begin(target)
    assert read(begin_again) == {}
    third = at("three")
    begin(target)
    assert read(third) == {}
    assert versions.read(fetched(target, third)) == {}


def fetched(target, home):
    made = target()
    made.prepare()
    return made.fetch(home / "fetched")


def test_two_who_change_the_same_both_keep_it_and_the_first_one_keeps_the_name(target, at):
    home = at("start")
    save(home, "bot", "0")
    datasets.empty(home / "datasets", "shop").add("q", "0", "0")
    begin(target).copy()
    one, two = at("one"), at("two")
    servers = {}
    for place in (one, two):
        at(place.name)
        servers[place] = begin(target)
        save(place, "bot", place.name)
        Dataset(place / "datasets" / "shop.pairs").add("q", place.name, "0")
        save(place, f"only-{place.name}")
    save(at("start"), "unused")
    for place in (one, two):
        at(place.name)
        servers[place].copy()
    third = at("three")
    begin(target).copy()
    both = read(third)
    assert (both["checkpoints/bot/model.safetensors"], both["checkpoints/bot-2/model.safetensors"]) == ("one", "two")
    assert (both["datasets/shop.pairs"], both["datasets/shop-2.pairs"]) == ("q=0 q=one", "q=0 q=two")
    assert {"checkpoints/only-one/kochat.json", "checkpoints/only-two/kochat.json"} <= both.keys()
    # From now on these are two, whoever starts.
    fourth = at("four")
    begin(target)
    assert read(fourth) == both
    shutil.rmtree(third / "checkpoints" / "bot")
    at("three")
    again = Sync(target())
    shutil.rmtree(third / ".sync" / "none", ignore_errors=True)
    again.bring()
    again.copy()
    fifth = at("five")
    begin(target)
    assert "checkpoints/bot/kochat.json" not in read(fifth)
    assert read(fifth)["checkpoints/bot-2/model.safetensors"] == "two"
