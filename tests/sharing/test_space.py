"""The whole page as a Space: the real client against a stand-in for the Hub's server, in this process."""

import ast
import importlib.metadata
import subprocess
import sys
import tomllib

import pytest
from conftest import MINI, PROJECT
from hub_server import Pushed
from huggingface_hub import SpaceCard
from typer.testing import CliRunner

from kochat.cli.main import app as commands
from kochat.errors import HubError
from kochat.sharing import package, repository, space

REPO = "somebody/talk"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(space, "BETWEEN_LOOKS", 0.0)


WHOLE_PACKAGE = package.package_files


@pytest.fixture(autouse=True)
def few_files(tmp_path, monkeypatch):
    """The package is of two hundred files and the shipped chatbot of 10 MB: nothing to wait for in each test."""
    monkeypatch.setattr(
        space, "package_files", lambda: [one for one in WHOLE_PACKAGE() if one[0] in ("__init__.py", "labels.py")]
    )
    shipped = tmp_path / "kochat-mini"
    shipped.mkdir()
    (shipped / "model.safetensors").write_bytes(b"weights")
    monkeypatch.setattr(space, "DEFAULT_CHECKPOINT", shipped)


def deploy(checkpoint, **options):
    return space.deploy_space(REPO, checkpoint, **options)


def test_it_is_one_commit_of_the_package_and_the_chosen_chatbot(server, tiny_checkpoint):
    made = deploy(tiny_checkpoint, private=True, secrets={"KOCHAT_PASSWORD": "열려라"}, variables={"A": "1"})
    repo = server.pushed["spaces", REPO]
    assert (made.url, made.is_new, made.commit) == (f"{server.url}/spaces/{REPO}", True, repo.sha)
    assert (repo.sdk, repo.private, repo.hardware, len(repo.commits)) == ("gradio", True, "zero-a10g", 2)
    assert (repo.secrets, repo.variables, repo.sleeps_after) == ({"KOCHAT_PASSWORD": "열려라"}, {"A": "1"}, None)
    name = tiny_checkpoint.name
    assert {"app.py", "README.md", "requirements.txt", "kochat/labels.py"} <= repo.files.keys()
    weights = repo.files[f"kochat/shipped/{name}/model.safetensors"]
    assert weights == (tiny_checkpoint / "model.safetensors").read_bytes()
    assert "kochat/shipped/kochat-mini/model.safetensors" in repo.files  # the base that one trains on
    assert not any("열려라".encode() in content for content in repo.files.values())
    lines = repo.files["app.py"].decode()
    ast.parse(lines)
    assert f'"KOCHAT_CHECKPOINT", "{name}"' in lines
    assert lines.index("import spaces") < lines.index("from kochat.ui.page import launch")


def test_the_package_goes_up_without_what_python_leaves_in_it():
    names = [name for name, _ in WHOLE_PACKAGE()]
    assert {"__main__.py", "ui/style.css", "sentences/ko.json", "data/samples/everyday.csv"} <= set(names)
    tracked = subprocess.run(["git", "ls-files", "kochat"], cwd=PROJECT, capture_output=True, text=True, check=True)
    new = subprocess.run(
        ["git", "ls-files", "-o", "--exclude-standard", "kochat"], cwd=PROJECT, capture_output=True, text=True
    )
    assert {f"kochat/{name}" for name in names} == {*tracked.stdout.splitlines(), *new.stdout.splitlines()}


