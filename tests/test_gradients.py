"""Reverse mode: TF1's meaning of ``gradients``, and what is built for it."""

from __future__ import annotations

import numpy as np
import pytest

import dagrad as dg

pytestmark = pytest.mark.usefixtures("graph")


def value(fetches, feeds=None):
    return dg.Session().run(fetches, feeds)


def types(ops):
    return [op.type for op in ops]


# -- meaning ----------------------------------------------------


def test_ys_are_summed():
    x = dg.constant([1.0, 2.0])
    (g,) = dg.gradients([x * x, 3.0 * x], x)
    np.testing.assert_array_equal(value(g), [5.0, 7.0])


def test_a_y_given_twice_counts_twice():
    x = dg.constant([1.0, 2.0])
    y = x * x
    (g,) = dg.gradients([y, y], x)
    np.testing.assert_array_equal(value(g), [4.0, 8.0])


def test_one_gradient_per_x_in_order():
    a, b, c = (dg.constant(float(i)) for i in (2, 3, 5))
    got = value(dg.gradients(a * b + b * c, [c, a, b, a]))
    assert got == [3.0, 3.0, 7.0, 3.0]


def test_a_single_x_gives_a_list():
    x = dg.constant(1.0)
    assert isinstance(dg.gradients(x * 2.0, x), list)


def test_xs_in_the_middle_of_the_graph():
    x = dg.constant(3.0)
    h = x * x
    y = h * h
    got = value(dg.gradients(y, [h, x, y]))
    assert got == [18.0, 108.0, 1.0]


def test_an_x_above_another_x_does_not_cut_it():
    x = dg.constant(2.0)
    h = dg.square(x)
    y = h * x
    assert value(dg.gradients(y, [x, h])) == [12.0, 2.0]


def test_a_y_below_another_y():
    x = dg.constant(2.0)
    h = dg.square(x)
    y = h * 3.0
    # h gets its own cotangent and y's.
    assert value(dg.gradients([h, y], [x, h])) == [16.0, 4.0]


def test_grad_ys_weigh_the_ys():
    x = dg.constant([1.0, 2.0])
    y, z = x * x, dg.reduce_sum(x)
    (g,) = dg.gradients([y, z], x, grad_ys=[dg.constant([10.0, 100.0]), None])
    np.testing.assert_array_equal(value(g), [21.0, 401.0])
    (plain,) = dg.gradients(y, x, grad_ys=[[10.0, 100.0]])
    np.testing.assert_array_equal(value(plain), [20.0, 400.0])


def test_stop_gradients_holds_tensors_constant():
    x = dg.constant(3.0)
    h = x * 2.0
    y = h * x
    assert value(dg.gradients(y, x, stop_gradients=[h])) == [6.0]
    # TF1's example: a stopped x is itself differentiated by.
    a = dg.constant(0.0)
    b = 2.0 * a
    assert value(dg.gradients(a + b, [a, b], stop_gradients=[a, b])) == [1.0, 1.0]
    assert value(dg.gradients(a + b, [a, b])) == [3.0, 1.0]


def test_the_op_stop_gradient():
    x = dg.constant(3.0)
    assert value(dg.gradients(x * dg.stop_gradient(x), x)) == [3.0]
    assert dg.gradients(dg.stop_gradient(x), x) == [None]


def test_unconnected():
    x, z = dg.constant([1.0, 2.0]), dg.constant([[5.0]])
    y = z * 2.0
    assert dg.gradients(y, [x, z])[0] is None
    for zero in ("zero", dg.UnconnectedGradients.ZERO):
        g = dg.gradients(y, [x, z], unconnected_gradients=zero)
        np.testing.assert_array_equal(value(g[0]), [0.0, 0.0])
        np.testing.assert_array_equal(value(g[1]), [[2.0]])
    with pytest.raises(ValueError, match="sometimes"):
        dg.gradients(y, x, unconnected_gradients="sometimes")


