"""Files that the command line reads and writes."""

import errno
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from app.schemas import MAX_ROWS
from model import CsvReader, Table

_SLICE_BYTES: Final = 64 * 1024


def read_csv(path: Path, *, labelled: bool) -> Table:
    """Read the people of a CSV, slice by slice.

    Raises:
        CsvError: The table breaks a rule.
        OSError: The file cannot be read.
    """
    reader = CsvReader(labelled=labelled, max_rows=MAX_ROWS)
    with path.open("rb") as file:
        while content := file.read(_SLICE_BYTES):
            reader.feed(content)
    return reader.finish()


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """Read a file, and no more than tells that it is too large.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return file.read(max_bytes + 1)


def check_regular(path: Path) -> None:
    """Refuse what is no file of bytes: a pipe, for one, waits for its writer.

    Raises:
        OSError: It is none, or cannot be looked at.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "Not a regular file")


def check_writable(path: Path) -> None:
    """Refuse what cannot be written, before there is anything to write.

    Raises:
        OSError: It is a folder, or its own folder takes no file.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    with tempfile.TemporaryFile(dir=path.parent):
        pass


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file as a whole, so that no crash leaves half of it.

    Raises:
        OSError: The folder cannot be written.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
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


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
