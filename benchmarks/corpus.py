"""The pairs of kochat-mini: `python -m benchmarks.corpus ChatbotData.csv FOLDER [--all] [--keep CHECKPOINT]`.

Writes `corpus.csv`: ChatbotData, those pairs of `everyday` whose questions are not withheld, and the questions of both
in other words (`benchmarks/paraphrases/`), each with the answers of the question that it says anew. A training on it
withholds some of ChatbotData's. `suggested.csv` has of that only ChatbotData, and `everyday` under the label that each
question itself suggests: a last training on it teaches to read labels. The withheld pairs of `everyday` come into
`everyday-validation.csv` and `everyday-test.csv`, for `python -m kochat eval --data`.

Both have what kochat-mini was trained on. With `--all` they have what was written since, too: more questions of
`everyday`, a third and a fourth paraphrase of each question, and paraphrases come under all labels. Then there are
`mixed.csv` and `mixed-more.csv`, which have fewer paraphrases of `everyday`, and `paraphrases.csv.xz`, which kochat
looks answers up in (`kochat/data/samples/`). With `--keep` a checkpoint that was trained on `corpus.csv` keeps its
pairs without the paraphrases: those of ChatbotData, and as many of `everyday` as there is room for.
"""

import argparse
from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from kochat.data.lookup import PARAPHRASES as LOOKED_UP
from kochat.data.lookup import key_of
from kochat.data.near_duplicates import canonical, groups
from kochat.data.pairs import COLUMNS, read_pairs
from kochat.data.splits import WITHHELD_SHARE, Parts, split_by_question
from kochat.model.kept_pairs import MAX_PAIRS, write_pairs
from kochat.training.examples import spread

NUM_LEARNED = 4798  # questions of `everyday`: the first, which kochat-mini was trained on
SHARE = 0.0865  # of the questions of `everyday` for validation, and as many for test
SEED = 0
HERE = Path(__file__).parent
PARAPHRASES = HERE / "paraphrases"
PREFIXES = ("", "more_")  # of the names of their files: the first two of each question, and those written later
JUDGED = ("everyday_questions.txt", "fresh_questions.txt")  # each 60 questions, to which replies are read by a person


def tables(chatbot_data: Path, with_all: bool = False) -> dict[str, pd.DataFrame]:
    """The tables of pairs by the names of their files; "originals", the first of `corpus`, and "paraphrases"."""
    everyday = read_pairs("everyday")
    questions = everyday["Q"].unique()[: None if with_all else NUM_LEARNED]
    everyday = split_by_question(everyday[everyday["Q"].isin(questions)], SHARE, SHARE, SEED)
    originals = pd.concat([read_pairs(chatbot_data), everyday.training])[COLUMNS]
    written = _written(questions, with_all)
    judged = JUDGED if with_all else JUDGED[:1]  # the others were written later
    new = _new(originals, everyday, written, judged, with_all)
    label = everyday.training["Q"].map(key_of).map(written.dropna().drop_duplicates("key").set_index("key")["label"])
    suggested = pd.concat([read_pairs(chatbot_data), everyday.training[everyday.training["label"] == label]])
    parts = {"everyday-validation": everyday.validation, "everyday-test": everyday.test}
    paraphrases = written[written["paraphrase"].isin(new["Q"])][["key", "paraphrase"]].drop_duplicates()
    made = {"corpus": pd.concat([originals, new]), "suggested": suggested, **parts, "originals": originals}
    return made | {"paraphrases": paraphrases} | (_mixed(chatbot_data, made) if with_all else {})


