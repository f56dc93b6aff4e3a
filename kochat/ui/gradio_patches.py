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


def _to_javascript(value: Any) -> Markup:
    is_config = isinstance(value, dict) and "dependencies" in value
    return Markup(f"{WITHOUT_PROXIES}({_to_json(value)})") if is_config else _to_json(value)


def _begin(self: SessionState, blocks: gr.Blocks) -> None:
    # To give away links to a page as it is, gradio keeps the configs of all its components, 0.7 MB, and makes them anew
    # at each event that changes one. We have no such links. At first it takes those of the `blocks` that it is given.
    _begin_whole(self, SimpleNamespace(default_config=blocks.default_config, blocks={}))
    self.blocks_config.config_for_block = _no_config


def _no_config(*_) -> dict[str, Any]:
    return {}
