"""Shape a wing by the gradient of its lift over drag through a simulated flow.

    python examples/wing.py [--out DIRECTORY] [--quick]

The flow is two-dimensional, incompressible and viscous. In units of the chord, of
the speed far away and of the density,

    dU/dt + (U . grad) U = -grad p + laplace(U) / Re - chi U / eta,    div U = 0,

with the Reynolds number Re = speed x chord / viscosity = 1000: an insect's wing, not
an aeroplane's. The last term is the wing, a porous body of a permeability eta so
low that the fluid in it rests (Brinkman penalisation; Angot, Bruneau and Fabrie 1999);
chi goes smoothly from 0 to 1 across the surface, so that the flow has derivatives for
the shape. The force on the wing is that term's integral.

The grid is staggered, fine around the wing and stretched towards the walls of a
tunnel without friction; the scheme is Adams and Bashforth's second order for
transport (upwind, third order), with incremental pressure projection. Each difference
is a constant matrix, and the pressure's equation is solved exactly in the
eigenvectors of two of them: a time step is matrix products and elementwise work, and
``tf.gradients`` goes back through every step. It computes blocks of 25 steps again as
it needs them, which takes half as long again and a third of the memory.

Variables are the angle of attack (between -2 and 10 degrees), the camber line and
the distribution of thickness. Fixed are the chord and the area of the section. What
is improved is the mean lift over the mean drag of a few time units that begin with
the steady flow around the first wing. The result is judged by runs from rest on a
finer grid, which the optimiser never saw.

Limits: a flow in two dimensions; a tunnel with walls two chords away; first order in
the cell's size at the blurred surface. The first wing's lift over drag, 1.30 on the
grid of the optimiser, is 1.62 on the finer one and 1.75 on one of 120 cells a chord:
the drag is right to some per cent, the lift on the coarse grid too low by a quarter.

It takes about a minute and 200 MiB. Written is wing.svg. Exit status 1: the gradient
disagrees with differences, or lift over drag rose by less than half.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Products of matrices this small take longer on two threads than on one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from _draw import BLUE, DIVERGING, INK, ORANGE, Drawing, Panel, colours

import dagrad as tf

REYNOLDS = 1000.0
AREA = 0.08  # of the section
TAIL = 0.006  # half the thickness at the trailing edge
PERMEABILITY = 1e-3  # eta, a time
CAMBERS = THICKNESSES = 4
# Places along the chord, closer at the ends.
STATIONS = (1.0 - np.cos(np.linspace(0.0, np.pi, 29))) / 2.0
KEPT = 25  # of so many steps, all is kept for the gradient; of the others, the state
CHUNK = 50  # steps in one run of a session, where no gradient needs all of them


VORTICITY = 12.0  # where the colours end


@dataclass
class Setting:
    """Cell size and time step; the times of a run from rest, of a simulation that
    is differentiated and of the mean at its end; and how often to improve."""

    cell: float
    step: float
    settle: float
    length: float = 0.0
    mean: float = 0.0
    iterations: int = 0


FULL = Setting(1 / 50, 0.006, 9.0, 3.0, 1.0, 25), Setting(1 / 80, 0.004, 12.0)
QUICK = Setting(1 / 25, 0.012, 3.0, 1.2, 0.6, 5), Setting(1 / 25, 0.012, 6.0)


# -- the grid and its matrices -------------------------------------------------


def constant(a: Any) -> Any:
    """A float64 constant."""
    return tf.constant(np.ascontiguousarray(a), tf.float64)


def stretched(inner: tuple[float, float], outer: tuple[float, float], h: float) -> Any:
    """Cell faces: steps of ``h`` within ``inner``, ever longer ones outside."""

    def tail(length: float) -> Any:
        steps = [1.17 * h]
        while sum(steps) < length:
            steps.append(1.17 * steps[-1])
        return np.cumsum(steps) * (length / sum(steps))

    middle = np.linspace(*inner, round((inner[1] - inner[0]) / h) + 1)
    before = inner[0] - tail(inner[0] - outer[0])[::-1]
    return np.concatenate([before, middle, inner[1] + tail(outer[1] - inner[1])])


def weights(nodes: Any, at: float, order: int) -> Any:
    """The weights of values at ``nodes`` in their polynomial's derivative."""
    powers = np.arange(len(nodes))[:, None]
    right = np.zeros(len(nodes))
    right[order] = math.factorial(order)
    return np.linalg.solve((nodes - at) ** powers, right)


