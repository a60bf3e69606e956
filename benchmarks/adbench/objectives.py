"""The four objectives as graphs, with what their derivatives are asked for.

Each function takes an instance of ``problems`` and returns a :class:`Built` in the
default graph.  The formulas are the published ones; how they are grouped into
array operations is written for an engine that pays per operation and per array.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from problems import Bundle, Hand, Mixture, Sequence

import dagrad as dg


class Built(NamedTuple):
    """A graph: what to feed, the objective, and [objective, its derivatives]."""

    feeds: dict[Any, Any]
    objective: Any
    both: Any


def _input(array: Any, name: str) -> Any:
    return dg.placeholder(dg.float64, array.shape, name)


# -- mixture of Gaussians ----------------------------------------------------------


def mixture(problem: Mixture) -> Built:
    """Log likelihood plus log prior, a scalar, and its gradient."""
    n, d = problem.x.shape
    k = len(problem.alphas)
    alphas, means, icf = (
        _input(problem.alphas, "alphas"),
        _input(problem.means, "means"),
        _input(problem.icf, "icf"),
    )
    logs, below = icf[:, :d], icf[:, d:]
    sums = dg.reduce_sum(logs, 1)
    diagonal = dg.exp(logs)
    # Q (k, d, d): the packed entries and zeros, gathered into place.
    padded = dg.concat([diagonal, below, dg.zeros([k, 1], dg.float64)], 1)
    q = dg.reshape(dg.gather(padded, _lower(d), axis=1), [k, d, d])
    # |Q (x - mean)|^2 for all points and components: one product, one shift.
    turned = dg.reshape(dg.transpose(q, [2, 0, 1]), [d, k * d])
    shift = dg.reshape(dg.linalg.matvec(q, means), [k * d])
    z = dg.matmul(dg.constant(problem.x), turned) - shift
    squares = dg.reduce_sum(dg.reshape(dg.square(z), [n, k, d]), 2)
    inner = (alphas + sums) - 0.5 * squares
    likelihood = dg.reduce_sum(dg.reduce_logsumexp(inner, 1))
    likelihood -= n * dg.reduce_logsumexp(alphas)
    gamma, m = problem.gamma, problem.m
    frobenius = dg.reduce_sum(dg.square(diagonal)) + dg.reduce_sum(dg.square(below))
    prior = 0.5 * gamma**2 * frobenius - m * dg.reduce_sum(sums)
    free = d + m + 1
    normal = free * d * (math.log(gamma) - 0.5 * math.log(2.0))
    constant = -n * d * 0.5 * math.log(2.0 * math.pi)
    constant -= k * (normal - _log_multigamma(0.5 * free, d))
    objective = likelihood + prior + constant
    xs = [alphas, means, icf]
    feeds = dict(zip(xs, (problem.alphas, problem.means, problem.icf)))
    return Built(feeds, objective, [objective, dg.gradients(objective, xs)])


def _lower(d: int) -> Any:
    """Where in (diagonal, columns below it, 0) the entries of a (d, d) matrix are."""
    place = np.full((d, d), d * (d + 1) // 2)
    place[np.diag_indices(d)] = np.arange(d)
    columns, rows = np.triu_indices(d, 1)
    place[rows, columns] = d + np.arange(len(rows))
    return place.reshape(-1)


def _log_multigamma(a: float, d: int) -> float:
    """log of the multivariate gamma function."""
    terms = (math.lgamma(a - 0.5 * j) for j in range(d))
    return 0.25 * d * (d - 1) * math.log(math.pi) + sum(terms)


# -- bundle adjustment -------------------------------------------------------------


def bundle(problem: Bundle) -> Built:
    """Reprojection errors (2, p) and weight errors (p,), and their blocks.

    The Jacobian is sparse: an observation depends on one camera, one point and its
    weight.  Its blocks are (2, 15, p) for the reprojection errors and (p,) for the
    weights'; :func:`bundle_matrix` puts them into a matrix.

    Rotations and how they move are computed once for each camera: where the axis
    moves along k, R moves by R [w_k], and R d by R (w_k x d).
    """
    cameras, points, weights = (
        _input(problem.cameras, "cameras"),
        _input(problem.points, "points"),
        _input(problem.weights, "weights"),
    )
    axes = cameras[:, :3]
    turns = _rotations(axes)
    seen_by, seen = dg.constant(problem.seen_by), dg.constant(problem.seen)

    def observed(table: Any, which: Any) -> list[Any]:
        """Columns of a table as rows, so that the numbers of one lie together."""
        rows = dg.gather(dg.transpose(table), which, axis=1)
        return [rows[i] for i in range(table.shape[1].value)]

    camera = observed(dg.concat([turns, cameras[:, 3:]], 1), seen_by)
    rotation, centre, (fx, cx, cy, k1, k2) = camera[:9], camera[9:12], camera[12:]
    d = [a - c for a, c in zip(observed(points, seen), centre)]
    x, y, z = before = [
        rotation[i] * d[0] + rotation[i + 1] * d[1] + rotation[i + 2] * d[2]
        for i in (0, 3, 6)
    ]
    inverse = dg.reciprocal(z)
    u, v = x * inverse, y * inverse
    r = dg.square(u) + dg.square(v)
    stretch = fx * (1.0 + r * (k1 + r * k2))
    features = [dg.constant(f) for f in problem.features.T.copy()]
    off = [stretch * a + c - f for a, c, f in zip((u, v), (cx, cy), features)]
    of_weights = 1.0 - dg.square(weights)
    objective = [dg.stack([weights * e for e in off]), of_weights]

    spins = observed(dg.concat([_spin(turns, axes, k) for k in range(3)], 1), seen_by)
    blocks = []
    for e in off:
        # An error is its weight times e: its derivatives are those of e from there.
        by_place, *by_lens = _pulled(e, [[x, y, z], fx, cx, cy, k1, k2], weights)
        by_point = dg.gradients(before, d, by_place)
        turn = _cross(d, by_point)
        by_axis = [
            spins[i] * turn[0] + spins[i + 1] * turn[1] + spins[i + 2] * turn[2]
            for i in (0, 3, 6)
        ]
        by_centre = [-g for g in by_point]
        blocks += [*by_axis, *by_centre, *by_lens, *by_point, e]
    jacobian = [
        dg.reshape(dg.stack(blocks), [2, 15, -1]),
        dg.gradients(of_weights, weights)[0],
    ]
    arrays = (problem.cameras, problem.points, problem.weights)
    return Built(
        dict(zip((cameras, points, weights), arrays)), objective, [objective, jacobian]
    )


def bundle_by_colours(problem: Bundle) -> Built:
    """The same by ``sparse_jacobian``, which finds the structure by itself.

    Rows: the first errors, the second errors, the weights' errors.  As published, an
    observation starts from its camera's and its point's numbers: the gathers come
    first.  A camera's column is full, so the whole Jacobian takes a pass for each of
    the 14 entries of a row; by the gathered copies it takes one for each kind of row.
    """
    cameras, points, weights = (
        _input(problem.cameras, "cameras"),
        _input(problem.points, "points"),
        _input(problem.weights, "weights"),
    )
    camera = _gathered(cameras, problem.seen_by)
    axis, centre, (fx, cx, cy, k1, k2) = camera[:3], camera[3:6], camera[6:]
    d = [a - c for a, c in zip(_gathered(points, problem.seen), centre)]
    x, y, z = _turned(d, axis)
    inverse = dg.reciprocal(z)
    u, v = x * inverse, y * inverse
    r = u * u + v * v
    stretch = fx * (1.0 + r * (k1 + r * k2))
    features = [dg.constant(f) for f in problem.features.T.copy()]
    off = [stretch * a + c - f for a, c, f in zip((u, v), (cx, cy), features)]
    objective = [dg.stack([weights * e for e in off]), 1.0 - weights * weights]
    xs = [cameras, points, weights]
    feeds = dict(zip(xs, (problem.cameras, problem.points, problem.weights)))
    return Built(feeds, objective, [objective, dg.sparse_jacobian(objective, xs)])


def _gathered(table: Any, which: Any) -> list[Any]:
    """Columns of the rows ``which`` of a table."""
    rows = dg.gather(dg.transpose(table), dg.constant(which), axis=1)
    return [rows[i] for i in range(table.shape[1].value)]


def _turned(d: Any, axis: Any) -> list[Any]:
    """Rodrigues' formula for triples of arrays: ``d``, turned about ``axis``.

    Where the axis is 0, to first order: d + axis x d (sin(a) / a and 1 - cos(a) are 1
    and 0 for the least angle).
    """
    square = dg.maximum(sum(a * a for a in axis), 1e-60)
    angle = dg.sqrt(square)
    cosine, sine = dg.cos(angle), dg.sin(angle) / angle
    along = sum(a * b for a, b in zip(axis, d)) * ((1.0 - cosine) / square)
    across = _cross(axis, d)
    return [b * cosine + w * sine + along * a for a, b, w in zip(axis, d, across)]


def _pulled(y: Any, xs: list[Any], seed: Any) -> list[Any]:
    """Gradients of ``y`` from ``seed``, in the structure of ``xs``."""
    flat = [*xs[0], *xs[1:]]
    found = dg.gradients(y, flat, seed, unconnected_gradients="zero")
    return [found[: len(xs[0])], *found[len(xs[0]) :]]


def _cross(a: Any, b: Any) -> list[Any]:
    """The cross product of two triples of arrays."""
    return [a[i] * b[j] - a[j] * b[i] for i, j in ((1, 2), (2, 0), (0, 1))]


def _spin(turns: Any, axes: Any, k: int) -> Any:
    """w (n, 3) with dR = R [w], where the axes of rotations R move along ``k``."""
    (move,) = dg.jvp(turns, axes, _along(axes, k))
    square = [-1, 3, 3]
    skew = dg.matmul(
        dg.reshape(turns, square), dg.reshape(move, square), transpose_a=True
    )
    return dg.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], 1)


def _along(x: Any, k: int) -> Any:
    """The direction of column ``k``."""
    direction = np.zeros(x.shape.as_list())
    direction[:, k] = 1.0
    return dg.constant(direction)


# (v @ _SKEW) is the matrix of the cross product with v, row by row.
_SKEW = np.zeros((3, 9))
for _i, _j, _k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
    _SKEW[_i, 3 * _k + _j], _SKEW[_i, 3 * _j + _k] = 1.0, -1.0
_EYE = np.eye(3).reshape(1, 9)


def _rotations(v: Any) -> Any:
    """Rodrigues' formula: rotations about the rows of ``v``, (n, 3) -> (n, 9).

    Where v is 0, the published one to first order: 1 + [v].
    """
    square = dg.reduce_sum(dg.square(v), 1, keepdims=True)
    turns = square > 0.0
    one = dg.ones_like(square)
    square = dg.where(turns, square, one)
    angle = dg.sqrt(square)
    cosine = dg.where(turns, dg.cos(angle), one)
    sine = dg.where(turns, dg.sin(angle) / angle, one)
    outer = dg.reshape(dg.expand_dims(v, 2) * dg.expand_dims(v, 1), [-1, 9])
    skew = dg.matmul(v, dg.constant(_SKEW))
    return cosine * _EYE + sine * skew + (1.0 - cosine) / square * outer


def bundle_matrix(problem: Bundle, blocks: Any, of_weights: Any) -> Any:
    """The Jacobian (3 p, 11 n + 3 m + p) as a SciPy CSR matrix.

    Rows: both errors of each observation, then the weights' errors.
    """
    import scipy.sparse

    p = len(problem.weights)
    n, m = len(problem.cameras), len(problem.points)
    last = 11 * n + 3 * m + np.arange(p)
    columns = [
        11 * problem.seen_by[:, None] + np.arange(11),
        11 * n + 3 * problem.seen[:, None] + np.arange(3),
        last[:, None],
    ]
    columns = np.repeat(np.concatenate(columns, 1)[:, None, :], 2, 1)
    indices = np.concatenate([columns.reshape(-1), last])
    data = np.concatenate([blocks.transpose(2, 0, 1).reshape(-1), of_weights])
    starts = np.concatenate([15 * np.arange(2 * p), 30 * p + np.arange(p + 1)])
    return scipy.sparse.csr_matrix((data, indices, starts), (3 * p, 11 * n + 3 * m + p))


# -- LSTM --------------------------------------------------------------------------


def sequence(problem: Sequence) -> Built:
    """Mean loss of predicting the next character, a scalar, and its gradient.

    Layer by layer, not step by step: what depends on a layer's input alone is
    computed for all steps at once, and only the recurrence goes step by step.
    """
    main, extra = _input(problem.main, "main"), _input(problem.extra, "extra")
    steps, b = len(problem.text) - 1, problem.text.shape[1]
    inputs = dg.constant(problem.text[:-1]) * extra[0]
    for layer in range(len(problem.state) // 2):
        hidden, cell = map(dg.constant, problem.state[2 * layer : 2 * layer + 2])
        weight = dg.reshape(main[2 * layer], [4, b])
        bias = dg.reshape(main[2 * layer + 1], [4, b])
        forget = dg.unstack(dg.sigmoid(inputs * weight[0] + bias[0]))
        out = dg.unstack(dg.sigmoid(inputs * weight[2] + bias[2]))
        w_in, b_in, w_new, b_new = weight[1], bias[1], weight[3], bias[3]
        states = []
        for t in range(steps):
            gate = dg.sigmoid(hidden * w_in + b_in)
            new = dg.tanh(hidden * w_new + b_new)
            cell = cell * forget[t] + gate * new
            hidden = out[t] * dg.tanh(cell)
            states.append(hidden)
        inputs = dg.stack(states)
    predicted = inputs * extra[1] + extra[2]
    total = dg.reduce_sum(dg.exp(predicted), 1, keepdims=True) + 2.0
    normal = predicted - dg.log(total)
    objective = -dg.reduce_sum(problem.text[1:] * normal) / (steps * b)
    return Built(
        {main: problem.main, extra: problem.extra},
        objective,
        [objective, dg.gradients(objective, [main, extra])],
    )


# -- hand tracking -----------------------------------------------------------------


def hand(problem: Hand, complicated: bool = False) -> Built:
    """Distances of points to the hand (p, 3), and the Jacobian (3 p, 26).

    ``complicated``: points lie in triangles at ``us``; the Jacobian (3 p, 28) then
    has the derivatives for a point's own us first.

    A vertex is linear in the bones' transforms: its place is one row of a fixed
    matrix times all transforms, turned and shifted with the hand.  A finger's angles
    move that finger alone, so that four directions cover the twenty angles.
    """
    theta, us = _input(problem.theta, "theta"), _input(problem.us, "us")
    corners = problem.triangles[problem.at] if complicated else problem.at
    used, place = np.unique(corners, return_inverse=True)
    place = place.reshape(corners.shape)
    skin, rest = _skin(problem, used)
    if not complicated:
        surface: Any = _Vertices(place)
    elif len(place) < MANY * len(np.unique(problem.at)):
        surface = _Corners(place, us)
    else:
        surface = _Triangles(place, us, problem.at)

    angles = dg.reshape(theta[6:], [1, FINGERS, 4])
    axis, shift = theta[None, :3], theta[3:6]
    bones = _bones(problem, angles)
    flat = skin.transpose(1, 0, 2).reshape(len(used), -1)
    local = dg.matmul(dg.constant(flat), dg.reshape(bones, [-1, 3])) + rest
    turn = dg.reshape(_rotations(axis), [3, 3])
    vertices = dg.matmul(local, turn, transpose_b=True) + shift
    objective = problem.points - surface.seen(vertices)

    copies = angles + dg.zeros([4, 1, 1], dg.float64)
    along = np.zeros((4, FINGERS, 4))
    along[np.arange(4), :, np.arange(4)] = 1.0
    (moved,) = dg.jvp(_bones(problem, copies), copies, dg.constant(along))
    # Turned, then (finger, bones, to, angle); all with the minus of the distance.
    moved = dg.matmul(dg.reshape(-moved, [-1, 3]), turn, transpose_b=True)
    moved = dg.transpose(dg.reshape(moved, [4, FINGERS, -1, 3]), [1, 2, 3, 0])
    moved = dg.matmul(dg.constant(skin), dg.reshape(moved, [FINGERS, -1, 12]))
    by_angle = dg.transpose(dg.reshape(moved, [FINGERS, -1, 3, 4]), [1, 2, 0, 3])
    by_angle = dg.reshape(by_angle, [-1, 3, 4 * FINGERS])
    axes = axis + dg.zeros([3, 1], dg.float64)
    (turned,) = dg.jvp(_rotations(axes), axes, dg.eye(3, dtype=dg.float64))
    # (direction, to, from) -> (from, to, direction).
    turned = dg.transpose(dg.reshape(-turned, [3, 3, 3]), [2, 1, 0])
    by_axis = dg.reshape(dg.matmul(local, dg.reshape(turned, [3, 9])), [-1, 3, 3])
    by_shift = dg.constant(np.tile(-np.eye(3), (len(used), 1, 1)))
    moves = dg.concat([by_axis, by_shift, by_angle], 2)
    moves = dg.reshape(moves, [len(used), -1])
    jacobian = surface.jacobian(vertices, moves)
    feeds = {theta: problem.theta, **({us: problem.us} if complicated else {})}
    return Built(feeds, objective, [objective, jacobian])


class _Vertices:
    """Points that are vertices."""

    def __init__(self, place: Any) -> None:
        self.place = place  #: (p,), which of the used vertices

    def seen(self, vertices: Any) -> Any:
        """What the points see of (used, n) vertices, (p, n)."""
        return dg.gather(vertices, self.place)

    def jacobian(self, vertices: Any, moves: Any) -> Any:
        """(3 p, 26) from how vertices move, (used, 3 * 26)."""
        return dg.reshape(self.seen(moves), [3 * len(self.place), -1])


class _Corners(_Vertices):
    """Points at ``us`` between three corners each: sums of gathers."""

    def __init__(self, place: Any, us: Any) -> None:
        super().__init__(place)  #: (p, 3)
        self.us = us

    def seen(self, vertices: Any) -> Any:
        """What the points see of (used, n) vertices, (p, n)."""
        first, second = self.us[:, :1], self.us[:, 1:]
        a, b, c = self._corners(vertices)
        return first * a + second * b + (1.0 - first - second) * c

    def _corners(self, vertices: Any) -> list[Any]:
        return [dg.gather(vertices, self.place[:, i]) for i in range(3)]

    def jacobian(self, vertices: Any, moves: Any) -> Any:
        """(3 p, 28): along the two sides of the triangle, then as the corners move."""
        a, b, c = self._corners(vertices)
        own = dg.reshape(dg.stack([c - a, c - b], 2), [-1, 2])
        return dg.concat([own, super().jacobian(vertices, moves)], 1)


MANY = 8  # points to a triangle, from where on a product for each triangle pays


class _Triangles(_Corners):
    """The same where many points lie in one triangle.

    Points are grouped by triangle.  For a group, mixing two sides and the third
    corner is one matrix product, which reads them once.
    """

    def __init__(self, place: Any, us: Any, at: Any) -> None:
        super().__init__(place, us)
        p, order = len(at), np.argsort(at, kind="stable")
        _, first, of, counts = np.unique(
            at[order], return_index=True, return_inverse=True, return_counts=True
        )
        # A group takes its rows and about six more, for its corners and the call.
        sizes = np.arange(1, counts.max() + 1)
        groups = -(-counts // sizes[:, None])
        best = np.argmin(groups.sum(1) * (sizes + 6))
        size, groups = sizes[best], groups[best]
        start = size * (np.cumsum(groups) - groups)
        #: (p,), where each point is among all places of the groups.
        self.slots = np.empty(p, np.int64)
        self.slots[order] = start[of] + np.arange(p) - first[of]
        #: (groups, 3), the corners of each group's triangle.
        self.corners = place[order[np.repeat(first, groups)]]
        points = np.zeros(size * groups.sum(), np.int64)  # to spare: any point
        points[self.slots] = np.arange(p)
        # The numbers of each point, and 1 for the third corner, by one gather.
        numbers = np.stack([2 * points, 2 * points + 1, 0 * points + 2 * p], 1)
        flat = dg.concat([dg.reshape(us, [-1]), dg.ones([1], dg.float64)], 0)
        self.weights = dg.gather(flat, numbers.reshape(-1, size, 3))

    def seen(self, vertices: Any) -> Any:
        """What the points see of (used, n) vertices, (p, n)."""
        return self._mixed(self._sides(vertices))

    def _sides(self, vertices: Any) -> Any:
        """From the third corner to the others, and that corner, (groups, 3, n)."""
        corners = dg.gather(vertices, self.corners)
        third = corners[:, 2:]
        return dg.concat([corners[:, :2] - third, third], 1)

    def _mixed(self, sides: Any) -> Any:
        rows = dg.reshape(dg.matmul(self.weights, sides), [-1, sides.shape[2].value])
        return dg.gather(rows, self.slots)

    def jacobian(self, vertices: Any, moves: Any) -> Any:
        """(3 p, 28): along the two sides of the triangle, then as the corners move."""
        # The sides are the same wherever the point is: they go with the weight 1.
        own = -dg.transpose(self._sides(vertices)[:, :2], [0, 2, 1])
        own = dg.pad(dg.expand_dims(own, 1), [[0, 0], [2, 0], [0, 0], [0, 0]])
        groups = len(self.corners)
        both = [own, dg.reshape(self._sides(moves), [groups, 3, 3, -1])]
        table = dg.reshape(dg.concat(both, 3), [groups, 3, -1])
        return dg.reshape(self._mixed(table), [3 * len(self.place), -1])


FINGERS, MOVING = 5, 3  # each finger has three bones that move and a tip


def _skin(problem: Hand, used: Any) -> tuple[Any, Any]:
    """The fixed matrix by fingers, (5, used, 12), and what wrist and palm give.

    The tips move with the bones before them, wrist and palm not at all.
    """
    frames = np.einsum("bij,vj->bvi", problem.inverses, problem.vertices[used])
    parts = problem.weights[:, used, None] * frames
    rest = parts[0] @ problem.relatives[0].T
    rest += parts[1] @ (problem.relatives[0] @ problem.relatives[1]).T
    fingers = []
    for finger in range(FINGERS):
        a, b, c, tip = 2 + 4 * finger + np.arange(4)
        end = parts[c] + parts[tip] @ problem.relatives[tip].T
        fingers.append(np.concatenate([parts[a], parts[b], end], 1))
    return np.array(fingers), rest[:, :3]


def _bones(problem: Hand, angles: Any) -> Any:
    """Transforms of the moving bones: (copies, 5, 4) -> (copies, 5, 12, 3)."""
    copies = angles.shape[0].value
    # Angles of a finger: x and z of its first bone, x of the next two.
    angles = dg.reshape(angles, [copies, FINGERS, 4, 1, 1])
    still, cosine, sine = map(dg.constant, _joints(problem))
    joints = still + dg.cos(angles) * cosine + dg.sin(angles) * sine
    about_x, about_z, second, third = (joints[:, :, i] for i in range(4))
    chain = [dg.matmul(about_z, about_x)]
    for joint in (second, third):
        chain.append(dg.matmul(chain[-1], joint))
    bones = dg.transpose(dg.stack(chain, 2)[..., :3, :], [0, 1, 2, 4, 3])
    return dg.reshape(bones, [copies, FINGERS, 4 * MOVING, 3])


def _joints(problem: Hand) -> Any:
    """A, B, C (5, 4, 4, 4): the joint at angle a is A + cos(a) B + sin(a) C.

    The frame before a joint is part of it: the first joint, about z, carries the
    wrist and the finger's root, and the first about x carries nothing.
    """
    about_x, about_z = np.zeros((2, 3, 4, 4))
    about_x[0][[0, 3], [0, 3]] = about_z[0][[2, 3], [2, 3]] = 1.0
    about_x[1][[1, 2], [1, 2]] = about_z[1][[0, 1], [0, 1]] = 1.0
    about_x[2][[2, 1], [1, 2]] = about_z[2][[1, 0], [0, 1]] = [1.0, -1.0]
    fingers = []
    for finger in range(FINGERS):
        first = 2 + 4 * finger
        root = problem.relatives[0] @ problem.relatives[first]
        later = [problem.relatives[first + i] @ about_x for i in (1, 2)]
        fingers.append([about_x, root @ about_z, *later])
    return np.moveaxis(np.array(fingers), 2, 0)
