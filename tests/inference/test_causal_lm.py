"""Decoding by transformers: what kochat's own decoder gives for a GPT-2, and what `generate` gives for others."""

import pytest
import torch
from foreign_bases import ARCHITECTURES, write_base

from kochat.inference.causal_lm import CausalLMDecoder, device_for
from kochat.inference.decoder import Decoder
from kochat.inference.drafts import Drafts
from kochat.inference.engine import Engine, GenerationRequest
from kochat.model.gpt2 import load_model
from kochat.model.prompt import Prompt
from kochat.model.tokenizer import load_tokenizer
from kochat.model.weights import weights_of

QUESTIONS = ["12시 땡!", "안녕", "오늘 날씨는 어때? 비가 온다던데", "고마워"]
NEVER = -1


@pytest.fixture
def strong(model):
    """The model of 2 layers, with weights so large that the distributions are far from even."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, 0.4, generator=generator)
    return model.eval()


def test_rows_that_come_go_and_take_back_give_what_kochats_own_decoder_gives(strong):
    both = Decoder(weights_of(strong)), CausalLMDecoder(strong)

    def extend(new, wanted):
        ours, theirs = (decoder.extend(new, wanted) for decoder in both)
        torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-4)

    for decoder in both:
        decoder.add()
    extend([[5, 6, 7, 8, 9]], [2])
    for decoder in both:
        decoder.add()
        decoder.add()
    extend([[10], [11, 12, 13, 14, 15, 16, 17, 18], [19, 20]], [1, 3, 2])
    extend([[21], [22], [23]], [1, 1, 1])
    for decoder in both:
        decoder.lengths[1] -= 4  # a draft was wrong
        decoder.lengths[2] -= 1
    extend([[24, 25], [26], [27]], [2, 1, 0])
    for decoder in both:
        decoder.remove(0)
        decoder.add()
    extend([[28], [29], [30, 31, 32]], [1, 1, 1])
    extend([[33], [34], [35]], [1, 1, 1])
    for decoder in both:
        decoder.remove(2)
    extend([[36], [37]], [1, 1])
    for decoder in both:
        decoder.add()
    extend([[38], [39], [40, 41]], [1, 1, 1])
    for decoder in both:
        for _ in range(3):
            decoder.remove(0)
        decoder.add()
    extend([[36, 37]], [2])
    for decoder in both:
        decoder.lengths = []  # as the engine does after an error
        decoder.add()
    extend([[38, 39, 40]], [3])


def test_an_engine_over_it_replies_as_over_kochats_own(strong, tokenizer):
    prompt = Prompt(tokenizer, 64)
    encoded = [prompt.encode_prompt(question, "0") for question in QUESTIONS]
    asked = [GenerationRequest(ids) for ids in encoded]
    unlabelled = [prompt.encode_prompt(question, None) for question in QUESTIONS]
    asked += [GenerationRequest(*both, 1.5) for both in zip(encoded, unlabelled, strict=True)]
    asked += [GenerationRequest(ids, temperature=0.8, top_p=0.9, seed=3) for ids in encoded]
    plain = Engine(Decoder(weights_of(strong)), NEVER).replies(asked, 12)
    assert len(set(map(tuple, plain))) > 4
    assert Engine(CausalLMDecoder(strong), NEVER).replies(asked, 12) == plain
    drafts = Drafts({tuple([*plain[0][:4], 9]): 1, tuple(plain[1]): 2})
    engine = Engine(CausalLMDecoder(strong), NEVER, drafts)
    assert engine.replies(asked, 12) == plain
    assert list(engine.stream(asked[2], 12)) == plain[2]


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_replies_of_other_architectures_are_those_of_generate(tmp_path, sample, kind):
    folder = write_base(tmp_path / kind, kind, [*sample["Q"], *sample["A"]])
    tokenizer = load_tokenizer(folder)
    model, prompt = load_model(folder, tokenizer), Prompt(tokenizer, 48)
    encoded = [prompt.encode_prompt(question, "0") for question in QUESTIONS]
    expected = [
        model.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False, eos_token_id=None)[
            0, len(ids) :
        ].tolist()
        for ids in encoded
    ]
    assert len(set(map(tuple, expected))) > 1
    decoder = CausalLMDecoder(model)
    assert Engine(decoder, NEVER).replies([GenerationRequest(ids) for ids in encoded], 12) == expected
    # What no token is for is never chosen.
    assert decoder.logits([encoded[0]], [3, 4]).shape == (1, 2, model.config.vocab_size)
    assert CausalLMDecoder(model, 300).logits([encoded[0]], [3, 4]).shape == (1, 2, 300)
    with torch.inference_mode():
        said = model(torch.tensor([[*encoded[0], 3, 4]])).logits[0, -3:-1].log_softmax(-1)
    [score] = decoder.log_likelihoods([([*encoded[0], 3, 4], 2)])
    assert score == pytest.approx((said[0, 3] + said[1, 4]).item(), rel=1e-4)


def test_a_large_model_decodes_on_a_gpu_of_this_process_alone(monkeypatch):
    assert device_for(125_000_000) == ("cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [device_for(size) for size in (4_800_000, 30_000_000)] == ["cpu", "cuda"]
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")  # that GPU is lent call by call
    assert device_for(125_000_000) == "cpu"
