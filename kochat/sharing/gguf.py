"""A checkpoint as a GGUF file for llama.cpp.

Knows the names that llama.cpp gives to the tensors of a GPT-2, and to tokenizers. The tokenizers of kochat-mini and
KoGPT2 are a BPE over characters with ▁ for spaces, and bytes for what has no token; of the kinds that llama.cpp knows
"sarvam-moe" is that, merge by merge. Its normal form of a text, and the space before it, are left to whoever asks.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from kochat.errors import CheckpointError
from kochat.files import write_atomically
from kochat.inference.chatbot import Chatbot
from kochat.model import checkpoint as checkpoints
from kochat.model.weights import Weights
from kochat.sharing.description import is_known_tokenizer
from kochat.sharing.engines import card_for_engines, chat_template, chatbot_for_engines, package

TOKENIZER, PRE_TOKENIZER = "gpt2", "sarvam-moe"
BYTE = re.compile(r"<0x[0-9A-F]{2}>")
# By GPT2Model's names; N is the number of the layer.
NAMES = {
    "wte": "token_embd",
    "wpe": "position_embd",
    "ln_f": "output_norm",
    "lm_head": "output",
    "ln_1": "blk.N.attn_norm",
    "attn.c_attn": "blk.N.attn_qkv",
    "attn.c_proj": "blk.N.attn_output",
    "ln_2": "blk.N.ffn_norm",
    "mlp.c_fc": "blk.N.ffn_up",
    "mlp.c_proj": "blk.N.ffn_down",
}
USAGE = """
```
llama-completion --model {file} --no-conversation --special --temp 0 --prompt "<usr> 12시 땡!<unused1> {label}<sys>"
```

Each text of the prompt begins with a space, which belongs to its first token. The file needs a llama.cpp that knows the
tokenizer "sarvam-moe" (2026). The weights are float32; `llama-quantize` makes them smaller.
"""
LIMITS = (
    "The text of a question is read as it is: write it in the Unicode form NFC, with single spaces.",
    "The chat template takes the first label, where the engine gives no template variable `label`.",
)


def export_gguf(checkpoint: str | os.PathLike, output: str | os.PathLike) -> Path:
    """Write the GGUF file `output` and its card beside it, NAME.md; return the path. Files that are there are replaced.

    Raises CheckpointError, HubError, ReplyError where it is a base that does not answer.
    """
    output, gguf = Path(output), package("gguf")
    bot = chatbot_for_engines(checkpoints.load(checkpoint))
    tokenizer = json.loads(bot.tokenizer.backend_tokenizer.to_str())
    if not is_known_tokenizer(json.loads(bot.prompt.text_tokenizer.to_str())):
        raise CheckpointError("engine_unknown", name=bot.name)
    usage = USAGE.format(file=output.name, label=bot.labels[0])
    unknown = () if tokenizer["model"]["byte_fallback"] else ("Characters that have no token are left out.",)
    card = card_for_engines(bot, "llama.cpp", usage, *LIMITS, *unknown)
    output.parent.mkdir(parents=True, exist_ok=True)
    part = output.with_name(f".{output.name}.part")
    try:
        writer = gguf.GGUFWriter(part, "gpt2")
        _add_model(writer, bot.name, bot.weights)
        _add_tokenizer(writer, gguf.TokenType, tokenizer, bot)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        part.replace(output)
    finally:
        part.unlink(missing_ok=True)
    write_atomically(output.with_suffix(".md"), card)
    return output


def _add_model(writer: Any, name: str, weights: Weights) -> None:
    config = weights.config
    writer.add_name(name)
    writer.add_context_length(config["n_positions"])
    writer.add_embedding_length(config["n_embd"])
    writer.add_feed_forward_length(config["n_inner"] or 4 * config["n_embd"])
    writer.add_block_count(config["n_layer"])
    writer.add_head_count(config["n_head"])
    writer.add_layer_norm_eps(config["layer_norm_epsilon"])
    for ours, tensor in weights.tensors.items():
        if ours == "lm_head.weight" and tensor.equal(weights.tensors["wte.weight"]):
            continue  # llama.cpp takes the embedding then
        module, kind = ours.rsplit(".", 1)
        number, _, inner = module.removeprefix("h.").partition(".") if module.startswith("h.") else ("", "", module)
        # A file of GPT2Model has its matrices as (inputs, outputs).
        array = tensor.t() if inner.startswith(("attn.", "mlp.")) and tensor.ndim == 2 else tensor
        writer.add_tensor(f"{NAMES[inner].replace('N', number)}.{kind}", array.contiguous().numpy())


def _add_tokenizer(writer: Any, kinds: Any, tokenizer: dict[str, Any], bot: Chatbot) -> None:
    vocabulary = bot.tokenizer.get_vocab()
    tokens = [f"[PAD{i}]" for i in range(bot.weights.config["vocab_size"])]
    types = [kinds.UNUSED] * len(tokens)
    structural = set(bot.tokenizer.all_special_ids)
    added = {one["id"] for one in tokenizer["added_tokens"]}
    for token, place in vocabulary.items():
        tokens[place], types[place] = token, kinds.NORMAL
        if BYTE.fullmatch(token):
            types[place] = kinds.BYTE
        elif place in structural:
            types[place] = kinds.CONTROL
        elif place in added:
            types[place] = kinds.USER_DEFINED
    writer.add_tokenizer_model(TOKENIZER)
    writer.add_tokenizer_pre(PRE_TOKENIZER)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(bot.tokenizer.bos_token_id)
    writer.add_eos_token_id(bot.tokenizer.eos_token_id)
    writer.add_pad_token_id(bot.tokenizer.pad_token_id)
    writer.add_unk_token_id(bot.tokenizer.unk_token_id)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(chat_template(bot, space=" "))
