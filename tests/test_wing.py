"""The flow of examples/wing.py: its matrices, its steps and its wing."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dagrad as tf

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.fixture(scope="module")
def wing() -> Iterator[Any]:
    """The example as a module."""
    sys.path.insert(0, str(EXAMPLES))
    try:
        yield importlib.import_module("wing")
    finally:
        sys.path.remove(str(EXAMPLES))
        for name in ("wing", "_draw"):
            sys.modules.pop(name, None)


def waves(wing: Any, cells: int) -> Any:
    """Errors of the three matrices for cos(3 x) between mirrors at 0 and pi, for its
    first derivative, the upwind term and its second derivative."""
    faces = np.linspace(0.0, np.pi, cells + 1)
    faces += 0.1 * np.sin(2.0 * faces) ** 2 * np.sin(faces)  # no even grid
    x = (faces[1:] + faces[:-1]) / 2.0
    found = wing.differences(x, (0.0, 1, "none"), (np.pi, 1, "none"))
    true = -3.0 * np.sin(3.0 * x), 0.0 * x, -9.0 * np.cos(3.0 * x)
    return [np.max(np.abs(m @ np.cos(3.0 * x) - t)) for m, t in zip(found, true)]


def test_matrices_have_their_order(wing: Any) -> None:
    """Twice the cells: errors of orders 4, 3 and, on an uneven grid, 1 to 2."""
    coarse, fine = waves(wing, 40), waves(wing, 80)
    orders = np.log2(np.array(coarse) / np.array(fine))
    assert np.all(orders > [3.5, 2.7, 0.9])


def test_walls_are_mirrors(wing: Any) -> None:
    """sin(3 x), with nodes on walls at 0 and pi where it is 0, left out of x."""
    x = np.linspace(0.0, np.pi, 61)[1:-1]
    first, _, second = wing.differences(x, (0.0, -1, "zero"), (np.pi, -1, "zero"))
    assert np.allclose(first @ np.sin(3.0 * x), 3.0 * np.cos(3.0 * x), atol=2e-4)
    assert np.allclose(second @ np.sin(3.0 * x), -9.0 * np.sin(3.0 * x), atol=2e-2)


def test_steps_conserve_mass_and_wings_hold_the_fluid(wing: Any) -> None:
    with tf.Graph().as_default():
        tunnel = wing.Tunnel(1 / 20, 0.02)
        body = wing.solid(tunnel, wing.constant(np.zeros(9)))
        start = [wing.constant(a) for a in tunnel.rest()]
        state, _, drag = tunnel.simulate(start, body, 60)
        u, v = state[:2]
        source = tunnel.divergence[0] @ u + v @ tunnel.divergence[1]
        with tf.Session() as session:
            u, leak, factor, drag = session.run([u, source, body[0], drag])
    assert np.max(np.abs(leak)) < 1e-11
    inside = np.unravel_index(np.argmax(factor), factor.shape)
    assert abs(1.0 + u[inside]) < 0.05
    assert drag[-1] > 0.0


def test_an_empty_tunnel_stays_at_its_speed(wing: Any) -> None:
    with tf.Graph().as_default():
        tunnel = wing.Tunnel(1 / 20, 0.02)
        start = [wing.constant(a) for a in tunnel.rest()]
        state, lift, drag = tunnel.simulate(start, (1.0, 1.0), 5)
        with tf.Session() as session:
            u, v, lift, drag = session.run([*state[:2], lift, drag])
    assert not u.any() and not v.any() and not lift.any() and not drag.any()


def test_sections_keep_their_area_and_chord(wing: Any) -> None:
    rng = np.random.default_rng(0)
    for shape in (np.zeros(9), rng.normal(size=9)):
        with tf.Graph().as_default(), tf.Session() as session:
            x, y, r = session.run(wing.section(wing.constant(shape)))
        assert np.isclose(np.hypot(x[-1] - x[0], y[-1] - y[0]), 1.0)
        assert np.isclose(2.0 * np.trapezoid(r, wing.STATIONS), wing.AREA)
        assert np.min(r) > 0.0
