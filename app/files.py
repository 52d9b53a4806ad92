"""Files that the command line is given: read or written, or told of as a failure."""

import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from app.schemas import MAX_ROWS
from app.terminal import fail
from model import (
    MAX_ARTIFACT_BYTES,
    Artifact,
    ArtifactError,
    CsvError,
    CsvReader,
    Table,
    load,
    load_shipped,
)

_SLICE_BYTES: Final = 64 * 1024


def read_table(path: Path, *, labelled: bool) -> Table:
    """Return the people of a CSV, read slice by slice."""
    reader = CsvReader(labelled=labelled, max_rows=MAX_ROWS)
    with _faults_told(path), path.open("rb") as file:
        while content := file.read(_SLICE_BYTES):
            reader.feed(content)
        return reader.finish()


def read_content(path: Path, max_bytes: int) -> bytes:
    """Return a file's bytes."""
    with _faults_told(path):
        content = _read(path, max_bytes)
    if len(content) > max_bytes:
        fail(f"{path}: larger than {max_bytes} bytes")
    return content


def read_artifact(path: Path | None) -> Artifact:
    """Return the network of a file of weights, or the shipped one without a file."""
    with _faults_told(path or "the shipped weights"):
        return load(_read(path, MAX_ARTIFACT_BYTES) if path else load_shipped())


def read_verified(path: Path) -> tuple[Artifact, bytes]:
    """Return the network of a regular file of weights, and the file's bytes."""
    with _faults_told(path):
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe, say, waits for its writer
            raise OSError(errno.EINVAL, "Not a regular file")
        content = _read(path, MAX_ARTIFACT_BYTES)
        return load(content), content


def check_output(path: Path | None) -> None:
    """Refuse a file that cannot be written, before hours of training are lost."""
    if path is None:
        return
    if not path.parent.is_dir():
        fail(f"{path.parent}: not a folder")
    with _faults_told(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        tempfile.TemporaryFile(dir=path.parent).close()


def write(path: Path, content: bytes) -> None:
    """Replace a file as a whole, so that no crash leaves half of it."""
    with (
        _faults_told(path),
        tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file,
    ):
        temporary = Path(file.name)
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(0o644)
            temporary.replace(path)
        except BaseException:
            temporary.unlink()
            raise
        _sync_folder(path.parent)


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


def _read(path: Path, max_bytes: int) -> bytes:
    """Read a file, and no more than tells that it is too large."""
    with path.open("rb") as file:
        return file.read(max_bytes + 1)


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
