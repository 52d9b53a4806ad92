"""Files that the command line is given: read or written, or told of as a failure."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.files import (
    check_regular,
    check_writable,
    read_bounded,
    read_csv,
    write_atomically,
)
from app.terminal import fail
from model import (
    MAX_ARTIFACT_BYTES,
    Artifact,
    ArtifactError,
    CsvError,
    Table,
    load,
    load_shipped,
)


def read_table(path: Path, *, labelled: bool) -> Table:
    """Return the people of a CSV."""
    with _faults_told(path):
        return read_csv(path, labelled=labelled)


def read_content(path: Path, max_bytes: int) -> bytes:
    """Return a file's bytes."""
    with _faults_told(path):
        content = read_bounded(path, max_bytes)
    if len(content) > max_bytes:
        fail(f"{path}: larger than {max_bytes} bytes")
    return content


def read_artifact(path: Path | None) -> Artifact:
    """Return the network of a file of weights, or the shipped one without a file."""
    with _faults_told(path or "the shipped weights"):
        if path is None:
            return load(load_shipped())
        return load(read_bounded(path, MAX_ARTIFACT_BYTES))


def read_verified(path: Path) -> tuple[Artifact, bytes]:
    """Return the network of a regular file of weights, and the file's bytes."""
    with _faults_told(path):
        check_regular(path)
        content = read_bounded(path, MAX_ARTIFACT_BYTES)
        return load(content), content


def check_output(path: Path | None) -> None:
    """Refuse a file that cannot be written, before hours of training are lost."""
    if path is None:
        return
    if not path.parent.is_dir():
        fail(f"{path.parent}: not a folder")
    with _faults_told(path):
        check_writable(path)


def write(path: Path, content: bytes) -> None:
    """Replace a file as a whole."""
    with _faults_told(path):
        write_atomically(path, content)


@contextmanager
def _faults_told(where: Path | str) -> Iterator[None]:
    """Say what is wrong with a file, and end with status 1."""
    try:
        yield
    except CsvError as error:
        fail(*(f"{where}: {fault}" for fault in error.errors))
    except ArtifactError as error:
        fail(f"{where}: {error}")
    except OSError as error:
        fail(f"{where}: {error.strerror}")
