"""Files that are either complete or absent: temporary file, fsync, rename in the same folder."""

import contextlib
import errno
import os
import secrets
from pathlib import Path

from nbbench.errors import HostError

# What the machine refuses, in words; anything else keeps the system's own words.
_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space, or choose another folder"),
    errno.EDQUOT: ("the disk quota is used up", "free some space, or choose another folder"),
    errno.EFBIG: ("the file is larger than the process may write", "raise the limit (`ulimit -f`)"),
    errno.EROFS: ("the file system is read-only", "choose a folder that can be written"),
    errno.EACCES: ("the folder cannot be written", "change its permissions, or choose another folder"),
    errno.EPERM: ("the folder cannot be written", "change its permissions, or choose another folder"),
    errno.ENOTDIR: ("a file stands where a folder should be", "move that file away"),
    errno.EISDIR: ("a folder stands where the file should be", "move that folder away"),
    errno.ENOENT: ("the folder does not exist", "make the folder first"),
    errno.EEXIST: ("a file stands where a folder should be", "move that file away"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter name"),
}


def ensure_writable(folder: Path) -> None:
    """Raise HostError when nothing can be written to `folder`, or to where it will be made.

    To be asked before a measurement, whose figures could not be kept.
    """
    place = next(p for p in (folder, *folder.parents) if p.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise HostError(f"{place} cannot be written", hint="change its permissions, or work in a copy")


def host_error(path: Path, error: OSError) -> HostError:
    """`error` as one sentence about `path`, with a remedy."""
    reason, hint = _REASONS.get(error.errno or 0, (error.strerror or str(error), None))
    return HostError(f"cannot write {path}: {reason}", hint=hint)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` at once: readers see the old file or the new one, never a part.

    The folder must exist. Raises HostError when the machine refuses (disk full, read-only …);
    `path` is then as it was and no temporary file is left.
    """
    # Hidden, so that a listing of results never picks it up; cut, so that a name of the
    # longest length allowed still has room for the suffix.
    temporary = path.with_name(f".{path.name[:200]}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as stream:  # with the user's umask, as any file (mkstemp gives 0600)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except BaseException as error:
        # Best effort: the error on its way up says more than a failure to tidy.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise host_error(path, error) from error
        raise


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with `write_bytes`; half characters that UTF-8 lacks become `?`."""
    write_bytes(path, text.encode("utf-8", errors="replace"))


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; some file systems cannot, and that is no failure."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
