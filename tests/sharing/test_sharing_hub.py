"""Pushing to the Hub: the real client against a stand-in for its server, in this process."""

import errno
import json

import pandas
import pytest
from conftest import MINI
from hub_server import Pushed
from huggingface_hub import DatasetCard, ModelCard, SpaceCard
from typer.testing import CliRunner

import kochat
from kochat.cli.main import app as commands
from kochat.errors import DataError, HubError
from kochat.model import checkpoint
from kochat.model.cards import Card, source_name
from kochat.sharing import hub, web
from kochat.sharing.hub_cards import model_readme, space_readme
from kochat.sharing.web import export_web

MEASURED = {"exact": 0.25, "label_accuracy": 0.5, "perplexity_per_token": float("inf"), "questions": 4}
PAIRS = [("안녕", "반가워요.", "0")]


@pytest.fixture
def mine(tmp_path, model, tokenizer):
    """A checkpoint with pairs, withheld questions, figures, and a file that is none of the Hub's business."""
    data = {"source": "my", "rows": 9, "parts": {"training": 7, "validation": 1, "test": 1}}
    card = Card(
        labels=["0", "1"],
        base="skt/kogpt2-base-v2",
        data=data | {"withheld": {"validation": ["비밀 질문"], "test": []}},
        metrics={"evaluation": {"validation": MEASURED, "test": MEASURED | {"exact": 0.75}}},
        sources=["nsmc_reviews", "my"],
        max_length=64,
    )
    folder = checkpoint.save(tmp_path / "mine", model, tokenizer, card, pairs=PAIRS, validation=PAIRS)
    (folder / "notes.txt").write_text("mine alone")
    return folder


def writes(server) -> list[str]:
    return [one for one in server.requests if not one.startswith("GET")]


def test_a_push_is_one_commit_of_its_files_and_private_without_pairs(server, mine):
    published = hub.push(mine, "somebody/bot")
    repo = server.pushed["models", "somebody/bot"]
    assert (published.url, published.is_private, published.is_new) == (f"{server.url}/somebody/bot", True, True)
    assert published.held_back == ("pairs.csv.xz", "validation.csv.xz")
    assert repo.private
    assert len(repo.commits) == 2  # the first one is the Hub's own
    left_out = {"notes.txt", "pairs.csv.xz", "validation.csv.xz"}
    assert repo.files.keys() - {".gitattributes"} == {one.name for one in mine.iterdir()} - left_out
    for name in repo.files.keys() - {".gitattributes", "README.md", "kochat.json"}:
        assert repo.files[name] == (mine / name).read_bytes(), name
    # The card names withheld questions, which are somebody's as well.
    before = json.loads((mine / "kochat.json").read_text("utf-8"))
    del before["data"]["withheld"]
    assert json.loads(repo.files["kochat.json"]) == before
    assert not any("비밀" in content.decode("utf-8", "replace") for content in repo.files.values())
    assert "not in this repository" in repo.files["README.md"].decode()


def test_what_was_pushed_is_a_checkpoint(server, mine, tmp_path):
    hub.push(mine, "somebody/bot")
    again = tmp_path / "again"
    again.mkdir()
    for name, content in server.pushed["models", "somebody/bot"].files.items():
        (again / name).write_bytes(content)
    assert checkpoint.load(again).card.labels == ["0", "1"]
    card = ModelCard.load(again / "README.md")
    code = card.text.split("## With transformers alone\n\n```python\n")[1].split("```")[0]
    there = {}
    exec(code.replace("somebody/bot", str(again)), there)
    assert isinstance(there["reply"], str)


