"""What a tab shows before there is anything in it: what it is for, and a picture of it."""

from __future__ import annotations

import html

from kochat.ui.text import say

# A training loss that falls, and a validation loss that falls less: an example, no measurement.
CURVE = (
    '<svg viewBox="0 0 240 100" aria-hidden="true"><path class="axis" d="M12 4V88H236"/>'
    '<path class="validation" d="M16 16C50 46 90 56 232 60"/>'
    '<path class="training" d="M16 12C50 56 100 74 232 82"/></svg>'
)


def runs_html(language: str, key: str) -> str:
    """The sentences of `key`, and what a curve looks like."""
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in say(language, key).split("\n"))
    caption = html.escape(say(language, "k_empty_curve"))
    return f'<div class="empty">{lines}<figure>{CURVE}<figcaption>{caption}</figcaption></figure></div>'
