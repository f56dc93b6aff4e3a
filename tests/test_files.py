"""Files: written whole by whoever writes last, and a disk that does not let us, said in a sentence."""

import errno
import os
import subprocess
import sys
import threading

import pytest
import torch
from conftest import PROJECT
from safetensors.torch import save_file

from kochat import config
from kochat.files import explained, is_disk_full, write_atomically


def test_two_writers_at_once_leave_one_whole_text(home):
    texts = [letter * 100_000 for letter in "가나다"]
    path = home / "card.json"
    writers = [threading.Thread(target=write_atomically, args=(path, text)) for text in texts * 5]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert path.read_text("utf-8") in texts
    assert list(home.iterdir()) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_text_that_cannot_be_written_leaves_the_old_one(home):
    path = home / "card.json"
    write_atomically(path, "alt")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud83d")
    assert [one.read_text("utf-8") for one in home.iterdir()] == ["alt"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR])
def test_a_home_that_is_closed_to_us_names_the_setting(home, number):
    error = explained(OSError(number, os.strerror(number), str(home / "runs" / "x")))
    assert (error.key, error.values) == ("home_not_writable", {"path": home})
    assert "KOCHAT_HOME" in error.text("ko")
    assert explained(OSError(number, os.strerror(number), "/elsewhere")).key == "no_access"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on the size of a file")
@pytest.mark.parametrize("write", [torch.save, save_file], ids=["torch", "safetensors"])
def test_a_full_disk_is_known_in_the_words_of_each_library(tmp_path, write):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # nobody can write more, as on a disk that is full
    try:
        with pytest.raises(Exception, match=r"unexpected pos|os error") as caught:
            write({"a": torch.zeros(10_000)}, tmp_path / "file")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert is_disk_full(caught.value)


def test_a_full_disk_has_its_sentence():
    assert explained(OSError(errno.ENOSPC, "No space left on device")).key == "disk_full"
    assert not is_disk_full(RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: not enough memory"))


def test_what_else_goes_wrong_on_a_disk_stays_what_it_is(home):
    assert explained(FileNotFoundError(errno.ENOENT, "", str(home / "x"))) is None
    assert explained(OSError("no number, no file")) is None


def test_a_clone_of_somebody_elses_is_not_written_to(monkeypatch, tmp_path):
    monkeypatch.delenv("KOCHAT_HOME")
    monkeypatch.delenv("SPACE_ID", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(config, "IS_INSTALLED", False)
    assert config.home() == PROJECT
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert config.home() == tmp_path / "kochat"


@pytest.mark.slow
def test_the_command_line_says_it_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    environment = {**os.environ, "KOCHAT_HOME": str(tmp_path / "file" / "home"), "LC_ALL": "C.UTF-8"}
    words = ["train", "--data", "jobs", "--output", str(tmp_path / "out"), "--epochs", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "kochat", *words], cwd=PROJECT, env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip() == (
        f"Nothing can be written to {tmp_path}/file/home, where kochat keeps checkpoints, runs and datasets. "
        "Set KOCHAT_HOME to a folder of your own and start again."
    )
