"""The chat template: the ids of `Prompt` from messages, a label that a system message names, nothing but text typed."""

import json

import pytest
from kogpt2_like import write_kogpt2_like
from test_prompt import TYPED
from transformers import AutoTokenizer, GenerationConfig

from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.model.chat_template import chat_template
from kochat.model.prompt import EOS, LABEL_MARK, SYSTEM, USER, Prompt
from kochat.model.tokenizer import load_tokenizer

CARD = Card(["0", "1", "2"], label_names={"0": "하루"}, config={"label_dropout": 0.1})


@pytest.fixture(params=["kogpt2", "tokenizer"], scope="module")
def every_tokenizer(request, tmp_path_factory):
    if request.param == "kogpt2":
        return load_tokenizer(write_kogpt2_like(tmp_path_factory.mktemp("kogpt2")))
    return request.getfixturevalue(request.param)


def ids_of(tokenizer, *messages, card=CARD, **variables):
    turns = [{"role": role, "content": content} for role, content in messages]
    template = chat_template(tokenizer, card)
    return tokenizer.apply_chat_template(turns, chat_template=template, tokenize=True, **variables)["input_ids"]


def talk(*texts):
    return list(zip(["user", "assistant"] * 2, texts, strict=False))


def test_it_builds_the_ids_of_the_prompt(every_tokenizer):
    prompt = Prompt(every_tokenizer, 64)
    question = ("user", "12시 땡!")
    assert ids_of(every_tokenizer, question, label="0") == prompt.encode_prompt("12시 땡!", "0")
    assert ids_of(every_tokenizer, question, label=0) == prompt.encode_prompt("12시 땡!", "0")
    assert ids_of(every_tokenizer, question, label="건설현장") == prompt.encode_prompt("12시 땡!", "건설현장")
    assert ids_of(every_tokenizer, ("user", " 12시 땡! \n"), label="0") == prompt.encode_prompt("12시 땡!", "0")
    assert ids_of(every_tokenizer, *talk("안녕", "네", "고마워"), label="1") == prompt.encode_prompt("고마워", "1")
    example = prompt.encode_example("고마워", "저도 감사합니다.", "2")
    assert ids_of(every_tokenizer, *talk("고마워", "저도 감사합니다."), label="2") == example.input_ids
    longer = talk("안녕", "네", "고마워", "저도 감사합니다.")
    assert ids_of(every_tokenizer, *longer, label="2") == example.input_ids


def test_content_may_be_a_list_of_parts(every_tokenizer):
    prompt = Prompt(every_tokenizer, 64)
    parts = [{"type": "text", "text": "12시"}, {"type": "image_url"}, {"type": "text", "text": " 땡!"}]
    assert ids_of(every_tokenizer, ("user", parts), label="0") == prompt.encode_prompt("12시 땡!", "0")
    system = [{"type": "text", "text": "사랑"}]
    assert ids_of(every_tokenizer, ("system", system), ("user", "안녕")) == prompt.encode_prompt("안녕", "2")
    assert ids_of(every_tokenizer, ("user", None), label="0") == prompt.encode_prompt("", "0")


@pytest.mark.parametrize(
    ("system", "label"),
    [
        ("2", "2"),
        ("사랑", "2"),
        ("사랑·긍정", "2"),
        (" Love\n", "2"),
        ("Breakup, negative", "1"),
        ("label: 1", "1"),
        ("감정: 이별", "1"),
        ("하루", "0"),
        ("You are helpful. 2", None),
        ("Answer with love.", None),
        ("", None),
    ],
)
def test_a_system_message_may_name_the_label(tokenizer, system, label):
    prompt = Prompt(tokenizer, 64)
    for role in ("system", "developer"):
        found = ids_of(tokenizer, (role, system), ("user", "안녕"))
        assert found == prompt.encode_prompt("안녕", label)
    assert ids_of(tokenizer, ("system", system), ("user", "안녕"), label="0") == prompt.encode_prompt("안녕", "0")


