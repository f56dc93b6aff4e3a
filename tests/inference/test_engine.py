"""Decoding against the loop that computes everything again, greedy and by draws, and texts out of ids."""

import math
import multiprocessing
import os
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tokenizers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kogpt2_like import write_kogpt2_like
from scipy.stats import chisquare
from transformers import PreTrainedTokenizerFast

from kochat.inference.decoder import Decoder
from kochat.inference.drafts import Drafts
from kochat.inference.engine import Engine, GenerationRequest, text_of, text_pieces, token_texts
from kochat.inference.sampling import waits
from kochat.model.gpt2 import make_model
from kochat.model.prompt import Prompt
from kochat.model.tokenizer import load_tokenizer
from kochat.model.weights import weights_of

POSITIONS = 32
NEVER = -1  # as eos_id: no token ends the reply


def lively(tokenizer, seed, scale=15):
    """A model with large random weights: what it says looks like noise, and depends on every token before."""
    model = make_model(tokenizer, layers=2, width=8, heads=2, positions=POSITIONS, seed=seed)
    with torch.no_grad():
        for weights in model.parameters():
            weights.mul_(scale).add_(torch.randn_like(weights) * 0.1)
    return model.eval()


@torch.inference_mode()
def next_logits(model, ids):
    return model(torch.tensor([ids])).logits[0, -1]


def the_notebooks_loop(model, prompt, tokens):
    """Every token from a whole new computation (notebook, cell 47)."""
    ids = list(prompt)
    while len(ids) < min(len(prompt) + tokens, POSITIONS):
        ids.append(next_logits(model, ids).argmax().item())
    return ids[len(prompt) :]


def decoded(model, prompts, eos_id=NEVER, unlabelled=None, strength=0.0, **options):
    """The tokens of the reply to each prompt, decoded together."""
    asked = [
        GenerationRequest(p, u, strength) for p, u in zip(prompts, unlabelled or [None] * len(prompts), strict=True)
    ]
    return Engine(Decoder(weights_of(model)), eos_id).replies(asked, **options)


PROMPTS = [[2, 267, 300, 301, 3, 267, 60, 4], [2, 310, 3, 4], [2, 400, 401, 402, 403, 404, 405, 406, 407, 3, 4], [2]]


@pytest.mark.parametrize("seed", range(5))
def test_the_cache_changes_nothing(tokenizer, seed):
    model = lively(tokenizer, seed)
    expected = [the_notebooks_loop(model, prompt, 16) for prompt in PROMPTS]
    assert len(set(expected[0])) > 4  # not one token again and again
    assert [decoded(model, [prompt], max_tokens=16)[0] for prompt in PROMPTS] == expected
    # Of different lengths in one batch.
    assert decoded(model, PROMPTS, max_tokens=16) == expected


def test_each_reply_stops_at_its_own_end(tokenizer):
    model = lively(tokenizer, 0)
    endless = decoded(model, PROMPTS, max_tokens=16)
    end = endless[0][5]
    expected = [row[: row.index(end)] if end in row else row for row in endless]
    assert len(expected[0]) <= 5
    assert len({len(row) for row in expected}) > 1
    assert decoded(model, PROMPTS, max_tokens=16, eos_id=end) == expected
    assert decoded(model, PROMPTS[:1], eos_id=endless[0][0]) == [[]]


def test_a_reply_has_at_most_max_tokens_and_ends_with_the_models_positions(tokenizer):
    model = lively(tokenizer, 1)
    long, full = [2] * (POSITIONS - 3), [2] * POSITIONS
    assert len(decoded(model, PROMPTS[:1], max_tokens=7)[0]) == 7
    assert decoded(model, [long]) == [the_notebooks_loop(model, long, 99)]
    assert decoded(model, [full]) == [[]]
    # In a batch each has the positions that it has alone.
    prompts = [long, PROMPTS[1], full]
    assert [len(row) for row in decoded(model, prompts)] == [3, 28, 0]
    assert decoded(model, prompts) == [the_notebooks_loop(model, prompt, 99) for prompt in prompts]


