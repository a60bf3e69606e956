"""`dagrad.optimize` against known minima, SciPy by hand and scikit-learn."""

from __future__ import annotations

import builtins
import contextlib

import numpy as np
import pytest
import scipy
import scipy.optimize
import scipy.sparse

import dagrad as dg
from dagrad import _flat_derivatives
from dagrad.contrib.opt import ScipyOptimizerInterface
from dagrad.optimize import least_squares, minimize, root

GRADIENT = ["BFGS", "CG", "L-BFGS-B", "SLSQP", "TNC"]
SECOND = ["Newton-CG", "dogleg", "trust-constr", "trust-exact"]
SECOND += ["trust-krylov", "trust-ncg"]
DIRECT = ["COBYQA", "Nelder-Mead", "Powell"]  # COBYLA creeps along such a valley


@pytest.fixture(autouse=True)
def session():
    with dg.Graph().as_default(), dg.Session() as s:
        yield s


def variable(value, dtype=dg.float64):
    return dg.Variable(value, dtype=dtype)


def start(session):
    session.run(dg.global_variables_initializer())


def rosenbrock(v):
    return dg.reduce_sum(100.0 * (v[1:] - v[:-1] ** 2) ** 2 + (1.0 - v[:-1]) ** 2)


def quiet(method):
    """SciPy's trust-krylov computes with memory that it has not written yet."""
    if method == "trust-krylov":
        return np.errstate(all="ignore")
    return contextlib.nullcontext()


@pytest.mark.parametrize("method", GRADIENT + SECOND + DIRECT)
def test_rosenbrock(session, method):
    v = variable([-1.2, 1.0])
    start(session)
    with quiet(method):
        result = minimize(rosenbrock(v), v, method, tol=1e-9)
    np.testing.assert_allclose(result.x[0], [1.0, 1.0], atol=1e-3)
    np.testing.assert_array_equal(session.run(v), result.x[0])
    np.testing.assert_array_equal(result.x_flat, result.x[0])


@pytest.mark.parametrize("method", ["BFGS", "Newton-CG", "trust-krylov"])
def test_the_same_steps_as_with_scipys_own_derivatives(session, method):
    at = np.array([-1.2, 1.0, 0.5])
    v = variable(at)
    start(session)
    rosen, slope = scipy.optimize.rosen, scipy.optimize.rosen_der
    hessp = {} if method == "BFGS" else {"hessp": scipy.optimize.rosen_hess_prod}
    with quiet(method):
        ours = minimize(rosenbrock(v), v, method)
        theirs = scipy.optimize.minimize(rosen, at, method=method, jac=slope, **hessp)
    assert ours.nit == pytest.approx(theirs.nit, abs=2)
    np.testing.assert_allclose(ours.x[0], theirs.x, atol=1e-5)


def test_variables_of_several_shapes_and_dtypes(session):
    a = variable(np.zeros((2, 3)), dg.float32)
    b = variable(1.0)
    c = variable(np.zeros(2))  # the loss does not depend on it
    start(session)
    target = np.arange(6.0).reshape(2, 3)
    loss = dg.cast(dg.reduce_sum((a - target.astype(np.float32)) ** 2), dg.float64)
    loss += (b - 7.0) ** 2
    result = minimize(loss, [a, b, c], "trust-ncg")
    assert [x.dtype for x in result.x] == [np.float32, np.float64, np.float64]
    assert [x.shape for x in result.x] == [(2, 3), (), (2,)]
    assert result.x_flat.shape == (9,)
    np.testing.assert_allclose(session.run(a), target, atol=1e-5)
    assert session.run(b) == pytest.approx(7.0)
    np.testing.assert_array_equal(session.run(c), [0, 0])


def test_complex_variables(session):
    z = variable([1 + 1j, 2.0], dg.complex128)
    start(session)
    target = np.array([3 - 4j, 1j])
    loss = dg.reduce_sum(dg.square(dg.abs(z - target)))
    result = minimize(loss, z, "BFGS")
    np.testing.assert_allclose(result.x[0], target, atol=1e-5)


def test_a_linear_loss_has_a_hessian_of_zeros(session):
    v = variable([1.0, 1.0])
    start(session)
    result = minimize(
        dg.reduce_sum(v), v, "trust-constr", bounds=(0.0, None), tol=1e-10
    )
    np.testing.assert_allclose(result.x[0], [0, 0], atol=1e-2)


def test_rows_of_a_table(session):
    # The gradient of a gather is made of rows.
    table = variable(np.ones((4, 2)))
    start(session)
    minimize(dg.reduce_sum((dg.gather(table, [1, 3]) - 5.0) ** 2), table)
    np.testing.assert_allclose(session.run(table)[:, 0], [1, 5, 1, 5], atol=1e-5)


