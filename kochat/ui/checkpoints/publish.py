"""Putting a checkpoint on the Hugging Face Hub, from the chatbots tab: private unless its owner says otherwise."""

from __future__ import annotations

import gradio as gr

from kochat.errors import CheckpointError
from kochat.model import checkpoint
from kochat.ui.auth import owner_themselves_only
from kochat.ui.sessions import COOKIE, sessions
from kochat.ui.text import language_of, say, shows_errors, t
from kochat.ui.widgets import PRIVATE


@shows_errors
@owner_themselves_only
def push(name: str, repo: str, public: bool, with_pairs: bool, request: gr.Request) -> str:
    """Push the checkpoint chosen, and say where it is. On a Space the token is that of who has signed in there."""
    from kochat.sharing import hub  # torch takes seconds; the page is there before

    path = checkpoint.list_checkpoints(for_chat=False).get(name or "")
    if path is None:
        raise CheckpointError("no_checkpoint", path=name or "")
    session = sessions.find(request.cookies.get(COOKIE))
    made = hub.push(path, (repo or "").strip(), not public, with_pairs, session.hub_token if session else None)
    language = language_of(request)
    seen = say(language, "k_push_private" if made.is_private else "k_push_public")
    key = "k_push_done" if made.is_changed else "k_push_same"
    return say(language, key, repo=made.repo, url=made.url, seen=seen)


def build(chosen: gr.Dropdown) -> None:
    """The components and events; `chosen` is the checkpoint that is looked at."""
    with gr.Accordion(t("k_push_title"), open=False, elem_id="push-part"):
        gr.Markdown(t("k_push_info"), elem_classes="quiet")
        repo = gr.Textbox(label=t("k_push_repo"), placeholder="owner/name", max_length=200, elem_id="push-repo")
        public = gr.Checkbox(False, label=t("k_push_everybody"), elem_id="push-public")
        with_pairs = gr.Checkbox(False, label=t("k_push_pairs"), elem_id="push-pairs")
        button = gr.Button(t("k_push"), elem_id="push")
        done = gr.Markdown(elem_id="push-done")
    options = PRIVATE | {"show_progress": "full", "show_progress_on": button}
    button.click(push, [chosen, repo, public, with_pairs], done, **options)
    chosen.input(lambda: "", None, done, queue=False, **PRIVATE)
