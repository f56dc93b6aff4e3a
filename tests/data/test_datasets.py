"""Datasets: rows looked at, mended and brought back; what repeats is right after every change, whoever makes it."""

import csv
import subprocess
import sys
import threading

import pytest
from conftest import PROJECT
from hypothesis import given, settings
from hypothesis import strategies as st

from kochat.data import datasets, store
from kochat.data.checks import Problem, clean, problems_of
from kochat.data.datasets import Counts, Dataset
from kochat.data.pairs import Columns, read_pairs
from kochat.data.rows import Row
from kochat.errors import CheckpointError, DataError

ROWS = [
    ("안녕", "네", "0"),  # row 2
    ("안녕", "네", "0"),
    ("안녕", "아니요", "0"),
    ("안녕", "네", "1"),
    ("", "비었어요", "1"),
    ("Hello 100%", "", "auto"),
]


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    made = datasets.empty(tmp_path / "datasets", "내것")
    for row in ROWS:
        made.add(*row)
    return made


def contents(dataset) -> dict[int, tuple[str, str, str]]:
    return {row.id: (row.Q, row.A, row.label) for row in dataset.page(0, 1000)[0]}


def said(dataset) -> dict[int, list[tuple]]:
    """Reasons, and the row that each refers to, of every row that has some."""
    rows = dataset.page(0, 1000)[0]
    return {row.id: [(one.reason, one.other) for one in row.problems] for row in rows if row.problems}


def refusal(call, *arguments) -> DataError | CheckpointError:
    with pytest.raises((DataError, CheckpointError)) as caught:
        call(*arguments)
    return caught.value


# Looking.


def test_every_row_says_what_is_wrong_with_it(dataset):
    assert dataset.name == "내것"
    assert contents(dataset) == dict(enumerate(ROWS, 2))
    assert dataset.row(2) == Row(2, "안녕", "네", "0", [], None)
    assert said(dataset) == {
        3: [("duplicate", 2)],
        4: [("other_answer", 2)],
        6: [("empty_question", None)],
        7: [("empty_answer", None), ("reserved_label", None)],
    }
    assert list(dataset.problems(3)) == [
        Problem(3, "", "duplicate", 2),
        Problem(4, "", "other_answer", 2),
        Problem(6, "question", "empty_question"),
    ]
    assert len(list(dataset.problems(99))) == 5


def test_the_counts_add_up(dataset):
    labels = {"0": 3, "1": 2, "auto": 1}
    reasons = {"duplicate": 1, "other_answer": 1, "empty_question": 1, "empty_answer": 1, "reserved_label": 1}
    assert dataset.counts() == Counts(6, 3, 3, 1, labels, reasons)
    assert list(dataset.counts().labels) == ["0", "1", "auto"]


def test_good_rows_are_pairs(dataset):
    table = dataset.pairs()
    assert table.values.tolist() == [["안녕", "네", "0"], ["안녕", "아니요", "0"], ["안녕", "네", "1"]]
    assert (table.dtypes == "str").all()
    assert list(table.columns) == ["Q", "A", "label"]


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        ({}, [2, 3, 4, 5, 6, 7]),
        ({"only": "bad"}, [3, 6, 7]),
        ({"only": "notes"}, [4]),
        ({"label": "1"}, [5, 6]),
        ({"label": "1", "only": "bad"}, [6]),
        ({"label": "nobody's"}, []),
        ({"search": "아니"}, [4]),
        ({"search": "네"}, [2, 3, 5]),
        ({"search": "네", "label": "0", "only": "bad"}, [3]),
        ({"search": "hELLO"}, [7]),
        ({"search": "o 100%"}, [7]),
        ({"search": "o_100"}, []),
        ({"search": "%"}, [7]),
        ({"search": "\\"}, []),
        ({"search": "안녕\ud83d"}, []),
        ({"search": "a" * 100_000}, []),
    ],
)
def test_a_page_holds_what_was_asked_for_and_says_how_much_there_is(dataset, options, ids):
    rows, total = dataset.page(0, 100, **options)
    assert ([row.id for row in rows], total) == (ids, len(ids))
    for offset in range(len(ids) + 2):
        rows, total = dataset.page(offset, 2, **options)
        assert ([row.id for row in rows], total) == (ids[offset : offset + 2], len(ids))


