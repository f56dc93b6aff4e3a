"""Cards: what the README.md of a checkpoint says, its licence, and that no folder of anybody's disk is in it."""

import json

import pytest

from kochat import checkpoint
from kochat.cards import Card, card_of_training, model_card, source_name
from kochat.config import TrainingConfig
from kochat.errors import SettingsError
from kochat.training import fine_tune

EVALUATION = {
    "questions": 12,
    "nll_per_char": 1.23456,
    "perplexity_per_token": 8.5,
    "exact": 0.25,
    "exact_auto": 0.2,
    "label_accuracy": 0.75,
    "label_changes_reply": 1.0,
    "true_label_gain": 0.0123,
}


def licence(*sources: str) -> str:
    card = model_card("mine", Card(sources=list(sources)))
    return next(line for line in card.splitlines() if line.startswith("license: ")).removeprefix("license: ")


def test_the_card_of_a_base_says_that_it_does_not_answer_and_how_it_was_made():
    text = model_card("base", Card(sources=["nsmc_reviews"], recipe=["python -m kochat pretrain --text a.xz"]))
    assert text.startswith("---\nlanguage: ko\nlicense: mit\nlibrary_name: transformers\n")
    assert "# base\n" in text
    assert "It does not answer yet" in text
    assert "bot.reply" not in text
    assert "## Figures" not in text
    assert "```\npython -m kochat pretrain --text a.xz\n```" in text
    assert "- [e9t/nsmc](https://github.com/e9t/nsmc) (CC0)" in text


def test_the_card_of_a_chatbot_says_how_to_talk_to_it_and_what_was_measured():
    history = [{"epoch": 1, "loss": 3.0, "validation_loss": 4.0}, {"epoch": 2, "loss": 2.5, "validation_loss": 3.75}]
    card = Card(
        labels=["0", "1", "2"], metrics={"history": history, "epoch": 2, "evaluation": {**EVALUATION, "held_out": True}}
    )
    text = model_card("mine", card)
    assert "Its labels are `0`, `1`, `2`. 0 is everyday, 1 breakup and negative, 2 love and positive." in text
    assert 'bot = kochat.load("checkpoints/mine")\nbot.reply("12시 땡!", label="0")\n' in text
    assert "Loss after 2 epochs: training 2.500, validation 3.750 (nats per token)." in text
    assert "On the questions that its training kept out:" in text
    assert "| negative log-likelihood per character of the answer | 1.235 |" in text
    assert "| predicted label is the true one | 0.75 |" in text


def test_names_of_labels_are_in_the_card_and_a_card_with_odd_ones_is_refused():
    text = model_card("mine", Card(labels=["0", "우산장수"], label_names={"우산장수": "비 오는 날"}))
    assert "Its labels are `0`, `우산장수` (비 오는 날). It remembers" in text
    for names in (["우산장수"], {"0": 1}, None):
        with pytest.raises(TypeError, match="label_names"):
            Card(labels=["0"], label_names=names)


def test_the_labels_of_a_base_stay_first_where_asked_with_their_names():
    before = Card(labels=["2", "b=c", "b"], label_names={"b": "나", "2": "둘"})
    data = ["b", "10", "새것"]

    def made(*names, keep):
        config = TrainingConfig(data="a.csv", output="x", keep_labels=keep, label_names=names).with_defaults({})
        return card_of_training(config, "base", before, data, 7, "abc")

    card = made("b=비", "b=c=비씨", "새것=새 이름", keep=True)
    assert card.labels == ["2", "b=c", "b", "10", "새것"]
    assert card.label_names == {"2": "둘", "b": "비", "b=c": "비씨", "새것": "새 이름"}
    card = made("10=열", keep=False)
    assert (card.labels, card.label_names) == (["10", "b", "새것"], {"10": "열"})
    with pytest.raises(
        SettingsError, match="label_names is 2=둘, but must be label=name with one of the labels 10, b, 새것"
    ):
        made("2=둘", keep=False)


def test_kept_labels_of_chatbot_data_keep_their_names_beside_a_number_of_ones_own():
    before = Card(labels=["0", "1", "2"], label_names={"1": "헤어짐"})

    def names(data, keep=True):
        config = TrainingConfig(data="a.csv", output="x", keep_labels=keep).with_defaults({})
        return card_of_training(config, "base", before, data, 7, "abc").label_names

    assert names(["3"]) == {"0": "일상다반사", "1": "헤어짐", "2": "사랑·긍정"}
    assert names(["우산장수", "1"]) == {"1": "헤어짐"}  # the others are named in the visitor's language
    assert names(["0", "1", "2", "3"], keep=False) == {}