def test_a_constant_y():
    x = dg.constant(1.0)
    assert dg.gradients(dg.constant(2.0), x) == [None]
    assert value(dg.gradients(x, x)) == [1.0]


def test_empty_lists():
    x = dg.constant(1.0)
    assert dg.gradients([], [x]) == [None]
    assert dg.gradients(x, []) == []


def test_integer_paths_are_cut():
    x = dg.constant([1.0, 2.0])
    y = dg.cast(dg.cast(x, dg.int32), dg.float32) * 3.0
    assert dg.gradients(y, x) == [None]
    n = dg.constant([1, 2])
    assert dg.gradients(dg.cast(n, dg.float32) * 2.0, n) == [None]
    (g,) = dg.gradients(y * x, x)
    np.testing.assert_array_equal(value(g), [3.0, 6.0])


def test_an_integer_path_into_an_op_without_a_gradient_is_cut_before_it(graph):
    # The write has no gradient, but only an integer leads from x to it.
    x = dg.constant([0.0, 1.0])
    v = dg.Variable([5.0, 7.0])
    row = dg.cast(dg.reduce_sum(x), dg.int32)
    written = dg.scatter_add(v, row, 1.0)
    (g,) = dg.gradients(dg.reduce_sum(written * 0.0) + dg.reduce_sum(x * x), x)
    np.testing.assert_array_equal(dg.Session().run([v.initializer, g])[1], [0.0, 2.0])


def test_only_the_differentiable_output_counts():
    x = dg.constant([3.0, 1.0, 2.0])
    values, indices = dg.nn.top_k(x, 2)
    y = dg.reduce_sum(values * values) + dg.reduce_sum(dg.cast(indices, dg.float32))
    np.testing.assert_array_equal(value(dg.gradients(y, x)[0]), [6.0, 0.0, 4.0])


def test_broadcasting_is_undone_exactly():
    shapes = [(), (1,), (3,), (1, 3), (2, 1), (2, 3), (4, 1, 3), (4, 2, 3)]
    rng = np.random.default_rng(0)
    for a in shapes:
        for b in shapes:
            x = dg.constant(rng.normal(size=a))
            y = dg.constant(rng.normal(size=b))
            product = x * y
            gx, gy = dg.gradients(product, [x, y])
            assert gx.shape == x.shape
            assert gy.shape == y.shape
            got, other, xv, yv = value([gx, gy, x, y])
            full = np.broadcast_shapes(a, b)
            np.testing.assert_allclose(got, undo(np.broadcast_to(yv, full), a))
            np.testing.assert_allclose(other, undo(np.broadcast_to(xv, full), b))


def undo(g, shape):
    """NumPy's definition of the sum over broadcast axes."""
    while g.ndim > len(shape):
        g = g.sum(0)
    for i, n in enumerate(shape):
        if n == 1:
            g = g.sum(i, keepdims=True)
    return g


def test_unknown_shapes_are_undone_in_the_run():
    x = dg.placeholder(dg.float64, None)
    y = dg.placeholder(dg.float64, None)
    grads = dg.gradients(x * y, [x, y])
    for a, b in [((2, 3), (3,)), ((), (4,)), ((2, 1), (1, 5)), ((2,), (2,))]:
        gx, gy = value(grads, {x: np.full(a, 2.0), y: np.full(b, 3.0)})
        full = np.broadcast_shapes(a, b)
        np.testing.assert_array_equal(gx, undo(np.full(full, 3.0), a))
        np.testing.assert_array_equal(gy, undo(np.full(full, 2.0), b))


def test_variables_as_xs():
    v = dg.Variable([1.0, 2.0])
    w = dg.Variable([3.0, 4.0])
    with dg.Session() as s:
        s.run(dg.global_variables_initializer())
        gv, gw = s.run(dg.gradients(v * w + v, [v, w]))
    np.testing.assert_array_equal(gv, [4.0, 5.0])
    np.testing.assert_array_equal(gw, [1.0, 2.0])


