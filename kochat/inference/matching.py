"""Which of a bot's own questions is asked in other words: the cosine of TF-IDF of syllables and concepts.

A model of five million parameters that learned 39 answers of a shop by heart gives them for the 39 questions as
written, and hardly one of ten for the same questions in other words. Syllables tell most of these: "집까지 배달해 주실
수 있어요?" is nearest to "배달 되나요?". So a question that is like one of the bot's own is put to the model as that
one, and one that is like none of them can be told. Where the words are others altogether ("차 댈 데 있어요?" for
"주차 되나요?"), synonyms.txt tells what both ask for. Knows texts only.
"""

from __future__ import annotations

import functools
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

# Chosen on benchmarks/shops/dev, together with the numbers below.
MIN_SIMILARITY = 0.22
CONCEPT = "#"  # begins a concept; no n-gram has one
NGRAMS = (1, 2)  # syllables, a word's beginning counting as one
CONCEPT_WEIGHT = 4  # of a concept of synonyms.txt, beside an n-gram that is as rare
MAX_QUESTIONS = 2000  # own ones; of more, the model has learned to tell them itself
MAX_BACKGROUND = 3000  # other questions tell well enough which syllables are rare
EMPHASIS = 1.5  # exponent of the weight of what is rare
OWN_SHARE = 0.5  # what is frequent among the own questions alone counts as half as frequent
ASKING_SHARE = 0.1  # an n-gram of ten words of ASKING counts as frequent as one in ten of all questions

# How people ask, whatever they ask for: these words say little of what a question is about.
ASKING = """
얼마예요 얼마인가요 얼마죠 얼마나 들어요 가격이 어떻게 되나요 하나요 해요 돼요 되나요 가나요 언제예요 언제
언제까지 언제부터인가요 몇 시예요 시까지 시부터 시에 며칠 걸려요 걸리나요 어디예요 어디에 있나요 어디인가요 어디서
있어요 있습니까 없나요 됩니까 안 가능한가요 가능해요 가능합니까 합니까 하시나요 해 주시나요 주나요 주세요 주실 수
할 있을까요 알려 줘 알고 싶어요 궁금해요 뭐예요 무엇인가요 무슨 뭐가 어떤 게 어떤가요 추천해 하고 싶은데요
하려고요 하려면 받을 필요한가요 필요해요 해야 따로 혹시 좀 그냥 제가 저희 같은 거 방법이 뭐야 어때 어떻게 할까
하지 싶어 싶다 있어 없어 왜 이렇게 너무 오늘 지금 진짜 나 내가
""".split()  # noqa: SIM905, a list of 130 is harder to read


@dataclass(frozen=True)
class Match:
    """An own question that is meant, the labels that it is answered under, and how alike they are, from 0 to 1."""

    question: str
    labels: tuple[str, ...]
    similarity: float