def test_feeds_hold_in_every_run(session):
    v = variable(0.0)
    p = dg.placeholder(dg.float64, [])
    start(session)
    minimize((v - p) ** 2, v, feed_dict={p: 4.0})
    assert session.run(v) == pytest.approx(4.0)


def test_callbacks_see_arrays(session):
    a, b = variable([5.0, 5.0]), variable(3.0)
    start(session)
    for method in ("BFGS", "trust-constr"):
        start(session)
        seen = []
        minimize(
            dg.reduce_sum(a**4) + b**2, [a, b], method, callback=seen.append, tol=1e-8
        )
        assert [x.shape for x in seen[-1]] == [(2,), ()]
        assert abs(seen[-1][1]) < 1e-3 < abs(seen[0][1]) <= 3.0


# -- bounds and constraints --------------------------------------------------------


@pytest.mark.parametrize("method", ["L-BFGS-B", "TNC", "SLSQP", "trust-constr"])
def test_bounds(session, method):
    a, b = variable([4.0, 4.0]), variable(0.5)
    start(session)
    loss = dg.reduce_sum(a**2) + (b - 3.0) ** 2
    result = minimize(loss, [a, b], method, [([1.0, 2.0], None), (None, 1.0)], tol=1e-9)
    np.testing.assert_allclose(result.x[0], [1, 2], atol=1e-4)
    assert result.x[1] == pytest.approx(1.0, abs=1e-4)
    start(session)
    result = minimize(loss, [a, b], method, {a: (3.0, 5.0)}, tol=1e-9)
    np.testing.assert_allclose(result.x[0], [3, 3], atol=1e-3)
    assert result.x[1] == pytest.approx(3.0, abs=1e-3)


def methods_with_equations():
    """COBYLA takes equations since SciPy 1.16."""
    major, minor = map(int, scipy.__version__.split(".")[:2])
    newer = ["COBYLA"] if (major, minor) >= (1, 16) else []
    return ["SLSQP", "trust-constr", "COBYQA", *newer]


@pytest.mark.parametrize("method", methods_with_equations())
def test_constraints(session, method):
    # The point of the unit circle with x >= 1/2 and x + y least: (1/2, -sqrt(3)/2)
    # is not it, as (-1, -1) / sqrt(2) is cut off: by x >= 1/2.
    v = variable([2.0, 0.3])
    start(session)
    on_circle = {"type": "eq", "fun": dg.reduce_sum(v**2) - 1.0}
    right = {"type": "ineq", "fun": v[:1] - 0.5}
    result = minimize(v[0] + v[1], v, method, constraints=[on_circle, right], tol=1e-9)
    np.testing.assert_allclose(result.x[0], [0.5, -np.sqrt(0.75)], atol=1e-4)


def test_one_inequality_of_several_elements(session):
    # The projection of (1, 2, 3) on the simplex is (0, 0, 1).
    v = variable([0.3, 0.3, 0.4])
    start(session)
    loss = dg.reduce_sum((v - [1.0, 2.0, 3.0]) ** 2)
    result = minimize(
        loss,
        v,
        "SLSQP",
        constraints=[
            {"type": "ineq", "fun": v},
            {"type": "eq", "fun": dg.reduce_sum(v) - 1.0},
        ],
    )
    np.testing.assert_allclose(result.x[0], [0, 0, 1], atol=1e-6)


# -- statistics ----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["L-BFGS-B", "trust-krylov", "trust-exact"])
def test_logistic_regression_as_scikit_learn(session, method):
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3))
    y = (x @ [1.0, -2.0, 0.5] + rng.normal(size=80) > 0.3).astype(float)
    w, b = variable(np.zeros(3)), variable(0.0)
    start(session)
    logits = dg.linalg.matvec(dg.constant(x), w) + b
    losses = dg.nn.sigmoid_cross_entropy_with_logits(
        labels=dg.constant(y), logits=logits
    )
    loss = dg.reduce_sum(losses) + 0.5 * dg.reduce_sum(w**2)
    with quiet(method):
        minimize(loss, [w, b], method, tol=1e-10)
    model = LogisticRegression(C=1.0, tol=1e-10).fit(x, y)
    np.testing.assert_allclose(session.run(w), model.coef_[0], rtol=1e-4)
    assert session.run(b) == pytest.approx(model.intercept_[0], rel=1e-4)


