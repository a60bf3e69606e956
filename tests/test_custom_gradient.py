"""Derivatives that the program gives: custom_gradient, overrides, refusals."""

from __future__ import annotations

import collections
import warnings

import numpy as np
import pytest
from fresh_session import value

import dagrad as dg
from dagrad.graphlib.errors import GradientWarning, RegistrationError
from dagrad.graphlib.overrides import NotDifferentiable, RegisterGradient
from dagrad.ops.custom import (
    custom_gradient,
    grad_pass_through,
    identity_n,
    prevent_gradient,
)

pytestmark = pytest.mark.usefixtures("graph")


def tripled(x):
    """x², whose gradient is said to be 3 g x."""
    return custom_gradient(lambda x: (x * x, lambda g: 3.0 * g * x))(x)


# -- custom_gradient ------------------------------------------------------------------


def test_the_given_gradient_counts_not_that_of_the_function():
    x = dg.constant([1.0, 2.0])
    y = tripled(x)
    got = value([y, *dg.gradients(y, x)])
    np.testing.assert_array_equal(got, [[1.0, 4.0], [3.0, 6.0]])


def test_tf1s_log1pexp_stays_finite():
    # TF 1.15's docstring: at 100 the plain gradient is NaN, this one is 1.
    @custom_gradient
    def log1pexp(x):
        e = dg.exp(x)
        return dg.log(1.0 + e), lambda dy: dy * (1.0 - 1.0 / (1.0 + e))

    x = dg.constant(100.0)
    assert value(dg.gradients(log1pexp(x), x)) == [1.0]


def test_it_costs_nothing_at_run_time():
    x = dg.placeholder(dg.float32, [3])
    pair = custom_gradient(lambda x: ([x + 1.0, x * 2.0], lambda a, b: a + 2.0 * b))
    y, z = pair(x)
    total = y * z
    with dg.Session() as session:
        np.testing.assert_array_equal(session.run(total, {x: [0, 1, 2]}), [0, 4, 12])
        plan = session.plan(total, {x: [0, 1, 2]})
    assert {s.opdef.type for s in plan.steps} == {"Add", "Mul"}


def test_nested_results_keep_their_structure():
    point = collections.namedtuple("point", "u v")

    @custom_gradient
    def f(x, y):
        made = {"b": [x, (y,)], "a": point(x * y, x - y)}
        # dy come by sorted keys, as TF1 flattens: a.u, a.v, b[0], b[1][0].
        return made, lambda u, v, p, q: (u * 10.0 + v, p * 100.0 + q)

    x, y = dg.constant(2.0), dg.constant(5.0)
    got = f(x, y)
    assert list(got) == ["b", "a"]
    assert type(got["a"]) is point
    assert isinstance(got["b"], list)
    assert isinstance(got["b"][1], tuple)
    ys = [got["a"].u, got["a"].v, got["b"][0], got["b"][1][0]]
    assert value(ys) == [10.0, -3.0, 2.0, 5.0]
    assert value(dg.gradients(ys, [x, y], [1.0, 2.0, 3.0, 4.0])) == [12.0, 304.0]


def test_results_that_nothing_reads_have_cotangents_of_zeros():
    @custom_gradient
    def f(x):
        return (x * 1.0, x * 2.0), lambda g, h: g + 5.0 * h

    x = dg.constant(1.0)
    first, second = f(x)
    assert value(dg.gradients(first, x)) == [1.0]
    assert value(dg.gradients(second, x)) == [5.0]


def test_second_derivatives_differentiate_what_grad_fn_built():
    x = dg.constant(2.0)

    @custom_gradient
    def cube(x):
        y = x * x * x
        return y, lambda g: g * 3.0 * x * x

    (first,) = dg.gradients(cube(x), x)
    (second,) = dg.gradients(first, x)
    (third,) = dg.gradients(second, x)
    assert value([first, second, third]) == [12.0, 12.0, 6.0]


def test_variables_that_the_function_reads_get_their_own_gradients():
    v = dg.get_variable("v", [], initializer=dg.constant_initializer(7.0))
    unused = dg.get_variable("unused", [], initializer=dg.constant_initializer(1.0))

    @custom_gradient
    def f(x):
        def grad(dy, variables=None):
            assert variables == [v]
            return dy * 10.0, [dy * 100.0]

        return x * v, grad

    x = dg.constant(3.0)
    y = f(x)
    assert value([y, *dg.gradients(y, [x, v])]) == [21.0, 10.0, 100.0]
    assert dg.gradients(y, unused) == [None]
    assert value(dg.jvp(y, v)) == [100.0]


