"""Questions that speak of suicide or self-harm: a line names where to turn, in place of what could hurt.

A chatbot that learned from small talk may answer them with anything. Knows texts only; it rather shows the line once
too often. The exported page has the same patterns, so they are ones that JavaScript takes, too.
"""

from __future__ import annotations

import re

SPEAKS_OF_SUICIDE = re.compile(
    r"(?<![가-힣])(자살|자해)|죽[고구]\s*(싶|시[퍼프])|(?<![가-힣])죽어\s*버(릴까|리고\s*싶)|죽는\s*게\s*(더\s*)?(낫|나을|편)"
    r"|죽을\s*(생각|용기)|죽지도\s*못|죽기\s*전에\s*남길|내가\s*(죽|없어지|사라지)(으?면|었으면|졌으면)"
    r"|(?<!혼자\s)(?<!같이\s)(?<!함께\s)(?<!에서\s)(?<!여기\s)살(기|고\s*싶지)(가|도|는)?\s*(싫|않)|그만\s*살고?\s*싶"
    r"|목숨을?\s*(끊|놓)|극단적인?\s*선택|뛰어\s*내리고\s*싶|손목을?\s*(긋|그었|그을)|세상에서\s*사라지고\s*싶"
    r"|(삶|인생|모든\s*(걸|것)|(?<![가-힣])다(?![가-힣]))[^.?!\n]{0,12}끝내고\s*싶"
    r"|suicid|\bkill(ing)?\s+myself|\bwant\s+to\s+die|\bend\s+(my\s+life|it\s+all)|\bhurt(ing)?\s+myself|\bself-?harm",
    re.IGNORECASE,
)
# 109 suicide prevention, 1393 before it, 119 ambulance, 1388 youth, 1577-0199 mental health, 1588-9191 Lifeline Korea.
NAMES_HELP = re.compile(r"(?<!\d)(109|119|1388|1393|1577-0199|1588-9191)(?!\d)")
TURN_TO = {
    "ko": "많이 힘들면 혼자 견디지 말고 이야기해 주세요. 자살예방 상담전화 109가 24시간 열려 있어요.",
    "en": "If you think of ending your life or hurting yourself, please talk to somebody. "
    "In Korea the number is 109, day and night.",
}


def speaks_of_suicide(question: str) -> bool:
    """Whether a question is about ending one's life or hurting oneself, one's own or somebody else's."""
    return SPEAKS_OF_SUICIDE.search(question) is not None


def where_to_turn(question: str, language: str) -> str:
    """The line for whoever asks such a question, in "ko" or "en"; empty for any other question."""
    return TURN_TO[language] if speaks_of_suicide(question) else ""


def is_withheld(question: str, reply: str, is_own: bool) -> bool:
    """Whether the line stands in the place of a reply: one to such a question that names no number to call.

    What a chatbot was taught to say to this very question, one of its own (`is_own`), is said.
    """
    return speaks_of_suicide(question) and not is_own and NAMES_HELP.search(reply) is None
