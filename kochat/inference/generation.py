"""A reply on its way: its text, and what may be asked of it when it is over.

Knows a tokenizer and a stream of token ids; not what a question is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from kochat.inference.engine import text_pieces

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class Generation(Iterator[str]):
    """The text of a reply, piece by piece as soon as each is certain; `close` ends it before it is whole.

    `label` is the one that it is given under. `num_prompt_tokens` and `num_tokens` count what the model has read and
    said so far, the </s> with it. Once it is over, `is_cut` tells whether it ended at `max_tokens`.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        tokens: Iterable[int],
        label: str,
        num_prompt_tokens: int,
        max_tokens: int,
    ):
        self.label, self.num_prompt_tokens, self.num_tokens, self.is_cut = label, num_prompt_tokens, 0, False
        self._max_tokens = max_tokens
        self._pieces = text_pieces(tokenizer, self._counted(tokens))

    def _counted(self, tokens: Iterable[int]) -> Iterator[int]:
        for token in tokens:
            self.num_tokens += 1
            yield token
        self.is_cut = self.num_tokens >= self._max_tokens
        self.num_tokens += not self.is_cut  # the </s>, which the stream does not give

    def __next__(self) -> str:
        return next(self._pieces)

    def close(self) -> None:
        """Let the engine go on without it."""
        self._pieces.close()