def decay(rng):
    t = np.linspace(0, 4, 30)
    return t, 2.5 * np.exp(-1.3 * t) + 0.5 + 0.05 * rng.normal(size=30)


@pytest.mark.parametrize("method", ["trf", "dogbox", "lm"])
def test_curve_fit_as_scipy(session, method):
    t, y = decay(np.random.default_rng(1))
    want, _ = scipy.optimize.curve_fit(
        lambda t, a, k, c: a * np.exp(-k * t) + c, t, y, [1.0, 1.0, 0.0]
    )
    a, k, c = variable(1.0), variable(1.0), variable(0.0)
    start(session)
    result = least_squares(a * dg.exp(-k * t) + c - y, [a, k, c], method, tol=1e-12)
    np.testing.assert_allclose(result.x, want, rtol=1e-5)
    np.testing.assert_array_equal(session.run([a, k, c]), result.x)
    assert result.jac.shape == (30, 3)


def test_robust_loss_bounds_and_options(session):
    t, y = decay(np.random.default_rng(1))
    y[3] += 5.0
    a, k, c = variable(1.0), variable(1.0), variable(0.0)
    start(session)
    result = least_squares(
        a * dg.exp(-k * t) + c - y,
        [a, k, c],
        bounds=[(0.0, 10.0), (0.0, 10.0), (0.0, 0.4)],
        loss="soft_l1",
        options={"f_scale": 0.1},
    )
    want = scipy.optimize.least_squares(
        lambda p: p[0] * np.exp(-p[1] * t) + p[2] - y,
        [1.0, 1.0, 0.0],
        bounds=([0, 0, 0], [10, 10, 0.4]),
        loss="soft_l1",
        f_scale=0.1,
    )
    np.testing.assert_allclose(result.x, want.x, rtol=1e-4)


def test_the_jacobian_by_rows_is_that_by_columns(session):
    v, w = variable([1.0, 2.0, 3.0]), variable(4.0)
    start(session)
    y = [v[:2] * w, dg.reduce_sum(v**2)]
    few = least_squares(y, [v, w], options={"max_nfev": 1})  # 3 residuals, 4 numbers
    start(session)
    many = least_squares([*y, v * 0.0], [v, w], options={"max_nfev": 1})
    want = [[4, 0, 0, 1], [0, 4, 0, 2], [2, 4, 6, 0]]
    np.testing.assert_allclose(few.jac, want)
    np.testing.assert_allclose(many.jac, [*want, [0] * 4, [0] * 4, [0] * 4])


@pytest.mark.parametrize("method", ["hybr", "lm", "broyden1", "krylov", "df-sane"])
def test_root(session, method):
    x, y = variable(1.0), variable(1.0)
    start(session)
    result = root([x + 0.2 * y**3 - 1.0, y + 0.3 * dg.sin(x)], [x, y], method)
    assert result.success
    a, b = session.run([x, y])
    assert a + 0.2 * b**3 == pytest.approx(1.0, abs=1e-5)
    assert b + 0.3 * np.sin(a) == pytest.approx(0.0, abs=1e-5)


# -- TF1's interface ------------------------------------------------------------------


def test_tf1s_interface(session):
    # TensorFlow 1's own example: 0 is the minimum that the constraint cuts off.
    v = variable([7.0, 7.0])
    start(session)
    loss = dg.reduce_sum(dg.square(v))
    optimizer = ScipyOptimizerInterface(
        loss, equalities=[v[0] - v[1]], inequalities=[v[1] - 1.0]
    )
    optimizer.minimize(session)
    np.testing.assert_allclose(session.run(v), [1, 1], atol=1e-6)


def test_tf1s_callbacks_bounds_and_options(session):
    v, w = variable([7.0, 7.0]), variable(3.0)
    start(session)
    p = dg.placeholder(dg.float64, [])
    loss = dg.reduce_sum(dg.square(v)) + (w - p) ** 2
    optimizer = ScipyOptimizerInterface(
        loss, [v, w], var_to_bounds={v: (1.0, np.inf)}, options={"maxiter": 50}
    )
    steps, losses = [], []
    optimizer.minimize(
        session,
        {p: 5.0},
        fetches=[loss, w],
        step_callback=steps.append,
        loss_callback=lambda *values: losses.append(values),
    )
    np.testing.assert_allclose(session.run(v), [1, 1], atol=1e-6)
    assert steps[-1].shape == (3,)
    assert losses[0] == (98.0 + 4.0, 3.0)
    assert losses[-1][0] == pytest.approx(2.0)
    with pytest.raises(TypeError, match="keyword"):
        ScipyOptimizerInterface(loss, maxiter=3)