@pytest.mark.parametrize(
    ("hardware", "python", "torch"),
    [("zero-a10g", "3.12.12", "2.11.0"), ("cpu-basic", "3.12", None), ("t4-small", "3.12", None)],
)
def test_front_matter_and_requirements_fit_the_hardware(tiny_checkpoint, hardware, python, torch):
    files, _ = space.space_files(REPO, tiny_checkpoint, hardware, title="우리 봇")
    data = SpaceCard(files["README.md"].decode()).data
    assert (data.title, data.sdk, data.app_file, data.python_version) == ("우리 봇", "gradio", "app.py", python)
    assert data.sdk_version == importlib.metadata.version("gradio")
    assert (data.suggested_hardware, data.hf_oauth, data.hf_oauth_scopes) == (hardware, True, ["contribute-repos"])
    assert (data.models, data.preload_from_hub) == (["skt/kogpt2-base-v2"], ["skt/kogpt2-base-v2"])
    assert data.startup_duration_timeout == "1h"
    assert len(data.short_description) <= 60
    lines = files["requirements.txt"].decode().splitlines()
    here = importlib.metadata.version("torch").partition("+")[0]
    assert f"torch=={torch or here}" in lines
    assert ("spaces" in lines) == (hardware == "zero-a10g")
    assert any("whl/cpu" in line for line in lines) == (hardware == "cpu-basic")
    assert b"import spaces" in files["app.py"] or hardware != "zero-a10g"


def test_the_requirements_of_a_space_are_those_of_the_package():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))["project"]
    names = {one.split(">=")[0] for one in project["dependencies"]}
    assert {*package.REQUIREMENTS, "gradio"} == names


def test_pairs_stay_here_unless_they_are_asked_for(tmp_path, model, tokenizer):
    from kochat.model import checkpoint
    from kochat.model.cards import Card

    pairs = [("안녕", "반가워요.", "0")]
    mine = checkpoint.save(tmp_path / "mine", model, tokenizer, Card(["0"]), pairs=pairs, validation=pairs)
    files, left = space.space_files(REPO, mine, "zero-a10g")
    assert left == ("pairs.csv.xz", "validation.csv.xz")
    assert not any(name.startswith("kochat/shipped/mine/") and name.endswith(".xz") for name in files)
    files, left = space.space_files(REPO, mine, "zero-a10g", with_pairs=True)
    assert (left, "kochat/shipped/mine/pairs.csv.xz" in files) == ((), True)


def test_again_it_writes_only_what_has_changed_and_takes_away_what_is_gone(server, tiny_checkpoint):
    deploy(tiny_checkpoint)
    repo = server.pushed["spaces", REPO]
    assert not deploy(tiny_checkpoint).is_changed
    repo.files |= {"kochat/old.py": b"", "notes.md": b"mine"}
    again = deploy(tiny_checkpoint, hardware="t4-small", secrets={"S": "1"}, variables={"V": "2"}, bucket="club/disk")
    assert (again.is_new, again.is_changed) == (False, True)
    assert sorted(repo.commits[-1]) == ["README.md", "app.py", "kochat/old.py", "requirements.txt"]
    assert "notes.md" in repo.files
    assert (repo.hardware, repo.sleeps_after, repo.secrets) == ("t4-small", 3600, {"S": "1"})
    assert repo.variables == {"V": "2", "KOCHAT_SYNC": "/bucket"}
    assert repo.volumes == [{"type": "bucket", "source": "club/disk", "mountPath": "/bucket"}]
    assert server.buckets == {"club/disk"}
    before = len(server.requests)
    deploy(tiny_checkpoint, hardware="t4-small", bucket="club/disk")
    assert not [one for one in server.requests[before:] if one.endswith(("/hardware", "/volumes")) and "GET" not in one]


