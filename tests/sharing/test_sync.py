"""Keeping a home in a folder and on the Hub, by the real client against a stand-in for its server, in this process."""

import json
import os
import shutil
import threading
import time
from types import SimpleNamespace

import pytest
from hub_server import Pushed
from huggingface_hub import file_download

from kochat.config import TrainingConfig
from kochat.data import datasets, pairs, store, taught
from kochat.data.datasets import Dataset
from kochat.errors import SettingsError
from kochat.model import checkpoint
from kochat.runs import queue, registry, worker
from kochat.sharing import sync, sync_targets, versions
from kochat.sharing.sync import Sync, sync_of
from kochat.sharing.sync_targets import FolderTarget, HubTarget, target_of

REPO = "somebody/kept"


@pytest.fixture(params=["folder", "hub"])
def target(request, tmp_path):
    """Makes another client of the same target, as each start of a server does."""
    if request.param == "hub":
        request.getfixturevalue("server")
        return lambda: HubTarget(REPO)
    return folder_target(tmp_path)


def folder_target(tmp_path):
    (tmp_path / "bucket").mkdir()
    return lambda: FolderTarget(tmp_path / "bucket", grace=0.0)


@pytest.fixture
def bucket(tmp_path):
    return folder_target(tmp_path)


@pytest.fixture
def at(tmp_path, monkeypatch):
    """Let this process be at another home, an empty one where there was none."""

    def go(name):
        monkeypatch.setenv("KOCHAT_HOME", str(tmp_path / name))
        (tmp_path / name).mkdir(exist_ok=True)
        return tmp_path / name

    return go


def begin(target) -> Sync:
    made = Sync(target() if callable(target) else target)
    made.bring()
    return made


def save(home, name, content="weights"):
    """Something that looks like a checkpoint."""
    folder = home / "checkpoints" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_text(content)
    (folder / "kochat.json").write_text("{}")
    return folder


def read(home) -> dict[str, str]:
    """What is in a home, but for what is hidden and for what is in datasets."""
    found = {path.relative_to(home).as_posix(): path for path in home.rglob("*") if path.is_file()}
    return {
        name: path.read_text() if not name.endswith(".pairs") else rows(path)
        for name, path in found.items()
        if not name.startswith(".sync") and "/." not in name
    }


def rows(path) -> str:
    return " ".join(f"{row.Q}={row.A}" for row in Dataset(path).page(0, 100)[0])


def a_run(home, name, data="emotions"):
    return queue.create(TrainingConfig(data=data, rows=60, output=str(home / "checkpoints" / name)))


def with_state(run, name="000001-000000010", content="state"):
    (run.state_folder / name).mkdir(parents=True)
    (run.state_folder / name / "model.safetensors").write_text(content)
    return run


def test_an_empty_home_gets_back_what_was_made_in_another(target, at):
    home = at("one")
    ours = begin(target)
    save(home, "우리 봇")
    datasets.empty(home / "datasets", "shop").add("언제 열어요?", "열 시요.", "0")
    taught.open_taught(home / "visitors" / "0123").add("안녕", "반가워요", "0")
    (home / "visitors" / "waiting.jsonl").write_text('{"row": 1}\n')
    kept = pairs.keep(b"Q,A,label\r\n" + b"a,b,0\r\n" * 60, "my.csv", home / "uploads")
    pairs.keep(b"Q,A\r\nc,d\r\n", "other.csv", home / "uploads")  # no run needs it
    run = with_state(a_run(home, "우리 봇-2", str(kept)))
    (run.path / "reserve").write_bytes(bytes(10))
    assert ours.copy()
    assert not ours.copy()
    before = read(home)
    there = at("two")
    begin(target)
    assert read(there) == {name: text for name, text in before.items() if not name.endswith(("reserve", "other.csv"))}
    assert checkpoint.list_checkpoints(for_chat=False).keys() - {"kochat-mini"} == set()  # these files are no model
    assert (there / "checkpoints" / "우리 봇" / "kochat.json").is_file()


