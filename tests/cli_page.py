"""The command line as a page: every command with its options, as `--help` has them."""

import re
from collections.abc import Iterator
from textwrap import dedent
from typing import Any, Final

import typer

from app.cli import cli

INTRODUCTION: Final = """\
# Command line

Every command with every option, as `--help` shows them; `python -m tests.documents`
writes this page anew. Exit statuses are 0 (done), 1 (failed) and 2 (called wrongly).
What `serve` and `runner` take no option for is a [setting](../README.md#settings) from
the environment; where both are given, the option wins.
"""
MARK: Final = (
    "<!-- not run: tests/app/test_help.py does so, with every help's examples -->"
)
_INDENTED: Final = re.compile(r"(?:^  .*\n)+", re.MULTILINE)


def commands() -> dict[str, Any]:
    """Return each command by its full name, those with subcommands before these."""
    return dict(_walk("offsetnet", typer.main.get_command(cli)))


def page() -> str:
    """Return the page."""
    parts = ["\n".join(_command(*each)) for each in commands().items()]
    content = "\n".join(part.rstrip() + "\n" for part in (INTRODUCTION, *parts))
    return re.sub(r"\n{3,}", "\n\n", content)


def _walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for child, found in getattr(command, "commands", {}).items():
        yield from _walk(f"{name} {child}", found)


def _command(name: str, command: Any) -> Iterator[str]:
    context = typer.Context(command, info_name=name)
    pieces = command.collect_usage_pieces(context)
    yield f"## {name}\n"
    yield f"`{' '.join([name, *pieces])}`\n"
    yield command.help.strip()
    yield ""
    records = [parameter.get_help_record(context) for parameter in command.params]
    if records:
        yield "| option | |"
        yield "|---|---|"
    for option, text in records:
        yield f"| `{_cell(option)}` | {_cell(text)} |"
    yield from ("", _INDENTED.sub(_block, command.epilog.replace(":\n", ":\n\n")))


def _cell(text: str) -> str:
    return " ".join(text.replace(" range>", ">").replace("|", "\\|").split())


def _block(lines: re.Match[str]) -> str:
    return f"{MARK}\n```sh\n{dedent(lines[0])}```\n\n"
