"""An evaluation in a process of its own: its figures, its failure, and that there is one at a time."""

import json
import time

import pytest

from kochat.errors import RunError
from kochat.model import checkpoint
from kochat.runs import evaluation_job


@pytest.fixture(autouse=True)
def _none_before(monkeypatch):
    monkeypatch.setattr(evaluation_job, "_newest", {})


@pytest.fixture
def forked(processes, monkeypatch):
    """Evaluations are such processes; a whole one is started by the page, in its tests in the browser."""
    monkeypatch.setattr(evaluation_job, "_process", lambda words: processes.Command(["eval", *words]))


def wait(job):
    end = time.monotonic() + 120
    while not job.over:
        assert time.monotonic() < end
        time.sleep(0.05)
    return job


def test_the_figures_come_with_progress_and_only_one_is_on_at_a_time(tiny_checkpoint, tmp_path, sample, forked):
    data = tmp_path / "pairs.csv"
    sample[:9].to_csv(data, index=False)
    job = evaluation_job.start(tiny_checkpoint, str(data), held_out=False, record=True)
    assert evaluation_job.running() is job
    with pytest.raises(RunError, match="An evaluation is on already"):
        evaluation_job.start(tiny_checkpoint, str(data), held_out=False, record=True)
    wait(job)
    assert job.failure is None
    assert job.done > 0.5
    assert evaluation_job.running() is None
    assert evaluation_job.newest(tiny_checkpoint) is job
    assert job.figures["questions"] == 9
    card = checkpoint.read_card(tiny_checkpoint)
    assert card.metrics["evaluation"] == json.loads(json.dumps(job.figures))
    assert "| questions | 9 |" in (tiny_checkpoint / "README.md").read_text("utf-8")


def test_an_error_of_ours_arrives_as_itself_and_the_card_stays(tiny_checkpoint, forked):
    before = checkpoint.read_card(tiny_checkpoint)
    job = wait(evaluation_job.start(tiny_checkpoint, "jobs", held_out=False, record=True))
    assert job.figures is None
    assert job.failure.key == "unknown_label"
    assert "건설현장" in job.failure.text("ko")
    assert checkpoint.read_card(tiny_checkpoint) == before
    job = wait(evaluation_job.start(tiny_checkpoint, "emotions", held_out=True, record=False))
    assert job.failure.key == "other_data"


def test_a_process_that_dies_says_why(tiny_checkpoint, monkeypatch, tmp_path):
    broken = tmp_path / "sitecustomize.py"
    # First an event that is cut off, and a byte of another encoding.
    broken.write_text(
        "import os\nos.write(1, b'{\"done\": 0.\\n\\xb0\\n')\nraise SystemExit('no memory left')", "utf-8"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    job = wait(evaluation_job.start(tiny_checkpoint, "emotions", held_out=False, record=False))
    assert job.failure.key == "evaluation_ended"
    assert evaluation_job.running() is None
    evaluation_job.forget(tiny_checkpoint)
    assert evaluation_job.newest(tiny_checkpoint) is None