def test_the_front_matter_says_what_the_hub_understands(server, mine):
    data = ModelCard(model_readme("somebody/bot", checkpoint.read_card(mine), False)).data
    said = {name: data.get(name) for name in ("language", "license", "license_name", "library_name", "pipeline_tag")}
    assert said == {
        "language": "ko",
        "license": "other",
        "license_name": "licences-of-its-sources",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
    }
    assert data.license_link == f"{server.url}/somebody/bot#made-of"
    assert (data.base_model, data.base_model_relation) == ("skt/kogpt2-base-v2", "finetune")
    assert data.datasets == ["e9t/nsmc"]
    assert data.metrics == ["exact_match", "accuracy"]  # what is not finite is no figure
    figures = {(one.dataset_split, one.metric_type): one.metric_value for one in data.eval_results}
    assert figures == {("test", "exact_match"): 0.75, ("test", "accuracy"): 0.5}


def test_kochat_minis_figures_are_those_on_test():
    data = ModelCard(model_readme("somebody/mini", checkpoint.read_card(MINI), True)).data
    assert (data.license, data.base_model) == ("mit", None)
    assert {one.dataset_split for one in data.eval_results} == {"test"}
    assert data.eval_results[0].metric_value == pytest.approx(0.2054, abs=1e-4)


def test_the_hubs_page_offers_questions_with_their_answers(server, mine):
    hub.push(mine, "somebody/bot")
    offered = ModelCard(server.pushed["models", "somebody/bot"].files["README.md"].decode()).data.widget
    bot = kochat.load(mine)
    assert [one["text"] for one in offered] == ["안녕", "오늘 날씨는 어때?", "12시 땡!"]
    assert [one["output"]["text"] for one in offered] == [bot.reply(one["text"]) for one in offered]


def test_pairs_become_a_dataset_that_a_training_reads_by_its_id(server, home, tmp_path, tiny_checkpoint):
    pairs = kochat.read_pairs("jobs")
    made = hub.push_dataset("jobs", "somebody/jobs", licence="mit")
    repo = server.pushed["datasets", "somebody/jobs"]
    assert (made.url, repo.private) == (f"{server.url}/datasets/somebody/jobs", True)
    assert repo.files.keys() - {".gitattributes"} == {"data.csv", "README.md"}
    card = DatasetCard(repo.files["README.md"].decode())
    assert (card.data.license, card.data.language, card.data.tags[0]) == ("mit", "ko", "kochat")
    assert card.data.size_categories == "n<1K"
    label, count = next(iter(pairs["label"].value_counts().items()))
    assert f"- `{label}`: {count}\n" in card.text
    assert not hub.push_dataset("jobs", "somebody/jobs", licence="mit").is_changed
    for name in ("somebody/jobs", f"somebody/jobs@{repo.sha}"):
        assert kochat.read_pairs(name).equals(pairs)
    server.broken = True  # what was read before is still there
    assert kochat.read_pairs("somebody/jobs").equals(pairs)


@pytest.mark.parametrize("form", ["parquet", "jsonl", "csv"])
def test_columns_of_a_hub_dataset_are_mapped_as_those_of_a_file(server, tmp_path, form):
    table = pandas.DataFrame({"묻기": ["안녕"], "말하기": ["반가워요."], "기분": ["0"]})
    path = tmp_path / f"train.{form}"
    if form == "parquet":
        pytest.importorskip("pyarrow")
        table.to_parquet(path)
    elif form == "jsonl":
        table.to_json(path, orient="records", lines=True, force_ascii=False)
    else:
        table.to_csv(path, index=False)
    files = {f"data/train.{form}": path.read_bytes(), f"data/test.{form}": b"", "README.md": b""}
    server.pushed["datasets", "club/pairs"] = Pushed(files=files)
    columns = {"question": "묻기", "answer": "말하기", "label": "기분"}
    assert kochat.read_pairs("club/pairs", columns=columns).values.tolist() == [["안녕", "반가워요.", "0"]]


