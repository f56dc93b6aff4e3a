"""Weights read without transformers: the same as with it, and nothing made up."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import load_file, save_file

from kochat.config import PROJECT
from kochat.errors import CheckpointError
from kochat.model import checkpoint
from kochat.model.weights import read_weights, weights_of, without_a_team

LOAD = """
import sys, threading, psutil, torch, kochat
from kochat.inference.decoder import Decoder
torch.set_num_threads(int(sys.argv[1]))
others = lambda: psutil.Process().num_threads() - threading.active_count()
before = others()
bot = kochat.load("kochat-mini")
Decoder(bot.weights, int8=True)
kochat.model.checkpoint.load("kochat-mini", as_base=True)
print(torch.get_num_threads(), others() - before)
"""


def test_they_are_those_of_the_model(tiny_checkpoint, model):
    read, whole = read_weights(tiny_checkpoint), weights_of(model)
    assert read.config == whole.config
    assert read.tensors.keys() == whole.tensors.keys() - {"lm_head.weight"}
    assert all(torch.equal(tensor, whole.tensors[name]) for name, tensor in read.tensors.items())
    assert torch.equal(read.head(), whole.head())
    assert read.parameters() == whole.parameters() == model.num_parameters()


def change(folder, edit):
    tensors = load_file(folder / "model.safetensors")
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    "edit",
    [
        lambda tensors: tensors.pop("transformer.h.1.mlp.c_fc.bias"),
        lambda tensors: tensors.update({"transformer.h.2.ln_1.weight": torch.ones(8)}),
        lambda tensors: tensors.update({"transformer.wpe.weight": torch.ones(8, 96)}),
        lambda tensors: tensors["transformer.ln_f.bias"].fill_(torch.nan),
    ],
    ids=["missing", "extra", "shape", "nan"],
)
def test_what_does_not_fit_is_refused(tiny_checkpoint, edit):
    change(tiny_checkpoint, edit)
    with pytest.raises(CheckpointError, match="damaged"):
        read_weights(tiny_checkpoint)


def test_a_model_of_another_making_is_left_to_transformers(tiny_checkpoint):
    def bare(tensors):
        for name in list(tensors):
            tensors[name.removeprefix("transformer.")] = tensors.pop(name)

    change(tiny_checkpoint, bare)
    assert read_weights(tiny_checkpoint) is None


@pytest.mark.slow
def test_talking_needs_no_model_of_transformers(tiny_checkpoint):
    code = (
        "import sys, kochat\n"
        f"kochat.load({str(tiny_checkpoint)!r}).reply('안녕')\n"
        "assert 'transformers.modeling_utils' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=checkpoint.SHIPPED_CHECKPOINTS.parent, check=True)


def test_without_a_team_this_thread_alone_has_no_other_and_its_number_again_afterwards():
    number = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with ThreadPoolExecutor(1) as other:
            there = other.submit(torch.get_num_threads).result()
            with without_a_team(), without_a_team():
                assert (torch.get_num_threads(), other.submit(torch.get_num_threads).result()) == (1, there)
        assert torch.get_num_threads() == there == 3
        with pytest.raises(ZeroDivisionError), without_a_team():
            1 / 0  # noqa: B018
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(number)


@pytest.mark.slow
def test_loading_a_chatbot_starts_no_thread():
    """Two more threads, a team of three, made each token of a large chatbot wait for sleeping ones."""
    numbers, new = zip(*(map(int, loaded_with(number).split()) for number in (1, 3)), strict=True)
    assert numbers == (1, 3)
    assert new[0] == new[1]  # tokenizers may start one


def loaded_with(num_threads: int) -> str:
    """What LOAD prints: the number of torch's threads afterwards, and how many are new that are not Python's."""
    command = [sys.executable, "-c", LOAD, str(num_threads)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True).stdout
