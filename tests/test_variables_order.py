"""What a read of a variable sees, and in what order writes happen, in one run."""

from __future__ import annotations

import numpy as np
import pytest

import dagrad as dg

pytestmark = pytest.mark.usefixtures("graph")


def started():
    """A session in which every variable has its initial value."""
    session = dg.Session()
    session.run(dg.global_variables_initializer())
    return session


def test_a_read_sees_the_value_before_the_run_writes():
    v = dg.Variable([1.0, 2.0])
    before, after = started().run([v * 10.0, v.assign_add([1.0, 1.0])])
    np.testing.assert_array_equal(before, [10.0, 20.0])
    np.testing.assert_array_equal(after, [2.0, 3.0])


def test_the_place_of_a_read_in_the_program_does_not_matter():
    v = dg.Variable([1.0, 2.0])
    write = v.assign_add([1.0, 1.0])
    read = v + 0.0  # built after the write, ordered after nothing
    np.testing.assert_array_equal(started().run([write, read])[1], [1.0, 2.0])


def test_a_fetched_variable_keeps_its_value_before_the_write():
    v = dg.Variable([1.0, 2.0])
    session = started()
    kept, _ = session.run([v, v.assign_add([1.0, 1.0])])
    np.testing.assert_array_equal(kept, [1.0, 2.0])
    np.testing.assert_array_equal(session.run(v), [2.0, 3.0])


def test_a_read_inside_control_dependencies_sees_the_write(graph):
    v = dg.Variable([1.0, 2.0])
    with graph.control_dependencies([v.assign_add([1.0, 1.0])]):
        read = v.read_value()
        product = v * 2.0
    r, p = started().run([read, product])
    np.testing.assert_array_equal(r, [2.0, 3.0])
    np.testing.assert_array_equal(p, [4.0, 6.0])


def test_a_read_between_two_writes_sees_the_first_only(graph):
    v = dg.Variable([1.0])
    first = v.assign_add([1.0])
    with graph.control_dependencies([first]):
        between = v.read_value()
    with graph.control_dependencies([between]):
        second = v.assign_add([10.0])
    with graph.control_dependencies([second]):
        after = v.read_value()
    got = started().run([v, first, between, second, after])
    assert [g[0] for g in got] == [1.0, 2.0, 2.0, 12.0, 12.0]


def test_a_read_between_writes_that_a_later_reader_outlives(graph):
    # `between` is fixed before the second write; its reader runs after it.
    v = dg.Variable([1.0])
    first = v.assign_add([1.0])
    with graph.control_dependencies([first]):
        between = v.read_value()
    second = v.assign_add([10.0])
    with graph.control_dependencies([second]):
        late = between * 100.0
        passed_on = dg.identity(between)
        reshaped = dg.reshape(between, [1, 1])
    got = started().run([late, passed_on, reshaped, v])
    assert [g.item() for g in got] == [200.0, 2.0, 2.0, 1.0]


def test_a_view_of_an_old_value_waits_for_the_write_and_keeps_the_value(graph):
    v = dg.Variable([[1.0, 2.0]])
    old = v.value()
    with graph.control_dependencies([v.assign_add([[1.0, 1.0]])]):
        view = dg.transpose(dg.identity(old))
        total = view + view
    got = started().run([view, total])
    np.testing.assert_array_equal(got[0], [[1.0], [2.0]])
    np.testing.assert_array_equal(got[1], [[2.0], [4.0]])


def test_writes_happen_in_order_of_creation():
    v = dg.Variable([1.0])
    add = v.assign_add([1.0])
    double = v.assign(v * 0.0 + 5.0)
    sub = v.assign_sub([2.0])
    session = started()
    # Fetched the other way round: the order is that of creation all the same.
    got = session.run([sub, double, add])
    assert [g[0] for g in got] == [3.0, 5.0, 2.0]
    assert session.run(v)[0] == 3.0


