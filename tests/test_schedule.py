"""Schedules: values, momentum, saved state, errors; beside PyTorch in test_nn_torch.py."""
from __future__ import annotations

import json
import math

import numpy as np
import pytest

import nn
import tinygrad_conv as tg

MAKE = {
    "StepLR": lambda o: nn.StepLR(o, 3, 0.5), "MultiStepLR": lambda o: nn.MultiStepLR(o, [2, 5, 5], 0.5),
    "ExponentialLR": lambda o: nn.ExponentialLR(o, 0.9), "CosineAnnealingLR": lambda o: nn.CosineAnnealingLR(o, 8, 0.01),
    "PolynomialLR": lambda o: nn.PolynomialLR(o, 8, 2.0), "CosineAnnealingWarmRestarts": lambda o: nn.CosineAnnealingWarmRestarts(o, 3, 2),
    "LambdaLR": lambda o: nn.LambdaLR(o, lambda t: 0.9 ** t), "LinearLR": lambda o: nn.LinearLR(o, 0.1, total_iters=4), "OneCycleLR": lambda o: nn.OneCycleLR(o, 0.5, 12),
    "SequentialLR": lambda o: nn.SequentialLR(o, [nn.LinearLR(o, 0.1, total_iters=3), nn.CosineAnnealingLR(o, 9)], (3,)),
}


def optimizer(lr=1.0):
    return nn.SGD([{"params": nn.Parameter([1.0])}, {"params": nn.Parameter([1.0]), "lr": lr / 10}], lr=lr, momentum=0.9)


def rates(schedule, steps):
    out = [schedule.get_last_lr()]
    for _ in range(steps):
        schedule.step()
        out.append(schedule.get_last_lr())
    return np.array(out).T


def test_step_lr_values():
    np.testing.assert_allclose(rates(MAKE["StepLR"](optimizer()), 6)[0], [1, 1, 1, .5, .5, .5, .25])


def test_multi_step_lr_counts_a_milestone_given_twice_twice():
    np.testing.assert_allclose(rates(MAKE["MultiStepLR"](optimizer()), 5)[0], [1, 1, .5, .5, .5, .125])


def test_cosine_ends_where_it_should_and_groups_keep_their_rates():
    first, second = rates(MAKE["CosineAnnealingLR"](optimizer()), 8)
    assert first[0] == 1 and first[8] == pytest.approx(0.01) and first[4] == pytest.approx(0.505)
    assert second[0] == 0.1 and second[8] == pytest.approx(0.01)


def test_linear_warm_up_then_another():
    first, second = rates(MAKE["SequentialLR"](optimizer()), 12)
    np.testing.assert_allclose(first[:4], [0.1, 0.4, 0.7, 1.0])
    np.testing.assert_allclose(second, first / 10)
    assert first[12] == pytest.approx(0, abs=1e-12) and (np.diff(first[3:]) < 0).all()


@pytest.mark.parametrize("kind, key", [("SGD", "momentum"), ("Adam", "betas")])
def test_one_cycle_moves_momentum_against_the_rate(kind, key):
    opt = getattr(nn, kind)([nn.Parameter([1.0])])
    schedule = nn.OneCycleLR(opt, 0.5, epochs=2, steps_per_epoch=5)
    seen = []
    for _ in range(10):
        value = opt.param_groups[0][key]
        seen.append((opt.param_groups[0]["lr"], value[0] if key == "betas" else value))
        schedule.step()  # as often as there are batches
    lr, momentum = np.array(seen).T
    assert lr[0] == pytest.approx(0.02) and lr.max() == pytest.approx(0.5) and lr[9] == pytest.approx(2e-6)
    assert momentum[0] == pytest.approx(0.95) and momentum[lr.argmax()] == pytest.approx(0.85)
    with pytest.raises(ValueError, match="step 11 is after the last of total_steps=10"):
        schedule.step()


def test_one_cycle_options():
    flat = rates(nn.OneCycleLR(optimizer(), [0.5, 5.0], 10, anneal_strategy="linear", three_phase=True, pct_start=0.3), 9)
    np.testing.assert_allclose(flat[1], 10 * flat[0])
    np.testing.assert_allclose(flat[0][[0, 2, 4]], [0.02, 0.5, 0.02])
    for ends in (0.0, 1.0):
        assert np.isfinite(rates(nn.OneCycleLR(optimizer(), 0.5, 10, pct_start=ends), 10)).all()
    assert np.isfinite(rates(nn.OneCycleLR(optimizer(), 0.5, 1), 1)).all()
    adagrad = nn.Adagrad([nn.Parameter([1.0])])
    with pytest.raises(ValueError, match="Adagrad has no momentum to cycle; pass cycle_momentum=False"):
        nn.OneCycleLR(adagrad, 0.5, 10)
    assert nn.OneCycleLR(adagrad, 0.5, 10, cycle_momentum=False).get_last_lr() == pytest.approx([0.02])


@pytest.mark.parametrize("name", MAKE)
def test_schedule_state_goes_on_exactly(name):
    opt = optimizer()
    whole = rates(MAKE[name](opt), 11)
    opt = optimizer()
    half = MAKE[name](opt)
    rates(half, 5)
    saved = json.loads(json.dumps([half.state_dict(), opt.state_dict()["groups"]]))
    opt = optimizer()
    again = MAKE[name](opt)
    opt.load_state_dict({"arrays": {}, "groups": saved[1]})
    again.load_state_dict(saved[0])
    assert np.array_equal(rates(again, 6), whole[:, 5:])


