"""What answers are looked up in: kept pairs, the corpus that comes with kochat, paraphrases."""

import csv
import lzma

from benchmarks import corpus
from kochat.data.lookup import PARAPHRASES, key_of, lookup_pairs
from kochat.data.near_duplicates import bigrams, canonical, similar
from kochat.data.pairs import read_pairs
from kochat.data.splits import split_by_question

EVERYDAY = list(read_pairs("everyday")[["Q", "A", "label"]].itertuples(index=False, name=None))


def paraphrases_of(question: str) -> list[str]:
    with lzma.open(PARAPHRASES, "rt", encoding="utf-8", newline="") as file:
        return [row["paraphrase"] for row in csv.DictReader(file) if row["key"] == key_of(question)]


def test_a_paraphrase_goes_with_each_answer_to_its_question():
    question = EVERYDAY[0][0]
    wordings = paraphrases_of(question)
    assert len(wordings) >= 2
    kept = [(question, "가", "0"), (question, "나", "0"), (question, "다", "x"), ("아무도 이렇게 안 물어요", "라", "0")]
    found = lookup_pairs(kept, [])
    assert found[:4] == kept
    assert sorted(found[4:]) == sorted((one, *kept[i][1:]) for one in wordings for i in range(3))


def test_everyday_is_there_for_whoever_was_trained_on_it_without_what_is_withheld():
    kept = [("아무도 이렇게 안 물어요", "라", "0")]
    assert lookup_pairs(kept, ["ChatbotData"]) == kept
    found = lookup_pairs(kept, ["ChatbotData", "everyday"])
    assert found[:1] == kept
    parts = split_by_question(read_pairs("everyday"), corpus.SHARE, corpus.SHARE, corpus.SEED)
    asked, withheld = {row[0] for row in found}, {*parts.validation["Q"], *parts.test["Q"]}
    assert len(set(parts.training["Q"]) - asked) == 5  # without paraphrases: mashed keys, say
    # ChatbotData asks these, too.
    assert len(withheld & asked) <= 27
    assert len(set(found)) > 115_000


def test_what_was_taught_anew_has_no_other_answer_under_its_label():
    question = EVERYDAY[0][0]
    wording = paraphrases_of(question)[0]
    found = lookup_pairs([(question, "배운 답", "0"), (wording, "또 배운 답", "1")], ["everyday"])
    assert {answer for asked, answer, label in found if (asked, label) == (question, "0")} == {"배운 답"}
    assert {answer for asked, answer, label in found if (asked, label) == (wording, "0")} == {"배운 답"}
    assert {answer for asked, answer, label in found if (asked, label) == (wording, "1")} == {"또 배운 답"}


def test_few_questions_that_replies_are_judged_by_are_looked_up_nearly_as_they_are_asked():
    judged = [line for name in corpus.JUDGED for line in (corpus.HERE / name).read_text("utf-8").splitlines()]
    assert len(judged) == 120
    known = {row[0] for row in lookup_pairs([], ["everyday"])}
    alike = similar([bigrams(canonical(one)) for one in (*judged, *known)])
    near = [judged[i] for i in sorted({min(pair) for pair in alike if min(pair) < len(judged) <= max(pair)})]
    # docs/kochat-mini.md counts without them, too, and without those nearly alike to one of ChatbotData.
    assert near == ["합격했어!!", "게임에서 또 졌어 ㅠㅠ", "헤어진 지 한 달 됐어", "안녕 오늘 하루 어땠어?"]
