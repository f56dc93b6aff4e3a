"""What gradio keeps of each page that is open, made small.

For each page gradio copies the configs of all components, so that it can give away a link to the page as it is. We have
no such links, and a copy is 0.7 MB and takes longer than a reply. Knows gradio's sessions; nothing of the page.
"""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr
from gradio.state_holder import SessionState

_whole = SessionState.__init__


class _Nothing(dict):
    """A dictionary that stays empty."""

    def __setitem__(self, key: int, value: object) -> None:
        pass


def keep_no_configs() -> None:
    """Let the sessions of this process keep no such copies."""
    SessionState.__init__ = _begin
    SessionState._update_config = SessionState._update_value_in_config = _do_not_update


def _begin(self: SessionState, blocks: gr.Blocks) -> None:
    # It copies the configs of the `blocks` of what it is given.
    _whole(self, SimpleNamespace(default_config=blocks.default_config, blocks={}))
    self.config_values = _Nothing()


def _do_not_update(self: SessionState, *_) -> None:
    """Keep nothing."""
