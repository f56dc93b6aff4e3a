"""Fixtures: an isolated home, a tiny tokenizer and model (2 layers, width 8), pairs to train on.

Tests that need real data, from the folder in KOCHAT_TEST_DATA, are marked `data`, and skipped where it is missing.
"""

import contextlib
import functools
import os
import socket
import sys
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import forked
import pandas as pd
import psutil
import pytest
import torch
import typer.main
import typer.testing
from transformers import GPT2Config, GPT2LMHeadModel

from kochat.data import pairs
from kochat.inference.computing import computed
from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.model.gpt2 import make_model
from kochat.model.tokenizer import make_tokenizer
from kochat.runs.registry import Run

pytest_plugins = ["browser_tools"]

PROJECT = Path(__file__).resolve().parent.parent
MINI = PROJECT / "checkpoints" / "kochat-mini"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    """Nothing a test writes lands in the project."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("KOCHAT_HOME", str(folder))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of the processes that it starts; their models are tiny
    return folder


def compute_in(threads: int) -> None:
    """Let torch compute in so many threads, in this thread and in the one that replies are computed in."""
    torch.set_num_threads(threads)
    computed(torch.set_num_threads)(threads)


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    compute_in(1)


@pytest.fixture(scope="session", autouse=True)
def _commands_made_once():
    """Typer makes all commands anew whenever a test calls one, which takes longer than most of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.testing, "_get_command", functools.cache(typer.main.get_command))
        yield


@pytest.fixture(scope="session")
def sample() -> pd.DataFrame:
    """The shipped pairs, the same questions under labels 0, 1 and 2."""
    return pairs.read_pairs("emotions")


@pytest.fixture(scope="session")
def chatbot_data() -> Path:
    """ChatbotData.csv of the folder with the test data; whoever lacks it skips the test."""
    folder = Path(os.environ.get("KOCHAT_TEST_DATA", PROJECT.parent / "shared" / "data"))
    if not (folder / "ChatbotData.csv").is_file():
        pytest.skip("needs ChatbotData.csv in the folder KOCHAT_TEST_DATA")
    return folder / "ChatbotData.csv"


@pytest.fixture(scope="session")
def tokenizer(sample):
    """A tokenizer of 600 tokens, trained on the sample, bytes for everything else."""
    return make_tokenizer([*sample["Q"], *sample["A"]], vocabulary=600, alphabet=200)


@pytest.fixture
def model(tokenizer):
    """A fresh model of 2 layers and width 8, for 96 positions."""
    return make_model(tokenizer, layers=2, width=8, heads=2, positions=96, seed=0)


@pytest.fixture
def tiny_base(tmp_path, model, tokenizer) -> Path:
    """A complete base on disk that was not trained to answer."""
    defaults = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-2, "max_length": 64}
    return checkpoint.save(tmp_path / "tiny-base", model, tokenizer, Card(max_length=64, defaults=defaults))


@pytest.fixture
def tiny_checkpoint(tmp_path, model, tokenizer) -> Path:
    """A complete checkpoint on disk with the labels 0, 1 and 2; untrained, so it talks nonsense."""
    return checkpoint.save(tmp_path / "tiny", model, tokenizer, Card(labels=["0", "1", "2"], max_length=64))


@pytest.fixture
def bot(tiny_checkpoint):
    """A Chatbot over the tiny checkpoint."""
    from kochat.inference.chatbot import load

    return load(tiny_checkpoint)


@pytest.fixture
def processes():
    """Starts processes that need not import torch anew, each in a moment: see forked.py."""
    return forked


@pytest.fixture
def forked_runs(processes, home, monkeypatch):
    """Runs are started as such processes, where it does not matter what a whole one does before."""
    processes.instead_of_processes(monkeypatch)


