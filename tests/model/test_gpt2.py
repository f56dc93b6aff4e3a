"""Models: the loss against Hugging Face's and the notebook's, dropout."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from kogpt2_like import write_kogpt2_like
from torch import nn

from kochat.model.batches import pad
from kochat.model.gpt2 import loss, make_model, scale_logits, set_dropout
from kochat.model.prompt import IGNORE, Part, Prompt
from kochat.model.tokenizer import load_tokenizer

# No punctuation, so that the notebook has nothing to replace.
PAIRS = [("안녕", "좋은 아침이에요"), ("지금 저녁이야 바보야", "늦지 않았어요"), ("고마워", "저도 감사합니다")]


@pytest.fixture
def model(tokenizer):
    """As conftest's, with weights so large that the distributions are far from even."""
    made = make_model(tokenizer, layers=2, width=8, heads=2, positions=96, seed=0)
    return fill(made, 0.4, seed=1).eval()


def fill(model, scale, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weights in model.parameters():
            weights.normal_(0, scale, generator=generator)
    return model


@pytest.fixture
def batch(tokenizer):
    prompt = Prompt(tokenizer, 96)
    labels = ["0", "1", None]
    examples = [prompt.encode_example(q, a, label) for (q, a), label in zip(PAIRS, labels, strict=True)]
    assert len({len(example.input_ids) for example in examples}) > 1  # there is padding
    return pad(examples, tokenizer.pad_token_id)


def test_the_loss_is_hugging_faces_own(model, batch):
    ours = loss(model, batch)
    theirs = model(batch["input_ids"], attention_mask=batch["attention_mask"], labels=batch["labels"]).loss
    assert ours.objective.item() == pytest.approx(theirs.item(), rel=1e-6)
    assert ours.tokens.item() == (batch["labels"] != -100).sum().item()
    assert ours.answer.item() == pytest.approx(theirs.item() * ours.tokens.item(), rel=1e-6)
    assert not ours.answer.requires_grad


# The notebook's training, in our words. Its item (cell 20): the ids of `<usr> Q <unused1> <sys> A </s>`, a mask
# that is 1 from <sys> on, and as label of each position the token after it. Position i of the label is thus the
# target of the logits at i: the first answer token at <sys>, and one <pad> at </s>.
LENGTH = 40


def notebook_item(tokenizer, question, answer):
    asked = tokenizer.convert_tokens_to_ids(tokenizer.tokenize("<usr>" + question + "<unused1>"))
    said = tokenizer.convert_tokens_to_ids(tokenizer.tokenize("<sys>" + answer + "</s>"))
    free = LENGTH - len(asked) - len(said)
    label = [tokenizer.mask_token_id] * len(asked) + said[1:]
    return (
        asked + said + [tokenizer.pad_token_id] * free,
        [0] * len(asked) + [1] * len(said) + [0] * free,
        label + [tokenizer.pad_token_id] * (LENGTH - len(label)),
    )


def notebook_losses(logits, mask, label):
    """Cell 39: the masked positions' logits are all -1e18, so that each costs ln(vocabulary)."""
    masked = torch.where(mask[..., None] == 1, logits, torch.full_like(logits, -1e18))
    return nn.CrossEntropyLoss(reduction="none")(masked.transpose(2, 1), label)


@pytest.fixture
def notebook(tmp_path):
    """KoGPT2's twin in float64, the notebook's tensors of PAIRS, and ours of the same pairs."""
    tokenizer = load_tokenizer(write_kogpt2_like(tmp_path / "kogpt2"))
    model = fill(make_model(tokenizer, layers=2, width=8, heads=2, positions=64, seed=0), 0.4, seed=2).double()
    items = [notebook_item(tokenizer, q, a) for q, a in PAIRS]
    ids, mask, label = (torch.tensor(rows) for rows in zip(*items, strict=True))
    prompt = Prompt(tokenizer, LENGTH)
    # The notebook trains without the label.
    ours = pad([prompt.encode_example(q, a, None) for q, a in PAIRS], tokenizer.pad_token_id)
    width = ours["input_ids"].shape[1]
    assert torch.equal(ours["input_ids"], ids[:, :width])
    return model.eval(), ids, mask, label, ours


def test_the_notebooks_loss_is_ours_plus_a_constant_and_a_pad_target(notebook):
    model, ids, mask, label, batch = notebook
    with torch.no_grad():
        logits = model(ids).logits
        value = notebook_losses(logits, mask, label).sum() / mask.sum()
        ours = loss(model, batch)
        last = mask.cumsum(1).argmax(1)  # where </s> stands
        pad_target = -logits.log_softmax(-1)[range(len(PAIRS)), last, 3].sum()
    vocabulary, masked = logits.shape[-1], (mask == 0).sum()
    assert mask.sum() == ours.tokens + len(PAIRS)
    constant = math.log(vocabulary) * masked
    assert value.item() == pytest.approx(((ours.answer + constant + pad_target) / mask.sum()).item(), rel=1e-6)
    # The constant is most of what the notebook reports.
    assert constant > 3 * ours.answer


def test_the_notebooks_gradient_without_its_pad_target_is_ours_times_a_known_factor(notebook):
    model, ids, mask, label, batch = notebook
    ours = loss(model, batch)
    our_gradients = torch.autograd.grad(ours.objective, list(model.parameters()))
    losses = notebook_losses(model(ids).logits, mask, label)
    is_pad_target = (mask == 1) & (label == 3)
    assert is_pad_target.sum() == len(PAIRS)
    without = losses.masked_fill(is_pad_target, 0).sum() / mask.sum()
    their_gradients = torch.autograd.grad(without, list(model.parameters()))
    factor = ours.tokens / mask.sum()
    for (name, _), mine, theirs in zip(model.named_parameters(), our_gradients, their_gradients, strict=True):
        scale = theirs.abs().max()
        assert scale > 0, name
        # Our cross entropy is computed in float32.
        torch.testing.assert_close(theirs, mine * factor, rtol=1e-4, atol=1e-6 * scale.item())


def test_label_and_question_tokens_join_the_objective_with_their_weights(model, batch):
    with torch.no_grad():
        plain = loss(model, batch)
        result = loss(model, batch, label_loss=0.2, question_loss=0.05)
        logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits.log_softmax(-1)
    by_hand = 0.0
    for row, (ids, parts) in enumerate(zip(batch["input_ids"].tolist(), batch["parts"].tolist(), strict=True)):
        for i in range(1, len(ids)):
            weight = {Part.STRUCTURE: 0, Part.QUESTION: 0.05, Part.LABEL: 0.2, Part.ANSWER: 1}[parts[i]]
            by_hand -= weight * logits[row, i - 1, ids[i]].item()
    assert result.objective.item() == pytest.approx(by_hand / result.tokens.item(), rel=1e-5)
    assert result.objective > plain.objective
    assert result.answer.item() == pytest.approx(plain.answer.item(), rel=1e-6)
    assert result.tokens == plain.tokens


def test_a_batch_without_answers_has_no_loss(model, batch):
    nothing = {**batch, "labels": torch.full_like(batch["labels"], -100), "parts": torch.zeros_like(batch["parts"])}
    assert [value.item() for value in loss(model, nothing)] == [0, 0, 0, 0]


def test_the_seed_makes_the_model(tokenizer):
    def weights(seed):
        made = make_model(tokenizer, layers=1, width=8, heads=2, positions=16, seed=seed)
        assert (made.config.eos_token_id, made.config.pad_token_id, made.config.vocab_size) == (1, 0, 600)
        return torch.cat([parameter.flatten() for parameter in made.parameters()])

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


def test_dropout_is_set_everywhere_and_acts_only_in_training(model, batch):
    def losses():
        return {loss(model, batch).objective.item() for _ in range(3)}

    model.train()
    assert len(losses()) == 1  # a model of ours has none
    set_dropout(model, 0.3)
    assert {module.p for module in model.modules() if isinstance(module, nn.Dropout)} == {0.3}
    assert (model.config.resid_pdrop, model.config.embd_pdrop, model.config.attn_pdrop) == (0.3, 0.3, 0.3)
    assert len(losses()) == 3
    model.eval()
    assert len(losses()) == 1


def test_scaled_logits_rank_as_before(model, batch):
    before = model(batch["input_ids"]).logits
    scale_logits(model, 0.5)
    assert torch.allclose(model(batch["input_ids"]).logits, before * 0.5, atol=1e-5)


def test_what_is_rehearsed_is_learned_from_the_teachers_probabilities(model, tokenizer):
    prompt, teacher = Prompt(tokenizer, 96), fill(copy.deepcopy(model), 0.4, seed=2).eval()
    new = prompt.encode_example("안녕", "반가워요", "0")
    old = replace(prompt.encode_example("잘 자", "좋은 꿈 꾸세요", "1"), rehearsed=True)
    both, alone = pad([new, old], 0), pad([old], 0)
    result = loss(model, both, teacher=teacher)

    # By hand: cross entropy with the teacher's distribution at each answer token of the rehearsed example.
    where = (alone["labels"][:, 1:] != IGNORE)[0]
    said = [m(input_ids=alone["input_ids"]).logits[0, :-1][where] for m in (model, teacher)]
    soft = -(said[1].softmax(-1) * said[0].log_softmax(-1)).sum()
    hard = loss(model, pad([new], 0))
    assert result.objective.item() == pytest.approx(
        ((hard.answer + soft) / (hard.tokens + where.sum())).item(), rel=1e-5
    )
    # What is reported is of the new pair alone.
    assert result.answer.item() == pytest.approx(hard.answer.item(), rel=1e-5)
    assert result.tokens == hard.tokens
    # At its own teacher a model stays as it is.
    loss(model, alone, teacher=model).objective.backward()
    assert max(weight.grad.abs().max().item() for weight in model.parameters() if weight.grad is not None) < 1e-5