def test_nothing_asked_is_nothing_replied(tokenizer):
    assert decoded(lively(tokenizer, 0), []) == []


def test_strength_moves_the_choice_by_the_label_among_plausible_tokens(tokenizer):
    with_label, without = [2, 300, 3, 267, 55, 4], [2, 300, 3, 4]
    moved = cut = 0
    for seed in range(12):
        model = lively(tokenizer, seed, scale=5)
        labelled, unlabelled = (next_logits(model, ids).log_softmax(-1) for ids in (with_label, without))
        for strength in (0.5, 3.0, 20.0):
            scores = labelled + strength * (labelled - unlabelled)
            plausible = [i for i, p in enumerate(labelled.exp()) if p >= 0.1 * labelled.exp().max()]
            expected = max(plausible, key=lambda i: scores[i].item())
            [[token]] = decoded(model, [with_label], max_tokens=1, unlabelled=[without], strength=strength)
            assert token == expected
            moved += token != labelled.argmax()
            cut += token != scores.argmax()
    assert moved > 5  # it does something,
    assert cut > 5  # and so does the limit to plausible tokens


def test_strengthened_replies_are_the_same_alone_and_in_a_batch(tokenizer):
    model = lively(tokenizer, 3)
    without = [[2, 310, 3, 4], [2, 310], [2, 3, 4], [7, 8, 9, 10]]
    options = {"max_tokens": 12, "strength": 2.0}
    alone = [decoded(model, [p], unlabelled=[u], **options)[0] for p, u in zip(PROMPTS, without, strict=True)]
    assert decoded(model, PROMPTS, unlabelled=without, **options) == alone
    assert alone != decoded(model, PROMPTS, max_tokens=12)


def test_strength_0_is_plain_greedy_decoding(tokenizer):
    model = lively(tokenizer, 2)
    plain = decoded(model, PROMPTS, max_tokens=12)
    assert decoded(model, PROMPTS, max_tokens=12, unlabelled=PROMPTS[::-1], strength=0) == plain
    assert decoded(model, PROMPTS, max_tokens=12, strength=3.0) == plain  # nothing to compare with
    assert decoded(model, PROMPTS, max_tokens=12, unlabelled=PROMPTS, strength=3.0) == plain  # no difference


def test_a_pass_with_strength_reads_two_rows_a_reply_and_no_more(tokenizer):
    with_label, without = [2, 310, 3, 267, 55, 4], [2, 310, 3, 4]
    decoder = Counting(lively(tokenizer, 3))
    Engine(decoder, NEVER).replies([GenerationRequest(with_label, without, 2.0)], 9)
    assert decoder.passes == [[6, 4], *[[1, 1]] * 8]
    # Two plain prompts at once cost the same passes; a strength of 0 costs one row.
    plain = Counting(lively(tokenizer, 3))
    Engine(plain, NEVER).replies([GenerationRequest(with_label), GenerationRequest(without)], 9)
    assert plain.passes == decoder.passes
    alone = Counting(lively(tokenizer, 3))
    Engine(alone, NEVER).replies([GenerationRequest(with_label, without, 0)], 9)
    assert alone.passes == [[6], *[[1]] * 8]


def drawn_by_hand(model, request, tokens):
    """Every token from a whole new computation: guidance, temperature, nucleus, Gumbel-max."""
    said = []
    while len(said) < tokens:
        scores = next_logits(model, [*request.prompt, *said]).double()
        if request.strength:
            plausible = scores >= scores.max() + math.log(0.1)
            scores += request.strength * (scores - next_logits(model, [*request.unlabelled, *said]))
            scores[~plausible] = -math.inf
        shares, ids = (scores / request.temperature).softmax(-1).sort(descending=True, stable=True)
        nucleus = int((shares.cumsum(-1) < request.top_p).sum()) + 1
        gumbel = -np.log(waits(request.seed, len(request.prompt) + len(said), len(scores)))
        said.append(max(ids[:nucleus].tolist(), key=lambda i: scores[i].item() / request.temperature + gumbel[i]))
    return said


WARM = {"temperature": 1.0, "top_p": 0.95}
WITHOUT = [2, 310, 3, 4]


