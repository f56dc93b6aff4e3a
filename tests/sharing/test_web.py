"""The exported page: what is in the file, that no text of it becomes structure, and its tokenizer in a browser."""

import base64
import dataclasses
import hashlib
import html
import json
import random
import re
import unicodedata
from pathlib import Path

import pytest
import torch
from browser_tools import open_offline
from conftest import MINI
from kogpt2_like import write_kogpt2_like
from typer.testing import CliRunner

from kochat.cli.main import app as commands
from kochat.errors import CheckpointError, ReplyError
from kochat.inference.chatbot import Chatbot, load
from kochat.inference.engine import token_texts
from kochat.inference.matching import QuestionMatcher, features
from kochat.model import checkpoint
from kochat.model.cards import Card
from kochat.model.kept_pairs import write_pairs
from kochat.sharing import web
from kochat.sharing.description import checksum, description_of
from kochat.sharing.int8 import Int8Matrix, dequantised

HOSTILE = "</script><img src=x onerror=\"document.title='hacked'\"> & 'quotes' \u2028 <!--<script>"


def description_in(page: str) -> dict:
    """What a file says of its bot."""
    return json.loads(re.search(r'<script type="application/json" id="bot">(.*?)</script>', page, re.DOTALL)[1])


def weights_in(page: str) -> bytes:
    return base64.b64decode(re.search(r'id="weights">([^<]*)</script>', page)[1], validate=True)


def test_a_file_holds_the_bot_and_asks_for_nothing(tiny_checkpoint, tmp_path):
    shares = []
    path = web.export_web(tiny_checkpoint, tmp_path / "new" / "bot.html", "우리 봇", "어서 오세요!", shares.append)
    page = path.read_text("utf-8")
    said = description_in(page)
    assert (said["title"], said["greeting"], said["name"]) == ("우리 봇", "어서 오세요!", "tiny")
    assert said["labels"] == ["0", "1", "2"]
    assert said["labelNames"]["ko"] == {"auto": "자동", "0": "일상다반사", "1": "이별·부정", "2": "사랑·긍정"}
    assert (shares[0], shares[-1]) == (0, 1)
    assert shares == sorted(shares)
    # Nothing is fetched: no link but those to sources, no other file.
    assert not re.findall(r"\b(?:src|href)=", page)
    assert "<title>우리 봇</title>" in page
    assert page.index("<textarea") < page.index('id="bot"') < page.index('id="weights"')
    assert not list(path.parent.glob(".*"))  # nothing half-written stays


