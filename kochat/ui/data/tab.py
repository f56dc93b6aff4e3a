"""The data tab: choose a dataset or bring one in, see what is wrong, mend it, go back, train on it.

Every handler finds the dataset anew, among those that whoever asks may see; nothing is kept in a page but
names and numbers, so two open pages cannot spoil each other's.
"""

from __future__ import annotations

import html

import gradio as gr

from kochat.data import datasets
from kochat.data.datasets import Dataset
from kochat.errors import KochatError
from kochat.ui import auth, lessons, models, sources
from kochat.ui.data import importing, overview, reviewing, rows
from kochat.ui.text import language_of, say, shows_errors, t
from kochat.ui.widgets import PRIVATE, ChatTab, afterwards, downloads

QUICK = {"queue": False, **PRIVATE}


def choices(request: gr.Request) -> list[tuple[str, str]]:
    """Dropdown choices: one's own datasets by name."""
    return [(name, name) for name in auth.datasets_of(request)]


def opened(key: str | None, request: gr.Request, chatbot: str | None = None) -> Dataset:
    """The dataset chosen; rows that change are held against what `chatbot` can take. Raises KochatError."""
    path, prompt = auth.path_of(key, request), models.prompt(chatbot) if chatbot else None
    return Dataset(path, prompt.too_long if prompt else None)


def refresh(key: str | None, number, search: str, label: str, only: str, row: rows.Place, request: gr.Request) -> list:
    """The list of datasets and all that is shown of the one chosen, as it is now; of the first where it is gone.

    `row` is the row in the form, which is closed where that is another dataset's.
    """
    language, found = language_of(request), choices(request)
    keys = [value for _, value in found]
    key = key if key in keys else next(iter(keys), None)
    in_form = rows.closed() if row and row[0] != key else [gr.skip()] * len(rows.closed())
    head = [gr.Dropdown(choices=found, value=key, visible=bool(keys)), note(request, bool(keys))]
    try:
        dataset, shown = opened(key, request), gr.Column(visible=True)
        plots = gr.Row(visible=dataset.counts().rows > 0)
        return [*head, shown, shown, plots, *details(language, dataset, number, search, label, only), *in_form]
    except KochatError as error:  # there is none, or one that is damaged, which can be deleted at least
        hidden, told = gr.Column(visible=False), html.escape(error.text(language))
        left, plots = gr.Column(visible=bool(keys)), gr.Row(visible=False)
        known = [*head, left, hidden, plots, f'<p class="banner bad">{told}</p>', hidden]
        return [*known, *[gr.skip()] * 14, *in_form]


def note(request: gr.Request, some: bool) -> gr.Markdown:
    """A sentence: what visitors may do, or what the owner begins with, where there are no datasets yet."""
    owner = auth.is_owner(request)
    for_visitors = t("k_visitors_data") if auth.may_teach(request) else t("k_visitors_only_chat")
    return gr.Markdown(t("k_first_dataset") if owner else for_visitors, visible=not (owner and some))


def details(language: str, dataset: Dataset, number, search: str, label: str, only: str) -> list:
    """What is shown of a dataset; a label that is gone is searched for no more."""
    labels = dataset.counts().labels
    label = label if label and label[1:] in labels else ""
    return [
        *overview.view(language, dataset),
        *overview.plots(language, labels, dataset.lengths()),
        gr.Dropdown(choices=rows.label_choices(labels), value=label),
        *rows.view(language, dataset, number, search, label, only),
    ]


@shows_errors
def view(key: str, number, search: str, label: str, only: str, request: gr.Request) -> list:
    """The page of the table that is asked for."""
    return rows.view(language_of(request), opened(key, request), number, search, label, only)


def view_first(key: str, _, search: str, label: str, only: str, request: gr.Request) -> list:
    """The first page of what is asked for anew."""
    return view(key, 1, search, label, only, request)


def turned(by: int):
    """A handler that turns the page."""

    def handler(key: str, number, search: str, label: str, only: str, request: gr.Request) -> list:
        return view(key, (number or 1) + by, search, label, only, request)

    return handler


@shows_errors
def pick(key: str, chatbot: str, request: gr.Request, event: gr.EventData) -> list:
    """The form of the row that was clicked."""
    dataset, prompt = opened(key, request), models.prompt(chatbot)
    return rows.filled_with(language_of(request), key, dataset, dataset.row(int(event.row)), prompt)


@shows_errors
def new_row(key: str, request: gr.Request) -> list:
    """An empty form."""
    return rows.filled_with(language_of(request), key, opened(key, request), None, None)


def tokens(chatbot: str, question: str, answer: str, label: str | None, request: gr.Request) -> str:
    """What the form's texts become."""
    return rows.tokens_html(language_of(request), models.prompt(chatbot), question, answer, label)


