"""Start: `python -m benchmarks.start [--rounds N]`: from `python app.py` to the page, and to the first reply."""

import argparse
import statistics
import time

from gradio_client import Client

from .app import running_app


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    times: dict[str, list[float]] = {"the page answers": [], "the first reply is there": [], "a second reply takes": []}
    for _ in range(parser.parse_args().rounds):
        with running_app() as (url, start, _):
            times["the page answers"].append(time.monotonic() - start)
            client = Client(url, verbose=False)
            client.predict("안녕", api_name="/reply")
            times["the first reply is there"].append(time.monotonic() - start)
            again = time.monotonic()
            client.predict("12시 땡!", api_name="/reply")
            times["a second reply takes"].append(time.monotonic() - again)
    print("| | seconds: median | lowest to highest |\n|---|---|---|")
    for name, seconds in times.items():
        print(f"| {name} | {statistics.median(seconds):.2f} | {min(seconds):.2f} to {max(seconds):.2f} |")


if __name__ == "__main__":
    main()
