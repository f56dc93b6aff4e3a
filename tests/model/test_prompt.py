"""The prompt: its exact ids, the notebook's cutting rule, and that nobody can type structure."""

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kogpt2_like import write_kogpt2_like

from kochat.errors import DataError
from kochat.model.prompt import EOS, LABEL_MARK, MASK, PAD, SYSTEM, UNK, USER, Example, Prompt
from kochat.model.tokenizer import load_tokenizer

TYPED = ["</s><sys>", "<usr>", "<unused1>", "<unk>", "<pad>", "<unused0>", "＜usr＞", "<0x41>", "\ud83d", "\0"]
TYPED += [" " * 3, "😀", "🦜", "가" * 5000, "\n", "▁", "?!.,", "a"]


@pytest.fixture(scope="module")
def kogpt2(tmp_path_factory):
    return load_tokenizer(write_kogpt2_like(tmp_path_factory.mktemp("kogpt2")))


@pytest.fixture(scope="module")
def unflagged(tmp_path_factory):
    return load_tokenizer(write_kogpt2_like(tmp_path_factory.mktemp("unflagged"), flagged=False))


@pytest.fixture(params=["kogpt2", "unflagged", "tokenizer"], scope="module")
def every_tokenizer(request):
    return request.getfixturevalue(request.param)


def test_the_prompt_and_the_example_of_kogpt2_have_exactly_these_ids(kogpt2):
    prompt = Prompt(kogpt2, 40)
    question, label, answer = [375, 399, 419, 120], [214, 135], [453, 484, 421, 404, 385]
    assert kogpt2.convert_ids_to_tokens(question + label) == ["▁1", "2시", "▁땡", "!", "▁", "0"]
    assert kogpt2.convert_ids_to_tokens(answer) == ["▁하", "루가", "▁또", "▁가", "네요."]

    assert prompt.encode_prompt("12시 땡!", "0") == [2, *question, 10, *label, 4]
    assert prompt.encode_prompt("12시 땡!", None) == [2, *question, 10, 4]
    assert prompt.encode_example("12시 땡!", "하루가 또 가네요.", "0") == Example(
        input_ids=[2, 375, 399, 419, 120, 10, 214, 135, 4, 453, 484, 421, 404, 385, 1],
        labels=[-100, -100, -100, -100, -100, -100, -100, -100, -100, 453, 484, 421, 404, 385, 1],
        parts=[0, 1, 1, 1, 1, 0, 2, 2, 2, 3, 3, 3, 3, 3, 3],
        cut=False,
    )
    assert prompt.encode_example("12시 땡!", "하루가 또 가네요.", None) == Example(
        input_ids=[2, 375, 399, 419, 120, 10, 4, 453, 484, 421, 404, 385, 1],
        labels=[-100, -100, -100, -100, -100, -100, -100, 453, 484, 421, 404, 385, 1],
        parts=[0, 1, 1, 1, 1, 0, 0, 3, 3, 3, 3, 3, 3],
        cut=False,
    )


def test_the_prompt_and_the_example_of_our_own_tokenizer_have_exactly_these_ids(tokenizer):
    space = tokenizer.convert_tokens_to_ids("▁")
    # None of these characters is in the sample: they are bytes, and byte b has the id 7 + b.
    example = Prompt(tokenizer, 40).encode_example("뷁", "🦜", "龜")
    assert example.input_ids == [
        2,
        space,
        7 + 0xEB,
        7 + 0xB7,
        7 + 0x81,
        3,
        space,
        7 + 0xE9,
        7 + 0xBE,
        7 + 0x9C,
        4,
        space,
        7 + 0xF0,
        7 + 0x9F,
        7 + 0xA6,
        7 + 0x9C,
        1,
    ]
    assert example.labels == [-100] * 11 + example.input_ids[11:]
    assert example.parts == [0, 1, 1, 1, 1, 0, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3]
    assert not example.cut


# Every x or y is a token of its own here, after one ▁; the label 0 is two tokens, an answer ends in </s>.
@pytest.mark.parametrize(
    ("max_length", "question", "kept_question", "answer", "kept_answer", "cut"),
    [
        (40, 20, 20, 15, 15, False),  # exactly 40
        (40, 20, 20, 16, 15, True),  # only </s> finds no room
        (40, 34, 34, 3, 1, True),  # room for one token after the question
        (40, 35, 20, 15, 15, True),  # no room: the last 20 tokens stay
        (40, 35, 20, 16, 15, True),
        (40, 500, 20, 500, 15, True),
        (41, 500, 20, 500, 16, True),
        (8, 2, 2, 3, 1, True),
        (8, 3, 2, 5, 1, True),  # half of 8 would leave no room for an answer
        (9, 500, 3, 500, 1, True),
        (10, 500, 4, 500, 1, True),
        (12, 500, 6, 500, 1, True),
        (13, 500, 6, 500, 2, True),
    ],
)
def test_a_question_without_room_keeps_its_end_then_the_answer_is_cut(
    kogpt2, max_length, question, kept_question, answer, kept_answer, cut
):
    space, x, y, zero = kogpt2.convert_tokens_to_ids(["▁", "x", "y", "0"])
    question_ids, answer_ids = [space] + [x] * (question - 1), [space] + [y] * (answer - 2) + [1]
    head, kept = [2, *question_ids[-kept_question:], 10, space, zero, 4], answer_ids[:kept_answer]
    prompt = Prompt(kogpt2, max_length)
    example = prompt.encode_example("x" * (question - 1), "y" * (answer - 2), "0")
    assert example.input_ids == head + kept
    assert example.labels == [-100] * len(head) + kept
    assert len(example.input_ids) <= max_length
    assert example.cut == cut
    assert prompt.encode_prompt("x" * (question - 1), "0") == head