@shows_errors
@auth.teacher_only
def save(place: rows.Place, chatbot: str, question: str, answer: str, label: str | None, request: gr.Request):
    """Keep what the form says, as the row it is of or as a new one; whatever dataset is chosen by now."""
    key, row = place or (None, None)
    dataset, language = opened(key, request, chatbot), language_of(request)
    lessons.check_row(dataset, row, label or "", models.card(chatbot), request)
    if row is None:
        row = dataset.add(question, answer, label or "")
    else:
        dataset.edit(row, question, answer, label or "")
    gr.Info(say(language, "k_saved", row=row))
    return rows.closed()


@shows_errors
@auth.teacher_only
def delete_row(place: rows.Place, request: gr.Request):
    """Take the row of the form away."""
    key, row = place or (None, None)
    opened(key, request).delete([row])
    gr.Info(say(language_of(request), "k_row_deleted", row=row))
    return rows.closed()


@shows_errors
def all_mended(key: str | None, only: str, request: gr.Request):
    """Back to all rows, where somebody went through those to mend and none of them is left."""
    if only != "bad" or not key or opened(key, request).counts().bad:
        return gr.skip()
    gr.Info(say(language_of(request), "k_all_mended"))
    return "all"


@shows_errors
@auth.teacher_only
def leave_out(key: str, request: gr.Request) -> None:
    """Take every bad row away."""
    removed = opened(key, request).leave_out_bad()
    gr.Info(say(language_of(request), "k_left_out", rows=f"{removed:,}"))


@shows_errors
@auth.teacher_only
def go_back(key: str, change: int, request: gr.Request) -> None:
    """Make it as it was before a change."""
    opened(key, request).go_back(change)
    gr.Info(say(language_of(request), "k_went_back"))


@shows_errors
def to_csv(key: str, request: gr.Request) -> str:
    """The dataset as a file to download, in a folder that only this visitor's downloads are in."""
    dataset = opened(key, request)
    folder = downloads() / auth.name_of(request)
    folder.mkdir(exist_ok=True)
    path = folder / f"{dataset.name}.csv"
    dataset.write_csv(path)
    return str(path)


@shows_errors
@auth.owner_only
def rename(key: str, new_name: str, request: gr.Request) -> list:
    """Another name for the dataset; the dropdown follows."""
    return [chosen_now(datasets.rename(auth.path_of(key, request), new_name).stem, request), ""]


@shows_errors
@auth.teacher_only
def delete(key: str, request: gr.Request) -> gr.Column:
    """The dataset goes, and the question whether it should."""
    datasets.delete(auth.path_of(key, request))
    return gr.Column(visible=False)


def chosen_now(key: str, request: gr.Request) -> gr.Dropdown:
    """The dropdown with a dataset that is new in it."""
    return gr.Dropdown(choices=choices(request), value=key, visible=True)


def over_to_training(key: str, request: gr.Request) -> tuple:
    """Over to the training tab, with the dataset chosen there."""
    return gr.Tabs(selected="training"), sources.data_dropdown(sources.PREFIX + key, request)


def allowed(request: gr.Request) -> list:
    """What only the owner sees: the import, training, renaming."""
    owner, none = auth.is_owner(request), not auth.datasets_of(request)
    first = gr.Accordion(visible=owner, **({"open": True} if none else {}))  # else it stays as it was left
    return [first, gr.Button(visible=owner), gr.Column(visible=owner)]


def build(tab: gr.Tab, tabs: gr.Tabs, chat: ChatTab, training_data: gr.Dropdown) -> None:
    """The components and events of the tab."""
    waiting = reviewing.build()
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            told = gr.Markdown(visible=False, elem_classes="quiet", elem_id="data-note")
            chosen = gr.Dropdown([], label=t("k_dataset"), visible=False, interactive=True, elem_id="dataset")
            with gr.Column(visible=False) as left:
                whole = overview.build()
            bringing = importing.build()
        with gr.Column(scale=3, min_width=300), gr.Column(visible=False) as right:
            table = rows.build_table()
            add = gr.Button(t("k_add_row"), size="sm", elem_id="add-row")
            one = rows.build_form()
    with gr.Row(visible=False, elem_id="plots") as below:
        plots = overview.build_plots()

    looked = [chosen, *table.looked]
    everything = [chosen, told, left, right, below, *whole.shown, *plots, table.label, *table.shown]
    again = {"fn": refresh, "inputs": [*looked, one.row], "outputs": [*everything, *one.filled], **QUICK}
    tab.select(allowed, None, [bringing.part, whole.train, whole.renaming], **QUICK)
    tab.select(**again)
    watch_table(chosen, chat, table, one, add, again)
    watch_whole(chosen, chat, whole, table, again)
    watch_import(chosen, chat, bringing, again)
    reviewing.watch(tab, chat, waiting, again)

    def start_over():
        return [1, "", "", "all", *rows.closed(), gr.Column(visible=False)]

    chosen.input(start_over, None, [*table.looked, *one.filled, whole.sure], **QUICK).then(**again)
    whole.train.click(over_to_training, chosen, [tabs, training_data], **PRIVATE)


