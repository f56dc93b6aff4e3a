"""The whole page of kochat as a Gradio Space of the Hugging Face Hub: what it consists of, its hardware, its start.

The Space gets this very package, so it makes no difference whether kochat was cloned or installed by pip. Knows the
files of a Space and the Hub's requests about Spaces; every failure is a HubError with a sentence.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import httpx2
from huggingface_hub import HfApi, SpaceHardware, Volume
from huggingface_hub.errors import BucketNotFoundError, HfHubHTTPError

from kochat.config import DEFAULT_CHECKPOINT
from kochat.errors import HubError
from kochat.files import safe_name
from kochat.model import checkpoint as checkpoints
from kochat.sharing.hub import files_of
from kochat.sharing.hub_cards import app_readme
from kochat.sharing.package import Hardware, package_files, price_an_hour, versions
from kochat.sharing.repository import Files, Published, check_rights, connect, explained, publish, validate

ZERO_GPU, CPU_BASIC = "zero-a10g", "cpu-basic"
# What ZeroGPU runs: https://huggingface.co/docs/hub/spaces-zerogpu
ZERO_GPU_PYTHON, ZERO_GPU_TORCH = "3.12.12", "2.11.0"
PYTHON = "3.12"
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
APP = '''"""The page of kochat on this Space."""

import os

# Before gradio is imported: it would ask its makers' server for news.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("KOCHAT_CHECKPOINT", {first})

{imports}from kochat.ui.page import launch

launch()
'''
BUCKET_PATH = "/bucket"
SLEEPS_AFTER = 3600  # seconds without a visitor, where hardware costs money
PATIENCE = 1800.0  # seconds until a Space has started
STARTS_LATE = 30.0  # seconds in which the Hub may not yet know of the new commit
BETWEEN_LOOKS = 3.0  # seconds
FAILURES_IN_A_ROW = 5  # of questions after the state of a Space
LOG_LINES = 20
BROKEN = ("NO_APP_FILE", "CONFIG_ERROR", "BUILD_ERROR", "RUNTIME_ERROR")
RESTING = ("STOPPED", "PAUSED", "SLEEPING", "DELETING")


def deploy_space(
    repo: str,
    checkpoint: str | Path = DEFAULT_CHECKPOINT,
    hardware: str = ZERO_GPU,
    private: bool = False,
    title: str | None = None,
    with_pairs: bool = False,
    secrets: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    bucket: str | None = None,
    dry_run: bool = False,
    tell_price: Callable[[Hardware], object] = lambda hardware: None,
) -> Published:
    """Put the page of kochat into the Gradio Space `repo` (owner/name), which is made where it is not there.

    It opens on `checkpoint`, which goes up too, with its pairs where `with_pairs`. `private` is for a new Space.
    `secrets` and `variables` become its environment; `bucket` (owner/name) is mounted at BUCKET_PATH and made, private,
    where it is not there. Hardware that costs money sleeps after SLEEPS_AFTER; `tell_price` is called with the hardware
    before anything is written. A dry run looks, and writes nothing.
    Again it writes only what has changed. Raises CheckpointError and HubError; a new Space is whole or not there.
    """
    for name in filter(None, (repo, bucket)):
        validate(name)
    files, held_back = space_files(repo, checkpoint, hardware, title, with_pairs)
    api = connect()
    with explained(repo):
        check_rights(api, repo)
        chosen = hardware_called(api, hardware)
        tell_price(chosen)
        own = dict(variables or {}) | ({"KOCHAT_SYNC": BUCKET_PATH} if bucket else {})
        volumes = [Volume(type="bucket", source=bucket, mount_path=BUCKET_PATH)] if bucket else []
        sleep = {"space_sleep_time": SLEEPS_AFTER} if chosen.price else {}
        made_with = {"space_hardware": hardware, **sleep, "space_volumes": volumes or None}
        made_with |= {"space_secrets": _as_list(secrets), "space_variables": _as_list(own)}
    with _explained_price(repo, chosen), _bucket(api, bucket, dry_run):
        # Files of the package that are no longer there; what else somebody has put into the Space stays.
        published = publish(
            "space",
            repo,
            files,
            private,
            dry_run,
            "gradio",
            lambda path: path.startswith("kochat/"),
            holds_pairs=with_pairs,
            # Before the files, which are for this hardware: where it is refused, what runs there goes on as it is.
            prepare=lambda info: _settle(api, info.id, chosen, secrets or {}, own, volumes),
            **made_with,
        )
    return replace(published, held_back=held_back)


def space_files(
    repo: str, checkpoint: str | Path, hardware: str, title: str | None = None, with_pairs: bool = False
) -> tuple[Files, tuple[str, ...]]:
    """All files of the Space, and those of the checkpoint that are left out. Raises CheckpointError."""
    files: Files = {f"kochat/{name}": path for name, path in package_files()}
    files |= {f"kochat/shipped/{DEFAULT_CHECKPOINT.name}/{path.name}": path for path in DEFAULT_CHECKPOINT.iterdir()}
    own, card, left = files_of(checkpoint, with_pairs)
    loaded = checkpoints.load(checkpoint)
    is_shipped = loaded.folder.resolve() == DEFAULT_CHECKPOINT.resolve()
    name = safe_name(loaded.name.rsplit("/", 1)[-1])
    if name == DEFAULT_CHECKPOINT.name and not is_shipped:
        name += "-2"
    if not is_shipped:  # that is there already
        files |= {f"kochat/shipped/{name}/{file}": content for file, content in own.items()}
    else:
        left = ()
    shown = (title or "").strip() or card.profile.get("title") or repo.split("/")[1]
    is_zero = hardware == ZERO_GPU
    python = ZERO_GPU_PYTHON if is_zero else PYTHON
    files["README.md"] = app_readme(shown, card, hardware, metadata.version("gradio"), python).encode()
    files["requirements.txt"] = requirements(hardware).encode()
    # It has to be imported before anything that may use a GPU.
    imports = "import spaces  # noqa: F401\n\n" if is_zero else ""
    files["app.py"] = APP.format(imports=imports, first=json.dumps(name, ensure_ascii=False)).encode()
    return files, left


def requirements(hardware: str) -> str:
    """requirements.txt: what is installed here, and torch as the hardware needs it."""
    pinned = versions()
    lines = ["# Gradio is that of sdk_version in README.md."]
    if hardware == ZERO_GPU:
        pinned["torch"] = ZERO_GPU_TORCH
        lines.append("spaces")
    elif hardware.startswith("cpu-"):
        lines.append(f"--extra-index-url {CPU_WHEELS}")  # without CUDA: 3 GB less
    return "\n".join([*lines, *(f"{name}=={version}" for name, version in pinned.items())]) + "\n"


def hardware_called(api: HfApi, name: str) -> Hardware:
    """The hardware of this name, with the price that the Hub says. Raises HubError for one that there is not."""
    offered = {one.name: one for one in api.list_spaces_hardware()}
    known = sorted({*offered, ZERO_GPU, CPU_BASIC})
    if name not in known and name not in {one.value for one in SpaceHardware}:
        raise HubError("hub_no_hardware", hardware=name, known=", ".join(known))
    if name in (ZERO_GPU, CPU_BASIC):
        return Hardware(name, "ZeroGPU" if name == ZERO_GPU else "CPU Basic", 0.0)
    one = offered.get(name)
    return Hardware(name, one.pretty_name, price_an_hour(one)) if one else Hardware(name, name, None)


@contextlib.contextmanager
def _explained_price(repo: str, hardware: Hardware) -> Iterator[None]:
    """Say of a payment that the Hub asks for what it is for, and what costs nothing."""
    try:
        yield
    except HubError as error:
        if error.key != "hub_payment":
            raise
        raise HubError("hub_space_payment", name=repo, hardware=hardware.title) from error


@contextlib.contextmanager
def _bucket(api: HfApi, bucket: str | None, dry_run: bool) -> Iterator[None]:
    """See that the bucket is there and private; one that is made for a Space that does not come to be goes again."""
    is_new = False
    if bucket and not dry_run:
        with explained(bucket):
            try:
                if not api.bucket_info(bucket).private:  # what visitors taught will be in it
                    raise HubError("sync_is_public", name=bucket)
            except BucketNotFoundError:
                api.create_bucket(bucket, private=True)
                is_new = True
    try:
        yield
    except BaseException:
        if is_new:
            with contextlib.suppress(Exception):
                api.delete_bucket(bucket)
        raise


def _settle(
    api: HfApi,
    repo: str,
    hardware: Hardware,
    secrets: Mapping[str, str],
    variables: Mapping[str, str],
    volumes: Sequence[Volume],
) -> None:
    """Bring a Space that was there to these settings; others that it has stay."""
    runtime = api.get_space_runtime(repo)
    if hardware.name not in (runtime.requested_hardware, runtime.hardware):
        api.request_space_hardware(repo, hardware.name, sleep_time=SLEEPS_AFTER if hardware.price else None)
    for key, value in secrets.items():
        api.add_space_secret(repo, key, value)
    for key, value in variables.items():
        api.add_space_variable(repo, key, value)
    there = runtime.volumes or []
    paths = {one.mount_path for one in volumes}
    if {(one.source, one.mount_path) for one in volumes} - {(one.source, one.mount_path) for one in there}:
        api.set_space_volumes(repo, [*volumes, *(one for one in there if one.mount_path not in paths)])


def _as_list(values: Mapping[str, str] | None) -> list[dict[str, str]] | None:
    return [{"key": key, "value": value} for key, value in (values or {}).items()] or None


def wait_for_space(
    repo: str,
    commit: str,
    tell: Callable[[str], object] = lambda stage: None,
    patience: float = PATIENCE,
) -> str:
    """Wait until the Space runs with this commit, and return its stage: "RUNNING", or where it rests, or after
    `patience` seconds, the one that it is in.

    `tell` is called with each new stage. Raises HubError where it does not start, with the last lines of its log, and
    where the connection is lost for long.
    """
    api, start, said, failures = connect(), time.monotonic(), "", 0
    while True:
        waited = time.monotonic() - start
        try:
            runtime, failures = api.get_space_runtime(repo), 0
        except (HfHubHTTPError, httpx2.HTTPError, OSError) as error:
            failures += 1
            if failures == FAILURES_IN_A_ROW or getattr(getattr(error, "response", None), "status_code", 500) == 404:
                with explained(repo):
                    raise
            time.sleep(BETWEEN_LOOKS)
            continue
        stage = str(getattr(runtime.stage, "value", runtime.stage))
        is_old = runtime.raw.get("sha") not in (None, commit) and waited < STARTS_LATE
        if stage != said and not is_old:
            said = stage
            tell(stage)
        if not is_old and (stage in ("RUNNING", *RESTING) or (stage in BROKEN and waited >= _grace(stage))):
            break
        if waited > patience:
            break
        time.sleep(BETWEEN_LOOKS)
    if stage in BROKEN:
        url = f"{api.endpoint}/spaces/{repo}"
        raise HubError("hub_space_failed", url=url, stage=stage, log=_log(api, repo, stage == "BUILD_ERROR"))
    return stage


def _grace(stage: str) -> float:
    """A new Space has no app for a moment, until the Hub has seen the commit."""
    return STARTS_LATE if stage == "NO_APP_FILE" else 0.0


def _log(api: HfApi, repo: str, is_build: bool) -> str:
    """The last lines of the log; "-" where it cannot be had."""
    try:
        text = "".join(api.fetch_space_logs(repo, build=is_build))
    except (HfHubHTTPError, httpx2.HTTPError, OSError, ValueError, KeyError):
        text = ""
    return "\n".join(text.splitlines()[-LOG_LINES:]) or "-"