def test_every_read_of_a_variable_counts(graph):
    v = dg.Variable([2.0])
    with graph.control_dependencies([dg.no_op()]):
        again = v.read_value()
    y = again * v * v.value()
    with dg.Session() as s:
        s.run(v.initializer)
        assert s.run(dg.gradients(y, v)) == [[12.0]]


def test_complex_follows_tf1():
    # conj of the derivative, times the cotangent.
    z = dg.constant(1.0 + 2.0j, dg.complex128)
    (g,) = dg.gradients(z * z, z)
    assert value(g) == np.conj(2 * (1 + 2j))


def test_third_order():
    x = dg.constant(np.array([0.3, -0.7]))
    y = dg.sin(x) * dg.exp(x)
    for _ in range(3):
        (y,) = dg.gradients(y, x)
    a = np.array([0.3, -0.7])
    expected = np.exp(a) * (2 * np.cos(a) - 2 * np.sin(a))
    np.testing.assert_allclose(value(y), expected, rtol=1e-12)


def test_the_lectures_tanh_to_order_six():
    x = dg.placeholder(dg.float64, [None])
    y = (1.0 - dg.exp(-2.0 * x)) / (1.0 + dg.exp(-2.0 * x))
    orders = [y]
    for _ in range(6):
        orders.append(dg.gradients(orders[-1], x)[0])
    a = np.linspace(-2, 2, 9)
    got = value(orders, {x: a})
    # d/dx of a polynomial in t = tanh x is its derivative times (1 - t^2).
    poly = np.polynomial.Polynomial([0.0, 1.0])
    for order in got:
        np.testing.assert_allclose(order, poly(np.tanh(a)), rtol=1e-9, atol=1e-9)
        poly = poly.deriv() * np.polynomial.Polynomial([1.0, 0.0, -1.0])


def test_numeric_derivatives_of_a_small_network():
    rng = np.random.default_rng(1)
    x = dg.constant(rng.normal(size=(5, 4)))
    w = dg.placeholder(dg.float64, [4, 3])
    b = dg.placeholder(dg.float64, [3])
    h = dg.tanh(dg.matmul(x, w) + b)
    loss = dg.reduce_mean(dg.square(dg.reduce_sum(h, 1)))
    grads = dg.gradients(loss, [w, b])
    values = [rng.normal(size=(4, 3)), rng.normal(size=3)]
    session = dg.Session()
    call = session.make_callable(loss, [w, b])
    for array, g in zip(
        values, session.run(grads, dict(zip([w, b], values, strict=True))), strict=True
    ):
        for i in np.ndindex(array.shape):
            kept = array[i]
            array[i] = kept + 1e-6
            up = call(*values)
            array[i] = kept - 1e-6
            down = call(*values)
            array[i] = kept
            assert g[i] == pytest.approx((up - down) / 2e-6, rel=1e-6, abs=1e-8)


# -- what is built ----------------------------------------------


def test_a_fan_in_is_summed_by_one_node(graph):
    x = dg.constant([1.0, 2.0])
    y = dg.add_n([f(x) for f in (dg.sin, dg.cos, dg.exp, dg.tanh, dg.square)])
    size = len(graph)
    (g,) = dg.gradients(y, x)
    made = graph.get_operations()[size:]
    (total,) = [op for op in made if op.type == "AddN"]
    assert total is g.op
    assert len(total.inputs) == 5
    assert total.forward_op is x.op


def test_the_same_cotangent_many_times_is_summed_right():
    x = dg.placeholder(dg.float32, [3])
    h = dg.exp(x)
    y = dg.reduce_sum(dg.exp(h + h + h + h))
    a = np.array([0.1, -0.2, 0.3], np.float32)
    (got,) = value(dg.gradients(y, x), {x: a})
    e = np.exp(a)
    np.testing.assert_allclose(got, 4 * e * np.exp(4 * e), rtol=1e-5)


def test_only_operations_between_xs_and_ys_are_touched(graph):
    x = dg.constant([1.0, 2.0])
    before = dg.exp(x)
    h = dg.sin(before)
    aside = dg.cos(h)
    y = dg.square(h)
    after = dg.exp(y)
    size = len(graph)
    dg.gradients(y, h)
    made = graph.get_operations()[size:]
    assert {op.forward_op for op in made} <= {None, y.op}
    for op in made:
        assert not {x, before, aside, after} & set(op.inputs)


