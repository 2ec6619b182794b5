"""Optimisers: golden numbers, groups, state, in-place float32 steps, errors; clipping."""
from __future__ import annotations

import json
import math
import tracemalloc

import numpy as np
import pytest

import nn
import tinygrad_conv as tg

ALL = {
    "SGD": {}, "SGD momentum": {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01},
    "SGD nesterov": {"momentum": 0.9, "nesterov": True}, "Adam": {"weight_decay": 0.01}, "AdamW": {},
    "RMSprop": {"centered": True, "momentum": 0.9, "weight_decay": 0.01}, "Adagrad": {"lr_decay": 0.1},
    "Adam amsgrad": {"amsgrad": True}, "NAdam": {"weight_decay": 0.01}, "RAdam": {"weight_decay": 0.01}, "Lion": {"weight_decay": 0.01},
    "Adadelta": {"weight_decay": 0.01},
}


def make(name, params, **more):
    return getattr(nn, name.split()[0])(params, **{**ALL[name], **more})


def with_grad(values, grads):
    p = nn.Parameter(np.asarray(values))
    p.grad = tg.tensor(np.asarray(grads))
    return p


def step_of(optimizer, p):
    before = p.data.copy()
    optimizer.step()
    return before - p.data


# ----- golden numbers (CONVENTIONS 6) -----

def test_adam_eps_stands_outside_the_root():
    p = with_grad([0.0], [1e-8])
    assert step_of(nn.Adam([p], lr=1e-3), p)[0] == pytest.approx(5.0e-4, rel=1e-6)  # 3.07e-5 inside


def test_adam_first_step_is_lr_whatever_the_gradient():
    p = with_grad([0.0, 0.0], [1e-3, -1e3])
    np.testing.assert_allclose(step_of(nn.Adam([p], lr=0.1), p), [0.1, -0.1], rtol=1e-4)


def test_adamw_decays_by_lr_times_decay_before_the_step():
    p = with_grad([2.0], [0.0])
    nn.AdamW([p], lr=0.1).step()
    assert p.item() == pytest.approx(2 * (1 - 0.1 * 0.01))


def test_sgd_momentum_keeps_the_rate_outside():
    p = with_grad([0.0], [1.0])
    optimizer = nn.SGD([p], lr=1.0, momentum=0.5)
    assert step_of(optimizer, p)[0] == 1.0
    optimizer.param_groups[0]["lr"] = 0.1
    assert step_of(optimizer, p)[0] == pytest.approx(0.15)  # inside it would be 0.6


def test_sgd_dampening_spares_the_first_step():
    p = with_grad([0.0], [1.0])
    optimizer = nn.SGD([p], lr=1.0, momentum=0.5, dampening=0.5)
    assert [step_of(optimizer, p)[0] for _ in range(2)] == [1.0, 1.0]


def test_rmsprop_eps_stands_outside_the_root():
    p = with_grad([0.0], [1e-8])
    assert step_of(nn.RMSprop([p], lr=1e-3, alpha=0.0), p)[0] == pytest.approx(5.0e-4, rel=1e-6)


def test_adagrad_starts_from_its_accumulator():
    p = with_grad([0.0], [3.0])
    assert step_of(nn.Adagrad([p], lr=1.0, initial_accumulator_value=16.0), p)[0] == pytest.approx(0.6)


def test_lion_moves_by_the_rate_along_the_sign_of_a_mean_and_keeps_another():
    p = with_grad([2.0, 2.0], [3.0, -0.1])
    optimizer = nn.Lion([p], lr=0.25, betas=(0.9, 0.5), weight_decay=0.5)
    np.testing.assert_allclose(step_of(optimizer, p), [0.25 + 0.25, -0.25 + 0.25])  # 2 * 0.25 * 0.5 decays
    np.testing.assert_allclose(optimizer.state[0]["mean"], [1.5, -0.05])
    p.grad = tg.tensor(np.array([-13.0, 0.4]))  # 0.9 * 1.5 - 0.1 * 13 = 0.05, still up; -0.045 + 0.04: still down
    before = p.data.copy()
    optimizer.step()
    np.testing.assert_allclose(p.data, before * 0.875 - [0.25, -0.25])


@pytest.mark.parametrize("name", ALL)
def test_maximize_is_the_step_of_the_negative_gradient(name, rng):
    start, gradients = rng.standard_normal(3), rng.standard_normal((5, 3))
    values = []
    for sign, options in ((-1, {}), (1, {"maximize": True})):
        p = nn.Parameter(start)
        optimizer = make(name, [p], lr=0.1, **options)
        for g in gradients:
            p.grad = tg.tensor(sign * g)
            optimizer.step()
        values.append(p.data.copy())
    np.testing.assert_array_equal(*values)
    assert not np.array_equal(values[0], start)


