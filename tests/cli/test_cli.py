"""The command line as its user meets it: one sentence out, one sentence of complaint, the exit status."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from odd_files import FILES, xlsx
from typer.testing import CliRunner

from kochat.cli import main
from kochat.config import PretrainingConfig, TrainingConfig
from kochat.data.crisis import TURN_TO
from kochat.errors import DataError, KochatError
from kochat.inference import chatbot
from kochat.model import checkpoint
from kochat.model.cards import FIGURE_NAMES, STRENGTH_NAMES, Card
from kochat.model.commands import command
from kochat.runs import registry
from kochat.training.events import Started
from kochat.training.fine_tuning import fine_tune


def invoke(*words, stdin=None):
    return CliRunner().invoke(main.app, [str(word) for word in words], input=stdin)


def test_reply_prints_one_line(tiny_checkpoint, bot):
    result = invoke("reply", "12시 땡!", "--label", "0", "--checkpoint", tiny_checkpoint)
    assert result.exit_code == 0
    assert result.stdout == bot.reply("12시 땡!", "0") + "\n"


def test_chat_answers_until_quit(tiny_checkpoint, bot):
    result = invoke("chat", "--checkpoint", tiny_checkpoint, "--label", "1", stdin="안녕\n\n고마워\nquit\n안 들려\n")
    assert result.exit_code == 0
    said = [bot.reply(question, "1") for question in ("안녕", "고마워")]
    assert result.stdout == "".join(f"user > Chatbot > {reply}\n" for reply in said[:1]) + (
        f"user > user > Chatbot > {said[1]}\nuser > "
    )
    assert invoke("chat", "--checkpoint", tiny_checkpoint, stdin="").exit_code == 0


@pytest.mark.parametrize(("locale", "language"), [("ko_KR.UTF-8", "ko"), ("C", "en")])
def test_chat_says_where_to_turn_in_the_language_of_the_terminal(tiny_checkpoint, monkeypatch, locale, language):
    monkeypatch.setenv("LC_ALL", locale)
    said = invoke("chat", "--checkpoint", tiny_checkpoint, stdin="죽고 싶어\n죽 먹고 싶어\nquit\n").stdout
    assert said.startswith(f"user > Chatbot > {TURN_TO[language]}\nuser > Chatbot > ")
    assert said.count("109") == 1


def test_chat_says_what_a_chatbot_was_taught_to_say_with_where_to_turn(tmp_path, model, tokenizer):
    card = Card(labels=["0"], max_length=64, data={"newest_pairs": 1})
    folder = checkpoint.save(tmp_path / "own", model, tokenizer, card, pairs=[("죽고 싶어", "상담실로 와요.", "0")])
    said = invoke("chat", "--checkpoint", folder, stdin="죽고 싶어\nquit\n").stdout
    assert said == f"user > Chatbot > {chatbot.load(folder).reply('죽고 싶어')}\n{TURN_TO['en']}\nuser > "


def test_reply_and_chat_draw_where_asked_for(tiny_checkpoint, bot):
    options = ["--checkpoint", tiny_checkpoint, "--label", "0", "--temperature", 1.5, "--top-p", 0.9, "--seed", 7]
    said = bot.reply("안녕", "0", temperature=1.5, top_p=0.9, seed=7)
    assert said != bot.reply("안녕", "0")
    assert invoke("reply", "안녕", *options).stdout == said + "\n"
    assert f"Chatbot > {said}\n" in invoke("chat", *options, stdin="안녕\nquit\n").stdout
    refused = invoke("reply", "안녕", "--checkpoint", tiny_checkpoint, "--temperature", 3)
    assert refused.exception.key == "bad_temperature"


def test_reply_and_chat_look_up_where_asked_for(tmp_path, model, tokenizer):
    card, pairs = checkpoint.Card(labels=["0", "1"], max_length=64), [("안녕", "반가워요.", "0")]
    keeper = checkpoint.save(tmp_path / "keeper", model, tokenizer, card, pairs=pairs)
    said = chatbot.load(keeper).reply("안녕", "0", rerank=True)
    options = ["--checkpoint", keeper, "--label", "0", "--rerank"]
    assert invoke("reply", "안녕", *options).stdout == said + "\n"
    assert f"Chatbot > {said}\n" in invoke("chat", *options, stdin="안녕\nquit\n").stdout


def test_compare_asks_every_checkpoint_under_every_label_and_strength(tiny_checkpoint, bot, tmp_path):
    (tmp_path / "some.csv").write_text("Q\n고마워\n", "utf-8")
    words = ["compare", "안녕", "--checkpoint", tiny_checkpoint, "--label", "1", "--label", "9"]
    result = invoke(*words, "--data", tmp_path / "some.csv")
    assert result.exit_code == 0
    said = [line for q in ("안녕", "고마워") for line in (q, f"    tiny · 1  {bot.reply(q, '1')}", "    tiny · 9  –")]
    assert result.stdout.splitlines() == said
    assert re.fullmatch(r"tiny · 1: \d+\.\d\d s, \d+ ms a reply\n", result.stderr)
    invoke(*words, "--strength", "0", "--csv", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text("utf-8-sig").splitlines()[1] == f"안녕,{bot.reply('안녕', '1')},–,"
    assert invoke("compare", "--checkpoint", tiny_checkpoint).exception.key == "no_questions"


@pytest.mark.slow
def test_train_writes_a_checkpoint_and_says_how_it_goes(tiny_base, tmp_path, forked_runs):
    output = tmp_path / "trained"
    result = invoke("train", "--data", "emotions", "--rows", 60, "--base", tiny_base, "--output", output, "--epochs", 2)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()  # not that it is queued: it starts at once
    assert lines[0].startswith("60 pairs, 0 for validation, 0 cut; 0.0 M parameters, cpu")
    assert [line.split("  ")[0] for line in lines[1:3]] == ["epoch 1/2", "epoch 2/2"]
    assert f"{output} is ready" in lines[3]
    assert lines[4] == "hardly learned: 0 of 60 own answers word for word (0 before)"
    assert lines[5:] == ["try: --epochs 6"]
    assert result.stderr.splitlines() == ["starting", "reading data", "loading model", "asking base"]
    assert [run.state() for run in registry.list_runs()] == ["finished"]
    assert "trained" in invoke("runs", "list").stdout

    figures = json.loads(invoke("eval", "--data", "emotions", "--rows", 6, "--checkpoint", output, "--json").stdout)
    assert figures["questions"] == 6
    assert figures["nll_per_char"] > 0


@pytest.mark.slow
def test_eval_measures_on_what_was_kept_out_and_records_it(tiny_base, tmp_path, monkeypatch):
    monkeypatch.setattr("kochat.runs.worker.lower_priority", lambda: None)  # it would last for all tests to come
    output = tmp_path / "trained"
    made = TrainingConfig(
        data="emotions",
        rows=90,
        base=str(tiny_base),
        output=str(output),
        epochs=1,
        seed=3,
        validation_share=0.2,
        test_share=0.1,
    )
    [started] = [event for event in fine_tune(made) if isinstance(event, Started)]
    validation = checkpoint.load(output).validation
    assert len(validation) == started.validation_pairs
    (output / "validation.csv.xz").unlink()
    words = ["eval", "--data", "emotions", "--checkpoint", output, "--held-out"]
    lines = invoke(*words).stdout.splitlines()
    names = [name for name in FIGURE_NAMES if name != "questions"]
    for part, shown in (("validation", lines[: len(names) + 2]), ("test", lines[len(names) + 2 :])):
        assert shown[0].split() == [part, "value", "95", "%", "interval", "questions"]
        assert [line.split()[0] for line in shown[1:-1]] == names
        assert shown[-1] == "strength 0"
    figures = json.loads(invoke(*words, "--strength", 2, "--json", "--record").stdout)
    assert set(figures) == {"validation", "test", "held_out"}
    asked = {"validation": started.validation_pairs, "test": started.test_pairs}
    for part, num in asked.items():
        assert (figures[part]["questions"], figures[part]["strength"]) == (num, 2)
        assert figures[part]["cross_fitted"] is True
        assert 0 <= figures[part]["recognised"] <= 1
        assert set(figures[part]["intervals"]) == set(names)
    assert checkpoint.read_card(output).metrics["evaluation"] == figures
    assert "| figure | validation | 95 % interval | test | 95 % interval |" in (output / "README.md").read_text("utf-8")
    assert checkpoint.load(output).validation == validation
    events = [json.loads(line) for line in invoke(*words, "--events", "--spread", 3).stdout.splitlines()]
    assert [events[-1]["figures"][part]["questions"] for part in asked] == [3, 3]
    assert [set(event) for event in events[:-1]] == [{"done"}] * (len(events) - 1)
    done = [event["done"] for event in events[:-1]]
    assert done == sorted(done)
    assert 0.5 < done[-1] <= 1  # the second part is under way

    # On other pairs what it keeps is learned from; where it keeps none, that is said.
    words = ["eval", "--data", "emotions", "--rows", 3, "--checkpoint", output, "--json"]
    assert "nearest_exact" in json.loads(invoke(*words).stdout)
    (output / "pairs.csv.xz").unlink()
    result = invoke(*words)
    assert "nearest_exact" not in json.loads(result.stdout)
    assert "This checkpoint keeps no pairs" in result.stderr
    assert "no checkpoint somebody/bot" in str(invoke(*words[:5], "--checkpoint", "somebody/bot", "--record").exception)


@pytest.mark.slow
def test_strength_is_measured_chosen_and_recorded(tiny_base, tmp_path, monkeypatch):
    from kochat.evaluation import guidance

    monkeypatch.setattr(guidance, "STRENGTHS", (0.0, 2.0))
    output, plain = tmp_path / "trained", tmp_path / "plain"
    for folder, dropout in ((output, 0.2), (plain, 0.0)):
        made = TrainingConfig(
            data="emotions",
            rows=90,
            base=str(tiny_base),
            output=str(folder),
            epochs=1,
            seed=3,
            label_dropout=dropout,
            validation_share=0.1,
            sample_questions=(),
        )
        for _ in fine_tune(made):
            pass
    words = ["strength", "--data", "emotions", "--checkpoint"]
    lines = invoke(*words, output).stdout.splitlines()
    assert lines[-5].startswith("recogniser_accuracy ")
    assert lines[-4].split() == list(STRENGTH_NAMES)
    assert [line.split()[0] for line in lines[-3:-1]] == ["0", "2"]
    assert lines[-1].startswith("chosen: ")
    assert checkpoint.read_card(output).metrics.get("strengths") is None
    told = json.loads(invoke(*words, output, "--record", "--json").stdout)
    card = checkpoint.read_card(output)
    assert (card.metrics["strengths"], card.strength) == (told["strengths"], told["chosen"])
    # One that never saw a question without its label can be looked at, but has nothing to write.
    assert invoke(*words, plain).exit_code == 0
    assert "never trained without a label" in str(invoke(*words, plain, "--record").exception)
    assert "does not hold the pairs" in str(invoke("strength", "--data", "jobs", "--checkpoint", output).exception)


@pytest.mark.slow
def test_familiarity_is_measured_and_recorded(tiny_base, tmp_path):
    output = tmp_path / "trained"
    settings = {"data": "emotions", "epochs": 1, "precision": "float32", "validation_share": 0.3}
    for _ in fine_tune(TrainingConfig(base=str(tiny_base), output=str(output), **settings)):
        pass
    card = checkpoint.read_card(output)
    checkpoint.write_card(output, "trained", replace(card, familiarity={}))
    assert invoke("familiarity", "안녕", "--checkpoint", output).stdout.split()[1:] == [
        "familiar",
        "안녕",
    ]  # its own question
    result = invoke("familiarity", "안녕", "--checkpoint", output, "--data", "emotions", "--record")
    assert result.exit_code == 0
    assert checkpoint.read_card(output) == card
    assert result.stdout.splitlines()[0].split() == ["questions", str(card.familiarity["questions"])]
    assert result.stdout.splitlines()[-1].split()[1:] in (["familiar", "안녕"], ["unfamiliar", "안녕"])
    assert "unfamiliar above" in (output / "README.md").read_text("utf-8")
    assert isinstance(invoke("familiarity", "--checkpoint", output, "--data", "jobs").exception, DataError)
    assert "--record needs --data" in invoke("familiarity", "--checkpoint", output, "--record").output
    few = checkpoint.save(
        tmp_path / "few",
        checkpoint.load(output).model,
        checkpoint.load(output).tokenizer,
        replace(card, config={**card.config, "validation_share": 0.05}),
    )
    assert "fewer than 20" in str(invoke("familiarity", "--checkpoint", few, "--data", "emotions").exception)


@pytest.mark.slow
def test_ctrl_c_stops_a_training_and_the_runs_commands_go_on_with_it(tiny_base, tmp_path, processes, forked_runs):
    output = tmp_path / "trained"
    words = ["--rows", "60", "--base", str(tiny_base), "--output", str(output), "--epochs", "10000"]
    with processes.Command(["train", "--data", "emotions", *words]) as process:
        for line in process.stdout:
            if line.startswith("epoch 1/"):
                process.send_signal(signal.SIGINT)
                break
        assert "stopped at step" in process.stdout.read()
    assert process.returncode == 0
    assert "stopped" in invoke("runs", "list").stdout
    assert not output.exists()
    curve = invoke("runs", "curve", "trained").stdout.splitlines()
    assert curve[0].startswith("epoch,loss,validation_loss")
    assert len(curve) == 1 + len(registry.find("trained").record().epochs) > 1
    assert "trained is ready" in invoke("runs", "finish", "trained").stdout
    assert output.exists()
    assert invoke("runs", "delete", "trained").exit_code == 0
    assert invoke("runs", "list").stdout == ""


@pytest.mark.slow
def test_every_command_takes_the_name_that_the_page_shows(home, model, tokenizer, tmp_path, monkeypatch, forked_runs):
    monkeypatch.chdir(tmp_path)
    named = checkpoint.save(home / "checkpoints" / "내-챗봇", model, tokenizer, checkpoint.Card(["0", "1", "2"]))
    by_path = invoke("reply", "안녕", "--checkpoint", named)
    assert (by_path.exit_code, by_path.stdout) == (0, invoke("reply", "안녕", "--checkpoint", "내-챗봇").stdout)
    assert invoke("chat", "--checkpoint", "내-챗봇", stdin="안녕\n").exit_code == 0
    assert "내-챗봇 · auto" in invoke("compare", "안녕", "--checkpoint", "내-챗봇").stdout
    assert invoke("familiarity", "안녕", "--checkpoint", "내-챗봇").exit_code == 0
    (tmp_path / "p.csv").write_text("Q,A\n안녕,네\n", "utf-8")
    assert invoke("check", "p.csv", "--checkpoint", "내-챗봇").exit_code == 0
    assert invoke("eval", "--data", "emotions", "--rows", 3, "--checkpoint", "내-챗봇", "--record").exit_code == 0
    assert checkpoint.read_card(named).metrics["evaluation"]["questions"] == 3
    assert "never trained without" in str(
        invoke("strength", "--data", "emotions", "--checkpoint", "내-챗봇", "--record").exception
    )
    words = ["--rows", 9, "--epochs", 1, "--precision", "float32", "--max-length", 64]
    result = invoke("train", "--data", "emotions", "--base", "내-챗봇", "--output", "mine", *words)
    assert result.exit_code == 0, result.output
    assert registry.list_runs()[0].config.base == str(named)


def test_every_setting_is_an_option_with_its_own_sentence():
    shown = " ".join(invoke("train", "--help").stdout.replace("│", " ").split())
    for option in ("--learning-rate", "--label-dropout", "--validation-share", "--no-strip-punctuation"):
        assert option in shown or option[:16] in shown
    assert "Dropout while training" in shown


def test_a_command_from_a_card_is_one_that_the_command_line_takes(tiny_base, tmp_path, monkeypatch):
    given = TrainingConfig(
        data="jobs",
        base=str(tiny_base),
        output=str(tmp_path / "x"),
        epochs=1,
        strip_punctuation=True,
        question_column="손님 말",
        keep_labels=True,
        rehearsal=2,
        label_names=("건설현장=building site", "우산장수=umbrellas"),
    )
    taken: list = []
    started = SimpleNamespace(state=lambda: "running")
    monkeypatch.setattr(main.queue, "start", lambda config: taken.append(config) or started)
    monkeypatch.setattr(main, "watch", lambda run, seen: None)
    assert invoke(*shlex.split(command("train", given))[3:]).exit_code == 0
    same = {"epochs", "strip_punctuation", "keep_labels", "rehearsal", "label_names", "question_column"}
    assert {name: getattr(taken[0], name) for name in same} == {name: getattr(given, name) for name in same}
    assert command("pretrain", PretrainingConfig(text="a/b.txt", output="c/d", passes=2)) == (
        "python -m kochat pretrain --text b.txt --output checkpoints/d --passes 2"
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["reply", "안녕", "--checkpoint", "checkpoints/nowhere"], "There is no checkpoint"),
        (["train", "--data", "nowhere.csv", "--output", "x", "--base", "y"], "There is no file nowhere.csv"),
        (["train", "--data", "emotions", "--output", "x", "--base", "no/such/base"], "There is no checkpoint"),
        (["train", "--data", "emotions", "--output", "x", "--epochs", "0"], "epochs is 0, but must be"),
        (["check", ""], 'There is no file "".'),
        (["check", "."], ". is a folder."),
        (["eval", "--data", "emotions", "--checkpoint", "내-챗봇-2", "--record"], "There is no checkpoint 내-챗봇-2."),
        (["runs", "stop", "nothing"], "There is no run named"),
    ],
)
def test_what_goes_wrong_is_one_error_of_ours(words, sentence):
    result = invoke(*words)
    assert result.exit_code == 1
    assert isinstance(result.exception, KochatError)
    assert sentence in str(result.exception)


@pytest.mark.parametrize("name", FILES)
def test_check_reports_on_every_odd_file_or_refuses_it(tmp_path, name):
    odd, path = FILES[name], tmp_path / "pairs.csv"
    path.write_bytes(odd.data)
    result = invoke("check", path, "--json", "--checkpoint", "")
    if odd.error:
        assert (result.exit_code, result.exception.key) == (1, odd.error)
        return
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert (told["good"], told["rows"] - told["bad"]) == (len(odd.pairs), len(odd.pairs))
    assert [tuple(problem.values()) for problem in told["problems"]] == odd.problems
    lines = invoke("check", path, "--checkpoint", "").stdout.splitlines()
    named = lines[: next(place for place, line in enumerate(lines) if line.startswith("format "))]
    assert [line.split(":")[0].split(" · ")[0] for line in named] == [f"row {row}" for row, *_ in odd.problems]


def test_check_names_what_a_checkpoint_cannot_take_whole(tmp_path, tiny_checkpoint):
    path = tmp_path / "pairs.csv"
    path.write_text(f"Q,A\n안녕,{'긴 답 ' * 20}\n안녕,{'긴 답 ' * 20}\n안녕,네\n", "utf-8")

    def told(*words):
        report = json.loads(invoke("check", path, "--json", *words).stdout)
        return report["good"], report["bad"], report["reasons"]

    assert told("--checkpoint", tiny_checkpoint) == (1, 2, {"too_long": 2})
    assert told("--checkpoint", "") == (2, 1, {"duplicate": 1, "other_answer": 1})
    path.write_text(f"Q,A\n안녕,{'긴 답 ' * 200}\n", "utf-8")
    assert told() == (0, 1, {"too_long": 1})  # for kochat-mini


def test_check_takes_the_columns_that_are_given(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("one,two,three\n안녕,네,0\n,응,\n", "utf-8")
    words = ["check", path, "--question-column", "one", "--answer-column", "two", "--label-column", "three"]
    assert invoke(*words).stdout.splitlines() == [
        "row 3 · question: is empty",
        "row 3 · label: is empty",
        "format     csv",
        "encoding   utf-8",
        'delimiter  ","',
        "mapping    question: one, answer: two, label: three",
        "rows       2",
        "good       1",
        "bad        1",
        "notes      0",
        "labels     0: 1",
    ]
    assert "no column four" in str(invoke(*words[:-1], "four").exception)


def test_check_takes_a_sheet_and_a_header_and_says_what_it_does(tmp_path):
    path = tmp_path / "book.xlsx"
    path.write_bytes(xlsx([["Q", "A"], ["가", "나"]], [["메모"], ["다", "라"], ["마", "바"]], names=["하나", "둘"]))
    assert invoke("check", path, "--checkpoint", "").stdout.splitlines()[-1] == (
        "remark     Not read: the sheets 둘. Read: 하나."
    )
    words = ["--sheet", "둘", "--header", "2", "--question-column", "1", "--answer-column", "라", "--checkpoint", ""]
    told = json.loads(invoke("check", path, *words, "--json").stdout)
    assert (told["header"], told["rows"], told["mapping"]["question"]) == (2, 1, "다")
    assert [one["en"] for one in told["remarks"]] == [
        "Not read: the sheets 하나. Read: 둘.",
        "Not used: what stands above the header, in row 둘 1 (메모).",
    ]


@pytest.mark.slow
def test_check_as_a_process_prints_its_report_or_one_sentence(tmp_path, monkeypatch, processes):
    monkeypatch.setenv("LC_ALL", "ko_KR.UTF-8")

    def run(name):
        path = tmp_path / "pairs.csv"
        path.write_bytes(FILES[name].data)
        return processes.run_command(["check", path])

    done = run("repeated, answered otherwise, empty")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(
        "4행: 2행과 똑같아요\n5행: 2행과 같은 질문인데 답이 달라요\n6행 · 질문: 비어 있어요\n"
    )
    done = run("png")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "pairs.csv 파일은 표가 아니라 그림이에요. CSV, 엑셀(.xlsx), JSON Lines 파일을 골라 주세요.\n"
    )


@pytest.mark.slow
def test_the_sentence_stands_alone_on_stderr_in_the_language_of_the_terminal(tmp_path):
    def run(language):
        return subprocess.run(
            [sys.executable, "-m", "kochat", "train", "--data", "nowhere.csv", "--output", str(tmp_path / "x")],
            env={**os.environ, "LC_ALL": language, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            text=True,
        )

    english, korean = run("C.UTF-8"), run("ko_KR.UTF-8")
    assert english.returncode == korean.returncode == 1
    assert english.stderr == "There is no file nowhere.csv. Check the name and try again.\n"
    assert korean.stderr == "nowhere.csv 파일이 없어요. 이름을 확인하고 다시 시도해 주세요.\n"
    assert english.stdout == ""
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_two_processes_train_one_checkpoint_together(tiny_base, tmp_path, home):
    words = ["train", "--data", "emotions", "--rows", "60", "--base", str(tiny_base), "--epochs", "2"]
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "-m", "kochat"]
    done = subprocess.run(
        [*launch, *words, "--output", str(tmp_path / "both"), "--precision", "float32"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    # 57 pairs are 8 batches of 8: each process takes half of every one.
    run = registry.list_runs()[0]
    assert run.record().started["steps"] == 16
    assert run.state() == "finished"
    assert done.stdout.count("is ready") == 1
    assert (tmp_path / "both" / "model.safetensors").is_file()
