"""The documentation: commands, options, files, links and names in it exist; its figures are those of the card."""

import ast
import inspect
import json
import re
import shlex
from pathlib import Path

import pytest
import typer
from conftest import MINI, PROJECT

import kochat
from kochat.cli.main import app
from kochat.inference.chatbot import Chatbot
from kochat.ui.api import reply

READMES = ["README.md", "README.ko.md"]
PAGES = [*READMES, *sorted(path.relative_to(PROJECT).as_posix() for path in (PROJECT / "docs").glob("*.md"))]
ALL = [*PAGES, "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "benchmarks/shops/README.md"]
COMMANDS = typer.main.get_command(app).commands
FOLDERS = "kochat|tests|benchmarks|docs|checkpoints"
# What the commands of the documentation make.
MADE = re.compile(r"checkpoints/(mine|another)\b")
CODE = [path.read_text("utf-8") for path in [*(PROJECT / "kochat").rglob("*.py"), *(PROJECT / "tests").rglob("*.py")]]
FIGURES = "docs/kochat-mini.md"


def text_of(page: str) -> str:
    return (PROJECT / page).read_text("utf-8")


def blocks(page: str, language: str = "") -> list[str]:
    """The code blocks of a page that say they are of a language; those that say none are commands."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text_of(page), re.DOTALL | re.MULTILINE)
    return [code for name, code in found if name == language]


def inline(page: str) -> list[str]:
    """What stands between backticks in the text."""
    prose = re.sub(r"^```.*?^```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    return [re.sub(r"\s+", " ", code) for code in re.findall(r"`([^`]+)`", prose)]


def command_lines(page: str) -> list[str]:
    lines = [line for block in blocks(page) for line in block.splitlines()]
    return [line.split("  #")[0].strip() for line in [*lines, *inline(page)]]


def words_of(line: str, module: str) -> list[list[str]]:
    """What follows `-m MODULE` in a line, as words; `…` stands for more."""
    found = re.findall(rf"-m {module}\b(\S*)(.*)", line)
    return [shlex.split((name + rest).replace("…", " ")) for name, rest in found]


def options_of(command) -> set[str]:
    return {"--help"} | {one for param in command.params for one in (*param.opts, *param.secondary_opts)}


def kochat_commands() -> list[tuple[str, list[str]]]:
    return [
        (page, words) for page in ALL for line in command_lines(page) for words in words_of(line, "kochat") if words
    ]


@pytest.mark.parametrize(("page", "words"), kochat_commands())
def test_a_command_exists_with_its_options(page, words):
    command, rest = COMMANDS[words[0]], words[1:]
    if words[0] == "deploy" and "/" in rest[0]:
        rest = ["space", *rest]  # which need not be said
    if words[0] in ("runs", "export", "deploy") and rest:
        command, rest = command.commands[rest[0]], rest[1:]
    assert {word for word in rest if word.startswith("--")} <= options_of(command)


@pytest.mark.parametrize("page", ALL)
def test_an_option_in_the_text_is_one_of_some_command(page):
    every = [one for command in COMMANDS.values() for one in (command, *getattr(command, "commands", {}).values())]
    known = {"--nproc-per-node"} | {one for command in every for one in options_of(command)}
    for code in inline(page):
        assert set(re.findall(r"(?<!\S)--[a-z][\w-]*", code)) <= known, code


@pytest.mark.parametrize("page", ALL)
def test_a_benchmark_exists_with_its_options(page):
    for line in command_lines(page):
        for words in words_of(line, r"benchmarks\."):
            source = text_of(f"benchmarks/{words[0]}.py")
            for option in words[1:]:
                assert not option.startswith("--") or f'"{option}"' in source, line


@pytest.mark.parametrize("page", ALL)
def test_make_knows_what_it_is_asked_for(page):
    targets = set(re.findall(r"^(\w+):", text_of("Makefile"), re.MULTILINE))
    assert {line.split()[1] for line in command_lines(page) if line.startswith("make ")} <= targets


@pytest.mark.parametrize("page", ALL)
def test_a_link_leads_to_a_file_and_a_heading(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = (PROJECT / page).parent / name if name else PROJECT / page
        assert target.exists(), link
        if anchor:
            assert anchor in headings(target.read_text("utf-8")), link


def headings(text: str) -> set[str]:
    """The anchors of a page as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", ALL)
def test_a_file_that_is_named_is_there(page):
    for code in inline(page):
        if re.fullmatch(
            rf"({FOLDERS})/[\w./-]*|(requirements[\w-]*\.txt|[\w-]+\.(md|py|toml))", code
        ) and not MADE.match(code):
            here = (PROJECT / code).exists() or ((PROJECT / page).parent / code).exists()
            assert here or any(PROJECT.glob(f"kochat/**/{code}")), code


@pytest.mark.parametrize("page", ALL)
def test_a_variable_of_the_environment_is_read_somewhere(page):
    for name in set(re.findall(r"KOCHAT_\w+", text_of(page))):
        assert any(f'"{name}"' in code for code in CODE), name


@pytest.mark.parametrize("page", PAGES)
def test_python_in_the_text_uses_what_there_is(page):
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            owner, name = ast.unparse(node.func.value), node.func.attr
            if owner == "kochat":
                called = getattr(kochat, name)
            elif owner == "bot":
                called = getattr(Chatbot, name)
            else:
                continue
            assert {one.arg for one in node.keywords} <= set(inspect.signature(called).parameters), ast.unparse(node)


def test_the_endpoints_of_the_manual_are_those_of_the_page():
    listed = re.findall(r"^\| `/(\w+)` \|", text_of("docs/hosting.md"), re.MULTILINE)
    named = re.findall(r'api_name="(\w+)"', text_of("kochat/ui/api.py"))
    assert sorted(listed) == sorted([*named, "reply", "predict_label", "explain"])


def test_curl_gives_every_input_of_the_endpoint():
    (data,) = re.findall(r"-d '(.+)'", text_of("docs/hosting.md"))
    given, parameters = json.loads(data)["data"], inspect.signature(reply).parameters
    assert len(given) == len(parameters) - 1  # gradio gives the request itself


@pytest.mark.parametrize("page", READMES)
def test_the_map_names_every_folder_in_the_order_of_the_layers(page):
    mapped = re.findall(r"^\| `kochat/(\w+)/` \|", text_of(page), re.MULTILINE)
    assert mapped == ["data", "model", "inference", "training", "evaluation", "runs", "sharing", "cli", "ui"]
    assert len(text_of(page).splitlines()) <= 125  # one reads it in three minutes


def test_the_two_readmes_show_the_same_commands_and_code():
    english, korean = (without_comments(text_of(page)) for page in READMES)
    assert english == korean


def without_comments(text: str) -> list[str]:
    code = re.findall(r"^```\w*\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [line.split("  #")[0].rstrip() for block in code for line in block.splitlines()]


def test_the_figures_of_kochat_mini_are_those_of_its_card():
    shown, card = (
        table_after(page, "| figure |") for page in (text_of(FIGURES), (MINI / "README.md").read_text("utf-8"))
    )
    assert [row[0] for row in shown] == [row[0] for row in card if row[0] != "questions"]
    for row, expected in zip(shown, card[1:], strict=True):
        assert numbers(" ".join(row[1:])) == pytest.approx(numbers(" ".join(expected[1:])), rel=0, abs=rounding(row[1]))
    (questions,) = (row for row in card if row[0] == "questions")
    assert f"On {questions[1]} pairs of ChatbotData (validation) and {questions[3]} (test)" in text_of(FIGURES)


def test_the_strengths_of_kochat_mini_are_those_of_its_card():
    shown, card = (
        table_after(page, "| strength |") for page in (text_of(FIGURES), (MINI / "README.md").read_text("utf-8"))
    )
    assert len(shown) == len(card) > 1
    for row, expected in zip(shown, card, strict=True):
        assert numbers(" ".join(row)) == pytest.approx(numbers(" ".join(expected)), rel=0, abs=6e-4)
    chosen = json.loads((MINI / "kochat.json").read_text("utf-8"))
    assert f"It chose {chosen['strength']}." in text_of(FIGURES)
    assert f"above {chosen['familiarity']['threshold']:.2f} nats a byte" in re.sub(r"\s+", " ", text_of(FIGURES))


def table_after(text: str, head: str) -> list[list[str]]:
    """The cells of the table whose first line begins so, without that line and the next."""
    lines = text[text.index(head) :].split("\n\n")[0].strip().splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def numbers(text: str) -> list[float]:
    """The numbers of a text; a percentage is a share."""
    found = re.findall(r"(-?\d[\d,]*(?:\.\d+)?)(\s?%)?", text)
    return [float(number.replace(",", "")) / (100 if percent else 1) for number, percent in found]


def rounding(shown: str) -> float:
    """Half of the last digit of a number, and a little for the card's own rounding."""
    digits = len(shown.partition(".")[2].rstrip("% ")) + 2 * shown.endswith("%")
    return 0.51 * 10**-digits


@pytest.mark.parametrize("page", READMES)
def test_a_percentage_of_the_readme_is_one_of_the_manual(page):
    manual = re.sub(r"\s", "", "".join(text_of(name) for name in PAGES if name not in READMES))
    for number in re.findall(r"[\d.]+\s?%", text_of(page)):
        assert re.sub(r"\s", "", number) in manual, number


def test_what_a_citation_says_is_true():
    text = Path(PROJECT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {kochat.__version__}\n" in text
    assert "\nlicense: MIT\n" in text
    assert f"## {kochat.__version__}" in text_of("CHANGELOG.md")