# ----- behaviour -----

@pytest.mark.parametrize("name", ALL)
def test_optimizer_keeps_float32_and_steps_in_place(name, rng):
    p = with_grad(rng.standard_normal((3, 4)).astype(np.float32), rng.standard_normal((3, 4)).astype(np.float32))
    grad, optimizer = p.grad.data.copy(), make(name, [p])
    values = p.data
    for _ in range(3):
        optimizer.step()
    assert p.dtype == np.float32 and np.shares_memory(values, p.data)
    assert np.array_equal(p.grad.data, grad)
    for key, a in optimizer.state_dict()["arrays"].items():
        assert a.dtype == (np.int64 if key.endswith("step") else np.float32)


@pytest.mark.parametrize("name", ALL)
def test_optimizer_learns_a_line(name, rng):
    x = rng.standard_normal((64, 3)).astype(np.float32)
    y = x @ np.array([[1.0], [-2.0], [0.5]], np.float32) + 0.3
    net = nn.Linear(3, 1, rng=rng)
    optimizer = make(name, net.parameters(), lr={"Adagrad": 1.0, "Adadelta": 5.0, "RAdam": 0.1}.get(name, 0.02))
    losses = []
    for _ in range(300):
        optimizer.zero_grad()
        loss = tg.mse_loss(net(tg.tensor(x)), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.02 * losses[0]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("layout", ["C", "F", "view"])
def test_optimizer_does_the_same_for_large_parameters_and_any_memory_order(name, layout, rng):
    """Large ones are done block by block; the gradient may lie differently from the parameter."""
    values, grads = rng.standard_normal((300, 400)), rng.standard_normal((3, 300, 400))
    if layout == "view":
        p = tg.from_numpy(np.ascontiguousarray(values.T)).data.T
        p = tg.from_numpy(p)
        p.requires_grad = True
    else:
        p = nn.Parameter(np.array(values, order=layout))
    rows = [nn.Parameter(row) for row in values]
    whole, small = make(name, [p]), make(name, rows)
    for g in grads:
        p.grad = tg.tensor(np.asfortranarray(g))
        for row, g_row in zip(rows, g):
            row.grad = tg.tensor(g_row)
        whole.step()
        small.step()
    np.testing.assert_allclose(p.data, [row.data for row in rows], rtol=1e-12, atol=1e-15)


def test_optimizer_step_needs_no_large_temporaries():
    p = with_grad(np.zeros(1_000_000, np.float32), np.ones(1_000_000, np.float32))
    optimizer = nn.Adam([p])
    optimizer.step()
    tracemalloc.start()
    optimizer.step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000  # half of what one array of them takes


def test_optimizer_passes_over_what_has_no_gradient():
    a, b = with_grad([1.0], [1.0]), nn.Parameter([1.0])
    nn.SGD([a, b], lr=0.5).step()
    assert a.item() == 0.5 and b.item() == 1.0
    nn.Adam([nn.Parameter(np.zeros((0, 3)))]).step()
    empty = with_grad(np.zeros((0, 3)), np.zeros((0, 3)))
    nn.Adam([empty]).step()
    number = with_grad(2.0, 1.0)
    nn.Adam([number], lr=0.5).step()
    assert number.item() == pytest.approx(1.5)


def test_optimizer_groups_have_their_own_options():
    a, b, c = (with_grad([1.0], [1.0]) for _ in range(3))
    optimizer = nn.SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.1)
    optimizer.add_param_group({"params": [c], "lr": 0.0})
    optimizer.step()
    assert [p.item() for p in (a, b, c)] == pytest.approx([0.9, 0.5, 1.0])
    optimizer.zero_grad()
    assert a.grad is None and c.grad is None


def test_optimizer_takes_numpy_numbers_without_widening():
    p = with_grad(np.ones(2, np.float32), np.ones(2, np.float32))
    nn.SGD([p], lr=np.float64(0.5), weight_decay=np.float64(0.1)).step()
    assert p.dtype == np.float32 and p.data.tolist() == pytest.approx([0.45, 0.45])


