"""`kochat app`: open the page.

The only command that knows the page.
"""

from __future__ import annotations

import os
from typing import Annotated

import typer


def open_page(
    host: Annotated[str, typer.Option(help="The address to listen at; 0.0.0.0 for other machines.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Default: the first free one from 7860 on.")] = None,
    browser: Annotated[bool, typer.Option(help="Open it in the browser.")] = True,
) -> None:
    """Open the page on which one talks, trains and compares."""
    # Before gradio is imported: it would ask its makers' server for news.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from kochat.ui.page import launch

    launch(inbrowser=browser, server_name=host, server_port=port)
