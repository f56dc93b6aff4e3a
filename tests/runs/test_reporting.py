"""Reporting to trackio: nothing unless asked for; then each epoch's figures, in its own store."""

import json
import sqlite3
import sys

import pytest

from kochat.config import TrainingConfig
from kochat.errors import SettingsError
from kochat.runs import reporting

EPOCH = {
    "type": "epoch",
    "epoch": 1,
    "loss": 2.5,
    "validation_loss": None,
    "perplexity": 12.2,
    "tokens_per_second": 800.0,
}


def test_nothing_is_reported_unless_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", None)
    reporting.reporter("mine", TrainingConfig())(EPOCH)
    with pytest.raises(SettingsError, match="pip install trackio"):
        reporting.reporter("mine", TrainingConfig(report_to="trackio"))


def test_the_figures_of_an_epoch_are_in_trackios_store(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))
    report = reporting.reporter("mine", TrainingConfig(report_to="trackio"))
    report({"type": "step", "step": 1})
    report(EPOCH)
    report({"type": "finished"})
    [database] = tmp_path.glob("*.db")
    rows = sqlite3.connect(database).execute("select run_name, step, metrics from metrics").fetchall()
    assert [(name, step) for name, step, _ in rows] == [("mine", 1)]
    assert json.loads(rows[0][2])["loss"] == 2.5