@pytest.mark.slow
@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_a_drawn_reply_is_that_of_the_loop_alone_among_others_and_with_drafts(tokenizer, strength):
    model = lively(tokenizer, 3, scale=5)
    requests = [
        GenerationRequest(PROMPTS[i % 4], WITHOUT, strength, seed=i, temperature=0.7 + i % 3 / 2, top_p=0.95)
        for i in range(31)
    ]
    expected = [drawn_by_hand(model, request, 12) for request in requests]
    assert len({tuple(reply) for reply in expected}) == 31
    weights = weights_of(model)
    alone = [Engine(Decoder(weights), NEVER).replies([request], 12)[0] for request in requests]
    assert alone == expected
    # Greedy ones in the same passes, too, and whoever leaves or is drafted for.
    greedy = [GenerationRequest(prompt, WITHOUT, strength) for prompt in PROMPTS]
    plain = Engine(Decoder(weights), NEVER).replies(greedy, 12)
    assert Engine(Decoder(weights), NEVER).replies([*requests, *greedy], 12) == [*expected, *plain]
    endings = [[*reply, 1] for reply in expected]
    wrong = [[*reply[:5], 17, 18] for reply in expected for _ in range(2)]
    for answers in (endings, wrong, [*endings, *wrong]):
        assert Engine(Decoder(weights), NEVER, drafts_of(answers)).replies([*requests, *greedy], 12) == [
            *expected,
            *plain,
        ]
    decoder = Counting(model)
    assert Engine(decoder, NEVER, drafts_of(endings[:1])).replies(requests[:1], 12) == expected[:1]
    assert len(decoder.passes) == 2  # a draft is checked against the draws as it is against the likeliest tokens


def test_at_temperature_0_a_reply_is_greedy_whatever_the_seed(tokenizer, monkeypatch):
    model = lively(tokenizer, 2)
    plain = decoded(model, PROMPTS, max_tokens=12)
    monkeypatch.setattr("kochat.inference.engine.draw", None)  # nor is anything computed for a draw
    cold = [GenerationRequest(prompt, seed=7, top_p=0.1) for prompt in PROMPTS]
    assert Engine(Decoder(weights_of(model)), NEVER).replies(cold, 12) == plain


@pytest.mark.slow
def test_the_first_tokens_drawn_follow_the_models_probabilities(tokenizer):
    model = lively(tokenizer, 5, scale=4)
    for strength, top_p in ((0.0, 1.0), (0.0, 0.8), (1.0, 1.0)):
        requests = [
            GenerationRequest(PROMPTS[0], WITHOUT, strength, temperature=1.0, top_p=top_p, seed=i) for i in range(3000)
        ]
        engine = Engine(Decoder(weights_of(model)), NEVER)
        found = Counter(tokens[0] for tokens in engine.replies(requests, 1))
        [shares] = engine.distributions(requests[0], [0])
        if strength == 0 and top_p == 1:
            assert shares.tolist() == pytest.approx(next_logits(model, PROMPTS[0]).softmax(-1).tolist(), abs=1e-6)
        assert all(shares[token] > 0 for token in found)
        common = [token for token, p in enumerate(shares.tolist()) if p * 3000 >= 5]
        assert len(common) > 2
        expected = [3000 * shares[token].item() for token in common]
        counted = [found[token] for token in common]
        if 3000 - sum(expected) > 1:  # all the rarer ones as one
            expected.append(3000 - sum(expected))
            counted.append(3000 - sum(counted))
        assert chisquare(counted, torch.tensor(expected) / sum(expected) * 3000).pvalue > 0.001


def test_a_pass_reads_no_more_for_a_draw(tokenizer):
    decoder = Counting(lively(tokenizer, 3))
    Engine(decoder, NEVER).replies([GenerationRequest(PROMPTS[0], WITHOUT, 2.0, **WARM)], 9)
    assert decoder.passes == [[8, 4], *[[1, 1]] * 8]


