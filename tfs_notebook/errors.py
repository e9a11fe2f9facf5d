"""One exception for everything a served request, a configuration or a model can do wrong.

`ServingError.code` is the canonical status code that gRPC, absl and TensorFlow share; REST and gRPC each map it once.
`message` is what goes over the wire, in TensorFlow Serving's words. `where` says where in the request the
offending value stood (`instances[3].image[17]`) and `hint` what to do about it; only notebook and log show these.
"""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """The canonical status codes, numbered as in google.rpc.Code."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class ServingError(Exception):
    """A request, configuration or model that cannot be served, with its status code."""

    def __init__(self, code: Code, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.where = where
        self.hint = hint
        if hint and hasattr(self, "add_note"):  # Python 3.11: a traceback shows it, too
            self.add_note(hint)

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"

    @property
    def told(self) -> str:
        """What a person is told, line by line: the error, where it stood, what to do about it."""
        is_told = self.where.startswith("/") and self.where in self.message
        where = f"at {self.where}" if self.where and not is_told else ""
        return "\n".join(filter(None, (str(self), where, self.hint)))


def printable(text: str) -> str:
    """`text` with a `\\xf6` for every byte of a name that is not UTF-8: nothing else of it could be sent or shown."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a character beyond the first 65536
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def invalid_argument(message: str, *, where: str = "") -> ServingError:
    """The code of almost every refusal that a request's own content causes."""
    return ServingError(Code.INVALID_ARGUMENT, message, where=where)


def not_found(message: str, *, hint: str = "") -> ServingError:
    """The code for a model, version or path that is not there."""
    return ServingError(Code.NOT_FOUND, message, hint=hint)
