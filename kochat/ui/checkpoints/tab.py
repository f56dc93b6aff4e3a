"""The chatbots tab: what is there, its card, rename, delete, download as a zip, upload of one."""

from __future__ import annotations

import contextlib
import html
import re
import shutil
from dataclasses import replace
from pathlib import Path

import gradio as gr

from kochat.config import DEFAULT_CHECKPOINT
from kochat.errors import CheckpointError
from kochat.files import safe_name
from kochat.model import checkpoint
from kochat.model.cards import model_card
from kochat.runs import library
from kochat.ui import models, owner
from kochat.ui.auth import owner_only
from kochat.ui.checkpoints import about, figures, publish
from kochat.ui.profile import title_of
from kochat.ui.text import language_of, say, shows_errors, t
from kochat.ui.uploads import read_once
from kochat.ui.widgets import PRIVATE, ChatTab, afterwards, checkpoint_choices, checkpoint_dropdown, confirm, downloads


def card_of(name: str | None) -> str:
    """What the README of a checkpoint says, without the lines that only the Hub reads, and without its evaluation.

    That is shown below it, in the visitor's language.
    """
    path = checkpoint.list_checkpoints(for_chat=False).get(name or "")
    if path is None:
        return ""
    card = checkpoint.read_card(path)
    metrics = {key: value for key, value in card.metrics.items() if key != "evaluation"}
    text = model_card(path.name, replace(card, metrics=metrics))
    return re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL)


def choose(wanted: str | None) -> tuple[gr.Dropdown, str]:
    """The dropdown with what is there now, and the card of what is chosen in it."""
    choices = checkpoint_choices(for_chat=False)
    names = [name for _, name in choices]
    name = wanted if wanted in names else next(iter(names), None)
    return gr.Dropdown(choices=choices, value=name), card_of(name)


def show(name: str, asked: str | None) -> tuple:
    """The card of what is chosen; the question whether to delete goes if it was `asked` about another.

    Only then: gradio reports a change more than once, and the last time after somebody has pressed the button.
    """
    own = name != DEFAULT_CHECKPOINT.name  # the shipped one stays as it is
    buttons = gr.Button(interactive=own), gr.Button(interactive=own)
    return card_of(name), gr.Column(visible=False) if asked not in (None, name) else gr.skip(), *buttons


def changed(wanted: str | None, in_chat: str) -> tuple:
    """Dropdown, card, name box, the chat's dropdown, question and downloads, when something is renamed or gone."""
    hidden = [gr.DownloadButton(visible=False)] * 2
    return *choose(wanted), "", checkpoint_dropdown(in_chat), gr.Column(visible=False), *hidden


@shows_errors
@owner_only
def rename(name: str, new_name: str, in_chat: str, request: gr.Request):
    """Rename the checkpoint chosen; a chat with it goes on under the new name."""
    made = library.rename(name, new_name)
    return changed(made.name, made.name if in_chat == name else in_chat)


@shows_errors
@owner_only
def delete(name: str, in_chat: str, request: gr.Request):
    """Delete the checkpoint chosen."""
    library.delete(name)
    return changed(None, in_chat)


@shows_errors
@owner_only
def pack(name: str, request: gr.Request):
    """Offer the checkpoint chosen as a zip."""
    return gr.DownloadButton(value=str(library.pack(name, downloads())), visible=True)


def file_name(name: str) -> str:
    """What the files of a checkpoint are called: as its owner calls the chatbot, where a file can be called so."""
    with contextlib.suppress(CheckpointError):
        return safe_name(re.sub(r"[^\w -]+", " ", title_of(name, models.card(name))))
    return name


