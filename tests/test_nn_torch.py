"""nn beside PyTorch: layers from one state, printed trees, losses, optimisers with schedules, clipping."""
from __future__ import annotations

import inspect

import numpy as np
import pytest

import nn
import tinygrad_conv as tg

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
TL = torch.optim.lr_scheduler

LAYERS = {  # the same expression for both: m is nn or torch.nn, k the dtype
    "Linear": (lambda m, k: m.Linear(6, 3, **k), (2, 5, 6)),
    "Linear no bias": (lambda m, k: m.Linear(6, 3, False, **k), (6,)),
    "Conv1d": (lambda m, k: m.Conv1d(4, 6, 3, 2, 1, 2, 2, **k), (2, 4, 11)),
    "Conv1d circular": (lambda m, k: m.Conv1d(4, 6, 3, padding=2, padding_mode="circular", **k), (2, 4, 11)),
    "Conv2d": (lambda m, k: m.Conv2d(4, 6, (3, 2), (2, 1), (1, 2), (1, 2), 2, False, **k), (2, 4, 6, 7)),
    "Conv2d same": (lambda m, k: m.Conv2d(2, 3, 4, padding="same", **k), (2, 2, 5, 6)),
    "Conv2d valid": (lambda m, k: m.Conv2d(2, 3, 4, padding="valid", **k), (2, 2, 5, 6)),
    "Conv2d reflect": (lambda m, k: m.Conv2d(2, 3, 3, 2, (1, 2), padding_mode="reflect", **k), (2, 2, 5, 5)),
    "Conv2d replicate": (lambda m, k: m.Conv2d(2, 3, 3, 1, 2, padding_mode="replicate", **k), (2, 2, 5, 5)),
    "Conv2d circular": (lambda m, k: m.Conv2d(2, 3, 3, padding=(2, 1), padding_mode="circular", **k), (2, 2, 5, 5)),
    "Conv2d same reflect": (lambda m, k: m.Conv2d(2, 3, 4, padding="same", padding_mode="reflect", **k), (2, 2, 5, 6)),
    "ConvTranspose1d": (lambda m, k: m.ConvTranspose1d(4, 6, 3, 2, 1, 1, 2, **k), (2, 4, 5)),
    "ConvTranspose2d": (lambda m, k: m.ConvTranspose2d(4, 6, 3, 3, 1, 2, 2, True, 2, **k), (2, 4, 4, 5)),
    "MaxPool1d": (lambda m, k: m.MaxPool1d(3, 2, 1, ceil_mode=True), (2, 3, 8)),
    "MaxPool2d": (lambda m, k: m.MaxPool2d(3, 2, 1, 1, False, True), (2, 3, 6, 7)),
    "AvgPool1d": (lambda m, k: m.AvgPool1d(3, 2, 1, True, False), (2, 3, 8)),
    "AvgPool2d": (lambda m, k: m.AvgPool2d(3, 2, 1, True, False), (2, 3, 6, 7)),
    "AvgPool2d divisor": (lambda m, k: m.AvgPool2d((2, 3), divisor_override=4), (2, 3, 6, 7)),
    "AdaptiveAvgPool2d": (lambda m, k: m.AdaptiveAvgPool2d((3, None)), (2, 3, 7, 5)),
    "AdaptiveMaxPool2d": (lambda m, k: m.AdaptiveMaxPool2d((3, 2)), (2, 3, 7, 5)),
    "BatchNorm1d": (lambda m, k: m.BatchNorm1d(3, **k), (5, 3)),
    "BatchNorm1d NCL": (lambda m, k: m.BatchNorm1d(3, 1e-3, None, **k), (5, 3, 4)),
    "BatchNorm2d": (lambda m, k: m.BatchNorm2d(3, momentum=0.3, **k), (4, 3, 3, 2)),
    "BatchNorm2d bare": (lambda m, k: m.BatchNorm2d(3, affine=False, track_running_stats=False, **k), (4, 3, 3, 2)),
    "LayerNorm": (lambda m, k: m.LayerNorm((3, 4), **k), (2, 3, 4)),
    "LayerNorm no bias": (lambda m, k: m.LayerNorm(4, bias=False, **k), (2, 3, 4)),
    "GroupNorm": (lambda m, k: m.GroupNorm(2, 4, **k), (2, 4, 3, 3)),
    "InstanceNorm2d": (lambda m, k: m.InstanceNorm2d(3, **k), (2, 3, 3, 3)),
    "InstanceNorm2d tracked": (lambda m, k: m.InstanceNorm2d(3, 1e-4, 0.2, True, True, **k), (2, 3, 3, 3)),
    "Flatten": (lambda m, k: m.Flatten(1, 2), (2, 3, 4, 5)),
    "Identity": (lambda m, k: m.Identity(), (2, 3)),
    "LeakyReLU": (lambda m, k: m.LeakyReLU(0.2), (3, 4)),
    "ELU": (lambda m, k: m.ELU(1.5), (3, 4)),
    "GELU": (lambda m, k: m.GELU(), (3, 4)),
    "GELU tanh": (lambda m, k: m.GELU("tanh"), (3, 4)),
    "Softplus": (lambda m, k: m.Softplus(2.0, 1.0), (3, 4)),
    "Hardtanh": (lambda m, k: m.Hardtanh(-0.5, 0.7), (3, 4)),
    "Softmax": (lambda m, k: m.Softmax(1), (3, 4)),
    "LogSoftmax": (lambda m, k: m.LogSoftmax(0), (3, 4)),
    **{name: (lambda m, k, name=name: getattr(m, name)(), (3, 4)) for name in (
        "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Tanh", "Mish", "Hardswish", "LogSigmoid")},
    "PReLU": (lambda m, k: m.PReLU(**k), (2, 3, 4)), "PReLU channels": (lambda m, k: m.PReLU(3, 0.1, **k), (2, 3, 4)),
    "AdaptiveAvgPool1d": (lambda m, k: m.AdaptiveAvgPool1d(3), (2, 3, 7)),
    "ConstantPad1d": (lambda m, k: m.ConstantPad1d((2, -1), 1.5), (2, 3, 5)), "ConstantPad2d": (lambda m, k: m.ConstantPad2d(1, 2.0), (2, 3, 4, 5)),
    "ZeroPad1d": (lambda m, k: m.ZeroPad1d(2), (2, 3, 5)), "ZeroPad2d": (lambda m, k: m.ZeroPad2d((1, 2, 3, 4)), (2, 3, 4, 5)),
    "ReflectionPad1d": (lambda m, k: m.ReflectionPad1d((1, 2)), (2, 3, 5)), "ReflectionPad2d": (lambda m, k: m.ReflectionPad2d((1, 2, 0, 3)), (2, 3, 4, 5)),
    "ReplicationPad1d": (lambda m, k: m.ReplicationPad1d((1, 2)), (2, 3, 5)), "ReplicationPad2d": (lambda m, k: m.ReplicationPad2d((1, 2, 0, 3)), (2, 3, 4, 5)),
    "CircularPad1d": (lambda m, k: m.CircularPad1d((1, 2)), (2, 3, 5)), "CircularPad2d": (lambda m, k: m.CircularPad2d((1, 2, 0, 3)), (3, 4, 5)),
    "Upsample": (lambda m, k: m.Upsample(scale_factor=(1.5, 2)), (2, 3, 4, 5)), "Upsample size": (lambda m, k: m.Upsample((3, 9), mode="bicubic"), (2, 3, 4, 5)),
    "Upsample aligned": (lambda m, k: m.Upsample(None, 2, "bilinear", True), (2, 3, 4, 5)),
    "UpsamplingNearest2d": (lambda m, k: m.UpsamplingNearest2d(scale_factor=3), (2, 3, 4, 5)),
    "UpsamplingBilinear2d": (lambda m, k: m.UpsamplingBilinear2d(size=(6, 7)), (2, 3, 4, 5)),
    "PixelShuffle": (lambda m, k: m.PixelShuffle(2), (2, 8, 3, 4)), "PixelUnshuffle": (lambda m, k: m.PixelUnshuffle(2), (2, 3, 4, 6)),
    "Unfold": (lambda m, k: m.Unfold((2, 3), 1, 1, 2), (2, 3, 4, 6)), "Fold": (lambda m, k: m.Fold((4, 5), (2, 2), 1, 1, 2), (2, 8, 9)),
}


