"""Tiny bases of other architectures, as the Hub has them: random weights, a tokenizer without our special tokens."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

SHAPE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
SHAPE |= {"max_position_embeddings": 64}
GROUPED = {"num_key_value_heads": 2, "head_dim": 8}
ARCHITECTURES = {
    "llama": (LlamaForCausalLM, LlamaConfig, SHAPE | GROUPED),
    # Tied, and with embeddings for more tokens than its tokenizer has.
    "qwen3": (Qwen3ForCausalLM, Qwen3Config, SHAPE | GROUPED | {"tie_word_embeddings": True, "spare": 20}),
    "gpt_neox": (GPTNeoXForCausalLM, GPTNeoXConfig, SHAPE),
    # Its logits are capped, and half of its layers see only so many tokens back.
    "gemma2": (Gemma2ForCausalLM, Gemma2Config, SHAPE | GROUPED | {"sliding_window": 6}),
}


def byte_level(texts: list[str]) -> PreTrainedTokenizerFast:
    """A BPE over bytes, as GPT-NeoX and Qwen have it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet, end = pre_tokenizers.ByteLevel.alphabet(), "<|endoftext|>"
    trainer = trainers.BpeTrainer(
        vocab_size=500, initial_alphabet=alphabet, special_tokens=[end, "<|im_start|>"], show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end)


def with_spaces(texts: list[str]) -> PreTrainedTokenizerFast:
    """A BPE with ▁ for spaces and bytes for what has no token, which puts <s> before each text, as Llama has it."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace(), decoders.Fuse()])
    specials = ["<unk>", "<s>", "</s>"]
    made = [*specials, *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=700, special_tokens=made, limit_alphabet=200, show_progress=False)
    )
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", None, [("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def write_base(folder: Path, kind: str, texts: list[str]) -> Path:
    """Write the files of a base of ARCHITECTURES, the same each time, and return the folder."""
    model, config, settings = ARCHITECTURES[kind]
    settings = dict(settings)
    tokenizer = with_spaces(texts) if kind == "llama" else byte_level(texts)
    size = len(tokenizer) + settings.pop("spare", 0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = model(config(vocab_size=size, bos_token_id=0, eos_token_id=0, pad_token_id=None, **settings))
        for weight in made.parameters():  # so large that the distributions are far from even
            if weight.ndim == 2:
                weight.data *= 8
    made.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