def test_a_variable_made_inside_counts_too():
    @custom_gradient
    def dense(x):
        w = dg.get_variable("w", [], initializer=dg.constant_initializer(2.0))
        return x * w, lambda dy, variables: (dy * w, [dy * x + 0.5])

    x = dg.constant(3.0)
    y = dense(x)
    (w,) = dg.trainable_variables()
    assert value(dg.gradients(y, [x, w])) == [2.0, 3.5]


def test_a_variable_as_an_argument_is_an_argument():
    v = dg.get_variable("v", [], initializer=dg.constant_initializer(7.0))
    y = custom_gradient(lambda a: (a * a, lambda dy: dy * 5.0))(v)
    assert value(dg.gradients(y, v)) == [5.0]


def test_using_variables_without_the_keyword_is_refused():
    v = dg.get_variable("v", [])
    with pytest.raises(TypeError, match=r"v:0.*variables=None"):
        custom_gradient(lambda x: (x * v, lambda dy: dy))(dg.constant(1.0))


@pytest.mark.parametrize("made", [lambda x: x, lambda x: (x, x), lambda x: (x, 1, 2)])
def test_a_function_that_returns_no_pair_is_refused(made):
    with pytest.raises(TypeError, match="must return a pair"):
        custom_gradient(made)(dg.constant(1.0))


def test_a_wrong_number_of_gradients_names_the_operation_and_the_line():
    x = dg.constant(1.0)
    y = custom_gradient(lambda x: (x, lambda g: (g, g)))(x)
    with pytest.raises(dg.errors.GradientError, match="2 gradients for 1 arg") as error:
        dg.gradients(y, x)
    assert "test_custom_gradient.py" in str(error.value)


def test_nothing_goes_to_tensors_that_are_no_arguments():
    hidden = dg.constant(3.0)
    x = dg.constant(2.0)
    y = custom_gradient(lambda x: (x * hidden, lambda g: g))(x)
    assert dg.gradients(y, hidden) == [None]
    assert dg.jvp(y, hidden) == [None]


def test_keywords_and_methods():
    class Scaled:
        factor = 4.0

        @custom_gradient
        def apply(self, x, shift=0.0):
            return x * self.factor + shift, lambda g: g * -1.0

    x = dg.constant(2.0)
    y = Scaled().apply(x, shift=1.0)
    assert value([y, *dg.gradients(y, x)]) == [9.0, -1.0]


def test_forward_mode_transposes_the_given_gradient():
    x = dg.constant([1.0, 2.0])
    (t,) = dg.jvp(tripled(x), x, [dg.constant([1.0, -1.0])])
    np.testing.assert_array_equal(value(t), [3.0, -6.0])


def test_a_forward_rule_goes_first():
    @custom_gradient
    def f(x, y):
        return x * y, lambda g: (g * y, g * x)

    x, y = dg.constant(3.0), dg.constant(5.0)
    z = f(x, y)
    assert value(dg.jvp(z, [x, y])) == [8.0]

    @f.def_jvp
    def moved(primals, tangents):
        assert len(primals) == len(tangents) == 2
        return tangents[0] * 1000.0 + tangents[1]

    assert value(dg.jvp(z, [x, y])) == [1001.0]
    assert value(dg.jvp(z, x)) == [1000.0]
    same = custom_gradient(lambda x: (x, lambda g: g), jvp=lambda xs, ts: ts[0] * 9.0)
    assert value(dg.jvp(same(x), x)) == [9.0]


def test_a_deep_chain():
    x = dg.constant(1.0)
    y = x
    for _ in range(3000):
        y = custom_gradient(lambda t: (t + 1.0, lambda g: g))(y)
    assert value([y, *dg.gradients(y, x)]) == [3001.0, 1.0]


def test_identity_n_waits_for_its_controls():
    a = dg.get_variable("a", [], initializer=dg.constant_initializer(1.0))
    with dg.control_dependencies([dg.assign(a, 5.0)]):
        x, y = identity_n([a, dg.constant(2.0)])
    assert value([x, y]) == [5.0, 2.0]


def test_straight_through():
    x = dg.constant([0.2, 1.7])
    y = grad_pass_through(dg.round)(x)
    np.testing.assert_allclose(value([y, *dg.gradients(y * 3.0, x)]), [[0, 2], [3, 3]])


def test_pass_through_gives_variables_nothing():
    v = dg.get_variable("v", [], initializer=dg.constant_initializer(7.0))
    x = dg.constant(2.0)
    y = grad_pass_through(lambda x: x * v)(x)
    gx, gv = dg.gradients(y, [x, v])
    assert value(gx) == 1.0
    assert gv is None


# -- gradient_override_map ------------------------------------------------------------


@RegisterGradient("TestHalf")
def half(op, grad):
    return grad * 0.5


@RegisterGradient("TestGuided")
def guided(op, grad):
    """Guided backpropagation (Springenberg et al. 2014)."""
    return dg.where(
        grad > 0.0,
        dg.where(op.outputs[0] > 0.0, grad, dg.zeros_like(grad)),
        dg.zeros_like(grad),
    )


