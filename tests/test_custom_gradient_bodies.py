"""custom_gradient wherever an operation may stand: rows, equations, loops, files.

The function and what it stands for give the same derivatives, to any order.
"""

from __future__ import annotations

import functools

import numpy as np
import pytest
from fresh_session import value

import dagrad as dg
from dagrad.graphlib.errors import GradientError, GraphError
from dagrad.ops.custom import custom_gradient
from dagrad.python.framework.function import Defun

pytestmark = pytest.mark.usefixtures("graph")

X = np.array([0.3, 0.7, 1.1])


@custom_gradient
def by_hand(a):
    c = dg.cos(a)
    return dg.sin(a), lambda dy: dy * c


@custom_gradient
def by_gradients(a):
    y = dg.sin(a)
    return y, lambda dy: dg.gradients(y, a, dy)[0]


@custom_gradient
def by_itself(a):
    return dg.exp(a), lambda dy: dy * by_itself(a)


@custom_gradient
def by_another(a):
    return dg.sin(a), lambda dy: dy * another(a)


@custom_gradient
def another(a):
    return dg.cos(a), lambda dy: -dy * by_another(a)


def made_anew(a):
    return custom_gradient(lambda z: (dg.exp(z), lambda dy: dy * made_anew(z)))(a)


@custom_gradient
def with_jvp(a):
    return dg.sin(a), lambda dy: dy * dg.cos(a)


@with_jvp.def_jvp
def moved(primals, tangents):
    return tangents[0] * dg.cos(primals[0])


FUNCTIONS = {
    "by_hand": (by_hand, dg.sin),
    "by_gradients": (by_gradients, dg.sin),
    "by_itself": (by_itself, dg.exp),
    "by_another": (by_another, dg.sin),
    "made_anew": (made_anew, dg.exp),
    "with_jvp": (with_jvp, dg.sin),
}


def looped(f, z):
    return dg.while_loop(
        lambda i, z: i < 3, lambda i, z: (i + 1, f(z * 0.5) + z), [0, z]
    )[1]


def until(f, z):
    """A loop whose iterations differ between rows."""
    return dg.while_loop(lambda z: z < 3.0, lambda z: f(z * 0.5) + z, [z])


def split(f, z):
    return dg.cond(z > 0.5, lambda: f(z) * z, lambda: f(z * 2.0))


def defined(f, z):
    def grad(op, g):
        a, b = op.inputs
        return g * b * dg.gradients(f(a), a)[0], g * f(a)

    product = Defun(dg.float64, dg.float64, python_grad_func=grad)(
        lambda a, b: f(a) * b
    )
    return product(z, z * 2.0)


def rooted(f, z):
    def equation(u):
        return u * 3.0 + f(u * 0.5) * 0.1 - z

    return dg.custom_root(
        equation,
        z,
        lambda g, x0: dg.newton(g, x0),
        lambda product, b: b / product(dg.ones_like(b)),
    )


#: Of a function and a number.
PLACES = {
    "alone": lambda f, z: f(z) * z,
    "while": looped,
    "until": until,
    "cond": split,
    "function": lambda f, z: dg.function(lambda u: f(u) * u)(z),
    "recomputed": lambda f, z: dg.recompute_grad(lambda u: f(u) * u)(z),
    "defun": defined,
    "newton": lambda f, z: dg.newton(lambda u: u * 3.0 + f(u * 0.5) * 0.1 - z, z),
    "fixed_point": lambda f, z: dg.fixed_point(lambda u: f(u) * 0.1 + z, z),
    "root": rooted,
    "rows": lambda f, z: dg.reduce_sum(
        dg.vectorized_map(lambda e: f(e * z), dg.constant(X))
    ),
    "slope": lambda f, z: dg.gradients(f(z) * z, z)[0],
    "scan": lambda f, z: dg.scan(
        lambda c, e: f(c * e) + z, dg.constant(X), initializer=z
    )[-1],
}


def derivatives(y, x):
    """First and second derivatives in both modes, and one third."""
    (pulled,) = dg.gradients(y, x)
    (pushed,) = dg.jvp(y, x)
    (second,) = dg.gradients(pulled, x)
    return [
        y,
        pulled,
        pushed,
        second,
        *dg.jvp(pulled, x),
        *dg.jvp(pushed, x),
        *dg.gradients(pushed, x),
        *dg.gradients(second, x),
    ]


def both(build):
    """What ``build`` makes for a function and for what it stands for, computed."""
    with dg.Graph().as_default():
        return value(build())


def at_place(place, around, f):
    """An x, and what a function of it gives at a place."""
    x = dg.constant(X if around else X[1], name="x")
    at = PLACES[place]
    return x, dg.vectorized_map(lambda e: at(f, e), x) if around else at(f, x)


