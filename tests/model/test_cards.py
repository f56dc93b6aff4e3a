"""Cards: what the README.md of a checkpoint says, its licence, and that no folder of anybody's disk is in it."""

import json

import pytest

from kochat.config import TrainingConfig
from kochat.errors import SettingsError
from kochat.files import sha256_of
from kochat.model.cards import Card, card_of_training, model_card, source_name
from kochat.training.fine_tuning import fine_tune

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
    assert 'bot = kochat.load("mine")\nbot.reply("12시 땡!", label="0")\n' in text
    assert "Loss after 2 epochs: training 2.500, validation 3.750 (nats per token)." in text
    assert "On the questions that its training kept out:" in text
    assert "| negative log-likelihood per character of the answer | 1.235 |" in text
    assert "| label accuracy: predicted label is the true one | 0.75 |" in text
    # A card of before: it was split in two, and its replies were judged by a classifier that had learned them.
    assert "\n\nThere is no test part: these questions were also used to choose the checkpoint" in text


def test_a_card_shows_intervals_baselines_and_strengths_and_an_old_one_only_what_it_has():
    old = model_card("mine", Card(labels=["0"], metrics={"evaluation": {**EVALUATION, "held_out": True}}))
    assert "On the questions that its training kept out:\n\n| figure | value |\n|---|---|\n| questions | 12 |\n" in old
    assert "baseline" not in old
    around = {"exact": [0.0, 0.5], "nearest_exact": [0.123456, 0.3]}
    new = {
        **EVALUATION,
        "strength": 1.5,
        "nearest_exact": 0.2,
        "recognised": 0.7,
        "intervals": around,
        "held_out": True,
    }
    strengths = [
        {
            "strength": s,
            "recognised": 0.5 + s / 10,
            "label_changes_reply": 0.9,
            "exact": 0.1,
            "distinct": 0.8,
            "likelihood_per_char": -0.32,
        }
        for s in (0.0, 1.5)
    ]
    text = model_card("mine", Card(labels=["0"], strength=1.5, metrics={"evaluation": new, "strengths": strengths}))
    assert "On the questions that its training kept out, at strength 1.5:\n\n| figure | value | 95 % interval |" in text
    assert "word for word, under its true label | 0.25 | 0 to 0.5 |\n" in text
    assert "| baseline: the answer to the nearest question is | 0.2 | 0.1235 to 0.3 |\n" in text
    assert "takes for that label | 0.7 |  |" in text
    assert "label recognised (in-sample): replies under every label" in text
    assert "chosen on the same questions: 1.5\n\n| strength | label recognised (in-sample) |" in text
    assert "| 1.5 | 0.65 | 0.9 | 0.1 | 0.8 | -0.32 |" in text


def test_a_card_shows_test_beside_validation_and_what_flatters_them():
    validation = {
        **EVALUATION,
        "strength": 1.5,
        "recognised": 0.6,
        "cross_fitted": True,
        "intervals": {"exact": [0.0, 0.5]},
    }
    test = {**validation, "questions": 13, "exact": 0.125, "intervals": {"exact": [0.0625, 0.25]}}
    data = {
        "split": 2,
        "parts": {"training": 1230, "validation": 12, "test": 13},
        "near_duplicates": 3,
        "withheld": {"validation": ["안녕"], "test": ["뭐해"]},
        "test_known_to_base": 0,
    }
    config = {"validation_share": 0.01, "test_share": 0.01, "seed": 0}
    strengths = [
        {
            "strength": 1.5,
            "recognised": 0.6,
            "label_changes_reply": 0.9,
            "exact": 0.1,
            "distinct": 0.8,
            "likelihood_per_char": -0.32,
            "recogniser_accuracy": 0.655,
        }
    ]
    metrics = {"evaluation": {"validation": validation, "test": test, "held_out": True}, "strengths": strengths}
    text = model_card("mine", Card(labels=["0"], strength=1.5, data=data, config=config, metrics=metrics))
    assert (
        "Of its pairs 1,230 were learned; withheld by question were 12 to choose by (validation) and 13 to report on "
        "(test); 3 questions went where a near-duplicate is. `data.withheld` in kochat.json names these questions.\n"
    ) in text
    assert "at strength 1.5:\n\n| figure | validation | 95 % interval | test | 95 % interval |\n" in text
    assert "| questions | 12 |  | 13 |  |\n" in text
    assert "under its true label | 0.25 | 0 to 0.5 | 0.125 | 0.0625 to 0.25 |\n" in text
    assert "label recognised (cross-fitted): replies under every label" in text
    assert "chosen on the validation questions: 1.5. The classifier tells the label of 65.5% of the answers by" in text
    assert "flatter" not in text
    known = model_card(
        "mine", Card(labels=["0"], data={**data, "test_known_to_base": 7}, config=config, metrics=metrics)
    )
    assert "Its base had been trained on 7 of the test questions, so the test figures flatter it." in known
    alone = {**metrics, "evaluation": {"validation": validation, "held_out": True}}
    data = {**data, "parts": {**data["parts"], "test": 0}}
    assert "There is no test part" in model_card("mine", Card(labels=["0"], data=data, config=config, metrics=alone))
    data = {**data, "parts": {"training": 39, "validation": 0, "test": 0}}
    assert "All 39 pairs were learned, none was withheld." in model_card(
        "mine", Card(labels=["0"], data=data, metrics={"history": []}, familiarity={"questions": 20, "threshold": 1.0})
    )


