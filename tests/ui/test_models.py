"""Loaded chatbots: the few that people talk to stay."""

from kochat.ui import models


def test_the_one_used_longest_ago_goes_first(tmp_path, monkeypatch):
    loaded = []
    monkeypatch.setattr(models, "_bots", {})
    monkeypatch.setattr(models, "version", lambda name: (tmp_path / name, 0.0))
    monkeypatch.setattr(models, "_load", lambda path: loaded.append(path.name) or path.name)
    for name in ("a", "b", "c", "a", "d", "a", "b"):
        assert models.bot(name) == name
    assert models.KEPT == 3
    assert loaded == ["a", "b", "c", "d", "b"]
