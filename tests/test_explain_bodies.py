"""explain_gradient inside loops, branches and functions, and what gradients do."""

from __future__ import annotations

import numpy as np
import pytest

import dagrad as dg
from dagrad.graphlib.explain import explain_gradient
from dagrad.ops.custom import prevent_gradient

pytestmark = pytest.mark.usefixtures("graph")


@pytest.fixture
def x():
    return dg.placeholder_with_default(np.array([0.5, 1.5, 2.5], np.float32), [3])


@pytest.fixture
def w():
    return dg.placeholder_with_default(np.array([1.0, 2.0, 3.0], np.float32), [3])


def agrees(y, x):
    """An explanation that says what reverse and forward mode do."""
    why = explain_gradient(y, x)
    if why.status == "refused":
        with pytest.raises(dg.errors.GradientError):
            dg.gradients(y, x)
        return why
    (g,) = dg.gradients(y, x)
    (t,) = dg.jvp(y, x)
    assert why.connected == (g is not None) == (t is not None)
    if g is not None:
        with dg.Session() as session:
            values = session.run([g, t])
        zero = not any(np.any(v) for v in values)
        assert (why.status == "zero") == zero
    else:
        with pytest.raises(dg.errors.GradientError) as error:
            dg.gradients(y, x, unconnected_gradients="raise")
        assert str(error.value) == str(why)
    return why


def kinds(why):
    return [(c.op.type, c.kind) for c in why.cuts]


def repeated(step, *inits, n=3):
    """The loop variables after n iterations of ``step``."""
    results = dg.while_loop(
        lambda i, *_: i < n, lambda i, *a: (i + 1, *step(*a)), [0, *inits]
    )
    return results[1:]


# -- loops ----------------------------------------------------------------------------


INSIDE = {
    "stop_gradient": (dg.stop_gradient, ("StopGradient", "stop_gradient")),
    "integers": (
        lambda x: dg.cast(dg.cast(x, dg.int32), dg.float32),
        ("Cast", "dtype"),
    ),
    "comparison": (
        lambda x: dg.cast(x > 0.0, dg.float32),
        ("Greater", "comparison"),
    ),
    "floor": (dg.floor, ("Floor", "constant")),
}


@pytest.mark.parametrize("case", INSIDE)
def test_a_body_that_cuts(x, w, case):
    build, expected = INSIDE[case]
    (y,) = repeated(lambda a: (dg.sin(a) + build(x),), w)
    why = agrees(y, x)
    assert why.status == "unconnected"
    assert kinds(why) == [expected]
    (cut,) = why.cuts
    assert cut.within == 'the body of while_loop "while"'
    assert cut.source.filename == __file__
    assert f"{cut.op.describe()} ({cut.source}), in {cut.within}: " in str(why)


def test_a_way_over_several_carries(x, w):
    a, b, c, d = repeated(lambda a, b, c, d: (a * x, a, b, d * w), w, w, w, w)
    for y in (a, b, c):
        assert agrees(y, x).status == "connected"
    why = agrees(d, x)
    assert (why.status, why.total) == ("unconnected", 0)
    assert agrees(d, w).status == "connected"
    text = str(explain_gradient(c, x))
    assert text.count("and through the body again, in the next iteration:") == 2


def test_a_cut_on_one_of_several_carries(x, w):
    a, b = repeated(lambda a, b: (dg.sin(b) * w, dg.floor(a) + w), w, x, n=1)
    # x is the first value of b, which a reads in the first iteration.
    assert agrees(a, x).status == "connected"
    why = explain_gradient(b, w)
    assert why.status == "connected"
    assert ("Floor", "constant") in kinds(why)


def test_a_loop_variable_that_is_made_anew(x, w):
    (y,) = repeated(lambda a: (dg.sin(w),), x)
    why = agrees(y, x)
    assert why.status == "zero"
    assert "unless a loop between them runs no iteration" in str(why)
    assert "each iteration makes this loop variable anew" in str(why)