def _mixed(chatbot_data: Path, made: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """ChatbotData in all words beside `everyday` in its own ("mixed"), and that with one paraphrase of each question of
    `everyday` under the label that it suggests ("mixed-more").
    """
    chats, originals = read_pairs(chatbot_data), made["originals"]
    paraphrases = made["corpus"].iloc[len(originals) :]
    suggested = made["suggested"].iloc[len(chats) :]
    # No answer of `everyday` is there twice, nor in ChatbotData.
    of_chats = paraphrases[paraphrases["A"].isin(chats["A"])]
    one_each = paraphrases[paraphrases["A"].isin(suggested["A"])].drop_duplicates("A")
    withheld = split_by_question(made["corpus"], WITHHELD_SHARE, WITHHELD_SHARE, SEED)
    mixed = _withholding_no_more([originals, of_chats], withheld)
    more = _withholding_no_more([chats, of_chats, suggested, one_each], withheld)
    return {"mixed": mixed, "mixed-more": pd.concat([mixed, more]).drop_duplicates()}


def _withholding_no_more(tables: Sequence[pd.DataFrame], withheld: Parts) -> pd.DataFrame:
    """The rows of the tables, once each, without those that a training would withhold beside `withheld`."""
    rows = pd.concat(tables)[COLUMNS].drop_duplicates()
    parts = split_by_question(rows, WITHHELD_SHARE, WITHHELD_SHARE, SEED)
    more = set(parts.validation["Q"]) - set(withheld.validation["Q"]), set(parts.test["Q"]) - set(withheld.test["Q"])
    return rows[~rows["Q"].isin(set().union(*more))]


def _new(
    originals: pd.DataFrame, everyday: Parts, written: pd.DataFrame, judged: Sequence[str], with_all: bool
) -> pd.DataFrame:
    """The pairs of the paraphrases `written` that may be learned.

    Left out are those that are a question of the corpus already; those nearly alike to a withheld question, or to one
    of `judged`, to which replies are read; and those that the training would withhold.
    """
    parts = split_by_question(originals, WITHHELD_SHARE, WITHHELD_SHARE, SEED)
    rows = _paraphrased(parts.training, written, with_all)
    kept_out = {line for name in judged for line in (HERE / name).read_text("utf-8").splitlines()}.union(
        *(part["Q"] for part in (parts.validation, parts.test, everyday.validation, everyday.test))
    )
    group_of = groups({*rows["Q"], *kept_out})
    groups_out, there = {group_of[question] for question in kept_out}, set(map(canonical, originals["Q"]))
    is_new = rows["Q"].map(lambda question: group_of[question] not in groups_out and canonical(question) not in there)
    rows = rows[is_new]
    learned = split_by_question(pd.concat([originals, rows]), WITHHELD_SHARE, WITHHELD_SHARE, SEED).training
    return rows[rows["Q"].isin(learned["Q"])].drop_duplicates()


def _paraphrased(training: pd.DataFrame, written: pd.DataFrame, with_all: bool) -> pd.DataFrame:
    """Each paraphrase with the answers of its question: all of them, or without `with_all` some.

    Then one of `everyday` has a label, that which the question itself suggests, and goes with the answer under it; the
    first of a question goes with the answers under the others, too. So 자동 learns to read the label of a question that
    is answered under each.
    """
    written = written.assign(is_first=~written.duplicated("key"))
    rows = training.rename(columns={"label": "of"}).assign(key=training["Q"].map(key_of)).merge(written, on="key")
    if not with_all:
        rows = rows[rows["is_first"] | rows["label"].isna() | (rows["label"] == rows["of"])]
    return rows[["paraphrase", "A", "of"]].set_axis(COLUMNS, axis=1)


def _written(questions: Collection[str], with_all: bool) -> pd.DataFrame:
    """The paraphrases: the key of the question, paraphrase, and of those of `everyday`, of `questions` alone, label."""
    prefixes = PREFIXES if with_all else PREFIXES[:1]
    chats, everyday = (
        pd.concat([pd.read_csv(PARAPHRASES / f"{prefix}{name}.csv", dtype=str) for prefix in prefixes])
        for name in ("chats", "everyday")
    )
    everyday = everyday[everyday["Q"].isin(questions)]
    return pd.concat([chats, everyday.assign(key=everyday["Q"].map(key_of)).drop(columns="Q")])


def main() -> None:
    """Write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("chatbot_data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--all", action="store_true", help="with what was written since kochat-mini was trained")
    parser.add_argument("--keep", type=Path, metavar="CHECKPOINT", help="rewrite the pairs beside this checkpoint")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    made = tables(chosen.chatbot_data, chosen.all)
    originals, paraphrases = made.pop("originals"), made.pop("paraphrases")
    if chosen.all:
        paraphrases.to_csv(chosen.folder / LOOKED_UP.name, index=False, lineterminator="\n")
    if chosen.keep:
        learned = split_by_question(originals, WITHHELD_SHARE, WITHHELD_SHARE, SEED).training
        chats = learned["A"].isin(read_pairs(chosen.chatbot_data)["A"])
        chats, everyday = (list(part.itertuples(index=False, name=None)) for part in (learned[chats], learned[~chats]))
        write_pairs(chosen.keep, chats + spread(everyday, MAX_PAIRS - len(chats)))
    for name, table in made.items():
        table[COLUMNS].to_csv(chosen.folder / f"{name}.csv", index=False)
        print(f"{name}.csv: {len(table):,} pairs")


if __name__ == "__main__":
    main()
