"""The Hub: the real client against a stand-in for its server, in a process of its own, since it reads its address once.

One process serves all tests; each has a repository name of its own, so nothing is in the cache before.
"""

import json
import subprocess
import sys
import time

import pytest
from conftest import PROJECT
from hub_server import HubServer
from kogpt2_like import write_kogpt2_like
from transformers import GPT2LMHeadModel

from kochat.config import KOGPT2
from kochat.model import checkpoint
from kochat.model.hub import TIMEOUT, looks_like_hub_id

CLIENT = """
import json, sys
from kochat.model import checkpoint, hub
from kochat.inference.chatbot import Chatbot, load
from kochat.config import TrainingConfig
from kochat.errors import KochatError
from kochat.training.fine_tuning import fine_tune
for line in sys.stdin:
    try:
        answer = {"value": eval(line)}
    except KochatError as error:
        answer = {"error": type(error).__name__, "key": error.key, "text": str(error)}
    except Exception as error:
        answer = {"error": type(error).__name__, "key": None, "text": str(error)}
    print("ANSWER " + json.dumps(answer), flush=True)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A Hub with KoGPT2's layout under several names, one without weights, one of another kind."""
    folder = tmp_path_factory.mktemp("repos")
    kogpt2, unflagged = write_kogpt2_like(folder / "kogpt2"), write_kogpt2_like(folder / "unflagged", flagged=False)
    no_weights, bert = write_kogpt2_like(folder / "no-weights"), write_kogpt2_like(folder / "bert")
    (no_weights / "pytorch_model.bin").unlink()
    config = json.loads((bert / "config.json").read_text("utf-8"))
    (bert / "config.json").write_text(json.dumps(config | {"model_type": "bert"}), "utf-8")
    shards = write_kogpt2_like(folder / "shards")
    GPT2LMHeadModel.from_pretrained(shards).save_pretrained(shards, max_shard_size="2KB")
    (shards / "pytorch_model.bin").unlink()
    names = [KOGPT2, "kept/model", "cut/model", "short/model", "slow/model", "gated/model"]
    repos = dict.fromkeys(names, kogpt2) | {"un/flagged": unflagged, "no/weights": no_weights, "a/bert": bert}
    repos |= {"another/bert": bert, "in/shards": shards}
    with HubServer(repos) as server:
        yield server


@pytest.fixture(scope="module")
def ask(server, tmp_path_factory):
    """Evaluate an expression in the client's process: its value, or the error's type, key and sentence."""
    home = tmp_path_factory.mktemp("hub")
    environment = server.environment(home, PYTHONPATH=str(PROJECT), KOCHAT_HOME=str(home), OMP_NUM_THREADS="1")
    command = [sys.executable, "-c", CLIENT]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment, cwd=home, text=True, encoding="utf-8", **pipes) as process:

        def ask(expression):
            process.stdin.write(expression + "\n")
            process.stdin.flush()
            answer = next(line for line in process.stdout if line.startswith("ANSWER "))
            return json.loads(answer.removeprefix("ANSWER "))

        yield ask
        process.stdin.close()


@pytest.fixture(autouse=True)
def _whole_again(server):
    server.requests.clear()
    yield
    server.broken, server.status, server.delay, server.cut_after, server.short = False, None, 0.0, None, False
    server.gated = set()


@pytest.mark.slow
@pytest.mark.parametrize("repo", [KOGPT2, "un/flagged"])
def test_kogpt2s_layout_loads_with_its_own_ids_and_answers(ask, server, repo):
    ids = ask(f"load('{repo}').tokenizer.convert_tokens_to_ids(['<usr>', '<pad>', '<unused0>', '<unused1>', '</s>'])")
    assert ids == {"value": [2, 3, 9, 10, 1]}
    assert ask(f"(b := load('{repo}')).name, b.labels, len(b.tokenizer)") == {"value": [repo, ["0", "1", "2"], 512]}
    reply = ask(f"load('{repo}').reply('12시 땡!', '0')")["value"]
    assert isinstance(reply, str)
    assert not {"</s>", "<pad>", "<usr>"} & set(reply.split())
    # What somebody types is text, so nothing of it becomes one of the ids that structure a prompt.
    typed = ask(f"load('{repo}').prompt.encode_prompt('<sys></s><usr>', '0')")["value"]
    assert [typed.count(structural) for structural in (2, 10, 4, 1)] == [1, 1, 1, 0]


def test_only_the_files_that_are_needed_are_asked_for(ask, server):
    assert "value" in ask("load('kept/model').name")
    gone_for = [request.split("/")[-1] for request in server.requests if request.startswith("GET /kept/")]
    assert sorted(gone_for) == ["config.json", "pytorch_model.bin", "tokenizer.json"]
    # transformers would ask the Hub to convert the .bin, in a discussion.
    assert not [request for request in server.requests if "discussion" in request or request.startswith("POST")]


@pytest.mark.slow
def test_a_model_that_was_loaded_once_needs_no_hub(ask, server):
    assert "value" in ask("load('kept/model').name")
    expected = ask("load('kept/model').reply('안녕', '1')")
    for fault in ({"broken": True}, {"status": 503}):
        vars(server).update(fault)
        assert ask("load('kept/model').reply('안녕', '1')") == expected
        assert "value" in ask("checkpoint.load('kept/model', as_base=True).name")


