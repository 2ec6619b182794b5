"""A sample of the planted errors (all: `python tests/plant_errors.py`), and that the harness is honest."""
from __future__ import annotations

import contextlib

import numpy as np
import pytest

import tinygrad_conv as tg
from tests import plant_errors
from tests import test_op_table as table
from tests.plant_errors import Plant

GEOMETRICAL = [row for row in table.ROWS if table.has_geometry(row)]
OTHERS = [row for row in table.ROWS if row not in GEOMETRICAL]
SAMPLE = (plant_errors.candidates(GEOMETRICAL)[::3] + plant_errors.candidates(OTHERS[::9])[::3]
          + [plant for row in table.ROWS for plant in plant_errors.kernel_plants(row)])


def effective(rows):
    return [plant for plant in plant_errors.candidates(rows) if plant_errors.changes_something(plant)]


def test_every_vjp_has_planted_errors():
    """Nothing that has a derivative is left out as harmless."""
    rows = {row.name for row in table.ROWS if any(row.primitive.vjps) or row.primitive.variadic_vjp or row.primitive.joint_vjp}
    assert rows - {plant.row.name for plant in effective(table.ROWS)} == set()


@pytest.mark.parametrize("row", GEOMETRICAL, ids=[row.name for row in GEOMETRICAL])
def test_every_geometry_is_planted_with_each_error_of_a_geometry(row):
    """In the kernel and, if there is one, in the VJP: the samples of the row are such that it matters."""
    plants = effective([row])
    for what in plant_errors.GEOMETRY_ERRORS:
        assert any(plant.order == 0 and what in plant.what for plant in plants), f"no kernel with {what}"
        if any(row.primitive.vjps):
            assert any(plant.order == 1 and what in plant.what for plant in plants), f"no VJP with {what}"


def test_every_kernel_of_the_table_has_planted_errors():
    others = {"relu", "relu_vjp", "leaky_relu", "leaky_relu_vjp", "hardtanh", "hardtanh_vjp", "sigmoid", "log_softmax",
              "log_softmax_vjp", "slabs", "matmul", "linear", "overwrite",
              "normalize", "normalize_adjoint", "scale"}  # of machine code only; NumPy's is the op itself
    assert set(plant_errors.KERNEL_ERRORS) == set(plant_errors.kernels.SHAPES) - others
    assert {op for op, _ in plant_errors.KERNEL_ERRORS.values()} == {row.name for row in GEOMETRICAL}


def test_every_error_of_a_kernel_changes_something():
    plants = [plant for row in table.ROWS for plant in plant_errors.kernel_plants(row)]
    assert len(plants) > 60
    assert [plant.name for plant in plants if not plant_errors.changes_something(plant)] == []


@pytest.mark.parametrize("plant", SAMPLE, ids=[plant.name for plant in SAMPLE])
def test_a_planted_error_is_found(plant):
    assert plant_errors.outcome(plant) in ("killed", "harmless")


def test_a_planted_error_is_taken_out_again():
    for plant in [*SAMPLE[:3], *plant_errors.kernel_plants(GEOMETRICAL[0])]:
        plant_errors.outcome(plant)
        table.check_value(plant.row)
        table.check_gradients(plant.row, 1)


@pytest.mark.parametrize("row", [row for row in GEOMETRICAL if any(
    plant_errors.TIE in plant.what for plant in plant_errors.kernel_plants(row))], ids=lambda row: row.name)
def test_without_an_error_the_rows_with_ties_pass(row):
    tied = plant_errors.with_ties(row)
    assert any((args[-2] == args[-2].flat[0]).sum() > 1 for args, _ in table.samples(tied))
    table.check_value(tied)


# ----- the harness itself: what is not a kill -----

ROW = next(row for row in table.ROWS if row.name == "mul")


def plant_of(error, order=1):
    return Plant(ROW, "of this test", lambda: plant_errors.planted(ROW.primitive, 0, error), order)


def raising(exception):
    def error(vjp, g, ans, *xs, **params):
        raise exception
    return error


@pytest.mark.parametrize("exception", [TypeError("'int' object is not subscriptable"), AttributeError("no"),
                                       KeyError("padding"), ValueError("shapes do not fit"), IndexError()])
def test_a_plant_that_raises_is_broken_and_no_kill(exception):
    assert plant_errors.outcome(plant_of(raising(exception))).startswith(f"broken: {type(exception).__name__}")


@pytest.mark.parametrize("exception", [AssertionError(), AssertionError("no"), ValueError("mul: shapes do not fit")])
def test_what_names_no_number_is_no_kill_even_as_an_assertion_or_an_error_of_the_op(exception):
    assert plant_errors.outcome(plant_of(raising(exception))).startswith(f"broken: {type(exception).__name__}")


def test_an_error_of_numpy_that_the_primitive_only_labels_is_no_kill():
    @contextlib.contextmanager
    def wrong():
        right, ROW.primitive.fn = ROW.primitive.fn, lambda x, y: np.ones(2) + np.ones(3)
        try:
            yield
        finally:
            ROW.primitive.fn = right
    assert plant_errors.outcome(Plant(ROW, "of this test", wrong, 0)).startswith("broken: ValueError: mul: ")


def test_an_error_of_another_op_is_no_kill():
    assert plant_errors.outcome(plant_of(raising(ValueError("reshape: no")))).startswith("broken: ValueError")


def test_a_plant_that_changes_a_shape_is_broken():
    error = plant_of(lambda vjp, *call: tg.reshape(vjp(*call), (-1,)))
    assert plant_errors.outcome(error).startswith("broken: Broken: shapes")


def test_a_plant_that_nothing_notices_survives():
    assert plant_errors.outcome(plant_of(lambda vjp, *call: tg.mul(vjp(*call), 1 + 1e-14))) == "survived"


def test_a_plant_that_changes_nothing_is_harmless():
    assert plant_errors.outcome(plant_of(lambda vjp, *call: vjp(*call))) == "harmless"