def test_the_policy_lets_nothing_run_but_the_page_itself(tiny_checkpoint, tmp_path):
    page = web.export_web(tiny_checkpoint, tmp_path / "bot.html").read_text("utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    for tag, name in (("script", "script-src"), ("style", "style-src")):
        content = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[1]
        hashed = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{name} 'sha256-{hashed}'" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe-inline" not in policy


def test_texts_of_a_bot_stay_texts(tmp_path, model, tokenizer):
    labels = [HOSTILE[:40], "$title"]
    card = Card(labels=labels, label_names={"$title": HOSTILE}, sources=[HOSTILE], max_length=64)
    folder = checkpoint.save(tmp_path / "tiny", model, tokenizer, card)
    page = web.export_web(folder, tmp_path / "bot.html", HOSTILE, HOSTILE).read_text("utf-8")
    said = description_in(page)
    assert (said["title"], said["greeting"], said["labels"]) == (HOSTILE, HOSTILE, labels)
    assert said["labelNames"]["en"]["$title"] == HOSTILE
    assert HOSTILE in said["sources"]["ko"][0]
    assert page.count("<script") == page.count("</script>") == 3
    assert "<img" not in page
    assert f"<title>{html.escape(HOSTILE)}</title>" in page


def test_the_weights_in_the_file_are_those_that_python_can_compute_with(tiny_checkpoint, tmp_path):
    page = web.export_web(tiny_checkpoint, tmp_path / "bot.html").read_text("utf-8")
    content, rounded = weights_in(page), dequantised(load(tiny_checkpoint).weights)
    for name, rows, *columns in description_in(page)["model"]["parts"]:
        floats, content = content[: 4 * rows], content[4 * rows :]
        found = torch.frombuffer(bytearray(floats), dtype=torch.float32)
        if columns:
            padded = columns[0] + -columns[0] % 8
            whole, content = content[: rows * padded], content[rows * padded :]
            whole = torch.frombuffer(bytearray(whole), dtype=torch.int8).view(rows, padded)[:, : columns[0]]
            found = whole.float() * found[:, None]
            found = found.t() if name.startswith("h.") else found
        assert torch.equal(found, rounded.tensors[name]), name
    assert not content


def test_eight_bits_keep_a_row_of_zeros_and_are_off_by_half_a_step_at_most():
    rows = torch.randn(6, 20, generator=torch.Generator().manual_seed(0))
    rows[2] = 0
    matrix = Int8Matrix.of(rows)
    assert (matrix.rows() - rows).abs().amax(1).le(matrix.scale * 0.501).all()
    assert not matrix.rows()[2].any()
    assert len(matrix.bytes()) == 6 * 4 + 6 * 24  # 20 columns are filled up to 24


def test_what_the_page_cannot_do_is_refused(tiny_base, tiny_checkpoint, tmp_path):
    with pytest.raises(ReplyError):
        web.export_web(tiny_base, tmp_path / "bot.html")
    bot = load(tiny_checkpoint)
    bot.weights.config["activation_function"] = "relu"
    with pytest.raises(CheckpointError, match="relu"):
        description_of(bot)
    bot = load(tiny_checkpoint)
    bot.tokenizer.backend_tokenizer.pre_tokenizer = None
    with pytest.raises(CheckpointError, match="tokenizer"):
        description_of(bot)
    with pytest.raises(CheckpointError):
        web.export_web(tiny_checkpoint, tmp_path)  # a folder


def test_a_larger_bot_becomes_a_folder_that_replaces_an_earlier_one(tiny_checkpoint, tmp_path, monkeypatch):
    one_file = web.export_web(tiny_checkpoint, tmp_path / "one.html").read_text("utf-8")
    monkeypatch.setattr(web, "MANY_BYTES", 10_000)
    monkeypatch.setattr(web, "PART_BYTES", 4_000)
    folder = web.export_web(tiny_checkpoint, tmp_path / "bot.html", "우리 봇")
    assert folder == tmp_path / "bot"
    page = (folder / "index.html").read_text("utf-8")
    said = description_in(page)
    assert said["id"] == description_in(one_file)["id"]
    assert weights_in(page) == b""
    contents = [(folder / name).read_bytes() for name, _, _ in said["files"]]
    assert b"".join(contents) == weights_in(one_file)
    assert len(b"".join(contents)) == web.weights_size(tiny_checkpoint)
    assert [[len(one), hashlib.sha256(one).hexdigest()] for one in contents] == [part[1:] for part in said["files"]]
    assert max(map(len, contents)) == 4_000
    assert "connect-src 'self'" in page
    assert "connect-src" not in one_file
    (folder / "mine.txt").write_text("mine")
    monkeypatch.setattr(web, "PART_BYTES", 5_000)
    web.export_web(tiny_checkpoint, folder, "새 봇")
    page = (folder / "index.html").read_text("utf-8")
    names = {name for name, _, _ in description_in(page)["files"]}
    assert {path.name for path in folder.iterdir()} == names | {"index.html", "mine.txt"}


def test_the_command_warns_of_a_large_bot_before_it_is_written(tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(web, "MANY_BYTES", 10_000)
    done = CliRunner().invoke(commands, ["export", "web", str(tiny_checkpoint), "--output", str(tmp_path / "bot.html")])
    assert done.output.index("of memory") < done.output.index(
        f"{tmp_path / 'bot'} is ready: put the folder on a web host"
    )


def test_the_command_says_where_the_page_is(tiny_checkpoint, tmp_path):
    path = tmp_path / "bot.html"
    done = CliRunner().invoke(commands, ["export", "web", str(tiny_checkpoint), "--output", str(path), "--title", "봇"])
    assert done.exit_code == 0
    assert str(path) in done.output
    assert description_in(path.read_text("utf-8"))["title"] == "봇"


def test_the_page_has_the_profile_that_its_owner_chose(home, tiny_checkpoint, tmp_path):
    profile = {"title": "꽃집", "greeting": "어서 오세요", "colour": "green", "examples": ["장미 있어요?"]}
    card = dataclasses.replace(checkpoint.read_card(tiny_checkpoint), profile=profile)
    checkpoint.write_card(tiny_checkpoint, "tiny", card)
    shown = description_in(web.export_web(tiny_checkpoint, tmp_path / "bot.html").read_text("utf-8"))
    known = {name: shown[name] for name in ("title", "greeting", "colour", "suggestions")}
    assert known == {"title": "꽃집", "greeting": "어서 오세요", "colour": "green", "suggestions": ["장미 있어요?"]}
    assert (shown["labelTitle"], shown["hasEmotions"]) == ("", True)
    own = web.export_web(tiny_checkpoint, tmp_path / "own.html", title="우리 반", greeting="안녕")
    assert description_in(own.read_text("utf-8"))["title"] == "우리 반"


def test_both_languages_have_the_same_texts():
    texts = [json.loads((web.PAGE / f"{language}.json").read_text("utf-8")) for language in ("ko", "en")]
    assert texts[0].keys() == texts[1].keys()
    used = set(re.findall(r'data-(?:text|label|placeholder)="(\w+)"', (web.PAGE / "page.html").read_text("utf-8")))
    used |= set(re.findall(r'\bsay\("(\w+)"', (web.PAGE / "chat.js").read_text("utf-8")))
    assert used == texts[0].keys()


def texts_to_encode(count: int) -> list[str]:
    """What people and machines type: every script, letters taken apart, emoji, controls, and our own structure."""
    rng = random.Random(0)
    ranges = [(0xAC00, 0xD7A3)] * 4 + [(0x1100, 0x11FF), (0x3130, 0x318E), (0x20, 0x7E), (0x20, 0x7E), (0, 0x1F)]
    ranges += [(0x7F, 0x24F), (0x300, 0x36F), (0x2000, 0x206F), (0x3000, 0x30FF), (0x4E00, 0x9FFF), (0xF900, 0xFFEE)]
    ranges += [(0x1F300, 0x1FAFF), (0x1E900, 0x1E943), (0x10000, 0x10FFFF)]
    words = ["</s><sys>", "<usr>", "<unused1>", "<0x41>", "<pad>", "▁", "  ", "\n", "\x1c", "\ufeff", "\u3164"]
    words += ["안녕하세요", "ㅋㅋㅋㅋ", "오늘", "\u1112\u1161\u11ab", "😀", ":-)", "l^o", "❤️", "👨\u200d👩\u200d👧"]
    words += ["e\u0301", "ﬁ", "ß", "İ", "１２", "?!", "."]

    def piece() -> str:
        if rng.random() < 0.4:
            return rng.choice(words)
        low, high = rng.choice(ranges)
        made = (chr(rng.randint(low, high)) for _ in range(rng.randint(1, 6)))
        return "".join(c for c in made if unicodedata.category(c) not in ("Cn", "Cs"))

    texts = ["".join(piece() for _ in range(rng.randint(1, 7))) for _ in range(count)]
    return [unicodedata.normalize("NFD", text) if i % 4 == 0 else text for i, text in enumerate(texts)]


def kogpt2_like(folder: Path, flagged: bool) -> Path:
    """A chatbot made from something with the layout and the tokenizer of KoGPT2."""
    base = checkpoint.load(write_kogpt2_like(folder / "base", flagged), as_base=True)
    card = Card(labels=["0", "1"], max_length=40, strip_punctuation=True)
    return checkpoint.save(folder / "like", base.model, base.tokenizer, card)


def cleaned(bot: Chatbot, text: str) -> str:
    try:
        return bot._checked(text)
    except ReplyError:
        return ""


@pytest.mark.parametrize("kind", ["mini", "kogpt2", "kogpt2 with plain tokens"])
def test_the_tokenizer_of_the_page_gives_the_ids_and_texts_of_python(kind, browser, tmp_path):
    folder = MINI if kind == "mini" else kogpt2_like(tmp_path, flagged=kind == "kogpt2")
    bot = load(folder)
    odd = ["\ud83d half", "half \ude00", "가" * 300, "가 " * 300]
    texts = [*texts_to_encode(5000 if kind == "mini" else 1500), *odd]
    page = open_offline(browser, web.export_web(folder, tmp_path / "bot.html"))
    found = page.evaluate(
        """async (texts) => {
          const bot = await ready;
          return JSON.parse(texts).map((text) => {
            const ids = bot.encode(text);
            return [ids, bot.tokenizer.decode(ids), bot.tokenizer.tokenTexts(ids), bot.clean(text)];
          });
        }""",
        json.dumps(texts),
    )
    plain = dataclasses.replace(bot.prompt, strip_punctuation=False)
    for text, (ids, decoded, shown, clean) in zip(texts, found, strict=True):
        assert ids == plain.text_ids(text), ascii(text)
        assert decoded == bot.tokenizer.decode(ids), ascii(text)
        assert shown == token_texts(bot.tokenizer, ids), ascii(text)
        assert clean == cleaned(bot, text).encode("utf-8", "replace").decode() or "half" in text, ascii(text)
    page.context.close()


def test_the_page_finds_the_own_question_that_python_finds(browser, tiny_checkpoint, tmp_path):
    page = open_offline(browser, web.export_web(tiny_checkpoint, tmp_path / "bot.html"))
    own = [(question, "가게") for question in ("배달 되나요?", "주차 되나요?", "몇 시까지 해요?", "안녕")]
    own.append(("안녕", "인사"))
    background = ["오늘 뭐 먹지", "심심해", "주차는 어디에"]
    bot = load(tiny_checkpoint)
    bot.matcher = QuestionMatcher(own, background)
    bot.own_labels = {"가게"}
    bot.card = dataclasses.replace(bot.card, labels=["가게", "인사"])
    asked = ["집까지 배달해 주실 수 있어요?", "차 댈 데 있어요?", "심심해", "주차는 어디에", "안녕", "안녕하세요"]
    asked += ["언제 닫아요?", *texts_to_encode(400)]
    found = page.evaluate(
        """([description, asked]) => {
          const matcher = new QuestionMatcher(description);
          const match = (text, label) => matcher.match(text, label)?.question ?? null;
          const all = (text) => [match(text, null), match(text, "인사"), matcher.featuresOf(text), checksum(text)];
          return asked.map(all);
        }""",
        [description_of(bot)["matching"], asked],
    )
    for text, (meant, greeting, compared, sum_of_text) in zip(asked, found, strict=True):
        for label, question in ((None, meant), ("인사", greeting)):
            match = bot.matcher.match(text, label)
            assert question == (match and match.question), (text, label)
        assert set(compared) == features(text), ascii(text)
        assert sum_of_text == checksum(text)
    page.context.close()


def test_labels_that_are_kept_for_the_base_alone_are_not_offered(tmp_path, model, tokenizer):
    data = {"own_labels": ["손님", "단골"], "newest_pairs": 3}
    card = Card(["0", "손님", "단골"], data=data, sources=["mine.csv"], max_length=64)
    folder = checkpoint.save(tmp_path / "shop", model, tokenizer, card)
    own = [("몇 시까지 해요?", "여덟 시요.", "손님"), ("주차돼요?", "네.", "단골"), ("안녕", "네.", "0")]
    write_pairs(folder, [*own, ("뭐해?", "그냥요.", "0")])
    said = description_of(load(folder))
    assert said["labels"] == ["손님", "단골"]
    assert said["labelNames"]["ko"] == {"auto": "자동", "손님": "손님", "단골": "단골"}
    assert said["matching"]["questions"] == [["몇 시까지 해요?", ["손님"]], ["주차돼요?", ["단골"]]]
    assert said["sources"]["ko"] == ["`mine.csv` (라이선스는 만든 사람에게 물어보세요)"]
    checkpoint.write_card(folder, "shop", dataclasses.replace(card, profile={"hidden_labels": ["단골"]}))
    said = description_of(load(folder))
    assert said["labels"] == ["0", "손님"]
    assert said["matching"]["questions"] == [["몇 시까지 해요?", ["손님"]], ["안녕", ["0"]]]
