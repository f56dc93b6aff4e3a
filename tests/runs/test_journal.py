"""The journal: appended to by several, read as it grows, whatever was torn."""

import errno
import json
import os
import subprocess
import sys
import time

import pytest

from kochat.runs import journal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.jsonl"


def step(number, loss=1.0):
    return {"type": "step", "step": number, "steps": 8, "loss": loss, "seconds": float(number)}


def started(at_step=0):
    return {"type": "started", "steps": 8, "epochs": 2, "at_step": at_step}


def write(path, *events):
    for event in events:
        journal.append(path, event)


def test_a_journal_that_is_not_there_yet_is_empty(path):
    assert journal.read(path) == ([], journal.Record())


def test_events_are_read_as_they_come(path):
    write(path, started(), step(1))
    assert [event["type"] for event in journal.read(path)[0]] == ["started", "step"]
    write(path, step(2))
    events, record = journal.read(path)
    assert events[-1] == step(2)
    assert record.last_step() == step(2)
    assert record.seconds() == 2.0


def test_a_torn_last_line_is_left_out_and_cut_off_by_the_next_writer(path):
    write(path, started(), step(1))
    with path.open("ab") as file:
        file.write('{"type": "step", "loss": "어'.encode()[:-1])
    assert len(journal.read(path)[0]) == 2
    write(path, step(2))
    assert [json.loads(line)["type"] for line in path.read_text("utf-8").splitlines()] == ["started", "step", "step"]
    assert journal.read(path)[0][-1] == step(2)


def test_a_journal_of_nothing_but_a_torn_line_begins_anew(path):
    path.write_bytes(b"x" * 10_000)
    write(path, step(1))
    assert journal.read(path)[0] == [step(1)]


def test_a_line_that_a_crash_filled_with_zeros_is_left_out_with_a_warning(path, caplog):
    write(path, step(1))
    with path.open("ab") as file:
        file.write(bytes(20) + b"\n")
    write(path, step(2))
    assert journal.read(path)[0] == [step(1), step(2)]
    assert "cannot be read" in caplog.text


def test_steps_done_again_after_a_kill_count_once_as_done_last(path):
    epoch = {"type": "epoch", "epoch": 1, "epochs": 2, "loss": 1.0, "seconds": 4.0}
    write(path, started(), *(step(n) for n in (1, 2, 3, 4)), epoch, step(5), step(6))
    write(path, started(at_step=3), step(4, loss=0.5))
    record = journal.read(path)[1]
    assert list(record.steps) == [1, 2, 3, 4]
    assert record.steps[4]["loss"] == 0.5
    assert record.epochs == {}  # ended at step 4, and is done again
    write(path, {**epoch, "loss": 0.75})
    assert journal.read(path)[1].epochs[1]["loss"] == 0.75


def test_the_running_loss_is_the_moving_average_of_the_steps_bias_corrected(path):
    losses = [4.0, 2.0, 3.0, 1.0, 1.5, 0.5, 1.0, 0.25]
    write(path, started(), *(step(n, loss) for n, loss in enumerate(losses, 1)))
    average, expected = 0.0, {}
    for n, loss in enumerate(losses, 1):
        average = 7 / 8 * average + 1 / 8 * loss
        expected[n] = average / (1 - (7 / 8) ** n)
    assert journal.read(path)[1].running_loss == pytest.approx(expected)
    assert expected[1] == 4.0
    # Steps that are done again take the place of what was there.
    write(path, started(at_step=3), step(4, loss=9.0))
    again = journal.read(path)[1].running_loss
    assert list(again) == [1, 2, 3, 4]
    assert again[3] == pytest.approx(expected[3])
    assert again[4] > expected[4]


def test_the_running_loss_of_a_long_run_has_a_hundred_points(path):
    lines = [json.dumps({**step(n), "steps": 1050}) for n in range(1, 1051)]
    path.write_text(json.dumps(started()) + "\n" + "\n".join(lines) + "\n")
    assert list(journal.read(path)[1].running_loss) == list(range(11, 1051, 11))


def test_what_is_done_before_the_first_step_is_known_until_it_starts(path):
    write(path, {"type": "preparing", "what": "reading_data"})
    assert journal.read(path)[1].preparing == "reading_data"
    write(path, {"type": "preparing", "what": "asking_base"})
    assert journal.read(path)[1].preparing == "asking_base"
    write(path, started())
    assert journal.read(path)[1].preparing == ""


def test_a_run_that_is_queued_again_began_when_it_was_queued_first(path):
    for at in (10.0, 20.0):
        write(path, {"type": "queued", "at": at, "pairs": 3, "finish": False})
    record = journal.read(path)[1]
    assert (record.begun_at, record.queued_at) == (10.0, 20.0)


def test_another_journal_of_the_same_name_is_read_from_its_beginning(path):
    write(path, step(1), step(2))
    assert len(journal.read(path)[0]) == 2
    path.unlink()  # its inode is often given to the next one
    write(path, step(7), step(8), step(9))
    assert journal.read(path)[0] == [step(7), step(8), step(9)]


def test_a_full_disk_leaves_no_half_line(path, monkeypatch):
    write(path, step(1))
    whole, written = path.read_bytes(), os.write
    monkeypatch.setattr(os, "write", lambda file, data: written(file, data[:10]))
    with pytest.raises(OSError, match="No space left") as caught:
        write(path, step(2))
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "line",
    [
        *("5", '"x"', "[1]", "null", '{"a": 1}', '{"type": 5}', '{"type": ["step"]}', "[" * 10_000),
        *('{"type": "step"}', '{"type": "step", "step": "1", "steps": 8, "loss": 1.0, "seconds": 1.0}'),
        *('{"type": "started", "steps": 8, "epochs": 0}', '{"type": "queued", "at": "now"}', '{"type": "failed"}'),
    ],
)
def test_json_that_is_no_event_is_left_out_like_a_line_that_cannot_be_parsed(path, line):
    write(path, started(), step(1))
    path.write_text(path.read_text() + line + "\n")
    write(path, step(2))
    events, record = journal.read(path)
    assert events == [started(), step(1), step(2)]
    assert list(record.steps) == [1, 2]


def test_processes_that_write_at_the_same_time_lose_nothing(path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom kochat.runs import journal\n"
        "for n in range(300): journal.append(Path(sys.argv[1]), {'type': sys.argv[2], 'n': n})\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, path, name]) for name in ("one", "two")]
    assert [process.wait() for process in both] == [0, 0]
    events = journal.read(path)[0]
    for name in ("one", "two"):
        assert [event["n"] for event in events if event["type"] == name] == list(range(300))


def test_ten_thousand_steps_are_read_in_a_moment(path):
    lines = [json.dumps({**step(n), "steps": 10_000}) for n in range(1, 10_001)]
    path.write_text(json.dumps(started()) + "\n" + "\n".join(lines) + "\n")
    begin = time.monotonic()
    assert journal.read(path)[1].last_step()["step"] == 10_000
    first = time.monotonic() - begin
    again = []
    for _ in range(5):  # one of them may be held up by what else the machine does
        begin = time.monotonic()
        journal.read(path)
        again.append(time.monotonic() - begin)
    assert first < 0.5
    assert min(again) < first / 5