def test_only_what_has_changed_is_copied(bucket, at, tmp_path):
    home = at("one")
    ours = begin(bucket)
    save(home, "a")
    run = with_state(a_run(home, "b"))
    ours.copy()
    before = set(sync_targets._files_of(tmp_path / "bucket"))
    run.write("preparing", what="starting")
    os.utime(home / "checkpoints" / "a" / "model.safetensors")  # the same content
    assert ours.copy()
    new = sorted(set(sync_targets._files_of(tmp_path / "bucket")) - before)
    id = new[0].split("/")[2]
    assert new == [f"runs/b/{id}/events.jsonl", f"versions/{id}.json"]
    there = at("two")
    begin(bucket)
    assert read(there) == read(home)


def test_what_is_deleted_does_not_come_back(target, at):
    home = at("one")
    ours = begin(target)
    save(home, "a")
    path = datasets.empty(home / "datasets", "d").path
    ours.copy()
    shutil.rmtree(home / "checkpoints" / "a")
    path.unlink()
    assert ours.copy()
    begin_again = at("two")
    begin(target)
    assert read(begin_again) == {}
    third = at("three")
    begin(target)
    assert read(third) == {}
    assert versions.read(fetched(target, third)) == {}


def fetched(target, home):
    made = target()
    made.prepare()
    return made.fetch(home / "fetched")


def test_two_who_change_the_same_both_keep_it_and_the_first_one_keeps_the_name(target, at):
    home = at("start")
    save(home, "bot", "0")
    datasets.empty(home / "datasets", "shop").add("q", "0", "0")
    begin(target).copy()
    one, two = at("one"), at("two")
    servers = {}
    for place in (one, two):
        at(place.name)
        servers[place] = begin(target)
        save(place, "bot", place.name)
        Dataset(place / "datasets" / "shop.pairs").add("q", place.name, "0")
        save(place, f"only-{place.name}")
    save(at("start"), "unused")
    for place in (one, two):
        at(place.name)
        servers[place].copy()
    third = at("three")
    begin(target).copy()
    both = read(third)
    assert (both["checkpoints/bot/model.safetensors"], both["checkpoints/bot-2/model.safetensors"]) == ("one", "two")
    assert (both["datasets/shop.pairs"], both["datasets/shop-2.pairs"]) == ("q=0 q=one", "q=0 q=two")
    assert {"checkpoints/only-one/kochat.json", "checkpoints/only-two/kochat.json"} <= both.keys()
    # From now on these are two, whoever starts and whatever becomes of the first.
    fourth = at("four")
    servers[fourth] = begin(target)
    assert read(fourth) == both
    shutil.rmtree(fourth / "checkpoints" / "bot")
    servers[fourth].copy()
    fifth = at("five")
    begin(target)
    assert read(fifth) == {name: text for name, text in both.items() if not name.startswith("checkpoints/bot/")}


def test_what_was_changed_stays_where_another_one_deletes_it(bucket, at):
    save(at("start"), "bot", "0")
    begin(bucket).copy()
    one, two = at("one"), at("two")
    at("one")
    deletes = begin(bucket)
    at("two")
    changes = begin(bucket)
    save(two, "bot", "changed")
    changes.copy()
    at("one")
    shutil.rmtree(one / "checkpoints" / "bot")
    deletes.copy()
    three = at("three")
    begin(bucket)
    assert read(three)["checkpoints/bot/model.safetensors"] == "changed"
    assert len(list((three / "checkpoints").iterdir())) == 1


def test_a_home_that_lasts_keeps_what_is_its_own_and_follows_what_it_has_not_changed(bucket, at):
    lasting = at("lasting")
    for name in ("same", "changed here", "changed there"):
        save(lasting, name, "0")
    ours = begin(bucket)
    ours.copy()
    ours.end()
    elsewhere = at("elsewhere")
    other = begin(bucket)
    save(elsewhere, "changed there", "new")
    save(elsewhere, "unknown", "theirs")
    other.copy()
    at("lasting")
    save(lasting, "changed here", "new")
    save(lasting, "unknown", "ours")
    save(lasting, "same as theirs", "0")
    begin(bucket).copy()
    contents = {name.split("/")[1]: text for name, text in read(lasting).items() if name.endswith("safetensors")}
    assert contents == {
        "same": "0",
        "changed here": "new",
        "changed there": "new",
        "unknown": "ours",
        "unknown-2": "theirs",
        "same as theirs": "0",
    }
    third = at("third")
    begin(bucket)
    assert read(third) == read(lasting)