def both(make, **options):
    """Our module and PyTorch's in float64, ours with PyTorch's values."""
    ours, theirs = make(nn, {"dtype": np.float64, **options}), make(torch.nn, {"dtype": torch.float64, **options})
    state = {k: v.detach().numpy() for k, v in theirs.state_dict().items()}
    ours.load_state_dict(state)
    assert list(ours.state_dict()) == list(state)
    return ours, theirs


def close(ours, theirs, rtol=1e-10):
    theirs = theirs.detach().numpy() if isinstance(theirs, torch.Tensor) else theirs
    np.testing.assert_allclose(np.asarray(ours), theirs, rtol=rtol, atol=1e-12)


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize("name", LAYERS)
def test_layer_equals_torch(name, rng):
    """Value, gradients, running statistics; in training (two batches) and in evaluation."""
    make, shape = LAYERS[name]
    ours, theirs = both(make)
    for p, q in zip(ours.parameters(), theirs.parameters()):
        values = rng.standard_normal(p.shape)
        p.mutate()[...] = values
        q.data = torch.tensor(values)
    for mode in (True, True, False):
        ours.train(mode)
        theirs.train(mode)
        array = rng.standard_normal(shape)
        x, t = tg.tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True)
        y, u = ours(x), theirs(t)
        g = rng.standard_normal(y.shape)
        y.backward(g)
        u.backward(torch.tensor(g))
        close(y.detach(), u)
        close(x.grad, t.grad)
        for p, q in zip(ours.parameters(), theirs.parameters()):
            close(p.grad, q.grad)
            p.grad = q.grad = None
        for (key, a), b in zip(ours.state_dict().items(), theirs.state_dict().values()):
            if not (name.startswith("Instance") and key == "num_batches_tracked"):  # PyTorch does not count there
                close(a, b)