def differences(nodes: Any, low: tuple[Any, ...], high: tuple[Any, ...]) -> Any:
    """Matrices of the first derivative, the upwind term and the second derivative.

    ``low`` and ``high`` are the place of a wall, the sign with which values are
    mirrored in it, and what lies on it: a node of value "zero", the last node
    ("free"), or no node ("none"). ``u C u + |u| D u``, with the first derivative C
    and the upwind term D, is the transport of third order.
    """
    n = len(nodes)
    rows = np.eye(n)

    def beyond(wall: float, sign: float, on_wall: str, order: Any) -> list[Any]:
        found = [(wall, 0.0 * rows[0])] if on_wall == "zero" else []
        for i in order[1:] if on_wall == "free" else order:
            found.append((2.0 * wall - nodes[i], sign * rows[i]))
        return found[:2]

    before = beyond(*low, range(n))[::-1]
    after = beyond(*high, range(n - 1, -1, -1))
    places = np.array([p for p, _ in before] + list(nodes) + [p for p, _ in after])
    values = np.array([v for _, v in before] + list(rows) + [v for _, v in after])
    first, upwind, second = np.zeros((3, n, n))
    for i in range(n):
        five, three = slice(i, i + 5), slice(i + 1, i + 4)
        near, at = places[five], nodes[i]
        h = (near[3] - near[1]) / 2.0
        first[i] = weights(near, at, 1) @ values[five]
        upwind[i] = weights(near, at, 4) @ values[five] * h**3 / 12.0
        second[i] = weights(places[three], at, 2) @ values[three]
    return first, upwind, second


def spectrum(laplacian: Any, widths: Any) -> tuple[Any, Any, Any]:
    """Eigenvalues, eigenvectors and their inverse; symmetric in cell widths."""
    root = np.sqrt(widths)
    values, q = np.linalg.eigh(laplacian * root[:, None] / root)
    return values, q / root[:, None], q.T * root