def test_nothing_is_replaced_while_people_use_it(bucket, at):
    lasting = at("lasting")
    save(lasting, "bot", "0")
    ours = begin(bucket)
    ours.copy()
    ours.end()
    elsewhere = at("elsewhere")
    save(elsewhere, "bot", "new")
    other = begin(bucket)
    other.copy()
    at("lasting")
    late = Sync(bucket())
    late._is_serving = True  # brought by the thread, since it could not be at the start
    late.bring()
    assert read(lasting)["checkpoints/bot/model.safetensors"] == "0"


@pytest.mark.slow
def test_a_run_is_interrupted_where_it_comes_back_and_goes_on_from_its_state(bucket, at, tiny_base, monkeypatch):
    monkeypatch.setattr(queue, "dispatch", lambda: None)
    home = at("one")
    ours = begin(bucket)
    data = pairs.keep(pairs.as_csv(pairs.read_pairs("emotions")[:60]), "my.csv", home / "uploads")
    settings = {"data": str(data), "epochs": 2, "precision": "float32", "base": str(tiny_base)}
    run = queue.create(TrainingConfig(**settings, output=str(home / "checkpoints" / "mine")), os.getpid())
    assert worker.execute_slice(run, 0.0)
    assert run.state() == "running"  # this process lives
    step = run.record().last_step()["step"]
    ours.copy()
    ours.end()
    shutil.rmtree(home)
    begin(bucket)
    [again] = registry.list_runs()
    assert (again.state(), again.has_state(), again.failure().key) == ("interrupted", True, "run_killed")
    queue.resume(again)
    assert not worker.execute_slice(again, 600.0)
    assert again.state() == "finished"
    started = [event for event in again.events() if event["type"] == "started"]
    assert [event.get("at_step", 0) for event in started] == [0, step]
    assert "mine" in checkpoint.list_checkpoints()


def test_a_dataset_is_copied_whole_while_somebody_changes_it(bucket, at):
    home = at("one")
    ours = begin(bucket)
    taught_rows = datasets.empty(home / "datasets", "d")
    taught_rows.add("q", "0", "0")
    with store.transaction(taught_rows.path, write=True) as db:
        db.execute("INSERT INTO rows (Q, A, label, own) VALUES ('q', 'half', '0', '')")
        ours.copy()
    ours.copy()
    two = at("two")
    begin(bucket)
    assert rows(two / "datasets" / "d.pairs") == "q=0 q=half"
    with store.transaction(two / "datasets" / "d.pairs") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_rows_taught_while_it_copies_are_all_there_in_the_end(bucket, at):
    home = at("one")
    ours = begin(bucket)
    dataset = datasets.empty(home / "datasets", "d")

    def teach():
        for number in range(40):
            dataset.add(f"{number}", "a", "0")

    teaching = threading.Thread(target=teach)
    teaching.start()
    while teaching.is_alive():
        ours.copy()
    ours.copy()
    two = at("two")
    begin(bucket)
    assert rows(two / "datasets" / "d.pairs") == " ".join(f"{number}=a" for number in range(40))


def test_a_damaged_dataset_stops_nothing_else(bucket, at, caplog):
    home = at("one")
    ours = begin(bucket)
    (home / "datasets").mkdir()
    (home / "datasets" / "bad.pairs").write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    save(home, "bot")
    for _ in range(2):
        ours.copy()
    assert ours.unreadable == ("datasets/bad.pairs",)
    assert caplog.text.count("bad.pairs") == 1
    two = at("two")
    begin(bucket)
    assert read(two).keys() == {"checkpoints/bot/kochat.json", "checkpoints/bot/model.safetensors"}


@pytest.mark.parametrize("harm", ["cut", "gone", "changed"])
def test_what_is_torn_does_not_come_back_but_what_was_before_it_does(at, tmp_path, harm):
    root = tmp_path / "bucket"
    root.mkdir()
    home = at("one")
    ours = begin(FolderTarget(root))  # with its time of grace
    save(home, "bot", "before")
    ours.copy()
    before = set(root.rglob("model.safetensors"))
    save(home, "bot", "after it")
    ours.copy()
    [newest] = set(root.rglob("model.safetensors")) - before
    if harm == "gone":
        newest.unlink()
    else:
        newest.write_text("after" if harm == "cut" else "other it")
    two = at("two")
    brought = begin(FolderTarget(root))
    assert read(two)["checkpoints/bot/model.safetensors"] == "before"
    assert newest.with_name("kochat.json").is_file()  # the rest of it may arrive yet
    # A version itself that is cut off is none.
    brought.end()
    [version] = [path for path in (root / "versions").iterdir() if newest.parent.name in path.name]
    version.write_text(version.read_text()[:-20])
    three = at("three")
    begin(FolderTarget(root))
    assert read(three)["checkpoints/bot/model.safetensors"] == "before"