def test_control_dependencies_of_writes_come_before_creation_order(graph):
    v = dg.Variable([1.0])
    w = dg.Variable([0.0])
    first = v.assign([7.0])
    with graph.control_dependencies([first]):
        copy = w.assign(v.read_value())
    second = v.assign([9.0])
    session = started()
    session.run([copy, second])
    assert session.run([v, w]) == [[9.0], [7.0]]


def test_a_write_whose_value_reads_the_variable():
    v = dg.Variable([1.0, 2.0])
    session = started()
    np.testing.assert_array_equal(session.run(v.assign_add(v)), [2.0, 4.0])
    np.testing.assert_array_equal(session.run(v.assign(v * v)), [4.0, 16.0])
    np.testing.assert_array_equal(session.run(v), [4.0, 16.0])


def test_a_write_of_an_overlapping_view_of_the_variable():
    v = dg.Variable(np.arange(9.0, dtype=np.float32).reshape(3, 3))
    session = started()
    got = session.run(v.assign(dg.transpose(v)))
    np.testing.assert_array_equal(got, np.arange(9.0).reshape(3, 3).T)
    np.testing.assert_array_equal(session.run(v), got)


def test_two_variables_swap_values():
    v, w = dg.Variable([1.0, 2.0]), dg.Variable([3.0, 4.0])
    swap = dg.group(v.assign(w), w.assign(v))
    session = started()
    session.run(swap)
    np.testing.assert_array_equal(session.run(v), [3.0, 4.0])
    np.testing.assert_array_equal(session.run(w), [1.0, 2.0])


def test_three_variables_rotate():
    vs = [dg.Variable([float(i)]) for i in range(3)]
    writes = [vs[i].assign_add(vs[(i + 1) % 3]) for i in range(3)]
    session = started()
    session.run(dg.group(*writes))
    assert [x[0] for x in session.run(vs)] == [1.0, 3.0, 2.0]


def test_reads_that_wait_for_writes_of_another_variable_form_no_deadlock(graph):
    # read_v waits for w's write and reads v before v's write, and the other way
    # round: plain edges from reads to writes would form a cycle.
    v, w = dg.Variable([1.0]), dg.Variable([2.0])
    write_v, write_w = v.assign([10.0]), w.assign([20.0])
    with graph.control_dependencies([write_w]):
        read_v = v.read_value() + 0.5
    with graph.control_dependencies([write_v]):
        read_w = w.read_value() + 0.5
    session = started()
    assert session.run([read_v, read_w]) == [[1.5], [2.5]]
    assert session.run([v, w]) == [[10.0], [20.0]]


def test_a_chain_of_writes_through_their_results():
    v = dg.Variable([1.0])
    last = dg.assign_sub(dg.assign_add(v.assign([5.0]), [3.0]), [1.0])
    session = started()
    assert session.run(last) == [7.0]
    assert session.run(v) == [7.0]


def test_a_result_of_a_write_keeps_its_value_when_written_again():
    v = dg.Variable([1.0])
    first = v.assign_add([1.0])
    v_first = first * 1.0
    second = v.assign_add([1.0])
    a, b, c = started().run([v_first, second, first])
    assert (a[0], b[0], c[0]) == (2.0, 3.0, 2.0)


def test_an_update_in_the_run_that_initialises():
    v = dg.Variable([1.0, 2.0])
    grown = v.assign_add([1.0, 1.0])
    session = dg.Session()
    _, got = session.run([v.initializer, grown])
    np.testing.assert_array_equal(got, [2.0, 3.0])
    np.testing.assert_array_equal(session.run(v), [2.0, 3.0])


def test_a_read_in_the_run_that_initialises(graph):
    v = dg.Variable([1.0, 2.0])
    with graph.control_dependencies([v.initializer]):
        read = v.read_value()
        product = dg.reshape(v, [2, 1]) * 3.0
    r, p = dg.Session().run([read, product])
    np.testing.assert_array_equal(r, [1.0, 2.0])
    np.testing.assert_array_equal(p, [[3.0], [6.0]])