class Tunnel:
    """The grid, the constant matrices of the flow, and its time step.

    ``u`` (nx, ny) is the velocity along x less that far away, on the cells' right
    faces; ``v`` (nx, ny - 1) that along y, on the faces between cells; ``p`` (nx, ny)
    the pressure in the cells. At the inlet u = v = 0, at the outlet p = 0.
    """

    def __init__(self, h: float, dt: float) -> None:
        self.h, self.dt, self.nu = h, dt, 1.0 / REYNOLDS
        self.xf = xf = stretched((-0.15, 1.25), (-2.0, 4.0), h)
        self.yf = yf = stretched((-0.3, 0.3), (-2.0, 2.0), h)
        self.xc, self.yc = (xf[1:] + xf[:-1]) / 2.0, (yf[1:] + yf[:-1]) / 2.0
        nx, ny = self.size = len(self.xc), len(self.yc)
        dx, dy = np.diff(xf)[:, None], np.diff(yf)[:, None]
        gap_x = np.append(np.diff(self.xc), dx[-1] / 2.0)[:, None]
        gap_y = np.diff(self.yc)[:, None]
        (west, east), (south, north) = xf[[0, -1]], yf[[0, -1]]

        def along(*of: Any) -> list[Any]:
            return [constant(m) for m in differences(*of)]

        def across(*of: Any) -> list[Any]:
            return [constant(m.T) for m in differences(*of)]

        self.u_x = along(xf[1:], (west, -1, "zero"), (east, 1, "free"))
        self.u_y = across(self.yc, (south, 1, "none"), (north, 1, "none"))
        self.v_x = along(self.xc, (west, -1, "none"), (east, 1, "none"))
        self.v_y = across(yf[1:-1], (south, -1, "zero"), (north, -1, "zero"))

        one_x, ahead, behind = np.eye(nx), np.eye(nx, k=1), np.eye(nx, k=-1)
        upper, lower = np.eye(ny - 1, ny, k=1), np.eye(ny - 1, ny)
        last = np.diag(np.arange(nx) == nx - 1)
        self.v_at_u = (
            constant((one_x + ahead + last) / 2),
            constant((upper + lower) / 2),
        )
        self.u_at_v = constant((one_x + behind) / 2), constant((upper + lower).T / 2)

        div_x, div_y = (one_x - behind) / dx, (lower - upper).T / dy
        grad_x, grad_y = (ahead - one_x) / gap_x, (upper - lower) / gap_y
        self.divergence = constant(div_x), constant(div_y.T)
        self.gradient = constant(grad_x), constant(grad_y.T)
        a, vectors_x, inverse_x = spectrum(div_x @ grad_x, dx[:, 0])
        b, vectors_y, inverse_y = spectrum(div_y @ grad_y, dy[:, 0])
        self.to_modes = constant(inverse_x), constant(inverse_y.T)
        self.from_modes = constant(vectors_x), constant(vectors_y.T)
        self.modes = constant(1.0 / (a[:, None] + b))
        self.areas = constant(gap_x * dy[:, 0]), constant(dx * gap_y[:, 0])

    def rest(self) -> list[Any]:
        """The flow that the wing is put into: the same speed everywhere."""
        u, v = np.zeros(self.size), np.zeros((self.size[0], self.size[1] - 1))
        return [u, v, u, u, v]

    def transport(self, u: Any, v: Any) -> tuple[Any, Any]:
        """-(U . grad) U + laplace(U) / Re, for both velocities."""

        def change(w: Any, speed: Any, other: Any, along: Any, across: Any) -> Any:
            slope_x, upwind_x, curve_x = (m @ w for m in along)
            slope_y, upwind_y, curve_y = (w @ m for m in across)
            moved = speed * slope_x + tf.abs(speed) * upwind_x
            moved += other * slope_y + tf.abs(other) * upwind_y
            return self.nu * (curve_x + curve_y) - moved

        v_at_u = self.v_at_u[0] @ v @ self.v_at_u[1]
        u_at_v = self.u_at_v[0] @ u @ self.u_at_v[1]
        return (
            change(u, 1.0 + u, v_at_u, self.u_x, self.u_y),
            change(v, 1.0 + u_at_v, v, self.v_x, self.v_y),
        )

    def step(self, state: list[Any], wing: Any) -> tuple[list[Any], Any, Any]:
        """The state after a time step, and the lift and drag during it."""
        u, v, p, old_fu, old_fv = state
        fu, fv = self.transport(u, v)
        free_u = u + self.dt * (1.5 * fu - 0.5 * old_fu - self.gradient[0] @ p)
        free_v = v + self.dt * (1.5 * fv - 0.5 * old_fv - p @ self.gradient[1])
        u = (1.0 + free_u) / wing[0] - 1.0
        v = free_v / wing[1]
        drag = tf.reduce_sum((free_u - u) * self.areas[0]) / self.dt
        lift = tf.reduce_sum((free_v - v) * self.areas[1]) / self.dt
        source = (self.divergence[0] @ u + v @ self.divergence[1]) / self.dt
        modes = self.modes * (self.to_modes[0] @ source @ self.to_modes[1])
        more = self.from_modes[0] @ modes @ self.from_modes[1]
        u -= self.dt * (self.gradient[0] @ more)
        v -= self.dt * (more @ self.gradient[1])
        return [u, v, p + more, fu, fv], lift, drag

    def simulate(self, state: Any, wing: Any, steps: int) -> tuple[Any, Any, Any]:
        """The state after ``steps``, and the lift and drag of each."""

        def next_one(before: Any, _: Any) -> Any:
            return self.step(before[0], wing)

        none = tf.zeros([], tf.float64)
        states, lifts, drags = tf.scan(
            next_one, tf.zeros([steps]), (state, none, none), checkpoint_every=KEPT
        )
        return [a[-1] for a in states], lifts, drags


# -- the wing ------------------------------------------------------------------


def section(shape: Any) -> tuple[Any, Any, Any]:
    """The camber line's points and the half thickness there, from the variables.

    Each variable, through tanh, stays between bounds. The angle is 4 + 6 t degrees.
    The camber is a sum of sines, and the thickness a NACA four-digit wing's times
    the exponential of a sum of cosines, scaled to the fixed area.
    """
    s = STATIONS
    t = tf.tanh(shape)
    angle = (4.0 + 6.0 * t[0]) * (np.pi / 180.0)
    waves = np.array([0.08 / j * np.sin(np.pi * j * s) for j in range(1, CAMBERS + 1)])
    camber = tf.reduce_sum(t[1 : 1 + CAMBERS, None] * constant(waves), axis=0)
    waves = np.array([np.cos(np.pi * j * s) for j in range(1, THICKNESSES + 1)])
    swell = tf.exp(tf.reduce_sum(0.6 * t[1 + CAMBERS :, None] * waves, axis=0))
    naca = 0.2969 * np.sqrt(s) - 0.126 * s - 0.3516 * s**2 + 0.2843 * s**3
    plump = (naca - 0.1036 * s**4) * swell
    widths = np.gradient(s)
    widths[[0, -1]] /= 2.0
    scale = (AREA / 2.0 - TAIL) / tf.reduce_sum(plump * widths)
    x, cos, sin = s - 0.25, tf.cos(angle), tf.sin(angle)
    return (
        0.25 + x * cos + camber * sin,
        camber * cos - x * sin,
        TAIL + plump * scale,
    )