@functools.cache
def wanted_at(place, around, plain):
    """Derivatives of what a function stands for: several stand for the same."""
    return both(lambda: derivatives(*at_place(place, around, plain)[::-1]))


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("around", [False, True], ids=["one", "rows"])
def test_every_place(function, place, around):
    own, plain = FUNCTIONS[function]
    got = both(lambda: derivatives(*at_place(place, around, own)[::-1]))
    for g, w in zip(got, wanted_at(place, around, plain), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-7)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_derivatives_of_vectors(function):
    def built(f):
        x = dg.constant(X)
        y = dg.vectorized_map(lambda e: f(e * x[0]) * e, x)
        twice = dg.vectorized_map(lambda a: dg.vectorized_map(lambda b: f(a * b), x), x)
        each = dg.per_example_gradients(y, x)
        return [
            dg.jacobian(f(x * x) * x, x),
            dg.jacobian(y, x),
            dg.hessian(dg.reduce_sum(f(x * x) * x), x),
            dg.hessian(dg.reduce_sum(y * y), x),
            dg.gradients(each * each, x)[0],
            dg.gradients(dg.gradients(twice, x)[0], x)[0],
            *dg.derivatives(y, x, 3),
        ]

    got, wanted = (both(lambda f=f: built(f)) for f in FUNCTIONS[function])
    for g, w in zip(got, wanted, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-7)


@pytest.mark.parametrize(
    "place", ["alone", "while", "until", "cond", "function", "rows"]
)
@pytest.mark.parametrize("function", ["by_hand", "by_gradients", "with_jvp"])
@pytest.mark.parametrize("around", [False, True], ids=["one", "rows"])
def test_a_loaded_graph_has_the_derivatives(function, place, around, tmp_path):
    f, plain = FUNCTIONS[function]

    with dg.Graph().as_default() as first:
        dg.identity(at_place(place, around, f)[1], name="y")
        first.validate()
        first.save(tmp_path / "g.json")
    loaded = dg.Graph.load(tmp_path / "g.json")
    loaded.validate()
    loaded.save(tmp_path / "h.json")
    assert (tmp_path / "g.json").read_bytes() == (tmp_path / "h.json").read_bytes()
    with loaded.as_default():
        x, y = (loaded.get_tensor_by_name(n) for n in ("x:0", "y:0"))
        got = value(derivatives(y, x))
    for g, w in zip(got, wanted_at(place, around, plain), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-7)


def test_a_loaded_forward_rule_is_the_given_one(graph, tmp_path):
    f = custom_gradient(lambda a: (a * a, lambda g: dg.clip_by_value(g, -1.0, 1.0)))
    f.def_jvp(lambda xs, ts: 100.0 * ts[0] * xs[0])
    x = dg.constant(X, name="x")
    dg.identity(f(x), name="y")
    dg.identity(dg.vectorized_map(f, x), name="rows")
    graph.save(tmp_path / "g.json")
    loaded = dg.Graph.load(tmp_path / "g.json")
    with loaded.as_default():
        x = loaded.get_tensor_by_name("x:0")
        for name in ("y:0", "rows:0"):
            y = loaded.get_tensor_by_name(name)
            np.testing.assert_allclose(value(dg.jvp(y, x)[0]), 100.0 * X)
            got = value(dg.gradients(5.0 * y, x)[0])
            np.testing.assert_array_equal(got, np.ones(3))


def test_a_forward_rule_that_comes_later_holds_for_rows_too():
    f = custom_gradient(lambda a: (a * a, lambda g: g * a))
    x = dg.constant(X)
    y = dg.vectorized_map(f, x)
    f.def_jvp(lambda xs, ts: 100.0 * ts[0] * xs[0])
    np.testing.assert_allclose(value(dg.jvp(y, x)[0]), 100.0 * X)


@pytest.mark.parametrize("read", ["value", "read_value"])
@pytest.mark.parametrize("place", ["alone", "while", "cond", "function", "newton"])
@pytest.mark.parametrize("around", [False, True], ids=["one", "rows"])
def test_variables_and_tensors_that_a_gradient_reads(place, around, read):
    def built(own):
        v = dg.get_variable("v", [], dg.float64, dg.constant_initializer(0.7))
        hidden = dg.constant(2.0, dg.float64) * 0.5

        @custom_gradient
        def given(a):
            def grad(dy, variables):
                assert variables == [v]
                here = getattr(v, read)() * hidden
                return dy * dg.cos(a) * here, [dy * dg.sin(a) * hidden]

            return dg.sin(a) * v, grad

        f = given if own else lambda a: dg.sin(a) * v
        x = dg.constant(X if around else X[1])
        at = PLACES[place]
        y = dg.vectorized_map(lambda e: at(f, e), x) if around else at(f, x)
        first = dg.gradients(y, [x, v])
        return [y, *first, *dg.gradients(first[0], x)]

    got, wanted = (both(lambda own=own: built(own)) for own in (True, False))
    for g, w in zip(got, wanted, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-7)


def test_rows_as_cotangents_of_rows():
    @custom_gradient
    def second(a):
        return a[1], lambda dy: dg.IndexedSlices(dg.reshape(dy, [1]), [1], a)

    x = dg.constant(X)
    y = dg.vectorized_map(lambda e: second(e * x), x)
    got = value(dg.gradients(y, x)[0])
    np.testing.assert_allclose(got, [X[1], X[1] + X.sum(), X[1]])