def plain_model(bot) -> GPT2LMHeadModel:
    """The model of a Chatbot as transformers would compute it."""
    model = GPT2LMHeadModel(GPT2Config(**bot.weights.config))
    tensors = {name: tensor for name, tensor in bot.weights.tensors.items() if name != "lm_head.weight"}
    model.transformer.load_state_dict(tensors)
    return model.eval()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class App:
    """The real app in a process of its own, as `python app.py` starts it."""

    def __init__(self, home: Path, **settings: str):
        self.home, self.url = home, f"http://127.0.0.1:{_free_port()}"
        self.log = home / "app.log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "GRADIO_"))}
        environment |= {
            "KOCHAT_HOME": str(home),
            "KOCHAT_NO_BROWSER": "1",
            "OMP_NUM_THREADS": "1",  # beside Chromium two threads wait for each other most of the time
            "GRADIO_SERVER_PORT": self.url.rsplit(":", 1)[1],
            "HF_ENDPOINT": forked.NOBODY,
        }
        self.environment = environment | settings
        self.start()

    def start(self) -> None:
        """Start it, at the same address as before, and wait until the page answers."""
        self.process = self._start()
        self.wait()

    def _start(self) -> psutil.Process:
        with self.log.open("ab") as log:
            return psutil.Popen([sys.executable, "app.py"], cwd=PROJECT, env=self.environment, stdout=log, stderr=log)

    def kill(self) -> None:
        """End the app at once; what it has started lives on."""
        self.process.kill()
        self.process.wait()

    def kill_trainings(self) -> None:
        """End the processes of all its runs at once."""
        for folder in self.home.glob("runs/*/"):
            with contextlib.suppress(psutil.NoSuchProcess, TypeError):  # it has ended, or was never started
                training = Run(folder).record().process
                process = psutil.Process(training["pid"])
                if process.create_time() == training["created"] and process != self.process:
                    process.kill()

    def wait(self, seconds: float = 120) -> None:
        """Return when the page answers."""
        end = time.monotonic() + seconds
        while True:
            try:
                urllib.request.urlopen(self.url, timeout=5).close()
                return
            except OSError:
                assert self.process.is_running(), self.log.read_text()
                assert self.process.status() != psutil.STATUS_ZOMBIE, self.log.read_text()
                assert time.monotonic() < end, self.log.read_text()
                time.sleep(0.1)

    def close(self) -> None:
        """End the app and whatever it is training."""
        self.kill()
        self.kill_trainings()


class ForkedApp(App):
    """The same, there in a moment: see forked.py."""

    def _start(self) -> psutil.Process:
        return psutil.Process(forked.start_app(self.environment, self.log).pid)


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """A running app with an empty home, for the tests of one file."""
    with contextlib.closing(ForkedApp(tmp_path_factory.mktemp("app"))) as running:
        yield running


# Where several processes share the tests, one begins with these, which take longest; the other browsers come last, when
# the quick tests are done and a process would be idle.
FIRST_BROWSERS = ("test_browser.py", "test_browser_data.py", "test_browser_explain.py")


def pytest_collection_modifyitems(items):
    """Quick tests first, then those with processes and trainings, those with browsers last; but see FIRST_BROWSERS."""
    is_shared = "PYTEST_XDIST_WORKER" in os.environ

    def place(item) -> int:
        if "browser" in item.path.parts:
            return -1 if is_shared and item.path.name in FIRST_BROWSERS else 2
        return 1 if item.get_closest_marker("slow") else 0

    for item in items:
        if "chatbot_data" in item.fixturenames:
            item.add_marker("data")
        if {"app", "browser", "processes"} & set(item.fixturenames):
            item.add_marker("slow")
    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file's tests stay together in one process, and so do the browsers that come first: two at once take longer."""
    from xdist.scheduler import LoadFileScheduling

    class FirstBrowsersTogether(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::")[0]
            is_first = file.startswith("tests/browser/") and file.endswith(FIRST_BROWSERS)
            return "browser" if is_first else super()._split_scope(nodeid)

    return FirstBrowsersTogether(config, log)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A Hub where nothing is yet, and its client with a token that may write; retries wait for nothing."""
    import huggingface_hub.utils._http as client
    from hub_server import HubServer
    from huggingface_hub import constants

    with HubServer({}) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        # What goes up through Rust is not for a server like this one.
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        files = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(client, "time", SimpleNamespace(**vars(time) | {"sleep": lambda seconds: None}))
        monkeypatch.setenv("HF_TOKEN", "hf_write")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield server
