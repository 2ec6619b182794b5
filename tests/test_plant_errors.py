"""A sample of the planted errors (all: `python tests/plant_errors.py`), and that clean ops pass."""
from __future__ import annotations

import pytest

from tests import plant_errors
from tests import test_op_table as table

PLANTS = plant_errors.plants()
STRUCTURAL = [plant for plant in PLANTS if plant.order == 0]
SAMPLE = STRUCTURAL + [plant for plant in PLANTS if plant.order][::23]


def test_every_differentiable_op_has_planted_errors():
    rows = {row.name for row in table.ROWS if any(row.primitive.vjps) or row.primitive.variadic_vjp}
    assert rows - {plant.row.name for plant in PLANTS} <= {"floor", "sign"}


@pytest.mark.parametrize("plant", SAMPLE, ids=[plant.name for plant in SAMPLE])
def test_a_planted_error_is_found(plant):
    assert not plant_errors.survives(plant)


def test_a_planted_error_is_taken_out_again():
    for plant in SAMPLE[:3]:
        plant_errors.survives(plant)
        table.check_value(plant.row)
        table.check_gradients(plant.row, 1)
