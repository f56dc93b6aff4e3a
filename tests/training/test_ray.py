"""Ray Train: the script of the manual, with two workers, has the curve of one process, also where one is killed."""

import json
import re

import on_ray
import psutil
import pytest

import kochat
from kochat.config import TrainingConfig
from kochat.data.pairs import read_pairs
from kochat.training import state
from kochat.training.events import Epoch, Step
from kochat.training.fine_tuning import fine_tune

pytest.importorskip("ray", reason='Ray is not installed: pip install "ray[train,serve]==2.60.0"')
pytestmark = pytest.mark.slow


@pytest.fixture
def settings(tiny_base):
    shares = {"validation_share": 0.2, "test_share": 0.0}
    more = {"rows": 60, "epochs": 4, "dropout": 0.0, "precision": "float32", "max_grad_norm": 1e6}
    return {"data": "emotions", "base": str(tiny_base), **shares, **more}


def train_on_ray(settings, folder):
    """The script of the manual as a process; in the end it writes what its rank 0 returned to `steps.json`."""
    ours = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    changes = {'Path("/shared")': f"Path({str(folder)!r})", 'data="emotions", epochs=10': ours}
    code = on_ray.script("docs/training.md", "train_on_ray.py", changes)
    then = "import json; json.dump(made['result'].return_value, open('steps.json', 'w'))"
    return on_ray.running(code, folder, then)


def equal_one_process(settings, folder, steps, from_step):
    """Asserts that the losses from a step on are those of one process, and what was written as good; its events."""
    events = list(fine_tune(TrainingConfig(**settings, output=str(folder / "one"))))
    one = {event.step: event.loss for event in events if isinstance(event, Step) and event.step >= from_step}
    assert {step["step"]: step["loss"] for step in steps} == pytest.approx(one, rel=1e-5)
    # Not the weights: without a gradient AdamW moves the biases of the keys by rounding errors, which change nothing.
    ours, theirs = (kochat.load(folder / name) for name in ("one", "mine"))
    for question, answer, label in read_pairs("emotions")[:30].itertuples(index=False, name=None):
        assert theirs.score(question, answer, label) == pytest.approx(ours.score(question, answer, label), rel=1e-4)
    return events


def test_two_workers_have_the_curve_of_one_process(settings, tmp_path):
    with train_on_ray(settings, tmp_path) as process:
        process.wait()
    printed = on_ray.printed(tmp_path)
    assert process.returncode == 0, printed
    assert "world_size=2" in printed
    events = equal_one_process(settings, tmp_path, json.loads((tmp_path / "steps.json").read_text()), 1)
    reported = re.findall(r"'epoch': (\d+), 'epochs': 4, 'loss': ([\d.]+)", printed)
    losses = {event.epoch: event.loss for event in events if isinstance(event, Epoch)}
    assert {int(epoch): float(loss) for epoch, loss in reported} == pytest.approx(losses, rel=1e-5)


def test_after_a_killed_worker_two_go_on_from_the_saved_state(settings, tmp_path):
    settings["epochs"] = 10  # Ray takes a report every two seconds, so it is not over before
    with train_on_ray(settings, tmp_path) as process:
        on_ray.wait_until(lambda: state.newest(tmp_path / "state"), process, tmp_path)
        started = psutil.Process(process.pid).children(recursive=True)
        workers = [one for one in started if "RayTrainWorker" in " ".join(one.cmdline())]
        assert len(workers) == 2
        workers[1].kill()
        process.wait()
    assert process.returncode == 0, on_ray.printed(tmp_path)
    steps = json.loads((tmp_path / "steps.json").read_text())
    assert steps[0]["step"] > 1
    equal_one_process(settings, tmp_path, steps, steps[0]["step"])