def test_the_first_value_of_a_loop_variable_without_iterations(x, w):
    (y,) = repeated(lambda a: (dg.sin(w),), x, n=0)
    (g,) = dg.gradients(y, x)
    with dg.Session() as session:
        np.testing.assert_array_equal(session.run(g), np.ones(3))


def test_only_the_condition_reads_it(x, w):
    def ended(a):
        return dg.reduce_sum(a) < 10.0 + dg.reduce_sum(x)

    y = dg.while_loop(ended, lambda a: a * 2.0, [w])
    why = agrees(y, x)
    assert why.status == "unconnected"
    assert ("Loop", "condition") in kinds(why)
    inner = [c for c in why.cuts if c.within]
    assert [c.kind for c in inner] == ["comparison"]


def test_scans_stacks_and_rows(x, w):
    rows = dg.stack([x, dg.floor(x)])

    def step(h, r):
        return h[0] * w, dg.floor(h[1]) + r

    a, b = dg.scan(step, rows, (w, w))
    assert agrees(a, x).total == 0
    assert agrees(b, x).status == "connected"
    m = dg.map_fn(lambda r: dg.floor(r) * w, rows)
    why = agrees(m, x)
    assert why.status == "unconnected"
    assert 'map_fn "map"' in str(why)
    assert agrees(m, w).status == "connected"


def test_derivatives_of_zero_inside(x, w):
    (y,) = repeated(lambda a: (a * w + dg.sign(x),), w)
    why = agrees(y, x)
    assert why.status == "zero"
    assert kinds(why)[0] == ("Sign", "zero")


def test_a_refusal_inside(x, w):
    (y,) = repeated(lambda a: (a + prevent_gradient(x, "labels are data"),), w)
    why = agrees(y, x)
    assert why.status == "refused"
    assert "labels are data" in str(why)
    assert why.cuts[0].within == 'the body of while_loop "while"'
    # Where no cotangent arrives nothing is refused.
    (z,) = repeated(lambda a: (a * x + dg.stop_gradient(prevent_gradient(x, "no")),), w)
    assert agrees(z, x).status == "connected"


def test_a_variable_that_a_body_writes(x, w):
    v = dg.get_variable("v", [3], initializer=dg.zeros_initializer())

    def body(i, a):
        with dg.control_dependencies([dg.assign(v, x)]):
            return i + 1, dg.identity(a)

    _, y = dg.while_loop(lambda i, a: i < 3, body, [0, w])
    why = agrees(v * 2.0, x)
    assert why.status == "unconnected"
    assert "the state of a session" in str(why)
    assert agrees(y, x).status == "unconnected"


def test_of_many_cuts_those_around_the_bodies_are_shown(x, w):
    def step(a):
        for _ in range(12):
            a = a + dg.floor(x)
        return (a,)

    (y,) = repeated(step, w)
    why = agrees(dg.stop_gradient(y), x)
    assert len(why.cuts) == 13
    text = str(why)
    assert '  1. StopGradient "StopGradient"' in text
    assert "... and 5 more" in text


# -- branches and functions -----------------------------------------------------------


def test_both_branches_count(x, w):
    flag = dg.reduce_sum(w) > 0.0
    y = dg.cond(flag, lambda: dg.sin(x) * w, lambda: dg.floor(x) * w)
    why = agrees(y, x)
    assert why.status == "connected"
    assert [c.within for c in why.cuts] == ['the body of cond "cond", false']
    z = dg.cond(flag, lambda: dg.stop_gradient(x) * w, lambda: dg.floor(x) * w)
    why = agrees(z, x)
    assert why.status == "unconnected"
    assert sorted(kinds(why)) == [
        ("Floor", "constant"),
        ("StopGradient", "stop_gradient"),
    ]


def test_what_chooses_the_branch(x, w):
    y = dg.cond(dg.reduce_sum(x) > 0.0, lambda: w, lambda: -w)
    why = agrees(y, x)
    assert why.status == "unconnected"
    assert kinds(why) == [("Greater", "comparison")]