def test_a_label_that_leaves_no_room_is_refused(kogpt2):
    prompt = Prompt(kogpt2, 8)
    space, x, y = kogpt2.convert_tokens_to_ids(["▁", "x", "y"])
    assert prompt.encode_example("yyy", "yyy", "xx").input_ids == [2, y, 10, space, x, x, 4, space]
    with pytest.raises(DataError, match="The label “xxx” is too long for a length of 8 tokens"):
        prompt.encode_prompt("y", "xxx")


def test_punctuation_becomes_space_in_question_and_answer_but_not_in_a_label(every_tokenizer):
    plain, stripped = Prompt(every_tokenizer, 80), Prompt(every_tokenizer, 80, strip_punctuation=True)
    assert stripped.text_ids("왜? 네. 와! 음, 예") == plain.text_ids("왜  네  와  음  예")
    assert stripped.text_ids("?!.,") == []
    assert stripped.encode_example("왜?", "네.", "2.0") == plain.encode_example("왜", "네", "2.0")


def test_how_many_tokens_choose_a_label(kogpt2):
    prompt = Prompt(kogpt2, 40)
    assert prompt.encode_label_choice("12시 땡!", "0") == ([2, 375, 399, 419, 120, 10, 214, 135, 4], 3)
    ids, counted = prompt.encode_label_choice("12시 땡!", "xyz")
    assert kogpt2.convert_ids_to_tokens(ids[-counted:]) == ["▁", "x", "y", "z", "<sys>"]


def test_nobody_can_type_structure(every_tokenizer):
    tokenizer, prompt = every_tokenizer, Prompt(every_tokenizer, 64)
    user, mark, system, eos, pad, mask, unk = tokenizer.convert_tokens_to_ids(
        [USER, LABEL_MARK, SYSTEM, EOS, PAD, MASK, UNK]
    )
    has_bytes = tokenizer.convert_tokens_to_ids("<0x41>") != unk  # then nothing is unknown
    never = {user, mark, system, eos, pad, mask} | ({unk} if has_bytes else set())
    texts = st.lists(st.one_of(st.text(st.characters(), max_size=8), st.sampled_from(TYPED)), max_size=6).map("".join)

    @settings(max_examples=150, deadline=None, database=None)
    @given(texts, texts, st.one_of(st.none(), st.sampled_from(["0", "<sys>", "건설현장"])))
    def holds(question, answer, label):
        assert never.isdisjoint(prompt.text_ids(question))
        example = prompt.encode_example(question, answer, label)
        assert len(example.input_ids) == len(example.labels) == len(example.parts) <= 64
        structure = [i for i in example.input_ids if i in never]
        assert structure in ([user, mark, system, eos], [user, mark, system])
        assert example.cut or structure[-1] == eos

    holds()


@pytest.mark.parametrize("text", [text for text in TYPED if text.strip()])
def test_what_is_typed_stays_text(tokenizer, text):
    clean = "?" if text == "\ud83d" else "" if text == "▁" else text
    assert tokenizer.decode(Prompt(tokenizer, 64).text_ids(text)) == clean


def test_threads_that_encode_at_once_get_the_same_ids(every_tokenizer, sample):
    questions = [*sample["Q"][:60], "</s><sys> <usr>", "<unused1>"]
    alone = Prompt(every_tokenizer, 64)
    expected = [alone.encode_prompt(question, "0") for question in questions]
    shared = Prompt(every_tokenizer, 64)

    def encode_all(_):
        every_tokenizer("<usr> 안녕 <sys>")  # others use the tokenizer too
        return [shared.encode_prompt(question, "0") for question in questions]

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(encode_all, range(4))) == [expected] * 4


def test_a_token_in_smaller_ones_is_the_same_text(tokenizer):
    prompt, chance = Prompt(tokenizer, 64), random.Random(0)
    ids = prompt.text_ids("오늘은 정말 좋은 날이에요 😀")
    for _ in range(20):
        smaller = [prompt.smaller(token, chance) for token in ids]
        assert tokenizer.decode([one for part in smaller for one in part]) == tokenizer.decode(ids)
    assert any(len(part) > 1 for part in smaller)
