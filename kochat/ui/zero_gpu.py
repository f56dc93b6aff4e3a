"""ZeroGPU: replies and trainings on a GPU that Hugging Face lends to a Space for a minute at a time.

Without the package `spaces`, or outside a ZeroGPU Space, nothing here does anything. Inside, a function under
`spaces.GPU` runs in a process that is forked from this one and is given a GPU; what it takes and gives is pickled, and
it is ended when its time is over. So this process itself must never touch CUDA, and a training goes in slices, each of
which saves its state. How the package behaves: https://huggingface.co/docs/hub/spaces-zerogpu and its source (0.51).
"""

from __future__ import annotations

import contextvars
import logging
import os
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from kochat.config import home
from kochat.errors import KochatError, RunError
from kochat.runs import queue, registry, worker
from kochat.runs.registry import Run
from kochat.ui.text import language_of, say

try:
    import spaces
except ImportError:
    spaces = None

if TYPE_CHECKING:
    from kochat.inference.chatbot import Chatbot
    from kochat.inference.engine import Engine, GenerationRequest

IS_ON = spaces is not None and os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")
# Seconds that a GPU is asked for; the shorter, the sooner it comes.
REPLY = 20
SLICE = 60
# Of a slice, for what comes before its first step and after its last: loading the model, saving the state.
RESERVE = 15
# A smaller model answers on the CPU before a GPU is even found, and takes nothing of anybody's quota.
PARAMETERS_FOR_GPU = 30_000_000
log = logging.getLogger(__name__)
_training: set[str] = set()  # names of runs


def _lent(duration):
    """spaces.GPU where there is a GPU to be lent; a function stays as it is elsewhere."""
    return spaces.GPU(duration=duration) if IS_ON else lambda function: function


def _seconds_of_slice(home: str, name: str, seconds: float) -> float:
    return seconds + RESERVE


@_lent(_seconds_of_slice)
def _train_slice(home: str, name: str, seconds: float) -> bool:
    from kochat.inference import forked  # brings torch, which takes seconds

    forked.prepare()
    os.environ["KOCHAT_HOME"] = home
    return worker.execute_slice(registry.find(name), seconds)


@_lent(REPLY)
def _replies(folder: str, asked: tuple[GenerationRequest, ...], max_tokens: int) -> list[list[int]]:
    from kochat.inference import forked

    return forked.engine_of(folder).replies(asked, max_tokens)


@_lent(REPLY)
def _stream(folder: str, asked: GenerationRequest, max_tokens: int) -> Iterator[int]:
    from kochat.inference import forked

    yield from forked.engine_of(folder).stream(asked, max_tokens)


class LentEngine:
    """The engine of a chatbot, whose replies are decoded on a lent GPU; on the CPU, where none is to be had."""

    def __init__(self, engine: Engine, folder: Path):
        self._engine, self._folder = engine, str(folder)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def replies(self, asked: Sequence[GenerationRequest], *limit: int) -> list[list[int]]:
        """As Engine.replies."""
        try:
            return _replies(self._folder, tuple(asked), *(limit or _no_limit()))
        except Exception as error:  # besides gr.Error whatever the way to the GPUs' scheduler raises
            _say_why(error)
        return self._engine.replies(asked, *limit)

    def stream(self, asked: GenerationRequest, *limit: int) -> Iterator[int]:
        """As Engine.stream."""
        said = 0
        try:
            for token in _stream(self._folder, asked, *(limit or _no_limit())):
                yield token
                said += 1
            return
        except Exception as error:
            _say_why(error)
        for i, token in enumerate(self._engine.stream(asked, *limit)):  # the same tokens, but for rounding
            if i >= said:
                yield token


def _no_limit() -> tuple[int]:
    from kochat.inference.engine import MAX_REPLY_TOKENS

    return (MAX_REPLY_TOKENS,)


def lend_to(bot: Chatbot, folder: Path) -> Chatbot:
    """Let a chatbot answer on a lent GPU, where that is quicker."""
    if IS_ON and bot.num_parameters >= PARAMETERS_FOR_GPU:
        bot.engine = LentEngine(bot.engine, folder)
    return bot


def _say_why(error: Exception) -> None:
    """Tell the visitor why the reply comes from the CPU."""
    log.warning("a reply on the CPU: %s", error)
    if isinstance(error, gr.Error) and _is_quota(error):
        from gradio.context import LocalContext

        gr.Warning(say(language_of(LocalContext.request.get(None)), "k_zero_gpu_quota"))


def start() -> None:
    """Let the runs of this page be trained on lent GPUs. To be called before the page is launched."""
    if IS_ON:
        queue.train_by(_train)


def _train(run: Run) -> None:
    """Train a run, a slice after the other, while this process goes on.

    The quota is that of whoever started it: `spaces` finds their request in the context of the call.
    """
    queue.mark_launched(run, os.getpid())
    threading.Thread(target=contextvars.copy_context().run, args=(_slices, run), daemon=True).start()


def is_training() -> bool:
    """Whether a run is on whose end will start the next, with the quota of whoever started it."""
    return bool(_training)


def _slices(run: Run) -> None:
    _training.add(run.name)
    try:
        with queue.process_lock(run):
            failure = _failure_of(run)
            if failure and run.record().state == "running":
                run.write("failed", key=failure.key, values={name: str(one) for name, one in failure.values.items()})
    finally:
        queue.dispatch()
        _training.discard(run.name)


def _failure_of(run: Run) -> KochatError | None:
    """Train until the run is at rest; why it is not, where no GPU is lent any more."""
    lent, place = SLICE, _place(run)
    while True:
        try:
            if not _train_slice(str(home()), run.name, lent - RESERVE):
                return None
        except gr.Error as error:
            if _is_quota(error):
                again = re.search(r"again in (\d[\d:]*)", error.message)
                when = again[1] if again else ""
                return RunError(
                    "zero_gpu_quota",
                    again=when and f" (there is more in {when})",
                    again_ko=when and f"({when} 뒤에 다시 생겨요)",
                )
            if "worker" not in _title(error):
                return RunError("zero_gpu_refused", reason=str(error).rstrip(". "))
            # It was ended; where that was before it could save anything, it is given more time, once.
            now = _place(run)
            if now == place and lent > SLICE:
                return RunError("zero_gpu_too_short")
            lent, place = 2 * SLICE if now == place else lent, now
        except Exception as error:
            log.exception("run %s failed", run.name)
            return RunError("zero_gpu_refused", reason=type(error).__name__)


def _place(run: Run) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in run.state_folder.glob("[0-9]*")))


def _title(error: gr.Error) -> str:
    return str(getattr(error, "title", ""))


def _is_quota(error: gr.Error) -> bool:
    return "quota exceeded" in _title(error)