@pytest.mark.parametrize(
    ("change", "source", "key"),
    [
        ({"gated": {"club/pairs"}}, "club/pairs", "hub_gated_dataset"),
        ({}, "club/none", "hub_no_dataset"),
        ({}, "club/pairs@v9", "hub_no_dataset"),
        ({"broken": True}, "club/pairs", "no_download"),
        ({"refused": {"info": 503}}, "club/pairs", "no_download"),
        ({"files": {"a.csv": b"", "b.csv": b""}}, "club/pairs", "hub_files"),
        ({"files": {"a.png": b""}}, "club/pairs", "no_hub_file"),
    ],
)
def test_why_a_dataset_cannot_be_had_is_said(server, change, source, key):
    server.pushed["datasets", "club/pairs"] = Pushed(files=change.get("files", {"a.csv": b"Q,A\n1,2\n"}))
    for name in change.keys() - {"files"}:
        setattr(server, name, change[name])
    with pytest.raises(DataError) as raised:
        kochat.read_pairs(source)
    assert raised.value.key == key
    if key == "hub_gated_dataset":
        assert f"{server.url}/datasets/club/pairs" in raised.value.text("ko")
        assert "HF_TOKEN" in raised.value.text("ko")


def test_a_card_names_the_dataset_that_it_was_trained_on(server):
    assert source_name("club/pairs@v1") == "datasets/club/pairs"
    card = Card(labels=["0"], base="kochat-mini", sources=["nsmc_reviews", "datasets/club/pairs"])
    card.data, card.metrics = {"source": "datasets/club/pairs"}, {"evaluation": {"test": MEASURED}}
    data = ModelCard(model_readme("a/b", card, False)).data
    assert (data.datasets, data.base_model) == (["e9t/nsmc", "club/pairs"], None)
    assert data.eval_results[0].dataset_type == "club/pairs"


def test_what_is_mine_is_listed(server, mine):
    hub.push(mine, "somebody/bot")
    hub.push_dataset("jobs", "somebody/jobs", private=False)
    server.pushed["models", "club/bot"] = Pushed()
    listed = [(one.kind, one.repo, one.is_private) for one in hub.published()]
    assert listed == [("model", "somebody/bot", True), ("dataset", "somebody/jobs", False)]
    printed = CliRunner().invoke(commands, ["published"]).stdout
    assert f"{server.url}/datasets/somebody/jobs" in printed


def test_names_that_look_like_structure_stay_text():
    odd = "a: b\n---\n# '\"x"
    card = Card(labels=["0"], sources=[odd], data={"source": odd}, metrics={"evaluation": {"test": MEASURED}})
    data = ModelCard(model_readme("a/b", card, False)).data
    assert (data.library_name, data.eval_results[0].dataset_type) == ("transformers", odd)
    assert SpaceCard(space_readme(odd, card)).data.title == odd


def test_pushed_again_it_writes_only_what_has_changed(server, mine):
    hub.push(mine, "somebody/bot", with_pairs=True)
    repo = server.pushed["models", "somebody/bot"]
    assert repo.files["pairs.csv.xz"] == (mine / "pairs.csv.xz").read_bytes()
    again = hub.push(mine, "somebody/bot", with_pairs=True)
    assert (again.is_new, again.is_changed, len(repo.commits)) == (False, False, 2)
    checkpoint.record(mine, {}, strength=0.0)
    (mine / "generation_config.json").write_text("{}")
    assert hub.push(mine, "somebody/bot", with_pairs=True).is_changed
    assert "generation_config.json" in repo.commits[-1]
    assert "model.safetensors" not in repo.commits[-1]
    # Pairs of before are not left for everybody to see.
    hub.push(mine, "somebody/bot")
    assert {"pairs.csv.xz", "validation.csv.xz"} <= {*repo.commits[-1]} - repo.files.keys()


def test_a_repository_that_is_there_stays_as_private_as_it_is(server, mine):
    server.pushed["models", "club/bot"] = Pushed(private=False)
    published = hub.push(mine, "club/bot", private=True)
    assert (published.is_private, published.is_new) == (False, False)


