"""Files as people have them, odd ones too, and what is to become of each: exact pairs and problems, or a refusal.

Every file is named .csv, whatever is in it: what a file is, its content tells.
"""

import gzip
import io
import json
import re
import unicodedata
import zipfile
from dataclasses import dataclass, field
from datetime import datetime

import openpyxl

PAIRS = [["12시 땡!", "하루가 또 가네요.", "0"], ["고백할까?", "용기를 내 보세요!", "2"]]
TEXT = "Q,A,label\n12시 땡!,하루가 또 가네요.,0\n고백할까?,용기를 내 보세요!,2\n"
HUGE = "가" * 350_000  # a megabyte in UTF-8


@dataclass
class Odd:
    """A file: `pairs` are its good rows, `problems` (row, column, reason, other row); or `error`, the refusal's key."""

    data: bytes
    pairs: list[list[str]] = field(default_factory=list)
    problems: list[tuple] = field(default_factory=list)
    error: str | None = None


def read(content: str | bytes, pairs: list[list[str]] = PAIRS, *problems: tuple) -> Odd:
    """A file that is read."""
    data = content.encode() if isinstance(content, str) else content
    return Odd(data, pairs, [(*problem, None)[:4] for problem in problems])


def refused(content: str | bytes, error: str) -> Odd:
    """A file that is refused."""
    return Odd(content.encode() if isinstance(content, str) else content, error=error)


def xlsx(
    *sheets: list[list], change: tuple[str, str] | None = None, names: list[str] | None = None, hidden: list[int] = ()
) -> bytes:
    """A workbook with these sheets; `change` replaces a pattern in the XML of the first."""
    book = openpyxl.Workbook()
    book.remove(book.active)
    for place, rows in enumerate(sheets):
        sheet = book.create_sheet(names[place] if names else None)
        sheet.sheet_state = "hidden" if place in hidden else "visible"
        for row in rows:
            sheet.append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    if change:
        first = "xl/worksheets/sheet1.xml"
        with zipfile.ZipFile(buffer) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        changed = re.sub(change[0], change[1], members[first].decode())
        assert changed != members[first].decode()
        buffer = zipped(members | {first: changed.encode()})
    return buffer.getvalue()