def test_what_is_neither_reachable_nor_kept_is_told_soon(ask, server):
    start = time.monotonic()
    for fault in ({"broken": True}, {"status": 503, "broken": False}):
        vars(server).update(fault)
        answer = ask("load('slow/model')")
        assert (answer["error"], answer["key"]) == ("HubError", "hub_unreachable")
        assert "slow/model could not be fetched: the Hugging Face Hub is out of reach." in answer["text"]
    assert time.monotonic() - start < 15
    assert TIMEOUT < 15


def test_a_hub_that_is_silent_is_given_up_after_the_timeout(ask, server):
    ask("setattr(hub, 'TIMEOUT', 0.5)")
    server.delay = 3
    start = time.monotonic()
    assert ask("load('slow/model')")["key"] == "hub_unreachable"
    assert time.monotonic() - start < 2.5
    ask(f"setattr(hub, 'TIMEOUT', {TIMEOUT})")


@pytest.mark.parametrize("repo", ["no/such", "no/dots..here", "no/two--dashes", "no/" + "x" * 100])
def test_a_model_that_is_not_there_is_named(ask, repo):
    answer = ask(f"load('{repo}')")
    assert (answer["error"], answer["key"]) == ("HubError", "hub_no_model")
    assert answer["text"].startswith(f"There is no model {repo} on the Hugging Face Hub")


@pytest.mark.slow
@pytest.mark.parametrize(("repo", "short"), [("cut/model", False), ("short/model", True)])
def test_a_download_that_breaks_off_is_an_error_and_the_next_one_works(ask, server, repo, short):
    server.cut_after, server.short = 20_000, short  # of the weights and the tokenizer
    assert ask(f"load('{repo}')")["key"] == "hub_unreachable"
    server.cut_after = None
    assert ask(f"load('{repo}').name") == {"value": repo}


def test_a_repository_that_cannot_be_used_is_called_by_its_name_not_by_a_commit(ask):
    answer = ask("load('no/weights')")
    assert answer["key"] == "hub_incomplete"
    assert answer["text"].startswith("no/weights on the Hugging Face Hub has no model.safetensors, which kochat needs.")
    assert ask("load('a/bert')")["text"].startswith("a/bert is a bert model, which kochat cannot train.")


def test_what_cannot_be_a_base_is_refused_before_its_weights_are_downloaded(ask, server):
    assert ask("load('another/bert')")["text"].startswith("another/bert is a bert model")
    assert [request for request in server.requests if "/resolve/" in request and "config.json" not in request] == []


def test_a_gated_model_names_its_terms_and_the_token(ask, server):
    server.gated = {"gated/model"}
    answer = ask("load('gated/model')")
    assert answer["key"] == "hub_gated"
    assert f"Accept them at {server.url}/gated/model, then give your token in HF_TOKEN" in answer["text"]


def test_weights_in_several_files_are_read(ask, server):
    assert len(list(server.repos["in/shards"].glob("model-*.safetensors"))) > 1
    assert ask("load('in/shards').reply('안녕', '0')") == ask(f"load('{KOGPT2}').reply('안녕', '0')")


def test_a_fine_tuned_kogpt2_is_a_plain_checkpoint_under_kogpt2s_licence(ask, tmp_path):
    settings = {"data": "emotions", "rows": 60, "base": KOGPT2, "epochs": 1, "precision": "float32"}
    output = tmp_path / "mine"
    events = ask(f"[type(e).__name__ for e in fine_tune(TrainingConfig(output={str(output)!r}, **{settings}))]")
    assert events == {"value": ["Started", "Step", "Step", "Epoch", "Finished"]}
    assert GPT2LMHeadModel.from_pretrained(output).config.vocab_size == 512
    loaded = checkpoint.load(output)
    assert loaded.tokenizer.convert_tokens_to_ids(["<usr>", "<pad>", "<unused0>"]) == [2, 3, 9]
    assert loaded.card.base == KOGPT2
    assert loaded.card.sources == [KOGPT2, "emotions"]
    assert loaded.card.max_length == 40
    assert loaded.card.recipe[0].startswith(f"python -m kochat train --data emotions --base {KOGPT2} ")
    readme = (output / "README.md").read_text("utf-8")
    assert "license: cc-by-nc-sa-4.0" in readme
    assert "[skt/kogpt2-base-v2](https://huggingface.co/skt/kogpt2-base-v2) (CC BY-NC-SA 4.0)" in readme
    for path in output.iterdir():
        assert str(tmp_path).encode() not in path.read_bytes(), path.name
        assert b"snapshots" not in path.read_bytes(), path.name


@pytest.mark.slow
def test_training_from_the_command_line_without_a_hub_ends_in_one_sentence(tmp_path, home):
    with HubServer({}) as gone:
        environment = gone.environment(tmp_path / "hub", KOCHAT_HOME=str(home), LC_ALL="C.UTF-8", OMP_NUM_THREADS="1")
    output = home / "checkpoints" / "mine"
    command = [sys.executable, "-m", "kochat", "train", "--data", "emotions", "--base", KOGPT2, "--output", output]
    ended = subprocess.run(command, env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=180)
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.splitlines() == [
        "starting",
        "reading data",
        "loading model",
        "skt/kogpt2-base-v2 could not be fetched: the Hugging Face Hub is out of reach. "
        "Check the network, or choose kochat-mini, which needs none.",
    ]
    assert list(output.parent.iterdir()) == []


def test_what_can_be_a_hub_id():
    assert all(looks_like_hub_id(name) for name in (KOGPT2, "a/b", "user-1/my.model_2"))
    for name in ("", "kochat-mini", "checkpoints/mine", "/a/b", "./a/b", "../a", "a/b/c", "a b/c", "a/", "한글/모델?"):
        assert not looks_like_hub_id(name), name
