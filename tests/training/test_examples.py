"""The examples of a training: what of the base's pairs is rehearsed, and what a checkpoint keeps of them all."""

import pandas as pd
import pytest

from kochat.config import TrainingConfig
from kochat.model.cards import Card
from kochat.model.kept_pairs import newest
from kochat.model.prompt import Prompt
from kochat.training.examples import Examples, Split, still_known, to_keep

TRAINING = [("안녕", "반가워요", "0"), ("고마워", "별말씀을요", "0")]
VALIDATION = [("잘 자", "꿈에서 봐요", "1")]
EARLIER = [
    ("안녕", "누구세요", "0"),  # answered anew
    ("안녕", "가지 마요", "1"),  # its question is learned anew, under another label
    ("잘 자", "푹 쉬어요", "0"),  # its question is kept for validation
    ("배고파", "뭐 좀 챙겨 드세요", "0"),
    ("심심해", "같이 놀아요", "1"),
    ("졸려", "자요", "우산장수"),  # the new checkpoint does not know this label
    *[(f"질문 {i}", f"답 {i}", "1") for i in range(6)],
]
LABELS = ["0", "1"]


@pytest.fixture
def split():
    training, validation = (pd.DataFrame(rows, columns=["Q", "A", "label"]) for rows in (TRAINING, VALIDATION))
    return Split(pd.concat([training, validation]), training, validation, "")


def examples(split, tokenizer, **settings):
    config = TrainingConfig(batch_size=4, label_dropout=0, **settings)
    return Examples(split, Prompt(tokenizer, 64), config, 0, still_known(EARLIER, split, LABELS))


def rows(examples, epoch):
    """The token ids of each example of an epoch, in order of the batches."""
    return [tuple(one.input_ids) for batch in examples.batches(epoch) for one in batch]


def test_a_question_answered_anew_replaces_its_earlier_answer_under_that_label(split):
    known = still_known(EARLIER, split, LABELS)
    assert known == [EARLIER[1], EARLIER[2], EARLIER[3], EARLIER[4], *EARLIER[6:]]
    assert to_keep(split.training, known, 100) == [*TRAINING, *known]
    assert to_keep(split.training, known, 5) == [*TRAINING, known[0], known[3], known[6]]  # from the first to the last
    assert to_keep(split.training, known, 1) == TRAINING[:1]
    assert to_keep(split.training, [], 100) == TRAINING


def test_so_many_earlier_pairs_are_rehearsed_beside_each_pair_and_never_a_question_of_the_data(split, tokenizer):
    made = examples(split, tokenizer, rehearsal=3)
    own = {tuple(one.input_ids) for one in made.training}
    known = {tuple(made.prompt.encode_example(*row).input_ids) for row in (*EARLIER[3:5], *EARLIER[6:])}
    assert (made.rehearsed, made.batches_an_epoch()) == (6, 2)
    drawn = [frozenset(set(rows(made, epoch)) - own) for epoch in range(1, 6)]
    for epoch, others in enumerate(drawn, 1):
        assert own < set(rows(made, epoch))
        assert len(rows(made, epoch)) == 8
        assert others < known
    assert len(set(drawn)) > 1  # drawn anew in every epoch
    assert rows(made, 3) == rows(examples(split, tokenizer, rehearsal=3), 3)
    assert rows(made, 3) != rows(examples(split, tokenizer, rehearsal=3, seed=1), 3)


def test_where_there_are_fewer_all_are_rehearsed(split, tokenizer):
    made = examples(split, tokenizer, rehearsal=50)
    assert (made.rehearsed, len(rows(made, 1))) == (8, 10)


def test_half_of_what_is_rehearsed_are_the_newest_of_the_earlier_pairs(split, tokenizer):
    earlier = [(f"질문 {i}", f"답 {i}", "1") for i in range(100)]
    prompt = Prompt(tokenizer, 64)
    config = TrainingConfig(batch_size=4, label_dropout=0, rehearsal=4)

    def drawn(num_newest, config=config):
        made = Examples(split, prompt, config, 0, earlier, num_newest)
        places = {tuple(prompt.encode_example(*pair).input_ids): i for i, pair in enumerate(earlier)}
        return [[places[ids] for ids in rows(made, epoch) if ids in places] for epoch in range(1, 9)]

    assert [sum(i < 10 for i in epoch) for epoch in drawn(10)] == [4] * 8
    assert {i for epoch in drawn(10) for i in epoch if i < 10} == set(range(10))  # each of them in a few epochs
    assert [len(set(epoch)) for epoch in drawn(10)] == [8] * 8
    # Where there are too few of one kind, there are more of the other.
    assert [sorted(i for i in epoch if i < 2) for epoch in drawn(2)] == [[0, 1]] * 8
    assert [sum(i < 98 for i in epoch) for epoch in drawn(98)] == [6] * 8
    assert [len(set(epoch)) for epoch in drawn(0)] == [8] * 8


def test_a_checkpoint_notes_how_many_of_its_first_pairs_are_newer_than_its_first_data():
    pairs = [(f"질문 {i}", f"답 {i}", "1") for i in range(10)]
    assert newest(pairs, {"rows": 3, "newest_pairs": 5}) == pairs[:5]
    assert newest(pairs, {"rows": 3, "newest_pairs": 0}) == []
    # Made before that was noted: the pairs of its last training, where there are others.
    assert newest(pairs, {"rows": 3}) == pairs[:3]
    assert newest(pairs, {"rows": 10}) == newest(pairs, {}) == newest(pairs, {"rows": "3"}) == []
    for wrong in (-1, "5", True, 1.0):
        with pytest.raises(TypeError, match="data"):
            Card(data={"newest_pairs": wrong})


def test_a_pair_is_gone_over_several_times_an_epoch(split, tokenizer):
    made = examples(split, tokenizer, repeats=3, rehearsal=2)
    own = sorted(tuple(one.input_ids) for one in made.training)
    drawn = rows(made, 1)
    assert sorted(ids for ids in drawn if ids in own) == sorted(own * 3)
    assert (len(drawn), len(set(drawn)), made.batches_an_epoch()) == (10, 6, 3)


def test_without_rehearsal_the_batches_are_the_pairs_alone(split, tokenizer):
    made = examples(split, tokenizer)
    assert (made.rehearsed, made.batches_an_epoch()) == (0, 1)
    assert sorted(rows(made, 1)) == sorted(tuple(one.input_ids) for one in made.training)


def test_questions_are_spelled_anew_in_every_epoch_and_the_same_for_the_same_seed(split, tokenizer):
    prompt = Prompt(tokenizer, 64)
    spelled = [rows(examples(split, tokenizer, subword_dropout=0.9), epoch) for epoch in (1, 1, 2)]
    assert spelled[0] == spelled[1] != spelled[2]
    asked = {tokenizer.decode(ids).split("<unused1>")[0] for ids in spelled[0]}
    assert asked == {tokenizer.decode(prompt.encode_prompt(q, None)).split("<unused1>")[0] for q, _, _ in TRAINING}


def test_a_question_spelled_in_too_many_tokens_stays_as_it_is(split, tokenizer):
    config = TrainingConfig(batch_size=4, label_dropout=0, subword_dropout=0.9)
    longest = max(len(row) for row in rows(examples(split, tokenizer), 1))
    tight = Examples(split, Prompt(tokenizer, longest), config, 0)
    assert all(len(ids) <= longest for epoch in range(1, 6) for ids in rows(tight, epoch))