def strict(workbook: bytes) -> bytes:
    """The same workbook with the names of XML that "Strict Open XML" has."""
    with zipfile.ZipFile(io.BytesIO(workbook)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    old, new = b"http://schemas.openxmlformats.org/spreadsheetml/2006/", b"http://purl.oclc.org/ooxml/spreadsheetml/"
    return zipped({name: data.replace(old, new) for name, data in members.items()}).getvalue()


def zipped(members: dict[str, bytes]) -> io.BytesIO:
    """A zip of these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer


def jsonl(*records: dict) -> str:
    """JSON Lines."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def turns(question: str, answer: str) -> list[dict]:
    """A conversation of two turns."""
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


HEADER = ["Q", "A", "label"]
TWO = [["가", "나", "기본"], ["다", "라", "기본"]]
SHEET = [HEADER, *PAIRS]
LINES = jsonl(*(dict(zip(HEADER, row, strict=True)) for row in PAIRS))
NESTED = {"Q": "가", "A": ["나", {"다": "라"}], "label": "0", "memo": {"x": [1]}}
OTHERS = "Q,A,label\n안녕,네,0\n안녕,네,1\n안녕,네,0\n안녕,응,0\n,네,0\n"

ENCODINGS = {
    "utf-8": read(TEXT),
    "utf-8 with BOM": read(TEXT.encode("utf-8-sig")),
    "cp949": read(TEXT.encode("cp949")),
    "utf-16 LE with BOM": read(b"\xff\xfe" + TEXT.encode("utf-16-le")),
    "utf-16 BE with BOM": read(b"\xfe\xff" + TEXT.encode("utf-16-be")),
    "utf-16 LE without BOM": read(TEXT.encode("utf-16-le")),
    "utf-16 BE without BOM": read(TEXT.encode("utf-16-be")),
    "utf-16 with Korean header": read(
        "질문,답,라벨\n12시 땡!,하루가 또 가네요.,0\n가,나,2\n".encode("utf-16-le"), [PAIRS[0], ["가", "나", "2"]]
    ),
    "latin-1": refused("Q,A,label\ncaf\xe9,oui,0\n".encode("latin-1"), "bad_encoding"),
    "utf-8 with one broken byte": refused(TEXT.encode().replace("또".encode(), b"\xeb\x98"), "bad_encoding"),
    "utf-16 cut in half a character": refused(TEXT.encode("utf-16")[:-1], "bad_encoding"),
    "cut in half a character": refused(TEXT.encode()[:-5], "bad_encoding"),
}

LINE_ENDS = {
    "crlf": read(TEXT.replace("\n", "\r\n")),
    "cr": read(TEXT.replace("\n", "\r")),
    "cr in utf-16": read(TEXT.replace("\n", "\r").encode("utf-16")),
    "mixed line ends": read(TEXT.replace("\n", "\r\n", 1).replace("0\n", "0\r")),
    "no last line end": read(TEXT.rstrip()),
    "blank lines": read("\n\r\n" + TEXT.replace("0\n", "0\n\n , ,\n,,\n") + "\n\n,,\n\n"),
    "line separators in cells": read("Q,A,label\n가\u2028나,다\u2029라,0\n", [["가\u2028나", "다\u2029라", "0"]]),
}

DELIMITERS = {
    "tab": read(TEXT.replace(",", "\t")),
    "semicolon": read(TEXT.replace(",", ";")),
    "semicolon, commas in the sentences": read(
        "Q;A;label\n가, 나, 다;라, 마;0\n바, 사;아;1\n", [["가, 나, 다", "라, 마", "0"], ["바, 사", "아", "1"]]
    ),
    "semicolon, a comma in the header": read("Q;A;label;memo, more\n가;나;0;\n", [["가", "나", "0"]]),
    "tab, commas and semicolons in the sentences": read(
        "Q\tA\tlabel\n가, 나;\t다; 라,\t0\n", [["가, 나;", "다; 라,", "0"]]
    ),
    "Excel's unicode text": read(TEXT.replace(",", "\t").replace("\n", "\r\n").encode("utf-16")),
    "sep=;": read(
        "sep=;\r\n" + TEXT.replace(",", ";").replace("\n", "\r\n") + ";;;\r\n가;;0\r\n",
        PAIRS,
        (5, "answer", "empty_answer"),
    ),
    "sep=| with BOM": read("\ufeffsep=|\n" + TEXT.replace(",", "|")),
    "one column": refused("Q\n가\n나\n", "no_column"),
    "plain text": refused("안녕하세요.\n오늘은 날씨가 좋네요, 정말로.\n", "no_column"),
}

QUOTES = {
    "quoted newlines, quotes and commas": read(
        'Q,A,label\r\n"첫 줄\r\n둘째 줄","그래, ""좋아""",0\r\n끝,"a\nb",1\r\n',
        [["첫 줄\r\n둘째 줄", '그래, "좋아"', "0"], ["끝", "a\nb", "1"]],
    ),
    "everything quoted": read(
        '"Q","A","label"\n"12시 땡!","하루가 또 가네요.","0"\n"가","","1"\n', PAIRS[:1], (3, "answer", "empty_answer")
    ),
    "a quote within a cell": read(
        'Q,A,label\n그는 "네"라고 했다,6" 나사,0\n', [['그는 "네"라고 했다', '6" 나사', "0"]]
    ),
    "text after a quoted cell": refused('Q,A,label\n가,"나" 다,0\n', "bad_quote"),
    "a stray quote that would swallow rows": refused('Q,A,label\n가,"나,0\n다,라,1\n마,"바",2\n', "bad_quote"),
    "a quote that never ends": refused('Q,A,label\n가,"나,0\n다,라,1\n', "bad_quote"),
    "quotes after a space": read('Q,A,label\n"안녕", "네, 그래", 0\n', [["안녕", "네, 그래", "0"]]),
    "a quote left open below a header in quotes": refused(
        '"Q","A"\n안녕,"반가워\n잘가,또 봐\n뭐해,놀자"\n좋아,나도\n', "swallowed_rows"
    ),
}

HEADERS = {
    "Korean header": read(TEXT.replace("Q,A,label", "질문,답변,감정")),
    "header in any case, with spaces and brackets": read(TEXT.replace("Q,A,label", " QUESTION , An_swer (A),Label ")),
    "Korean header in single letters": read(TEXT.replace("Q,A,label", "질문,답,라벨")),
    "instruction and output": read(TEXT.replace("Q,A,label", "Instruction,Output,Category")),
    "more columns in another order": read(
        "no,label,memo,A,Q\n1,0,,네,안녕\n2,,x,응,잘 가\n", [["안녕", "네", "0"]], (3, "label", "no_label")
    ),
    "no label": read("질문,답\n안녕,네\n,\n잘 가,\n", [["안녕", "네", "기본"]], (4, "answer", "empty_answer")),
    "a name twice": read("Q,A,Q,label\n안녕,네,다른,0\n", [["안녕", "네", "0"]]),
    "a column without a name": read(
        ",Q,A,label\n0,안녕,네,0\n1,잘 가,응,1\n", [["안녕", "네", "0"], ["잘 가", "응", "1"]]
    ),
    "a thousand columns": read("Q,A,label" + ",x" * 997 + "\n안녕,네,0" + ",1" * 997 + "\n", [["안녕", "네", "0"]]),
    "more than a thousand columns": refused("Q,A,label" + ",x" * 998 + "\n안녕,네,0\n", "many_columns"),
    "unknown names": refused("하나,둘,셋\n안녕,네,0\n", "no_column"),
    "no answer": refused("question,label\n안녕,0\n", "no_column"),
    "no header": refused("안녕,네,0\n잘 가,응,1\n", "no_header"),
    "header only": refused("Q,A,label\n", "no_rows"),
    "header and blank cells": refused("Q,A,label\n,,\n\n , ,\n", "no_rows"),
    "empty": refused(b"", "empty_file"),
    "BOM only": refused(b"\xef\xbb\xbf", "empty_file"),
    "white space only": refused("\n \n\t\r\n", "empty_file"),
    "commas only": refused(",,\n,,\n", "empty_file"),
}

ROWS = {
    "a row with fewer cells": read(
        "Q,A,label\n안녕,네\n잘 가\n가,나,0\n",
        [["가", "나", "0"]],
        (2, "label", "no_label"),
        (3, "answer", "empty_answer"),
        (3, "label", "no_label"),
    ),
    "a row with more cells": refused("Q,A,label\n가,나,0\n안녕, 친구,네,0\n", "extra_cells"),
    "rows with a comma at the end": read(
        "Q,A,label\n안녕,네,0,\n잘 가,,1, \n", [["안녕", "네", "0"]], (3, "answer", "empty_answer")
    ),
    "a row with a comma at the end": refused("Q,A,label\n가,나,0\n안녕, 친구,네,\n", "extra_cells"),
    "repeated, answered otherwise, empty": read(
        OTHERS,
        [["안녕", "네", "0"], ["안녕", "네", "1"], ["안녕", "응", "0"]],
        (4, "", "duplicate", 2),
        (5, "", "other_answer", 2),
        (6, "question", "empty_question"),
    ),
    "labels": read(
        f"Q,A,label\n가,나,auto\n가,나,{'다' * 40}\n가,나,{'다' * 41}\n가,나,\n",
        [["가", "나", "다" * 40]],
        (2, "label", "reserved_label"),
        (4, "label", "long_label"),
        (5, "label", "no_label"),
    ),
    "control characters": read(
        "Q,A,label\n가\x07나,나,0\n가,나\u202e다,0\n가,�,�\n👨‍👩‍👧,가\t나,0\n",
        [["👨‍👩‍👧", "가\t나", "0"]],
        (2, "question", "control"),
        (3, "answer", "control"),
        (4, "answer", "control"),
        (4, "label", "control"),
    ),
    "a NUL in a cell": read("Q,A,label\n가\0나,다,0\n라,마,1\n", [["라", "마", "1"]], (2, "question", "control")),
    "a huge cell": read(f"Q,A,label\n가,{HUGE},0\n", [["가", HUGE, "0"]]),
    "white space of all kinds": read("Q,A,label\n\u3000가 \xa0,\t나\t, 0\n\xa0,\u3000,\n", [["가", "나", "0"]]),
    "words for nothing": read(
        "Q,A,label\nnan,NA,null\nNone,N/A,1.0\n", [["nan", "NA", "null"], ["None", "N/A", "1.0"]]
    ),
}

WORKBOOKS = {
    "workbook": read(xlsx(SHEET)),
    "workbook with numbers": read(
        xlsx([HEADER, [12, 0.1 + 0.2, 1.0], [True, datetime(2024, 3, 1), "나"]]),
        [["12", "0.3", "1"], ["TRUE", "2024-03-01", "나"]],
    ),
    "workbook with a formula": read(
        xlsx([HEADER, ["가", "=1+1", 0]], change=(r"<v ?/>|<v></v>", "<v>2</v>")), [["가", "2", "0"]]
    ),
    "workbook with a formula never computed": read(
        xlsx([HEADER, ["가", "=1+1", 0], ["나", "다", 1]]), [["나", "다", "1"]], (2, "answer", "no_result")
    ),
    "workbook with blank rows": read(
        xlsx([[], [None, None], HEADER, PAIRS[0], [], ["가"], PAIRS[1], [None]]),
        PAIRS,
        (6, "answer", "empty_answer"),
        (6, "label", "no_label"),
    ),
    "workbook with a blank first sheet": read(xlsx([], SHEET, [["other"]])),
    "workbook with a wrong size": read(xlsx(SHEET, change=('<dimension ref="[^"]*"', '<dimension ref="A1"'))),
    "workbook with a column without a name": refused(
        xlsx([["Q", "A"], ["안녕", "네", "기쁨"], ["잘 가", "응", "기쁨"]]), "cells_beyond"
    ),
    "workbook with an empty sheet before": read(xlsx([HEADER], SHEET, names=["3월", "2월"])),
    "workbook whose sheets have a column called sheet": read(
        xlsx([["Q", "A", "sheet"], ["가", "나", "0"]], [["Q", "A", "sheet"], ["다", "라", "1"]]),
        [["가", "나", "0"], ["다", "라", "1"]],
    ),
    "workbook with more cells than its header": read(xlsx([HEADER, [*PAIRS[0], None, "memo"], PAIRS[1]])),
    "workbook with line ends": read(xlsx([HEADER, ["가\n나", "다_x000D_\n라", 0]]), [["가\n나", "다\r\n라", "0"]]),
    "workbook with half a character": read(
        xlsx([["_xD83D_", *HEADER], ["다", "가_xDE00_", "나", 0]]), [], (2, "question", "control")
    ),
    "workbook with a header only": refused(xlsx([HEADER]), "no_rows"),
    "workbook with nothing": refused(xlsx([]), "empty_file"),
    "workbook cut off": refused(xlsx(SHEET)[:-900], "bad_workbook"),
    "workbook with broken XML": refused(xlsx(SHEET, change=("</row>", "</wor>")), "bad_workbook"),
    "workbook without its parts": refused(zipped({"xl/workbook.xml": b"<workbook/>"}).getvalue(), "bad_workbook"),
}

JSON_LINES = {
    "json lines": read(LINES),
    "json lines with BOM and crlf": read(LINES.replace("\n", "\r\n").encode("utf-8-sig")),
    "json lines in utf-16": read(LINES.encode("utf-16")),
    "json lines in cp949": read(LINES.encode("cp949")),
    "json lines with missing keys": read(
        jsonl({"Q": "가"}, {"A": "나", "label": "0"}, {}, {"label": "1", "Q": "다", "A": "라", "more": 1}),
        [["다", "라", "1"]],
        (1, "answer", "empty_answer"),
        (1, "label", "no_label"),
        (2, "question", "empty_question"),
    ),
    "json lines with numbers": read(
        '\n{"Q": 1.0, "A": true, "label": 1e3}\n{"Q": "가", "A": null, "label": NaN}\n',
        [["1.0", "true", "1e3"]],
        (3, "answer", "empty_answer"),
        (3, "label", "no_label"),
    ),
    "json with the same name twice": read('{"Q": "가", "A": "나", "Q": "다"}\n', [["가", "나", "기본"]]),
    "json as pandas writes it, split": read(
        '{"columns":["Q","A"],"index":[0],"data":[["가","나"]]}', [["가", "나", "기본"]]
    ),
    "json as pandas writes it, index": read('{"0":{"Q":"가","A":"나"},"1":{"Q":"다","A":"라"}}', TWO),
    "json in parts": read('{"train":[{"Q":"가","A":"나"}],"test":[{"Q":"다","A":"라"}]}', TWO),
    "chats of which one begins with nothing and one calls a tool": read(
        jsonl(
            {"messages": []},
            {"messages": [*turns("가", "나")[:1], {"role": "assistant", "tool_calls": []}, *turns("가", "나")[1:]]},
            {"messages": turns("다", "라"), "question": "주제"},
            {"Q": "마", "A": "바"},
        ),
        [*TWO, ["마", "바", "기본"]],
    ),
    "json lines with nested values": read(
        jsonl(NESTED, {**NESTED, "A": "나"}), [["가", "나", "0"]], (1, "answer", "empty_answer")
    ),
    "json lines with half a character": read(
        '{"질문": "\\ud83d", "답": "나"}\n{"질문": "가", "답": "나"}\n',
        [["가", "나", "기본"]],
        (1, "question", "control"),
    ),
    "json lines with half a character in a name": read(
        '{"\\ud83d": "다", "Q": "가", "A": "나"}\n', [["가", "나", "기본"]]
    ),
    "json lines with newlines in cells": read(
        jsonl({"prompt": "가\r\n나", "response": '"다"'}), [["가\r\n나", '"다"', "기본"]]
    ),
    "json lines with a broken line": refused(LINES + '{"Q": "가", \n', "bad_json"),
    "json lines with a list": refused(LINES + '["가", "나", "0"]\n', "bad_json"),
    "json lines too deep": refused('{"Q": ' + "[" * 100_000 + "\n", "bad_json"),
    "json lines with an answer nowhere": read(
        jsonl({"Q": "가", "A": None}, {"Q": "나", "A": " "}),
        [],
        (1, "answer", "empty_answer"),
        (2, "answer", "empty_answer"),
    ),
    "json lines with another key in every row": refused(
        jsonl(*({f"Q{i}": "가", "A": "나"} for i in range(1000))), "many_columns"
    ),
    "json lines of empty objects": refused("{}\n{}\n", "no_rows"),
    "json lines of empty texts": refused(jsonl({"Q": "", "A": None}), "no_rows"),
    "a json list": read(json.dumps([{"Q": "가", "A": "나"}]), [["가", "나", "기본"]]),
    "a json object over several lines": read(json.dumps({"Q": "가", "A": "나"}, indent=2), [["가", "나", "기본"]]),
}

NO_TABLES = {
    "png": refused(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01", "is_picture"),
    "jpeg": refused(b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01" + bytes(range(256)), "is_picture"),
    "heic": refused(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00", "is_picture"),
    "bytes": refused(bytes(range(1, 256)), "not_text"),
    "a NUL in the header": refused("Q\0,A,label\n가,나,0\n", "not_text"),
    "gzip": refused(gzip.compress(TEXT.encode()), "not_text"),
    "pdf": refused(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", "not_text"),
    "sqlite": refused(b"SQLite format 3\0\x10\0\x01\x01\0@  \n" + bytes(100), "not_text"),
    "old Excel": refused(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504), "old_excel"),
    "zip": refused(zipped({"pairs.csv": TEXT.encode()}).getvalue(), "is_zip"),
    "empty zip": refused(zipped({}).getvalue(), "is_zip"),
    "no zip, though it says so": refused(b"PK\x03\x04" + bytes(100), "bad_workbook"),
    "web page": refused("<!DOCTYPE html>\n<html><body>Sign in, please</body></html>", "is_web_page"),
    "a table as a web page": refused('\ufeff<meta charset="utf-8"><table><tr><td>Q</td></tr></table>', "is_web_page"),
}

# As people bring them: a stray quote, several sheets, text as macOS writes it, files that were joined.

SWALLOWING = '"괜찮아\t그렇군요\t0\n힘들어\t쉬세요\t1\n라고 말했어"\t잘했어요\t1\n'
SWALLOWED = [['"괜찮아', "그렇군요", "0"], ["힘들어", "쉬세요", "1"], ['라고 말했어"', "잘했어요", "1"]]
NFD, NFD_LOVE = (unicodedata.normalize("NFD", text) for text in ("나는 너를 사랑해", "사랑"))
MERGED_LABELS = xlsx(
    [HEADER, ["가", "나", "사랑"], ["다", "라"], [None], ["마", "바", "이별"], ["사", "아"]],
    change=("</sheetData>", '</sheetData><mergeCells><mergeCell ref="C2:C4"/><mergeCell ref="C5:C9"/></mergeCells>'),
)
MERGED_QUESTIONS = xlsx(
    [HEADER, ["가", "나", 0], [None, "다", 1]],
    change=("</sheetData>", '</sheetData><mergeCells><mergeCell ref="A2:A3"/></mergeCells>'),
)
TURNS = [
    {"role": "system", "content": "친절하게"},
    {"role": "user", "content": "안녕"},
    {"role": "assistant", "content": "네"},
    {"role": "user", "content": [{"type": "text", "text": "잘 가"}]},
    {"role": "assistant", "content": "응"},
]
SHARED = [{"from": "gpt", "value": "어서 오세요"}, {"from": "human", "value": "안녕"}, {"from": "gpt", "value": "네"}]

AS_BROUGHT = {
    "a stray quote in tab-separated text": read(
        "Q\tA\tlabel\n" + SWALLOWING + '"네"\t"응"\t0\n끝\t네\t0\n',
        [*SWALLOWED, ['"네"', '"응"', "0"], ["끝", "네", "0"]],
    ),
    "a quote that never ends in tab-separated text": read(
        'Q\tA\tlabel\n"가\t나\t0\n다\t라\t1\n', [['"가', "나", "0"], ["다", "라", "1"]]
    ),
    "quotes in tab-separated text that match": read(
        'Q\tA\tlabel\n"가\n나"\t"다 ""라"""\t0\n마\t바\t1\n', [["가\n나", '다 "라"', "0"], ["마", "바", "1"]]
    ),
    "everything quoted in tab-separated text": read(
        '"Q"\t"A"\t"label"\n"가\t나\t다\n라"\t"마"\t"0"\n', [["가\t나\t다\n라", "마", "0"]]
    ),
    "a stray quote in a CSV": refused("Q,A,label\n" + SWALLOWING.replace("\t", ",") + "끝,네,0\n", "swallowed_rows"),
    "a stray quote over a row without an answer": refused('Q,A,label\n"가,나,0\n다,,1\n라",마,0\n', "swallowed_rows"),
    "a stray quote before a space": refused('Q,A,label\n"가,나,0\n다,라,0\n마", 바,0\n', "swallowed_rows"),
    "a stray quote in a row with a space": refused('Q,A,label\n"가, 나,0\n다,라,0\n마",바,0\n', "swallowed_rows"),
    "a stray quote in the last column": refused('Q,A\n가,"나\n다,라"\n마,바\n', "swallowed_rows"),
    "sentences with commas over two lines": read(
        'Q,A,label\n"네, 그래, 좋아\n그리고 안녕",응,0\n', [["네, 그래, 좋아\n그리고 안녕", "응", "0"]]
    ),
    "workbook with a sheet a label": read(
        xlsx(
            [["Q", "A"], ["안녕", "네"]],
            [["A", "Q"], ["힘내요", "헤어졌어"]],
            [["Q", "A"], ["고백할까?", "네"], ["좋아", ""]],
            names=["일상", "이별", "사랑"],
        ),
        [["안녕", "네", "일상"], ["헤어졌어", "힘내요", "이별"], ["고백할까?", "네", "사랑"]],
        (2003, "answer", "empty_answer"),
    ),
    "workbook with a hidden sheet first": read(xlsx([["코드", "뜻"], [1, "가"]], SHEET, hidden=[0])),
    "workbook with another table hidden": read(xlsx([HEADER, ["x", "y", 0]], SHEET, hidden=[0])),
    "workbook with a cover": read(xlsx([["코드", "뜻"], [1, "가"]], SHEET)),
    "workbook with only its hidden sheet right": read(xlsx([["코드", "뜻"], [1, "가"]], SHEET, hidden=[1])),
    "workbook with no sheet right": refused(xlsx([["코드", "뜻"], [1, "가"]], [["또"], [1]]), "no_column_in_sheets"),
    "workbook saved as strict": refused(strict(xlsx(SHEET)), "strict_workbook"),
    "decomposed Hangul": read(
        f"Q,A,label\n나는 너를 사랑해,네,사랑\n{NFD},네,{NFD_LOVE}\n",
        [["나는 너를 사랑해", "네", "사랑"]],
        (3, "", "duplicate", 2),
    ),
    "decomposed header": read(unicodedata.normalize("NFD", "질문,답변,감정\n안녕,네,0\n"), [["안녕", "네", "0"]]),
    "Excel's errors": read(
        "Q,A,label\n가,#NAME?,0\n나,#N/A,0\n#REF!,다,0\n라,마,#VALUE!\n바,#맛집,0\n",
        [["바", "#맛집", "0"]],
        (2, "answer", "excel_error"),
        (3, "answer", "excel_error"),
        (4, "question", "excel_error"),
        (5, "label", "excel_error"),
    ),
    "workbook with errors": read(
        xlsx([HEADER, ["가", "#DIV/0!", 0], ["나", "다", 1]]), [["나", "다", "1"]], (2, "answer", "excel_error")
    ),
    "workbook with formulas alone": read(
        xlsx([HEADER, ["=B9", "=C9", 0], ["나", "다", 1]]),
        [["나", "다", "1"]],
        (2, "question", "no_result"),
        (2, "answer", "no_result"),
    ),
    "no header, sentences": refused("오늘 뭐 해?,그냥 쉬어요.\n밥 먹었어?,아직이요.\n", "no_header"),
    "the header again": read(
        TEXT + "\ufeff" + TEXT.replace("땡", "딩") + "질문,답변,감정\n",
        [*PAIRS, ["12시 딩!", "하루가 또 가네요.", "0"]],
        (4, "", "repeated_header"),
        (6, "", "duplicate", 3),
        (7, "", "repeated_header"),
    ),
    "Alpaca": read(
        jsonl(
            {"instruction": "번역해", "input": "사과", "output": "apple"},
            {"instruction": "번역해", "input": "배", "output": "pear"},
            {"instruction": "인사해", "input": "", "output": "안녕"},
        ),
        [["번역해\n사과", "apple", "기본"], ["번역해\n배", "pear", "기본"], ["인사해", "안녕", "기본"]],
    ),
    "chats as messages": read(
        jsonl({"messages": TURNS, "label": "인사"}), [["안녕", "네", "인사"], ["잘 가", "응", "인사"]]
    ),
    "chats as conversations": read(
        json.dumps([{"id": "1", "conversations": SHARED}, {"conversations": SHARED[1:]}]),
        [["안녕", "네", "기본"]],
        (2, "", "duplicate", 1),
    ),
    "a json list over several lines": read(
        json.dumps([dict(zip(HEADER, row, strict=True)) for row in PAIRS], indent=1)
    ),
    "a json list in an object": read(
        json.dumps({"version": "1", "data": [{"Q": "가", "A": "나"}]}), [["가", "나", "기본"]]
    ),
    "json as pandas writes it": read(
        json.dumps({"Q": {"0": "가", "1": "다"}, "A": {"0": "나", "1": "라"}}),
        [["가", "나", "기본"], ["다", "라", "기본"]],
    ),
    "a json list of texts": refused('["가", "나"]', "bad_json_item"),
    "labels in merged cells": read(
        MERGED_LABELS, [["가", "나", "사랑"], ["다", "라", "사랑"], ["마", "바", "이별"], ["사", "아", "이별"]]
    ),
    "questions in merged cells": read(MERGED_QUESTIONS, [["가", "나", "0"], ["가", "다", "1"]]),
    "text that cannot be seen": read(
        "Q,A,label\n가,\u3164,0\n\u2800,나,0\n다,\u115f\u1160,0\n라,\u00ad,\uffa0\n마,바,\u200b\n",
        [],
        (2, "answer", "empty_answer"),
        (3, "question", "empty_question"),
        (4, "answer", "empty_answer"),
        (5, "answer", "empty_answer"),
        (5, "label", "no_label"),
        (6, "label", "no_label"),
    ),
    "text that looks the same": read(
        "Q,A,label\n안녕 친구,네,0\n안\u200b녕  친구,네,0\n안녕\xa0친구,네\u3164,0\n안녕 친구,\u00ad네,0\n",
        [["안녕 친구", "네", "0"]],
        *((row, "", "duplicate", 2) for row in (3, 4, 5)),
    ),
    "a label in wide digits": read("Q,A,label\n가,나,0\n다,라,０\n", [["가", "나", "0"], ["다", "라", "0"]]),
    "a title above the header": read("우리 가게 문답,,\n2024년,,\n\nQ,A,label\n안녕,네,0\n", [["안녕", "네", "0"]]),
    "a title without commas": read("우리 가게 문답\nQ,A,label\n안녕,네,0\n", [["안녕", "네", "0"]]),
    "workbook with a title": read(xlsx([["문답"], [], ["만든 사람: 나"], *SHEET])),
    "LibreOffice": refused(
        zipped({"mimetype": b"application/vnd.oasis.opendocument.spreadsheet", "content.xml": b""}).getvalue(),
        "other_spreadsheet",
    ),
    "Excel's binary workbook": refused(zipped({"xl/workbook.bin": b""}).getvalue(), "other_spreadsheet"),
}

FILES = AS_BROUGHT | ENCODINGS | LINE_ENDS | DELIMITERS | QUOTES | HEADERS | ROWS | WORKBOOKS | JSON_LINES | NO_TABLES
