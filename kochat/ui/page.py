"""The page: its tabs, its look, how it is launched."""

from __future__ import annotations

import json
import logging
import math
import os
import threading
import time
from pathlib import Path

import gradio as gr

from kochat.data import review
from kochat.files import explained
from kochat.runs import library, queue, registry
from kochat.ui import (
    api,
    auth,
    connections,
    gradio_patches,
    keeping,
    login,
    middleware,
    models,
    monitor,
    routes,
    text,
    zero_gpu,
)
from kochat.ui.chat import explain, teach
from kochat.ui.chat import tab as chat
from kochat.ui.checkpoints import tab as shelf
from kochat.ui.compare import tab as compare
from kochat.ui.data import tab as data
from kochat.ui.learn import tab as learn
from kochat.ui.models import bot
from kochat.ui.runs import server
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
    button_cancel_background_fill="#b91c1c",
    button_cancel_background_fill_dark="#b91c1c",
    button_cancel_background_fill_hover="#991b1b",
    button_cancel_background_fill_hover_dark="#991b1b",
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
MAX_QUEUE = 256
TITLES = {
    language: {
        "page": texts["k_title"],
        "note": texts["k_note_title"],
        "error": texts["k_error_title"],
        "send": texts["k_send"],
        "stop": texts["k_stop"],
    }
    for language, texts in TEXTS.items()
}
BETWEEN_TIDYING = 3600  # seconds
KEPT_IN_CACHE = 2 * 3600  # seconds, of what gradio has of uploads and downloads
# Where the proxies of a Space are: of the addresses that they tell, the last one outside of these is the visitor's.
PRIVATE_NETWORKS = "127.0.0.0/8,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,100.64.0.0/10,::1,fc00::/7"
# Of which gradio keeps the state; whose page is the longest unused loses its conversation then.
MAX_SESSIONS = 500
log = logging.getLogger(__name__)


def build() -> gr.Blocks:
    """The whole page."""
    # Most uploads are removed when they were read, and the others copied where they are needed.
    with gr.Blocks(title="kochat", analytics_enabled=False, delete_cache=(600, KEPT_IN_CACHE)) as page:
        unseen = gr.HTML(elem_classes="unseen")
        gr.Markdown(t("k_heading"), elem_id="heading")
        kept = keeping.build()
        learned = learn.state()
        with gr.Tabs() as tabs:
            with gr.Tab(t("k_chat_tab"), id="chat") as chat_opened:
                chat_tab = chat.build(page)
                explain.build(chat_tab)
                teach.build(page, chat_tab, chat_opened)
            with gr.Tab(t("k_training_tab"), id="training") as training_opened:
                training_tab = training.build(chat_tab, tabs)
                pair_view.build()
            with gr.Tab(t("k_data_tab"), id="data") as data_tab:
                data.build(data_tab, tabs, chat_tab, training_tab.data)
            with gr.Tab(t("k_runs_tab"), id="runs") as runs_tab:
                history.build(runs_tab)
                server.build(runs_tab)
            with gr.Tab(t("k_checkpoints_tab"), id="checkpoints") as checkpoints_tab:
                shelf.build(page, checkpoints_tab, chat_tab)
            with gr.Tab(t("k_compare_tab"), id="compare") as compare_tab:
                compare.build(compare_tab)
            with gr.Tab(t("k_learn_tab"), id="learn") as learn_tab:
                learn.build(learn_tab, tabs, learned)
        training.watch(training_opened, chat_tab, training_tab)
        keeping.watch(page, kept, data_tab, runs_tab, checkpoints_tab)
        api.build()
        _say_nothing_of_progress(page, unseen)
    text.guard_handlers(page)
    # Not past the queue, in which everybody has a few places; so it never is full of one visitor's questions.
    page.queue(max_size=MAX_QUEUE, default_concurrency_limit=8, api_open=False)
    # How often, in seconds, gradio looks whether its queue is empty: a thousand times a second took 3 % of a core.
    page._queue.sleep_when_free, page._queue.progress_update_sleep_when_free = 0.01, 0.1
    return page


def _say_nothing_of_progress(page: gr.Blocks, unseen: gr.HTML) -> None:
    """Let the progress of events that do not show it be that of a part which is not seen, instead of their outputs'.

    At each step of any event gradio's page goes through all outputs that ever had a progress, and for each of them
    through all components: that took most of the time of a reply.
    """
    for event in page.fns.values():
        if event.show_progress == "hidden" and event.show_progress_on is None:
            event.show_progress_on = [unseen]


def serving(page: gr.Blocks) -> dict:
    """How a page is served, wherever that is, as gradio's `launch` and `mount_gradio_app` take it."""
    return {
        "app_kwargs": {"middleware": middleware.stack(page), "routes": [*login.ROUTES, *routes.ROUTES]},
        "max_file_size": library.MAX_BYTES,  # the owner's; a visitor's is less
        "show_error": False,  # those that have a sentence are shown all the same
        "footer_links": ["api"],
        "run_history": False,
        "pwa": False,
        "ssr_mode": False,
        "mcp_server": api.is_mcp(),
        "enable_monitoring": False,
    }


def launch(**options) -> None:
    """Open the page, and load the first checkpoint while the visitor looks at it.

    `options` are gradio's own (server_name, server_port, inbrowser, …).
    """
    auth.visitors_may()  # raises for a setting that nobody knows
    if auth.on_space():
        os.environ.setdefault("FORWARDED_ALLOW_IPS", PRIVATE_NETWORKS)  # for uvicorn
    connections.limit_headers()
    gradio_patches.patch()
    zero_gpu.start()
    # With a handler of its own, the log would be printed nowhere else.
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger().addHandler(monitor.errors)
    keeping.start()  # before the page, which opens on what there is, and before anybody hears that it is ready
    page = build()
    threading.Thread(target=_warm_up, daemon=True).start()
    threading.Thread(target=_look_after_the_queue, daemon=True).start()
    page.launch(
        theme=THEME,
        css=(HERE / "style.css").read_text("utf-8"),
        head=f"<script>{(HERE / 'page.js').read_text('utf-8')}</script>",
        js=f"() => kochat.open({json.dumps(TITLES, ensure_ascii=False)})",
        i18n=i18n,
        share=False,
        state_session_capacity=MAX_SESSIONS,
        _frontend=False,  # gradio would ask itself for the page, and give up where a loaded machine takes seconds
        **serving(page),
        **options,
    )
    if not options.get("prevent_thread_lock"):  # it has ended
        keeping.stop()


def _warm_up() -> None:
    name = models.first_name()
    try:
        if name:
            bot(name).reply("안녕")
    except Exception:
        log.exception("%s could not be loaded ahead; the chat will say why", name)


def _look_after_the_queue() -> None:
    """Tell pages what has changed, and start what waits: after a restart, and when a run was killed, nobody else would.

    Now and then tidy up.
    """
    said, tidied = "", -math.inf
    while True:
        try:
            states = monitor.watcher.look()
            is_due = "queued" in states and not zero_gpu.is_training()
            if is_due or ("interrupted" in states and registry.left_alone()):
                queue.dispatch()
            keeping.notice()
            if time.monotonic() - tidied > BETWEEN_TIDYING:
                tidied = time.monotonic()
                library.forget_uploads()
                review.forget(auth.visitors())
        except Exception as error:
            # What does not change is said once: a home that cannot be written to would fill the log.
            known = explained(error) if isinstance(error, OSError) else None
            if str(error) != said:
                log.error("%s", known) if known else log.exception("the queue of runs could not be looked after")
            said = str(error)
        else:
            said = ""
        time.sleep(1)
