"""What the README says can be done: its files are there, its commands and flags exist."""

import re
from pathlib import Path

import pytest
import typer

from orchestrator.cli import app
from recommenders import FAMILIES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"(?:^|[`/ ])orchestrate ((?:data check|[a-z]+)[^`\n|]*)", README)


def test_nothing_is_left_to_fill_in() -> None:
    assert re.findall(r"@[A-Z]+@", README) == []


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_every_linked_file_is_there(target: str) -> None:
    assert (ROOT / target).is_file()


@pytest.mark.parametrize("script", sorted(set(re.findall(r"(?:tests|infra|recommenders|scoring)/[\w/]+\.py", README))))
def test_every_named_script_is_there(script: str) -> None:
    assert (ROOT / script).is_file() or script == "recommenders/yours.py" or script == "search_spaces/yours.py"


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_every_command_and_its_flags_exist(command: str) -> None:
    words = command.split()
    node = typer.main.get_command(app)
    while words and words[0] in getattr(node, "commands", {}):
        node = node.commands[words.pop(0)]  # type: ignore[attr-defined]
    assert not getattr(node, "commands", {}), f"{command!r} is no command"
    known = {flag for parameter in node.params for flag in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_every_family_is_described() -> None:
    assert [family for family in FAMILIES if f"`{family}`" not in README] == []
