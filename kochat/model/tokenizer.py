"""Tokenizers: train a small one, load that of a folder, with our special tokens.

Knows tokenizers and transformers' wrapper around them; no model and no torch.
"""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import tokenizers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from kochat.errors import CheckpointError
from kochat.model.prompt import EOS, LABEL_MARK, MASK, PAD, SPECIALS, SYSTEM, UNK, USER

Tokenizer = PreTrainedTokenizerFast

# The names of the special tokens, for whatever folder the tokenizer comes from (notebook, cell 19).
SPECIAL_TOKENS = {
    "bos_token": EOS,
    "eos_token": EOS,
    "unk_token": UNK,
    "pad_token": PAD,
    "mask_token": MASK,
    "extra_special_tokens": [USER, LABEL_MARK, SYSTEM],
}


def make_tokenizer(texts: Iterable[str], vocabulary: int, alphabet: int = 1500) -> PreTrainedTokenizerFast:
    """Train a BPE tokenizer of `vocabulary` tokens in the manner of KoGPT2's (▁ for a space).

    The `alphabet` most frequent characters have tokens of their own; all others, emoji too, are
    written as their UTF-8 bytes, so nothing is unknown.
    """
    tokenizer = tokenizers.Tokenizer(models.BPE(unk_token=UNK, byte_fallback=True, fuse_unk=True))
    # macOS sends Korean as separate letters (NFD); the model knows syllables.
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"[^\S\n]+"), " "), normalizers.Strip()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Sequence(
        [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="always"), decoders.Fuse()]
    )
    texts = list(texts)
    letters = _frequent_characters(map(tokenizer.normalizer.normalize_str, texts), alphabet)
    byte_tokens = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[*SPECIALS, *byte_tokens],
        initial_alphabet=letters,
        limit_alphabet=len(letters),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # The trainer marks the bytes as special; someone who types <0x41> must not get an A.
    description = json.loads(tokenizer.to_str())
    description["added_tokens"] = [t for t in description["added_tokens"] if t["content"] in SPECIALS]
    return _fast_tokenizer(tokenizers.Tokenizer.from_str(json.dumps(description)))


def _frequent_characters(texts: Iterable[str], count: int) -> list[str]:
    """▁ and the most frequent characters, `count` in all.

    The trainer would choose by itself, but among equally frequent ones by chance.
    """
    seen: Counter[str] = Counter()
    for text in texts:
        seen.update(text)
    del seen[" "], seen["▁"]
    return ["▁", *sorted(seen, key=lambda c: (-seen[c], c))[: count - 1]]


def _fast_tokenizer(tokenizer: tokenizers.Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, **SPECIAL_TOKENS)


# What transformers, torch, safetensors and tokenizers raise for files that are damaged.
UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    RuntimeError,
    EOFError,
    KeyError,
    ImportError,
    AttributeError,
    pickle.UnpicklingError,
    SafetensorError,
    StrictDataclassError,
)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a folder, with our special tokens (notebook, cell 19).

    KoGPT2's config names GPT2Tokenizer, which cannot read Korean; its tokenizer.json is right. A
    model of others gets the tokens it lacks. Raises CheckpointError.
    """
    try:
        tokenizer = PreTrainedTokenizerFast.from_pretrained(
            folder, clean_up_tokenization_spaces=False, **SPECIAL_TOKENS
        )
    except UNREADABLE as error:
        raise CheckpointError("damaged_checkpoint", name=folder.name) from error
    # A file may hold them without the flag that makes them special.
    tokenizer.backend_tokenizer.add_special_tokens(
        [tokenizers.AddedToken(token, special=True, normalized=False) for token in SPECIALS]
    )
    return tokenizer


def added_specials(folder: Path, tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Ids that `load_tokenizer` gave to special tokens of ours which the tokenizer of the folder lacks."""
    found = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    known = {token["content"] for token in found["added_tokens"]} | set(_vocabulary(found["model"]))
    return sorted(tokenizer.convert_tokens_to_ids(token) for token in SPECIALS if token not in known)


def _vocabulary(model: dict) -> Iterable[str]:
    vocabulary = model["vocab"]  # of a Unigram model with a score for each token
    return vocabulary if isinstance(vocabulary, dict) else (token for token, _ in vocabulary)
