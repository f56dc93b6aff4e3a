"""kochat: talk to a Korean chatbot, choose the emotion of its answer, fine-tune it, talk to the result.

    import kochat
    bot = kochat.load("kochat-mini")
    bot.reply("12시 땡!", label="0")

Names are loaded when first used: importing torch takes seconds, and `--help` should not wait for it.
"""

from importlib import import_module

_HOMES = {
    "load": ".inference.chatbot",
    "Chatbot": ".inference.chatbot",
    "read_pairs": ".data.pairs",
    "TrainingConfig": ".config",
    "fine_tune": ".training.fine_tuning",
    "KochatError": ".errors",
}
__all__ = list(_HOMES)
__version__ = "0.1.0"


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'kochat' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)


def __dir__():
    return sorted([*globals(), *_HOMES])
