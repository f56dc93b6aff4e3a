"""Importing: any table becomes a dataset with the same rows and numbers, whole or not at all, and stops nobody."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import psutil
import pytest
from conftest import PROJECT
from odd_files import FILES

from kochat.data import datasets, importing, store
from kochat.data.datasets import Dataset
from kochat.data.importing import Imported, create
from kochat.data.pairs import Columns, as_csv, examine, find_columns, read_pairs
from kochat.data.tables import open_table
from kochat.errors import CheckpointError, DataError

TEXT = "Q,A,label\n\n안녕,네,0\n안녕,네,0\n안녕,아니요,0\n,,\n안녕 , 네,0\n안녕,,0\n"
COLUMNS = Columns("Q", "A", "label")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "datasets"


@pytest.fixture
def table(tmp_path):
    """Write a table and open it."""

    def write(content):
        path = tmp_path / "pairs.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return open_table(path)

    return write


def imported(folder, table, columns=COLUMNS, **options) -> Dataset:
    steps = list(create(folder, "내것", table, columns, **options))
    assert steps[-1].done == 1.0
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    return Dataset(folder / "내것.pairs")


def bring_in(folder, path) -> Dataset:
    table = open_table(path)
    return imported(folder, table, find_columns(table.columns))


def refusal(*arguments) -> DataError | CheckpointError:
    with pytest.raises((DataError, CheckpointError)) as caught:
        list(create(*arguments))
    return caught.value


def test_rows_keep_their_numbers_and_say_what_is_wrong(folder, table):
    dataset = imported(folder, table(TEXT))
    rows, total = dataset.page(0, 100)
    assert [(row.id, row.Q, row.A, row.label) for row in rows] == [
        (3, "안녕", "네", "0"),
        (4, "안녕", "네", "0"),
        (5, "안녕", "아니요", "0"),
        (7, "안녕", "네", "0"),
        (8, "안녕", "", "0"),
    ]
    assert {row.id: [(one.reason, one.other) for one in row.problems] for row in rows} == {
        3: [],
        4: [("duplicate", 3)],
        5: [("other_answer", 3)],
        7: [("duplicate", 3)],
        8: [("empty_answer", None)],
    }
    assert total == 5
    (change,) = dataset.changes()
    assert (change.what, change.rows) == ("import", 5)
    with pytest.raises(DataError) as caught:
        dataset.go_back(change.id)
    assert caught.value.key == "no_change"
    assert dataset.add("새 줄", "네", "0") == 9
    dataset.delete([3, 9])
    dataset.go_back(2)
    assert dataset.page(0, 100) == (rows, total)


def test_a_table_without_labels_gets_one(folder, table):
    dataset = imported(folder, table("질문,답변\n안녕,네\n,\n잘 가,\n"), Columns("질문", "답변", one_label="인사"))
    assert dataset.counts().labels == {"인사": 2}
    assert dataset.pairs().values.tolist() == [["안녕", "네", "인사"]]


@pytest.mark.parametrize(
    ("name", "again"),
    [("구분", "구분"), ("고객(유형)", "고객 유형"), ("[x", "x"), ("label", "label"), ("라벨", "label")],
)
def test_what_the_labels_are_called_stays_with_them(folder, tmp_path, name, again):
    path = tmp_path / "shop.csv"
    path.write_bytes(f"질문,답변,{name}\n몇 시까지 해요?,여덟 시요.,손님\n".encode())
    table = open_table(path)
    dataset = imported(folder, table, Columns("질문", "답변", name))
    assert dataset.label_column() == name
    path.write_bytes(as_csv(dataset.pairs()))
    read = read_pairs(path)  # without being told which column it is
    assert read.values.tolist() == [["몇 시까지 해요?", "여덟 시요.", "손님"]]
    assert read.attrs["label_column"] == again


def test_a_dataset_of_before_has_no_name_for_its_labels(folder, table):
    dataset = imported(folder, table("Q,A,구분\n안녕,네,손님\n"), Columns("Q", "A", "구분"))
    with sqlite3.connect(dataset.path) as db:
        db.execute("DROP TABLE facts")
    assert dataset.label_column() is None
    assert dataset.pairs().values.tolist() == [["안녕", "네", "손님"]]


def test_rows_over_the_length_of_the_model_are_bad_and_only_good_ones_are_measured(folder, table):
    asked = []

    def too_long(pairs):
        asked.extend(pairs)
        return [len(answer) > 1 for _, answer, _ in pairs]

    dataset = imported(folder, table(TEXT), too_long=too_long)
    assert asked == [("안녕", answer, "0") for answer in ("네", "네", "아니요", "네")]
    assert dataset.counts().reasons == {"duplicate": 2, "too_long": 1, "empty_answer": 1}


@pytest.mark.parametrize("name", FILES)
def test_odd_files_give_what_reading_them_gives(tmp_path, folder, name):
    path = tmp_path / "odd.csv"
    path.write_bytes(FILES[name].data)
    try:
        table = open_table(path)
        columns = find_columns(table.columns)
        report = examine(table, columns)
        read = read_pairs(path, bad_rows="skip") if report.rows > report.bad else None
    except DataError as error:
        key = error.key
        with pytest.raises(DataError) as caught:
            bring_in(folder, path)
        assert caught.value.key == key
        assert datasets.list_datasets(folder) == {}
        return
    dataset = imported(folder, table, columns)
    counts = dataset.counts()
    assert (counts.rows, counts.bad, counts.notes) == (report.rows, report.bad, report.notes)
    assert counts.reasons == dict(report.reasons)
    assert list(dataset.problems(1000)) == report.problems
    assert read is None or dataset.pairs().equals(read)
    dataset.write_csv(tmp_path / "again.csv")
    again = examine(open_table(tmp_path / "again.csv"), COLUMNS)
    assert (again.rows, again.bad, again.notes) == (report.rows, report.bad, report.notes)


def test_names_columns_and_rows_are_needed(folder, table):
    opened = table(TEXT)
    assert refusal(folder, "a/b", opened, COLUMNS).key == "unsafe_name"
    assert refusal(folder, "a", opened, Columns("Q", "B")).key == "no_column"
    assert refusal(folder, "a", table("Q,A,label\n\u200b,,\n"), COLUMNS).key == "no_rows"
    assert not folder.exists() or list(folder.iterdir()) == []
    datasets.empty(folder, "a")
    assert refusal(folder, "a", opened, COLUMNS).key == "name_taken"


def test_a_name_taken_meanwhile_is_refused(folder, table):
    steps = create(folder, "내것", table(TEXT), COLUMNS)
    next(steps)
    taken = datasets.empty(folder, "내것")
    with pytest.raises(CheckpointError) as caught:
        list(steps)
    assert caught.value.key == "name_taken"
    assert taken.counts().rows == 0
    assert [path.name for path in folder.iterdir()] == ["내것.pairs"]


@pytest.mark.slow
@pytest.mark.parametrize("bad", ['"a" b,c,d\n', "a,b,c,d\n"])
def test_a_table_that_goes_wrong_leaves_nothing(folder, table, bad):
    rows = "".join(f"물음 {n},답,0\n" for n in range(12_000))
    assert refusal(folder, "a", table(f"Q,A,label\n{rows}{bad}"), COLUMNS).key in ("bad_quote", "extra_cells")
    assert list(folder.iterdir()) == []


def test_who_stops_leaves_nothing(folder, table):
    steps = create(folder, "a", table("Q,A,label\n" + "".join(f"물음 {n},답,0\n" for n in range(12_000))), COLUMNS)
    assert next(steps) == Imported(5000, pytest.approx(0.8 * 5 / 12, abs=0.3))
    assert datasets.list_datasets(folder) == {}
    steps.close()
    assert list(folder.iterdir()) == []


def test_a_step_may_come_from_another_thread(folder, table):
    steps, got = create(folder, "내것", table(TEXT), COLUMNS), []
    for _ in range(2):
        thread = threading.Thread(target=lambda: got.append(next(steps)))
        thread.start()
        thread.join()
    assert [one.done for one in got] == [0.8, 1.0]


def test_a_full_disk_is_said_and_leaves_nothing(folder, table, monkeypatch):
    connect = store._connect

    def connect_to_a_small_disk(uri):
        db = connect(uri)
        db.execute("PRAGMA max_page_count = 20")
        return db

    monkeypatch.setattr(store, "_connect", connect_to_a_small_disk)
    rows = "".join(f"물음 {n},{'답' * 100},0\n" for n in range(6_000))
    assert refusal(folder, "a", table(f"Q,A,label\n{rows}"), COLUMNS).key == "disk_full"
    assert list(folder.iterdir()) == []


KILLED = """
import sys
from pathlib import Path
from kochat.data import importing
from kochat.data import pairs
from kochat.data import tables
for step in importing.create(Path(sys.argv[1]), "a", tables.open_table(sys.argv[2]), pairs.Columns("Q", "A", "label")):
    print(step.rows, flush=True)
    sys.stdin.readline()