@pytest.mark.parametrize("text", ["안녕하세요", "뷁 쀍 좋아요", "🦜🦜 👩‍👩‍👧", "좋은 龜 아침", "오늘은  비가 와요!"])
def test_a_stream_never_holds_half_a_character(tokenizer, text):
    pieces = list(text_pieces(tokenizer, Prompt(tokenizer, 96).text_ids(text)))
    assert "".join(pieces) == " ".join(text.split())
    assert not any("\ufffd" in piece for piece in pieces)
    assert all(pieces)
    assert len(pieces) > 1


def test_a_piece_comes_as_soon_as_it_is_certain(tokenizer):
    space, eb, b7, x81 = tokenizer.convert_tokens_to_ids(["▁", "<0xEB>", "<0xB7>", "<0x81>"])
    seen = []

    def tokens():
        for token in [space, eb, b7, x81, space, eb, b7, x81]:
            yield token
            seen.append("".join(pieces))

    pieces = []
    for piece in text_pieces(tokenizer, tokens()):
        pieces.append(piece)
    assert seen == ["", "", "", "뷁", "뷁", "뷁", "뷁", "뷁 뷁"]


def test_spaces_stay_between_pieces_and_not_at_the_ends(tmp_path):
    tokenizer = load_tokenizer(write_kogpt2_like(tmp_path / "kogpt2"))
    ids = tokenizer.convert_tokens_to_ids(["▁좋은", "▁아", "침", "이", "에", "요", "▁"])
    assert tokenizer.unk_token_id not in ids
    assert list(text_pieces(tokenizer, ids)) == ["좋은", " 아", "침", "이", "에", "요"]
    space, hello = tokenizer.convert_tokens_to_ids(["▁", "▁하"])
    assert list(text_pieces(tokenizer, [space, space, hello, space, hello, space])) == ["하", "  하"]


def test_structural_ids_inside_a_reply_are_not_text(tokenizer):
    a, b = (Prompt(tokenizer, 96).text_ids(text) for text in ("안녕", "뷁"))
    assert "".join(text_pieces(tokenizer, [2, *a, 3, 4, 0, 6, 5, *b, 1])) == "안녕 뷁"
    # Even in the middle of a character.
    assert "".join(text_pieces(tokenizer, [*b[:2], 4, *b[2:]])) == "뷁"
    assert list(text_pieces(tokenizer, [2, 3, 4])) == []


def test_bytes_that_are_no_character_leave_the_rest_alone(tokenizer):
    first, last = (Prompt(tokenizer, 96).text_ids(text) for text in ("안녕", "하세요"))
    for broken in ([7 + 0xEB], [7 + 0xFF] * 5, [7 + 0xEB, 7 + 0xB7]):
        text = "".join(text_pieces(tokenizer, [*first, *broken, *last]))
        assert text.startswith("안녕")
        assert text.endswith(" 하세요")
        # A reply that is cut in the middle of a character ends before it.
        assert "".join(text_pieces(tokenizer, [*first, *broken])) == "안녕"


def test_the_text_of_a_reply_is_its_pieces(tokenizer):
    tokens = Prompt(tokenizer, 96).text_ids("오늘은 뷁 비가 와요")
    assert text_of(tokenizer, tokens) == "오늘은 뷁 비가 와요"


def drafts_of(answers):
    """Drafts from answers, each as often as it is listed."""
    return Drafts(Counter(map(tuple, answers)))


class Counting(Decoder):
    """A decoder that notes how many tokens each row reads in each pass."""

    def __init__(self, model):
        super().__init__(weights_of(model))
        self.passes = []

    def extend(self, new, wanted):
        self.passes.append(list(map(len, new)))
        return super().extend(new, wanted)


