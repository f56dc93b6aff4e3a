"""What every benchmark here shares: contenders timed in turn, so that a slow minute hits all of them alike."""

import statistics
import time
from collections.abc import Callable


def interleaved(contenders: dict[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Seconds of each contender in each round, the contenders taking turns; the first rounds do not count."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(warm_up + rounds):
        for name, run in contenders.items():
            start = time.perf_counter()
            run()
            if turn >= warm_up:
                times[name].append(time.perf_counter() - start)
    return times


def print_table(title: str, times: dict[str, list[float]], unit: str, per: float, reference: str) -> None:
    """A Markdown table: median and spread in `unit`, seconds times `per`, and the ratio to the reference."""
    base = statistics.median(times[reference])
    print(
        f"\n| {title} | {unit}: median | lowest to highest | {reference} is so many times as fast |\n|---|---|---|---|"
    )
    for name, seconds in times.items():
        median = statistics.median(seconds)
        spread = f"{min(seconds) * per:.4g} to {max(seconds) * per:.4g}"
        print(f"| {name} | {median * per:.4g} | {spread} | {median / base:.2f} |", flush=True)


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of all values do not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