def test_figures_without_validation_and_on_given_pairs_are_called_so():
    history = [{"epoch": 1, "loss": 3.0, "validation_loss": None}]
    card = Card(labels=["0"], metrics={"history": history, "epoch": 1, "evaluation": {**EVALUATION, "held_out": False}})
    text = model_card("mine", card)
    assert "Loss after 1 epochs: training 3.000 (nats per token)." in text
    assert "On the pairs given:" in text
    assert "everyday" not in text


def test_a_run_that_was_stopped_in_its_first_epoch_has_a_card():
    card = Card(labels=["0"], metrics={"history": [], "seconds": 1.0, "stopped": True})
    assert "# mine" in model_card("mine", card)


@pytest.mark.parametrize("label", ["건설현장", '그는 "왕"', "back\\slash"])
def test_the_code_in_the_card_runs_whatever_the_label_is(label):
    code = model_card("mine", Card(labels=[label])).split("```python\n")[1].split("```")[0]
    asked = []

    class Bot:
        def reply(self, question, label):
            asked.append(label)

    exec(code.replace("import kochat", "").replace('kochat.load("checkpoints/mine")', "bot"), {"bot": Bot()})
    assert asked == [label]


def test_the_licence_follows_from_what_it_was_made_of():
    assert licence("nsmc_reviews", "ChatbotData") == licence("emotions") == "mit"
    assert licence("skt/kogpt2-base-v2", "emotions") == "cc-by-nc-sa-4.0"
    assert licence("skt/kogpt2-base-v2", "상담") == "cc-by-nc-sa-4.0"
    assert licence("nsmc_reviews", "상담") == licence("somebody/gpt2", "emotions") == "other"


def test_what_it_was_made_of_is_named_once_and_in_order():
    text = model_card("mine", Card(sources=["skt/kogpt2-base-v2", "emotions", "상담", "emotions"]))
    assert text.endswith(
        "## Made of\n\n- [skt/kogpt2-base-v2](https://huggingface.co/skt/kogpt2-base-v2) (CC BY-NC-SA 4.0)\n"
        "- kochat's sample `emotions` (MIT)\n- `상담` (ask its owner for the licence)\n"
    )


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("ChatbotData", "ChatbotData"),
        ("/home/kim/ChatbotData.csv", "ChatbotData"),
        ("https://host.example/master/ChatbotData.csv", "ChatbotData"),
        ("data/nsmc_reviews.txt.xz", "nsmc_reviews"),
        ("skt/kogpt2-base-v2", "skt/kogpt2-base-v2"),
        ("/home/kim/2024.05.01 상담.CSV", "2024.05.01 상담"),
        ("/home/kim/pairs", "pairs"),
    ],
)
def test_a_source_is_called_by_its_name_without_its_folder(source, name):
    assert source_name(source) == name


def test_no_file_of_a_checkpoint_tells_where_anything_lay(tmp_path, tiny_base):
    table = tmp_path / "private" / "pairs.csv"
    table.parent.mkdir()
    table.write_text("Q,A,label\n안녕,좋아요,0\n잘 가,또 봐요,1\n", "utf-8")
    output = tmp_path / "checkpoints" / "mine"
    config = TrainingConfig(data=str(table), base=str(tiny_base), output=str(output), epochs=1, validation_share=0)
    list(fine_tune(config))
    for path in output.iterdir():
        content = path.read_bytes()
        assert str(tmp_path).encode() not in content, path.name
        assert b"private" not in content, path.name
    values = json.loads((output / "kochat.json").read_text("utf-8"))
    assert (values["data"]["source"], values["base"]) == ("pairs", "tiny-base")
    assert (values["config"]["data"], values["config"]["output"]) == ("pairs", "mine")
    assert values["sources"] == ["tiny-base", "pairs"]
    assert values["recipe"][-1].startswith(
        "python -m kochat train --data pairs.csv --base checkpoints/tiny-base --output checkpoints/mine --"
    )
    assert values["weights_sha256"] == checkpoint._sha256(output / "model.safetensors")