def test_several_results_of_which_some_are_none_or_integers():
    @custom_gradient
    def f(a, b):
        y = a * b, dg.cast(b, dg.int32), a + b
        return y, lambda g, _, h: (g * 3.0 + h, None)

    x = dg.constant(X)
    y, k, z = dg.vectorized_map(lambda e: f(e, 2.0), x)
    got = value([k, *dg.gradients([y, z], x)])
    np.testing.assert_array_equal(got[0], [2, 2, 2])
    np.testing.assert_array_equal(got[1], [4.0, 4.0, 4.0])


def test_what_recursion_reads_goes_along():
    w = dg.constant(0.5, dg.float64)

    @custom_gradient
    def f(a):
        return dg.exp(a), lambda dy: dy * f(a) * w * 2.0

    y = x = dg.constant(X)
    y = dg.vectorized_map(f, x)
    for _ in range(4):
        (y,) = dg.gradients(y, x)
    np.testing.assert_allclose(value(y), np.exp(X))


# -- what grad_fn does beside ----------------------------------------------------------


def test_what_it_collects_counts_where_it_is_differentiated():
    @custom_gradient
    def f(a):
        def grad(dy):
            dg.add_to_collection("seen", dy)
            return dy

        return a * 1.0, grad

    x = dg.constant(X)
    y = f(x)
    assert dg.get_collection("seen") == []
    dg.gradients(y * 4.0, x)
    (seen,) = dg.get_collection("seen")
    np.testing.assert_array_equal(value(seen), [4.0, 4.0, 4.0])


def test_a_variable_that_it_makes_is_made_once():
    @custom_gradient
    def f(a):
        def grad(dy):
            return dy * dg.get_variable("s", [], dg.float64, dg.ones_initializer())

        return a * 1.0, grad

    x = dg.constant(X)
    y = f(x)
    assert dg.global_variables() == []
    (g,) = dg.gradients(y, x)
    np.testing.assert_array_equal(value(g), np.ones(3))


def test_what_it_writes_is_written_where_it_stands_and_nowhere_else():
    count = dg.get_variable("count", [], initializer=dg.zeros_initializer())

    @custom_gradient
    def f(a):
        def grad(dy):
            with dg.control_dependencies([dg.assign_add(count, 1.0)]):
                return dg.identity(dy)

        return a * 1.0, grad

    x = dg.constant(X)
    y, rows = f(x), dg.vectorized_map(f, x)
    (g,) = dg.gradients(y, x)
    with dg.Session() as session:
        session.run(dg.global_variables_initializer())
        session.run([g, rows])
        assert session.run(count) == 1.0
    with pytest.raises(GradientError, match=r"write a variable.*\n.*_bodies\.py"):
        dg.gradients(rows, x)


def test_one_that_fails_fails_when_it_is_wanted():
    @custom_gradient
    def f(a):
        def grad(dy):
            raise NotImplementedError("no slope")

        return a * 1.0, grad

    x = dg.constant(X)
    for y in (f(x), dg.vectorized_map(f, x)):
        np.testing.assert_array_equal(value(y), X)
        with pytest.raises(NotImplementedError, match="no slope"):
            dg.gradients(y, x)


def test_a_wrong_number_of_gradients_of_rows_names_the_line():
    x = dg.constant(X)
    y = dg.vectorized_map(custom_gradient(lambda a: (a * 1.0, lambda g: (g, g))), x)
    with pytest.raises(GradientError, match="2 gradients for 1 arg") as error:
        dg.gradients(y, x)
    assert "test_custom_gradient_bodies.py" in str(error.value)


def test_what_is_known_later_serves_where_the_function_is_called_only():
    later = {}

    @custom_gradient
    def f(a):
        return a * 1.0, lambda g: g * later["w"]

    x = dg.constant(X)
    y, rows = f(x), dg.vectorized_map(f, x)
    later["w"] = dg.constant(4.0, dg.float64)
    np.testing.assert_array_equal(value(dg.gradients(y, x)[0]), [4.0, 4.0, 4.0])
    with pytest.raises(GradientError, match="make it an argument"):
        dg.gradients(rows, x)


def test_what_calls_itself_is_not_saved(graph, tmp_path):
    by_itself(dg.constant(1.0))
    with pytest.raises(GraphError, match=r"CustomGradient.*GradientFunction"):
        graph.save(tmp_path / "g.json")


def test_the_trace_is_not_in_the_graph(graph):
    x = dg.constant(X)
    y = by_gradients(x)
    assert [op.type for op in graph.operations] == ["Const", "Sin", "CustomGradient"]
    with graph.gradient_override_map({"Cos": "Identity"}) as scope:
        by_hand(x)
    assert scope.matched == 1  # of the function, none of its gradient
    assert dg.explain_gradient(y, x).status == "connected"