@pytest.mark.parametrize("name", LAYERS)
def test_layer_prints_as_torchs(name):
    make, _ = LAYERS[name]
    ours, theirs = repr(make(nn, {})), repr(make(torch.nn, {}))
    if "Norm" in name:  # newer PyTorch says whether there is a bias
        theirs = theirs.replace(", bias=True", "").replace(", bias=False", "")
    if name.startswith("AvgPool1d"):
        theirs = theirs.replace("(3,)", "3").replace("(2,)", "2").replace("(1,)", "1")
    assert ours == theirs


@pytest.mark.parametrize("name", sorted({n.split()[0] for n in LAYERS} | {"Dropout", "Dropout2d", "MaxUnpool2d"}))
def test_layer_takes_torchs_arguments_in_torchs_order(name):
    """Except what we do not have: devices, in-place forms, deprecated spellings."""
    absent = {"self", "device", "inplace", "min_value", "max_value", "args", "kwargs"}

    def positional(cls):
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD,)
        return [(p.name, p.default) for p in inspect.signature(cls.__init__).parameters.values()
                if p.kind in kinds and p.name not in absent | {"dtype"}]

    ours, theirs = positional(getattr(nn, name)), positional(getattr(torch.nn, name))
    if name in ("Softmax", "LogSoftmax"):  # None, deprecated there, is the last axis here
        theirs = [("dim", -1)]
    assert ours == theirs


