"""Where the data of a checkpoint may still be, and that only the right ones count."""

import os

import pandas as pd
import pytest

from kochat.data import pairs
from kochat.data.splits import split_in_two
from kochat.errors import DataError
from kochat.evaluation.heldout import has_held_out, held_out, own_data, own_source, split_again, spread, withheld
from kochat.model.cards import Card

TABLE = pd.DataFrame([(f"질문 {i}", f"답 {i}", "0") for i in range(40)], columns=["Q", "A", "label"], dtype="str")


def card(source="상담", **config):
    data = {"source": source, "rows": 40, "sha256": pairs.fingerprint(TABLE)}
    return Card(labels=["0"], data=data, config={"validation_share": 0.25, "seed": 1, **config})


def upload(home, folder, name, table, age=0):
    path = home / "uploads" / folder / name
    path.parent.mkdir(parents=True)
    table.to_csv(path, index=False)
    os.utime(path, (1e9 - age, 1e9 - age))
    return str(path)


def test_an_upload_of_the_same_name_is_found_the_newest_first_and_only_the_same_pairs_count(home):
    assert list(own_data(card())) == []
    with pytest.raises(DataError, match="상담"):
        own_source(card())
    old = upload(home, "a", "상담.csv", TABLE, age=60)
    new = upload(home, "b", "상담.csv", TABLE[:30])
    upload(home, "c", "다른 것.csv", TABLE)
    assert list(own_data(card())) == [new, old]
    assert own_source(card()) == old
    parts = split_again(card(), old)
    assert len(parts.training) + len(parts.validation) == 40
    assert parts.test.empty
    assert held_out(card(), old).equals(parts.validation)
    with pytest.raises(DataError, match="상담 does not hold the pairs"):
        split_again(card(), new)


def test_a_checkpoint_is_split_again_as_its_own_version_split(home):
    table = pd.concat([TABLE, TABLE.replace({"Q": {"질문 3": "질문 3!?"}})[3:4]], ignore_index=True)
    path = upload(home, "a", "상담.csv", table)
    data = {"source": "상담", "rows": 41, "sha256": pairs.fingerprint(table)}
    config = {"validation_share": 0.25, "seed": 1}
    before = Card(labels=["0"], data=data, config=config)
    assert split_again(before, path).validation.equals(split_in_two(table, 0.25, 1)[1])
    now = Card(labels=["0"], data={**data, "split": 2}, config={**config, "test_share": 0.25})
    parts, expected = split_again(now, path), pairs.split_by_question(table, 0.25, 0.25, 1)
    for name in ("training", "validation", "test"):
        assert getattr(parts, name).equals(getattr(expected, name))
    assert held_out(now, path).equals(expected.validation)
    rows = withheld(now, path)
    assert rows["part"].value_counts().to_dict() == {"validation": len(parts.validation), "test": len(parts.test)}
    assert rows.index.is_monotonic_increasing
    assert set(rows["Q"][rows["part"] == "test"]) == set(parts.test["Q"])
    # A test part alone can be measured on too.
    assert has_held_out(Card(labels=["0"], data={**data, "split": 2}, config={"test_share": 0.25, "seed": 1}), path)
    with pytest.raises(DataError, match="version 3"):
        split_again(Card(labels=["0"], data={**data, "split": 3}, config=config), path)


def test_where_nothing_was_kept_out_there_is_nothing_to_find(home):
    path = upload(home, "a", "상담.csv", TABLE)
    assert list(own_data(card(validation_share=0))) == []
    assert list(own_data(Card())) == []
    assert has_held_out(card(), path)
    assert not has_held_out(card(validation_share=0), path)
    assert not has_held_out(card(), str(home / "nowhere.csv"))


def test_a_known_dataset_counts_where_it_needs_no_download(home):
    assert list(own_data(card("emotions"))) == ["emotions"]
    assert list(own_data(card("ChatbotData"))) == []
    cached = pairs._cached(pairs.CHATBOT_DATA_URL, home / "cache")
    cached.parent.mkdir()
    TABLE.to_csv(cached, index=False)
    assert own_source(card("ChatbotData")) == "ChatbotData"


def test_rows_are_spread_from_the_first_to_the_last():
    assert spread(TABLE, 4)["Q"].tolist() == ["질문 0", "질문 10", "질문 20", "질문 30"]
    assert spread(TABLE, 40) is TABLE
