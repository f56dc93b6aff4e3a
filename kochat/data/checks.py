"""What can be wrong with one row: question, answer and label. Knows no file and no table.

Texts are told apart as people see them: in the one normal form of Unicode (NFC), and without what is not seen.
A pair that repeats an earlier one, or answers its question otherwise, is found by whoever sees all rows;
only rows that are good in themselves are compared, with the first such row.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from kochat.labels import AUTO

BAD = (
    "empty_question",
    "empty_answer",
    "no_label",
    "long_label",
    "reserved_label",
    "control",
    "excel_error",
    "no_result",
    "repeated_header",
    "too_long",
    "duplicate",
)
NOTES = ("other_answer",)  # said, not wrong: the same question under the same label, answered otherwise
MAX_LABEL_LENGTH = 40  # characters

# (question, answer, label) of many rows in, whether each is over the length that a model can take out.
TooLong = Callable[[list[tuple[str, str, str]]], list[bool]]

# Nobody types these: controls (a line break and a tab are text), what turns the direction of the text around,
# half a character, and the mark of text that was read in a wrong encoding.
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffd]")

# As wide as nothing, or a blank that is no white space to Python: soft hyphen, the fillers of Hangul, Braille's blank,
# what joins or parts words. Not the joiner of emoji and the selectors of their look, which change what is seen.
HANGUL_FILLERS = "\u115f\u1160"  # stand for a missing letter in old Hangul
INVISIBLE = "\u00ad\u034f\u061c\u180e\u200b\u200c\u200e\u200f\u2060-\u2064\u2800\u3164\ufeff\uffa0"
BLANK = "".join(filter(str.isspace, map(chr, range(0x3001)))) + "".join(map(chr, range(0x2060, 0x2065)))
BLANK += INVISIBLE.replace("\u2060-\u2064", "")
ALL_BLANK = re.compile(rf"[\s{INVISIBLE}{HANGUL_FILLERS}\u200d\ufe00-\ufe0f]*")
FOLDED = re.compile(rf"[{INVISIBLE}{HANGUL_FILLERS}]")
JOINER_OF_NOTHING = re.compile(r"(?<=[\w\s])\u200d|\u200d(?=[\w\s])")  # an emoji is neither a letter nor a space
WIDE = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)}  # ０ is 0

# What Excel and its relatives write where a formula went wrong, or where a column was too narrow for a number.
EXCEL_ERROR = re.compile(
    r"#(NULL!|DIV/0!|VALUE!|REF!|NAME\?|NUM!|N/A|GETTING_DATA|SPILL!|CALC!|FIELD!|BLOCKED!|CONNECT!|BUSY!|UNKNOWN!"
    r"|EXTERNAL!|PYTHON!|ERROR!|#{2,})"
)
NO_RESULT = "#NO_RESULT!"  # stands where a workbook has a formula and not what came out of it

COLUMN_NAMES = {
    "en": {"question": "question", "answer": "answer", "label": "label"},
    "ko": {"question": "질문", "answer": "답변", "label": "라벨"},
}
REASONS = {
    "en": {
        "empty_question": "is empty",
        "empty_answer": "is empty",
        "no_label": "is empty",
        "long_label": "is longer than {longest} characters",
        "reserved_label": "“{auto}” means that the bot chooses by itself",
        "control": "has control characters or broken ones",
        "excel_error": "is an Excel error, not a text",
        "no_result": "is a formula without a result: open the file in Excel and save it there",
        "repeated_header": "the header again",
        "too_long": "longer than the model can take",
        "duplicate": "the same as row {other}",
        "other_answer": "answers the question of row {other} otherwise",
    },
    "ko": {
        "empty_question": "비어 있어요",
        "empty_answer": "비어 있어요",
        "no_label": "비어 있어요",
        "long_label": "{longest}자보다 길어요",
        "reserved_label": "“{auto}”는 챗봇이 스스로 고른다는 뜻이라 쓸 수 없어요",
        "control": "제어 문자나 깨진 글자가 있어요",
        "excel_error": "내용이 아니라 엑셀 오류예요",
        "no_result": "결과가 저장되지 않은 수식이에요. 엑셀에서 열어 다시 저장해 주세요",
        "repeated_header": "제목 행이 한 번 더 나왔어요",
        "too_long": "모델이 다룰 수 있는 길이보다 길어요",
        "duplicate": "{other}행과 똑같아요",
        "other_answer": "{other}행과 같은 질문인데 답이 달라요",
    },
}


@dataclass(frozen=True)
class Problem:
    """What is wrong with a row, or to be noted of it.

    `row` is its number as a spreadsheet counts, `column` "question", "answer", "label" or "" for the whole row,
    `reason` one of BAD and NOTES, `other` the row that it repeats.
    """

    row: int
    column: str
    reason: str
    other: int | None = None

    @property
    def is_note(self) -> bool:
        """Whether the row can be used all the same."""
        return self.reason in NOTES

    def text(self, language: str) -> str:
        """One line for people; `language` is "ko" or "en"."""
        place = f"{self.row}행" if language == "ko" else f"row {self.row}"
        return place + (" · " if self.column else ": ") + self.text_in_row(language)

    def text_in_row(self, language: str) -> str:
        """The same where the number of the row stands already."""
        place = f"{COLUMN_NAMES[language][self.column]}: " if self.column else ""
        reason = REASONS[language][self.reason]
        return place + reason.format(longest=MAX_LABEL_LENGTH, auto=AUTO, other=self.other)


def clean(text: str) -> str:
    """A cell as it is kept: in NFC, without outer white space, and without what is as wide as nothing.

    macOS takes Hangul apart into its letters (NFD), which look the same and are not equal.
    """
    text = unicodedata.normalize("NFC", text.strip(BLANK))
    return "" if ALL_BLANK.fullmatch(text) else text


def clean_label(label: str) -> str:
    """A label as it is kept: `clean`, folded as for comparing, and with full-width digits and letters as plain ones."""
    return fold(clean(label).translate(WIDE))


def fold(text: str) -> str:
    """What a clean text is compared by: nothing invisible in it, and one space where there is any white space."""
    if not text.isascii():
        text = JOINER_OF_NOTHING.sub("", FOLDED.sub("", text))
    return " ".join(text.split())


def problems_of(question: str, answer: str, label: str) -> list[tuple[str, str]]:
    """(column, reason) of all that can be seen to be wrong in a clean row alone."""
    found = []
    for column, cell in (("question", question), ("answer", answer), ("label", label)):
        if not cell:
            found.append((column, "no_label" if column == "label" else f"empty_{column}"))
        elif cell == NO_RESULT:
            found.append((column, "no_result"))
        elif EXCEL_ERROR.fullmatch(cell):
            found.append((column, "excel_error"))
        elif CONTROL.search(cell):
            found.append((column, "control"))
    if len(label) > MAX_LABEL_LENGTH:
        found.append(("label", "long_label"))
    if label == AUTO:
        found.append(("label", "reserved_label"))
    return found
