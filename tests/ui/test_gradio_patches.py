"""What of gradio is made lighter is there, and what it does stays."""

import asyncio
import json

import gradio as gr
import gradio.routes
import pytest
from gradio.state_holder import SessionState

from kochat.ui import gradio_patches


@pytest.fixture
def page(monkeypatch):
    filters = gradio.routes.templates.env.filters
    monkeypatch.setitem(filters, "toorjson", filters["toorjson"])
    monkeypatch.setattr(SessionState, "__init__", SessionState.__init__)  # as it was, afterwards
    gradio_patches.patch()
    with gr.Blocks() as page:
        text, kept = gr.Textbox(), gr.State([])
        again = gr.Dropdown(["a"], value="a")

        def said(text, kept):
            return f"{text}!", [*kept, text], gr.Dropdown(choices=[*kept, text])

        text.submit(said, [text, kept], [text, kept, again])
    return page


def test_sessions_keep_their_own_state_and_no_configs(page):
    one, other = SessionState(page), SessionState(page)
    told = [asyncio.run(page.process_api(0, [word, None], state=one))["data"] for word in ("하나", "둘")]
    assert [data[0] for data in told] == ["하나!", "둘!"]
    assert told[1][2]["choices"] == [["하나", "하나"], ["둘", "둘"]]
    kept = page.fns[0].inputs[1]._id
    assert (one[kept], other[kept]) == (["하나", "둘"], [])
    assert not any((*one.config_values.values(), *other.config_values.values()))


def test_the_page_gets_its_events_in_an_array_of_another_class(page):
    template = gradio.routes.templates.env.from_string("{{ value | toorjson }}")
    sent = template.render(value=page.get_config_file())
    assert sent.startswith(gradio_patches.WITHOUT_PROXIES + "({")
    assert json.loads(sent.removeprefix(gradio_patches.WITHOUT_PROXIES)[1:-1])["dependencies"][0]["inputs"]
    assert template.render(value="/<root>") == r'"/\u003croot\u003e"'