def drag_factor(tunnel: Tunnel, shape: Any, x: Any, y: Any) -> Any:
    """1 + chi dt / eta at the points of a grid.

    The distance from the wing is that from a chain of rounded bars. A mask that
    fades like exp(-d / w) stops the flow before d = 0: by w (log A + 2 gamma), with
    A = w^2 Re / eta and Euler's gamma, for the profile of a flow along a wall, which
    solves u'' = A exp(-d / w) u / w^2. The mask is shifted inwards by that much.
    """
    px, py, r = section(shape)
    x, y = np.meshgrid(x, y, indexing="ij")
    x, y = x[:, :, None], y[:, :, None]
    ex, ey = px[1:] - px[:-1], py[1:] - py[:-1]
    ax, ay = x - px[:-1], y - py[:-1]
    t = tf.clip_by_value((ax * ex + ay * ey) / (ex * ex + ey * ey), 0.0, 1.0)
    away = tf.sqrt(tf.square(ax - t * ex) + tf.square(ay - t * ey) + 1e-12)
    distance = tf.reduce_min(away - r[:-1] - t * (r[1:] - r[:-1]), axis=2)
    w = tunnel.h / 4.0
    shift = w * (math.log(w * w * REYNOLDS / PERMEABILITY) + 2.0 * np.euler_gamma)
    chi = tf.sigmoid((-shift - distance) / w)
    return 1.0 + chi * (tunnel.dt / PERMEABILITY)


def solid(tunnel: Tunnel, shape: Any) -> tuple[Any, Any]:
    """The wing on the grids of both velocities."""
    return (
        drag_factor(tunnel, shape, tunnel.xf[1:], tunnel.yc),
        drag_factor(tunnel, shape, tunnel.xc, tunnel.yf[1:-1]),
    )


# -- running and improving -----------------------------------------------------


@dataclass
class Flight:
    """A run from rest: the last state, and the forces at the times."""

    tunnel: Tunnel
    state: list[Any]
    times: Any
    lift: Any
    drag: Any

    @property
    def late(self) -> Any:
        """The last quarter."""
        return self.times > 0.75 * self.times[-1]

    @property
    def ratio(self) -> float:
        """The mean lift over the mean drag of the last quarter."""
        return float(np.mean(self.lift[self.late]) / np.mean(self.drag[self.late]))


def fly(shape: Any, setting: Setting) -> Flight:
    """Run a wing from rest for the time ``settle``, without gradients."""
    with tf.Graph().as_default():
        tunnel = Tunnel(setting.cell, setting.step)
        wing = solid(tunnel, constant(shape))
        state = [tf.placeholder(tf.float64, a.shape) for a in tunnel.rest()]
        given = [tf.placeholder(tf.float64, w.shape) for w in wing]
        after = tunnel.simulate(state, given, CHUNK)
        with tf.Session() as session:
            body = session.run(wing)
            advance = session.make_callable(list(after), state + given)
            now, forces = tunnel.rest(), []
            for _ in range(round(setting.settle / setting.step / CHUNK)):
                now, *force = advance(*now, *body)
                forces.append(force)
    lift, drag = np.concatenate(forces, axis=1)
    times = setting.step * np.arange(1, len(lift) + 1)
    return Flight(tunnel, now, times, lift, drag)