def test_versions_that_name_a_place_outside_are_left_out(bucket, at, tmp_path):
    root = tmp_path / "bucket"
    (root / "versions").mkdir()
    (root / "x").write_text("x")
    good = {"path": "x", "sha256": "", "size": 1}
    for number, (item, name, path) in enumerate(
        [
            ("checkpoints/../../evil", "a", "x"),
            ("checkpoints/evil", "../../evil", "x"),
            ("checkpoints/evil", "a", "../one/secret"),
            ("checkpoints/evil", "a", "/etc/passwd"),
            ("checkpoints/.evil", "a", "x"),
            (".sync/evil", "a", "x"),
            ("datasets", "", "x"),
            ("datasets/evil.pairs", "a", "x"),
            ("checkpoints\\..\\evil", "a", "x"),
        ]
    ):
        version = {"id": f"v{number}", "item": item, "parents": [], "files": {name: good | {"path": path}}}
        (root / "versions" / f"v{number}.json").write_text(json.dumps(version))
    (root / "versions" / "w.json").write_text("[5]")
    home = at("one")
    begin(bucket)
    assert read(home) == {}
    assert versions.read(root) == {}


def test_a_folder_that_is_not_there_is_not_made(at, tmp_path):
    home = at("one")
    save(home, "bot")
    ours = Sync(FolderTarget(tmp_path / "not mounted"))
    with pytest.raises(SettingsError) as raised:
        ours.bring()
    assert (raised.value.key, (tmp_path / "not mounted").exists()) == ("sync_no_folder", False)


def test_a_home_that_was_wiped_deletes_nothing_in_the_target(target, at):
    home = at("one")
    save(home, "bot")
    ours = begin(target)
    ours.copy()
    shutil.rmtree(home)
    home.mkdir()
    with pytest.raises(SettingsError) as raised:
        ours.copy()
    assert raised.value.key == "sync_home_gone"
    at("two")
    begin(target)
    assert "checkpoints/bot/kochat.json" in read(at("two"))


def test_two_processes_in_one_home_copy_it_once(bucket, at):
    at("one")
    begin_first = begin(bucket)
    with pytest.raises(SettingsError) as raised:
        begin(bucket)
    assert raised.value.key == "sync_twice"
    begin_first.end()
    begin(bucket)


def test_what_nobody_needs_any_more_is_deleted(at, tmp_path):
    root = tmp_path / "bucket"
    root.mkdir()
    home = at("one")
    ours = begin(FolderTarget(root, grace=0.0))
    for number in range(4):
        save(home, "bot", str(number))
        ours.copy()
    assert len(list(root.rglob("model.safetensors"))) == 1
    litter = root / "checkpoints" / "bot" / "20200101-000000-000000-0123abcd-ff" / "model.safetensors"
    litter.parent.mkdir()
    litter.write_text("never finished")
    (root / "mine.txt").write_text("somebody's own")
    at("two")
    begin(FolderTarget(root))
    assert not litter.parent.exists()
    assert (root / "mine.txt").is_file()
    assert read(at("two"))["checkpoints/bot/model.safetensors"] == "3"


def test_a_file_that_another_one_took_away_is_copied_again(target, at):
    home = at("one")
    save(home, "bot", "large")
    ours = begin(target)
    ours.copy()
    [version] = versions.read(fetched(target, at("look"))).values()
    at("look")
    cleaner = target()
    cleaner.prepare()
    cleaner.fetch(at("look") / "again")
    cleaner.clean([version.files["model.safetensors"].path])
    at("one")
    (home / "checkpoints" / "bot" / "kochat.json").write_text("{1}")
    assert ours.copy()
    two = at("two")
    begin(target)
    assert read(two) == read(home)


