"""Retrieval as a second opinion: `python -m benchmarks.retrieval [CHECKPOINT] [--data FILE]`.

Candidates are the greedy reply and the answers to the nearest questions that the checkpoint was trained on (the pairs
kept beside it). Each is ranked by its strengthened log-likelihood a character, log P(answer | question, label), plus
w times the similarity of the question that it was an answer to. Measured on the validation pairs kept beside it, or on
those that its training withheld of FILE, under their true labels. The questions are divided in two halves by a hash:
what is chosen on one half is reported on the other.

`python -m benchmarks.retrieval [CHECKPOINT] --blind FILE` writes 100 questions of validation, half of them of
`everyday`, each with two different replies in random order; write 1 or 0 for "makes sense for question and label" into
the columns first_good and second_good. `--unblind FILE` then counts whose they were.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from kochat.config import DEFAULT_CHECKPOINT
from kochat.data.lookup import lookup_pairs
from kochat.data.pairs import COLUMNS, Pair, read_pairs
from kochat.data.splits import draw, split_by_question
from kochat.evaluation import heldout
from kochat.evaluation.baselines import _vectorizer
from kochat.inference import retrieval
from kochat.inference.chatbot import Chatbot
from kochat.inference.matching import QuestionMatcher
from kochat.model import checkpoint
from kochat.model.gpt2 import quiet

from .timing import interleaved, print_table

NUM_CANDIDATES = (1, 2, 4, 8)  # k
WEIGHTS = (0, 0.2, 0.5, 0.7, 1, 1.4, 2, 3, 4, 6)  # w
LEAST = (0, 0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6)  # similarities
ANY, SAME = "any label", "same label"
NUM_BLIND = 100
AT_ONCE = 64  # questions read in one pass


class Choice(NamedTuple):
    """How candidates are found and ranked; answers to questions less similar than `least` are none."""

    encoder: str
    rule: str
    k: int
    w: float
    strength: float
    least: float = 0.0


@dataclass
class Asked:
    """A question of validation with its candidates."""

    question: str
    answer: str
    label: str
    greedy: str
    # By encoder and rule: the nearest answers, the nearest first, and how similar their questions are.
    nearest: dict[tuple[str, str], list[tuple[str, float]]] = field(default_factory=dict)
    similarity: dict[tuple[str, str], float] = field(default_factory=dict)  # of the greedy reply, 0 where never said
    scores: dict[str, tuple[float, float]] = field(default_factory=dict)  # with label and without, nats a character

    def candidates(self, choice: Choice) -> list[tuple[str, float]]:
        """(answer, score) of the greedy reply and of the k nearest answers."""
        key = choice[:2]
        near = [one for one in self.nearest[key][: choice.k] if one[1] >= choice.least]
        found = [(self.greedy, self.similarity[key]), *near]
        return [(answer, self._score(answer, similarity, choice)) for answer, similarity in found]

    def _score(self, answer: str, similarity: float, choice: Choice) -> float:
        labelled, unlabelled = self.scores[answer]
        return labelled + choice.strength * (labelled - unlabelled) + choice.w * similarity

    def chosen(self, choice: Choice) -> str:
        """The best candidate."""
        return max(self.candidates(choice), key=lambda one: one[1])[0]

    def is_first_half(self) -> bool:
        """Which half it belongs to."""
        return draw(self.question, 1) < 0.5


def by_characters(bot: Chatbot, known: Sequence[str], asked: Sequence[str]) -> np.ndarray:
    """(asked, known): the cosine of TF-IDF of characters, as the baseline of evaluations has it."""
    vectorizer = _vectorizer()
    there = vectorizer.fit_transform(known)
    return (vectorizer.transform(asked) @ there.T).toarray().astype(np.float32)


def by_syllables_and_concepts(bot: Chatbot, known: Sequence[str], asked: Sequence[str]) -> np.ndarray:
    """(asked, known): as chatbots of small files find their own questions."""
    matcher = QuestionMatcher([(question, "") for question in known])
    return np.array([matcher.similarities(question) for question in asked], dtype=np.float32)


def by_hidden_states(bot: Chatbot, known: Sequence[str], asked: Sequence[str]) -> np.ndarray:
    """(asked, known): the cosine of the mean of a question's last hidden states, whitened on the known ones."""
    there, new = hidden_states(bot, known), hidden_states(bot, asked)
    mean = there.mean(0)
    _, sizes, directions = np.linalg.svd(there - mean, full_matrices=False)
    whitening = directions.T / sizes
    there, new = ((one - mean) @ whitening for one in (there, new))
    return _unit(new) @ _unit(there).T


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def hidden_states(bot: Chatbot, questions: Sequence[str]) -> np.ndarray:
    """(questions, width): the mean over the tokens of each."""
    encoder = bot.engine.decoder.copy()
    encoder.head = lambda hidden: hidden
    order = sorted(range(len(questions)), key=lambda i: len(questions[i]))
    vectors = np.empty((len(questions), encoder.width), dtype=np.float32)
    for start in range(0, len(order), AT_ONCE):
        places = order[start : start + AT_ONCE]
        ids = [bot.prompt.encode_question(questions[i])[0] for i in places]
        states = encoder._fresh_logits(ids, [max(1, len(one) - 1) for one in ids])
        ends = np.cumsum([max(1, len(one) - 1) for one in ids])[:-1]
        vectors[places] = [one.mean(0) for one in np.split(states.numpy(), ends)]
    return vectors


