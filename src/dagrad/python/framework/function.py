"""TF1's ``framework.function``: Defun."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from ...graphlib.dtypes import as_dtype
from ...graphlib.errors import DTypeError
from ...graphlib.tensor import as_tensor
from ...ops.branching import Function
from ...ops.custom import custom_gradient

__all__ = ["Defun"]


class Defun:
    """A decorator that makes one operation of a function of tensors.

    Args:
        input_types: the dtypes of the arguments (none: any).
        func_name: what its operations are called.
        python_grad_func: ``f(op, *cotangents) -> cotangents of the inputs``, where
            ``op`` has ``inputs`` and ``outputs``.
        grad_func: the same as a function of inputs and cotangents.
        out_names, shape_func, noinline: accepted for TF1 programs.

    Example:
        >>> import dagrad as tf
        >>> @Defun(tf.float32, tf.float32)
        ... def product(a, b):
        ...     return a * b
        >>> with tf.Session() as session:
        ...     print(session.run(product(tf.constant(3.0), tf.constant(4.0))))
        12.0
    """

    def __init__(
        self,
        *input_types: Any,
        func_name: str | None = None,
        grad_func: Callable[..., Any] | None = None,
        python_grad_func: Callable[..., Any] | None = None,
        out_names: Any = None,
        shape_func: Any = None,
        noinline: bool = False,
    ) -> None:
        self._types = [as_dtype(t) for t in input_types]
        self._name = func_name
        self._grad = grad_func
        self._python_grad = python_grad_func

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """The function as one operation."""
        called = Function(fn, name=self._name)
        types = self._types
        who = self._name or fn.__name__

        def call(*args: Any) -> Any:
            if types and len(args) != len(types):
                raise TypeError(f"{who} takes {len(types)} arguments, not {len(args)}")
            tensors = [as_tensor(a) for a in args]
            for t, wanted in zip(tensors, types):
                if t.dtype is not wanted:
                    raise DTypeError(f"{who}: {t!r} is not {wanted.name}", t.op)
            if self._grad is None and self._python_grad is None:
                return called(*tensors)
            return custom_gradient(self._differentiated(called))(*tensors)

        return call

    def _differentiated(self, called: Function) -> Callable[..., Any]:
        def run(*inputs: Any) -> Any:
            result = called(*inputs)
            outputs = list(result) if isinstance(result, (list, tuple)) else [result]

            def gradient(*cotangents: Any) -> Any:
                if self._python_grad is not None:
                    op = SimpleNamespace(inputs=list(inputs), outputs=outputs)
                    return self._python_grad(op, *cotangents)
                assert self._grad is not None
                return self._grad(*inputs, *cotangents)

            return result, gradient

        return run
