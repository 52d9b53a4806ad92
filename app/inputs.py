"""Files that the command line is given: read or written, or told of as a failure."""

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
    try:
        return read_csv(path, labelled=labelled)
    except CsvError as error:
        fail(*(f"{path}: {fault}" for fault in error.errors))
    except OSError as error:
        fail(f"{path}: {error.strerror}")


def read_content(path: Path, max_bytes: int) -> bytes:
    """Return a file's bytes."""
    try:
        content = read_bounded(path, max_bytes)
    except OSError as error:
        fail(f"{path}: {error.strerror}")
    if len(content) > max_bytes:
        fail(f"{path}: larger than {max_bytes} bytes")
    return content


def read_artifact(path: Path | None) -> Artifact:
    """Return the network of a file of weights, or the shipped one without a file."""
    try:
        if path is None:
            return load(load_shipped())
        return load(read_bounded(path, MAX_ARTIFACT_BYTES))
    except ArtifactError as error:
        fail(f"{path or 'the shipped weights'}: {error}")
    except OSError as error:
        fail(f"{path}: {error.strerror}")


def read_verified(path: Path) -> tuple[Artifact, bytes]:
    """Return the network of a regular file of weights, and the file's bytes."""
    try:
        check_regular(path)
        content = read_bounded(path, MAX_ARTIFACT_BYTES)
        return load(content), content
    except ArtifactError as error:
        fail(f"{path}: {error}")
    except OSError as error:
        fail(f"{path}: {error.strerror}")


def check_output(path: Path | None) -> None:
    """Refuse a file that cannot be written, before hours of training are lost."""
    if path is None:
        return
    if not path.parent.is_dir():
        fail(f"{path.parent}: not a folder")
    try:
        check_writable(path)
    except OSError as error:
        fail(f"{path}: {error.strerror}")


def write(path: Path, content: bytes) -> None:
    """Replace a file as a whole."""
    try:
        write_atomically(path, content)
    except OSError as error:
        fail(f"{path}: {error.strerror}")
