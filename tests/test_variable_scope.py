"""``get_variable`` and ``variable_scope``: names, sharing, defaults, name scopes."""

from __future__ import annotations

import numpy as np
import pytest

from dagrad.graphlib import errors
from dagrad.graphlib.graph import Graph, get_default_graph
from dagrad.graphlib.keys import GraphKeys
from dagrad.ops._build import constant
from dagrad.ops.initialization import global_variables_initializer
from dagrad.ops.initializers import (
    constant_initializer,
    ones_initializer,
    zeros_initializer,
)
from dagrad.ops.reduction import reduce_sum
from dagrad.ops.variable_scope import (
    AUTO_REUSE,
    get_local_variable,
    get_variable,
    get_variable_scope,
    variable_op_scope,
    variable_scope,
)
from dagrad.runtime.session import Session

pytestmark = pytest.mark.usefixtures("graph")


def value(variable):
    session = Session()
    session.run(global_variables_initializer())
    return session.run(variable)


# -- names ---------------------------------------------------------------------


def test_names_nest():
    with variable_scope("a"), variable_scope("b"):
        v = get_variable("v", [1])
    assert v.name == "a/b/v:0"
    assert v.initializer.name == "a/b/v/Assign"


def test_a_variable_scope_opens_a_name_scope():
    with variable_scope("a"):
        assert constant(1.0).name == "a/Const:0"
        with variable_scope("b"):
            assert constant(1.0).name == "a/b/Const:0"


def test_entering_a_name_again_opens_a_new_name_scope():
    with variable_scope("a"):
        v = get_variable("v", [1])
    with variable_scope("a", reuse=True):
        assert get_variable("v", [1]) is v
        assert constant(1.0).name == "a_1/Const:0"


def test_a_name_scope_does_not_prefix_variables():
    with get_default_graph().name_scope("outer"), variable_scope("a"):
        assert get_variable("v", [1]).name == "a/v:0"
        assert constant(1.0).name == "outer/a/Const:0"


def test_entering_a_scope_object_goes_back_to_its_name():
    with variable_scope("a") as scope:
        v = get_variable("v", [1])
    with variable_scope("z"), variable_scope(scope, reuse=True) as again:
        assert get_variable("v", [1]) is v
        assert again.name == "a"
        assert again.original_name_scope == "a/"
        assert constant(1.0).name == "z/a/Const:0"


def test_the_original_name_scope_can_be_opened_again():
    with variable_scope("a") as scope:
        pass
    with (
        variable_scope(scope, auxiliary_name_scope=False) as again,
        get_default_graph().name_scope(again.original_name_scope),
    ):
        assert constant(1.0).name == "a/Const:0"


def test_default_name_is_made_unique():
    names = []
    for _ in range(3):
        with variable_scope(None, default_name="layer"):
            names.append(get_variable("v", [1]).name)
    assert names == ["layer/v:0", "layer_1/v:0", "layer_2/v:0"]


def test_default_names_start_anew_inside_a_scope_entered_again():
    def layer():
        with variable_scope(None, default_name="layer"):
            return get_variable("v", [1])

    with variable_scope("net"):
        first = [layer(), layer()]
    with variable_scope("net", reuse=True):
        second = [layer(), layer()]
    assert [v.name for v in first] == ["net/layer/v:0", "net/layer_1/v:0"]
    assert all(a is b for a, b in zip(first, second, strict=True))


def test_auxiliary_name_scope_can_be_left_out():
    with (
        get_default_graph().name_scope("outer"),
        variable_scope("a", auxiliary_name_scope=False),
    ):
        assert constant(1.0).name == "outer/Const:0"


def test_variable_op_scope():
    with variable_op_scope([constant(1.0)], None, "layer"):
        assert get_variable("v", [1]).name == "layer/v:0"


def test_a_scope_without_a_name_is_an_error():
    with pytest.raises(ValueError, match="default_name"), variable_scope():
        pass
    unnamed = variable_scope(None, default_name="d", reuse=True)
    with pytest.raises(ValueError, match="name_or_scope"), unnamed:
        pass


def test_the_scope_is_left_after_an_error():
    with pytest.raises(RuntimeError), variable_scope("a"):
        raise RuntimeError
    assert get_variable_scope().name == ""


# -- sharing -------------------------------------------------------------------


def test_getting_twice_names_both_lines():
    get_variable("v", [1])
    with pytest.raises(errors.GraphError) as info:
        get_variable("v", [1])
    assert str(info.value).count("test_variable_scope.py:") == 2
    assert "reuse=True" in str(info.value)


def test_reusing_what_does_not_exist_is_an_error():
    missing = pytest.raises(ValueError, match="'a/v' does not exist")
    with variable_scope("a", reuse=True), missing:
        get_variable("v", [1])


def test_auto_reuse_creates_and_then_shares():
    def get():
        with variable_scope("a", reuse=AUTO_REUSE):
            return get_variable("v", [1])

    assert get() is get()


def test_reuse_is_inherited():
    with variable_scope("a"), variable_scope("b"):
        v = get_variable("v", [1])
    with variable_scope("a", reuse=True), variable_scope("b"):
        assert get_variable("v", [1]) is v
        with variable_scope("c", reuse=False):
            assert get_variable_scope().reuse is True