LOSSES = {
    "cross entropy": (lambda m, a: m.CrossEntropyLoss(a(WEIGHTS), label_smoothing=0.1, ignore_index=1), "class"),
    "cross entropy soft": (lambda m, a: m.CrossEntropyLoss(a(WEIGHTS), label_smoothing=0.2), "probability"),
    "nll": (lambda m, a: m.NLLLoss(a(WEIGHTS)), "class"),
    "multi margin": (lambda m, a: m.MultiMarginLoss(2, 0.7, a(WEIGHTS)), "class"),
    "mse": (lambda m, a: m.MSELoss(), "any"), "l1": (lambda m, a: m.L1Loss(), "any"),
    "smooth l1": (lambda m, a: m.SmoothL1Loss(beta=0.4), "any"), "huber": (lambda m, a: m.HuberLoss(delta=0.4), "any"),
    "bce": (lambda m, a: m.BCEWithLogitsLoss(a(WEIGHTS), pos_weight=a(WEIGHTS[::-1].copy())), "probability"),
    "bce of probabilities": (lambda m, a: (lambda f: type("P", (), {"__call__": lambda s, x, t: f(x.sigmoid(), t), "state_dict": lambda s: f.state_dict(),
                                                                    "__setattr__": lambda s, k, v: setattr(f, k, v)})())(m.BCELoss(a(WEIGHTS))), "probability"),
    "kl": (lambda m, a: m.KLDivLoss(), "probability"), "kl log": (lambda m, a: m.KLDivLoss(log_target=True), "any"),
}
WEIGHTS = np.array([0.5, 2.0, 1.5])


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides:UserWarning")
def test_loss_module_equals_torch(name, reduction, rng):
    make, kind = LOSSES[name]
    ours, theirs = make(nn, lambda w: w), make(torch.nn, torch.tensor)
    ours.reduction = theirs.reduction = reduction
    assert list(ours.state_dict()) == list(theirs.state_dict())
    array = rng.standard_normal((6, 3))
    target = {"class": rng.integers(0, 3, 6), "any": rng.standard_normal((6, 3)),
              "probability": rng.dirichlet(np.ones(3), 6)}[kind]
    x, t = tg.tensor(array, requires_grad=True), torch.tensor(array, requires_grad=True)
    y, u = ours(x, target), theirs(t, torch.tensor(target))
    close(y.detach(), u)
    y.sum().backward()
    u.sum().backward()
    close(x.grad, t.grad)


# ----- optimisers and schedules -----

OPTIMIZERS = {
    "SGD": {"lr": 0.1}, "SGD momentum": {"lr": 0.05, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.02},
    "SGD nesterov": {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    "Adam": {"lr": 0.05}, "Adam decay": {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1},
    "AdamW": {"lr": 0.05, "weight_decay": 0.1}, "RMSprop": {"lr": 0.02},
    "RMSprop all": {"lr": 0.02, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1, "momentum": 0.5, "centered": True},
    "Adam amsgrad": {"lr": 0.05, "amsgrad": True, "betas": (0.8, 0.9)}, "AdamW amsgrad": {"lr": 0.05, "amsgrad": True, "maximize": True},
    "SGD up": {"lr": 0.01, "maximize": True, "weight_decay": 0.1}, "Adadelta": {}, "Adadelta decay": {"lr": 0.5, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.1, "maximize": True},
    "NAdam": {"lr": 0.05}, "NAdam decay": {"lr": 0.05, "betas": (0.8, 0.95), "weight_decay": 0.1, "momentum_decay": 0.01, "maximize": True},
    "NAdam decoupled": {"lr": 0.05, "weight_decay": 0.1, "decoupled_weight_decay": True},
    "RAdam": {"lr": 0.05, "betas": (0.9, 0.95)}, "RAdam decay": {"lr": 0.05, "weight_decay": 0.1, "maximize": True},
    "RAdam decoupled": {"lr": 0.05, "betas": (0.9, 0.9), "weight_decay": 0.1, "decoupled_weight_decay": True},
    "Adagrad": {"lr": 0.2, "lr_decay": 0.05, "weight_decay": 0.1, "initial_accumulator_value": 0.1, "eps": 1e-6},
}
SCHEDULES = {
    "none": lambda m, o: None, "StepLR": lambda m, o: m.StepLR(o, 7, 0.5),
    "MultiStepLR": lambda m, o: m.MultiStepLR(o, [5, 20, 20, 30], 0.5),
    "ExponentialLR": lambda m, o: m.ExponentialLR(o, 0.95),
    "CosineAnnealingLR": lambda m, o: m.CosineAnnealingLR(o, 40, 0.001),  # and on after its end
    "LinearLR": lambda m, o: m.LinearLR(o, 0.1, 0.9, 20), "PolynomialLR": lambda m, o: m.PolynomialLR(o, 30, 1.7),
    "CosineAnnealingWarmRestarts": lambda m, o: m.CosineAnnealingWarmRestarts(o, 7, 2, 0.001),
    "warm restarts": lambda m, o: m.CosineAnnealingWarmRestarts(o, 9), "LambdaLR": lambda m, o: m.LambdaLR(o, [lambda t: 0.9 ** t, lambda t: 1 / (1 + t)]),
    "SequentialLR": lambda m, o: m.SequentialLR(o, [m.LinearLR(o, 0.1, total_iters=10), m.CosineAnnealingLR(o, 25),
                                                    m.StepLR(o, 5)], [10, 35]),
}


def groups(params):
    return [{"params": params[:1]}, {"params": params[1:], "lr": 0.03}]


def train(optimizer, params, schedule, grads, set_grad, read):
    """Quadratic wells with noise: 50 steps; every step's values, rates."""
    seen = []
    for noise in grads:
        optimizer.zero_grad()
        for p, n in zip(params, noise):
            set_grad(p, np.tanh(read(p)) + n)
        optimizer.step()
        if schedule is not None:
            schedule.step()
        seen.append([g["lr"] for g in optimizer.param_groups] + [v for p in params for v in read(p).ravel()])
    return np.array(seen)


def set_torch(p, g):
    p.grad = torch.tensor(g)


def set_ours(p, g):
    p.grad = tg.tensor(g)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_equals_torch_for_fifty_steps(name, schedule, rng):
    starts, grads = rng.standard_normal((2, 3, 2)), rng.standard_normal((50, 2, 3, 2)) * 0.5
    ours, theirs = [nn.Parameter(s) for s in starts], [torch.nn.Parameter(torch.tensor(s)) for s in starts]
    kind = name.split()[0]
    a, b = getattr(nn, kind)(groups(ours), **OPTIMIZERS[name]), getattr(torch.optim, kind)(groups(theirs), **OPTIMIZERS[name])
    np.testing.assert_allclose(
        train(a, ours, SCHEDULES[schedule](nn, a), grads, set_ours, lambda p: p.data.copy()),
        train(b, theirs, SCHEDULES[schedule](TL, b), grads, set_torch, lambda p: p.detach().numpy().copy()),
        rtol=1e-5 if kind == "NAdam" else 1e-9, atol=1e-9 if kind == "NAdam" else 1e-12)  # theirs multiplies its momenta in float32


@pytest.mark.parametrize("kind", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "NAdam", "RAdam"])
def test_optimizer_defaults_are_torchs(kind):
    ours, theirs = (getattr(m, kind)([p]).defaults for m, p in (
        (nn, nn.Parameter([1.0])), (torch.optim, torch.nn.Parameter(torch.ones(1)))))
    assert {k: theirs[k] for k in ours} == ours


