"""The page: its tabs, its look, how it is launched."""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from pathlib import Path

import gradio as gr

from kochat.files import explained
from kochat.model import checkpoint
from kochat.runs import library, queue
from kochat.ui import api, zero_gpu
from kochat.ui.chat import explain, teach
from kochat.ui.chat import tab as chat
from kochat.ui.checkpoints import tab as shelf
from kochat.ui.compare import tab as compare
from kochat.ui.data import tab as data
from kochat.ui.learn import tab as learn
from kochat.ui.models import bot
from kochat.ui.runs import tab as history
from kochat.ui.text import TEXTS, i18n, t
from kochat.ui.training import pair_view
from kochat.ui.training import tab as training

# System fonts only: nothing is asked of another host, and Korean looks as it does elsewhere on the device.
KOREAN = ("Pretendard", "Apple SD Gothic Neo", "Malgun Gothic", "Noto Sans KR", "Noto Sans CJK KR", "NanumGothic")
THEME = gr.themes.Default(
    primary_hue="blue",
    font=["system-ui", *KOREAN, "sans-serif"],
    font_mono=["ui-monospace", "D2Coding", "Consolas", "monospace"],
    radius_size="lg",
).set(
    # White on a darker blue than gradio's can be read by everybody.
    color_accent="*primary_600",
    link_text_color_dark="*primary_400",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
    # One button of a tab has the accent; the others stay in the background.
    button_secondary_background_fill="*background_fill_primary",
    button_secondary_background_fill_dark="*background_fill_primary",
    button_secondary_background_fill_hover="*background_fill_secondary",
    button_secondary_background_fill_hover_dark="*background_fill_secondary",
    button_secondary_border_color="*border_color_primary",
    button_border_width="1px",
    button_large_text_weight="500",
    button_large_text_size="*text_md",
    button_large_padding="*spacing_md *spacing_xl",
)
HERE = Path(__file__).parent
TITLES = {
    language: {"page": texts["k_title"], "note": texts["k_note_title"], "error": texts["k_error_title"]}
    for language, texts in TEXTS.items()
}
BETWEEN_TIDYING = 3600  # seconds
log = logging.getLogger(__name__)


def build() -> gr.Blocks:
    """The whole page."""
    # Uploads are copied where they are needed, so gradio's own copies go after a day.
    with gr.Blocks(title="kochat", analytics_enabled=False, delete_cache=(3600, 86400)) as page:
        gr.Markdown(t("k_heading"), elem_id="heading")
        learned = learn.state()
        with gr.Tabs() as tabs:
            with gr.Tab(t("k_chat_tab"), id="chat"):
                chat_tab = chat.build(page)
                explain.build(chat_tab)
                teach.build(page, chat_tab)
            with gr.Tab(t("k_training_tab"), id="training") as training_opened:
                training_tab = training.build(page, chat_tab, tabs)
                pair_view.build()
            with gr.Tab(t("k_data_tab"), id="data") as data_tab:
                data.build(page, data_tab, tabs, chat_tab, training_tab.data)
            with gr.Tab(t("k_runs_tab"), id="runs"):
                history.build(page)
            with gr.Tab(t("k_checkpoints_tab"), id="checkpoints") as checkpoints_tab:
                shelf.build(page, checkpoints_tab, chat_tab)
            with gr.Tab(t("k_compare_tab"), id="compare") as compare_tab:
                compare.build(page, compare_tab)
            with gr.Tab(t("k_learn_tab"), id="learn"):
                learn.build(page, tabs, learned)
        training.watch(page, training_opened, chat_tab, training_tab)
        api.build()
    return page.queue(max_size=64, default_concurrency_limit=8)


def launch(**options) -> None:
    """Open the page, and load the first checkpoint while the visitor looks at it.

    `options` are gradio's own (server_name, server_port, inbrowser, …).
    """
    zero_gpu.start()
    page = build()
    threading.Thread(target=_warm_up, daemon=True).start()
    threading.Thread(target=_look_after_the_queue, daemon=True).start()
    page.launch(
        theme=THEME,
        css=(HERE / "style.css").read_text("utf-8"),
        head=f"<script>{(HERE / 'page.js').read_text('utf-8')}</script>",
        js=f"() => kochat.open({json.dumps(TITLES, ensure_ascii=False)})",
        i18n=i18n,
        footer_links=["api"],
        run_history=False,
        pwa=False,
        ssr_mode=False,
        share=False,
        mcp_server=api.is_mcp(),
        enable_monitoring=False,
        show_error=True,
        _frontend=False,  # gradio would ask itself for the page, and give up where a loaded machine takes seconds
        max_file_size=library.MAX_BYTES,
        **options,
    )


def _warm_up() -> None:
    names = list(checkpoint.list_checkpoints())
    try:
        if names:
            bot(names[0]).reply("안녕")
    except Exception:
        log.exception("%s could not be loaded ahead; the chat will say why", names[0])


def _look_after_the_queue() -> None:
    """Start what waits: after a restart, and when a run was killed, nobody else would. Now and then tidy up."""
    said, tidied = "", -math.inf
    while True:
        try:
            queue.dispatch()
            if time.monotonic() - tidied > BETWEEN_TIDYING:
                tidied = time.monotonic()
                library.forget_uploads()
        except Exception as error:
            # What does not change is said once: a home that cannot be written to would fill the log.
            known = explained(error) if isinstance(error, OSError) else None
            if str(error) != said:
                log.error("%s", known) if known else log.exception("the queue of runs could not be looked after")
            said = str(error)
        else:
            said = ""
        time.sleep(1)
