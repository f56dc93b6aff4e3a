"""Whether a training worked, told from the record of its run; and which settings would do better.

Two questions: does it say its own answers, and does it still know what its base knew? Knows figures; no model.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kochat.runs.journal import Record

# Of the own answers word for word: one in twenty may be missed, as where two answers hardly differ.
LEARNED = 0.95
# Fewer than one in ten more than the base said already: what was learned is hardly to be seen in the replies.
HARDLY = 0.1
# How much worse the base's validation answers may become. Going over earlier pairs again as teaching.py does costs one
# per cent; ten epochs of the sample `jobs` without it cost eight.
FORGOTTEN = 1.03
FELL = 0.9  # of the first epoch's loss, or more, is left where it did not learn: the steps are too large
REHEARSAL, MAX_REHEARSAL = 3, 15  # earlier pairs beside each pair: to begin with; what teaching takes


@dataclass(frozen=True)
class Verdict:
    """How a training ended. A figure that was not measured is None; shares are of 1.

    `kind` is "learned" (all of it, and nothing forgotten), "partly", "not_learned", "forgot" (it learned, but
    knows less of what its base knew) or "worse" (it learned next to nothing, and forgot).
    """

    kind: str
    learned: str  # its own answers: "all", "partly" or "none"
    own_before: int | None  # own answers that the base said word for word
    own_right: int | None  # and that the checkpoint says
    own_asked: int | None  # of so many
    base_before: float | None  # of the base's validation answers, nats a character
    base_after: float | None
    changes: dict[str, Any] = field(default_factory=dict)  # settings that would do better; none where it went well

    @property
    def forgot(self) -> bool:
        """Whether it knows less of what its base knew."""
        return self.kind in ("forgot", "worse")


def verdict(record: Record) -> Verdict | None:
    """How the training of a run ended; None where it made no checkpoint, or nothing was measured."""
    started, final = record.started or {}, record.final
    if record.state != "finished" or final.get("own_asked") is None:
        return None
    # Asked fewer questions then; the share is what counts.
    before = _scaled(started.get("own_right"), started.get("own_asked"), final["own_asked"])
    learned = _learned(final["own_right"] / final["own_asked"], (before or 0) / final["own_asked"])
    base_before, base_after = started.get("base_nll"), final.get("base_nll")
    forgot = None not in (base_before, base_after) and base_after > FORGOTTEN * base_before
    if forgot:
        kind = "worse" if learned == "none" else "forgot"
    else:
        kind = {"all": "learned", "partly": "partly", "none": "not_learned"}[learned]
    changes = _changes(kind, learned, record)
    return Verdict(kind, learned, before, final["own_right"], final["own_asked"], base_before, base_after, changes)


def _scaled(right: int | None, asked: int | None, of: int) -> int | None:
    return None if right is None or not asked else round(right / asked * of)


def _learned(share: float, before: float) -> str:
    """How much of its own answers it says: all, partly or none."""
    if share >= LEARNED:
        return "all"
    return "none" if share - before < HARDLY else "partly"


def _changes(kind: str, learned: str, record: Record) -> dict[str, Any]:
    """The settings of another try."""
    started, epochs = record.started, sorted(record.epochs)
    longer = {"epochs": 2 * started["epochs"]} if _is_cut_short(record) else {}
    if kind == "learned" or "learning_rate" not in started:  # a run of an earlier version does not tell
        return {}
    if kind == "worse" and not _loss_fell(record):
        return {"learning_rate": _rounded(started["learning_rate"] / 3), **_rehearsal(started)}
    if kind == "worse":
        return {**_rehearsal(started), "epochs": 3 * started["epochs"]}
    if kind == "forgot":
        rehearsal = _rehearsal(started) or {"learning_rate": _rounded(started["learning_rate"] / 2)}
        return {**rehearsal, **(longer if learned == "partly" else {})}
    if kind == "not_learned" and longer:
        return {"epochs": 3 * started["epochs"]}
    # It said them after a later epoch than the one that the validation loss chose.
    last = record.epochs[epochs[-1]] if epochs else {}
    if not longer and last.get("own_asked") and last["own_right"] / last["own_asked"] >= LEARNED:
        return {"keep": "last"}
    return longer


def _is_cut_short(record: Record) -> bool:
    """Whether its last epoch is the one that was kept: more epochs would have gone on from there."""
    return record.final.get("epoch") in (None, max(record.epochs, default=0))


def _loss_fell(record: Record) -> bool:
    """Whether the training loss became smaller from the first epoch to the last."""
    losses = [record.epochs[number]["loss"] for number in sorted(record.epochs)]
    return len(losses) < 2 or losses[-1] < FELL * losses[0]


def _rehearsal(started: dict[str, Any]) -> dict[str, int]:
    """More of the base's earlier pairs beside each pair; nothing where there are enough, or the base keeps none."""
    now = started["rehearsal"]
    if now >= MAX_REHEARSAL or (now and not started["rehearsed"]):
        return {}
    return {"rehearsal": min(MAX_REHEARSAL, max(REHEARSAL, 2 * now))}


def _rounded(rate: float) -> float:
    return float(f"{rate:.2g}")
