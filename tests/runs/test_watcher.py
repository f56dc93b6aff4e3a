"""The watcher: what counts as a change, and who hears of it."""

import asyncio
import os
import threading

import pytest

from kochat.config import TrainingConfig
from kochat.model import checkpoint
from kochat.runs import journal, queue, registry
from kochat.runs.watcher import Watcher


@pytest.fixture
def run(home):
    """A run called mine, as if this process trained it."""
    made = queue.create(TrainingConfig(data="emotions", rows=60, output=str(home / "checkpoints" / "mine")))
    queue.mark_launched(made, os.getpid())
    return made


def revisions(watcher):
    watcher.look()
    return watcher.revision("checkpoints"), watcher.revision("runs")


def test_every_change_of_a_run_and_of_a_checkpoint_is_one_and_nothing_else_is(home, run, tiny_checkpoint):
    watcher = Watcher()
    assert watcher.look() == {"running": 1}
    first = revisions(watcher)
    assert revisions(watcher) == first
    run.write("step", step=1, steps=20, loss=2.0, seconds=1.0)
    second = revisions(watcher)
    assert (second[0], second[1] == first[1]) == (first[0], False)
    run.write("launched", pid=2**22, created=0.0, at=0.0)  # no such process
    assert watcher.look() == {"interrupted": 1}
    third = revisions(watcher)
    assert (third[0], third[1] == second[1]) == (first[0], False)
    tiny_checkpoint.rename(home / "checkpoints" / "tiny")
    fourth = revisions(watcher)
    assert fourth[0] != third[0]
    assert fourth[1] != third[1]
    checkpoint.record(home / "checkpoints" / "tiny", {"exact_match": 0.5})
    assert revisions(watcher)[0] != fourth[0]
    queue.delete(run)
    assert watcher.look() == {}


def test_a_watcher_that_started_anew_has_other_revisions(home):
    assert revisions(Watcher())[0] != revisions(Watcher())[0]


def test_who_waits_hears_of_a_change_at_once_and_else_after_a_while(home, run):
    watcher = Watcher()
    _, now = revisions(watcher)

    async def wait():
        assert await watcher.changed("runs", "of before a restart", 60) == now
        assert await watcher.changed("runs", now, 0.01) == now
        waits = asyncio.create_task(watcher.changed("runs", now, 60))
        of_checkpoints = asyncio.create_task(watcher.changed("checkpoints", watcher.revision("checkpoints"), 0.05))
        await asyncio.sleep(0)
        assert watcher.num_waiting == 2
        run.write("stopping")
        thread = threading.Thread(target=watcher.look)
        thread.start()
        assert await asyncio.wait_for(waits, 10) == watcher.revision("runs") != now
        assert await of_checkpoints == watcher.revision("checkpoints")
        thread.join()

    asyncio.run(wait())
    assert watcher.num_waiting == 0


def test_what_has_not_changed_on_disk_is_neither_opened_nor_parsed_again(home, run, monkeypatch):
    watcher, parsed, opened = Watcher(), [], []
    watcher.look()
    monkeypatch.setattr(registry.json, "loads", lambda text: parsed.append(text))
    monkeypatch.setattr(type(run.path), "open", lambda path, *_: opened.append(path))
    watcher.look()
    assert [path for path in opened if path.name == "events.jsonl"] == parsed == []


def test_a_look_for_whether_a_run_is_to_stop_reads_what_is_new(home, run, monkeypatch):
    for number in range(1, 50):
        run.write("step", step=number, steps=50, loss=2.0, seconds=1.0)
    assert not run.record().stopping
    parsed, parse = [], journal._parse
    monkeypatch.setattr(journal, "_parse", lambda line, path: parsed.append(line) or parse(line, path))
    run.write("stopping")
    assert [run.record().stopping for _ in range(2)] == [True, True]
    assert parsed == [b'{"type": "stopping"}']