def test_guided_backpropagation(graph):
    x = dg.constant([-1.0, 1.0, 2.0])
    with graph.gradient_override_map({"Relu": "TestGuided"}) as scope:
        y = dg.nn.relu(x)
    assert scope.matched == 1
    got = value(dg.gradients(y, x, [dg.constant([1.0, -1.0, 3.0])])[0])
    np.testing.assert_array_equal(got, [0.0, 0.0, 3.0])


def test_the_gradient_of_another_op_type(graph):
    x = dg.constant([0.4, 1.6])
    with graph.gradient_override_map({"Round": "Identity", "Sign": "Identity"}):
        y = dg.round(x) + 2.0 * dg.sign(x)
    np.testing.assert_array_equal(value(dg.gradients(y, x)[0]), [3.0, 3.0])


def test_an_override_holds_inside_its_scope_only(graph):
    x = dg.constant(2.0)
    with graph.gradient_override_map({"Square": "TestHalf"}):
        inside = dg.square(x)
        with graph.gradient_override_map({"Square": "Identity"}):
            inner = dg.square(x)
    outside = dg.square(x)
    got = [dg.gradients(y, x)[0] for y in (inside, inner, outside)]
    assert value(got) == [0.5, 1.0, 4.0]
    assert inside.op.get_attr("_gradient_op_type") == "TestHalf"
    assert "_gradient_op_type" not in outside.op.attrs


def test_forward_mode_respects_an_override(graph):
    x = dg.constant([2.0, 3.0])
    with graph.gradient_override_map({"Square": "TestHalf"}):
        y = dg.square(x)
    np.testing.assert_array_equal(value(dg.jvp(y, x)[0]), [0.5, 0.5])


def test_identity_n_with_one_gradient_for_all(graph):
    @RegisterGradient("TestSwap")
    def swap(op, g, h):
        assert len(op.inputs) == 2
        return h, g

    a, b = dg.constant(1.0), dg.constant(2.0)
    with graph.gradient_override_map({"IdentityN": "TestSwap"}):
        x, y = dg.identity_n([a, b])
    assert value(dg.gradients(x * 10.0 + y, [a, b])) == [1.0, 10.0]


def test_an_overridden_read_does_not_pass_rows_by(graph):
    table = dg.get_variable("t", [3, 2], initializer=dg.ones_initializer())
    with graph.gradient_override_map({"Identity": "TestHalf"}):
        rows = dg.gather(dg.identity(table), [1])
    got = value(dg.gradients(rows, table)[0])
    np.testing.assert_array_equal(got, [[0, 0], [0.5, 0.5], [0, 0]])


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [({"Rond": "TestHalf"}, "Round"), ({"Round": "TestHalff"}, "TestHalf")],
)
def test_names_that_there_are_not(graph, wrong, hint):
    with pytest.raises(KeyError, match=f"did you mean.*'{hint}'"):
        graph.gradient_override_map(wrong)


def test_what_is_no_map_of_strings(graph):
    for wrong in ([("Round", "TestHalf")], {1: "TestHalf"}, {"Round": half}):
        with pytest.raises(TypeError, match="gradient_override_map takes a dict"):
            graph.gradient_override_map(wrong)


def test_a_scope_in_which_nothing_matched_warns(graph):
    x = dg.constant(1.0)
    with (
        pytest.warns(GradientWarning, match="no operation of type 'Relu'") as caught,
        graph.gradient_override_map({"Relu": "TestHalf"}),
    ):
        dg.square(x)
    assert caught[0].filename == __file__
    with warnings.catch_warnings(), pytest.raises(ZeroDivisionError):
        warnings.simplefilter("error")
        with graph.gradient_override_map({"Relu": "TestHalf"}):
            raise ZeroDivisionError


def test_a_wrong_number_of_results_names_the_operation(graph):
    @RegisterGradient("TestTooMany")
    def many(op, grad):
        return [grad, grad]

    x = dg.constant(1.0)
    with graph.gradient_override_map({"Square": "TestTooMany"}):
        y = dg.square(x)
    with pytest.raises(dg.errors.GradientError, match=r"Square.*2 cotangents"):
        dg.gradients(y, x)


def test_a_name_is_registered_once():
    for name in ("TestHalf", "Relu"):
        with pytest.raises(RegistrationError, match=name):
            RegisterGradient(name)(half)
    with pytest.raises(KeyError, match=r"test_custom_gradient\.py:\d+"):
        RegisterGradient("TestHalf")(half)
    with pytest.raises(TypeError, match="no string"):
        RegisterGradient(half)