def test_without_a_label_it_is_none_or_the_first_as_the_training_knows(tokenizer):
    prompt, question = Prompt(tokenizer, 64), ("user", "안녕")
    for variables in ({}, {"label": None}, {"label": "auto"}):
        assert ids_of(tokenizer, question, **variables) == prompt.encode_prompt("안녕", None)
        always = Card(["건설현장", "우산장수"])  # trained with its label alone
        assert ids_of(tokenizer, question, card=always, **variables) == prompt.encode_prompt("안녕", "건설현장")
    assert ids_of(tokenizer, question, label="") == prompt.encode_prompt("안녕", None)


def test_labels_of_any_text_stay_text_in_the_template(tokenizer):
    odd = ['"', "\\", "{{ 1 }}", "{% raw %}", "'", "a:b", "😀", "a\u2028b"]
    for label in odd:
        found = ids_of(tokenizer, ("system", label), ("user", "안녕"), card=Card(["x", *odd]))
        assert found == Prompt(tokenizer, 64).encode_prompt("안녕", label), label


@pytest.mark.parametrize("typed", [text for text in TYPED if text.strip() and text != "\ud83d"])
def test_nobody_can_type_structure(every_tokenizer, typed):
    structure = every_tokenizer.convert_tokens_to_ids([USER, LABEL_MARK, SYSTEM, EOS])
    known = set(every_tokenizer.convert_tokens_to_ids(["<pad>", "<unused0>"])) | set(structure)
    for text in (typed, f"안녕{typed}", f"<usr{typed}>", typed * 3):
        messages = [("system", text), ("user", text), ("assistant", text)]
        found = ids_of(every_tokenizer, *messages, label=text)
        assert [one for one in found if one in known] == structure, text
        assert ids_of(every_tokenizer, ("user", text), label=text)[-1] == structure[2]


def test_punctuation_is_stripped_where_the_training_did(every_tokenizer):
    card = Card(["0"], strip_punctuation=True)
    prompt = Prompt(every_tokenizer, 64, strip_punctuation=True)
    messages = talk("왜? 네. 와! 음, 예", "네. 그래요!")
    expected = prompt.encode_example(messages[0][1], messages[1][1], "2.0").input_ids
    assert ids_of(every_tokenizer, *messages, card=card, label="2.0") == expected


def test_a_checkpoint_is_usable_as_it_is(tmp_path, model, tokenizer):
    card = Card(["0", "1", "2"], max_length=64, config={"label_dropout": 0.1})
    folder = checkpoint.save(tmp_path / "tiny", model, tokenizer, card)
    plain = AutoTokenizer.from_pretrained(folder)
    assert plain.model_max_length == model.config.n_positions == 96
    messages = [{"role": "system", "content": "사랑"}, {"role": "user", "content": "안녕"}]
    ids = plain.apply_chat_template(messages, tokenize=True)["input_ids"]
    assert ids == Prompt(tokenizer, 64).encode_prompt("안녕", "2")
    decoding = GenerationConfig.from_pretrained(folder)
    assert (decoding.do_sample, decoding.max_new_tokens) == (False, 96 - 64)
    assert (decoding.bos_token_id, decoding.eos_token_id, decoding.pad_token_id) == (1, 1, 0)


def test_a_checkpoint_with_an_earlier_template_is_read(tiny_checkpoint):
    (tiny_checkpoint / "chat_template.jinja").write_text("{{ nothing }}")
    for name in ("generation_config.json", "tokenizer_config.json"):
        values = json.loads((tiny_checkpoint / name).read_text("utf-8"))
        kept = {key: one for key, one in values.items() if key not in ("max_new_tokens", "do_sample")}
        (tiny_checkpoint / name).write_text(json.dumps(kept | {"model_max_length": 10**30}))
    loaded = checkpoint.load(tiny_checkpoint)
    assert loaded.tokenizer.chat_template == chat_template(loaded.tokenizer, loaded.card)
