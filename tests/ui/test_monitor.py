"""The server in numbers: replies, errors, health, and who may see which of it."""

import asyncio
import json
import logging
import time

import gradio as gr
import pytest
from starlette.applications import Starlette

from kochat import __version__
from kochat.ui import monitor, routes
from kochat.ui.monitor import RecentErrors, Replies
from kochat.ui.runs import server


def test_replies_are_counted_when_they_are_whole():
    replies = Replies()
    assert (replies.in_last_minute(), replies.percentile(0.5)) == (0, None)
    assert list(replies.timed(iter("ab"))) == ["a", "b"]
    stopped = replies.timed(iter("ab"))
    next(stopped)
    stopped.close()
    with pytest.raises(ZeroDivisionError):
        list(replies.timed(1 / n for n in (1, 0)))
    assert replies.in_last_minute() == 1
    for seconds in range(1, 100):
        replies.add(float(seconds))
    assert (replies.percentile(0.5), replies.percentile(0.95)) == (50.0, 95.0)


def test_replies_of_longer_ago_are_none_of_the_last_minute(monkeypatch):
    replies, now = Replies(), time.monotonic()
    replies.add(1.0)
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    assert (replies.in_last_minute(), replies.percentile(0.95)) == (0, 1.0)


def test_the_last_errors_of_the_log_are_kept_the_newest_first():
    log, errors = logging.getLogger("test_monitor"), RecentErrors()
    log.addHandler(errors)
    for number in range(30):
        log.error("number %d\nmore", number)
    log.warning("nothing to see")
    try:
        raise OSError("no room")
    except OSError:
        log.exception("could not be written")
    assert [what for _, what in errors.newest()[:2]] == ["could not be written (OSError: no room)", "number 29"]
    assert len(errors.newest()) == monitor.MAX_ERRORS


def answer(path: str, **parameters: str):
    """What the route of a path answers."""
    query = "&".join(f"{name}={value}" for name, value in parameters.items()).encode()
    scope = {"type": "http", "method": "GET", "path": path, "query_string": query, "headers": []}
    sent = []

    async def send(message):
        sent.append(message)

    asked = iter([{"type": "http.request"}])

    async def receive():
        for event in asked:
            return event
        await asyncio.Event().wait()  # whoever asks stays: nothing more comes

    asyncio.run(Starlette(routes=routes.ROUTES)(scope, receive, send))
    return sent[0]["status"], sent[1]["body"]


def test_health_says_version_checkpoints_and_runs_and_503_where_nobody_looks_after_them(home, monkeypatch):
    monitor.watcher.look()
    told = {"ok": True, "version": __version__, "checkpoints": [], "runs": {}}
    monkeypatch.setattr(monitor.models, "_bots", {})
    status, body = answer("/health")
    assert (status, json.loads(body)) == (200, told)
    monkeypatch.setattr(monitor.watcher, "looked_at", time.monotonic() - 61)
    status, body = answer("/health")
    assert (status, json.loads(body)) == (503, told | {"ok": False})


def test_a_page_hears_what_is_new_and_waits_where_nothing_is(home, monkeypatch):
    monkeypatch.setattr(routes, "LONGEST_WAIT", 0.05)
    monitor.watcher.look()
    status, now = answer("/changes/runs")
    assert (status, now.decode()) == (200, monitor.watcher.revision("runs"))
    began = time.monotonic()
    assert answer("/changes/runs", since=now.decode()) == (200, now)
    assert time.monotonic() - began > 0.04
    assert answer("/changes/secrets")[0] == 404


def test_the_owner_alone_sees_the_numbers_as_text(home):
    request = gr.Request(session_hash="one")
    request.kwargs = {"headers": {"accept-language": "en", "x-forwarded-for": "1.2.3.4"}, "cookies": {}}
    with pytest.raises(gr.Error, match="owner"):
        server.show(request)
    now = monitor.numbers() | {"p50": 0.25, "p95": None, "runs": {"finished": 3}, "errors": [(0.0, "<b>no</b>")]}
    shown = server.numbers_html("en", now | {"memory": 3 * 2**29})
    for part in ("0.25 / –", "1.5 GiB / ", "done 3", "&lt;b&gt;no&lt;/b&gt;"):
        assert part in shown
