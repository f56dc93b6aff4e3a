"""The notebook's loss beside ours, of one pair: the numbers add up, and what is masked teaches nothing."""

import math

import pytest
import torch

from kochat.evaluation import notebook_loss
from kochat.model import checkpoint

PAIR = "안녕", "네, 별일 없이 지냈어요.", "0"


@pytest.fixture
def found(tiny_checkpoint):
    base = checkpoint.load(tiny_checkpoint, as_base=True)
    with torch.no_grad():
        for weights in base.model.parameters():
            weights.normal_(0, 0.4, generator=torch.Generator().manual_seed(1))
    return notebook_loss.compare(base, *PAIR)


def test_the_notebooks_loss_is_ours_with_a_constant_and_a_pad_target(found):
    assert found.ours == pytest.approx(found.answer / found.answer_tokens)
    assert found.a_masked == pytest.approx(math.log(600))
    assert found.masked + found.counted == notebook_loss.LENGTH
    whole = found.answer + found.masked * found.a_masked + found.pad_target
    assert found.notebook == pytest.approx(whole / found.counted, rel=1e-5)


def test_what_is_masked_has_no_gradient_and_only_the_pad_target_turns_that_of_the_rest(found):
    assert found.masked_gradient == 0
    assert found.cosine == pytest.approx(1, abs=1e-5)
    assert found.cosine_with_pad < 0.999