@pytest.mark.parametrize(
    ("change", "repo", "key"),
    [
        ({"token": None}, "somebody/bot", "hub_no_token"),
        ({"token": "hf_wrong"}, "somebody/bot", "hub_wrong_token"),
        ({"token": "hf_read"}, "somebody/bot", "hub_no_rights"),
        ({}, "another/bot", "hub_no_rights"),
        ({}, "bot", "hub_bad_name"),
        ({}, "somebody/봇", "hub_bad_name"),
        ({"refused": {"create": 401}}, "somebody/bot", "hub_no_rights"),
        ({"refused": {"create": 403}}, "somebody/bot", "hub_no_rights"),
        ({"refused": {"create": 402}}, "somebody/bot", "hub_payment"),
        ({"refused": {"create": 409}}, "somebody/bot", "hub_taken"),
        ({"refused": {"create": 429}}, "somebody/bot", "hub_too_many"),
        ({"refused": {"create": 400}}, "somebody/bot", "hub_refused"),
        ({"refused": {"whoami": 429}}, "somebody/bot", "hub_too_many"),
        ({"refused": {"commit": 403}}, "somebody/bot", "hub_no_rights"),
        ({"refused": {"preupload": 429}}, "somebody/bot", "hub_too_many"),
        ({"refused": {"commit": 500}}, "somebody/bot", "hub_broken_off"),
        ({"refused": {"upload": 403}}, "somebody/bot", "hub_no_rights"),
        ({"dropped": {"whoami"}}, "somebody/bot", "hub_broken_off"),
        ({"dropped": {"create"}}, "somebody/bot", "hub_broken_off"),
        ({"dropped": {"preupload"}}, "somebody/bot", "hub_broken_off"),
        ({"dropped": {"upload"}}, "somebody/bot", "hub_broken_off"),
        ({"dropped": {"commit"}}, "somebody/bot", "hub_broken_off"),
    ],
)
def test_each_failure_has_its_sentence_and_leaves_nothing(server, mine, monkeypatch, change, repo, key):
    if "token" in change:
        token = change["token"]
        monkeypatch.setenv("HF_TOKEN", token) if token else monkeypatch.delenv("HF_TOKEN")
    server.refused, server.dropped = change.get("refused", {}), change.get("dropped", set())
    with pytest.raises(HubError) as raised:
        hub.push(mine, repo)
    assert raised.value.key == key
    assert server.pushed == {}
    if server.dropped:  # run again it goes on
        server.dropped = set()
        assert hub.push(mine, repo).is_changed


