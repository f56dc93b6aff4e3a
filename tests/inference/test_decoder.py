"""The decoder against transformers' own forward pass: rows, their lengths, likelihoods, 8 bits."""

import math
import random

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from kochat.inference.chatbot import load
from kochat.inference.decoder import Decoder, suits_int8
from kochat.model.gpt2 import make_model
from kochat.model.prompt import Prompt
from kochat.model.weights import weights_of


@torch.inference_mode()
def logits_of(model, ids):
    return model(torch.tensor([ids])).logits[0]


def large(tokenizer, **options):
    """A model with weights large enough for attention to matter."""
    model = make_model(tokenizer, layers=3, width=16, heads=2, positions=256, seed=1)
    for name, value in options.items():
        setattr(model.config, name, value)
    model = GPT2LMHeadModel(model.config)
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(8).add_(torch.randn_like(weights) * 0.1)
    return model.eval()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"activation_function": "gelu_new"},
        {"activation_function": "relu", "scale_attn_by_inverse_layer_idx": True},
        {"scale_attn_weights": False, "n_inner": 24},
    ],
)
def test_rows_that_grow_unevenly_have_the_logits_of_transformers(tokenizer, options):
    model, rng = large(tokenizer, **options), random.Random(0)
    decoder = Decoder(weights_of(model))
    rows: list[list[int]] = []
    for turn in range(30):
        if turn % 3 == 0:
            decoder.add()
            rows.append([])
        if turn % 7 == 6:
            gone = rng.randrange(len(rows))
            decoder.remove(gone)
            rows[gone] = rows[-1]
            rows.pop()
        if turn % 5 == 4 and len(rows[0]) > 2:  # take tokens back, as of a wrong draft
            decoder.lengths[0] -= 2
            del rows[0][-2:]
        new = [[rng.randrange(600) for _ in range(rng.choice((1, 2, 4, 9)))] for _ in rows]
        wanted = [rng.randrange(len(ids) + 1) for ids in new]
        found = decoder.extend(new, wanted)
        for row, ids in zip(rows, new, strict=True):
            row += ids
        expected = [logits_of(model, row)[len(row) - n :] for row, n in zip(rows, wanted, strict=True)]
        torch.testing.assert_close(found, torch.cat(expected), rtol=1e-3, atol=1e-3)
    assert decoder.lengths == [len(row) for row in rows]
    assert max(decoder.lengths) > 64  # past what the cache had room for at first
    assert decoder.copy().lengths == []


