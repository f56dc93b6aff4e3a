"""The file of a dataset: what is killed, damaged, full or not there ends in the old state and a sentence."""

import contextlib
import os
import resource
import signal
import subprocess
import sys

import pytest
from conftest import PROJECT

from kochat.data import datasets, store
from kochat.data.datasets import Dataset
from kochat.errors import DataError


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    """3,000 rows of a kilobyte."""
    made = datasets.empty(tmp_path / "datasets", "내것")
    with store.transaction(made.path, write=True) as db:
        row = "INSERT INTO rows (Q, A, label, own) VALUES (?, ?, '0', '')"
        db.executemany(row, ((f"물음 {number}", "가" * 300) for number in range(3000)))
    return made


def refusal(call, *arguments) -> str:
    with pytest.raises(DataError) as caught:
        call(*arguments)
    return caught.value.key


# It writes until the cache is full, so the file holds half of it, and is killed.
KILLED = """
import os, signal, sys
from pathlib import Path
from kochat.data import store
with store.transaction(Path(sys.argv[1]), write=True) as db:
    db.execute("PRAGMA cache_size = 1")
    db.execute("UPDATE rows SET A = 'half', label = '1'")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while_changing(dataset):
    ended = subprocess.run([sys.executable, "-c", KILLED, dataset.path], cwd=PROJECT)
    assert ended.returncode == -signal.SIGKILL
    assert b"half" in dataset.path.read_bytes()
    assert dataset.path.with_name("내것.pairs-journal").exists()


def test_a_change_that_is_killed_never_was(dataset):
    killed_while_changing(dataset)
    assert list(datasets.list_datasets(dataset.path.parent)) == ["내것"]
    assert dataset.page(0, 1, search="half") == ([], 0)
    assert dataset.counts().labels == {"0": 3000}
    dataset.edit(2, "물음", "답", "0")
    assert [change.what for change in dataset.changes()] == ["edit"]


def test_a_rename_after_that_takes_it_back_first(dataset):
    killed_while_changing(dataset)
    renamed = Dataset(datasets.rename(dataset.path, "b"))
    assert renamed.page(0, 1, search="half") == ([], 0)
    assert [path.name for path in renamed.path.parent.iterdir()] == ["b.pairs"]


def test_what_is_left_of_a_removed_one_does_not_get_into_a_new_one(dataset):
    killed_while_changing(dataset)
    dataset.path.unlink()
    again = datasets.empty(dataset.path.parent, "내것")
    assert again.counts().rows == 0
    killed_while_changing_nothing = again.page(0, 1)
    assert killed_while_changing_nothing == ([], 0)
    assert [path.name for path in again.path.parent.iterdir()] == ["내것.pairs"]


FULL = """
import resource, sys
from pathlib import Path
from kochat.data.datasets import Dataset
from kochat.errors import DataError
dataset, most = Dataset(Path(sys.argv[1])), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
for call in (dataset.leave_out_bad, lambda: dataset.add("가", "나" * 1_000_000, "0"),
             lambda: dataset.write_csv(dataset.path.with_name("x.csv"))):
    try:
        print(call())
    except DataError as error:
        print(error.key)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no limit to what a process writes there")
def test_a_full_disk_is_said_and_nothing_is_lost(dataset):
    size = dataset.path.stat().st_size
    command = [sys.executable, "-c", FULL, dataset.path, str(size)]
    said = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split()
    assert said == ["0", "disk_full", "None"]
    said = subprocess.run([*command[:-1], "1000"], cwd=PROJECT, capture_output=True, text=True).stdout.split()
    assert said == ["disk_full", "disk_full", "disk_full"]
    assert dataset.counts().rows == 3000
    assert dataset.changes() == []
    assert sorted(path.name for path in dataset.path.parent.iterdir()) == ["x.csv", "내것.pairs"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


def damage(data: bytes, how: str) -> bytes:
    if how == "cut":
        return data[: len(data) // 2]
    if how == "middle":
        return data[: len(data) // 4] + os.urandom(len(data) // 2) + data[3 * len(data) // 4 :]
    if how == "start":
        return b"\0" * 100 + data[100:]
    if how == "version":
        return data[:68] + b"\0\0\0\0" + data[72:]
    return {"empty": b"", "text": "Q,A,label\n안녕,네,0\n".encode() * 100, "short": b"SQLite format 3\0"}[how]


@pytest.mark.parametrize("how", ["cut", "middle", "start", "version", "empty", "text", "short"])
def test_a_damaged_file_is_a_sentence_and_can_be_removed(dataset, tmp_path, how):
    dataset.path.write_bytes(damage(dataset.path.read_bytes(), how))
    assert list(datasets.list_datasets(dataset.path.parent)) == ["내것"]
    for call in (
        lambda: dataset.page(0, 5000, search="없는 말"),
        dataset.pairs,
        dataset.lengths,
        dataset.leave_out_bad,
    ):
        # Where only a part is damaged, a call may read nothing of that.
        if how in ("cut", "middle"):
            with contextlib.suppress(DataError):
                call()
        else:
            assert refusal(call) == "damaged_dataset"
    assert refusal(lambda: (dataset.pairs(), dataset.lengths())) == "damaged_dataset"
    datasets.delete(dataset.path)
    assert list(dataset.path.parent.iterdir()) == []


def test_a_folder_or_nothing_is_no_dataset(tmp_path):
    (tmp_path / "folder.pairs").mkdir()
    for name in ("folder", "none"):
        assert refusal(Dataset(tmp_path / f"{name}.pairs").counts) == "no_dataset"
    assert not (tmp_path / "none.pairs").exists()
    assert datasets.list_datasets(tmp_path) == {}


def test_a_name_with_signs_of_an_address_is_a_name(dataset):
    odd = dataset.path.with_name("100% #1? & a.pairs")  # not by us; somebody may copy a file
    dataset.path.rename(odd)
    assert Dataset(odd).counts().rows == 3000


def test_an_empty_dataset_is_small_since_every_visitor_may_have_one(tmp_path):
    assert datasets.empty(tmp_path, "내것").path.stat().st_size <= 50_000  # with large pages it is 327,680
