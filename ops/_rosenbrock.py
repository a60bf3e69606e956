"""RODAS: a linearly implicit method for stiff equations.

Each stage solves a linear system with 1 / (γ h) - ∂f/∂y, so that a decay however fast
does not limit the step; there is no iteration.  Order 4, stiffly accurate, L-stable,
with an embedded method of order 3 and a dense output of order 3.

Reference:
    Hairer & Wanner, Solving Ordinary Differential Equations II, 2nd ed., section
    IV.7 and table 7.2 (RODAS).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..graphlib.forward import jvp
from ..graphlib.tensor import Tensor
from ._jacobian import forward_columns
from ._runge_kutta import Attempt
from .core import cast, identity, size, zeros_like
from .decompositions import matrix_inverse
from .linalg import matvec
from .matrix import eye

__all__ = ["Rodas"]

_GAMMA = 0.25
# The stages, in terms of u_i = Σ γ_ij k_j (Hairer & Wanner, equation 7.25).
_A = (
    (),
    (1.544,),
    (0.9466785280815826, 0.2557011698983284),
    (3.314825187068521, 2.896124015972201, 0.9986419139977817),
    (1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950),
)
_C = (
    (),
    (-5.6688,),
    (-2.430093356833875, -0.2063599157091915),
    (-0.1073529058151375, -9.594562251023355, -20.47028614809616),
    (7.496443313967647, -10.24680431464352, -33.99990352819905, 11.70890893206160),
    (
        8.083246795921522,
        -7.981132988064893,
        -31.52159432874371,
        16.31930543123136,
        -6.058818238834054,
    ),
)
_TIMES = (0.0, 0.386, 0.21, 0.63, 1.0, 1.0)
_D = (0.25, -0.1043, 0.1035, -0.03620000000000023, 0.0, 0.0)
_H = (
    (
        10.12623508344586,
        -7.487995877610167,
        -34.80091861555747,
        -7.992771707568823,
        1.025137723295662,
    ),
    (
        -0.6762803392801253,
        6.087714651680015,
        16.43084320892478,
        24.76722511418386,
        -6.594389125716872,
    ),
)


def _sum(us: Sequence[Tensor], weights: Sequence[float], like: Tensor) -> Tensor:
    total = zeros_like(like)
    for u, w in zip(us, weights):
        total = total + u * w
    return total


class Rodas:
    """The method, as :func:`_runge_kutta.adaptive` takes it."""

    flat = True
    order = 4
    kept = 3

    def attempt(
        self,
        f: Callable[[Tensor, Tensor], Tensor],
        y: Tensor,
        t: Tensor,
        h: Tensor,
        slope: Tensor,
    ) -> Attempt:
        """A step from y at t, where f is ``slope``."""
        at, now = identity(y), identity(t)
        made = f(at, now)
        (matrix,) = forward_columns([made], at)
        (drift,) = jvp([made], [now])
        step = cast(h, y.dtype)
        system = eye(size(y), dtype=y.dtype) / (step * _GAMMA)
        inverse = matrix_inverse(system if matrix is None else system - matrix)
        us: list[Tensor] = []
        where = y
        for i, times in enumerate(_TIMES):
            right = slope
            if i:
                # The last stage starts from the result without it.
                where = y + _sum(us, _A[i], y) if i < 5 else where + us[4]
                right = f(where, t + times * h) + _sum(us, _C[i], y) / step
            if drift is not None and _D[i]:
                right = right + drift * (step * _D[i])
            us.append(matvec(inverse, right))
        new = where + us[5]
        kept = [new, *[_sum(us, row, y) for row in _H]]
        return Attempt(new, us[5], kept, f(new, t + h))

    def between(self, theta: Tensor, y: Tensor, h: Tensor, kept: Tensor) -> Tensor:
        """y(t + theta h) inside of a step from y at t."""
        x = cast(theta, y.dtype)
        rest = 1.0 - x
        return y * rest + x * (kept[0] + rest * (kept[1] + x * kept[2]))