def test_reuse_variables_switches_within_a_scope():
    with variable_scope("a"):
        v = get_variable("v", [1])
        get_variable_scope().reuse_variables()
        assert get_variable("v", [1]) is v


def test_the_root_scope_can_reuse():
    v = get_variable("v", [1])
    with variable_scope(get_variable_scope(), reuse=True):
        assert get_variable("v") is v
    assert get_variable_scope().reuse is False


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"shape": [2]}, errors.ShapeError),
        ({"shape": [1], "dtype": "float64"}, errors.DTypeError),
    ],
)
def test_a_shared_variable_must_fit(arguments, error):
    get_variable("v", [1])
    misfit = pytest.raises(error, match="test_variable_scope")
    with variable_scope("", reuse=True), misfit:
        get_variable("v", **arguments)


def test_graphs_do_not_share():
    v = get_variable("v", [1])
    with Graph().as_default():
        assert get_variable("v", [1]) is not v


# -- new variables -------------------------------------------------------------


def test_default_initializers():
    weights = get_variable("w", [50, 40])
    count = get_variable("n", [3], dtype="int32")
    drawn = value(weights)
    limit = np.sqrt(6 / 90)
    assert np.abs(drawn).max() <= limit
    assert np.abs(drawn).max() > 0.9 * limit
    assert not value(count).any()


@pytest.mark.parametrize(
    ("initializer", "expected"),
    [
        (ones_initializer(), [1, 1]),
        (ones_initializer, [1, 1]),
        (constant_initializer([3.0, 4.0]), [3, 4]),
        (lambda shape, dtype: constant([5.0, 6.0]), [5, 6]),
    ],
)
def test_initializers(initializer, expected):
    np.testing.assert_array_equal(
        value(get_variable("v", [2], initializer=initializer)), expected
    )


def test_a_value_as_initializer_gives_shape_and_dtype():
    assert get_variable("i", initializer=0).dtype.name == "int32"
    assert get_variable("f", initializer=0.5).dtype.name == "float32"
    d = get_variable("d", initializer=np.arange(3.0))
    assert (d.dtype.name, d.shape.as_list()) == ("float64", [3])
    with pytest.raises(ValueError, match="leave shape out"):
        get_variable("v", [3], initializer=np.arange(3.0))
    with pytest.raises(errors.DTypeError):
        get_variable("w", dtype="float32", initializer=np.arange(3.0))


def test_a_function_without_arguments_as_initializer():
    v = get_variable("v", initializer=lambda: constant([1.0, 2.0]))
    np.testing.assert_array_equal(value(v), [1, 2])


def test_the_shape_must_be_known():
    with pytest.raises(errors.ShapeError, match="'v'"):
        get_variable("v")
    with pytest.raises(errors.ShapeError, match="'v'"):
        get_variable("v", [None, 2])


def test_scope_defaults_are_inherited():
    outer = variable_scope("a", initializer=ones_initializer(), dtype="float64")
    with outer, variable_scope("b"):
        v = get_variable("v", [2])
        z = get_variable("z", [2], initializer=zeros_initializer())
    assert v.dtype.name == "float64"
    np.testing.assert_array_equal(value(v), [1, 1])
    np.testing.assert_array_equal(value(z), [0, 0])


def test_regularizers_add_losses_once():
    with variable_scope("a", regularizer=lambda v: reduce_sum(v * v)):
        v = get_variable("v", [2], initializer=ones_initializer())
    with variable_scope("a", reuse=True):
        assert get_variable("v") is v
    losses = get_default_graph().get_collection(GraphKeys.REGULARIZATION_LOSSES)
    assert [loss.op.name.startswith("a/v/Regularizer/") for loss in losses] == [True]
    assert value(losses[0]) == 2


def test_collections_and_trainable():
    a = get_variable("a", [1], trainable=False)
    b = get_local_variable("b", [1])
    graph = get_default_graph()
    assert graph.get_collection(GraphKeys.GLOBAL_VARIABLES) == [a]
    assert graph.get_collection(GraphKeys.LOCAL_VARIABLES) == [b]
    assert graph.get_collection(GraphKeys.TRAINABLE_VARIABLES) == []


def test_a_scope_lists_its_variables():
    with variable_scope("a") as scope:
        v = get_variable("v", [1])
    get_variable("w", [1])
    assert scope.global_variables() == scope.trainable_variables() == [v]


def test_custom_getters_wrap_the_getter_from_the_inside_out():
    calls = []

    def getter(label):
        def get(getter, name, *args, **kwargs):
            calls.append((label, name))
            return getter(name, *args, **kwargs)

        return get

    outer = variable_scope("a", custom_getter=getter("outer"))
    with outer, variable_scope("b", custom_getter=getter("inner")):
        v = get_variable("v", [1])
    assert v.name == "a/b/v:0"
    assert calls == [("inner", "a/b/v"), ("outer", "a/b/v")]


def test_partitions_are_refused():
    with pytest.raises(ValueError, match="partition"):
        get_variable("v", [4], partitioner=lambda **k: [2])