def improve(setting: Setting, start: list[Any]) -> tuple[list[Any], list[float], float]:
    """Climb the gradient from ``start``, a steady flow; the shapes, their lift over
    drag, and the relative error of the first gradient along a direction."""
    steps = round(setting.length / setting.step)
    last = round(setting.mean / setting.step)
    with tf.Graph().as_default():
        tunnel = Tunnel(setting.cell, setting.step)
        shape = tf.Variable(np.zeros(1 + CAMBERS + THICKNESSES))
        state = [constant(a) for a in start]
        _, lift, drag = tunnel.simulate(state, solid(tunnel, shape), steps)
        ratio = tf.reduce_mean(lift[-last:]) / tf.reduce_mean(drag[-last:])
        (slope,) = tf.gradients(ratio, [shape])
        count = tf.train.get_or_create_global_step()
        rate = tf.train.cosine_decay(0.15, count, setting.iterations, alpha=0.1)
        climb = tf.train.AdamOptimizer(rate, beta1=0.8).apply_gradients(
            [(-slope, shape)], global_step=count
        )
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            plan = session.plan([ratio, climb])
            print(
                f"{steps} steps are {len(session.graph):,} operations with the "
                f"gradient; an iteration holds {plan.peak_bytes / 2**20:,.0f} MiB"
            )
            error = compare(session, ratio, slope, shape)
            shapes, ratios = [], []
            for i in range(setting.iterations):
                at, value, _ = session.run([shape.value(), ratio, climb])
                shapes.append(at)
                ratios.append(float(value))
                print(f"{i:4d}  lift over drag {value:.4f}", flush=True)
            at, value = session.run([shape, ratio])
    return [*shapes, at], [*ratios, float(value)], error


def compare(session: tf.Session, ratio: Any, slope: Any, shape: Any) -> float:
    """The relative error of the gradient along a direction, by differences."""
    at, exact = session.run([shape, slope])
    direction = np.random.default_rng(1).normal(size=at.shape)
    exact, step = float(exact @ direction), 1e-6
    ends = [
        float(session.run(ratio, {shape.value(): at + s * step * direction}))
        for s in (1, -1)
    ]
    numeric = (ends[0] - ends[1]) / (2 * step)
    print(f"slope along a direction: {exact:.9f}, by differences {numeric:.9f}")
    return abs(exact - numeric) / abs(numeric)


# -- the picture ---------------------------------------------------------------


def outline(shape: Any) -> tuple[Any, Any]:
    """The section's edge: the curve that touches the circles along the camber."""
    with tf.Graph().as_default(), tf.Session() as session:
        x, y, r = session.run(section(constant(shape)))
    along = np.array([np.gradient(x), np.gradient(y)])
    pace = np.hypot(*along)
    along /= pace
    lean = np.gradient(r) / pace
    seen = np.abs(lean) < 0.95  # other circles lie within larger ones
    x, y, r, lean, along = x[seen], y[seen], r[seen], lean[seen], along[:, seen]
    upright = np.sqrt(1.0 - lean**2)
    centre, normal = np.array([x, y]), np.array([-along[1], along[0]])
    upper = centre + r * (upright * normal - lean * along)
    lower = centre - r * (upright * normal + lean * along)

    def cap(i: int, sign: float) -> Any:
        turn = np.linspace(1.0, -1.0, 15) * np.arccos(-sign * lean[i])
        turn += np.arctan2(sign * along[1, i], sign * along[0, i])
        return centre[:, [i]] + r[i] * np.array([np.cos(turn), np.sin(turn)])

    parts = [upper, cap(-1, 1.0), lower[:, ::-1], cap(0, -1.0)]
    edge = np.concatenate(parts, axis=1)
    return edge[0], edge[1]


def sample(field: Any, x: Any, y: Any, at_x: Any, at_y: Any) -> Any:
    """A field on the grid (x, y) at the points (at_x, at_y), bilinear."""

    def place(grid: Any, at: Any) -> tuple[Any, Any]:
        i = np.clip(np.searchsorted(grid, at) - 1, 0, len(grid) - 2)
        return i, np.clip((at - grid[i]) / (grid[i + 1] - grid[i]), 0.0, 1.0)

    (i, s), (j, t) = place(x, at_x), place(y, at_y)
    low = field[i, j] * (1 - t) + field[i, j + 1] * t
    high = field[i + 1, j] * (1 - t) + field[i + 1, j + 1] * t
    return low * (1 - s) + high * s