def test_log_likelihoods_are_those_of_a_plain_loop(model, tokenizer):
    prompt, decoder = Prompt(tokenizer, 96), Decoder(weights_of(model))
    texts = ["안녕", "오늘 날씨는 어때?", "🦜", "배가 고파서 밥을 먹고 싶어"]
    whole = [prompt.encode_example(text, text[::-1], "0").input_ids for text in texts]
    counted = [(ids, n) for ids in whole for n in (0, 1, 3, len(ids) - 1)] * 5  # more than are scored at once
    by_hand = []
    for ids, n in counted[: len(counted) // 5]:
        rows = logits_of(model, ids).log_softmax(-1)
        by_hand.append(sum(rows[i - 1, ids[i]].item() for i in range(len(ids) - n, len(ids))))
    assert decoder.log_likelihoods(counted) == pytest.approx(by_hand * 5, rel=1e-5)
    assert decoder.log_likelihoods([]) == []
    assert decoder.lengths == []


def test_probabilities_are_distributions_that_agree_with_the_likelihood(model, tokenizer):
    example = Prompt(tokenizer, 96).encode_example("안녕", "좋은 아침이에요", "0")
    start = example.labels.count(-100)
    prompt, reply = example.input_ids[:start], example.input_ids[start:]
    rows, other = Decoder(weights_of(model)).logits([prompt, prompt[:-3]], reply).softmax(-1)
    assert rows.shape == other.shape == (len(reply), len(tokenizer))
    [[*each]] = Decoder(weights_of(model)).token_log_likelihoods([(example.input_ids, len(reply))])
    assert each == pytest.approx([math.log(row[token]) for row, token in zip(rows, reply, strict=True)], rel=1e-5)
    [alone] = Decoder(weights_of(model)).logits([prompt[:-3]], reply).softmax(-1)
    torch.testing.assert_close(other, alone)
    assert rows.sum(-1).tolist() == pytest.approx([1] * len(reply), abs=1e-5)
    total = sum(math.log(row[token]) for row, token in zip(rows, reply, strict=True))
    assert [total] == pytest.approx(
        Decoder(weights_of(model)).log_likelihoods([(example.input_ids, len(reply))]), rel=1e-5
    )


KERNELS = "fbgemm" in torch.backends.quantized.supported_engines  # on every x86, not on every ARM


@pytest.mark.parametrize(("int8", "error"), [(False, 1e-5)] + [(True, 0.02)] * KERNELS)
def test_a_row_is_the_same_whatever_stands_beside_it_and_8_bits_are_close(tokenizer, int8, error):
    model = make_model(tokenizer, layers=2, width=64, heads=4, positions=96, seed=1).eval()
    with torch.no_grad():
        model.transformer.wte.weight.mul_(10)
    prompts = [[2, *range(300, 300 + n), 4] for n in (3, 9, 5)]
    alone = []
    for prompt in prompts:
        decoder = Decoder(weights_of(model), int8)
        decoder.add()
        alone.append(decoder.extend([prompt], [1])[0])
        exact = logits_of(model, prompt)[-1]
        assert (alone[-1] - exact).norm() / exact.norm() < error
    together = Decoder(weights_of(model), int8)
    for _ in prompts:
        together.add()
    torch.testing.assert_close(together.extend(prompts, [1] * 3), torch.stack(alone), rtol=1e-5, atol=1e-5)


def test_8_bits_are_for_large_models(model, tiny_checkpoint, monkeypatch):
    assert not suits_int8(weights_of(model))
    monkeypatch.setattr("kochat.inference.decoder.PARAMETERS_FOR_INT8", 1000)
    assert suits_int8(weights_of(model)) == KERNELS
    bot = load(tiny_checkpoint)
    assert (bot._engine.decoder is not bot._exact) == KERNELS
    whole = bot.replies([("안녕", "0"), ("뭐 해?", "auto")])
    assert [bot.reply("안녕", "0"), bot.reply("뭐 해?")] == whole
    with torch.device("meta"):
        kogpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=51200))
    assert kogpt2.num_parameters() > 120e6
    assert not suits_int8(weights_of(kogpt2))  # it is not on the processor


def test_as_much_is_scored_at_once_as_memory_holds_and_none_of_it_is_kept(tokenizer, monkeypatch):
    decoder = Decoder(weights_of(large(tokenizer)))
    rng = random.Random(0)
    counted = [([rng.randrange(600) for _ in range(rng.randrange(2, 40))], 1) for _ in range(70)]
    counted = [(ids, rng.randrange(1, len(ids))) for ids, _ in counted]
    expected = decoder.token_log_likelihoods(counted)
    most = []
    extend = Decoder.extend

    def watched(self, new, wanted):
        most.append(sum(wanted))
        return extend(self, new, wanted)

    monkeypatch.setattr(Decoder, "extend", watched)
    monkeypatch.setattr("kochat.inference.decoder.LOGITS_AT_ONCE", 50 * len(decoder.tokens))
    for one, other in zip(decoder.token_log_likelihoods(counted), expected, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    assert max(most) <= 50
    assert sum(most) == sum(n for _, n in counted)
    # A sequence that is too long by itself is scored alone.
    assert len(decoder.token_log_likelihoods([(counted[0][0] * 5, 60), counted[1]])) == 2
    assert most[-1] == 60


def test_rows_that_have_gone_hold_no_memory(tokenizer):
    decoder = Decoder(weights_of(large(tokenizer)))
    small = decoder.cache.numel()
    for _ in range(20):
        decoder.add()
    decoder.extend([[1] * 100] * 20, [1] * 20)
    assert decoder.cache.numel() > 20 * small
    for _ in range(20):
        decoder.remove(0)
    assert decoder.cache.numel() == small
