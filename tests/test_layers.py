"""The architecture: which folder may import which, and where gradio and torch are."""

import ast
import functools
import importlib.machinery
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
PACKAGE = PROJECT / "kochat"
# Data flows one way: a folder imports only from itself, from folders before it and from the files of kochat/ itself.
FOLDERS = ["data", "model", "inference", "training", "evaluation", "runs", "sharing"]
ENTRIES = ["cli", "ui"]  # import everything above, nothing imports them, nor they each other
TABS = ["chat", "training", "data", "runs", "checkpoints", "compare", "learn"]
MODULES = sorted(path.relative_to(PROJECT).as_posix() for path in PACKAGE.glob("**/*.py"))
TORCH = {
    "model/batches",
    "model/weights",
    "model/gpt2",
    "inference/decoder",
    "inference/causal_lm",
    "inference/sampling",
    "inference/engine",
    "inference/chatbot",
    "inference/forked",
    "training/trainer",
    "training/processes",
    "training/speed",
    "training/state",
    "evaluation/metrics",
    "sharing/int8",
    "evaluation/notebook_loss",
}
SKLEARN = {"evaluation/baselines", "inference/retrieval"}


@functools.cache
def imports(path: str) -> set[str]:
    """Everything that a file imports anywhere in it, as dotted names."""
    package = list(Path(path).with_suffix("").parts[:-1])
    found = set()
    for node in ast.walk(ast.parse((PROJECT / path).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return found


def folder_of(path: str) -> str:
    """The folder of kochat/ that a file is in; "" for the files of kochat/ itself."""
    parts = Path(path).parts
    return parts[1] if len(parts) > 2 else ""


def test_whoever_opens_the_package_sees_nine_folders_and_a_handful_of_files():
    assert {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()} == {*FOLDERS, *ENTRIES}
    assert {path.name for path in PACKAGE.glob("*.py")} == {
        "__init__.py",
        "__main__.py",
        "errors.py",
        "labels.py",
        "config.py",
        "validate.py",
        "files.py",
    }


@pytest.mark.parametrize("path", [path for path in MODULES if not path.endswith("__main__.py")])
def test_a_module_imports_only_from_its_folder_and_those_before_it(path):
    own = folder_of(path)
    if own in ENTRIES:
        allowed = {*FOLDERS, own}
    elif own:
        allowed = set(FOLDERS[: FOLDERS.index(own) + 1])
    else:
        allowed = set()
    if path == "kochat/cli/app.py":
        allowed |= {"ui"}
    named = {name.split(".")[1] for name in imports(path) if name.startswith("kochat.")}
    assert named & {*FOLDERS, *ENTRIES} <= allowed


@pytest.mark.parametrize("path", [path for path in MODULES if path.startswith("kochat/ui/")])
def test_no_tab_imports_another_tab_and_what_tabs_share_imports_none(path):
    parts = Path(path).parts
    own = parts[2] if len(parts) > 3 else ""
    if path == "kochat/ui/page.py":
        return
    tabs = {name.split(".")[2] for name in imports(path) if name.startswith("kochat.ui.") and name.count(".") > 1}
    assert tabs & set(TABS) <= ({own} if own else set())


@pytest.mark.parametrize("path", [path for path in MODULES if not path.endswith("__main__.py")])
def test_no_two_modules_import_each_other(path):
    assert path.removesuffix(".py").replace("/", ".") not in closure(path)


def closure(path: str) -> set[str]:
    """Every module of ours that a file imports, at once or through another."""
    names = {one.removesuffix(".py").removesuffix("/__init__").replace("/", "."): one for one in MODULES}
    found, ahead = set(), [path]
    while ahead:
        for name in imports(ahead.pop()):
            if name in names and name not in found:
                found.add(name)
                ahead.append(names[name])
    return found


@pytest.mark.parametrize("path", MODULES)
def test_gradio_stays_in_the_page_and_torch_where_numbers_are(path):
    roots = {name.split(".")[0] for name in imports(path)}
    module = path.removeprefix("kochat/").removesuffix(".py")
    if not path.startswith("kochat/ui/"):
        assert "gradio" not in roots
    if module not in TORCH:
        assert "torch" not in roots
    if module not in SKLEARN:
        assert "sklearn" not in roots


@pytest.mark.slow
def test_every_folder_can_be_imported_alone(processes):
    # In one process, where torch and gradio stay: they take seconds each time.
    process = processes.start(import_each_folder_alone)
    process.join()
    assert process.exitcode == 0


def import_each_folder_alone() -> None:
    # Nor is each module compiled again for each folder.
    loader = importlib.machinery.SourceFileLoader
    loader.get_code = functools.cache(loader.get_code)
    loader.__hash__ = lambda self: hash(self.path)
    loader.__eq__ = lambda self, other: self.path == other.path
    for folder in [*FOLDERS, *ENTRIES]:
        for name in [name for name in sys.modules if name.split(".")[0] == "kochat"]:
            del sys.modules[name]
        room = importlib.import_module(f"kochat.{folder}")
        for one in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            importlib.import_module(one.name)


def test_no_module_imports_scikit_learn_before_it_is_needed():
    # The page and the command line would start a second later.
    for path in MODULES:
        text = (PROJECT / path).read_text("utf-8")
        for node in ast.parse(text).body if "sklearn" in text else ():
            assert "sklearn" not in ast.unparse(node).split("def ")[0], path


def test_functions_stay_short():
    for path in MODULES:
        text = (PROJECT / path).read_text("utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno <= 60, f"{path}: {node.name}"


def test_the_project_names_no_place_where_it_is_made():
    tracked = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    for name in tracked.split():
        if name.startswith(("tests/", ".ci/")) or not (PROJECT / name).is_file():
            continue
        data = (PROJECT / name).read_bytes()
        assert str(PROJECT.parent).encode() + b"/" not in data, name
        assert b"../shared" not in data, name


def test_what_people_make_is_not_for_git():
    code = "".join((PROJECT / path).read_text("utf-8") for path in MODULES)
    folders = set(re.findall(r'home\(\) / "(\w+)"', code))
    assert {"checkpoints", "runs", "datasets", "visitors", "uploads"} <= folders
    for folder in folders:
        ignored = subprocess.run(["git", "check-ignore", "-q", f"{folder}/mine"], cwd=PROJECT)
        assert ignored.returncode == 0, folder