def test_a_card_says_how_its_data_were_split_and_one_of_before_had_two_parts():
    assert Card().split == (1, 0.0, 0.0, 0)
    assert Card(config={"validation_share": 0.05, "seed": 3}).split == (1, 0.05, 0.0, 3)
    config = {"validation_share": 0.05, "test_share": 0.1, "seed": 3}
    assert Card(data={"split": 2}, config=config).split == (2, 0.05, 0.1, 3)
    for data, config in (({"split": "2"}, {}), ({}, {"test_share": "0.1"}), ({}, {"seed": None})):
        with pytest.raises(TypeError, match="split"):
            Card(data=data, config=config)


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


def test_what_a_training_learned_and_forgot_is_in_the_card():
    metrics = {"own_answers": {"right": 37, "asked": 39}, "base_nll": {"before": 1.1, "after": 1.25, "pairs": 200}}
    text = model_card("mine", Card(labels=["0"], metrics=metrics))
    assert "Of 39 answers that it was trained on it gives 37 word for word." in text
    assert (
        "On 200 validation pairs of its base: 1.100 before and 1.250 after its training (nats per character)." in text
    )
    nothing = Card(labels=["0"], metrics={"own_answers": {"right": None, "asked": None}})
    assert "word for word" not in model_card("mine", nothing)


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

    exec(code.replace("import kochat", "").replace('kochat.load("mine")', "bot"), {"bot": Bot()})
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


@pytest.mark.slow
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
    assert values["weights_sha256"] == sha256_of(output / "model.safetensors")


def test_a_calibration_is_in_the_card_and_an_odd_one_is_refused():
    known = {"questions": 545, "threshold": 1.4416, "quantiles": {"0.5": 0.9}}
    assert "unfamiliar above 1.44 nats a byte (545 validation questions)" in model_card("mine", Card(familiarity=known))
    told = model_card("mine", Card(familiarity=known | {"of": "kochat-mini"}))
    assert "1.44 nats a byte (545 validation questions of `kochat-mini`, whose pairs it went over again)" in told
    assert "unfamiliar" not in model_card("mine", Card())
    for odd in (
        None,
        [],
        "x",
        {"questions": 20},
        {"threshold": 1.0},
        known | {"of": 1},
        *(known | {"threshold": value} for value in ("1", None, 0, -1, True, float("nan"), float("inf"))),
    ):
        with pytest.raises(TypeError, match="familiarity"):
            Card(familiarity=odd)


@pytest.mark.parametrize(("label_dropout", "strength"), [(0.1, 3.0), (0, 0.0)])
def test_only_what_was_trained_without_its_label_too_can_be_strengthened(label_dropout, strength):
    config = TrainingConfig("x.csv", "b", "y", max_length=40, strip_punctuation=False, label_dropout=label_dropout)
    made = card_of_training(config, "base", Card(["0"], strength=3.0), ["0", "1"], 7, "abc")
    assert made.can_strengthen == bool(label_dropout)
    assert made.strength == strength
    assert not Card(["0"], strength=3.0).can_strengthen