def test_lengths_are_of_questions_and_answers(dataset):
    assert dataset.lengths() == {
        "question": [
            (0, 0, 1),
            (1, 1, 0),
            (2, 2, 4),
            (3, 3, 0),
            (4, 4, 0),
            (5, 5, 0),
            (6, 6, 0),
            (7, 7, 0),
            (8, 8, 0),
            (9, 9, 0),
            (10, 10, 1),
        ],
        "answer": [(0, 0, 1), (1, 1, 3), (2, 2, 0), (3, 3, 1), (4, 4, 1)],
    }


# Mending.


def test_an_edit_checks_the_row_and_its_likes_anew(dataset):
    dataset.edit(2, " 잘 가\n", "응", "0")
    assert dataset.row(2) == Row(2, "잘 가", "응", "0", [], None)
    assert said(dataset)[4] == [("other_answer", 3)]
    assert 3 not in said(dataset)
    dataset.edit(6, "안녕", "네", "0")
    assert said(dataset)[6] == [("duplicate", 3)]
    dataset.edit(3, "안녕", "", "0")
    assert (said(dataset)[3], said(dataset)[6]) == ([("empty_answer", None)], [("other_answer", 4)])
    assert refusal(dataset.edit, 99, "가", "나", "0").values == {"name": "내것", "row": 99}
    assert refusal(dataset.row, 99).key == "no_row"


def test_a_number_is_never_given_twice(dataset):
    assert dataset.delete([7, 99]) == 1
    origin = {"checkpoint": "kochat-mini", "시각": "지금", "reply": "\ud83d"}
    assert dataset.add("가", "나", "0", origin) == 8
    assert dataset.row(8) == Row(8, "가", "나", "0", [], origin)


def test_rows_over_the_length_of_the_model_are_bad(dataset):
    dataset.too_long = lambda pairs: [len(question) > 5 for question, *_ in pairs]
    dataset.edit(2, "여섯 글자예요", "네", "0")
    assert dataset.row(2).problems == [Problem(2, "", "too_long")]
    assert dataset.counts().reasons["too_long"] == 1
    dataset.edit(2, "다섯글자요", "네", "0")
    assert dataset.row(2).problems == []


def test_leaving_out_what_is_bad_leaves_the_good(dataset):
    good = dataset.pairs()
    assert dataset.leave_out_bad() == 3
    assert dataset.counts() == Counts(3, 3, 0, 1, {"0": 2, "1": 1}, {"other_answer": 1})
    assert dataset.pairs().equals(good)
    assert dataset.leave_out_bad() == dataset.delete([3]) == dataset.delete([]) == 0
    dataset.edit(2, "안녕", "네 ", "0")
    assert [(one.what, one.rows) for one in dataset.changes()][:2] == [("leave_out", 3), ("add", 1)]


def test_half_a_character_becomes_a_broken_one(dataset):
    id = dataset.add("\ud83d 안녕 😀", "네", "0")
    assert dataset.row(id).Q == "\ufffd 안녕 😀"
    assert dataset.row(id).problems == [Problem(id, "question", "control")]


# Going back.


def test_any_state_comes_back_and_that_can_be_undone_too(dataset):
    before = contents(dataset), said(dataset), dataset.counts()
    dataset.edit(2, "잘 가", "응", "0")
    edit = dataset.changes()[0]
    dataset.edit(2, "또 봐", "응", "0")
    dataset.delete([2, 3])
    dataset.add("새 줄", "네", "0")
    after = contents(dataset), said(dataset), dataset.counts()
    dataset.go_back(edit.id)
    assert (contents(dataset), said(dataset), dataset.counts()) == before
    back = dataset.changes()[0]
    assert (back.what, back.rows) == ("go_back", 3)
    dataset.go_back(back.id)
    assert (contents(dataset), said(dataset), dataset.counts()) == after
    dataset.go_back(1)
    assert contents(dataset) == {}
    for unknown in (0, 99, dataset.changes()[0].id + 1):
        assert refusal(dataset.go_back, unknown).key == "no_change"
    assert refusal(Dataset(dataset.path).row, 2).key == "no_row"