def test_a_new_space_has_its_bucket_from_the_start(server, tiny_checkpoint):
    deploy(tiny_checkpoint, bucket="somebody/disk")
    assert server.pushed["spaces", REPO].volumes[0]["source"] == "somebody/disk"
    assert server.pushed["spaces", REPO].variables == {"KOCHAT_SYNC": "/bucket"}


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"token": None}, "hub_no_token"),
        ({"token": "hf_read"}, "hub_no_rights"),
        ({"repo": "another/talk"}, "hub_no_rights"),
        ({"repo": "somebody/말"}, "hub_bad_name"),
        ({"hardware": "abacus"}, "hub_no_hardware"),
        ({"refused": {"create": 402}}, "hub_space_payment"),
        ({"refused": {"create": 409}}, "hub_taken"),
        ({"refused": {"create": 429}}, "hub_too_many"),
        ({"refused": {"commit": 500}}, "hub_broken_off"),
        ({"refused": {"bucket": 403}}, "hub_no_rights"),
        ({"dropped": {"offered"}}, "hub_broken_off"),
        ({"dropped": {"create"}}, "hub_broken_off"),
        ({"dropped": {"upload"}}, "hub_broken_off"),
        ({"dropped": {"commit"}}, "hub_broken_off"),
    ],
)
def test_each_failure_has_its_sentence_and_leaves_nothing(server, tiny_checkpoint, monkeypatch, change, key):
    if "token" in change:
        token = change["token"]
        monkeypatch.setenv("HF_TOKEN", token) if token else monkeypatch.delenv("HF_TOKEN")
    server.refused, server.dropped = change.get("refused", {}), change.get("dropped", set())
    repo, options = change.get("repo", REPO), {"hardware": change.get("hardware", "zero-a10g")}
    with pytest.raises(HubError) as raised:
        space.deploy_space(repo, tiny_checkpoint, bucket="somebody/disk", **options)
    assert raised.value.key == key
    assert (server.pushed, server.buckets) == ({}, set())
    if server.dropped:  # run again it goes on
        server.dropped = set()
        assert space.deploy_space(repo, tiny_checkpoint).is_changed


def test_a_bucket_that_everybody_can_see_is_not_attached(server, tiny_checkpoint):
    server.buckets = server.public_buckets = {"somebody/disk"}
    with pytest.raises(HubError) as raised:
        deploy(tiny_checkpoint, bucket="somebody/disk")
    assert (raised.value.key, server.pushed) == ("sync_is_public", {})


def test_what_a_payment_is_for_and_what_costs_nothing_is_said(server, tiny_checkpoint):
    deploy(tiny_checkpoint)
    server.refused = {"hardware": 402}
    with pytest.raises(HubError) as raised:
        deploy(tiny_checkpoint, hardware="t4-small")
    for language in ("en", "ko"):
        for word in ("Nvidia T4 small", "zero-a10g", "kochat deploy web"):
            assert word in raised.value.text(language)


@pytest.mark.parametrize("sdk", ["static", "gradio", "docker"])
def test_another_space_is_left_alone(server, tiny_checkpoint, sdk):
    tag = "cats" if sdk == "gradio" else "kochat"
    readme = f"---\ntags: [{tag}]\n---\n".encode()
    server.pushed["spaces", REPO] = Pushed(sdk=sdk, files={"README.md": readme}, commits=[[], ["README.md"]])
    with pytest.raises(HubError) as raised:
        deploy(tiny_checkpoint)
    assert raised.value.key == "hub_taken"
    assert not [one for one in server.requests if not one.startswith("GET")]


def test_a_space_that_was_renamed_is_found_under_its_old_name(server, tiny_checkpoint):
    deploy(tiny_checkpoint)
    server.pushed["spaces", "somebody/new"] = server.pushed.pop(("spaces", REPO))
    server.renamed = {REPO: "somebody/new"}
    made = deploy(tiny_checkpoint, title="다른 이름")
    assert (made.url, made.is_new, made.is_changed) == (f"{server.url}/spaces/somebody/new", False, True)
    assert server.pushed.keys() == {("spaces", "somebody/new")}


def test_one_waits_until_it_runs(server, tiny_checkpoint):
    made = deploy(tiny_checkpoint)
    server.stages = ["NO_APP_FILE", "BUILDING", "BUILDING", "APP_STARTING", "RUNNING"]
    said = []
    assert space.wait_for_space(REPO, made.commit, said.append) == "RUNNING"
    assert said == ["NO_APP_FILE", "BUILDING", "APP_STARTING", "RUNNING"]


def test_the_version_of_before_is_not_the_one_that_is_waited_for(server, tiny_checkpoint, monkeypatch):
    deploy(tiny_checkpoint)
    asked = []

    class Later(repository.HfApi):
        def get_space_runtime(self, repo):
            runtime = super().get_space_runtime(repo)
            runtime.raw["sha"] = "old" if len(asked) < 3 else "new"
            asked.append(1)
            return runtime

    monkeypatch.setattr(repository, "HfApi", Later)
    assert space.wait_for_space(REPO, "new") == "RUNNING"
    assert len(asked) == 4