def test_an_update_before_the_initialisation_is_refused():
    v = dg.Variable([1.0])
    update = v.assign_add([1.0])
    late = v.assign([5.0])
    session = dg.Session()
    with pytest.raises(dg.errors.FailedPreconditionError, match="Variable"):
        session.run([update, late])
    session.run(v.initializer)
    assert session.run([update, late]) == [[2.0], [5.0]]


def test_whether_it_is_initialised_is_seen_before_the_write(graph):
    v = dg.Variable([1.0])
    before = dg.is_variable_initialized(v)
    with graph.control_dependencies([v.initializer]):
        after = dg.is_variable_initialized(v)
    session = dg.Session()
    assert session.run([v.initializer, before, after]) == [None, False, True]
    assert session.run(before)


def test_an_initial_value_chain_in_one_run():
    a = dg.Variable([1.0])
    b = dg.Variable(a.initialized_value() * 2.0)
    c = dg.Variable(b.initialized_value() + a.initialized_value())
    session = dg.Session()
    session.run(dg.global_variables_initializer())
    assert session.run([a, b, c]) == [[1.0], [2.0], [3.0]]


def test_a_variable_of_any_shape_changes_shape():
    v = dg.Variable([1.0, 2.0], validate_shape=False)
    x = dg.placeholder(dg.float32)
    total, write = dg.reduce_sum(v), dg.assign(v, x, validate_shape=False)
    session = started()
    for n in (3, 1, 3, 5):
        old = session.run(v).sum()
        values = np.full((n, 2), float(n), np.float32)
        got, now = session.run([total, write], {x: values})
        assert got == old
        np.testing.assert_array_equal(now, values)
        np.testing.assert_array_equal(session.run(v), values)


def test_reads_after_a_change_of_shape_in_the_same_run(graph):
    v = dg.Variable([1.0, 2.0], validate_shape=False)
    write = dg.assign(v, dg.ones([3]), validate_shape=False)
    with graph.control_dependencies([write]):
        after = v.read_value()
        doubled = v * 2.0
    before, a, d = started().run([v, after, doubled])
    np.testing.assert_array_equal(before, [1.0, 2.0])
    np.testing.assert_array_equal(a, [1.0, 1.0, 1.0])
    np.testing.assert_array_equal(d, [2.0, 2.0, 2.0])


def test_a_shape_that_the_graph_rules_out_is_never_read_as_another():
    v = dg.Variable([1.0, 2.0])
    session = started()
    session.run(dg.assign(v, [1.0, 2.0, 3.0], validate_shape=False))
    with pytest.raises(dg.errors.FailedPreconditionError, match=r"\(3,\).*\(2,\)"):
        session.run(v * 1.0)
    session.run(v.initializer)
    np.testing.assert_array_equal(session.run(v * 1.0), [1.0, 2.0])


@pytest.mark.parametrize("shuffle", range(4))
def test_the_order_of_fetches_does_not_matter(shuffle):
    v, w = dg.Variable([1.0]), dg.Variable([2.0])
    fetches = {
        "read": v * w,
        "v_add": v.assign_add(w),
        "w_mul": w.assign(v * 10.0),
        "v_sub": v.assign_sub([0.5]),
        "w_add": w.assign_add(v),
        "v": v,
        "w": w,
    }
    names = list(np.random.default_rng(shuffle).permutation(list(fetches)))
    session = started()
    got = session.run({n: fetches[n] for n in names})
    expected = {
        "read": 2,
        "v_add": 3,
        "w_mul": 10,
        "v_sub": 2.5,
        "w_add": 11,
        "v": 1,
        "w": 2,
    }
    assert {n: g[0] for n, g in got.items()} == expected
    assert session.run([v, w]) == [[2.5], [11.0]]


def test_sessions_do_not_share_variables():
    v = dg.Variable([1.0])
    one, two = started(), started()
    one.run(v.assign([5.0]))
    assert (one.run(v), two.run(v)) == ([5.0], [1.0])