"""


@pytest.mark.slow
def test_a_killed_import_is_no_dataset_and_is_cleared_away_later(folder, table, monkeypatch):
    path = table("Q,A,label\n" + "".join(f"물음 {n},답,0\n" for n in range(12_000))).path
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, folder, path], cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"5000\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert datasets.list_datasets(folder) == {}
    (left,) = folder.iterdir()
    imported(folder, open_table(path))
    assert left.exists()  # it may be somebody's who is still at it
    for one in (left, *left.iterdir()):
        os.utime(one, (1, 1))
    datasets.empty(folder, "b")
    assert sorted(path.name for path in folder.iterdir()) == ["b.pairs", "내것.pairs"]


@pytest.mark.slow
def test_many_rows_come_in_beside_others_in_little_memory(folder, tmp_path):
    draw = random.Random(0)
    words = ["".join(chr(draw.randint(0xAC00, 0xD7A3)) for _ in range(3)) for _ in range(5000)]
    lines = [
        f"{' '.join(draw.choices(words, k=4))},{' '.join(draw.choices(words, k=6))},{n % 3}" for n in range(49_999)
    ]
    (tmp_path / "big.csv").write_text("\n".join(["Q,A,label", *lines, lines[7]]), "utf-8")
    size = (tmp_path / "big.csv").stat().st_size
    other = datasets.empty(folder, "other")
    other.add("안녕", "네", "0")
    memory, stalls, done = [psutil.Process().memory_info().rss], [], threading.Event()

    def look():
        while not done.is_set():
            began = time.perf_counter()
            time.sleep(0.01)
            stalls.append(time.perf_counter() - began)
            assert other.counts().rows == 1
            memory.append(psutil.Process().memory_info().rss)

    watching = threading.Thread(target=look)
    watching.start()
    began = time.perf_counter()
    dataset = imported(folder, open_table(tmp_path / "big.csv"))
    done.set()
    watching.join()
    assert max(memory) - memory[0] < 10 * size
    # Others are never kept waiting for long, whatever else the machine does.
    assert max(stalls) < max(1, (time.perf_counter() - began) / 3)
    assert dataset.counts().reasons == {"duplicate": 1}
    assert dataset.row(50_001).problems[0].other == 9
    began = time.perf_counter()
    assert dataset.page(49_950, 100)[0][-1].id == 50_001
    assert dataset.page(0, 10, search=lines[30_000][:12])[1] >= 1
    assert dataset.page(0, 10, only="bad")[1] == dataset.counts().bad == 1
    assert time.perf_counter() - began < 1
    assert importing.CHUNK < 50_000
