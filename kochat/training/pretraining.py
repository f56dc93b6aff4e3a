"""Make a base: a tokenizer and a small GPT-2 trained on plain Korean lines, before any pair.

Knows lines of text, the tokenizer and the trainer; nothing of labels or replies.
"""

from __future__ import annotations

import itertools
import lzma
import random
import re
import time
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from accelerate.utils import set_seed

from kochat.config import PretrainingConfig, TrainingConfig
from kochat.data import pairs
from kochat.errors import DataError
from kochat.model import checkpoint
from kochat.model.batches import block, epoch_order, pad
from kochat.model.cards import Card, source_name
from kochat.model.commands import command
from kochat.model.gpt2 import make_model
from kochat.model.tokenizer import Tokenizer, make_tokenizer
from kochat.training.events import Finished, Step
from kochat.training.trainer import Trainer, mean_loss

if TYPE_CHECKING:
    import pandas as pd

# Lines with these are left out: the bot should not learn to swear. Stems, as people write them.
COARSE = re.compile(
    r"[씨시씹쉬]\s*[발팔벌빨]|ㅅ\s*ㅂ|ㅆ\s*ㅂ|ㅄ|ㅂ\s*ㅅ|[병븅빙]\s*[신쉰딱]|[지즤]랄|ㅈ\s*ㄹ|[좆좃좇]|존나|졸라|ㅈㄴ|쓰레기|쓰렉|"
    r"개\s*새|새끼|쉐[이리]|색[히끼]|썅|쌍[놈년]|미친[놈년]|[놈년]들|엿\s*먹|닥쳐|꺼져|죽여|죽어라|뒤[져진질]|뒈|"
    r"섹스|야동|[가-힣]*꼴[리려]|강간|성매매|성폭|성추행|창녀|걸레|변태|자위|포르노|게이|호모|레즈|"
    r"한남|한녀|김치녀|된장녀|메갈|일베|홍어|전라도|경상도|좌빨|좌파|우파|수꼴|빨갱이|쪽바리|짱깨|왜놈|양놈|깜둥|흑형|"
    r"또라이|돌아이|등신|장애인|정신병|찌질|대가리|아가리|주둥|똥|토나|역겹|구역질|개독|먹사|땡중"
)
MIN_LINE_LENGTH, MAX_LINE_LENGTH = 6, 160  # characters
PAIRS_WEIGHT = 20  # so often the tokenizer counts the pairs, against some 60 times as much text
MAX_LENGTH = 96
# What suits a small model made here, for whoever fine-tunes it.
DEFAULTS = {"epochs": 10, "batch_size": 32, "learning_rate": 1e-3, "max_length": MAX_LENGTH}


def clean_lines(lines: Iterable[str]) -> list[str]:
    """Lines worth learning from: mostly Korean, of sensible length, not coarse, each once."""
    kept: dict[str, None] = {}
    for line in lines:
        line = re.sub(r"\s+", " ", line).strip()
        # Reviewers cheer with endless runs of one sign.
        line = re.sub(r"(.)\1{3,}", r"\1\1\1", line)
        korean = len(re.findall("[가-힣]", line))
        if MIN_LINE_LENGTH <= len(line) <= MAX_LINE_LENGTH and korean >= 0.6 * len(line) and not COARSE.search(line):
            kept[line] = None
    return list(kept)


def read_lines(path: Path, limit: int | None = None) -> list[str]:
    """The clean lines of a text file. Raises DataError."""
    if not path.is_file():
        raise DataError("no_file", path=path)
    with lzma.open(path, "rt", encoding="utf-8") if path.suffix == ".xz" else path.open(encoding="utf-8") as file:
        lines = clean_lines(file)[:limit]
    if not lines:
        raise DataError("no_rows", name=path.name)
    return lines


def pretrain(config: PretrainingConfig) -> Iterator[Step | Finished]:
    """Train a tokenizer and a model on `config.text` and write the base `config.output`.

    Yields a Step for each step and Finished; the loss is nats a token. Raises DataError or
    CheckpointError.
    """
    start = time.monotonic()
    checkpoint.check_free(config.output)
    lines = read_lines(Path(config.text), config.lines)
    # In the file the reviews of a film stand together; a line should not hint at the next.
    random.Random(config.seed).shuffle(lines)
    learned = [_training_part(one, config) for one in config.pairs]
    texts = itertools.chain(lines, *(itertools.chain(table["Q"], table["A"]) for table in learned * PAIRS_WEIGHT))
    tokenizer = make_tokenizer(texts, config.vocabulary, alphabet=config.vocabulary // 4)
    stream = _encode(tokenizer, lines)
    starts = range(0, len(stream) - config.block + 1, config.block)
    set_seed(config.seed)
    model = make_model(tokenizer, config.layers, config.width, config.heads, config.positions, config.seed)
    steps = -(-len(starts) // config.batch_size) * config.passes
    settings = TrainingConfig(
        data=config.text,
        optimizer="muon",
        learning_rate=config.learning_rate,
        warmup_share=0.02,
        label_loss=0.0,
        seed=config.seed,
    )
    trainer, done = Trainer(model, settings, steps), itertools.count(1)
    for number in range(1, config.passes + 1):
        for batch in epoch_order([config.block] * len(starts), config.batch_size, config.seed, number):
            result = trainer.step(pad([block(stream, starts[i], config.block) for i in batch], tokenizer.pad_token_id))
            yield Step(next(done), steps, mean_loss([result]), time.monotonic() - start)
    card = Card(
        max_length=MAX_LENGTH,
        data={"source": source_name(config.text)},
        defaults=DEFAULTS,
        sources=[source_name(config.text)],
        recipe=[command("pretrain", config)],
    )
    checkpoint.save(config.output, model, tokenizer, card, config.save_dtype)
    yield Finished(config.output, epoch=None, seconds=time.monotonic() - start)


def _training_part(source: str, config: PretrainingConfig) -> pd.DataFrame:
    """The pairs of a file that are not withheld: what a training withholds, its base has not seen either."""
    shares = config.withheld_share, config.withheld_share
    return pairs.split_by_question(pairs.read_pairs(source), *shares, config.seed).training


def _encode(tokenizer: Tokenizer, lines: list[str]) -> array:
    """All lines as one run of token ids, </s> after each; an array, since a list takes ten times as much."""
    stream = array("H" if len(tokenizer) <= 2**16 else "L")
    for start in range(0, len(lines), 10_000):
        for one in tokenizer.backend_tokenizer.encode_batch(lines[start : start + 10_000], add_special_tokens=False):
            stream.extend(one.ids)
            stream.append(tokenizer.eos_token_id)
    return stream