def test_secrets_and_what_is_not_whole_are_not_copied(bucket, at):
    home = at("one")
    begun = save(home, "bot")
    (begun / ".key").write_text("secret")
    for folder in ("checkpoints/.bot.part-1", "datasets/.part-1", "cache", "gradio", "checkpoints/no card"):
        (home / folder).mkdir(parents=True)
        (home / folder / "file").write_text("x")
    (home / "token").write_text("hf_secret")
    (home / "datasets" / "d.pairs-journal").write_text("x")
    (home / "checkpoints" / "link").symlink_to(begun)
    assert versions.items().keys() == {"checkpoints/bot"}
    assert versions.items()["checkpoints/bot"].keys() == {"model.safetensors", "kochat.json"}


# The Hub.


def test_the_repository_is_made_private_and_says_what_it_is(server, at):
    save(at("one"), "bot")
    ours = begin(target_of(REPO))
    repo = server.pushed["datasets", REPO]
    assert repo.private
    assert "kochat-sync" in repo.files["README.md"].decode()
    commits = len(repo.commits)
    ours.copy()
    assert len(repo.commits) == commits + 1
    assert not ours.copy()
    assert len(repo.commits) == commits + 1


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"refused": {"create": 403}}, "hub_no_rights"),
        ({"refused": {"whoami": 429}}, "hub_too_many"),
        ({"dropped": {"create"}}, "hub_broken_off"),
        ({"broken": True}, "hub_broken_off"),
        ({"status": 503}, "hub_broken_off"),
        ({"token": "hf_read"}, "hub_no_rights"),
        ({"token": "hf_wrong"}, "hub_wrong_token"),
        ({"token": None}, "hub_no_token"),
        ({"there": Pushed(private=False)}, "sync_is_public"),
        ({"there": Pushed(private=True, files={"data.csv": b"", "README.md": b"hi"})}, "hub_taken"),
    ],
)
def test_why_nothing_can_be_kept_is_said(server, at, monkeypatch, change, key):
    at("one")
    if "token" in change:
        monkeypatch.setenv("HF_TOKEN", change["token"]) if change["token"] else monkeypatch.delenv("HF_TOKEN")
    if "there" in change:
        server.pushed["datasets", REPO] = change["there"]
    for name in change.keys() - {"token", "there"}:
        setattr(server, name, change[name])
    ours = sync_of(REPO)
    assert not ours.attempt()
    assert (ours.failure.key, ours.is_brought) == (key, False)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"refused": {"commit": 429}}, "hub_too_many"),
        ({"refused": {"commit": 403}}, "hub_no_rights"),
        ({"dropped": {"preupload"}}, "hub_broken_off"),
        ({"dropped": {"commit"}}, "hub_broken_off"),
        ({"refused": {"upload": 500}}, "hub_broken_off"),
        ({"refused": {"info": 401}}, "hub_no_rights"),
        ({"broken": True}, "hub_broken_off"),
        ({"lost": True}, "hub_broken_off"),
    ],
)
def test_what_fails_is_written_the_next_time_and_once(server, at, change, key):
    home = at("one")
    ours = begin(target_of(REPO))
    save(home, "bot", "w" * 20_000)
    for name, value in change.items():
        setattr(server, name, value)
    assert not ours.attempt()
    assert ours.failure.key == key
    for name in change:
        setattr(server, name, {"refused": {}, "dropped": set()}.get(name, False))
    (home / "checkpoints" / "bot" / "kochat.json").write_text("{1}")
    assert ours.attempt()
    assert ours.failure is None
    two = at("two")
    begin(target_of(REPO))
    assert read(two) == read(home)  # and not a second time, as bot-2


def test_what_arrived_unheard_and_was_taken_back_does_not_come_back(server, at):
    home = at("one")
    ours = begin(target_of(REPO))
    save(home, "bot", "before")
    ours.copy()
    save(home, "bot", "after")
    save(home, "new")
    server.lost = True
    assert not ours.attempt()
    server.lost = False
    save(home, "bot", "before")
    shutil.rmtree(home / "checkpoints" / "new")
    assert ours.attempt()
    two = at("two")
    begin(target_of(REPO))
    assert read(two) == read(home)


