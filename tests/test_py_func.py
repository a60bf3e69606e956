"""Python functions as nodes: running, checking, deriving."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import dagrad as dg
from dagrad.graphlib.overrides import RegisterGradient
from dagrad.ops.pyfunc import numpy_function, py_func

pytestmark = pytest.mark.usefixtures("graph")


def run(fetches, feeds=None):
    return dg.Session().run(fetches, feeds)


# -- running --------------------------------------------------------------------------


def test_one_result_is_a_tensor_a_list_gives_a_list():
    x = dg.constant([1.0, 2.0])
    y = py_func(np.sinh, [x], dg.float32)
    (z,) = py_func(np.sinh, [x], [dg.float32])
    np.testing.assert_array_equal(run([y, z]), [np.sinh(np.float32([1, 2]))] * 2)
    assert y.op.type == "PyFunc"
    assert y.shape.ndims is None
    assert (
        py_func(np.sinh, [x], dg.float32, stateful=False).op.type == "PyFuncStateless"
    )


def test_several_results_of_several_dtypes():
    def f(a, s):
        return a.astype(np.int32), s + b"!", a > 1.0

    x, s = dg.constant([0.5, 1.5]), dg.constant("hi")
    n, t, b = py_func(f, [x, s], [dg.int32, dg.string, dg.bool])
    got = run([n, t, b])
    np.testing.assert_array_equal(got[0], [0, 1])
    assert got[1] == b"hi!"
    np.testing.assert_array_equal(got[2], [False, True])


def test_no_result_is_an_operation_that_is_run_for_its_effect():
    seen = []
    op = py_func(seen.append, [dg.constant(3)], [])
    assert isinstance(op, dg.Operation)
    assert run(op) is None
    assert run(op) is None
    assert seen == [3, 3]


def test_a_stateful_function_is_never_merged_or_folded():
    calls = []

    def f(a):
        calls.append(1)
        return a

    x = dg.constant(1.0)
    y, z = (py_func(f, [x], dg.float32) for _ in range(2))
    assert run(y + z) == 2.0
    assert len(calls) == 2


def test_functions_with_effects_run_in_the_order_of_the_program():
    order = []

    def f(k):
        order.append(int(k))
        return np.float32(k)

    made = [py_func(f, [dg.constant(k)], dg.float32) for k in range(5)]
    run(dg.add_n(made[::-1]))
    assert order == [0, 1, 2, 3, 4]


def test_arrays_are_the_functions_own():
    kept = []

    def f(a):
        kept.append(a)
        a += 1.0
        return a

    x = dg.placeholder(dg.float32, [3])
    h = x * 2.0
    y = py_func(f, [h], dg.float32, shape=[3])
    with dg.Session() as session:
        for v in (1.0, 10.0):
            got = session.run([h, y, y * 3.0], {x: [v, v, v]})
            np.testing.assert_array_equal(got[0], [2 * v] * 3)
            np.testing.assert_array_equal(got[1], [2 * v + 1] * 3)
            np.testing.assert_array_equal(got[2], [6 * v + 3] * 3)
    np.testing.assert_array_equal(kept, [[3.0] * 3, [21.0] * 3])


def test_python_numbers_become_the_promised_dtype():
    assert run(py_func(lambda: 3, [], dg.float32)) == 3.0
    assert run(py_func(lambda: [1.5], [], [dg.float32])) == [1.5]


def test_numpy_function_is_a_stateful_py_func():
    y = numpy_function(lambda a: a * 2, [dg.constant([1, 2])], dg.int32)
    np.testing.assert_array_equal(run(y), [2, 4])
    assert y.op.type == "PyFunc"


def test_the_promised_shape_is_the_static_shape():
    y, z = py_func(
        lambda a: (a, a.sum()),
        [dg.constant([1.0])],
        [dg.float32] * 2,
        shape=[[None], []],
    )
    assert y.shape.as_list() == [None]
    assert z.shape.as_list() == []
    assert run(z) == 1.0


# -- what goes wrong ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("f", "words"),
    [
        (lambda a: a.astype(np.float64), r"float64, but Tout says float32.*astype"),
        (lambda a: (a, a), r"returned 2 values, but Tout names 1"),
        (lambda a: None, r"is None, but Tout says float32"),
        (lambda a: "text", r"float32"),
        (lambda a: 1 + 2j, r"float32"),
        (lambda a: a[:1], r"shape \(1,\), but shape= promised \(2,\)"),
    ],
)
def test_what_a_function_may_not_return(f, words):
    y = py_func(f, [dg.constant([1.0, 2.0])], dg.float32, shape=[2], name="mine")
    with pytest.raises(dg.errors.InvalidArgumentError, match=words) as error:
        run(y)
    assert 'PyFunc "mine"' in str(error.value)
    assert "test_py_func.py" in str(error.value)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ValueError("no"), dg.errors.InvalidArgumentError),
        (TypeError("no"), dg.errors.InvalidArgumentError),
        (StopIteration("no"), dg.errors.OutOfRangeError),
        (NotImplementedError("no"), dg.errors.UnimplementedError),
        (KeyError("no"), dg.errors.UnknownError),
    ],
)
def test_errors_have_tf1s_classes_the_op_and_both_lines(raised, expected):
    def broken():
        raise raised

    y = py_func(broken, [], dg.float32, name="mine")
    with pytest.raises(expected, match=r'PyFunc "mine".*broken raised') as error:
        run(y)
    text = str(error.value)
    # The line of the raise and the line that made the operation.
    assert text.count("test_py_func.py") == 2
    assert error.value.op is y.op
    chain = error.value.__cause__
    assert raised in (chain, chain.__cause__)


def test_wrong_arguments():
    with pytest.raises(TypeError, match="func must be a function"):
        py_func(3, [], dg.float32)
    with pytest.raises(TypeError, match="vjp must be a function"):
        py_func(np.sin, [1.0], dg.float32, vjp=2)
    with pytest.raises(dg.errors.ShapeError, match="1 shapes are given for 2"):
        py_func(np.sin, [1.0], [dg.float32] * 2, shape=[[]])


def test_a_graph_with_one_is_not_saved(graph, tmp_path):
    py_func(np.sin, [dg.constant(1.0)], dg.float32)
    with pytest.raises(dg.errors.GraphError, match=r"PyFunc.*func.*file cannot hold"):
        graph.save(tmp_path / "g.json")


def test_threads():
    def f(a):
        return a * 2.0

    x = dg.placeholder(dg.float32, [1000])
    y = py_func(f, [x + 1.0], dg.float32, shape=[1000]) * 1.0
    session = dg.Session()
    wrong = []

    def work(k):
        for _ in range(50):
            if not np.all(session.run(y, {x: np.full(1000, k)}) == 2 * (k + 1)):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(float(k),)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


# -- derivatives ----------------------------------------------------------------------


def outer(x, y, **rules):
    """(x ⊗ y, how often it is positive): one floating and one integer result."""

    def f(a, b):
        made = np.multiply.outer(a, b)
        return made, np.int32((made > 0).sum())

    return py_func(f, [x, y], [dg.float64, dg.int32], **rules)


def outer_vjp(inputs, outputs, cotangents):
    (a, b), (g, none) = inputs, cotangents
    assert none is None
    assert outputs[0].shape == g.shape
    return [g @ b, a @ g]


def outer_jvp(inputs, outputs, tangents):
    (a, b), (s, t) = inputs, tangents
    return [np.multiply.outer(s, b) + np.multiply.outer(a, t), None]


def feeds(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=3), rng.normal(size=2), rng.normal(size=(3, 2))


def test_the_given_functions_are_the_derivatives():
    a, b, g = feeds()
    x, y = dg.constant(a), dg.constant(b)
    z, _ = outer(x, y, vjp=outer_vjp, jvp=outer_jvp)
    gx, gy = run(dg.gradients(z, [x, y], [dg.constant(g)]))
    np.testing.assert_allclose(gx, g @ b)
    np.testing.assert_allclose(gy, a @ g)
    (t,) = run(dg.jvp(z, [x, y]))
    np.testing.assert_allclose(t, np.add.outer(a, b))
    (t,) = run(dg.jvp(z, y))
    np.testing.assert_allclose(t, np.repeat(a[:, None], 2, 1))


def test_a_derivative_is_transposed_by_the_other():
    a, b, g = feeds()
    x, y, v = dg.constant(a), dg.constant(b), dg.constant(g)
    z, _ = outer(x, y, vjp=outer_vjp, jvp=outer_jvp)
    (gx,) = dg.gradients(z, x, [v])
    # gx = v y is linear in v.
    np.testing.assert_allclose(run(dg.jvp(gx, v, [dg.ones_like(v)])), [[b.sum()] * 3])
    (back,) = dg.gradients(gx, v)
    np.testing.assert_allclose(run(back), np.repeat(b[None], 3, 0))


def test_without_rules_results_are_constants_as_in_tf1():
    x, y = dg.constant([1.0], dg.float64), dg.constant([2.0], dg.float64)
    z, _ = outer(x, y)
    assert dg.gradients(z, [x, y]) == [None, None]
    assert dg.jvp(z, x) == [None]
    (g,) = dg.gradients(z * x, x)
    np.testing.assert_array_equal(run(g), [2.0])


@pytest.mark.parametrize(
    ("rules", "derive", "words"),
    [
        ({"jvp": outer_jvp}, dg.gradients, "forward derivative only.*vjp="),
        ({"vjp": outer_vjp}, dg.jvp, "reverse derivative only.*jvp="),
        (
            {"vjp": outer_vjp},
            lambda z, x: dg.gradients(dg.gradients(z, x), x),
            "second derivatives.*custom_gradient",
        ),
    ],
)
def test_what_is_missing_is_named(rules, derive, words):
    x, y = dg.constant([1.0], dg.float64), dg.constant([2.0], dg.float64)
    z, _ = outer(x, y * x, **rules)
    with pytest.raises(dg.errors.GradientError, match=words) as error:
        derive(z, x)
    assert "test_py_func.py" in str(error.value)


def test_a_vjp_that_returns_the_wrong_thing():
    x = dg.constant([1.0, 2.0])

    def gradient(vjp):
        y = py_func(np.sin, [x], dg.float32, vjp=vjp)
        return run(dg.gradients(y, x))

    with pytest.raises(ValueError, match=r"shape \(1,\), (but|not)"):
        gradient(lambda xs, ys, gs: gs[0][:1])
    with pytest.raises(ValueError, match="returned 2 cotangents"):
        gradient(lambda xs, ys, gs: (gs[0], gs[0]))
    with pytest.raises(ValueError, match="float64, but Tout says float32"):
        gradient(lambda xs, ys, gs: gs[0].astype(float))
    np.testing.assert_array_equal(gradient(lambda xs, ys, gs: None), [[0, 0]])


def test_tf1s_trick_gives_pyfunc_a_gradient(graph):
    # As TF1 programs do it (harpone's gist): a registered function and a map.
    def with_gradient(func, inp, Tout, grad, name):
        RegisterGradient(name)(grad)
        with graph.gradient_override_map({"PyFunc": name}):
            return py_func(func, inp, Tout, stateful=True, name=name)

    def square_grad(op, grad):
        return grad * 20.0 * op.inputs[0]

    x = dg.constant([1.0, 2.0])
    y = with_gradient(np.square, [x], dg.float32, square_grad, "TestPyFunc1")
    np.testing.assert_array_equal(run(dg.gradients(y, x)[0]), [20.0, 40.0])
