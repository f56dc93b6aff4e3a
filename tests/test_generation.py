"""Greedy decoding against the loop that computes everything again, and texts out of ids."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kogpt2_like import write_kogpt2_like

from kochat.generation import generate, greedy_steps, text_pieces
from kochat.model import make_model
from kochat.prompt import Prompt
from kochat.tokenizer import load_tokenizer

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


def decoded(model, prompts, **options):
    """The rows of greedy_steps, each without the None after its end."""
    steps = list(greedy_steps(model, prompts, **{"eos_id": NEVER, "pad_id": 0, **options}))
    rows = [[step[i] for step in steps] for i in range(len(prompts))]
    for row in rows:
        assert None not in row[: len(row) - row.count(None)]  # who has ended stays so
    return [[token for token in row if token is not None] for row in rows]


PROMPTS = [[2, 267, 300, 301, 3, 267, 60, 4], [2, 310, 3, 4], [2, 400, 401, 402, 403, 404, 405, 406, 407, 3, 4], [2]]


@pytest.mark.parametrize("seed", range(5))
def test_the_cache_changes_nothing(tokenizer, seed):
    model = lively(tokenizer, seed)
    expected = [the_notebooks_loop(model, prompt, 16) for prompt in PROMPTS]
    assert len(set(expected[0])) > 4  # not one token again and again
    assert [decoded(model, [prompt], max_tokens=16)[0] for prompt in PROMPTS] == expected
    # Of different lengths in one batch: padded on the left.
    assert decoded(model, PROMPTS, max_tokens=16) == expected


def test_each_reply_stops_at_its_own_end(tokenizer):
    model = lively(tokenizer, 0)
    endless = decoded(model, PROMPTS, max_tokens=16)
    end = endless[0][5]
    expected = [row[: row.index(end)] if end in row else row for row in endless]
    assert len(expected[0]) <= 5
    assert len({len(row) for row in expected}) > 1
    assert decoded(model, PROMPTS, max_tokens=16, eos_id=end) == expected
    # When all have ended, no further step is computed.
    assert len(list(greedy_steps(model, PROMPTS[:1], eos_id=end, pad_id=0))) == len(expected[0])
    assert list(greedy_steps(model, PROMPTS[:1], eos_id=endless[0][0], pad_id=0)) == []


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
    assert generate(lively(tokenizer, 0), tokenizer, []) == []


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


def test_generate_gives_the_text_of_each_reply(tokenizer):
    model = lively(tokenizer, 4)
    tokens = decoded(model, PROMPTS, eos_id=1, max_tokens=9)
    expected = ["".join(text_pieces(tokenizer, row)) for row in tokens]
    assert generate(model, tokenizer, PROMPTS, max_tokens=9) == expected
    assert len(set(expected)) == len(PROMPTS)


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
