"""The package: its ranges admit what requirements.txt installs, and its wheel holds what the app needs."""

import re
import tomllib

from conftest import PROJECT
from packaging.requirements import Requirement

import kochat

PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text("utf-8"))


def requirements(name: str) -> dict[str, str]:
    """The exact version of each package in a file of requirements."""
    lines = (PROJECT / name).read_text("utf-8").splitlines()
    return dict(line.split("==") for line in lines if re.match(r"[\w-]+==", line))


def test_the_ranges_admit_what_is_installed_and_name_the_same_packages():
    ranges = [Requirement(one) for one in PYPROJECT["project"]["dependencies"]]
    exact = requirements("requirements.txt")
    assert {one.name for one in ranges} == set(exact)
    assert [one.name for one in ranges if exact[one.name] not in one.specifier] == []
    extras = PYPROJECT["project"]["optional-dependencies"]
    tools = [Requirement(one) for one in (*extras["dev"], *extras["lora"], *extras["export"])]
    exact = requirements("requirements-dev.txt")
    assert {one.name: exact[one.name] in one.specifier for one in tools} == dict.fromkeys(exact, True)


def test_the_wheel_holds_the_shipped_checkpoint_where_it_is_looked_for():
    [(source, target)] = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"].items()
    assert (PROJECT / source / "model.safetensors").is_file()
    assert target == "kochat/shipped/kochat-mini"
    assert PYPROJECT["project"]["scripts"] == {"kochat": "kochat.cli.main:main"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", kochat.__version__)