ENCODERS: dict[str, Callable[[Chatbot, Sequence[str], Sequence[str]], np.ndarray]] = {
    "characters": by_characters,
    "syllables and concepts": by_syllables_and_concepts,
    "hidden states": by_hidden_states,
}
BOTH = "characters + hidden states"


def prepared(bot: Chatbot, kept: Sequence[Pair], rows: Sequence[Pair]) -> list[Asked]:
    """The rows with their greedy replies, their candidates by every encoder and rule, and the scores of all these."""
    said = bot.replies([(question, label) for question, _, label in rows])
    asked = [Asked(*row, greedy) for row, greedy in zip(rows, said, strict=True)]
    known = list(dict.fromkeys(question for question, _, _ in kept))
    questions = [one.question for one in asked]
    similarities = {name: encode(bot, known, questions) for name, encode in ENCODERS.items()}
    similarities[BOTH] = (similarities["characters"] + similarities["hidden states"]) / 2
    place = {question: i for i, question in enumerate(known)}
    answers, labels = np.array([a for _, a, _ in kept], dtype=object), np.array([label for *_, label in kept])
    of_pair = np.array([place[question] for question, _, _ in kept])
    for name, matrix in similarities.items():
        for one, row in zip(asked, matrix, strict=True):
            for rule in (ANY, SAME):
                places = np.arange(len(kept)) if rule == ANY else np.flatnonzero(labels == one.label)
                near = row[of_pair[places]]
                best: dict[str, float] = {}
                for i in np.argsort(-near, kind="stable"):
                    best.setdefault(answers[places[i]], float(near[i]))
                    if len(best) == max(NUM_CANDIDATES):
                        break
                one.nearest[name, rule] = list(best.items())
                one.similarity[name, rule] = float(near[answers[places] == one.greedy].max(initial=0))
    score_all(bot, asked)
    return asked


def score_all(bot: Chatbot, asked: Sequence[Asked]) -> None:
    """The likelihood of every candidate, with the label and without."""
    for one in asked:
        found = {answer for some in one.nearest.values() for answer, _ in some} | {one.greedy}
        rows = [(one.question, answer, label) for answer in sorted(found) for label in (one.label, None)]
        nats = bot.scores(rows)
        for (_, answer, _), labelled, unlabelled in zip(rows[::2], nats[::2], nats[1::2], strict=True):
            one.scores[answer] = labelled / (len(answer) + 1), unlabelled / (len(answer) + 1)


def exact(asked: Sequence[Asked], said: Callable[[Asked], str]) -> float:
    """The share of replies that are the true answer."""
    return float(np.mean([said(one) == one.answer for one in asked]))


def best_choice(asked: Sequence[Asked], choices: Sequence[Choice]) -> Choice:
    """The one with the most exact matches, of several the first."""
    return max(choices, key=lambda choice: exact(asked, lambda one: one.chosen(choice)))


def report(asked: Sequence[Asked], strength: float) -> None:
    """Print the table."""
    halves = [one for one in asked if one.is_first_half()], [one for one in asked if not one.is_first_half()]

    def row(name: str, said: Sequence[Callable[[Asked], str]], more: str = "") -> None:
        """`said` says what is replied in the first half and in the second."""
        found = [exact(half, one) for half, one in zip(halves, said, strict=True)]
        whole = sum(share * len(half) for share, half in zip(found, halves, strict=True)) / len(asked)
        print(f"| {name} | {whole:.1%} | {found[0]:.1%} | {found[1]:.1%} | {more} |", flush=True)

    print(f"| {len(asked)} questions | exact | first half ({len(halves[0])}) | second half | |\n|---|---|---|---|---|")
    row("greedy", [lambda one: one.greedy] * 2)
    names = [*ENCODERS, BOTH]
    for key in itertools.product(names, (ANY, SAME)):
        row(f"nearest, {', '.join(key)}", [lambda one, key=key: (one.nearest[key] or [("",)])[0][0]] * 2)
    for key in itertools.product(names, (ANY, SAME)):
        grid = [Choice(*key, *rest) for rest in itertools.product(NUM_CANDIDATES, WEIGHTS, sorted({0, strength}))]
        first, second = (best_choice(half, grid) for half in halves)
        chosen_by_other = {True: second, False: first}

        def said(one: Asked, chosen_by_other=chosen_by_other) -> str:
            return one.chosen(chosen_by_other[one.is_first_half()])

        better = sum(said(one) == one.answer != one.greedy for one in asked)
        worse = sum(said(one) != one.answer == one.greedy for one in asked)
        told = f"right instead of wrong {better}, wrong instead of right {worse}; "
        told += "; ".join(f"k {c.k}, w {c.w:g}, strength {c.strength:g}" for c in (first, second))
        row(f"reranked, {', '.join(key)}, chosen on the other half", [said] * 2, told)
        alone = Choice(*key, 8, 0, strength)
        row(f"log P alone of 9, {', '.join(key)}", [lambda one, alone=alone: one.chosen(alone)] * 2)
        among = np.mean([one.answer in dict(one.candidates(alone)) for one in asked])
        print(f"| true answer among these 9 | {among:.1%} | | | |", flush=True)
    for least in LEAST:
        how = Choice("characters", SAME, retrieval.NUM_NEAREST, retrieval.WEIGHT, 0, least)
        changed = np.mean([one.chosen(how) != one.greedy for one in asked])
        name = f"reranked, {', '.join(how[:2])}, k {how.k}, w {how.w:g}, similarity from {least:g} on"
        row(name, [lambda one, how=how: one.chosen(how)] * 2, f"{changed:.1%} of the replies are others")