@pytest.mark.parametrize("strength", [0.0, 2.0])
def test_drafts_change_the_passes_and_never_the_reply(tokenizer, strength):
    model = lively(tokenizer, 3)
    asked = [GenerationRequest(prompt, [2, 310, 3, 4], strength) for prompt in PROMPTS]
    plain = Engine(Decoder(weights_of(model)), NEVER).replies(asked, 12)
    endings = [[*row, 1] for row in plain]
    wrong = [[*row[:5], 17, 18] for row in plain for _ in range(2)]  # right so far, then not
    for answers in (endings, wrong, [*endings, *wrong], [[17, 18, 19]]):
        assert Engine(Decoder(weights_of(model)), NEVER, drafts_of(answers)).replies(asked, 12) == plain
    decoder = Counting(model)
    reply = list(Engine(decoder, NEVER, drafts_of(endings)).stream(asked[0], 12))
    assert reply == plain[0]
    assert len(decoder.passes) == 2  # the prompt, then the draft of all that is left
    # Of a draft that is wrong from its sixth token on, five are taken.
    decoder = Counting(model)
    assert list(Engine(decoder, NEVER, drafts_of(wrong)).stream(asked[0], 12)) == plain[0]
    assert len(decoder.passes) == 2 + 7 - 1


def test_a_draft_may_hold_the_end(tokenizer):
    model = lively(tokenizer, 0)
    [endless] = decoded(model, PROMPTS[:1], max_tokens=16)
    end = endless[6]
    reply = endless[: endless.index(end)]
    decoder = Counting(model)
    assert Engine(decoder, end, drafts_of([[*reply, end]])).replies([GenerationRequest(PROMPTS[0])]) == [reply]
    assert len(decoder.passes) == 2


def test_a_new_reply_joins_and_one_that_has_left_makes_way(tokenizer):
    model = lively(tokenizer, 1)
    expected = [the_notebooks_loop(model, prompt, 16) for prompt in PROMPTS]
    decoder = Counting(model)
    engine = Engine(decoder, NEVER)
    first, second, third = (engine.stream(GenerationRequest(prompt), 16) for prompt in PROMPTS[:3])
    told = [next(first) for _ in range(3)]
    others = [next(second)]
    assert decoder.passes[3] == [1, len(PROMPTS[1])]  # the second's prompt beside the first's fourth token
    assert next(first) == expected[0][3]
    assert len(decoder.passes) == 4  # which was there already
    first.close()
    last = list(third)
    assert decoder.passes[4] == [1, len(PROMPTS[2])]  # the first has left, the second goes on beside the third
    assert told == expected[0][:3]
    assert [*others, *second] == expected[1]
    assert last == expected[2]
    assert engine.replies([GenerationRequest(PROMPTS[3])], 16) == [expected[3]]
    assert decoder.passes[-1] == [1]


@pytest.mark.parametrize("strength", [0.0, 2.0])
def test_who_leaves_in_the_middle_of_a_pass_is_out_at_the_next(tokenizer, strength):
    model = lively(tokenizer, 1)

    class Leaving(Counting):
        def extend(self, new, wanted):
            if len(self.passes) == 2:
                leaving.close()
            return super().extend(new, wanted)

    decoder = Leaving(model)
    engine = Engine(decoder, NEVER)
    staying, leaving = (engine.stream(GenerationRequest(prompt, [2, 310], strength), 16) for prompt in PROMPTS[:2])
    next(leaving)
    reply = list(staying)
    assert reply == decoded(model, PROMPTS[:1], max_tokens=16, unlabelled=[[2, 310]], strength=strength)[0]
    rows = 2 if strength else 1
    assert list(map(len, decoder.passes)) == [rows] + [2 * rows] * 2 + [rows] * (len(decoder.passes) - 3)


def test_many_threads_get_their_own_replies(tokenizer):
    model = lively(tokenizer, 2)
    prompts = [[2, 300 + i, 3, 4 + i % 3] for i in range(100)]  # more than decode at once
    alone = [decoded(model, [prompt], max_tokens=9)[0] for prompt in prompts]
    engine = Engine(Decoder(weights_of(model)), NEVER)
    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(lambda prompt: list(engine.stream(GenerationRequest(prompt), 9)), prompts))
    assert replies == alone
    assert len({tuple(reply) for reply in alone}) > 50


def test_a_failed_pass_ends_all_its_replies_and_the_next_ones_work(tokenizer):
    model = lively(tokenizer, 0)
    engine = Engine(Decoder(weights_of(model)), NEVER)
    first, second = (engine.stream(GenerationRequest(prompt), 8) for prompt in ([2, 300], [2, 10**6]))  # no such token
    next(first)
    for stream in (second, first):
        with pytest.raises(IndexError):
            list(stream)
    assert engine.replies([GenerationRequest(PROMPTS[0])], 8) == [the_notebooks_loop(model, PROMPTS[0], 8)]


