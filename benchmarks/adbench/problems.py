"""Random instances of the four problems, of the sizes of the published ones.

Srajer, Kukelova & Fitzgibbon, A benchmark of selected algorithmic differentiation
tools on some problems in computer vision and machine learning (2018).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Mixture(NamedTuple):
    """Points and the parameters of a mixture of Gaussians with a Wishart prior.

    ``icf`` holds, for each component, the logarithms of the diagonal of the factor
    of the inverse covariance and then its strictly lower part, column by column.
    """

    alphas: Any  #: (k,)
    means: Any  #: (k, d)
    icf: Any  #: (k, d (d + 1) / 2)
    x: Any  #: (n, d)
    gamma: float
    m: int


def mixture(n: int, d: int = 10, k: int = 25, seed: int = 0) -> Mixture:
    """``n`` points in ``d`` dimensions, ``k`` components."""
    rng = np.random.default_rng(seed)
    return Mixture(
        rng.normal(size=k),
        rng.uniform(size=(k, d)),
        rng.normal(size=(k, d * (d + 1) // 2)),
        rng.normal(size=(n, d)),
        1.0,
        0,
    )


class Bundle(NamedTuple):
    """Cameras, points, and which camera saw which point where.

    A camera is rotation (3), centre (3), focal length, principal point (2) and
    radial distortion (2).
    """

    cameras: Any  #: (n, 11)
    points: Any  #: (m, 3)
    weights: Any  #: (p,)
    seen_by: Any  #: (p,), which camera
    seen: Any  #: (p,), which point
    features: Any  #: (p, 2)


def bundle(n: int = 49, m: int = 7776, p: int = 31843, seed: int = 0) -> Bundle:
    """``p`` observations of ``m`` points by ``n`` cameras that look along z."""
    rng = np.random.default_rng(seed)
    cameras = np.empty((n, 11))
    cameras[:, 0:3] = rng.normal(scale=0.3, size=(n, 3))
    cameras[:, 3:6] = rng.normal(size=(n, 3)) - [0.0, 0.0, 10.0]
    cameras[:, 6] = rng.uniform(400.0, 600.0, n)
    cameras[:, 7:9] = rng.normal(scale=5.0, size=(n, 2))
    cameras[:, 9:11] = rng.normal(scale=0.01, size=(n, 2))
    return Bundle(
        cameras,
        rng.normal(size=(m, 3)),
        rng.uniform(0.2, 1.0, p),
        rng.integers(0, n, p),
        rng.integers(0, m, p),
        rng.normal(scale=100.0, size=(p, 2)),
    )


def small_bundle() -> Bundle:
    """Twelve observations; the first camera is not turned at all."""
    made = bundle(3, 5, 12)
    made.cameras[0, :3] = 0.0
    return made


class Sequence(NamedTuple):
    """A network of LSTM layers with one weight per gate and unit, and a text."""

    main: Any  #: (2 layers, 4 b): weights, then biases, of each layer
    extra: Any  #: (3, b): input weight, output weight, output bias
    state: Any  #: (2 layers, b): hidden, then cell, of each layer
    text: Any  #: (c, b), bits


def sequence(layers: int = 2, c: int = 1024, b: int = 14, seed: int = 0) -> Sequence:
    """``c`` characters of ``b`` bits."""
    rng = np.random.default_rng(seed)
    return Sequence(
        rng.uniform(size=(2 * layers, 4 * b)),
        rng.uniform(size=(3, b)),
        rng.uniform(size=(2 * layers, b)),
        rng.integers(0, 2, (c, b)).astype(np.float64),
    )


class Hand(NamedTuple):
    """A skinned hand, points measured on it, and a pose.

    ``theta``: global rotation (3) and translation (3), then for each of five
    fingers four angles: two of its first joint, one each of the next two.
    """

    theta: Any  #: (26,)
    us: Any  #: (p, 2), where in its triangle each point lies
    parents: Any  #: (bones,), -1 for the root
    relatives: Any  #: (bones, 4, 4), bone to parent
    inverses: Any  #: (bones, 4, 4), hand to bone, in the rest pose
    vertices: Any  #: (v, 4), homogeneous
    weights: Any  #: (bones, v), of skinning; they sum to 1
    triangles: Any  #: (f, 3), corners
    points: Any  #: (p, 3)
    at: Any  #: (p,), vertex (without us) or triangle of each point


BONES = 22


def hand(p: int, vertices: int = 544, complicated: bool = False, seed: int = 0) -> Hand:
    """``p`` points on a hand of 22 bones; ``complicated``: inside triangles."""
    rng = np.random.default_rng(seed)
    # The wrist, the palm, and fingers of four bones each, which start at the wrist.
    fingers = [0 if b % 4 == 0 else b + 1 for b in range(BONES - 2)]
    parents = np.array([-1, 0, *fingers])
    relatives = np.tile(np.eye(4), (BONES, 1, 1))
    for b in range(BONES):
        relatives[b, :3, :3] = _rotation(rng.normal(scale=0.3, size=3))
        relatives[b, :3, 3] = rng.normal(scale=0.3, size=3)
    absolutes = relatives.copy()
    for b in range(1, BONES):
        absolutes[b] = absolutes[parents[b]] @ relatives[b]
    weights = rng.uniform(size=(BONES, vertices)) ** 8
    triangles = rng.integers(0, vertices, (2 * vertices, 3))
    return Hand(
        rng.normal(scale=0.3, size=26),
        rng.uniform(0.0, 0.5, (p, 2)),
        parents,
        relatives,
        np.linalg.inv(absolutes),
        np.concatenate([rng.normal(size=(vertices, 3)), np.ones((vertices, 1))], 1),
        weights / weights.sum(0),
        triangles,
        rng.normal(size=(p, 3)),
        rng.integers(0, len(triangles) if complicated else vertices, p),
    )


def _rotation(v: Any) -> Any:
    """The rotation about ``v`` by its length."""
    angle = np.linalg.norm(v)
    x, y, z = v / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