class QuestionMatcher:
    """Finds the own question that is meant.

    `own` are (question, label); `background` are other questions, which tell what is rare and stand for themselves.
    """

    def __init__(self, own: Iterable[tuple[str, str]], background: Sequence[str] = ()):
        self.labels: dict[str, list[str]] = {}
        for question, label in own:
            self.labels.setdefault(question, []).append(label)
        self.questions = list(self.labels)
        self.background = frozenset(background)
        few = background[:: -(-len(background) // MAX_BACKGROUND) or 1]
        self._in_background, self._num_background = Counter(g for text in few for g in features(text)), len(few)
        self._in_own = Counter(g for text in self.questions for g in features(text))
        self._in_asking = Counter(g for word in ASKING for g in features(word))
        self._places: dict[str, list[int]] = defaultdict(list)  # of the questions that have an n-gram
        for place, text in enumerate(self.questions):
            for one in features(text):
                self._places[one].append(place)
        self._sizes = [math.fsum(map(self.weight, features(text))) for text in self.questions]

    @property
    def features(self) -> set[str]:
        """Those that any question, or the words of ASKING, have; any other one is as rare as can be."""
        return {*self._in_background, *self._in_own, *self._in_asking}

    def weight(self, feature: str) -> float:
        """The rarer the more: the inverse document frequency, with EMPHASIS."""
        shares = (
            (self._in_background[feature] + 0.5) / (self._num_background + 1),
            OWN_SHARE * self._in_own[feature] / (len(self.questions) + 5),
            ASKING_SHARE * self._in_asking[feature] / 10,
        )
        rarity = (-math.log(min(0.99, max(shares)))) ** EMPHASIS
        return CONCEPT_WEIGHT * rarity if feature.startswith(CONCEPT) else rarity

    def similarities(self, question: str) -> list[float]:
        """The cosine of `question` and each of `questions`."""
        found = features(question)
        size, common = math.fsum(map(self.weight, found)), [0.0] * len(self.questions)
        for one in sorted(found):  # in an order, so that sums are the same each time
            for place in self._places.get(one, ()):
                common[place] += self.weight(one)
        return [c / math.sqrt(size * own) if c else 0.0 for c, own in zip(common, self._sizes, strict=True)]

    def match(self, question: str, label: str | None = None) -> Match | None:
        """The own question that is meant, of those answered under `label` where one is given; None where none is.

        A question of the background means itself.
        """
        if question in self.labels:
            best, similarity = question, 1.0
        elif question in self.background:
            return None
        else:
            scores = {
                text: score
                for text, score in zip(self.questions, self.similarities(question), strict=True)
                if label is None or label in self.labels[text]
            }
            best = max(scores, key=scores.get, default="")
            similarity = scores.get(best, 0.0)
        labels = tuple(self.labels.get(best, ()))
        if similarity < MIN_SIMILARITY or (label is not None and label not in labels):
            return None
        return Match(best, labels, similarity)


def features(text: str) -> frozenset[str]:
    """What a question is compared by: its n-grams and its concepts."""
    return ngrams(text) | concepts(text)


def concepts(text: str) -> frozenset[str]:
    """The concepts of synonyms.txt whose words occur in a text, spaced in any way."""
    spaced = " ".join(_words(text))
    in_words, run_together = _stems()
    return frozenset(_occurring(spaced, in_words)) | frozenset(_occurring(spaced.replace(" ", ""), run_together))


def _occurring(text: str, stems: dict[str, list[tuple[str, str]]]) -> Iterator[str]:
    for i in range(len(text) - 1):
        for stem, concept in stems.get(text[i : i + 2], ()):
            if text.startswith(stem, i):
                yield concept


@functools.cache
def synonyms() -> dict[str, tuple[str, ...]]:
    """The words of each concept of synonyms.txt."""
    lines = Path(__file__).with_name("synonyms.txt").read_text("utf-8").splitlines()
    named = (line.partition(":") for line in lines if not line.startswith("#"))
    return {name: tuple(stem.strip() for stem in stems.split(",")) for name, _, stems in named}


@functools.cache
def _stems() -> tuple[dict[str, list[tuple[str, str]]], dict[str, list[tuple[str, str]]]]:
    """The (word, concept) by the first two letters of the word: spaced as in the file, and run together."""
    in_words, run_together = defaultdict(list), defaultdict(list)
    for name, stems in synonyms().items():
        for stem in stems:
            in_words[stem[:2]].append((stem, CONCEPT + name))
            joined = stem.replace(" ", "")
            if len(joined) > 2:  # two syllables, without their space, are found in too much
                run_together[joined[:2]].append((joined, CONCEPT + name))
    return dict(in_words), dict(run_together)


def ngrams(text: str) -> frozenset[str]:
    """The n-grams of a text's words, without punctuation and case; each word has a space before it."""
    low, high = NGRAMS
    return frozenset(
        gram
        for word in _words(text)
        for n in range(low, high + 1)
        for i in range(len(word) + 2 - n)
        if (gram := f" {word}"[i : i + n]) != " "
    )


def _words(text: str) -> list[str]:
    return re.sub(r"[\W_]+", " ", unicodedata.normalize("NFKC", text).casefold()).split()
