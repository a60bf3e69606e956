"""TestCase: unittest's, with what TF1 programs use of ``tf.test.TestCase``."""

from __future__ import annotations

import atexit
import contextlib
import functools
import random
import re
import shutil
import tempfile
import unittest
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from .graphlib.errors import OpError
from .graphlib.graph import Graph, get_default_graph, reset_default_graph
from .graphlib.tensor import Tensor
from .ops.random import set_random_seed
from .ops.state import Variable
from .runtime.session import Session, get_default_session

__all__ = ["TestCase", "temporary_directory"]

_SEED = 87654321


@functools.cache
def temporary_directory() -> str:
    """One directory per process, deleted at its end."""
    path = tempfile.mkdtemp(prefix="dagrad_test_")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


class _TestSession(Session):
    """A session whose exit does not close it: a test may enter it again."""

    def __exit__(self, *error: Any) -> None:
        graph, default = self._contexts.pop()
        default.__exit__(*error)
        graph.__exit__(*error)


class TestCase(unittest.TestCase):
    """A test with a default graph of its own, seeded, and TF1's assertions.

    Assertions take arrays, lists and numbers; tensors are run in the default
    session.
    """

    def setUp(self) -> None:
        """A new default graph and the same random numbers for every test."""
        reset_default_graph()
        random.seed(_SEED)
        np.random.seed(_SEED)
        set_random_seed(_SEED)
        self._cached: Session | None = None

    def tearDown(self) -> None:
        """Close the cached session."""
        if self._cached is not None:
            self._cached.close()
            self._cached = None

    # -- sessions --------------------------------------------------------------

    @contextlib.contextmanager
    def session(
        self,
        graph: Graph | None = None,
        config: Any = None,
        use_gpu: bool = False,
        force_gpu: bool = False,
    ) -> Iterator[Session]:
        """A new session, the default one inside ``with``."""
        with Session(graph=graph, config=config) as session:
            yield session

    @contextlib.contextmanager
    def cached_session(
        self,
        graph: Graph | None = None,
        config: Any = None,
        use_gpu: bool = False,
        force_gpu: bool = False,
    ) -> Iterator[Session]:
        """The same session in every call of one test: variables keep their values.

        Raises:
            ValueError: it was made for another graph.
        """
        wanted = get_default_graph() if graph is None else graph
        if self._cached is None:
            self._cached = _TestSession(graph=wanted, config=config)
        elif self._cached.graph is not wanted:
            raise ValueError("the cached session of this test runs another graph")
        with self._cached as session:
            yield session

    # A property, which loaders of tests do not take for a test.
    @property
    def test_session(self) -> Callable[..., Any]:
        """:meth:`cached_session` without a graph, :meth:`session` with one."""
        return self._test_session

    def _test_session(
        self,
        graph: Graph | None = None,
        config: Any = None,
        use_gpu: bool = False,
        force_gpu: bool = False,
    ) -> Any:
        if graph is None:
            return self.cached_session(None, config)
        return self.session(graph, config)

    def get_temp_dir(self) -> str:
        """A directory for files."""
        return temporary_directory()

    def evaluate(self, tensors: Any) -> Any:
        """The values of tensors (any fetch structure) in the default session."""
        session = get_default_session()
        if session is None:
            with self.cached_session() as session:
                return session.run(tensors)
        return session.run(tensors)

    # -- assertions --------------------------------------------------------------

    def _value(self, a: Any) -> Any:
        if isinstance(a, (Tensor, Variable)):
            return np.asarray(self.evaluate(a))
        if isinstance(a, (list, tuple)) and any(
            isinstance(v, (Tensor, Variable)) for v in a
        ):
            return np.asarray([self._value(v) for v in a])
        return np.asarray(a)

    def assertAllClose(
        self,
        a: Any,
        b: Any,
        rtol: float = 1e-6,
        atol: float = 1e-6,
        msg: str | None = None,
    ) -> None:
        """Equal up to ``atol + rtol * abs(b)``; dicts, lists and tuples go in parts."""
        if isinstance(a, Mapping) or isinstance(b, Mapping):
            self.assertEqual(sorted(a), sorted(b), msg)
            for key in a:
                self.assertAllClose(a[key], b[key], rtol, atol, f"{msg or ''}[{key!r}]")
            return
        if _ragged(a) or _ragged(b):
            self.assertEqual(len(a), len(b), msg)
            for i, (one, other) in enumerate(zip(a, b)):
                self.assertAllClose(one, other, rtol, atol, f"{msg or ''}[{i}]")
            return
        a, b = self._value(a), self._value(b)
        self._same_shape(a, b, msg)
        if np.float16 in (a.dtype.type, b.dtype.type):
            rtol, atol = max(rtol, 1e-3), max(atol, 1e-3)
        np.testing.assert_allclose(a, b, rtol, atol, err_msg=msg or "")

    def assertAllEqual(self, a: Any, b: Any, msg: str | None = None) -> None:
        """Same shape, same elements (NaN equals NaN)."""
        a, b = self._value(a), self._value(b)
        self._same_shape(a, b, msg)
        np.testing.assert_array_equal(a, b, err_msg=msg or "")

    def assertNotAllClose(self, a: Any, b: Any, **kwargs: Any) -> None:
        """Not :meth:`assertAllClose`."""
        try:
            self.assertAllClose(a, b, **kwargs)
        except AssertionError:
            return
        raise self.failureException("the two are close everywhere")

    def assertNotAllEqual(self, a: Any, b: Any, msg: str | None = None) -> None:
        """Not :meth:`assertAllEqual`."""
        try:
            self.assertAllEqual(a, b)
        except AssertionError:
            return
        raise self.failureException(msg or "the two are equal everywhere")

    def assertNear(self, f1: Any, f2: Any, err: float, msg: str | None = None) -> None:
        """abs(f1 - f2) <= err, or both NaN or the same infinity."""
        same = f1 == f2 or abs(f1 - f2) <= err or (f1 != f1 and f2 != f2)
        self.assertTrue(same, f"{f1!r} is not within {err} of {f2!r} {msg or ''}")

    def assertArrayNear(
        self, farray1: Any, farray2: Any, err: float, msg: str | None = None
    ) -> None:
        """:meth:`assertNear` of each pair of elements."""
        self.assertEqual(len(farray1), len(farray2), msg)
        for one, other in zip(farray1, farray2):
            self.assertNear(float(one), float(other), err, msg)

    def assertNDArrayNear(
        self, ndarray1: Any, ndarray2: Any, err: float, msg: str | None = None
    ) -> None:
        """The Euclidean norm of the difference is at most ``err``."""
        off = np.linalg.norm(np.asarray(ndarray1) - np.asarray(ndarray2))
        self.assertTrue(off <= err, f"{off} is more than {err} {msg or ''}")

    def assertShapeEqual(
        self, np_array: Any, tf_tensor: Any, msg: str | None = None
    ) -> None:
        """The static shape of a tensor is the shape of an array."""
        self.assertEqual(list(np.shape(np_array)), tf_tensor.get_shape().as_list(), msg)

    def _same_shape(self, a: Any, b: Any, msg: str | None) -> None:
        """Two arrays have one shape."""
        if a.shape != b.shape:
            raise self.failureException(
                f"shapes {a.shape} and {b.shape} differ. {msg or ''}"
            )

    @contextlib.contextmanager
    def assertRaisesWithPredicateMatch(
        self, exception_type: Any, expected_err_re_or_predicate: Any
    ) -> Iterator[None]:
        """An exception of that type whose text matches, or which the predicate takes.

        The text of an error of an operation includes the operation's name.
        """
        predicate = expected_err_re_or_predicate
        try:
            yield
        except exception_type as error:
            if callable(predicate):
                fits = predicate(error)
            else:
                text = str(error)
                if isinstance(error, OpError) and error.op is not None:
                    text += f" {error.op.name}"
                fits = re.search(predicate, text) is not None
            if not fits:
                raise self.failureException(f"another {error!r} was raised") from error
        else:
            raise self.failureException(f"no {exception_type} was raised")

    def assertRaisesOpError(self, expected_err_re_or_predicate: Any) -> Any:
        """An OpError whose text matches."""
        return self.assertRaisesWithPredicateMatch(
            OpError, expected_err_re_or_predicate
        )

    def assertStartsWith(
        self, actual: str, expected_start: str, msg: str | None = None
    ) -> None:
        """``actual`` begins with ``expected_start``."""
        if not actual.startswith(expected_start):
            self.fail(msg or f"{actual!r} does not start with {expected_start!r}")


def _ragged(a: Any) -> bool:
    """Whether a list holds parts that make no array together."""
    if not isinstance(a, (list, tuple)):
        return False
    return len({np.shape(v) for v in a if not isinstance(v, (Tensor, Variable))}) > 1