@pytest.mark.parametrize("home, name", [(TL, name) for name in (
    "StepLR", "MultiStepLR", "CosineAnnealingLR", "LinearLR", "OneCycleLR", "ReduceLROnPlateau", "PolynomialLR",
    "CosineAnnealingWarmRestarts")] + [
        (torch.nn, name) for name in ("CrossEntropyLoss", "NLLLoss", "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss",
                                      "BCEWithLogitsLoss", "KLDivLoss", "MultiMarginLoss", "BCELoss", "MarginRankingLoss", "TripletMarginLoss")])
def test_schedule_and_loss_defaults_are_torchs(home, name):
    ours, theirs = defaults(getattr(nn, name).__init__), defaults(getattr(home, name).__init__)
    assert ours and ours == {k: theirs[k] for k in ours}


def defaults(f):
    return {p.name: p.default for p in inspect.signature(f).parameters.values() if p.default is not p.empty}


@pytest.mark.parametrize("ours, theirs", [(tg, torch.nn.functional), (nn.init, torch.nn.init)],
                         ids=["functional", "init"])
def test_defaults_of_functions_are_torchs(ours, theirs):
    checked = 0
    for name in [n for n in dir(ours) if callable(getattr(ours, n)) and inspect.isfunction(getattr(theirs, n, None))]:
        a, b = defaults(getattr(ours, name)), defaults(getattr(theirs, name))
        assert a.items() >= {k: b[k] for k in a.keys() & b.keys()}.items(), name
        checked += len(a.keys() & b.keys())
    assert checked > 12


@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("options", [
    {}, {"anneal_strategy": "linear", "pct_start": 0.5}, {"three_phase": True, "div_factor": 10.0},
    {"cycle_momentum": False, "final_div_factor": 50.0}, {"base_momentum": 0.5, "max_momentum": 0.6}])
