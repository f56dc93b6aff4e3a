"""Two things of gradio's made lighter, for everybody who opens the page.

Knows gradio's sessions and its template; nothing of what is on the page. Where another gradio has them no longer, the
tests of this file say so.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import gradio as gr
import gradio.routes
from gradio.state_holder import SessionState
from markupsafe import Markup

# Svelte makes a proxy of each plain array and object that it is given, and gradio looks through all events once for
# each component: through proxies that takes a quarter of the time until the page is there. An array of another class
# gets none.
WITHOUT_PROXIES = "(config => (config.dependencies = class Events extends Array {}.from(config.dependencies), config))"

_begin_whole = SessionState.__init__
_to_json = gradio.routes.templates.env.filters["toorjson"]


def patch() -> None:
    """Let this process send a page that opens sooner, and keep less of each one that is open."""
    gradio.routes.templates.env.filters["toorjson"] = _to_javascript
    SessionState.__init__ = _begin
    SessionState._update_config = SessionState._update_value_in_config = _do_not_update


def _to_javascript(value: Any) -> Markup:
    is_config = isinstance(value, dict) and "dependencies" in value
    return Markup(f"{WITHOUT_PROXIES}({_to_json(value)})") if is_config else _to_json(value)


class _Nothing(dict):
    """A dictionary that stays empty."""

    def __setitem__(self, key: int, value: object) -> None:
        pass


def _begin(self: SessionState, blocks: gr.Blocks) -> None:
    # For each page gradio copies the configs of all components, 0.7 MB, to give away links to the page as it is. We
    # have no such links. It copies those of the `blocks` of what it is given.
    _begin_whole(self, SimpleNamespace(default_config=blocks.default_config, blocks={}))
    self.config_values = _Nothing()


def _do_not_update(self: SessionState, *_) -> None:
    """Keep nothing."""
