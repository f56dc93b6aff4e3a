"""The architecture: who may import whom, and a README that lists every file in that order."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
README = (PROJECT / "README.md").read_text("utf-8")
ROWS = re.findall(r"^\| `([\w/]+\.py)` \| (.+) \|$", README, flags=re.MULTILINE)
ORDER = [path for path, _ in ROWS]
MODULES = sorted(path.relative_to(PROJECT).as_posix() for path in PROJECT.glob("kochat/**/*.py"))
TORCH = {
    "batches",
    "weights",
    "model",
    "decoder",
    "sampling",
    "generation",
    "trainer",
    "state",
    "chatbot",
    "evaluation",
}
SKLEARN = {"recognition"}


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


def test_the_readme_lists_every_file_once_in_one_line():
    listed = [path for path in ORDER if path != "app.py"]
    assert sorted([*listed, "kochat/ui/__init__.py"]) == MODULES
    assert all(len(line) < 90 for _, line in ROWS)


@pytest.mark.parametrize("path", [path for path in ORDER if path.startswith("kochat/")])
def test_a_module_imports_only_from_those_above_it(path):
    names = {p: p.removesuffix(".py").replace("/", ".") for p in ORDER}
    below = {names[p] for p in ORDER[ORDER.index(path) :] if not p.endswith("__init__.py")}
    assert not imports(path) & below


@pytest.mark.parametrize("path", MODULES)
def test_gradio_stays_in_the_page_and_torch_in_the_core(path):
    roots = {name.split(".")[0] for name in imports(path)}
    if not path.startswith("kochat/ui/"):
        assert "gradio" not in roots
    if Path(path).stem not in TORCH or path.startswith("kochat/ui/"):
        assert "torch" not in roots
    if Path(path).stem not in SKLEARN:
        assert "sklearn" not in roots


def test_no_module_imports_scikit_learn_before_it_is_needed():
    # The page and the command line would start a second later.
    for path in MODULES:
        for node in ast.parse((PROJECT / path).read_text("utf-8")).body:
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