def test_one_cycle_equals_torch(kind, options, rng):
    starts, grads = rng.standard_normal((2, 3)), rng.standard_normal((50, 2, 3)) * 0.5
    ours, theirs = [nn.Parameter(s) for s in starts], [torch.nn.Parameter(torch.tensor(s)) for s in starts]
    a, b = getattr(nn, kind)(groups(ours), lr=0.1), getattr(torch.optim, kind)(groups(theirs), lr=0.1)
    np.testing.assert_allclose(
        train(a, ours, nn.OneCycleLR(a, [0.1, 0.3], 50, **options), grads, set_ours, lambda p: p.data.copy()),
        train(b, theirs, TL.OneCycleLR(b, [0.1, 0.3], 50, **options), grads, set_torch, lambda p: p.detach().numpy().copy()),
        rtol=1e-5 if kind == "NAdam" else 1e-9, atol=1e-9 if kind == "NAdam" else 1e-12)  # theirs multiplies its momenta in float32


@pytest.mark.parametrize("options", [
    {"patience": 2}, {"mode": "max", "patience": 0, "cooldown": 3}, {"threshold": 0.1, "factor": 0.5, "patience": 1},
    {"threshold_mode": "abs", "threshold": 0.3, "patience": 1, "min_lr": 1e-3}, {"eps": 0.5, "patience": 0}])
@pytest.mark.parametrize("sign", [1, -1])
def test_plateau_equals_torch(options, sign, rng):
    a = nn.SGD([nn.Parameter([1.0])], lr=1.0)
    b = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
    s, t = nn.ReduceLROnPlateau(a, **options), TL.ReduceLROnPlateau(b, **options)
    metrics = sign * (rng.standard_normal(60) + np.linspace(3, 1, 60))
    metrics[[7, 20, 21]] = np.nan, np.inf, -np.inf
    for metric in metrics:
        s.step(metric)
        t.step(metric)
        assert a.param_groups[0]["lr"] == pytest.approx(b.param_groups[0]["lr"], rel=1e-12)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.5, float("inf")])
@pytest.mark.parametrize("max_norm", [0.1, 1e3])
def test_clip_grad_norm_equals_torch(norm_type, max_norm, rng):
    arrays = [rng.standard_normal(s) for s in ((3, 4), (5,), ())]
    ours, theirs = [nn.Parameter(a) for a in arrays], [torch.nn.Parameter(torch.tensor(a)) for a in arrays]
    for p, q, a in zip(ours, theirs, arrays):
        p.grad, q.grad = tg.tensor(2 * a), torch.tensor(2 * a)
    total = nn.clip_grad_norm_(ours, max_norm, norm_type)
    assert total == pytest.approx(torch.nn.utils.clip_grad_norm_(theirs, max_norm, norm_type).item(), rel=1e-12)
    for p, q in zip(ours, theirs):
        close(p.grad, q.grad)


def test_initialisation_gains_and_fans_are_torchs():
    for name in ("linear", "conv1d", "conv2d", "conv_transpose1d", "conv_transpose2d", "sigmoid", "tanh", "relu", "leaky_relu",
                 "selu"):
        assert nn.init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name))
    assert nn.init.calculate_gain("leaky_relu", 0.3) == pytest.approx(torch.nn.init.calculate_gain("leaky_relu", 0.3))
    for shape in ((4, 3), (8, 2, 3), (8, 2, 3, 5)):
        assert nn.init.fans(shape) == torch.nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))


def test_weights_saved_here_load_in_torch_and_back(tmp_path, rng):
    load, save = (pytest.importorskip("safetensors.torch").load_file, pytest.importorskip("safetensors.torch").save_file)

    def net(m, **k):
        return m.Sequential(m.Conv2d(1, 2, 3, **k), m.BatchNorm2d(2), m.Flatten(), m.Linear(8, 2, **k))

    ours, theirs = net(nn, rng=rng), net(torch.nn)
    nn.save(ours, tmp_path / "a")
    theirs.load_state_dict(load(tmp_path / "a"))
    close(theirs.state_dict()["3.weight"].numpy(), ours[3].weight.data)
    save(net(torch.nn).state_dict(), tmp_path / "b")
    assert ours.load_state_dict(nn.load(tmp_path / "b")) == ([], [])
