"""Check that a CycloneDX list names all that is pinned for the image, and us.

Usage: python -m tests.packaging.inside LIST LOCK PYTHON
"""

import json
import re
import sys
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from app import __version__


def pinned(lock: str, python: str) -> set[tuple[str, str]]:
    """Return each package that a lock means for a Python here, with its version."""
    there = {"python_version": python, "python_full_version": f"{python}.0"}
    found = set[tuple[str, str]]()
    for line in re.findall(r"^[^\s#][^\\\n]*", lock, re.MULTILINE):
        wanted = Requirement(line)
        if wanted.marker is None or wanted.marker.evaluate(there):
            (version,) = wanted.specifier
            found.add((canonicalize_name(wanted.name), version.version))
    return found


def main(listed: str, lock: str, python: str) -> str | None:
    """Return what is wrong, None where nothing is."""
    document = json.loads(Path(listed).read_text())
    components = document["components"]
    inside = {(canonicalize_name(one["name"]), one["version"]) for one in components}
    subject = document["metadata"]["component"]
    if (subject["name"], subject["version"]) != ("offsetnet", __version__):
        return f"it is a list of {subject['name']} {subject['version']}"
    differing = inside ^ pinned(Path(lock).read_text(), python)
    return f"the list and the lock differ by {differing}" if differing else None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
