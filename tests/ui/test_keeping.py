"""What outlives a restart, as the page has it: who is told what, health, and an end that copies once more."""

import os
import signal

import gradio as gr
import pytest
from test_monitor import answer

from kochat.data import datasets, taught
from kochat.errors import HubError
from kochat.sharing.sync import Sync
from kochat.sharing.sync_targets import FolderTarget
from kochat.ui import keeping, monitor
from kochat.ui.runs import server
from kochat.ui.sessions import COOKIE, sessions


@pytest.fixture(autouse=True)
def outside(monkeypatch):
    """No settings of whoever runs the tests, and no sync of another test."""
    for name in ("SPACE_ID", "KOCHAT_SYNC", "KOCHAT_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(keeping, "_sync", None)


def asked_by(is_owner, language="en"):
    cookies = {COOKIE: sessions.begin("", "8.8.8.8")} if is_owner else {}
    headers = {"accept-language": language, "host": "talk.hf.space"}
    return gr.Request(client={"host": "8.8.8.8"}, cookies=cookies, headers=headers, session_hash="s")


def save(home, name):
    folder = home / "checkpoints" / name
    folder.mkdir(parents=True)
    (folder / "kochat.json").write_text("{}")


def test_the_owner_of_a_space_alone_is_told_what_goes_at_the_next_restart(home, monkeypatch):
    assert not keeping.show(asked_by(is_owner=True)).visible  # a disk of one's own stays
    monkeypatch.setenv("SPACE_ID", "somebody/talk")
    told = keeping.show(asked_by(is_owner=True))
    assert told.visible
    assert "wiped at every restart. Under" in told.value  # nothing is made yet
    for number in range(6):
        save(home, f"봇-{number}")
    save(home, "<b>")
    datasets.empty(home / "datasets", "shop")
    taught.open_taught(home / "visitors" / "0123")
    (home / "visitors" / "0123" / "decisions.json").write_text("{}")
    told = keeping.show(asked_by(is_owner=True, language="ko")).value
    assert "사라지는 것: 챗봇 7개(&lt;b&gt;, 봇-0, 봇-1, 봇-2, 봇-3, …), 데이터 1개, 방문자가 가르친 목록 1개." in told
    hidden = keeping.show(asked_by(is_owner=False))
    assert (hidden.visible, hidden.value) == (False, "")


def test_a_space_with_a_disk_that_lasts_or_a_place_to_copy_to_loses_nothing(home, monkeypatch):
    monkeypatch.setenv("SPACE_ID", "somebody/talk")
    with monkeypatch.context() as mounted:
        mounted.setattr(os.path, "ismount", lambda path: path == home.parent)
        assert keeping.warnings("en") == []
    (home / "bucket").mkdir()
    monkeypatch.setenv("KOCHAT_SYNC", str(home / "bucket"))
    before = signal.getsignal(signal.SIGTERM)
    try:
        keeping.start()
        assert keeping.warnings("en") == []
        assert keeping.is_ready()
        keeping._sync.copy()
        assert keeping.status("ko") == f"{home / 'bucket'}, 0분 전"
    finally:
        signal.signal(signal.SIGTERM, before)
        keeping.stop()


def test_health_is_not_well_before_all_is_here_again_and_the_owner_hears_why(home, tmp_path, monkeypatch):
    monitor.watcher.look()
    ours = Sync(FolderTarget(tmp_path / "bucket"))
    monkeypatch.setattr(keeping, "_sync", ours)
    assert not ours.attempt()
    assert answer("/health")[0] == 503
    [told] = keeping.warnings("en")
    assert "could not be brought back" in told
    assert f"The folder {tmp_path / 'bucket'} that KOCHAT_SYNC names is not there." in told
    assert not keeping.show(asked_by(is_owner=False)).visible
    (tmp_path / "bucket").mkdir()
    assert ours.attempt()
    assert answer("/health")[0] == 200
    assert keeping.warnings("en") == []
    ours.failure = HubError("hub_too_many", name="somebody/kept")
    [told] = keeping.warnings("ko")
    assert "복사하지 못하고 있어요. Hugging Face Hub에 보낸 요청이 너무 많아서" in told
    assert answer("/health")[0] == 200  # the chat goes on
    now = monitor.numbers() | {"errors": []}
    assert "Copied to</th><td>The Hugging Face Hub has had too many requests" in server.numbers_html("en", now)
    ours.failure, ours.unreadable = None, ("datasets/d.pairs",)
    assert "datasets/d.pairs" in keeping.warnings("en")[0]


def test_a_server_that_is_ended_copies_once_more(home, tmp_path, monkeypatch):
    bucket = tmp_path / "bucket"
    bucket.mkdir()
    monkeypatch.setenv("KOCHAT_SYNC", str(bucket))
    before = signal.getsignal(signal.SIGTERM)
    try:
        keeping.start()
        save(home, "bot")
        with pytest.raises(KeyboardInterrupt):  # which gradio waits for
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
        keeping.stop()
    assert list(bucket.rglob("kochat.json"))
