"""Tokenizers: nothing is unknown, what is typed stays text, the ids of the notebook."""

import unicodedata

import pytest
from kogpt2_like import write_kogpt2_like

from kochat.model.tokenizer import load_tokenizer, make_tokenizer


@pytest.mark.parametrize("text", ["안녕", "뷁 쀍", "🦜👩‍👩‍👧 ok", "龘靐", "a\tb", "ﷺ", "e\u0301é", "<0x41>", "\0"])
def test_nothing_is_unknown_to_a_tokenizer_of_ours(tokenizer, text):
    ids = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids) == unicodedata.normalize("NFC", text).replace("\t", " ")


def test_separate_letters_are_read_as_syllables_and_a_typed_byte_token_as_text(tokenizer):
    text = "오늘 날씨는 어때?"
    apart = unicodedata.normalize("NFD", text)
    assert len(apart) > len(text)
    assert tokenizer(apart).input_ids == tokenizer(text).input_ids
    byte = tokenizer.convert_tokens_to_ids("<0x41>")
    assert byte == 7 + 0x41
    assert byte not in tokenizer("<0x41>").input_ids


def test_the_same_texts_make_the_same_tokenizer_of_the_size_asked_for(tokenizer, sample):
    again = make_tokenizer([*sample["Q"], *sample["A"]], vocabulary=600, alphabet=200)
    assert again.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
    assert len(tokenizer) == 600
    ids = tokenizer.convert_tokens_to_ids(["<pad>", "</s>", "<usr>", "<unused1>", "<sys>", "<unk>", "<unused0>"])
    assert ids == [0, 1, 2, 3, 4, 5, 6]


def test_the_most_frequent_characters_have_tokens_of_their_own():
    tokenizer = make_tokenizer(["나 다", "하 나 하", "가 하"], vocabulary=300, alphabet=3)
    # 하 three times, 나 twice, 가 and 다 once; ▁ counts as one of the three.
    assert [len(tokenizer.tokenize(letter)) for letter in "하나가다"] == [1, 1, 4, 4]


@pytest.mark.parametrize("flagged", [True, False])
def test_kogpt2s_tokenizer_has_the_notebooks_ids(tmp_path, flagged):
    tokenizer = load_tokenizer(write_kogpt2_like(tmp_path / "kogpt2", flagged))
    assert len(tokenizer) == 512  # nothing was added
    names = ["</s>", "<usr>", "<pad>", "<sys>", "<unk>", "<unused0>", "<unused1>"]
    assert tokenizer.convert_tokens_to_ids(names) == [1, 2, 3, 4, 5, 9, 10]
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 1, 3)
    assert (tokenizer.unk_token_id, tokenizer.mask_token_id) == (5, 9)
    # Notebook, cell 11: spaces are ▁, emoticons are whole.
    assert tokenizer.tokenize("안녕하세요. 😤:)l^o")[-3:] == ["😤", ":)", "l^o"]
    whole = tokenizer("<usr>안녕<unused1><sys></s>")
    assert [i for i in whole.input_ids if i < 109] == [2, 10, 4, 1]
    assert tokenizer.decode(whole.input_ids, skip_special_tokens=True) == "안녕"
