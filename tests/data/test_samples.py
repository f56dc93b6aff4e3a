"""The shipped samples: enough pairs, every question under every label, no answer twice or taken from elsewhere."""

from pathlib import Path

import pytest

from kochat.data import pairs

SAMPLES = {
    "emotions": (300, ["0", "1", "2"]),
    "jobs": (60, ["건설현장", "우산장수"]),
    "everyday": (4500, ["0", "1", "2"]),
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
    judged = set((Path(__file__).parents[2] / "benchmarks" / "everyday_questions.txt").read_text("utf-8").split("\n"))
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
