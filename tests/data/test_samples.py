"""The shipped samples: enough pairs, every question under every label, no answer twice or taken from elsewhere."""

import hashlib
from pathlib import Path

import pandas as pd
import pytest

from benchmarks import corpus
from kochat.data import pairs
from kochat.data.lookup import PARAPHRASES
from kochat.data.near_duplicates import canonical
from kochat.data.splits import split_by_question

SAMPLES = {
    "emotions": (300, ["0", "1", "2"]),
    "jobs": (60, ["건설현장", "우산장수"]),
    "everyday": (32_244, ["0", "1", "2"]),
}


@pytest.fixture(scope="module", params=SAMPLES)
def shipped(request):
    """Name and pairs of a sample."""
    return request.param, pairs.read_pairs(request.param)


def test_every_question_stands_once_under_each_label(shipped):
    name, table = shipped
    least, labels = SAMPLES[name]
    assert len(table) >= least
    assert set(table.groupby("Q")["label"].agg(lambda group: tuple(sorted(group)))) == {tuple(labels)}


def test_no_answer_is_there_twice(shipped):
    assert shipped[1]["A"].is_unique


def test_no_sample_has_a_question_that_kochat_mini_is_judged_by():
    judged = {line for name in corpus.JUDGED for line in (corpus.HERE / name).read_text("utf-8").splitlines()}
    assert len(judged) == 120
    assert not judged & set(pairs.read_pairs("everyday")["Q"])


def test_no_answer_is_taken_from_chatbot_data(shipped, chatbot_data):
    assert not set(shipped[1]["A"]) & set(pairs.read_pairs(chatbot_data)["A"])


def test_samples_fit_an_example_of_the_default_length(shipped, tokenizer):
    from kochat.model.prompt import Prompt

    prompt, rows = Prompt(tokenizer, 96), shipped[1].itertuples(index=False, name=None)
    assert not any(prompt.encode_example(*row).cut for row in rows)


def test_samples_are_plain_utf8_without_odd_characters(shipped):
    text = Path(pairs.DATASETS[shipped[0]]).read_bytes().decode()
    assert "\r" not in text
    assert "\ufeff" not in text
    assert "\ufffd" not in text


@pytest.mark.parametrize("with_all", [False, True])
def test_paraphrases_are_of_questions_that_there_are_and_teach_none_that_is_withheld(chatbot_data, with_all):
    everyday, chats = (pairs.read_pairs(name) for name in ("everyday", chatbot_data))
    keys = {hashlib.sha256(q.encode()).hexdigest()[:16] for q in chats["Q"]}
    for prefix in corpus.PREFIXES:
        of_everyday, of_chats = (
            pd.read_csv(corpus.PARAPHRASES / f"{prefix}{name}.csv", dtype=str) for name in ("everyday", "chats")
        )
        assert set(of_everyday["Q"]) <= set(everyday["Q"])
        assert set(of_everyday["label"]) == {"0", "1", "2"}
        assert set(of_chats["key"]) <= keys
    made = corpus.tables(chatbot_data, with_all)
    if with_all:
        assert pd.read_csv(PARAPHRASES, dtype=str).equals(made["paraphrases"].reset_index(drop=True))
    own = split_by_question(chats, 0.05, 0.05, 0)
    withheld = [own.validation, own.test, made["everyday-validation"], made["everyday-test"]]
    withheld = set().union(*(map(canonical, part["Q"]) for part in withheld))
    added = made["corpus"].iloc[len(made["originals"]) :]
    assert len(added) > len(made["originals"])
    assert not withheld & set(map(canonical, added["Q"]))
    # The training on it withholds what one on ChatbotData alone does, but for what `everyday` asks too.
    parts = split_by_question(made["corpus"], 0.05, 0.05, 0)
    assert set(parts.validation["Q"]) == set(own.validation["Q"])
    assert set(own.test["Q"]) - set(parts.test["Q"]) == {"냉장고가 텅비었어", "이 세상에서 누가 제일 예뻐"}
    assert set(parts.test["Q"]) < set(own.test["Q"])
