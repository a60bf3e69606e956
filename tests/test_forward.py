"""Forward mode: directional derivatives, against reverse mode and by hand."""

from __future__ import annotations

import numpy as np
import pytest

import dagrad as dg
from dagrad.graphlib.forward import jvp

pytestmark = pytest.mark.usefixtures("graph")


def value(fetches, feeds=None):
    return dg.Session().run(fetches, feeds)


def test_a_directional_derivative():
    x = dg.constant([1.0, 2.0])
    (t,) = jvp(x * x, x, [[10.0, 100.0]])
    np.testing.assert_array_equal(value(t), [20.0, 400.0])


def test_the_tangent_defaults_to_ones():
    x = dg.constant([1.0, 2.0])
    np.testing.assert_array_equal(value(jvp(x * x, x))[0], [2.0, 4.0])


def test_several_xs_add_up_and_several_ys_come_in_order():
    a, b = dg.constant(2.0), dg.constant(3.0)
    got = value(jvp([a * b, a + b, a], [a, b], [10.0, 100.0]))
    assert got == [230.0, 110.0, 10.0]


def test_a_y_that_does_not_depend_on_x():
    a, b = dg.constant(2.0), dg.constant(3.0)
    assert jvp([b * 2.0, dg.cast(a, dg.int32)], a) == [None, None]


def test_an_x_in_the_middle_keeps_its_own_tangent():
    x = dg.constant(2.0)
    h = dg.square(x)
    assert value(jvp(h * 3.0, [x, h], [1.0, 10.0])) == [30.0]


@pytest.mark.parametrize(
    "f",
    [
        lambda x: dg.tanh(dg.matmul(x, x, transpose_b=True)),
        lambda x: dg.reduce_mean(dg.exp(x), axis=1),
        lambda x: dg.transpose(x)[::-1] * 2.0,
        lambda x: dg.reduce_max(dg.reshape(x, [6]), keepdims=True),
        lambda x: dg.cumsum(x * x, axis=1),
        lambda x: dg.concat([x, dg.sin(x)], 0),
        lambda x: dg.linalg.inv(dg.matmul(x, x, transpose_b=True)),
        lambda x: dg.nn.softmax(x),
    ],
)
def test_forward_and_reverse_are_transposes(f):
    """<u, J t> = <J' u, t> for random t and u."""
    rng = np.random.default_rng(3)
    x = dg.constant(rng.normal(size=(2, 3)))
    y = f(x)
    t = rng.normal(size=(2, 3))
    u = rng.normal(size=y.shape.as_list())
    (forward,) = jvp(y, x, [dg.constant(t)])
    (reverse,) = dg.gradients(y, x, dg.constant(u))
    jt, ju = value([forward, reverse])
    assert (u * jt).sum() == pytest.approx((ju * t).sum(), rel=1e-10)


def test_a_hessian_vector_product_forward_over_reverse():
    a = np.array([0.5, -1.0, 2.0])
    x, t = dg.constant(a), np.array([1.0, 2.0, 3.0])
    (g,) = dg.gradients(dg.reduce_sum(x * x * x), x)
    np.testing.assert_allclose(value(jvp(g, x, [dg.constant(t)]))[0], 6 * a * t)


def test_tangents_that_do_not_fit():
    x = dg.constant([1.0, 2.0])
    with pytest.raises(ValueError, match=r"\(3,\)"):
        jvp(x * x, x, [dg.ones([3])])
    with pytest.raises(TypeError, match="float64"):
        jvp(x * x, x, [dg.ones([2], dg.float64)])
    with pytest.raises(ValueError, match="2 tangents were given for 1 xs"):
        jvp(x * x, x, [None, None])


def test_tangent_nodes_know_their_scope_and_forward_op(graph):
    x = dg.constant([1.0])
    y = dg.tanh(x, name="act")
    (t,) = jvp(y, x)
    assert t.op.name.startswith("jvp/act_jvp/")
    assert t.op.forward_op is y.op
    assert graph.get_name_scope() == ""