def watch_table(chosen, chat: ChatTab, table: rows.Table, one: rows.Form, add: gr.Button, again: dict) -> None:
    """Searching, turning pages, and mending a row."""
    looked, newest = [chosen, *table.looked], {"trigger_mode": "always_last"}
    # Not a text's input: gradio sends that for keys only, not for Korean, which is composed, nor for what is pasted.
    # One event for all three, so that what was asked for last is shown last.
    sought = [table.search.change, table.label.input, table.only.input]
    gr.on(sought, view_first, looked, table.shown, **newest, **PRIVATE)
    table.number.submit(view, looked, table.shown, **PRIVATE)
    for button, by in table.turns:
        button.click(turned(by), looked, table.shown, **PRIVATE)
    table.table.click(pick, [chosen, chat.checkpoint], one.filled, **PRIVATE).then(None, js="kochat.showRow")
    add.click(new_row, chosen, one.filled, **PRIVATE).then(None, js="kochat.showRow")
    gr.on([text.change for text in one.texts], tokens, [chat.checkpoint, *one.texts], one.tokens, **newest, **QUICK)
    saved = one.save.click(save, [one.row, chat.checkpoint, *one.texts], one.filled, **PRIVATE)
    for done in (saved, one.delete.click(delete_row, one.row, one.filled, **PRIVATE)):
        afterwards(done.success(all_mended, [chosen, table.only], table.only, **PRIVATE), **again)
        done.failure(**again)
    one.close.click(rows.closed, None, one.filled, **QUICK)


def watch_whole(chosen, chat: ChatTab, whole: overview.Overview, table: rows.Table, again: dict) -> None:
    """What is done to the dataset as a whole."""
    afterwards(whole.leave_out.click(leave_out, chosen, None, **PRIVATE), **again)
    whole.mend.click(lambda: (1, "", "", "bad"), None, table.looked, **QUICK).then(**again)
    afterwards(whole.back.click(go_back, [chosen, whole.changes], None, **PRIVATE), **again)
    whole.csv.click(to_csv, chosen, whole.file, **PRIVATE).then(None, js="kochat.saveFile")
    afterwards(whole.rename.click(rename, [chosen, whole.new_name], [chosen, whole.new_name], **PRIVATE), **again)
    whole.delete.click(lambda: gr.Column(visible=True), None, whole.sure, **QUICK)
    afterwards(whole.yes.click(delete, chosen, whole.sure, **PRIVATE), **again)


def watch_import(chosen, chat: ChatTab, bringing: importing.Importing, again: dict) -> None:
    """From a file to a dataset."""
    looking = [bringing.upload, chat.checkpoint, bringing.sheet, bringing.header]
    from_hub = bringing.hub.submit(importing.from_hub, bringing.hub, bringing.upload, concurrency_limit=2, **PRIVATE)
    for brought in (bringing.upload.upload, from_hub.success):
        looked = brought(lambda: ("", ""), None, [bringing.sheet, bringing.header], **QUICK).then(
            importing.look, looking, bringing.looked_at, **PRIVATE
        )
        looked.failure(lambda: None, None, bringing.upload, **QUICK)
    for choice in (bringing.sheet, bringing.header):
        choice.input(importing.look, looking, bringing.looked_at, **PRIVATE)
    bringing.upload.clear(importing.nothing, None, bringing.looked_at, **QUICK)
    buttons, made_name = [bringing.start, bringing.cancel, bringing.bar], gr.State("")
    running = bringing.start.click(
        lambda: (gr.Button(interactive=False), gr.Button(visible=True), ""), None, buttons, **QUICK
    ).then(
        importing.bring_in,
        [*bringing.chosen, chat.checkpoint],
        [bringing.bar, made_name],
        concurrency_limit=1,
        concurrency_id="import",
        **PRIVATE,
    )
    idle = {"fn": lambda: (gr.Button(interactive=True), gr.Button(visible=False), ""), "inputs": None}
    idle |= {"outputs": buttons, **QUICK}
    afterwards(running, **idle)
    bringing.cancel.click(**idle, cancels=running)
    made = bringing.empty.click(importing.make_empty, bringing.name, made_name, **PRIVATE)
    for event in (running, made):
        event.then(chosen_now, made_name, chosen, **QUICK).then(
            lambda: [gr.Accordion(open=False), None, *importing.nothing()],
            None,
            [bringing.part, bringing.upload, *bringing.looked_at],
            **QUICK,
        ).then(**again)
