"""The errors that users can meet; each class owns one exit code (docs/architecture.md) and one hint."""

EXIT_OK = 0
EXIT_INTERNAL = 1
EXIT_USAGE = 2
EXIT_REGRESSION = 3
EXIT_INCONCLUSIVE = 4


class NbbenchError(Exception):
    """Base of every error that nbbench reports in one sentence.

    `hint` says what to do next; it is printed on a second line.
    """

    exit_code = EXIT_INTERNAL
    default_hint = ""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = self.default_hint if hint is None else hint


class UsageError(NbbenchError):
    """A wrong argument, an unknown commit, an empty range."""

    exit_code = EXIT_USAGE
    default_hint = "see `nbbench COMMAND --help`"


class ConfigError(NbbenchError):
    """A setting that does not parse or contradicts another."""

    exit_code = EXIT_USAGE
    default_hint = "settings come from flags, NBBENCH_* variables and [tool.nbbench] in pyproject.toml"


class HostError(NbbenchError):
    """The machine cannot do what was asked: a missing program, a full disk, a read-only folder."""

    exit_code = EXIT_USAGE
    default_hint = "run `nbbench doctor`"


class SubjectError(NbbenchError):
    """No subject, a subject without the branch, or a commit whose files are missing."""

    exit_code = EXIT_USAGE
    default_hint = "register one with `nbbench subject demo` or `nbbench subject use PATH|URL`"


class StoreError(NbbenchError):
    """The database cannot be opened, is newer than this program, or is in use."""

    exit_code = EXIT_USAGE
    default_hint = "choose another database with --db URL, or rebuild it with `nbbench import`"


class EvidenceError(NbbenchError):
    """An evidence folder cannot be written, or would break the STAMP layout's rules."""

    exit_code = EXIT_USAGE
    default_hint = "choose another folder with --out"


class InconclusiveError(NbbenchError):
    """Nothing could be measured or decided; never reported as a pass."""

    exit_code = EXIT_INCONCLUSIVE
    default_hint = "run `nbbench doctor`, then measure again"