cell = st.sampled_from(["", "가", "나", " 다 ", "\0"])
one_row = st.tuples(cell, cell, st.sampled_from(["", "0", "1", "auto"]))
change = st.one_of(
    st.tuples(st.just("add"), one_row),
    st.tuples(st.just("edit"), st.integers(0, 9), one_row),
    st.tuples(st.just("delete"), st.sets(st.integers(2, 9))),
    st.tuples(st.just("leave_out")),
    st.tuples(st.just("go_back"), st.integers(0, 9)),
)


def wrong_with(rows: dict[int, tuple]) -> dict[int, list[tuple]]:
    """What is to be said of these rows, found out by comparing each with all before it."""
    found = {}
    for id, (Q, A, label) in sorted(rows.items()):
        problems = [(reason, None) for _, reason in problems_of(Q, A, label)]
        earlier = [other for other in sorted(rows) if other < id and not problems_of(*rows[other])]
        same = [other for other in earlier if rows[other] == (Q, A, label)]
        asked = [other for other in earlier if (rows[other][0], rows[other][2]) == (Q, label)]
        if not problems and asked:
            problems = [("duplicate", same[0])] if same else [("other_answer", asked[0])]
        if problems:
            found[id] = problems
    return found


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(changes=st.lists(change, max_size=14))
def test_whatever_is_done_rows_problems_counts_and_history_agree(tmp_path_factory, changes):
    dataset = datasets.empty(tmp_path_factory.mktemp("any"), "any")
    rows, states, last = {}, {}, 1  # states: the rows before each change, by its number
    for what, *values in changes:
        old, number = dict(rows), dataset.changes()[0].id + 1 if dataset.changes() else 1
        ids = sorted(rows)
        if what == "add":
            last += 1
            assert dataset.add(*values[0]) == last
            rows[last] = tuple(map(clean, values[0]))
        elif what == "edit" and ids:
            id = ids[values[0] % len(ids)]
            dataset.edit(id, *values[1])
            rows[id] = tuple(map(clean, values[1]))
        elif what == "delete":
            gone = values[0] & set(rows)
            assert dataset.delete(values[0]) == len(gone)
            rows = {id: row for id, row in rows.items() if id not in gone}
        elif what == "leave_out":
            bad = {id for id, found in wrong_with(rows).items() if found[0][0] != "other_answer"}
            assert dataset.leave_out_bad() == len(bad)
            rows = {id: row for id, row in rows.items() if id not in bad}
        elif what == "go_back" and states:
            to = sorted(states)[values[0] % len(states)]
            dataset.go_back(to)
            rows = dict(states[to])
        noted = dataset.changes()
        if noted and noted[0].id >= number:
            states[noted[0].id] = old
        assert contents(dataset) == rows
        found = wrong_with(rows)
        assert said(dataset) == found
        counts = dataset.counts()
        notes = sum(problems[0][0] == "other_answer" for problems in found.values())
        bad = len(found) - notes
        assert (counts.rows, counts.good, counts.bad, counts.notes) == (len(rows), len(rows) - bad, bad, notes)
        assert sum(counts.labels.values()) == len(dataset.pairs()) + counts.bad == len(rows)
        assert dataset.page(0, 1, only="bad")[1] == bad


# To a spreadsheet and back.

HARD = [
    ("=1+1", "+82 10", "-1"),
    ("@SUM(A1)", "＝1+1", "0"),
    ('"따옴표", 쉼표', "첫 줄\n둘째 줄\r\n셋째 줄", "사랑"),
    ("- 네", "끝", "007"),
    ("세;미\t콜론", "'아포스트로피", "0"),
]


