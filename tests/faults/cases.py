"""The cases: what may go wrong or be done on purpose, and what must happen then.

Each has a test whose name begins with its id: `test_f5_...`, or `test_b7_b8_...` for
two. What no test of the suite can show stands in `ELSEWHERE`, with what shows it.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]

PREDICT: Final = {
    "A1": "NaN and infinities are 422, with a pointer to the field",
    "A2": "a number that overflows is 422",
    "A3": "an integer of 400 digits is 422, and is not echoed",
    "A4": "an integer of 5,000 digits is 400, within 5 ms",
    "A5": "booleans, texts, null and lists are no numbers: 422",
    "A6": "zeros, denormals and bounds give finite answers; past a bound is 422",
    "A7": "of a key that stands twice the last wins",
    "A8": "unknown keys are 422, shortly told, and hold the loop under 100 ms",
    "A9": "100,000 nested arrays are 400",
    "A10": "a batch of nobody is 422",
    "A11": "a batch of 1,000 is answered, one more is 422, too many bytes are 413",
    "A12": "broken UTF-8, lone surrogates, UTF-16 and byte order marks are 400",
    "A13": "what is no JSON is 400, what has another shape 422",
    "A14": "predicting reads JSON under any type; changing wants the right one: 415",
    "A15": "markup in keys and values is refused without an echo",
    "A16": "a pin that is no known number is 404, whatever it looks like; past the "
    "bound of an address it is 431, as B6 says",
}
TRANSPORT: Final = {
    "B1": "a gigabyte that is declared is 413 before it is read",
    "B2": "a gigabyte in chunks is 413 at the bound, and takes no memory",
    "B3": "a million chunks of one byte are cut, at little cost",
    "B4": "endless chunk extensions and trailers are cut, at little cost",
    "B5": "compressed bodies are 415 and never inflated, bombs least of all",
    "B6": "endless headers and addresses are 431, and take no memory",
    "B7": "silent, half and dripping heads are closed within 5 s",
    "B8": "half and dripping bodies are 408",
    "B9": "1,000 slow clients leave honest ones alone",
    "B10": "1,001 requests at once are answered in order",
    "B11": "what two parsers could read in two ways is 400 and closes",
    "B12": "what is not HTTP/1.1 is 400, with few lines in the log",
    "B13": "a client that leaves causes no traceback and no half job",
    "B14": "a client that does not read its answer is cut after 30 s",
    "B15": "odd targets and hosts change no decision about keys",
    "B16": "HEAD is as GET; other methods are 405, those that nobody has registered "
    "are no HTTP to the parser, so 400; all are one series of the metrics",
    "B17": "a path with a slash too many is 404, and redirects nowhere",
    "B18": "a terabyte announced with Expect is 413, without 100",
}
TRAIN: Final = {
    "C1": "people of one label are 422, and no job",
    "C2": "nobody and one person are 422",
    "C3": "equal people with other labels are trained on with a warning",
    "C4": "a constant feature is trained on with a warning, to finite weights",
    "C5": "what is no label is 422",
    "C6": "a training that diverges fails, leaves no version and nothing active",
    "C7": "a number of epochs outside its range is 422",
    "C8": "too many rows times epochs are 422",
    "C9": "a job past its time limit is ended and fails",
    "C10": "a full queue is 503, a full share of it 429; nothing is stored",
    "C11": "fifty equal requests at once under one key are one job",
    "C12": "a key with another body is 422, and its job is left alone",
    "C13": "keys expire with their jobs, are each caller's own, and are bounded",
    "C14": "a cancelled job ends within 2 s, once, and leaves no version",
    "C15": "reading jobs wants what predicting wants, changing them an admin key; "
    "rows are never shown",
    "C16": "equal data and seed give equal bits",
    "C17": "odd columns and texts are refused, or stored and shown as text",
}
STORAGE: Final = {
    "D1": "a server that is killed anywhere loses and doubles nothing",
    "D2": "the job of a killed runner is tried again; the server goes on",
    "D3": "a runner ends with its server, and changes nothing any more",
    "D4": "a job that wants too much memory fails; predictions go on",
    "D5": "a runner that hangs loses its job",
    "D6": "a runner that floods its output harms nobody",
    "D7": "a full disk fails trainings, never predictions, and passes",
    "D8": "a disk that cannot be written, or read, and too many files do the same",
    "D9": "damaged weights are refused in one line, and the last good ones serve",
    "D10": "damaged weights are not swapped in",
    "D11": "weights forged with their hash beside them are found out",
    "D12": "a locked database is waited for, shortly, then 503",
    "D13": "a file that is no database is refused and left as it is",
    "D14": "PostgreSQL may be away, slow, full or cut off amid a commit at any time; "
    "predictions go on",
    "D15": "a clock that jumps makes no two winners",
    "D16": "a stop answers what came, ends streams and hands its job back",
    "D17": "further signals are safe; a process that was frozen has lost its job",
    "D18": "processes that have ended leave no zombies",
    "D19": "what was acknowledged or written survives a loss of power",
    "D20": "two servers on one folder share it, and one runner works",
}
VERSIONS: Final = {
    "E1": "of many who activate with one ETag one wins",
    "E2": "activations, rollbacks and deletions have one order",
    "E3": "a rollback to nothing, or to what is deleted, is told",
    "E4": "versions change under load, and no answer fails or is mixed",
    "E5": "a version that is deleted meanwhile finishes its requests",
    "E6": "every process comes to serve the active version within 2 s",
    "E7": "of two machines one gets a job",
    "E8": "the number of a version is never given twice",
}
SECURITY: Final = {
    "F1": "whatever is no right key is 401, always alike",
    "F2": "a predict key changes nothing: 403",
    "F3": "disguised methods, paths and hosts change no decision",
    "F4": "the time of a refusal says nothing of how near a key was",
    "F5": "many wrong keys from one address are 429; right keys still pass",
    "F6": "secrets stand in no log, answer, metric, span or document",
    "F7": "nothing forges or floods a line of the log",
    "F8": "odd request ids and idempotency keys are never sent back",
    "F9": "nothing that clients make up adds a series to the metrics",
    "F10": "the documentation is ours alone, whatever its address says",
    "F11": "pages of other sites change nothing and read nothing",
    "F12": "texts of others are shown as text on the page",
    "F13": "streams are bounded, freed when left, and replay nothing",
    "F14": "metrics and documentation are open, and can be closed",
    "F15": "without an admin key only loopback changes anything",
    "F16": "only a trusted proxy says who asks",
    "F17": "three times too much is turned away at once, and most is answered",
}
CASES: Final = PREDICT | TRANSPORT | TRAIN | STORAGE | VERSIONS | SECURITY


class Shown(NamedTuple):
    """What shows a case outside of the tests, and why it is there."""

    file: str
    reason: str


ELSEWHERE: Final[dict[str, Shown]] = {}

_IDS: Final = re.compile("test_((?:[a-f][0-9]+_)+)")


@cache
def named() -> Mapping[str, Sequence[str]]:
    """Return the names of all tests that begin with ids, by id."""
    found: dict[str, list[str]] = {}
    for name in sorted({*_tests()}):
        if match := _IDS.match(name):
            for one in match[1].upper().split("_")[:-1]:
                found.setdefault(one, []).append(name)
    return found


def table() -> str:
    """Return the cases with what shows each, as a table in Markdown."""
    rows = [f"| {i} | {text} | {_shows(i)} |" for i, text in CASES.items()]
    head = "| case | what must happen | what shows it |\n|---|---|---|\n"
    return head + "\n".join(rows) + "\n"


def _shows(case: str) -> str:
    shown = [f"`{name}`" for name in named().get(case, ())]
    if case in ELSEWHERE:
        file, reason = ELSEWHERE[case]
        shown.append(f"[{file}](../{file}): {reason}")
    return "<br>".join(shown)


def _tests() -> Iterator[str]:
    """Yield the names of all functions of the tests."""
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name