def test_no_decay_spares_biases_and_normalisation():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.LayerNorm((2, 2)), nn.Linear(2, 2))
    decayed, spared = nn.no_decay(net, 0.1)
    assert [p.name for p in decayed["params"]] == ["0.weight", "3.weight"]
    assert [p.name for p in spared["params"]] == ["0.bias", "1.weight", "1.bias", "2.weight", "2.bias", "3.bias"]
    optimizer = nn.AdamW(nn.no_decay(net, 0.1), lr=1e-3)
    assert [g["weight_decay"] for g in optimizer.param_groups] == [0.1, 0.0]


# ----- state -----

@pytest.mark.parametrize("name", ALL)
def test_optimizer_state_goes_through_json_and_arrays_exactly(name, rng):
    values, grads = rng.standard_normal((2, 5)), rng.standard_normal((8, 2, 5))
    runs = []
    for interrupted in (False, True):
        params = [nn.Parameter(v) for v in values]
        optimizer = make(name, [{"params": params[:1]}, {"params": params[1:], "lr": 0.03}])
        for t, g in enumerate(grads):
            if interrupted and t == 4:
                saved = optimizer.state_dict()
                groups = json.loads(json.dumps(saved["groups"]))
                params = [nn.Parameter(p.data) for p in params]
                optimizer = make(name, [{"params": params[:1]}, {"params": params[1:]}])
                optimizer.load_state_dict({"arrays": dict(saved["arrays"]), "groups": groups})
            for p, row in zip(params, g):
                p.grad = tg.tensor(row)
            optimizer.step()
        runs.append([p.data for p in params])
    assert np.array_equal(runs[0], runs[1])


def test_optimizer_state_that_does_not_fit_is_refused_and_changes_nothing():
    p, q = with_grad([1.0, 2.0], [1.0, 1.0]), with_grad([1.0], [1.0])
    optimizer = nn.Adam([p])
    optimizer.step()
    before = optimizer.state_dict()

    def refused(state, match):
        with pytest.raises(ValueError, match=match):
            optimizer.load_state_dict(state)
        after = optimizer.state_dict()
        assert after["groups"] == before["groups"]
        assert all(np.array_equal(a, b) for a, b in zip(after["arrays"].values(), before["arrays"].values()))

    refused(nn.Adam([p, q]).state_dict(), r"groups of \[2\] parameters, this optimiser of \[1\]")
    refused(nn.SGD([p]).state_dict(), "another optimiser's")
    other = nn.Adam([q])
    other.step()
    refused(other.state_dict(), r"'0.mean' is float64 of shape \(1,\), expected float64 of shape \(2,\)")
    refused({"arrays": {"7.mean": np.ones(2)}, "groups": before["groups"]}, "'7.mean' belongs to none")
    refused({"arrays": {"0.mean": np.ones(2)}, "groups": before["groups"]}, "expected mean, square, step")
    arrays, groups = before["arrays"], before["groups"]
    refused({"arrays": {**arrays, "0.step": 0.5}, "groups": groups}, r"'0.step' is float64 of shape \(\), expected a count")
    refused({"arrays": {**arrays, "0.mean": np.ones(2, complex)}, "groups": groups}, r"is complex128 of shape \(2,\), expected float64 of shape \(2,\)")
    refused({"arrays": arrays, "groups": [{**groups[0], "lr": -1.0}]}, "lr must be at least 0, got -1.0")
    refused({"arrays": arrays, "groups": [{"lr": 1.0}]}, "has the options lr; it is another optimiser's")
    refused({"arrays": arrays, "groups": ["lr"]}, "has the options 'lr'; it is another optimiser's")
    refused({"arrays": arrays, "groups": 5}, "'arrays' and 'groups', got arrays, groups")
    refused(None, "'arrays' and 'groups', got NoneType")
    copied = before["arrays"]["0.mean"]
    optimizer.step()
    assert not np.array_equal(copied, optimizer.state_dict()["arrays"]["0.mean"])  # a copy it was


@pytest.mark.parametrize("before, after", [(0.0, 0.9), (0.9, 0.0)])
def test_a_state_saved_after_an_option_has_changed_goes_on_exactly(before, after):
    def steps(optimizer, p, n):
        for _ in range(n):
            p.grad = tg.tensor([1.0, -2.0])
            optimizer.step()

    p = nn.Parameter([1.0, 2.0])
    optimizer = nn.SGD([p], 0.1, momentum=before)
    steps(optimizer, p, 3)
    optimizer.param_groups[0]["momentum"] = after
    q = nn.Parameter(p.numpy())
    resumed = nn.SGD([q], 0.1)
    resumed.load_state_dict(optimizer.state_dict())
    steps(optimizer, p, 3)
    steps(resumed, q, 3)
    assert np.array_equal(p.numpy(), q.numpy())


# ----- errors -----