def test_a_csv_is_for_excel_and_reads_back_the_same(dataset, tmp_path):
    hard = datasets.empty(tmp_path, "hard")
    for row in HARD:
        hard.add(*row)
    hard.write_csv(tmp_path / "hard.csv")
    data = (tmp_path / "hard.csv").read_bytes()
    assert data.startswith(b"\xef\xbb\xbfQ,A,label\r\n")
    with (tmp_path / "hard.csv").open(encoding="utf-8-sig", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert len(cells) == 3 * (1 + len(HARD))
    assert not [cell for cell in cells if cell.startswith(tuple("=+-@＝＋－＠\t\r"))]
    assert read_pairs(tmp_path / "hard.csv").values.tolist() == [list(row) for row in HARD]
    assert read_pairs(tmp_path / "hard.csv").equals(hard.pairs())
    dataset.write_csv(tmp_path / "hard.csv")
    assert read_pairs(tmp_path / "hard.csv", bad_rows="skip").equals(dataset.pairs())
    assert refusal(dataset.write_csv, tmp_path / "none" / "x.csv").key == "not_writable"


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(clean)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.tuples(texts, texts, st.just("0")), min_size=1, max_size=4))
def test_whatever_is_in_it_the_csv_holds_the_same_pairs(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("written")
    dataset = datasets.empty(folder, "any")
    for row in rows:
        dataset.add(*row)
    dataset.leave_out_bad()
    dataset.write_csv(folder / "any.csv")
    if dataset.counts().rows:
        columns = Columns("Q", "A", "label")
        assert read_pairs(folder / "any.csv", columns=columns).values.tolist() == dataset.pairs().values.tolist()


# The folder.


def test_datasets_have_names(dataset):
    folder = dataset.path.parent
    assert datasets.list_datasets(folder) == {"내것": dataset.path}
    assert datasets.list_datasets(folder / "none") == {}
    assert refusal(datasets.empty, folder, "내것").key == "name_taken"
    assert refusal(datasets.empty, folder, "../x").key == "unsafe_name"
    other = datasets.empty(folder, "b")
    assert refusal(datasets.rename, other.path, "내것").key == "name_taken"
    assert refusal(datasets.rename, other.path, "a  b").key == "unsafe_name"
    renamed = Dataset(datasets.rename(dataset.path, "a"))
    assert contents(renamed) == dict(enumerate(ROWS, 2))
    assert list(datasets.list_datasets(folder)) == ["a", "b"]
    for call in (dataset.counts, lambda: dataset.add("가", "나", "0"), lambda: datasets.rename(dataset.path, "c")):
        assert refusal(call).key == "no_dataset"
    datasets.delete(renamed.path)
    datasets.delete(other.path)
    assert refusal(datasets.delete, other.path).key == "no_dataset"
    assert list(folder.iterdir()) == []


# Several at once.

ADD = """
import sys
from pathlib import Path
from kochat.data.datasets import Dataset
dataset = Dataset(Path(sys.argv[1]))
for number in range(20):
    dataset.add("물음", f"{sys.argv[2]} {number}", "0")
    dataset.counts()
"""


@pytest.mark.slow
def test_threads_and_processes_may_all_change_it(dataset):
    processes = [
        subprocess.Popen([sys.executable, "-c", ADD, dataset.path, f"process {n}"], cwd=PROJECT) for n in range(2)
    ]

    def add(name: str):
        for number in range(20):
            dataset.add("물음", f"{name} {number}", "0")
            dataset.page(0, 10)

    threads = [threading.Thread(target=add, args=(f"thread {n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for one in (*threads, *processes):
        one.join() if one in threads else one.wait()
    assert [process.returncode for process in processes] == [0, 0]
    counts = dataset.counts()
    assert (counts.rows, counts.good, counts.notes) == (106, 103, 100)
    assert len({row.A for row in dataset.page(0, 200, search="물음")[0]}) == 100
    assert dataset.changes()[0].id == 106


def test_who_waits_too_long_is_told(dataset, monkeypatch):
    monkeypatch.setattr(store, "WAIT", 0.05)
    with store.transaction(dataset.path, write=True):
        assert refusal(dataset.add, "가", "나", "0").key == "dataset_busy"
        assert dataset.counts().rows == 6  # to look is no change
    assert dataset.add("가", "나", "0") == 8