@shows_errors
@owner_only
def as_web_page(name: str, request: gr.Request, progress=gr.Progress()):  # noqa: B008
    """Offer the checkpoint chosen as one HTML file that talks by itself, or a large one as a zip for a web host."""
    from kochat.sharing.web import MANY_BYTES, export_web, weights_size  # torch takes seconds; the page is there before

    path = checkpoint.list_checkpoints(for_chat=False).get(name or "")
    if path is None:
        raise CheckpointError("no_checkpoint", path=name or "")
    if (size := weights_size(path)) > MANY_BYTES:
        gr.Warning(html.escape(say(language_of(request), "k_web_large", size=f"{size / 1e6:.0f}")))
    page = export_web(path, downloads() / f"{file_name(name)}.html", progress=progress)
    if page.is_dir():
        page = shutil.make_archive(f"{page}-web", "zip", page)  # NAME.zip is the checkpoint itself
    return gr.DownloadButton(value=str(page), visible=True)


@shows_errors
@owner_only
def unpack(path: str | None, in_chat: str, request: gr.Request):
    """Take in the zip that was uploaded."""
    if not path:
        return [gr.skip()] * 7
    with read_once(path, request):
        made = library.unpack(Path(path))
    gr.Info(html.escape(say(language_of(request), "k_unpacked", name=made.name)))
    return changed(made.name, in_chat)


def build(page: gr.Blocks, tab: gr.Tab, chat: ChatTab) -> None:
    """The components and events of the tab."""
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            chosen = gr.Dropdown([], label=t("k_checkpoint"), interactive=True, filterable=False, elem_id="kept")
            new_name = gr.Textbox(
                label=t("k_new_checkpoint_name"), max_length=checkpoint.MAX_NAME_LENGTH, elem_id="new-name"
            )
            with gr.Row():
                rename_button = gr.Button(t("k_rename"), elem_id="rename")
                delete_button = gr.Button(t("k_delete"), elem_id="delete")
            sure, yes = confirm("k_sure_checkpoint", elem_id="delete-yes")
            pack_button = gr.Button(t("k_pack"), elem_id="pack")
            download = gr.DownloadButton(t("k_download"), visible=False, variant="primary", elem_id="download")
            web_button = gr.Button(t("k_web"), elem_id="web")
            gr.Markdown(t("k_web_info"), elem_classes="quiet")
            web_page = gr.DownloadButton(t("k_web_download"), visible=False, variant="primary", elem_id="web-download")
            publish.build(chosen)
            upload = gr.File(label=t("k_upload_zip"), height=155, elem_id="upload-zip")
        with gr.Column(scale=3, min_width=300):
            about.build(chosen, tab, chat)
            with gr.Accordion(t("k_figures_title"), open=False, elem_id="figures-part"):
                figures.build(chosen, tab)
            with gr.Accordion(t("k_for_developers"), open=False, elem_id="card-part"):
                card = gr.Markdown(elem_id="card", sanitize_html=True)
    owner.build(page)
    asked = gr.State(None)  # of which one the question is whether to delete it

    quick, all_changed = (
        {"queue": False, **PRIVATE},
        [chosen, card, new_name, chat.checkpoint, sure, download, web_page],
    )
    tab.select(choose, chosen, [chosen, card], **quick)
    chat.checkpoint.change(choose, chat.checkpoint, [chosen, card], **quick)  # what one talks to is what one looks at
    chosen.change(show, [chosen, asked], [card, sure, rename_button, delete_button], **quick)
    # Not after any change: that after a rename may come late, when the new one is packed already.
    chosen.input(lambda: [gr.DownloadButton(visible=False)] * 2, None, [download, web_page], **quick)
    # Only an event that goes through the queue can show its error as a sentence.
    rename_button.click(rename, [chosen, new_name, chat.checkpoint], all_changed, **PRIVATE)
    delete_button.click(lambda name: (gr.Column(visible=True), name), chosen, [sure, asked], **quick)
    yes.click(delete, [chosen, chat.checkpoint], all_changed, **PRIVATE)
    pack_button.click(pack, chosen, download, **PRIVATE)
    web_button.click(
        as_web_page, chosen, web_page, **PRIVATE | {"show_progress": "full", "show_progress_on": web_button}
    )
    taken = upload.upload(unpack, [upload, chat.checkpoint], all_changed, **PRIVATE)
    afterwards(taken, lambda: None, None, upload, **quick)