@pytest.mark.parametrize("params, error, match", [
    ([], ValueError, "SGD: got no parameters; pass model.parameters"),
    (lambda: nn.Linear(1, 1), TypeError, "SGD: expects tensors or groups, got Linear; pass model.parameters"),
    (lambda: [np.ones(2)], TypeError, "SGD: expects a tensor as parameter 0, got ndarray; pass model.parameters"),
    (lambda: nn.Linear(1, 1).state_dict(), TypeError, r"with 'params', got \['weight', 'bias'\]"),
    (lambda: nn.Linear(1, 1).named_parameters(), TypeError, "got tuple; pass model.parameters"),
    (lambda: [nn.Parameter([1.0]) * 2.0], TypeError, "that an op computed"),
    (lambda: [tg.tensor([1])], TypeError, "floating point leaf, got a tensor of int64"),
    (lambda: [nn.Parameter([1.0])] * 2, ValueError, r"parameter 1, unnamed of shape \(1,\), is given twice"),
    (lambda: [{"params": [nn.Parameter([1.0])], "rate": 1}], ValueError, "unknown option rate; there are lr"),
    (lambda: [{"lr": 1.0}], TypeError, "a group is a dictionary with 'params'"),
])
def test_optimizer_refuses_parameters(params, error, match):
    with pytest.raises(error, match=match):
        nn.SGD(params() if callable(params) else params)


@pytest.mark.parametrize("kind, options, match", [
    ("SGD", {"lr": -1.0}, "SGD: lr must be at least 0, got -1.0"), ("SGD", {"lr": math.nan}, "lr must be at least 0"),
    ("SGD", {"nesterov": True}, "nesterov needs momentum"), ("Adam", {"betas": (0.9,)}, "betas must be two numbers"),
    ("SGD", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "nesterov needs momentum"),
    ("Adam", {"betas": (0.9, 1.0)}, "betas must be two"),
    ("Adam", {"betas": (-0.1, 0.9)}, "betas must be at least 0"), ("AdamW", {"weight_decay": -1}, "weight_decay"),
    ("RMSprop", {"alpha": -1}, "alpha"), ("Adagrad", {"eps": -1e-3}, "eps"), ("Adam", {"lr": "0.1"}, "lr must be a number"),
])
def test_optimizer_refuses_options(kind, options, match):
    with pytest.raises((ValueError, TypeError), match=match):
        getattr(nn, kind)([nn.Parameter([1.0])], **options)


def test_optimizer_refuses_a_parameter_of_two_groups_and_keeps_what_it_had():
    p = nn.Parameter([1.0])
    optimizer = nn.SGD([p])
    with pytest.raises(ValueError, match="given twice"):
        optimizer.add_param_group({"params": p})
    with pytest.raises(ValueError, match="lr must be at least 0"):
        optimizer.add_param_group({"params": nn.Parameter([1.0]), "lr": -1})
    assert len(optimizer.param_groups) == 1


def test_optimizer_refuses_a_gradient_of_another_shape_before_anything_changes():
    a, b = with_grad([1.0], [1.0]), with_grad([1.0, 2.0], [1.0])
    optimizer = nn.SGD([a, b], lr=0.5)
    with pytest.raises(ValueError, match=r"gradient of parameter 1, unnamed, has shape \(1,\), the parameter \(2,\)"):
        optimizer.step()
    assert a.item() == 1.0 and optimizer.state == {}


def test_optimizer_step_between_forward_and_backward_is_noticed():
    p = with_grad([1.0], [1.0])
    y = (p * p).sum()
    nn.SGD([p], lr=0.1).step()
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


def test_optimizer_without_a_rule_says_so():
    with pytest.raises(NotImplementedError, match="has no update"):
        nn.Optimizer([with_grad([1.0], [1.0])], {"lr": 1.0}).step()


# ----- clipping -----

@pytest.mark.parametrize("norm_type", [1, 2.0, 3, math.inf])
def test_clip_grad_norm_scales_all_gradients_together(norm_type, rng):
    params = [with_grad(np.zeros(s), rng.standard_normal(s)) for s in ((3, 2), (4,), ())] + [nn.Parameter([1.0])]
    flat = np.concatenate([p.grad.data.ravel() for p in params[:3]])
    norm = np.linalg.norm(flat, norm_type)
    assert nn.clip_grad_norm_(params, 100.0, norm_type) == pytest.approx(norm)
    assert np.array_equal(np.concatenate([p.grad.data.ravel() for p in params[:3]]), flat)
    assert nn.clip_grad_norm_((p for p in params), 0.5, norm_type) == pytest.approx(norm)
    np.testing.assert_allclose(np.concatenate([p.grad.data.ravel() for p in params[:3]]), flat * 0.5 / norm, rtol=1e-5)


