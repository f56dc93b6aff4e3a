"""Batches: the order of an epoch, padding, blocks of running text."""

import random

import pytest
import torch

from kochat.model.batches import block, epoch_order, pad, spell, thin
from kochat.model.prompt import Example


def test_two_examples_are_padded_to_exactly_these_tensors():
    short = Example([2, 11, 10, 4, 12, 1], [-100, -100, -100, -100, 12, 1], [0, 1, 0, 0, 3, 3], cut=False)
    long = Example(
        [2, 11, 10, 13, 4, 12, 14, 1], [-100] * 5 + [12, 14, 1], [0, 1, 0, 2, 2, 3, 3, 3], cut=False, rehearsed=True
    )
    batch = pad([short, long], pad_id=3)
    expected = {
        "input_ids": [[2, 11, 10, 4, 12, 1, 3, 3], [2, 11, 10, 13, 4, 12, 14, 1]],
        "attention_mask": [[1, 1, 1, 1, 1, 1, 0, 0], [1, 1, 1, 1, 1, 1, 1, 1]],
        "labels": [[-100, -100, -100, -100, 12, 1, -100, -100], [-100, -100, -100, -100, -100, 12, 14, 1]],
        "parts": [[0, 1, 0, 0, 3, 3, 0, 0], [0, 1, 0, 2, 2, 3, 3, 3]],
        "rehearsed": [False, True],
    }
    assert {name: tensor.tolist() for name, tensor in batch.items()} == expected
    dtypes = {name: tensor.dtype for name, tensor in batch.items()}
    assert dtypes == {**dict.fromkeys(expected, torch.int64), "rehearsed": torch.bool}


LENGTHS = random.Random(1).choices(range(5, 61), k=1003)


def test_every_example_is_in_exactly_one_batch_of_an_epoch():
    batches = epoch_order(LENGTHS, 16, seed=0, epoch=1)
    assert sorted(i for batch in batches for i in batch) == list(range(1003))
    # 1003 are 62 batches of 16 and one of 11.
    assert sorted(map(len, batches)) == [11] + [16] * 62


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (1, [1]), (4, [4]), (5, [1, 4])])
def test_few_examples_make_few_batches(count, sizes):
    assert sorted(map(len, epoch_order([7] * count, 4, seed=0, epoch=1))) == sizes


def test_the_order_follows_from_seed_and_epoch_alone():
    first = epoch_order(LENGTHS, 16, seed=0, epoch=1)
    random.seed(5)
    assert epoch_order(LENGTHS, 16, seed=0, epoch=1) == first
    assert epoch_order(LENGTHS, 16, seed=0, epoch=2) != first
    assert epoch_order(LENGTHS, 16, seed=1, epoch=1) != first
    # Other examples meet in a batch, too.
    together = {frozenset(batch) for batch in first}
    assert len(together & {frozenset(batch) for batch in epoch_order(LENGTHS, 16, seed=0, epoch=2)}) == 0
    assert epoch_order(LENGTHS, 16, seed=1, epoch=0) != epoch_order(LENGTHS, 16, seed=0, epoch=1)


def test_batches_of_like_length_hold_little_padding_and_come_in_random_order():
    batches = epoch_order(LENGTHS, 16, seed=0, epoch=1)

    def padding(batches):
        cells = sum(max(LENGTHS[i] for i in batch) * len(batch) for batch in batches)
        return 1 - sum(LENGTHS) / cells

    in_file_order = [list(range(start, min(start + 16, 1003))) for start in range(0, 1003, 16)]
    assert padding(batches) < 0.06 < 0.4 < padding(in_file_order)
    # Not from short to long, not even a part of the way.
    longest = [max(LENGTHS[i] for i in batch) for batch in batches]
    assert all(longest[i : i + 10] != sorted(longest[i : i + 10]) for i in range(50))


def test_a_block_has_loss_on_all_of_its_tokens():
    assert block(range(100, 200), start=30, length=4) == Example(
        input_ids=[130, 131, 132, 133], labels=[130, 131, 132, 133], parts=[3, 3, 3, 3], cut=False
    )


def test_thinning_leaves_out_question_tokens_only_and_as_many_as_asked():
    parts = [0] + [1] * 1000 + [0, 2, 2] + [3] * 5
    example = Example(list(range(len(parts))), [-100] * 1004 + [7] * 5, parts, cut=False)
    thinned = thin(example, 0.25, random.Random(0))
    assert 700 < thinned.parts.count(1) < 800
    assert [i for i, part in zip(thinned.input_ids, thinned.parts, strict=True) if part != 1] == [0, *range(1001, 1009)]
    assert thinned.labels[-5:] == [7] * 5
    assert len(thinned.labels) == len(thinned.parts) == len(thinned.input_ids)
    assert thinned == thin(example, 0.25, random.Random(0))
    assert thin(example, 0.0, random.Random(0)) == example


def test_spelling_changes_question_tokens_only():
    example = Example([0, 1, 2, 3, 4], [-100, -100, -100, 3, 4], [0, 1, 1, 3, 3], cut=False)
    spelled = spell(example, 0.9999, random.Random(0), lambda token: [10 * token, 10 * token + 1])
    assert spelled == Example(
        [0, 10, 11, 20, 21, 3, 4], [-100, -100, -100, -100, -100, 3, 4], [0, 1, 1, 1, 1, 3, 3], cut=False
    )
    assert spell(example, 0.0, random.Random(0), lambda token: []) == example
