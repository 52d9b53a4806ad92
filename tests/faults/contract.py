"""Send what the OpenAPI document allows, and what it forbids: it must tell the truth.

schemathesis makes the requests from the document that a live server serves: values at
every bound and beyond, bodies and parameters that break their schemas, methods that are
not there, and chains of operations on what was made before. No answer may be a 5xx
other than 503 (and 501 where the protocol says so), come of no operation's documented
statuses, types and schemas, or take more than 6 s; what is allowed must be taken and
what is forbidden refused. It fails, too, where fewer requests were made than it claims.

Usage: python -m tests.faults.contract [--examples N] [--fewest N] [--seed N]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from tests.faults.report import report
from tests.server import Server

ROOT: Final = Path(__file__).parents[2]
RULES: Final = Path(__file__).with_name("schemathesis.toml")
PHASES: Final = "coverage,fuzzing,stateful"
PERSON: Final = {"weight_offset": -7, "height_offset": -3}


def ask(
    server: Server, folder: Path, examples: int, seed: int, phases: str = PHASES
) -> dict[str, Any]:
    """Return schemathesis's report of its requests; its words are in `printed`.

    Args:
        server: Where to.
        folder: For the report's file.
        examples: How many random requests each operation gets at most.
        seed: Of the requests.
        phases: Which kinds of requests.
    """
    path = folder / "report.json"
    program = Path(sys.executable).with_name("schemathesis")
    command = [str(program), f"--config-file={RULES}", "--no-color", "run"]
    command += [f"http://127.0.0.1:{server.port}/openapi.json", f"--phases={phases}"]
    command += [f"--max-examples={examples}", f"--seed={seed}", "--report=json"]
    command += [f"--report-json-path={path}"]
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False
    )
    return {"printed": done.stdout, **json.loads(path.read_text())}


def wrong(seen: dict[str, Any], server: Server, fewest: int) -> list[str]:
    """Return what is not as it should be, afterwards too."""
    tried = seen["test_cases"]["generated"]
    answer = server.client.post("/predict?model_version=1", json=PERSON).json()
    checks = {
        f"{tried} requests, expected {fewest} at least": tried >= fewest,
        seen["printed"]: seen["exit_code"] == 0 and seen["complete"],
        f"Emily is answered {answer}": answer.get("label") == "F",
        f"logged:\n{server.log()}": "Traceback" not in server.log(),
    }
    return [text for text, is_right in checks.items() if not is_right]


def main() -> int:
    """Ask, print a table, and return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--examples", type=int, default=700)
    parser.add_argument("--fewest", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="offsetnet-") as folder,
        Server(Path(folder) / "data") as server,
    ):
        seen = ask(server, Path(folder), options.examples, options.seed)
        faults = wrong(seen, server, options.fewest)
    table = Table("operations", "requests", "failures", "errors", "seconds", "seed")
    counts = seen["test_cases"]
    table.add_row(
        str(seen["operations"]["tested"]),
        str(counts["generated"]),
        str(counts["with_failures"]),
        str(len(seen["errors"])),
        f"{time.monotonic() - began:.0f}",
        str(options.seed),
    )
    return report(table, faults)


if __name__ == "__main__":
    sys.exit(main())