def draw_flow(panel: Panel, tunnel: Tunnel, state: list[Any], shape: Any) -> None:
    """Vorticity in colour, streamlines and the wing."""
    u, v = 1.0 + state[0], state[1]
    xf, yf, xc, yc = tunnel.xf, tunnel.yf, tunnel.xc, tunnel.yc
    turn = np.diff(v, axis=0)[:, :] / np.diff(xc)[:, None]
    turn -= np.diff(u[:-1], axis=1) / np.diff(yc)
    across = np.linspace(*panel.across, 320)
    up = np.linspace(*panel.up, 160)
    field = sample(turn, xf[1:-1], yf[1:-1], *np.meshgrid(across, up))
    panel.image(colours(field, -VORTICITY, VORTICITY, DIVERGING))

    x, y = np.full(25, panel.across[0]), np.linspace(*panel.up, 27)[1:-1]
    paths, step = [(x, y)], 0.008
    for _ in range(450):
        mid = x, y
        for part in (0.5, 1.0):
            across_speed = sample(u, xf[1:], yc, *mid)
            up_speed = sample(v, xc, yf[1:-1], *mid)
            mid = x + part * step * across_speed, y + part * step * up_speed
        x, y = mid
        paths.append((x, y))
    lines = np.array(paths)
    for k in range(lines.shape[2]):
        panel.line(lines[:, 0, k], lines[:, 1, k], INK, width=0.7, fade=0.55)
    panel.shape(*outline(shape), "#ffffff", INK, width=1.4)


def draw(
    path: Path, flights: list[Any], shapes: list[Any], ratios: list[float]
) -> None:
    """Both flows, both sections, the climb, and the forces in time."""
    page = Drawing(
        1180,
        725,
        "A wing shaped by gradients through a flow",
        f"Two-dimensional flow at Reynolds number {REYNOLDS:g}; same chord, same "
        "area; lengths in chords, times in chords travelled",
    )
    ends = (shapes[0], shapes[-1])
    for k, (name, flight, shape) in enumerate(zip(("First", "Last"), flights, ends)):
        panel = page.panel(
            (64 + 545 * k, 96, 490, 245),
            (-0.4, 1.8),
            (-0.55, 0.55),
            f"{name} wing: lift over drag {flight.ratio:.2f}",
            ("x", "y" if k == 0 else ""),
            grid=False,
        )
        draw_flow(panel, flight.tunnel, flight.state, shape)
        if k:
            panel.bar(-VORTICITY, VORTICITY, DIVERGING, "vorticity")
    panel = page.panel(
        (64, 430, 320, 230), (-0.06, 1.06), (-0.4025, 0.4025), "Sections", ("x", "y")
    )
    panel.shape(*outline(ends[0]), BLUE, BLUE, fade=0.15)
    panel.shape(*outline(ends[1]), ORANGE, ORANGE, fade=0.2)
    panel.line([], [], BLUE, "first")
    panel.line([], [], ORANGE, "last")
    panel.legend()

    panel = page.panel(
        (450, 430, 290, 230),
        (0, len(ratios) - 1),
        (0, 1.12 * max(ratios)),
        "Climb",
        ("iteration", "lift over drag"),
    )
    panel.line(range(len(ratios)), ratios, INK)
    panel.dots(range(len(ratios)), ratios, INK, radius=2.6)

    top = 2.0 * max(float(np.max(f.lift[len(f.lift) // 12 :])) for f in flights)
    panel = page.panel(
        (809, 430, 290, 230),
        (0, flights[0].times[-1]),
        (0, 1.75 * top),
        "Coefficients, from rest",
        ("time", "lift, drag"),
    )
    for flight, colour, name in zip(flights, (BLUE, ORANGE), ("first", "last")):
        panel.line(flight.times, 2.0 * flight.lift, colour, f"lift, {name}")
        panel.line(flight.times, 2.0 * flight.drag, colour, f"drag, {name}", dash="4 3")
    panel.legend()
    page.save(path)


def main() -> int:
    """Improve a wing, judge it, draw it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(), help="where files go")
    parser.add_argument("--quick", action="store_true", help="a coarse, short flow")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    setting, judge = FULL
    if options.quick:
        setting, judge = QUICK

    first = fly(np.zeros(1 + CAMBERS + THICKNESSES), setting)
    shapes, ratios, error = improve(setting, first.state)
    flights = [fly(shape, judge) for shape in (shapes[0], shapes[-1])]
    for name, flight in zip(("first", "last"), flights):
        lift, drag = (2.0 * np.mean(f[flight.late]) for f in (flight.lift, flight.drag))
        print(
            f"{name} wing, from rest on {flight.tunnel.size[0]} x "
            f"{flight.tunnel.size[1]} cells: lift {lift:.3f}, drag {drag:.3f}, "
            f"lift over drag {flight.ratio:.3f}"
        )
    draw(options.out / "wing.svg", flights, shapes, ratios)
    print(f"wing.svg is in {options.out.resolve()}")
    gain = flights[1].ratio / flights[0].ratio
    return 0 if error < 1e-4 and gain > (1.2 if options.quick else 1.5) else 1


if __name__ == "__main__":
    sys.exit(main())