def test_a_branch_of_several_results(x, w):
    flag = dg.reduce_sum(w) > 0.0
    a, b = dg.cond(flag, lambda: (x * 1.0, w), lambda: (w, dg.floor(x)))
    assert agrees(a, x).status == "connected"
    assert agrees(b, x).status == "unconnected"


def test_a_function(x, w):
    f = dg.function(lambda a, b: (dg.sin(a), dg.floor(a) * b))
    s, t = f(x, w)
    assert agrees(s, x).status == "connected"
    assert agrees(s, w).total == 0
    assert agrees(t, x).status == "unconnected"
    assert agrees(t, w).status == "connected"
    g = dg.recompute_grad(lambda a: dg.floor(a) * w)
    assert agrees(g(x), x).status == "unconnected"


def test_bodies_in_bodies(x, w):
    def step(a):
        (inner,) = repeated(lambda b: (b * w + dg.floor(x),), a)
        return (inner,)

    (y,) = repeated(step, w)
    why = agrees(y, x)
    assert why.status == "unconnected"
    (cut,) = why.cuts
    assert cut.op.type == "Floor"
    assert cut.within == 'the body of while_loop "while/body/while"'
    assert str(why).count("through the body of") == 2


def test_an_inner_loop_decides_what_an_outer_carry_reads(x, w):
    """A carry that an inner loop makes from others only is none of x's."""

    def step(a, b):
        return repeated(lambda c, d: (c * x, d * w), a, b)

    a, b = repeated(step, w, w)
    assert agrees(a, x).status == "connected"
    assert agrees(b, x).total == 0


# -- asking in a body -----------------------------------------------------------------


def asked_inside(x, build):
    """What explain_gradient and gradients say in the body of a loop."""
    found = []

    def body(i, a):
        y = build(a)
        found.append((explain_gradient(y, x), dg.gradients(y, x)[0]))
        return i + 1, a

    dg.while_loop(lambda i, a: i < 3, body, [0, dg.ones([3])])
    return found[-1]


def test_an_outer_tensor_asked_for_in_a_body(x):
    why, g = asked_inside(x, lambda a: dg.sin(x) * a)
    assert why.status == "connected"
    assert g is not None
    assert [s.op.type for s in why.paths[0].steps] == ["BodyInput", "Sin", "Mul"]
    why, g = asked_inside(x, lambda a: dg.floor(x) * a)
    assert why.status == "unconnected"
    assert g is None
    assert kinds(why) == [("Floor", "constant")]


def test_through_what_is_computed_around_the_body(x):
    h = dg.exp(x)
    why, g = asked_inside(x, lambda a: h * a)
    assert why.status == "connected"
    assert [s.op.type for s in why.paths[0].steps] == ["Exp", "BodyInput", "Mul"]
    assert g is not None


def test_a_loop_variable_is_a_variable_of_its_own(x):
    why, g = asked_inside(x, lambda a: dg.sin(a))
    assert g is None
    assert "a variable of its own" in str(why)


def test_a_tensor_of_a_body_asked_for_outside(w):
    inner = []

    def body(i, a):
        inner.append(dg.sin(a))
        return i + 1, inner[-1] * 2.0

    _, y = dg.while_loop(lambda i, a: i < 3, body, [0, w])
    why = explain_gradient(y, inner[-1])
    assert why.status == "unconnected"
    assert "another value each time" in str(why)
    assert dg.gradients(y, inner[-1]) == [None]


# -- size -----------------------------------------------------------------------------


def test_a_long_chain_of_loops_and_a_long_body(x, w):
    y = x
    for _ in range(100):
        (y,) = repeated(lambda a: (dg.sin(a) * w,), y)

    def long(a):
        for _ in range(5_000):
            a = a + 1.0
        return (dg.floor(a),)

    (y,) = repeated(long, y)
    why = explain_gradient(y, x)
    assert why.status == "zero"
    assert len(str(why).splitlines()) < 250


def test_nothing_is_added(x, w, graph):
    (y,) = repeated(lambda a: (dg.floor(a) + x,), w)
    body = y.op.attrs["body"].graph
    before = len(graph), len(body)
    str(explain_gradient(y, x))
    assert (len(graph), len(body)) == before
