"""The exported page beside onnxruntime-web: `python -m benchmarks.web_peers DIST [--rounds N]`.

DIST is the folder `dist` of the npm package (`npm pack onnxruntime-web`, unpacked). The same model, kochat-mini, in the
same headless Chromium, one thread each, greedy after the same prompt under a given label without strength: until the
first token, a token after it, and until it is ready; onnxruntime-web with what `kochat export onnx` writes.
"""

import argparse
import shutil
import statistics
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import sync_playwright

from benchmarks.web import BROWSERS
from kochat.config import DEFAULT_CHECKPOINT
from kochat.model import checkpoint
from kochat.model.gpt2 import quiet
from kochat.sharing.onnx import export_onnx
from kochat.sharing.web import export_web

PAGE = """<!doctype html><meta charset="utf-8"><script src="dist/ort.wasm.min.js"></script><script>
ort.env.wasm.numThreads = 1;
const open = async (name) => {
  const start = performance.now();
  const session = await ort.InferenceSession.create(`onnx/onnx/${name}.onnx`, { executionProviders: ["wasm"] });
  window.session = session;
  return performance.now() - start;
};
const whole = (values, shape) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), shape);
async function generate(ids, end, [layers, heads, size]) {
  const [start, said] = [performance.now(), []];
  let past = {}, read = 0, first = 0;
  for (let i = 0; i < layers; i++) {
    for (const kind of ["key", "value"]) {
      past[`past_key_values.${i}.${kind}`] = new ort.Tensor("float32", new Float32Array(0), [1, heads, 0, size]);
    }
  }
  for (let added = ids; said.length < 64; ) {
    const places = added.map((_, i) => read + i);
    read += added.length;
    const output = await session.run({
      input_ids: whole(added, [1, added.length]),
      attention_mask: whole(Array(read).fill(1), [1, read]),
      position_ids: whole(places, [1, added.length]),
      ...past,
    });
    const vocabulary = output.logits.dims[2];
    const scores = output.logits.data.subarray((added.length - 1) * vocabulary);
    const token = scores.indexOf(scores.reduce((a, b) => Math.max(a, b)));
    first ||= performance.now() - start;
    said.push(token);
    if (token === end) break;
    added = [token];
    past = Object.fromEntries(
      Object.entries(output).filter(([name]) => name !== "logits")
        .map(([name, tensor]) => [name.replace("present", "past_key_values"), tensor]),
    );
  }
  return [first, performance.now() - start, said];
}
</script>"""
OURS = """async (ids) => {
  const bot = await ready;
  const [start, said] = [performance.now(), []];
  const sequence = bot.decoder.sequence(ids.length + 16);
  bot.decoder.extend([sequence, ids]);
  let first = 0;
  for (const { token } of bot.steps({ rows: [sequence], room: 64, strength: 0 })) {
    first ||= performance.now() - start;
    said.push(token);
  }
  return [first, performance.now() - start, said];
}"""


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_) -> None:
        """Nothing."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dist", type=Path)
    parser.add_argument("--rounds", type=int, default=50)
    chosen = parser.parse_args()
    quiet()
    loaded = checkpoint.load(DEFAULT_CHECKPOINT)
    from kochat.inference.chatbot import Chatbot

    bot, config = Chatbot(loaded), loaded.weights.config
    asked = [(q, loaded.card.labels[i % 3]) for i, (q, _, _) in enumerate(loaded.validation[: chosen.rounds])]
    prompts = [bot.prompt.encode_prompt(*one) for one in asked]
    shape = [config["n_layer"], config["n_head"], config["n_embd"] // config["n_head"]]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page_file = export_web(DEFAULT_CHECKPOINT, Path(folder) / "bot.html")
        export_onnx(DEFAULT_CHECKPOINT, Path(folder) / "onnx")
        (Path(folder) / "peer.html").write_text(PAGE, "utf-8")
        (Path(folder) / "dist").symlink_to(chosen.dist.resolve())
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        path = next(filter(None, map(shutil.which, BROWSERS)), None)
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        own, peer = browser.new_page(), browser.new_page()
        own.goto(page_file.as_uri())
        told = {"kochat": ("", own.evaluate("() => ready.then(() => performance.now())"))}
        peer.goto(f"http://127.0.0.1:{server.server_port}/peer.html")
        for name in ("model", "model_quantized"):
            opened = peer.evaluate("(name) => open(name)", name)
            # In turn, so that both meet the same machine.
            pairs = [
                (
                    own.evaluate(OURS, ids),
                    peer.evaluate("(all) => generate(...all)", [ids, bot.tokenizer.eos_token_id, shape]),
                )
                for ids in (*prompts[:5], *prompts)
            ][5:]
            print_row("kochat, 8 bits", told["kochat"][1], [ours for ours, _ in pairs])
            print_row(f"onnxruntime-web, {name}", opened, [theirs for _, theirs in pairs])
            equal = sum(ours[2] == theirs[2] for ours, theirs in pairs)
            ratios = [ours_to_theirs(*pair) for pair in pairs]
            print(f"  ratio, median: first token {statistics.median(r[0] for r in ratios):.1f}, ", end="")
            print(
                f"a token {statistics.median(r[1] for r in ratios):.1f}; equal replies {equal} of {len(pairs)}",
                flush=True,
            )
        browser.close()
        server.shutdown()


def per_token(times: list) -> float:
    """Milliseconds of a token after the first one."""
    first, whole, said = times
    return (whole - first) / max(len(said) - 1, 1)


def ours_to_theirs(ours: list, theirs: list) -> tuple[float, float]:
    """How many times as long theirs takes: to the first token, and for each further one."""
    return theirs[0] / ours[0], per_token(theirs) / per_token(ours)


def print_row(name: str, opened: float, times: list) -> None:
    """Medians in milliseconds."""
    first, each = statistics.median(one[0] for one in times), statistics.median(map(per_token, times))
    print(f"{name}: ready in {opened:.0f} ms, first token {first:.1f} ms, then {each:.2f} ms a token", flush=True)


if __name__ == "__main__":
    main()
