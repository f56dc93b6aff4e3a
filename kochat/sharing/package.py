"""What of kochat goes to where it is to run on the Hub, in a Space or in a job: its files, and what they import.

Also the hardware that it runs on there. Asks nobody for anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from kochat.config import PACKAGE

# What this package imports, beside gradio, which only the page needs.
REQUIREMENTS = (
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "accelerate",
    "huggingface-hub",
    "httpx2",
    "pandas",
    "openpyxl",
    "scikit-learn",
    "threadpoolctl",
    "typer",
    "psutil",
    "filelock",
)


@dataclass(frozen=True)
class Hardware:
    """What a Space or a job runs on; `price` is in US dollars an hour, None where the Hub does not say."""

    name: str
    title: str
    price: float | None


def price_an_hour(offered: Any) -> float | None:
    """US dollars, by the `unit_cost_usd` of a hardware and the `unit_label` that it is for; None for other units."""
    hours = {"minute": 60, "hour": 1, "second": 3600}.get(offered.unit_label)
    return offered.unit_cost_usd * hours if hours else None


def package_files() -> Iterator[tuple[str, Path]]:
    """The files of this package, without what Python or the Finder has put there and without the checkpoints."""
    for path in sorted(PACKAGE.rglob("*")):
        parts = path.relative_to(PACKAGE).parts
        if path.is_file() and parts[0] != "shipped" and not any(one.startswith((".", "__pycache__")) for one in parts):
            yield "/".join(parts), path


def versions() -> dict[str, str]:
    """What is installed here of REQUIREMENTS, to the digit."""
    return {name: metadata.version(name).partition("+")[0] for name in REQUIREMENTS}
