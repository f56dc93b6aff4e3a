"""Computing: one thread of torch for everybody, and no second team of threads by loading."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from kochat.config import PROJECT
from kochat.inference.computing import computed, without_a_team

LOAD = """
import psutil, torch, kochat
torch.set_num_threads(3)
before = psutil.Process().num_threads()
bot = kochat.load("kochat-mini")
print(psutil.Process().num_threads() - before, torch.get_num_threads())
"""


def test_threads_without_a_team_have_one_and_their_number_again_afterwards():
    number_there, number = computed(torch.get_num_threads), torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        there = number_there()
        with without_a_team(), without_a_team():
            assert (torch.get_num_threads(), number_there()) == (1, there)
            with ThreadPoolExecutor(1) as pool:
                assert pool.submit(torch.get_num_threads).result() == 1
        assert (torch.get_num_threads(), number_there()) == (3, there)
        with pytest.raises(ZeroDivisionError), without_a_team():
            1 / 0  # noqa: B018
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(number)


@pytest.mark.slow
def test_loading_a_chatbot_starts_the_thread_that_computes_and_no_team():
    """Two more threads, with a team of three, made each token of a large chatbot wait for sleeping ones."""
    done = subprocess.run([sys.executable, "-c", LOAD], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "3"]
