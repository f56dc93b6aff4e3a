"""Questions that speak of suicide or self-harm: a line names where to turn, in place of what could hurt.

A chatbot that learned from small talk may answer them with anything. Knows texts only; it rather shows the line once
too often. The exported page has the same patterns, so they are ones that JavaScript takes, too.
"""

from __future__ import annotations

import re
import unicodedata

from kochat.data.checks import FOLDED

# No \b and \d, which JavaScript knows for ASCII alone.
SPEAKS_OF_SUICIDE = re.compile(
    r"(?<![가-힣])(자살(?!골)|자해)|죽[고구]만?\s*(싶|시[퍼프])|(?<![가-힣])죽어\s*버(릴까|릴래|리고\s*싶)"
    r"|죽는\s*게\s*(더\s*)?(낫|나을|편)|죽을\s*(생각|용기)|죽지도\s*못|죽기\s*전에\s*남길"
    r"|(^|(?<![가-힣])(나|난|나는|내가|그냥|이제|확)\s+)(죽을까(?!\s*봐)|죽으려)|(?<![가-힣])(나|난|그냥|이제|확)\s+죽을래"
    r"|내가\s*(죽|없어지|사라지)(으?면|었으면|졌으면)|없어지고\s*싶|(?<!어디론가\s)(?<!어디로든\s)(?<!데로나\s)사라지고\s*싶|살\s*이유(가|도|를)?\s*(없|모르)"
    # Not whom or where one would rather not live with.
    r"|(?<!혼자\s)(?<!같이\s)(?<!함께\s)(?<!랑\s)(?<!와\s)(?<!과\s)(?<!(?<!세상)에서\s)(?<!여기\s)(?<!시골\s)(?<!서울\s)"
    r"살(기|고\s*싶지)(가|도|는)?\s*(싫|않)|그만\s*살고?\s*싶"
    r"|목숨을?\s*(끊|놓)|극단적인?\s*선택|뛰어\s*내리고\s*싶|손목을?\s*(긋|그었|그을)|목을?\s*(매고\s*싶|매려고|매달)"
    r"|(삶|인생|모든\s*(걸|것)|(^|(힘들어서|지쳐서|아파서|괴로워서|버거워서|이제|이젠|그냥|그만)\s+)다(?![가-힣]))[^.?!\n]{0,12}끝내고\s*싶"
    r"|suicid(?!e\s+squad)|(?<![a-z])kill(ing)?\s+myself|(?<![a-z])want\s+to\s+die|(?<![a-z])end\s+(my\s+life|it\s+all)"
    r"|(?<![a-z])(want|going)\s+to\s+hurt\s+myself|(?<![a-z])hurting\s+myself|(?<![a-z])self-?harm",
    re.IGNORECASE,
)
# 109 suicide prevention, 1393 before it, 112 police, 119 ambulance, 129 welfare, 1388 youth, 1577-0199 mental health,
# 1588-9191 Lifeline Korea; no amounts.
NAMES_HELP = re.compile(
    r"(?<![0-9.,-])(109|112|119|129|1388|1393|1577-?0199|1588-?9191)"
    r"(?![0-9]|[.,-][0-9]|\s*(원|일|층|개|명|살|년|분|초|점|kg|cm))"
)
TURN_TO = {
    "ko": "많이 힘들면 혼자 견디지 말고 이야기해 주세요. 자살예방 상담전화 109가 24시간 열려 있어요.",
    "en": "If you think of ending your life or hurting yourself, please talk to somebody. "
    "In Korea the number is 109, day and night.",
}


def speaks_of_suicide(question: str) -> bool:
    """Whether a question is about ending one's life or hurting oneself, one's own or somebody else's."""
    return SPEAKS_OF_SUICIDE.search(FOLDED.sub("", unicodedata.normalize("NFC", question))) is not None


def where_to_turn(question: str, language: str) -> str:
    """The line for whoever asks such a question, in "ko" or "en"; empty for any other question."""
    return TURN_TO[language] if speaks_of_suicide(question) else ""


def is_withheld(question: str, reply: str, meant: str | None = None) -> bool:
    """Whether the line stands in the place of a reply: one to such a question that names no number to call.

    A reply to a question of the chatbot's own that is `meant` and speaks of it, too, is said: so it was taught.
    """
    is_taught = meant is not None and speaks_of_suicide(meant)
    return speaks_of_suicide(question) and not is_taught and NAMES_HELP.search(reply) is None