def test_not_differentiable(graph):
    NotDifferentiable("TestConstant")
    NotDifferentiable("Floor")  # as it is
    with pytest.raises(RegistrationError):
        NotDifferentiable("Relu")
    x = dg.constant(2.0)
    with graph.gradient_override_map({"Square": "TestConstant"}):
        y = dg.square(x)
    assert dg.gradients(y, x) == [None]
    assert dg.jvp(y, x) == [None]


def test_an_override_is_saved_by_its_name(graph, tmp_path):
    x = dg.constant(3.0, name="x")
    with graph.gradient_override_map({"Square": "TestHalf"}):
        dg.square(x, name="y")
    graph.validate()
    graph.save(tmp_path / "g.json")
    loaded = dg.Graph.load(tmp_path / "g.json")
    x, y = loaded.get_tensor_by_name("x:0"), loaded.get_tensor_by_name("y:0")
    with loaded.as_default():
        (g,) = dg.gradients(y, x)
        assert dg.Session(graph=loaded).run([y, g]) == [9.0, 0.5]
    text = (tmp_path / "g.json").read_text().replace("TestHalf", "TestGone")
    (tmp_path / "g.json").write_text(text)
    with pytest.raises(dg.errors.GraphError, match=r"TestGone.*RegisterGradient"):
        dg.Graph.load(tmp_path / "g.json")


def test_an_override_outlives_vectorisation(graph):
    def halved(r):
        with graph.gradient_override_map({"Square": "TestHalf"}):
            return dg.square(r) * 3.0

    xs = dg.constant([[1.0, 2.0], [3.0, 4.0]])
    for mapped in (dg.vectorized_map, dg.map_fn):
        y = mapped(halved, xs)
        (g,) = dg.gradients(y, xs)
        np.testing.assert_array_equal(value(y), 3.0 * value(xs) ** 2)
        np.testing.assert_array_equal(value(g), np.full((2, 2), 1.5))


def test_an_override_has_no_other_rule_of_the_op(graph):
    x = dg.constant([1.0, 2.0, 3.0])
    with graph.gradient_override_map(
        {"Square": "TestHalf", "Neg": "TestSmeared", "Sqrt": "TestHalf"}
    ):
        ops = [f(x).op for f in (dg.square, dg.negative, dg.sqrt)]
    for op in ops:
        opdef = op.opdef
        assert (opdef.jvp, opdef.jet, opdef.batch) == (None, None, None)
        assert (opdef.linear, opdef.singular) == (False, ())
    # A Jacobian by its pattern, a Taylor coefficient: the given derivative counts.
    y = ops[1].outputs[0]
    np.testing.assert_array_equal(value(dg.jacobian(y, x)), np.ones((3, 3)))
    sparse = dg.sparse_jacobian(y, x)
    np.testing.assert_array_equal(value(sparse).toarray(), np.ones((3, 3)))
    first, second = dg.derivatives(ops[0].outputs[0], x, 2)
    np.testing.assert_array_equal(value(first), [0.5, 0.5, 0.5])
    assert second is None or not np.any(value(second))


@RegisterGradient("TestSmeared")
def smeared(op, grad):
    """Every element of the result, with every element of the input."""
    return dg.reduce_sum(grad) + dg.zeros_like(op.inputs[0])


def test_an_override_of_an_operation_with_bodies(graph):
    x = dg.constant(2.0)
    with graph.gradient_override_map({"Call": "TestHalf"}):
        y = dg.function(lambda a: a * a * a)(x)
    (g,) = dg.gradients(y, x)
    assert value([y, g]) == [8.0, 0.5]
    assert value(dg.jvp(y, x)) == [0.5]
    assert dg.explain_gradient(y, x).status == "connected"
    loop = dg.while_loop(lambda i, a: i < 3, lambda i, a: (i + 1, y + a), [0, x])[1]
    assert value(dg.gradients(loop, x)) == [2.5]


def test_tf1s_places_of_the_names():
    from dagrad.python.framework import ops

    for name in ("NoGradient", "NotDifferentiable", "RegisterGradient"):
        assert getattr(ops, name) is getattr(dg, name)
    for name in ("custom_gradient", "grad_pass_through", "numpy_function", "py_func"):
        assert name in dg.__all__


# -- refusing -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [dg.gradients, dg.jvp])
def test_prevent_gradient(mode):
    x = dg.constant([1.0, 2.0])
    y = prevent_gradient(x * 2.0, message="labels are data", name="guard")
    np.testing.assert_array_equal(value(y), [2.0, 4.0])
    with pytest.raises(LookupError, match=r"guard.*labels are data") as error:
        mode(y * 3.0, x)
    assert "test_custom_gradient.py" in str(error.value)
    assert dg.gradients(y, dg.constant(1.0)) == [None]
    with pytest.raises(LookupError, match=r"asked for through it\n"):
        mode(prevent_gradient(x), x)
