"""Where the data of a checkpoint may still be, and that only the right ones count."""

import os

import pandas as pd
import pytest

from kochat import pairs
from kochat.cards import Card
from kochat.errors import DataError
from kochat.heldout import has_held_out, held_out, own_data, own_source, split_again, spread

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
    training, kept_out = split_again(card(), old)
    assert len(training) + len(kept_out) == 40
    assert held_out(card(), old).equals(kept_out)
    with pytest.raises(DataError, match="상담 does not hold the pairs"):
        split_again(card(), new)


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
