"""Report a run's epochs to trackio, for whoever keeps their experiments there. Off unless asked for.

Knows trackio's own library, which is installed apart (`pip install trackio`), and events.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from kochat.config import TrainingConfig
from kochat.errors import SettingsError

log = logging.getLogger(__name__)
REPORTED = ("loss", "validation_loss", "perplexity", "tokens_per_second", "own_right", "base_nll")


def reporter(name: str, config: TrainingConfig) -> Callable[[dict[str, Any]], None]:
    """What is to be called with every event of the run `name`. Raises SettingsError without trackio."""
    if config.report_to == "none":
        return lambda event: None
    try:
        import trackio
    except ImportError as error:
        raise SettingsError("no_trackio") from error
    trackio.init(
        project="kochat",
        name=name,
        config=config.to_dict(),
        resume="allow",
        embed=False,
        auto_log_gpu=False,
        auto_log_cpu=False,
    )

    def report(event: dict[str, Any]) -> None:
        try:
            if event["type"] == "epoch":
                trackio.log({key: event[key] for key in REPORTED if event.get(key) is not None}, step=event["epoch"])
            elif event["type"] in ("finished", "stopped"):
                trackio.finish()
        except Exception:  # no training is worth losing for its report
            log.exception("trackio took no report of %s", name)

    return report
