"""Run the proofs; in the long form, write what they print into docs/reliability.md.

Usage: python -m tests.faults.prove [--short] [MODULE ...]
"""

import argparse
import os
import platform
import re
import shlex
import sqlite3
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "reliability.md"
INTRODUCTION: Final = """\
# Reliability

What happens to jobs and versions when processes, machines and databases fail, as
programs: each kills or stops real processes, real SQLite files and a real PostgreSQL,
and compares what clients were told with what is stored. `make prove` runs them all and
writes this page, `python -m tests.faults.prove MODULE` renews one of its sections, and
`make prove-short` runs each in a short form.

How to read it: a proof shows as many tries as it made, no more. Some minutes are not
months, kill -9 is not a power cut (what the disk does with a synced write is not
tested), and one machine plays all the machines. The first table shows that the proofs
can fail: with one protection taken out of the program they find it.

The invariants: **I1** every acknowledged job exists and ends; **I2** at most one
version comes of a job; **I3** exactly one version is active and its bytes verify;
**I4** the active version never comes of a job that did not succeed; **I5** a prediction
is that of the version it names, bit for bit; **I6** one idempotency key is one job;
**I7** what has ended stays as it is; **I8** every stored version can be loaded; **I9**
the database is sound.

The last sections are about input: requests from the OpenAPI document, bytes that are
hardly HTTP, damaged files of weights, and numbers. Their tries are random: each shows
its seed, and another seed makes other tries.

PostgreSQL is 18; seeds are in the tables, or 0. [cases.md](cases.md) lists each case of
faults and abuse, with the tests that show what happens.
"""


class Proof(NamedTuple):
    """A program with its arguments."""

    title: str
    module: str
    long: str
    short: str


PROOFS: Final = [
    Proof("Controls: broken on purpose", "controls", "", ""),
    Proof("Killed at named points", "killpoints", "--repeats 10", "--repeats 1"),
    Proof("Killed at random", "storm", "--kills 60", "--kills 4"),
    Proof(
        "PostgreSQL stopped and started",
        "chaos",
        "--jobs 100",
        "--jobs 8 --shortest 1 --longest 3",
    ),
    Proof("A machine lost, a machine late", "machines", "--repeats 5", "--repeats 1"),
    Proof(
        "Against a model",
        "statemachine",
        "--examples 110 --steps 50",
        "--examples 5 --steps 50",
    ),
    Proof("Every order of steps", "interleavings", "", "--few"),
    Proof("Sixteen clients, one ETag", "race", "--rounds 500", "--rounds 10"),
    Proof("Swapped under load", "hotswap", "--seconds 60", "--seconds 3"),
    Proof("Databases that hang", "stuck", "--seconds 60", "--seconds 6"),
    Proof("Three times too much", "overload", "--seconds 60", "--seconds 3"),
    Proof(
        "A thousand slow clients",
        "slowclients",
        "",
        "--clients 300 --request 6 --stall 6",
    ),
    Proof("Load that lasts", "soak", "--seconds 600", "--seconds 15"),
    Proof("Told to stop under load", "drain", "--stops 50", "--stops 2"),
    Proof("Replaced one by one", "rolling", "--replacements 20", "--replacements 2"),
    Proof("Secrets that were planted", "secrets", "", "--every 29"),
    Proof("How near a wrong key was", "timing", "", "--tries 2000"),
    Proof("As documented", "contract", "--examples 700", "--examples 1 --fewest 1500"),
    Proof(
        "HTTP of any kind",
        "rawhttp",
        "--requests 26000",
        "--requests 500 --names 200 --warm 100",
    ),
    Proof("To the last digit", "numerics", "--examples 10000", "--examples 300"),
    Proof("Damaged artifacts", "artifacts", "--headers 20000", "--headers 1000"),
]


def run(proof: Proof, arguments: str) -> tuple[int, str, float]:
    """Run one; return its exit status, what it printed, and the seconds."""
    command = [sys.executable, "-W", "ignore", "-m", f"tests.faults.{proof.module}"]
    begin = time.monotonic()
    done = subprocess.run(
        [*command, *shlex.split(arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONUTF8": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.rstrip(), time.monotonic() - begin


def section(proof: Proof, printed: str, seconds: float) -> str:
    """Return a proof's part of the page."""
    module = import_module(f"tests.faults.{proof.module}")
    what, _, _ = (module.__doc__ or "").partition("\n\nUsage")
    command = f"python -m tests.faults.{proof.module} {proof.long}".strip()
    text = "\n\n".join(" ".join(part.split()) for part in what.split("\n\n"))
    output = f"`{command}`, {seconds:.0f} s{machine()}:\n\n```\n{printed}\n```\n"
    return f"## {proof.title}\n\n{text}\n\n{output}"


def machine() -> str:
    """Say on what a proof ran."""
    git = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True)
    return (
        f" at commit {commit.stdout.strip()} on {os.cpu_count()} cores with Python "
        f"{platform.python_version()} and SQLite {sqlite3.sqlite_version}"
    )


def written() -> dict[str, str]:
    """Return the sections that the page has, by their titles."""
    _, *sections = re.split("^(?=## )", PAGE.read_text(), flags=re.MULTILINE)
    return {text[3 : text.index("\n")]: text.rstrip() + "\n" for text in sections}


def main() -> int:
    """Run them, and return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", action="store_true")
    parser.add_argument("modules", nargs="*", metavar="MODULE")
    options = parser.parse_args()
    sections, failed = written(), []
    for proof in PROOFS:
        if options.modules and proof.module not in options.modules:
            continue
        arguments = proof.short if options.short else proof.long
        status, printed, seconds = run(proof, arguments)
        print(f"\n{proof.title}, {seconds:.0f} s\n{printed}", flush=True)  # noqa: T201
        if status:
            failed.append(proof.title)
        elif not options.short:
            sections[proof.title] = section(proof, printed, seconds)
    if not options.short:
        known = [sections[p.title] for p in PROOFS if p.title in sections]
        PAGE.write_text("\n".join([INTRODUCTION, *known]))
    if failed:
        print("failed:", *failed, sep="\n")  # noqa: T201
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