# -- sparse and dense matrices --------------------------------------------------------


def tridiagonal(v):
    """Broyden's tridiagonal equations: each row has three neighbours."""
    padded = dg.pad(v, [[1, 1]])
    return (3.0 - 2.0 * v) * v - padded[:-2] - 2.0 * padded[2:] + 1.0


def test_banded_least_squares_of_two_thousand_unknowns(session):
    v = variable(-np.ones(2000))
    start(session)
    result = least_squares(tridiagonal(v), v, tol=1e-12)
    assert scipy.sparse.issparse(result.jac)
    assert result.jac.nnz == 3 * 2000 - 2
    assert np.abs(result.fun).max() < 1e-8
    assert result.njev < 20


@pytest.mark.parametrize("method", ["trf", "dogbox"])
def test_sparse_and_dense_jacobians_lead_to_one_point(session, method):
    v = variable(-np.ones(30))
    start(session)
    dense = least_squares(tridiagonal(v), v, method, tol=1e-12)
    assert isinstance(dense.jac, np.ndarray)  # 30 unknowns are few
    start(session)
    sparse = least_squares(tridiagonal(v), v, method, tol=1e-12, jacobian="sparse")
    assert scipy.sparse.issparse(sparse.jac)
    np.testing.assert_allclose(sparse.jac.toarray(), dense.jac, atol=1e-7)
    np.testing.assert_allclose(sparse.x[0], dense.x[0], atol=1e-8)


def test_a_dense_jacobian_of_many_unknowns_stays_one(session):
    v = variable(np.zeros(250))
    start(session)
    a = np.random.default_rng(0).normal(size=(300, 250))
    result = least_squares(dg.linalg.matvec(a, v) - a.sum(1), v)
    np.testing.assert_array_equal(result.jac, a)
    np.testing.assert_allclose(result.x[0], np.ones(250), rtol=1e-6)


@pytest.mark.parametrize("method", ["Newton-CG", "trust-constr"])
def test_rosenbrock_of_a_thousand_numbers(session, method, monkeypatch):
    monkeypatch.setattr(_flat_derivatives.Loss, "product", None)  # not needed
    v = variable(np.full(1000, 0.9))
    start(session)
    result = minimize(rosenbrock(v), v, method, tol=1e-9)
    np.testing.assert_allclose(result.x[0], np.ones(1000), atol=1e-3)


def test_sparse_hessians_make_the_steps_of_products(session):
    v = variable(np.full(20, 0.9))
    loss = rosenbrock(v)
    found = []
    for hessian in ("sparse", "products"):
        start(session)
        found.append(minimize(loss, v, "Newton-CG", tol=1e-9, hessian=hessian))
    assert found[0].nit == found[1].nit
    np.testing.assert_allclose(found[0].x[0], found[1].x[0], rtol=1e-8)


@pytest.mark.parametrize("bounds", [None, (0.0, None)])
def test_constraints_with_sparse_jacobians(session, bounds):
    # Neighbours at least 0.01 apart, their sum given: a dense and a sparse one.
    n = 300
    v = variable(np.linspace(0.0, 4.0, n))
    start(session)
    apart = {"type": "ineq", "fun": v[1:] - v[:-1] - 0.01}
    total = {"type": "eq", "fun": dg.reduce_sum(v) / n - 2.0}
    loss = dg.reduce_sum(v**2)
    result = minimize(
        loss, v, "trust-constr", bounds, constraints=[apart, total], tol=1e-8
    )
    want = 2.0 + 0.01 * (np.arange(n) - (n - 1) / 2)
    np.testing.assert_allclose(result.x[0], want, atol=1e-3)


def test_passes_in_parts_make_the_same_matrix(session, monkeypatch):
    a, z = variable([[1.0, 2.0]]), variable([1 + 2j, 3.0], dg.complex128)
    start(session)
    ys = [dg.square(z), dg.complex(a[0], a[0] * 2.0) * z, a * 3.0, dg.square(a)]
    options = {"max_nfev": 1}
    whole = least_squares(ys, [a, z], options=options).jac
    start(session)
    monkeypatch.setattr(_flat_derivatives, "_BATCH", 30)
    np.testing.assert_array_equal(least_squares(ys, [a, z], options=options).jac, whole)
    # d z^2 = 2 z dz, as a map of pairs of reals.
    np.testing.assert_allclose(whole[:2, 2:4], [[2, -4], [4, 2]])
    assert whole.shape == (12, 6)


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("BFGS", {}),
        ("trust-ncg", {}),
        ("trust-exact", {}),
        ("Newton-CG", {"hessian": "sparse"}),
        ("trust-constr", {"constraints": True}),
    ],
)
def test_the_graph_grows_once(session, method, more):
    v = variable([2.0, 3.0])
    loss = rosenbrock(v)
    if more.get("constraints"):
        more = {"constraints": {"type": "ineq", "fun": v - 0.5}}
    start(session)
    minimize(loss, v, method, **more)
    size = len(session.graph.get_operations())
    session.graph.finalize()
    minimize(loss, v, method, **more)
    assert len(session.graph.get_operations()) == size


