"""The updates that optimizers make: one step of each method, in place."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graphlib.tensor import Tensor
from ._optimizer import apply_op, optimizer_op

__all__ = [
    "apply_adadelta",
    "apply_adagrad",
    "apply_adam",
    "apply_centered_rms_prop",
    "apply_ftrl",
    "apply_gradient_descent",
    "apply_momentum",
    "apply_rms_prop",
]

# -- gradient descent ----------------------------------------------------------


def _descend(states: Any, g: Any, work: Any, alpha: Any) -> None:
    (var,), (t,) = states, work
    np.multiply(g, alpha, out=t)
    np.subtract(var, t, out=var)


GRADIENT_DESCENT = optimizer_op(
    "ApplyGradientDescent",
    ("var", "alpha", "delta"),
    1,
    1,
    lambda alpha: (alpha,),
    _descend,
    2,
    "var -= alpha delta",
    grad="delta",
)


def apply_gradient_descent(
    var: Any, alpha: Any, delta: Any, use_locking: bool = False, name: str | None = None
) -> Tensor:
    """var -= alpha * delta; the result is the variable after the step.

    Args:
        var: a variable, floating or complex.
        alpha: a scalar step size.
        delta: the direction, of the variable's shape and dtype.
        use_locking: accepted for TF1 programs.
        name: the name of the operation.

    Raises:
        ShapeError, DTypeError: the arguments do not fit the variable.
    """
    return apply_op(GRADIENT_DESCENT, (var,), (alpha, (delta,)), name)


def _momentum(
    states: Any, g: Any, work: Any, lr: Any, momentum: Any, nesterov: bool
) -> None:
    (var, accum), (t,) = states, work
    np.multiply(accum, momentum, out=accum)
    np.add(accum, g, out=accum)
    if nesterov:
        np.multiply(accum, momentum, out=t)
        np.add(t, g, out=t)
        np.multiply(t, lr, out=t)
    else:
        np.multiply(accum, lr, out=t)
    np.subtract(var, t, out=var)


MOMENTUM = optimizer_op(
    "ApplyMomentum",
    ("var", "accum", "lr", "grad", "momentum"),
    2,
    1,
    lambda lr, momentum, use_nesterov: (lr, momentum, use_nesterov),
    _momentum,
    4,
    "accum = momentum accum + g; var -= lr accum",
)


def apply_momentum(
    var: Any,
    accum: Any,
    lr: Any,
    grad: Any,
    momentum: Any,
    use_locking: bool = False,
    use_nesterov: bool = False,
    name: str | None = None,
) -> Tensor:
    """accum = momentum * accum + grad; var -= lr * accum.

    With ``use_nesterov``, var -= lr * (grad + momentum * accum), with the new
    accum. Arguments as in :func:`apply_gradient_descent`; ``accum`` is a
    variable of the shape of ``var``.

    Reference:
        Sutskever et al., On the importance of initialization and momentum in
        deep learning, ICML 2013.
    """
    attrs = {"use_nesterov": bool(use_nesterov)}
    return apply_op(MOMENTUM, (var, accum), (lr, (grad,), momentum), name, attrs)


# -- Adam and relatives --------------------------------------------------------


def _adam_scalars(
    beta1_power: Any,
    beta2_power: Any,
    lr: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
    use_nesterov: bool,
) -> tuple[Any, ...]:
    alpha = lr * np.sqrt(1 - beta2_power) / (1 - beta1_power)
    return alpha, beta1, 1 - beta1, 1 - beta2, epsilon, use_nesterov


def _adam(
    states: Any,
    g: Any,
    work: Any,
    alpha: Any,
    beta1: Any,
    rest1: Any,
    rest2: Any,
    epsilon: Any,
    nesterov: bool,
) -> None:
    (var, m, v), (t, u) = states, work
    np.subtract(g, m, out=t)
    np.multiply(t, rest1, out=t)
    np.add(m, t, out=m)
    np.multiply(g, g, out=t)
    np.subtract(t, v, out=t)
    np.multiply(t, rest2, out=t)
    np.add(v, t, out=v)
    np.sqrt(v, out=t)
    np.add(t, epsilon, out=t)
    if nesterov:
        np.multiply(g, rest1, out=u)
        np.divide(u, t, out=u)
        np.multiply(u, alpha, out=u)
        np.subtract(var, u, out=var)
        np.multiply(m, beta1, out=u)
        np.divide(u, t, out=t)
    else:
        np.divide(m, t, out=t)
    np.multiply(t, alpha, out=t)
    np.subtract(var, t, out=var)


ADAM = optimizer_op(
    "ApplyAdam",
    (
        "var",
        "m",
        "v",
        "beta1_power",
        "beta2_power",
        "lr",
        "beta1",
        "beta2",
        "epsilon",
        "grad",
    ),
    3,
    2,
    _adam_scalars,
    _adam,
    12,
    "m += (g - m)(1 - b1); v += (g^2 - v)(1 - b2); var -= a m / (sqrt(v) + eps)",
)


def apply_adam(
    var: Any,
    m: Any,
    v: Any,
    beta1_power: Any,
    beta2_power: Any,
    lr: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
    grad: Any,
    use_locking: bool = False,
    use_nesterov: bool = False,
    name: str | None = None,
) -> Tensor:
    """One step of Adam.

    m += (grad - m) * (1 - beta1); v += (grad**2 - v) * (1 - beta2);
    var -= a * m / (sqrt(v) + epsilon), with
    a = lr * sqrt(1 - beta2_power) / (1 - beta1_power). With ``use_nesterov`` m
    is replaced by beta1 * m + (1 - beta1) * grad in the last one.

    Args:
        var, m, v: variables of one shape.
        beta1_power, beta2_power: beta1 and beta2 to the power of the step, scalars.
        lr, beta1, beta2, epsilon: scalars.
        grad: the gradient, of the variable's shape and dtype.
        use_locking: accepted for TF1 programs.
        use_nesterov: see above.
        name: the name of the operation.

    Reference:
        Kingma & Ba, Adam, arXiv:1412.6980, the form before section 2.1.
    """
    scalars = (beta1_power, beta2_power, lr, beta1, beta2, epsilon)
    attrs = {"use_nesterov": bool(use_nesterov)}
    return apply_op(ADAM, (var, m, v), (*scalars, (grad,)), name, attrs)


def _rms_prop(
    states: Any, g: Any, work: Any, lr: Any, rest: Any, momentum: Any, epsilon: Any
) -> None:
    (var, ms, mom), (t,) = states, work
    np.multiply(g, g, out=t)
    np.subtract(t, ms, out=t)
    np.multiply(t, rest, out=t)
    np.add(ms, t, out=ms)
    np.add(ms, epsilon, out=t)
    _rms_step(var, mom, g, t, lr, momentum)


def _rms_step(var: Any, mom: Any, g: Any, t: Any, lr: Any, momentum: Any) -> None:
    """mom = momentum mom + lr g / sqrt(t); var -= mom."""
    np.sqrt(t, out=t)
    np.divide(g, t, out=t)
    np.multiply(t, lr, out=t)
    np.multiply(mom, momentum, out=mom)
    np.add(mom, t, out=mom)
    np.subtract(var, mom, out=var)


RMS_PROP = optimizer_op(
    "ApplyRMSProp",
    ("var", "ms", "mom", "lr", "rho", "momentum", "epsilon", "grad"),
    3,
    1,
    lambda lr, rho, momentum, epsilon: (lr, 1 - rho, momentum, epsilon),
    _rms_prop,
    11,
    "ms += (g^2 - ms)(1 - rho); mom = momentum mom + lr g / sqrt(ms + eps); var -= mom",
)


def apply_rms_prop(
    var: Any,
    ms: Any,
    mom: Any,
    lr: Any,
    rho: Any,
    momentum: Any,
    epsilon: Any,
    grad: Any,
    use_locking: bool = False,
    name: str | None = None,
) -> Tensor:
    """ms += (grad**2 - ms) * (1 - rho);
    mom = momentum * mom + lr * grad / sqrt(ms + epsilon); var -= mom.

    Arguments as in :func:`apply_adam`.

    Reference:
        Tieleman & Hinton, Lecture 6.5 (rmsprop), 2012.
    """
    scalars = (lr, rho, momentum, epsilon)
    return apply_op(RMS_PROP, (var, ms, mom), (*scalars, (grad,)), name)


def _centered_rms_prop(
    states: Any, g: Any, work: Any, lr: Any, rest: Any, momentum: Any, epsilon: Any
) -> None:
    (var, mg, ms, mom), (t,) = states, work
    np.multiply(g, g, out=t)
    np.subtract(t, ms, out=t)
    np.multiply(t, rest, out=t)
    np.add(ms, t, out=ms)
    np.subtract(g, mg, out=t)
    np.multiply(t, rest, out=t)
    np.add(mg, t, out=mg)
    np.multiply(mg, mg, out=t)
    np.subtract(ms, t, out=t)
    np.add(t, epsilon, out=t)
    _rms_step(var, mom, g, t, lr, momentum)


CENTERED_RMS_PROP = optimizer_op(
    "ApplyCenteredRMSProp",
    ("var", "mg", "ms", "mom", "lr", "rho", "momentum", "epsilon", "grad"),
    4,
    1,
    lambda lr, rho, momentum, epsilon: (lr, 1 - rho, momentum, epsilon),
    _centered_rms_prop,
    16,
    "RMSProp with ms - mg^2 in place of ms, mg += (g - mg)(1 - rho)",
)


def apply_centered_rms_prop(
    var: Any,
    mg: Any,
    ms: Any,
    mom: Any,
    lr: Any,
    rho: Any,
    momentum: Any,
    epsilon: Any,
    grad: Any,
    use_locking: bool = False,
    name: str | None = None,
) -> Tensor:
    """ms += (grad**2 - ms) * (1 - rho); mg += (grad - mg) * (1 - rho);
    mom = momentum * mom + lr * grad / sqrt(ms - mg**2 + epsilon); var -= mom.

    Arguments as in :func:`apply_adam`.

    Reference:
        Graves, Generating sequences with recurrent neural networks,
        arXiv:1308.0850, equations 38 to 45.
    """
    scalars = (lr, rho, momentum, epsilon)
    return apply_op(CENTERED_RMS_PROP, (var, mg, ms, mom), (*scalars, (grad,)), name)


# -- Adagrad and relatives -----------------------------------------------------


def _adagrad(states: Any, g: Any, work: Any, lr: Any, update_slots: bool) -> None:
    (var, accum), (t,) = states, work
    if update_slots:
        np.multiply(g, g, out=t)
        np.add(accum, t, out=accum)
    np.sqrt(accum, out=t)
    np.divide(g, t, out=t)
    np.multiply(t, lr, out=t)
    np.subtract(var, t, out=var)


ADAGRAD = optimizer_op(
    "ApplyAdagrad",
    ("var", "accum", "lr", "grad"),
    2,
    1,
    lambda lr, update_slots: (lr, update_slots),
    _adagrad,
    6,
    "accum += g^2; var -= lr g / sqrt(accum)",
)


def apply_adagrad(
    var: Any,
    accum: Any,
    lr: Any,
    grad: Any,
    use_locking: bool = False,
    update_slots: bool = True,
    name: str | None = None,
) -> Tensor:
    """accum += grad**2 (unless ``update_slots`` is False);
    var -= lr * grad / sqrt(accum).

    Arguments as in :func:`apply_adam`.

    Reference:
        Duchi, Hazan & Singer, Adaptive subgradient methods, JMLR 12, 2011.
    """
    attrs = {"update_slots": bool(update_slots)}
    return apply_op(ADAGRAD, (var, accum), (lr, (grad,)), name, attrs)


def _adadelta(
    states: Any, g: Any, work: Any, lr: Any, rho: Any, rest: Any, epsilon: Any
) -> None:
    (var, accum, delta), (t, u) = states, work
    np.multiply(g, g, out=t)
    np.multiply(t, rest, out=t)
    np.multiply(accum, rho, out=accum)
    np.add(accum, t, out=accum)
    np.add(delta, epsilon, out=t)
    np.sqrt(t, out=t)
    np.add(accum, epsilon, out=u)
    np.sqrt(u, out=u)
    np.divide(t, u, out=t)
    np.multiply(t, g, out=t)
    np.multiply(t, lr, out=u)
    np.subtract(var, u, out=var)
    np.multiply(t, t, out=t)
    np.multiply(t, rest, out=t)
    np.multiply(delta, rho, out=delta)
    np.add(delta, t, out=delta)


ADADELTA = optimizer_op(
    "ApplyAdadelta",
    ("var", "accum", "accum_update", "lr", "rho", "epsilon", "grad"),
    3,
    2,
    lambda lr, rho, epsilon: (lr, rho, 1 - rho, epsilon),
    _adadelta,
    16,
    "accum = rho accum + (1 - rho) g^2; "
    "d = g sqrt(accum_update + eps) / sqrt(accum + eps); var -= lr d; "
    "accum_update = rho accum_update + (1 - rho) d^2",
)


def apply_adadelta(
    var: Any,
    accum: Any,
    accum_update: Any,
    lr: Any,
    rho: Any,
    epsilon: Any,
    grad: Any,
    use_locking: bool = False,
    name: str | None = None,
) -> Tensor:
    """accum = rho * accum + (1 - rho) * grad**2;
    d = sqrt(accum_update + epsilon) / sqrt(accum + epsilon) * grad; var -= lr * d;
    accum_update = rho * accum_update + (1 - rho) * d**2.

    Arguments as in :func:`apply_adam`.

    Reference:
        Zeiler, ADADELTA, arXiv:1212.5701, algorithm 1.
    """
    refs = (var, accum, accum_update)
    return apply_op(ADADELTA, refs, (lr, rho, epsilon, (grad,)), name)


def _ftrl_scalars(
    lr: Any, l1: Any, l2: Any, shrinkage: Any, lr_power: Any
) -> tuple[Any, ...]:
    power = float(lr_power)
    exponent = None if power == -0.5 else -lr_power
    return lr, l1, -l1, 2 * l2, 2 * shrinkage if shrinkage else None, exponent


def _ftrl(
    states: Any,
    g: Any,
    work: Any,
    lr: Any,
    l1: Any,
    minus_l1: Any,
    twice_l2: Any,
    twice_shrinkage: Any,
    exponent: Any,
) -> None:
    (var, accum, linear), (t, u) = states, work
    # linear += g (+ 2 shrinkage var) - (new**p - accum**p) / lr var
    if twice_shrinkage is not None:
        np.multiply(var, twice_shrinkage, out=t)
        np.add(linear, t, out=linear)
    np.add(linear, g, out=linear)
    _power(accum, exponent, u)
    np.multiply(g, g, out=t)
    np.add(accum, t, out=accum)
    _power(accum, exponent, t)
    np.subtract(t, u, out=u)
    np.divide(u, lr, out=u)
    np.multiply(u, var, out=u)
    np.subtract(linear, u, out=linear)
    # var = (clip(linear, -l1, l1) - linear) / (new**p / lr + 2 l2): zero in the band
    np.divide(t, lr, out=t)
    np.add(t, twice_l2, out=t)
    np.minimum(linear, l1, out=u)
    np.maximum(u, minus_l1, out=u)
    np.subtract(u, linear, out=u)
    np.divide(u, t, out=var)


def _power(x: Any, exponent: Any, out: Any) -> None:
    if exponent is None:
        np.sqrt(x, out=out)
    else:
        np.power(x, exponent, out=out)


FTRL = optimizer_op(
    "ApplyFtrlV2",
    ("var", "accum", "linear", "grad", "lr", "l1", "l2", "l2_shrinkage", "lr_power"),
    3,
    2,
    _ftrl_scalars,
    _ftrl,
    18,
    "follow the regularised leader, with l1, l2 and shrinkage",
    real=True,
)


def apply_ftrl(
    var: Any,
    accum: Any,
    linear: Any,
    grad: Any,
    lr: Any,
    l1: Any,
    l2: Any,
    lr_power: Any,
    use_locking: bool = False,
    name: str | None = None,
    l2_shrinkage: Any = 0.0,
) -> Tensor:
    """One step of FTRL-proximal.

    new = accum + grad**2;
    linear += grad + 2 * l2_shrinkage * var
    - (new**-lr_power - accum**-lr_power) / lr * var;
    var = (clip(linear, -l1, l1) - linear) / (new**-lr_power / lr + 2 * l2);
    accum = new.

    Args:
        var, accum, linear: variables of one shape.
        grad: the gradient, of the variable's shape and dtype.
        lr, l1, l2, lr_power: scalars; lr_power is at most 0, usually -0.5.
        use_locking: accepted for TF1 programs.
        name: the name of the operation.
        l2_shrinkage: a scalar penalty that does not enter ``accum``.

    Reference:
        McMahan et al., Ad click prediction: a view from the trenches, KDD 2013.
    """
    rest = ((grad,), lr, l1, l2, l2_shrinkage, lr_power)
    return apply_op(FTRL, (var, accum, linear), rest, name or "ApplyFtrl")
