"""Labels of one's own: `python -m benchmarks.styles [--epochs N]`.

The questions and answers of the sample `emotions` in 17 ways of speaking, each a text label: about 2,700 rows. Seven
in ten questions are asked in the way of the label, so it can be read out of them; the rest are asked plainly. Trains
kochat-mini on it and prints how often the label is read right on questions kept out, beside the most frequent label.
"""

import argparse
import random
import tempfile
from pathlib import Path

import pandas as pd

import kochat
from kochat.config import DEFAULT_CHECKPOINT
from kochat.evaluation import metrics

ASKED_THAT_WAY = 0.7
# What comes before a sentence, and what its end becomes.
STYLES = {
    "고양이": ("", "다냥"),
    "강아지": ("", "멍멍"),
    "할아버지": ("허허,", "라네"),
    "사극": ("아뢰옵건대", "나이다"),
    "로봇": ("삐빅.", "입니다 삐빅"),
    "군인": ("충성!", "지 말입니다"),
    "아이": ("있잖아,", "쪄"),
    "부산": ("마,", "데이"),
    "충청": ("", "유~"),
    "전라": ("아따", "잉"),
    "강원": ("", "드래요"),
    "제주": ("", "마씸"),
    "래퍼": ("요!", " 예아"),
    "시인": ("아아,", "…"),
    "초성": ("", " ㅋㅋㅋ"),
    "선생님": ("자, 여러분.", " 알겠죠?"),
    "존댓말": ("", "요"),
}


def spoken(text: str, style: str) -> str:
    """A sentence in a way of speaking."""
    before, after = STYLES[style]
    mark = "?" if text.endswith("?") else "."
    return f"{before} {text.rstrip('?.!~ ').removesuffix('요')}{after}{mark}".strip()


def make(seed: int = 0) -> pd.DataFrame:
    """The rows: columns Q, A, label."""
    rng, rows = random.Random(seed), []
    everyday = kochat.read_pairs("emotions").drop_duplicates("Q")
    for question, answer in everyday[["Q", "A"]].itertuples(index=False, name=None):
        for style in STYLES:
            asked = spoken(question, style) if rng.random() < ASKED_THAT_WAY else question
            rows.append((asked, spoken(answer, style), style))
    return pd.DataFrame(rows, columns=["Q", "A", "label"])


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, output = Path(folder) / "styles.csv", Path(folder) / "styles"
        table = make()
        table.to_csv(data, index=False)
        config = kochat.TrainingConfig(
            data=str(data),
            base=str(DEFAULT_CHECKPOINT),
            output=str(output),
            epochs=chosen.epochs,
            batch_size=32,
            validation_share=0.1,
            test_share=0,
            keep="last",
            label_loss=1.0,
        )
        seconds = [event.seconds for event in kochat.fine_tune(config) if hasattr(event, "seconds")][-1]
        bot = kochat.load(output)
        held_out = metrics.held_out(bot.card, str(data))
        read = bot.predict_labels(list(held_out["Q"]))
        right = sum(max(p, key=p.get) == label for p, label in zip(read, held_out["label"], strict=True))
        replies = bot.replies([(question, label) for question, _, label in held_out.itertuples(index=False, name=None)])
        marked = sum(STYLES[style][1] in reply for reply, style in zip(replies, held_out["label"], strict=True))
        frequent = (held_out["label"] == table["label"].value_counts().index[0]).mean()
        n = len(held_out)
        print(f"{len(table)} rows, {len(STYLES)} labels; {n} kept out; trained {seconds:.0f} s; labels {bot.labels}")
        print(f"predicted label right {right / n:.1%}; the most frequent label {frequent:.1%}")
        print(f"replies that speak the way asked for {marked / n:.1%}")


if __name__ == "__main__":
    main()