@pytest.mark.parametrize("stage", ["BUILD_ERROR", "RUNTIME_ERROR", "CONFIG_ERROR"])
def test_of_one_that_does_not_start_the_end_of_its_log_is_shown(server, tiny_checkpoint, stage):
    made = deploy(tiny_checkpoint)
    server.stages, server.log = ["BUILDING", stage], "".join(f"line {i}\n" for i in range(50))
    with pytest.raises(HubError) as raised:
        space.wait_for_space(REPO, made.commit)
    assert raised.value.key == "hub_space_failed"
    for language in ("en", "ko"):
        assert raised.value.text(language).endswith("line 48\nline 49")
        assert "line 29\n" not in raised.value.text(language)
    asked = "build" if stage == "BUILD_ERROR" else "run"
    assert server.requests[-1] == f"GET /api/spaces/{REPO}/logs/{asked}"


def test_a_connection_that_is_lost_while_waiting_is_tried_again(server, tiny_checkpoint):
    made = deploy(tiny_checkpoint)
    server.dropped = {"runtime"}
    with pytest.raises(HubError) as raised:
        space.wait_for_space(REPO, made.commit)
    assert raised.value.key == "hub_broken_off"
    assert sum(one.endswith("/runtime") for one in server.requests) >= space.FAILURES_IN_A_ROW


def test_after_a_while_one_is_told_where_it_is(server, tiny_checkpoint):
    made = deploy(tiny_checkpoint)
    server.stages = ["BUILDING"]
    assert space.wait_for_space(REPO, made.commit, patience=0.0) == "BUILDING"


def test_from_the_command_line(server, tiny_checkpoint, monkeypatch):
    monkeypatch.setenv("TOKEN_OF_MINE", "geheim")
    run, own = CliRunner().invoke, ["--checkpoint", str(tiny_checkpoint)]
    dry = run(commands, ["deploy", "--dry-run", REPO, *own])
    assert f"{server.url}/spaces/{REPO} would be made (everybody can see it), with app.py, kochat," in dry.stdout
    assert "ZeroGPU costs nothing" in dry.stderr
    assert server.pushed == {}
    server.stages = ["BUILDING", "RUNNING"]
    made = run(
        commands, ["deploy", REPO, *own, "--hardware", "t4-small", "--secret", "TOKEN_OF_MINE", "--variable", "A=b=c"]
    )
    assert made.stderr.splitlines()[1:] == [
        "Nvidia T4 small costs $0.40 an hour while it runs; an hour without a visitor it sleeps.",
        "building",
        "running",
    ]
    assert made.stdout.splitlines() == [
        f"{server.url}/spaces/{REPO} is written (everybody can see it).",
        f"{server.url}/spaces/{REPO} runs.",
    ]
    repo = server.pushed["spaces", REPO]
    assert (repo.secrets, repo.variables, repo.sleeps_after) == ({"TOKEN_OF_MINE": "geheim"}, {"A": "b=c"}, 3600)
    assert run(commands, ["deploy", REPO, "--secret", "NOT_THERE"]).exit_code == 2


def test_what_goes_up_starts_without_the_rest_of_the_project(tmp_path, monkeypatch, tiny_checkpoint):
    """The files alone, in a folder of their own: the package takes itself to be installed and finds its chatbots."""
    monkeypatch.setattr(space, "package_files", WHOLE_PACKAGE)
    monkeypatch.setattr(space, "DEFAULT_CHECKPOINT", MINI)
    for name, content in space.space_files(REPO, tiny_checkpoint, "cpu-basic")[0].items():
        target = tmp_path / "app" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
    code = (
        "from kochat.config import IS_INSTALLED; from kochat.model import checkpoint;"
        "print(IS_INSTALLED, *checkpoint.list_checkpoints())"
    )
    environment = {"PATH": "", "HOME": str(tmp_path), "KOCHAT_CHECKPOINT": tiny_checkpoint.name}
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "app", env=environment, capture_output=True, text=True
    )
    assert shown.stdout.split() == ["True", tiny_checkpoint.name, "kochat-mini"], shown.stderr