def test_a_disk_that_is_full_is_named(server, mine, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.lfs._upload_single_part", full)
    with pytest.raises(HubError) as raised:
        hub.push(mine, "somebody/bot")
    assert (raised.value.key, server.pushed) == ("disk_full", {})


def test_what_was_there_before_is_never_deleted(server, mine):
    hub.push(mine, "somebody/bot")
    before = dict(server.pushed["models", "somebody/bot"].files)
    (mine / "generation_config.json").write_text("{}")
    server.dropped = {"commit"}
    with pytest.raises(HubError):
        hub.push(mine, "somebody/bot")
    assert server.pushed["models", "somebody/bot"].files == before


@pytest.mark.parametrize(("kind", "sdk"), [("models", None), ("spaces", "static"), ("spaces", "gradio")])
def test_a_repository_that_is_something_else_is_left_alone(server, mine, kind, sdk):
    readme = b"---\ntags: [kochat]\n---\n" if sdk == "gradio" else b"---\ntags: [cats]\n---\n"
    server.pushed[kind, "somebody/bot"] = Pushed(sdk=sdk, files={"README.md": readme}, commits=[[], ["README.md"]])
    with pytest.raises(HubError) as raised:
        hub.push(mine, "somebody/bot") if kind == "models" else hub.deploy_web(mine, "somebody/bot")
    assert raised.value.key == "hub_taken"
    assert writes(server) == []


def test_the_web_page_becomes_a_static_space(server, tiny_checkpoint, tmp_path):
    published = hub.deploy_web(tiny_checkpoint, "somebody/bot", title="우리 봇", greeting="어서 오세요!")
    repo = server.pushed["spaces", "somebody/bot"]
    assert published.url == f"{server.url}/spaces/somebody/bot"
    assert (repo.sdk, repo.private, len(repo.commits)) == ("static", False, 2)
    assert repo.files.keys() == {".gitattributes", "index.html", "README.md"}  # not the style sheet of the Hub's own
    page = export_web(tiny_checkpoint, tmp_path / "bot.html", "우리 봇", "어서 오세요!")
    assert repo.files["index.html"] == page.read_bytes()
    data = SpaceCard(repo.files["README.md"].decode()).data
    assert (data.title, data.emoji, data.sdk, data.license) == ("우리 봇", "💬", "static", "mit")
    assert (data.colorFrom, data.colorTo) == ("blue", "pink")
    again = hub.deploy_web(tiny_checkpoint, "somebody/bot", title="우리 봇", greeting="어서 오세요!")
    assert (again.is_changed, len(repo.commits)) == (False, 2)
    assert hub.deploy_web(tiny_checkpoint, "somebody/bot", title="새 봇").is_changed
    assert sorted(repo.commits[-1]) == ["README.md", "index.html"]


def test_the_page_of_a_larger_bot_goes_up_with_its_weights_and_takes_earlier_ones_away(
    server, tiny_checkpoint, tmp_path, monkeypatch
):
    monkeypatch.setattr(web, "MANY_BYTES", 10_000)
    hub.deploy_web(tiny_checkpoint, "somebody/bot")
    monkeypatch.setattr(web, "PART_BYTES", 9_000)
    hub.deploy_web(tiny_checkpoint, "somebody/bot")
    folder = export_web(tiny_checkpoint, tmp_path / "bot.html")
    pushed = server.pushed["spaces", "somebody/bot"].files
    assert pushed.keys() == {".gitattributes", "README.md"} | {path.name for path in folder.iterdir()}
    assert all(pushed[path.name] == path.read_bytes() for path in folder.iterdir())


def test_a_space_that_could_neither_be_filled_nor_deleted_is_filled_next_time(server, tiny_checkpoint):
    server.dropped = {"commit", "delete"}
    with pytest.raises(HubError) as raised:
        hub.deploy_web(tiny_checkpoint, "somebody/bot", private=True)
    assert raised.value.key == "hub_broken_off"
    server.dropped = set()
    assert not hub.deploy_web(tiny_checkpoint, "somebody/bot").is_new
    assert "index.html" in server.pushed["spaces", "somebody/bot"].files


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(server, tiny_checkpoint):
    planned = hub.deploy_web(tiny_checkpoint, "somebody/bot", private=True, dry_run=True)
    assert (planned.url, planned.is_new) == (f"{server.url}/spaces/somebody/bot", True)
    assert (planned.is_private, planned.files) == (True, ("index.html", "README.md"))
    assert (server.pushed, writes(server)) == ({}, [])
    with pytest.raises(HubError):
        hub.deploy_web(tiny_checkpoint, "another/bot", dry_run=True)


def test_from_the_command_line(server, mine):
    run = CliRunner().invoke
    printed = run(commands, ["push", str(mine), "somebody/bot"]).stdout
    assert f"{server.url}/somebody/bot is ready (private)." in printed
    assert "Left out, since they hold the pairs: pairs.csv.xz, validation.csv.xz" in printed
    assert "was up to date" in run(commands, ["push", str(mine), "somebody/bot"]).stdout
    printed = run(commands, ["deploy", "web", str(mine), "club/page", "--dry-run"]).stdout
    assert "would be made (everybody can see it), with index.html, README.md." in printed
    assert ("spaces", "club/page") not in server.pushed
    run(commands, ["deploy", "web", str(mine), "club/page", "--private"])
    assert server.pushed["spaces", "club/page"].private
