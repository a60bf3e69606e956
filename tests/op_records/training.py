"""Records of the optimizers' updates, against their papers' formulas.

Every record writes its arrays into variables, makes one step, and returns all
the variables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from oprecord import Arg, Record

from dagrad.ops import sparse_training as st
from dagrad.ops import state
from dagrad.ops import training as t
from dagrad.ops.core import identity
from dagrad.ops.creation import zeros

VAR, GRAD = Arg((3, 5)), Arg((3, 5))
SLOT = Arg((3, 5), 0.5, 2.0)


def step(build: Callable[..., Any], slots: int) -> Callable[..., Any]:
    """``build(variables, grad)``, and then a read of each variable."""

    def run(*arrays: Any) -> Any:
        variables = []
        for a in arrays[: slots + 1]:
            v = state.Variable(zeros((), a.dtype), validate_shape=False)
            v.set_shape(a.shape)
            variables.append(v)
        writes = [
            state.assign(v, a, validate_shape=False) for v, a in zip(variables, arrays)
        ]
        done = build(writes, arrays[slots + 1])
        with done.graph.control_dependencies([done]):
            return [done, *[identity(v._variable) for v in variables[1:]]]

    return run


def record(
    type: str,
    slots: int,
    build: Callable[..., Any],
    reference: Callable[..., Any],
    name: str = "",
) -> Record:
    return Record(
        (type,),
        step(build, slots),
        (VAR, *[SLOT] * slots, GRAD),
        reference,
        name=name,
        order=0,
        rtol=3e-6,
    )


def momentum(x: Any, a: Any, g: Any) -> Any:
    a = 0.9 * a + g
    return x - 0.1 * a, a


def nesterov(x: Any, a: Any, g: Any) -> Any:
    a = 0.9 * a + g
    return x - 0.1 * (g + 0.9 * a), a


def adam(nesterov: bool) -> Callable[..., Any]:
    def reference(x: Any, m: Any, v: Any, g: Any) -> Any:
        m = 0.9 * m + 0.1 * g
        v = 0.99 * v + 0.01 * g * g
        alpha = 0.1 * np.sqrt(1 - 0.8) / (1 - 0.5)
        ahead = 0.9 * m + 0.1 * g if nesterov else m
        return x - alpha * ahead / (np.sqrt(v) + 1e-3), m, v

    return reference


def rms_prop(x: Any, ms: Any, mom: Any, g: Any) -> Any:
    ms = 0.9 * ms + 0.1 * g * g
    mom = 0.5 * mom + 0.1 * g / np.sqrt(ms + 1e-3)
    return x - mom, ms, mom


def centered(x: Any, mg: Any, ms: Any, mom: Any, g: Any) -> Any:
    ms = 0.9 * ms + 0.1 * g * g
    mg = 0.9 * mg + 0.1 * g
    mom = 0.5 * mom + 0.1 * g / np.sqrt(ms - mg * mg + 9.0)
    return x - mom, mg, ms, mom


def adagrad(x: Any, a: Any, g: Any) -> Any:
    a = a + g * g
    return x - 0.1 * g / np.sqrt(a), a


def adadelta(x: Any, a: Any, d: Any, g: Any) -> Any:
    a = 0.9 * a + 0.1 * g * g
    move = np.sqrt(d + 1e-3) / np.sqrt(a + 1e-3) * g
    return x - 0.5 * move, a, 0.9 * d + 0.1 * move * move


def ftrl(power: float, shrinkage: float) -> Callable[..., Any]:
    def reference(x: Any, a: Any, z: Any, g: Any) -> Any:
        new = a + g * g
        z = z + g + 2 * shrinkage * x - (new**power - a**power) / 0.1 * x
        y = (np.sign(z) * 0.9 - z) / (new**power / 0.1 + 2 * 0.2)
        return np.where(np.abs(z) > 0.9, y, 0).astype(x.dtype), new, z

    return reference


def rows_record(
    type: str,
    slots: int,
    build: Callable[..., Any],
    reference: Callable[..., Any],
    name: str = "",
) -> Record:
    """``build(variables, rows, indices)``, against ``reference`` row by row."""

    def run(*arrays: Any) -> Any:
        *rest, indices = arrays
        return step(lambda v, g: build(v, g, indices), slots)(*rest)

    def expected(*arrays: Any) -> Any:
        *states, g, indices = arrays
        states = [a.copy() for a in states]
        for i in sorted(set(indices.tolist())):
            new = reference(*[a[i] for a in states], g[indices == i].sum(0))
            for a, row in zip(states, new):
                a[i] = row
        return states

    return Record(
        (type,),
        run,
        (
            Arg((4, 5)),
            *[Arg((4, 5), 0.5, 2.0)] * slots,
            Arg((6, 5)),
            Arg((6,), 0, 3, dtype="int32"),
        ),
        expected,
        name=name,
        order=0,
        rtol=3e-6,
    )


RECORDS = [
    record(
        "ApplyGradientDescent",
        0,
        lambda v, g: t.apply_gradient_descent(v[0], 0.1, g),
        lambda x, g: x - 0.1 * g,
    ),
    record(
        "ApplyMomentum", 1, lambda v, g: t.apply_momentum(*v, 0.1, g, 0.9), momentum
    ),
    record(
        "ApplyMomentum",
        1,
        lambda v, g: t.apply_momentum(*v, 0.1, g, 0.9, use_nesterov=True),
        nesterov,
        "nesterov",
    ),
    *(
        record(
            "ApplyAdam",
            2,
            lambda v, g, n=n: t.apply_adam(
                *v, 0.5, 0.8, 0.1, 0.9, 0.99, 1e-3, g, use_nesterov=n
            ),
            adam(n),
            "nesterov" if n else "",
        )
        for n in (False, True)
    ),
    record(
        "ApplyRMSProp",
        2,
        lambda v, g: t.apply_rms_prop(*v, 0.1, 0.9, 0.5, 1e-3, g),
        rms_prop,
    ),
    record(
        "ApplyCenteredRMSProp",
        3,
        lambda v, g: t.apply_centered_rms_prop(*v, 0.1, 0.9, 0.5, 9.0, g),
        centered,
    ),
    record("ApplyAdagrad", 1, lambda v, g: t.apply_adagrad(*v, 0.1, g), adagrad),
    record(
        "ApplyAdadelta",
        2,
        lambda v, g: t.apply_adadelta(*v, 0.5, 0.9, 1e-3, g),
        adadelta,
    ),
    *(
        record(
            "ApplyFtrlV2",
            2,
            lambda v, g, p=p, s=s: t.apply_ftrl(
                *v, g, 0.1, 0.9, 0.2, -p, l2_shrinkage=s
            ),
            ftrl(p, s),
            f"{p}-{s}",
        )
        for p, s in ((0.5, 0.0), (0.7, 0.05))
    ),
    *(
        rows_record(
            "SparseApplyMomentum",
            1,
            lambda v, g, i, n=n: st.sparse_apply_momentum(
                *v, 0.1, g, i, 0.9, use_nesterov=n
            ),
            nesterov if n else momentum,
            "nesterov" if n else "",
        )
        for n in (False, True)
    ),
    rows_record(
        "SparseApplyRMSProp",
        2,
        lambda v, g, i: st.sparse_apply_rms_prop(*v, 0.1, 0.9, 0.5, 1e-3, g, i),
        rms_prop,
    ),
    rows_record(
        "SparseApplyCenteredRMSProp",
        3,
        lambda v, g, i: st.sparse_apply_centered_rms_prop(*v, 0.1, 0.9, 0.5, 9.0, g, i),
        centered,
    ),
    rows_record(
        "SparseApplyAdagrad",
        1,
        lambda v, g, i: st.sparse_apply_adagrad(*v, 0.1, g, i),
        adagrad,
    ),
    rows_record(
        "SparseApplyAdadelta",
        2,
        lambda v, g, i: st.sparse_apply_adadelta(*v, 0.5, 0.9, 1e-3, g, i),
        adadelta,
    ),
    *(
        rows_record(
            "SparseApplyFtrlV2",
            2,
            lambda v, g, i, p=p, s=s: st.sparse_apply_ftrl(
                *v, g, i, 0.1, 0.9, 0.2, -p, l2_shrinkage=s
            ),
            ftrl(p, s),
            f"{p}-{s}",
        )
        for p, s in ((0.5, 0.0), (0.7, 0.05))
    ),
]