@pytest.mark.parametrize("name", MAKE)
def test_schedule_covers_groups_added_later(name):
    opt = optimizer()
    schedule = MAKE[name](opt)
    opt.add_param_group({"params": nn.Parameter([1.0]), "lr": 0.3})
    schedule.step()
    assert len(schedule.get_last_lr()) == 3 and all(lr >= 0 for lr in schedule.get_last_lr())


def test_plateau_waits_reduces_and_cools_down():
    opt = optimizer()
    s = nn.ReduceLROnPlateau(opt, factor=0.5, patience=1, cooldown=2, min_lr=[0.2, 0.04])
    lrs = []
    for metric in [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, math.nan, 1.0, 1.0, 1.0]:
        s.step(metric)
        lrs.append(opt.param_groups[0]["lr"])
    assert lrs == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25, 0.2, 0.2, 0.2]
    assert s.get_last_lr()[1] == 0.04


def test_plateau_state_goes_on():
    a, b = nn.ReduceLROnPlateau(optimizer(), "max", patience=1), nn.ReduceLROnPlateau(optimizer(), "max", patience=1)
    a.step(0.5)
    a.step(0.4)
    b.load_state_dict(json.loads(json.dumps(a.state_dict())))
    for s in (a, b):
        s.step(0.3)
        assert s.get_last_lr()[0] == pytest.approx(0.1)


@pytest.mark.parametrize("make, match", [
    (lambda o: nn.StepLR(o, 0), "step_size must be at least 1, got 0"),
    (lambda o: nn.CosineAnnealingLR(o, 0), "T_max must be"), (lambda o: nn.LinearLR(o, total_iters=0), "total_iters"),
    (lambda o: nn.LinearLR(o, 0.0), "LinearLR: start_factor must be above 0, got 0.0"),
    (lambda o: nn.OneCycleLR(o, 0.1), "needs total_steps, or epochs and steps_per_epoch"),
    (lambda o: nn.OneCycleLR(o, 0.1, epochs=2), "needs total_steps, or epochs and steps_per_epoch"),
    (lambda o: nn.OneCycleLR(o, 0.1, 5, pct_start=2), "pct_start"),
    (lambda o: nn.OneCycleLR(o, [0.1], 5), "max_lr has 1 rates for 2 groups"),
    (lambda o: nn.SequentialLR(o, [nn.StepLR(o, 1)], [1]), "1 schedules need 0 milestones"),
    (lambda o: nn.SequentialLR(o, [nn.StepLR(o, 1), nn.StepLR(optimizer(), 1)], [1]), "over the same optimiser"),
    (lambda o: nn.SequentialLR(o, [nn.StepLR(o, 1), nn.ReduceLROnPlateau(o)], [1]), "is not a step schedule"),
    (lambda o: nn.ReduceLROnPlateau(o, "least"), "mode must be one of 'min', 'max', got 'least'"),
    (lambda o: nn.ReduceLROnPlateau(o, factor=1.0), "factor must be below 1, got 1.0"),
    (lambda o: nn.ReduceLROnPlateau(o, min_lr=[0.1]), "min_lr has 1 rates for 2 groups"),
    (lambda o: nn.StepLR(nn.Linear(1, 1), 1), "expects an optimiser first, got Linear"),
])
def test_schedule_refuses(make, match):
    with pytest.raises((ValueError, TypeError), match=match):
        make(optimizer())


@pytest.mark.parametrize("change", [lambda opt: nn.ReduceLROnPlateau(opt, patience=0, factor=0.5),
                                    lambda opt: nn.MultiStepLR(opt, [1], 0.5)])
def test_two_schedules_over_one_optimizer_do_not_silently_undo_each_other(change):
    """PyTorch's chain; these are closed forms, of which the last would win."""
    opt = optimizer()
    first, second = nn.ExponentialLR(opt, 0.9), change(opt)
    first.step()
    with pytest.raises(RuntimeError, match=r"LR: the rate of group 0 is 0\.(405|9), .*SequentialLR"):
        for _ in range(2):
            second.step(*([1.0] if isinstance(second, nn.ReduceLROnPlateau) else []))
            first.step()


def test_schedule_takes_numpy_numbers():
    assert np.array_equal(rates(nn.StepLR(optimizer(), np.int64(2)), 5), rates(nn.StepLR(optimizer(), 2), 5))


def test_numbers_held_in_tensors_make_rates_that_are_floats():
    """A tensor as a rate would make `p -= rate * g` a new tensor, and leave p as it is."""
    half = tg.tensor(0.5)
    for make in (lambda o: nn.StepLR(o, 1, half), lambda o: nn.CosineAnnealingLR(o, 4, half),
                 lambda o: nn.OneCycleLR(o, half, 4, max_momentum=half, base_momentum=half),
                 lambda o: nn.LinearLR(o, half)):
        opt = optimizer()
        make(opt).step()
        assert {type(group[key]) for group in opt.param_groups for key in ("lr", "momentum")} == {float}
    opt = optimizer()
    s = nn.ReduceLROnPlateau(opt, factor=half, patience=0, min_lr=half)
    s.step(1.0)
    s.step(2.0)
    assert {type(group["lr"]) for group in opt.param_groups} == {float}