def test_backward_nodes_know_scope_forward_op_and_line(graph):
    with dg.name_scope("layer"):
        x = dg.constant([1.0, 2.0])
        y = dg.tanh(x, name="act")
    size = len(graph)
    dg.gradients(y, x)
    made = graph.get_operations()[size:]
    assert all(op.name.startswith("gradients/") for op in made)
    backward = [op for op in made if op.forward_op is y.op]
    assert backward
    for op in backward:
        assert op.name.startswith("gradients/layer/act_grad/")
        assert op.source.filename == __file__
        assert "tanh" in op.forward_op.source.text
        assert "gradients" in op.source.text


def test_scopes_of_repeated_calls(graph):
    x = dg.constant(1.0)
    y = x * x
    dg.gradients(y, x)
    with dg.name_scope("outer"):
        dg.gradients(y, x)
        dg.gradients(y, x, name="mine")
    names = {
        op.name.rpartition("gradients")[0] + "..." for op in graph.get_operations()
    }
    scopes = {op.name.split("/")[0] for op in graph.get_operations()}
    assert {"gradients", "outer"} <= scopes
    assert "outer/..." in names
    assert any(op.name.startswith("outer/mine/") for op in graph.get_operations())
    assert graph.get_name_scope() == ""


def test_a_failed_call_leaves_the_context_as_it_was(graph):
    v = dg.Variable([1.0])
    x = dg.constant([2.0])
    with pytest.raises(LookupError, match="Assign"):
        dg.gradients(v.assign(x * 2.0), x)
    assert graph.get_name_scope() == ""
    assert dg.ones([]).op.forward_op is None
    assert "/" not in dg.constant(1.0, name="free").op.name
    graph.validate()


def test_an_unconnected_x_costs_nothing(graph):
    x, z = dg.constant([1.0]), dg.constant([2.0])
    for _ in range(50):
        z = dg.sin(z)
    size = len(graph)
    assert dg.gradients(z, x) == [None]
    assert len(graph) - size <= 1  # the seed


def test_gradients_of_a_plan_with_control_dependencies(graph):
    v = dg.Variable([1.0])
    with graph.control_dependencies([v.assign_add([1.0])]):
        y = v * v
    with dg.Session() as s:
        s.run(v.initializer)
        assert s.run(dg.gradients(y, v)) == [[4.0]]


# -- bad arguments ----------------------------------------------


def test_grad_ys_that_do_not_fit():
    x = dg.constant([1.0, 2.0])
    y = x * x
    with pytest.raises(ValueError, match=r"grad_ys\[0\].*\(3,\)"):
        dg.gradients(y, x, grad_ys=dg.ones([3]))
    with pytest.raises(TypeError, match="float64"):
        dg.gradients(y, x, grad_ys=dg.ones([2], dg.float64))
    with pytest.raises(ValueError, match="2 grad_ys were given for 1 ys"):
        dg.gradients(y, x, grad_ys=[None, None])


def test_an_x_of_another_graph():
    with dg.Graph().as_default():
        far = dg.constant(1.0)
    near = dg.constant(1.0)
    with pytest.raises(LookupError, match="another graph"):
        dg.gradients(near * 2.0, far)


def test_the_list_can_be_made_anew_as_nests_do():
    """What a body gives back may be what gradients gave."""
    x = dg.placeholder(dg.float64, [])
    found = dg.gradients(x * x, [x])
    assert isinstance(found, list)
    assert type(found)(found) == list(found)

    def body(n, carried):
        return n + 1, dg.gradients(carried[0] ** 2, carried)

    _, (y,) = dg.while_loop(lambda n, _: n < 3, body, (dg.constant(0), [x]))
    with dg.Session() as session:
        assert session.run(y, {x: 1.5}) == 12.0
