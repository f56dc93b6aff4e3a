"""Average checkpoints: a model whose every weight is the mean of theirs.

Of trainings that went on from one another, or from one base, the mean often knows more than each, at the price of
one (Wortsman et al. 2022, "Model soups"). Knows checkpoints; trains nothing.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kochat.errors import CheckpointError
from kochat.model import checkpoint


def average(sources: Sequence[str | os.PathLike], output: str | os.PathLike, save_dtype: str = "float32") -> Path:
    """Write the mean of checkpoints as the checkpoint `output`; its card is the last one's, without figures.

    `save_dtype` is that of the saved weights. Raises CheckpointError where they differ in labels, tokenizer, shape,
    or withheld other questions (what the one withheld, the other may have learned), or the name is taken, and
    HubError. Their data may differ, as where one was trained further on a part of them (Wortsman et al. 2022, "Robust
    fine-tuning of zero-shot models").
    """
    checkpoint.check_free(output)
    loaded = [checkpoint.load(source, as_base=True) for source in sources]
    last = loaded[-1]
    for one in loaded:
        if one.card.labels != last.card.labels or _form(one) != _form(last):
            raise CheckpointError("not_alike", name=one.name, other=last.name)
        if not _withheld_alike(one, last):
            raise CheckpointError("other_split", name=one.name, other=last.name)
    weights = [one.model.state_dict() for one in loaded]
    last.model.load_state_dict({name: sum(one[name] for one in weights) / len(weights) for name in weights[0]})
    names = shlex.join(f"checkpoints/{Path(one.name).name}" for one in loaded)
    dtype = "" if save_dtype == "float32" else f" --save-dtype {save_dtype}"
    made = f"python -m kochat average {names} --output {shlex.quote(f'checkpoints/{Path(output).name}')}{dtype}"
    card = replace(
        last.card,
        strength=0.0,
        metrics={},
        familiarity={},
        sources=list(dict.fromkeys(source for one in loaded for source in one.card.sources)),
        recipe=[*dict.fromkeys(command for one in loaded for command in one.card.recipe), made],
    )
    return checkpoint.save(output, last.model, last.tokenizer, card, save_dtype, last.pairs, last.validation)


def _form(one: checkpoint.Checkpoint) -> tuple:
    shapes = {name: weight.shape for name, weight in one.model.state_dict().items()}
    return shapes, one.tokenizer.get_vocab(), one.card.max_length, one.card.strip_punctuation


def _withheld_alike(one: checkpoint.Checkpoint, other: checkpoint.Checkpoint) -> bool:
    digests = [card.data.get("withheld_sha256") for card in (one.card, other.card)]
    return digests[0] == digests[1] if all(digests) else _split(one) == _split(other)


def _split(one: checkpoint.Checkpoint) -> tuple:
    version, *shares, seed = one.card.split
    # Where nothing was withheld, there is no other way to divide.
    return one.card.data.get("sha256"), *((version, *shares, seed) if any(shares) else ())