def test_clip_grad_norm_keeps_float32_and_the_gradient_tensor():
    p = with_grad(np.zeros(2, np.float32), np.array([3, 4], np.float32))
    grad = p.grad
    assert nn.clip_grad_norm_(p, 1.0) == 5.0
    assert p.grad is grad and grad.dtype == np.float32
    assert np.linalg.norm(grad.data) == pytest.approx(1, rel=1e-5)


def test_clip_grad_norm_of_what_is_not_finite():
    for bad in (math.nan, math.inf):
        p = with_grad([0.0, 0.0], [1.0, bad])
        with pytest.raises(RuntimeError, match="the norm of the gradients is"):
            nn.clip_grad_norm_([p], 1.0, error_if_nonfinite=True)
        assert p.grad.data[0] == 1.0
        assert not math.isfinite(nn.clip_grad_norm_([p], 1.0))
    assert nn.clip_grad_norm_([nn.Parameter([1.0])], 1.0) == 0.0
    with pytest.raises(ValueError, match="max_norm must be at least 0"):
        nn.clip_grad_norm_([p], -1.0)


def test_clip_grad_norm_of_a_recorded_gradient_leaves_its_graph_alone():
    p = nn.Parameter([3.0])
    (p * p * p).sum().backward(create_graph=True)
    recorded = p.grad
    nn.clip_grad_norm_([p], 1.0)
    assert p.grad.item() == pytest.approx(1, rel=1e-4) and recorded.item() == 27
    assert tg.grad(lambda q: (q * q * q).sum())(p).item() == 27


def test_optimizer_refuses_a_set_whose_order_changes():
    params = [nn.Parameter([1.0]), nn.Parameter([2.0])]
    for given in (set(params), [{"params": frozenset(params)}]):
        with pytest.raises(TypeError, match="SGD: a set has no order, and saved states go by position"):
            nn.SGD(given)


def test_optimizer_state_of_another_form_is_refused():
    with pytest.raises(ValueError, match="'arrays' and 'groups', got state, param_groups; PyTorch's"):
        nn.SGD([nn.Parameter([1.0])]).load_state_dict({"state": {}, "param_groups": []})


def test_clip_grad_norm_of_a_used_up_iterator_is_no_norm_of_zero():
    params = nn.Linear(2, 2).parameters()
    list(params)
    with pytest.raises(ValueError, match="clip_grad_norm_: got no parameters; .* anew"):
        nn.clip_grad_norm_(params, 1.0)


@pytest.mark.parametrize("dtype, size", [(np.float16, 300.0), (np.float32, 1e25)])
def test_clip_grad_norm_does_not_overflow_the_gradients_own_type(dtype, size):
    """An infinite norm would make all gradients 0."""
    p = nn.Parameter(np.ones(4, dtype))
    p.grad = tg.tensor(np.full(4, size, dtype))
    assert nn.clip_grad_norm_([p], 1.0) == pytest.approx(2 * size, rel=1e-6)
    assert p.grad.dtype == dtype and p.grad.numpy() == pytest.approx(0.5, rel=1e-3)


def test_clip_grad_norm_refuses_what_is_no_tensor_and_no_number():
    net = nn.Linear(2, 2)
    for given, got in ((net, "Linear"), (nn.Sequential(net), "Linear"), (net.named_parameters(), "tuple")):
        with pytest.raises(TypeError, match=f"clip_grad_norm_: expects tensors, got {got}; pass model.parameters"):
            nn.clip_grad_norm_(given, 1.0)
    with pytest.raises(ValueError, match="norm_type above 0, got None and 2.0"):
        nn.clip_grad_norm_(net.parameters(), None)
    with pytest.raises(ValueError, match="norm_type above 0, got 1.0 and 'inf'"):
        nn.clip_grad_norm_(net.parameters(), 1.0, "inf")


def test_a_state_saved_before_an_option_existed_is_loaded_with_the_option_off():
    p = with_grad([1.0], [0.5])
    optimizer = nn.Adam([p])
    optimizer.step()
    state = optimizer.state_dict()
    for group in state["groups"]:
        del group["maximize"], group["amsgrad"]
    other = nn.Adam([with_grad([1.0], [0.5])], maximize=True)
    other.load_state_dict(state)
    assert other.param_groups[0]["maximize"] is False and other.state[0]["step"] == 1
