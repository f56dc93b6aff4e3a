"""The server in numbers, for its owner: folded, below the runs; asked for when it is opened."""

from __future__ import annotations

import html
from datetime import datetime
from typing import Any

import gradio as gr

from kochat.ui import keeping, monitor
from kochat.ui.auth import is_owner_themselves, owner_themselves_only
from kochat.ui.text import language_of, say, shows_errors, t
from kochat.ui.widgets import PRIVATE

GIB = 2**30


def numbers_html(language: str, now: dict[str, Any]) -> str:
    """`monitor.numbers` as a table, the last errors below."""
    seconds = " / ".join("–" if now[name] is None else f"{now[name]:.2f}" for name in ("p50", "p95"))
    memory = [f"{now[name] / GIB:.1f} GiB" for name in ("memory", "memory_free")]
    runs = (f"{say(language, f'k_is_{state}')} {number}" for state, number in sorted(now["runs"].items()))
    rows = {
        "k_server_pages": str(now["pages"]),
        "k_server_replies": str(now["replies_a_minute"]),
        "k_server_latency": seconds,
        "k_server_memory": " / ".join(memory),
        "k_server_disk": f"{now['disk_free'] / GIB:.1f} GiB",
        "k_server_loaded": ", ".join(now["checkpoints"]) or "–",
        "k_server_runs": ", ".join(runs) or "–",
        "k_server_kept": keeping.status(language),
    }
    cells = "".join(
        f"<tr><th>{html.escape(say(language, key))}</th><td>{html.escape(value)}</td></tr>"
        for key, value in rows.items()
    )
    told = "\n".join(f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M:%S} {what}" for at, what in now["errors"])
    title = html.escape(say(language, "k_server_errors"))
    return (
        f'<div class="rows"><table><tbody>{cells}</tbody></table></div>'
        f'<h4>{title}</h4><pre class="log">{html.escape(told) or "–"}</pre>'
    )


@shows_errors
@owner_themselves_only
def show(request: gr.Request) -> str:
    """The numbers as they are now."""
    return numbers_html(language_of(request), monitor.numbers())


def build(tab: gr.Tab) -> None:
    """The folded part of the tab and its events."""
    with gr.Accordion(t("k_server"), open=False, visible=False, elem_id="server") as part:
        again = gr.Button(t("k_server_again"), size="sm", elem_id="server-again")
        shown = gr.HTML(elem_id="server-numbers")

    def for_its_owner(request: gr.Request) -> gr.Accordion:
        return gr.Accordion(visible=is_owner_themselves(request))

    tab.select(for_its_owner, None, part, queue=False, **PRIVATE)
    for event in (part.expand, again.click):
        event(show, None, shown, **PRIVATE)