def time_it(bot: Chatbot, asked: Sequence[Asked], rounds: int = 5) -> None:
    """What a reply takes, one at a time."""
    rows = [(one.question, one.label) for one in asked[:: max(1, len(asked) // 32)]]
    contenders = {
        "greedy": lambda: [bot.reply(*row) for row in rows],
        "reranked": lambda: [bot.reply(*row, rerank=True) for row in rows],
    }
    print_table(f"{len(rows)} questions", interleaved(contenders, rounds), "ms a reply", 1000 / len(rows), "greedy")


def write_blind(bot: Chatbot, loaded: checkpoint.Checkpoint, path: str) -> None:
    """Write questions with two different replies each, half of them of `everyday` where there are so many.

    Half are under the label that the checkpoint reads, half under one drawn by chance.
    """
    everyday = split_by_question(read_pairs("everyday"), 0.0865, 0.0865, seed=0).validation["Q"].unique()
    trained_on = {question for question, _, _ in lookup_pairs(loaded.pairs, loaded.card.sources)}
    written = []
    for source in (everyday, [question for question, _, _ in loaded.validation if question not in set(everyday)]):
        unseen = sorted(set(source) - trained_on, key=lambda question: draw(question, 6))
        rows = [(question, _label(bot, question)) for question in unseen]
        said = ((*row, bot.reply(*row), bot.reply(*row, rerank=True)) for row in rows)
        differ = (
            (q, label, *(two if is_greedy_first(q) else two[::-1])) for q, label, *two in said if two[0] != two[1]
        )
        written += itertools.islice(differ, NUM_BLIND - len(written) if written else NUM_BLIND // 2)
    columns = ["question", "label", "first", "second"]
    table = pd.DataFrame(written, columns=columns).assign(first_good="", second_good="")
    table.to_csv(path, index=False)


def _label(bot: Chatbot, question: str) -> str:
    read, by_chance = bot.predict_label(question), bot.labels[int(draw(question, 3) * len(bot.labels))]
    return max(read, key=read.get) if draw(question, 5) < 0.5 else by_chance


def is_greedy_first(question: str) -> bool:
    """Which of the two replies stands first in a blind reading."""
    return draw(question, 8) < 0.5


def count_blind(path: str) -> None:
    """Count whose replies were found to make sense."""
    table = pd.read_csv(path, keep_default_na=False)
    first = table["question"].map(is_greedy_first)
    greedy = table["first_good"].where(first, table["second_good"]).astype(int)
    reranked = table["second_good"].where(first, table["first_good"]).astype(int)
    print(f"{len(table)} read: greedy {greedy.sum()}, reranked {reranked.sum()} make sense; ", end="")
    print(f"greedy alone {(greedy > reranked).sum()}, reranked alone {(reranked > greedy).sum()}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", default=str(DEFAULT_CHECKPOINT))
    parser.add_argument("--data", help="the file that it was trained with, instead of the validation pairs it keeps")
    parser.add_argument("--blind", metavar="FILE", help="write what is to be read")
    parser.add_argument("--unblind", metavar="FILE", help="count what was read")
    chosen = parser.parse_args()
    quiet()
    if chosen.unblind:
        count_blind(chosen.unblind)
        return
    loaded = checkpoint.load(chosen.checkpoint)
    if chosen.blind:
        write_blind(Chatbot(loaded), loaded, chosen.blind)
        return
    rows = loaded.validation
    if chosen.data:
        rows = list(heldout.held_out(loaded.card, chosen.data)[COLUMNS].itertuples(index=False, name=None))
    bot = Chatbot(loaded)
    said = [bot.reply(question, label, rerank=True) for question, _, label in rows]
    right = np.mean([reply == answer for reply, (_, answer, _) in zip(said, rows, strict=True)])
    print(f"looked up as kochat does it, in all that `lookup_pairs` has: {right:.1%} exact\n")
    asked = prepared(bot, loaded.pairs, rows)
    report(asked, bot.card.strength)
    time_it(bot, asked)


if __name__ == "__main__":
    main()
