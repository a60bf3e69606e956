"""Errors of dagrad: each names the operation, what clashed, and the user's line.

Every class inherits :class:`DagradError` and the builtin that Python programs
expect (``ShapeError`` is a ``ValueError``).  The names under TensorFlow 1's
``tf.errors`` are kept as children, so ``except tf.errors.InvalidArgumentError``
in old programs still catches what it used to catch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .operation import Operation


class DagradError(Exception):
    """Root of all errors that dagrad raises on purpose."""

    def __init__(self, message: str = "", op: Operation | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.op = op

    def __str__(self) -> str:
        return self.message


class ShapeError(DagradError, ValueError):
    """Shapes that cannot fit each other, found while building or running."""


class DTypeError(DagradError, TypeError, ValueError):
    """A dtype that an operation does not take, or two that do not promote.

    Both a TypeError and a ValueError, since TF1 raises now the one, now the other.
    """


class GraphError(DagradError, ValueError):
    """Misuse of a graph: another graph's tensor, a bad name, a finalized graph."""


class FinalizedError(GraphError, RuntimeError):
    """A finalized graph was to be changed."""


class MissingNameError(DagradError, KeyError):
    """A name that the graph does not hold."""


class GradientError(DagradError, LookupError):
    """A derivative that does not exist or whose rule broke its contract."""


class RegistrationError(GraphError, KeyError):
    """A name that was to be registered is taken."""


class CopyError(DagradError, TypeError):
    """Something was pickled or copied that lives in one graph or process."""


class OpError(DagradError, RuntimeError):
    """Base of the errors of a run (``tf.errors.OpError``)."""

    def __init__(
        self,
        message: str = "",
        op: Operation | None = None,
        *more: Any,
    ) -> None:
        # TF1 calls OpError(node_def, op, message, code): accept that order too.
        if more and isinstance(more[0], str):
            message = more[0]
        super().__init__(message, op)

    @property
    def node_def(self) -> Operation | None:
        """The failed operation, or None."""
        return self.op


class ExecutionError(OpError):
    """A kernel raised while a plan was running."""


class InvalidArgumentError(OpError, ValueError):
    """An argument that the operation cannot take (``tf.errors``)."""


class FailedPreconditionError(OpError):
    """State that a run needs is missing, such as an uninitialised variable."""


class FeedError(InvalidArgumentError):
    """A feed with a wrong key, shape, dtype or value, or a missing feed."""


class FeedTypeError(FeedError, TypeError):
    """A key that cannot be fed, or a value of a type that cannot."""


class FetchError(DagradError, TypeError, ValueError):
    """Something that cannot be fetched."""


class SessionClosedError(DagradError, RuntimeError):
    """A session was used after ``close()``."""


class NotFoundError(OpError):
    """A file, key or entity was not found (``tf.errors``)."""


class AlreadyExistsError(OpError):
    """An entity that was to be created exists already (``tf.errors``)."""


class OutOfRangeError(OpError):
    """An iteration went past the end of its input (``tf.errors``)."""


class ResourceExhaustedError(OpError, MemoryError):
    """Memory, or another resource, ran out (``tf.errors``)."""


class CancelledError(OpError):
    """The run was cancelled (``tf.errors``)."""


class DeadlineExceededError(OpError, TimeoutError):
    """The run passed its deadline (``tf.errors``)."""


class UnimplementedError(OpError):
    """The operation is not offered for these arguments (``tf.errors``)."""


class InternalError(OpError):
    """An invariant of dagrad itself broke: please report it (``tf.errors``)."""


class UnknownError(OpError):
    """An error of no other class (``tf.errors``)."""


class PermissionDeniedError(OpError):
    """The caller may not do this (``tf.errors``)."""


class UnavailableError(OpError):
    """A service is not there now (``tf.errors``)."""


class AbortedError(OpError):
    """The run was aborted (``tf.errors``)."""


class DataLossError(OpError):
    """Data on disk is corrupt (``tf.errors``)."""


class DagradWarning(UserWarning):
    """Root of the warnings that dagrad gives on purpose."""


class GradientWarning(DagradWarning):
    """A derivative that is likely not what the program means."""