@pytest.mark.parametrize("change", [{"cut_after": 5_000}, {"dropped": {"tree"}}, {"dropped": {"resolve"}}])
def test_a_start_whose_connection_is_lost_brings_nothing_half_and_all_of_it_later(server, at, monkeypatch, change):
    monkeypatch.setattr(file_download, "time", SimpleNamespace(**vars(time) | {"sleep": lambda seconds: None}))
    home = at("one")
    save(home, "bot", "w" * 20_000)
    save(home, "other")
    begin(target_of(REPO)).copy()
    two = at("two")
    ours = sync_of(REPO)
    for name, value in change.items():
        setattr(server, name, value)
    assert not ours.attempt()
    assert (ours.failure.key, ours.is_brought, read(two)) == ("sync_not_read", False, {})
    save(two, "other", "made meanwhile")
    server.cut_after, server.dropped = None, set()
    assert ours.attempt()
    assert read(two)["checkpoints/other/model.safetensors"] == "made meanwhile"
    assert read(two)["checkpoints/other-2/model.safetensors"] == "weights"
    assert read(two)["checkpoints/bot/model.safetensors"] == "w" * 20_000


def test_a_commit_of_another_one_in_between_is_no_loss(server, at):
    home = at("one")
    ours = begin(target_of(REPO))
    other_home = at("two")
    other = begin(target_of(REPO))
    save(other_home, "theirs")

    def in_between():
        at("two")
        other.copy()
        at("one")

    at("one")
    save(home, "ours")
    server.before_commit = in_between
    assert ours.copy()
    third = at("three")
    begin(target_of(REPO))
    assert {name.split("/")[1] for name in read(third)} == {"ours", "theirs"}


def test_a_repository_that_is_opened_to_all_gets_nothing_more_and_one_that_is_gone_is_made_again(server, at):
    home = at("one")
    save(home, "bot")
    ours = begin(target_of(REPO))
    ours.copy()
    server.pushed["datasets", REPO].private = False
    save(home, "secret")
    assert not ours.attempt()
    assert ours.failure.key == "sync_is_public"
    assert not any("secret" in name for name in server.pushed["datasets", REPO].files)
    del server.pushed["datasets", REPO]
    assert ours.attempt()  # a new one, which gets everything
    assert server.pushed["datasets", REPO].private
    two = at("two")
    begin(target_of(REPO))
    assert read(two) == read(home)


def test_a_long_history_goes(server, at, monkeypatch):
    monkeypatch.setattr(sync_targets, "MAX_COMMITS", 3)
    home = at("one")
    ours = begin(target_of(REPO))
    for number in range(4):
        save(home, "bot", str(number))
        ours.copy()
    save(home, "bot", "4")
    another = at("two")
    save(another, "bot", "5")
    begin(target_of(REPO)).copy()
    at("three")
    begin(target_of(REPO))
    assert len(server.pushed["datasets", REPO].commits) == 1


# In the background.


def test_it_copies_by_itself_and_once_more_in_the_end(bucket, at, monkeypatch):
    monkeypatch.setattr(sync, "EVERY", 0.02)
    home = at("one")
    ours = Sync(bucket())
    ours.start()
    save(home, "a")
    wait_for(lambda: ours.copied_at and list(bucket().root.rglob("kochat.json")))
    monkeypatch.setattr(sync, "EVERY", 600.0)
    save(home, "b")
    ours.end()
    two = at("two")
    begin(bucket)
    assert {name.split("/")[1] for name in read(two)} == {"a", "b"}


def test_what_is_finished_is_copied_at_once(bucket, at):
    home = at("one")
    ours = Sync(bucket())
    ours.start()
    save(home, "a")
    ours.notice("revision-1")
    wait_for(lambda: list(bucket().root.rglob("kochat.json")))
    ours.end()


def test_after_a_failure_it_waits_longer_each_time_and_says_so_once(tmp_path, at, monkeypatch, caplog):
    at("one")
    ours = Sync(FolderTarget(tmp_path / "bucket"))
    pauses = []
    monkeypatch.setattr(ours._ending, "wait", lambda seconds: pauses.append(seconds) or len(pauses) > 9)
    monkeypatch.setattr(ours._ending, "is_set", lambda: len(pauses) > 8)
    ours.start(pause=0.0)
    ours._thread.join(10)
    assert pauses == [120.0, 240.0, 480.0, 900.0, 900.0, 900.0, 900.0, 900.0, 900.0]
    assert caplog.text.count("is not kept in") == 1
    (tmp_path / "bucket").mkdir()
    assert ours.attempt()
    assert ours.failure is None


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
