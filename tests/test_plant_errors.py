"""A sample of the planted errors (all: `python tests/plant_errors.py`), and that clean ops pass."""
from __future__ import annotations

import pytest

from tests import plant_errors
from tests import test_op_table as table

CONV = [row for row in table.ROWS if "conv" in row.name]
OTHERS = [row for row in table.ROWS if "conv" not in row.name]
SAMPLE = (plant_errors.plants(CONV)[::3] + plant_errors.plants(OTHERS[::9])[::3]
          + [plant for row in CONV for plant in plant_errors.kernel_plants(row)])


def test_every_vjp_has_planted_errors():
    """Nothing that has a derivative is left out by `changes_something`."""
    rows = {row.name for row in table.ROWS if any(row.primitive.vjps) or row.primitive.variadic_vjp}
    assert rows - {plant.row.name for plant in plant_errors.plants(table.ROWS)} == set()


def test_every_vjp_with_a_geometry_has_it_swapped():
    rows = [row for row in table.ROWS
            if any({"stride", "padding"} <= set(params) for _, params in table.samples(row))]
    assert len(rows) >= 8
    for row in rows:
        if not any(row.primitive.vjps):
            continue
        names = " ".join(plant.what for plant in plant_errors.plants([row]))
        assert "padding mirrored" in names and "stride transposed" in names, row.name


@pytest.mark.parametrize("plant", SAMPLE, ids=[plant.name for plant in SAMPLE])
def test_a_planted_error_is_found(plant):
    assert not plant_errors.survives(plant)


def test_a_planted_error_is_taken_out_again():
    for plant in SAMPLE[:3]:
        plant_errors.survives(plant)
        table.check_value(plant.row)
        table.check_gradients(plant.row, 1)