def test_the_joined_pieces_of_any_text_are_the_text(tokenizer):
    prompt, normal = Prompt(tokenizer, 96), tokenizer.backend_tokenizer.normalizer
    some = st.sampled_from(["안녕", " ", "  ", "뷁", "🦜", "龜", "\n", "</s>", "<0x41>", "e\u0301", "요."])
    # ▁ is the tokenizer's space, and \ufffd at the end would be half a character.
    letters = st.characters(exclude_categories=["Cs"], exclude_characters="▁\ufffd")

    @settings(max_examples=200, deadline=None, database=None)
    @given(st.lists(st.one_of(some, st.text(letters, max_size=4)), max_size=8).map("".join))
    def holds(text):
        pieces = list(text_pieces(tokenizer, prompt.text_ids(text)))
        assert "".join(pieces) == normal.normalize_str(text.strip()).strip()

    holds()


def test_pieces_of_a_character_are_called_by_it(tokenizer):
    ids = Prompt(tokenizer, 96).text_ids("안녕 🦜Q")
    assert token_texts(tokenizer, ids)[-5:-1] == ["🦜 1/4", "🦜 2/4", "🦜 3/4", "🦜 4/4"]
    words = [token for token in tokenizer.get_vocab() if token.startswith("▁")]
    texts = token_texts(tokenizer, tokenizer.convert_tokens_to_ids(words))
    assert texts == [word.replace("▁", " ") for word in words]
    assert token_texts(tokenizer, ids[-4:-1]) == ["<0x9F>", "<0xA6>", "<0x9C>"]  # its first one is not there
    assert token_texts(tokenizer, [ids[-4], tokenizer.eos_token_id]) == ["<0x9F>", "</s>"]
    assert token_texts(tokenizer, []) == []


def test_a_tokenizer_of_bytes_is_legible_too():
    plain = tokenizers.Tokenizer(tokenizers.models.BPE())
    plain.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["</s>", "<unk>"],
    )
    plain.train_from_iterator(["hello hello hello"], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="</s>", unk_token="<unk>")
    ids = tokenizer(" hello 안🦜").input_ids
    assert token_texts(tokenizer, ids)[-8:] == [
        " ",
        *[f"안 {i}/3" for i in (1, 2, 3)],
        *[f"🦜 {i}/4" for i in (1, 2, 3, 4)],
    ]
    assert "".join(token_texts(tokenizer, ids)[:-8]) == " hello"


def test_one_thread_computes_whoever_asks(tokenizer, monkeypatch):
    decoder, prompt = Decoder(weights_of(lively(tokenizer, 0))), PROMPTS[0]
    engine, threads, extend = Engine(decoder, NEVER), set(), Decoder.extend

    def noted(*args):
        threads.add(threading.get_ident())
        return extend(*args)

    monkeypatch.setattr(Decoder, "extend", noted)

    def said(_=None):
        scores = decoder.log_likelihoods([(prompt, 2)])
        return engine.replies([GenerationRequest(prompt)], 8), list(engine.stream(GenerationRequest(prompt), 8)), scores

    here = said()
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(said, range(8))) == [here] * 8
    engine.distributions(GenerationRequest(prompt), here[1])
    assert len(threads) == 1
    assert threading.get_ident() not in threads


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_process_forked_from_one_that_has_computed_computes_too(tokenizer):
    engine = Engine(Decoder(weights_of(lively(tokenizer, 0))), NEVER)
    here = engine.replies([GenerationRequest(PROMPTS[0])], 8)
    forking = multiprocessing.get_context("fork")
    end, other_end = forking.Pipe(duplex=False)
    child = forking.Process(target=lambda: other_end.send(engine.replies([GenerationRequest(PROMPTS[0])], 8)))
    child.start()
    try:
        assert end.poll(60)
        assert end.recv() == here
    finally:
        child.kill()
        child.join()