def test_derivatives_do_not_wait_for_what_a_call_stands_in(session):
    v, n = variable([2.0, 3.0]), variable(0.0)
    loss = rosenbrock(v)
    start(session)
    with dg.control_dependencies([dg.assign_add(n, 1.0)]):
        minimize(loss, v)
    minimize(loss, v)
    assert session.run(n) == 0.0


def test_choices_of_matrices(session):
    v = variable([2.0, 3.0])
    start(session)
    with pytest.raises(ValueError, match="hessian is one of"):
        minimize(rosenbrock(v), v, "Newton-CG", hessian="full")
    with pytest.raises(ValueError, match="takes no sparse Hessian"):
        minimize(rosenbrock(v), v, "trust-ncg", hessian="sparse")
    with pytest.raises(ValueError, match="a sparse Jacobian needs"):
        least_squares(v, v, "lm", jacobian="sparse")


# -- runs and mistakes ---------------------------------------------------------------


def test_value_and_gradient_are_one_run(session):
    # The logarithm is computed once per evaluation: one plan, one run.
    v = variable([2.0, 3.0])
    start(session)
    calls = []
    made = session.make_callable

    def counted(*arguments, **keywords):
        call = made(*arguments, **keywords)

        def run(*values):
            calls.append(1)
            return call(*values)

        return run

    session.make_callable = counted
    result = minimize(dg.reduce_sum(v - dg.log(v)), v, "L-BFGS-B")
    np.testing.assert_allclose(result.x[0], [1, 1], atol=1e-4)
    assert len(calls) == result.nfev


def test_an_exception_in_a_callback_leaves_the_start(session):
    v = variable([2.0, 3.0])
    start(session)

    def stop(_):
        raise KeyError("enough")

    with pytest.raises(KeyError):
        minimize(dg.reduce_sum(v**2), v, callback=stop)
    np.testing.assert_array_equal(session.run(v), [2, 3])


def test_mistakes(session):
    v, n = variable([2.0, 3.0]), dg.Variable([1, 2])
    start(session)
    with pytest.raises(ValueError, match="real scalar"):
        minimize(v * v, v)
    with pytest.raises(TypeError, match="no variable"):
        minimize(dg.reduce_sum(v), [v * 2.0])
    with pytest.raises(TypeError, match="no floating numbers"):
        minimize(dg.reduce_sum(v), n)
    with pytest.raises(ValueError, match="no differentiable path"):
        minimize(dg.constant(1.0), v)
    with pytest.raises(ValueError, match="takes no constraints"):
        minimize(dg.reduce_sum(v), v, "BFGS", constraints={"type": "eq", "fun": v})
    with pytest.raises(ValueError, match="a constraint is"):
        minimize(dg.reduce_sum(v), v, "SLSQP", constraints={"fun": v})
    with pytest.raises(ValueError, match="pairs of bounds"):
        minimize(dg.reduce_sum(v), [v], bounds=[(0, 1), (0, 1)])
    with pytest.raises(ValueError, match="1 equations for 2 unknowns"):
        root(v[0], v)


def test_without_scipy_the_remedy_is_named(session, monkeypatch):
    v = variable([2.0])
    start(session)
    real = builtins.__import__

    def without(name, *more):
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'pip install "dagrad\[optimize\]"'):
        minimize(dg.reduce_sum(v), v)


@pytest.mark.parametrize("method", ["L-BFGS-B", "Newton-CG", "SLSQP"])
def test_a_loss_that_is_a_loop(method):
    """The bodies of loops see the point that SciPy asks for, not the session's."""
    v = dg.Variable([0.5, 3.0], dtype=dg.float64)
    loss = dg.foldl(
        lambda total, c: total + dg.reduce_sum((v - c) ** 2),
        dg.constant([0.0, 1.0, 5.0], dg.float64),
        dg.constant(0.0, dg.float64),
    )
    with dg.Session() as session:
        session.run(v.initializer)
        minimize(loss, v, method)
        np.testing.assert_allclose(session.run(v), [2.0, 2.0], atol=1e-5)
