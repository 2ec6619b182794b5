"""Gradients by example: those of a loop over the examples, those of PyTorch's vmap, and what is refused."""
from __future__ import annotations

import numpy as np
import pytest

import nn
import tinygrad_conv as tg


def looped(model, loss, x, y):
    """The definition."""
    rows = []
    for n in range(len(x)):
        model.zero_grad()
        loss(model(x[n:n + 1]), y[n:n + 1]).backward()
        rows.append({name: np.zeros(p.shape) if p.grad is None else p.grad.data.copy()
                     for name, p in model.named_parameters()})
    model.zero_grad()
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def check(model, loss, x, y, tolerance=1e-9):
    found = nn.per_example_grads(model, loss, x, y)
    assert all(p.grad is None for p in model.parameters())
    expected = looped(model, loss, x, y)
    assert list(found) == list(expected)
    assert any(np.abs(g).max() > 1e-3 for g in expected.values())
    for name, g in expected.items():
        assert found[name].shape == g.shape and found[name].dtype == dict(model.named_parameters())[name].dtype
        np.testing.assert_allclose(found[name].data, g, rtol=tolerance, atol=tolerance, err_msg=name)
    return found


def doubles(*layers: nn.Module) -> nn.Sequential:
    """A model in float64 with parameters that are no round numbers."""
    model, rng = nn.Sequential(*layers), np.random.default_rng(1)
    for p in model.parameters():
        p.data = rng.normal(0.1, 0.5, p.shape)
    return model


D = {"dtype": np.float64}
MODELS = {
    "cnn": lambda: [nn.Conv2d(2, 3, 3, padding=1, **D), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 4, 2, stride=2, bias=False, **D),
                    nn.Sigmoid(), nn.Flatten(), nn.Linear(16, 3, **D)],
    "groups": lambda: [nn.Conv2d(2, 4, (1, 3), stride=(2, 1), padding=1, dilation=(1, 2), groups=2, **D), nn.AvgPool2d(2),
                       nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3, bias=False, **D)],
    "depthwise": lambda: [nn.Conv2d(2, 4, 3, groups=2, **D), nn.Conv2d(4, 3, 1, **D), nn.GlobalAvgPool2d(), nn.Flatten()],
    "lines, and padding around": lambda: [nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular", **D), nn.Flatten(2),
                                          nn.Conv1d(3, 3, 5, stride=3, **D), nn.AdaptiveMaxPool2d((3, 1)), nn.Flatten()],
    "transposed": lambda: [nn.ConvTranspose2d(2, 3, 3, stride=2, output_padding=1, **D), nn.Tanh(), nn.GlobalAvgPool2d(),
                           nn.Flatten()],
    "transposed, groups": lambda: [nn.ConvTranspose2d(2, 4, 2, groups=2, **D), nn.GlobalAvgPool2d(), nn.Flatten()],
    "layer norm": lambda: [nn.LayerNorm((8, 8), **D), nn.Conv2d(2, 3, 3, **D), nn.GlobalAvgPool2d(), nn.Flatten(),
                           nn.LayerNorm(3, **D)],
    "group norm": lambda: [nn.Conv2d(2, 4, 3, **D), nn.GroupNorm(2, 4, **D), nn.ReLU(), nn.GlobalAvgPool2d(), nn.Flatten()],
    "instance norm": lambda: [nn.Conv2d(2, 4, 3, **D), nn.InstanceNorm2d(4, affine=True, **D), nn.ReLU(), nn.Flatten(),
                              nn.Linear(144, 3, **D)],
    "linear of many rows": lambda: [nn.Linear(8, 5, **D), nn.Tanh(), nn.Linear(5, 3, **D), nn.Flatten()],
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("n", [1, 4])
def test_layers_give_what_a_loop_gives(name, n):
    rng = np.random.default_rng(0)
    check(doubles(*MODELS[name]()), tg.cross_entropy, rng.standard_normal((n, 2, 8, 8)), rng.integers(0, 3, n))


@pytest.mark.parametrize("family", ["numpy", "auto"])
def test_the_training_network_in_float32_on_every_family(family):
    rng = np.random.default_rng(0)
    model = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1, rng=rng), nn.ReLU(), nn.MaxPool2d(2),
                          nn.Conv2d(32, 64, 3, padding=1, rng=rng), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                          nn.Linear(64 * 49, 10, rng=rng))
    with tg.use_kernels(family):
        check(model, nn.CrossEntropyLoss(), rng.standard_normal((3, 1, 28, 28)).astype(np.float32), np.array([3, 1, 4]), 2e-5)


def test_they_are_those_of_pytorchs_vmap():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)

    def network(lib):
        return lib.Sequential(lib.Conv2d(1, 4, 3, padding=1), lib.ReLU(), lib.MaxPool2d(2), lib.BatchNorm2d(4), lib.Flatten(),
                              lib.Linear(64, 3)).eval()
    ours, theirs = network(nn), network(torch.nn)
    theirs.load_state_dict({k: torch.tensor(v) for k, v in ours.state_dict().items()})
    x, y = rng.standard_normal((6, 1, 8, 8)).astype(np.float32), rng.integers(0, 3, 6)

    def loss(parameters, x, y):
        out = torch.func.functional_call(theirs, parameters, (x[None],))
        return torch.nn.functional.cross_entropy(out, y[None])
    parameters = {k: v.detach() for k, v in theirs.named_parameters()}
    expected = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))(parameters, torch.tensor(x), torch.tensor(y))
    found = nn.per_example_grads(ours, tg.cross_entropy, x, y)
    assert list(found) == list(expected)
    for name, g in expected.items():
        np.testing.assert_allclose(found[name].data, g, atol=1e-6, err_msg=name)


class Custom(nn.Module):
    """`f(self, x)` of parameters a (2, 3) and b (3,)."""

    def __init__(self, f) -> None:
        super().__init__()
        rng = np.random.default_rng(2)
        self.a, self.b = nn.Parameter(rng.normal(size=(2, 3))), nn.Parameter(rng.normal(size=3))
        self.f = f

    def forward(self, x):
        return self.f(self, x)


turned = tg.primitive(lambda x, w: x @ w.T)  # a user's op, of which nothing but its derivatives is known
turned.defvjp(lambda g, ans, x, w: g @ w, lambda g, ans, x, w: g.T @ x)
WAYS = {
    "entry by entry": lambda m, x: (x * m.b + tg.exp(m.a[0]) / (1 + x * x)) ** 2.0,
    "along an axis of length 1": lambda m, x: x[:, None] * m.a[None] + m.b[None, None],
    "used twice, and from nowhere": lambda m, x: tg.linear(tg.tanh(tg.linear(x, m.a) @ m.a), m.a) * m.a[:, 0],
    "computed from both": lambda m, x: tg.linear(x, m.a / m.a.norm(dim=1, keepdim=True) * m.b.exp()),
    "matmul": lambda m, x: tg.tanh(x @ m.a.T) @ m.a,
    "matmul of stacks": lambda m, x: (x[:, None] * x[:, :, None]) @ m.a.T @ m.a,
    "matmul from the left": lambda m, x: m.a @ (x[:, None] * x[:, :, None]),
    "a vector": lambda m, x: (x @ m.b)[:, None],
    "rows that are no examples": lambda m, x: tg.linear(x.reshape(-1, 1), m.b.reshape(3, 1)).reshape(len(x), -1),
    "axes exchanged": lambda m, x: tg.linear(x.T.T, m.a),
    "chosen by the examples": lambda m, x: tg.where(x > 0, m.b, m.a[0] * x),
    "of no example, then of all": lambda m, x: tg.where(x > 0, m.b, m.a[0]) * x,
    "with a rule and without": lambda m, x: turned(tg.linear(x, m.a) @ m.a, m.a),
    "of no example": lambda m, x: tg.where(x > 0, m.b, m.a[0]),
    "a user's op": lambda m, x: turned(tg.sin(x), m.a) * m.b[:2],
    "an op of many": lambda m, x: tg.concat([x * m.b, tg.linear(x, m.a)], axis=1),
    "einsum": lambda m, x: tg.einsum("nk,ok->no", x, m.a),
    "unused": lambda m, x: x * m.b,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("n", [1, 3, 5])
def test_whatever_way_a_parameter_enters(way, n):
    """Three examples are as many as there are columns: axes must not be taken for one another."""
    rng = np.random.default_rng(0)
    check(Custom(WAYS[way]), lambda out, y: ((out - 0.3) ** 2.0).sum() * y.sum(), rng.standard_normal((n, 3)),
          rng.standard_normal((n, 1)))


@pytest.mark.parametrize("loss", [
    tg.cross_entropy, nn.CrossEntropyLoss(label_smoothing=0.1), lambda out, y: tg.cross_entropy(out, y, reduction="sum"),
    lambda out, y: tg.cross_entropy(out, y, weight=np.array([1.0, 2.0, 5.0]))])
def test_every_example_has_its_own_loss_whatever_its_reduction(loss):
    rng = np.random.default_rng(0)
    check(doubles(nn.Linear(4, 3, **D)), loss, rng.standard_normal((5, 4)), np.array([0, 1, 2, 0, 1]))


def test_the_results_are_the_callers_own_also_if_a_rule_returns_what_it_was_given():
    both = tg.primitive(lambda x, v, w: x + v + w)
    both.defvjp(*[lambda g, ans, x, v, w: g] * 3)
    both.defexamples(v=lambda g, ans, x, v, w: g, w=lambda g, ans, x, v, w: g)
    v, w = [tg.ones(3, requires_grad=True) for _ in range(2)]
    y, pullback = tg.per_example_vjp(lambda x: both(x, v, w), tg.zeros(2, 3), [v, w])
    first, second = pullback(np.ones((2, 3)))
    first.mutate()[...] = 0
    assert second.tolist() == pullback(np.ones((2, 3)))[0].tolist() == np.ones((2, 3)).tolist()


def test_the_model_is_called_once_and_convolutions_are_not_called_again():
    calls = []

    class Counted(nn.Conv2d):
        def forward(self, x):
            calls.append(x.shape)
            return super().forward(x)
    model = nn.Sequential(Counted(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))
    with tg.profile() as p:
        nn.per_example_grads(model, tg.cross_entropy, tg.ones(16, 1, 8, 8), np.zeros(16, int))
    assert calls == [(16, 1, 8, 8)]
    assert [e.kind for e in p.events if e.name in ("conv2d", "relu")] == ["forward", "forward", "backward"]


def test_frozen_parameters_are_left_out_and_targets_may_be_tensors():
    model = doubles(nn.Linear(4, 4, **D), nn.Linear(4, 3, **D))
    model[0].requires_grad_(False)
    x, y = tg.randn(5, 4, rng=np.random.default_rng(0), dtype=np.float64), tg.tensor([0, 1, 2, 0, 1])
    with tg.no_grad():
        found = nn.per_example_grads(model, tg.cross_entropy, x, y)
    assert list(found) == ["1.weight", "1.bias"] and not x.requires_grad
    found["1.bias"].mutate()[...] = 0  # the caller's own
    model[0].requires_grad_(True)
    np.testing.assert_allclose(found["1.weight"].data, looped(model, tg.cross_entropy, x, y.data)["1.weight"], atol=1e-9)


def test_dropout_draws_once_for_the_batch():
    found = []
    for by_example in (True, False):
        model = nn.Sequential(nn.Linear(8, 8, rng=np.random.default_rng(0)), nn.Dropout(0.5, rng=np.random.default_rng(1)),
                              nn.Linear(8, 3, rng=np.random.default_rng(2)))
        x, y = np.random.default_rng(3).standard_normal((6, 8)).astype(np.float32), np.arange(6) % 3
        if by_example:
            found.append([g.data.sum(0) for g in nn.per_example_grads(model, tg.cross_entropy, x, y).values()])
        else:
            tg.cross_entropy(model(x), y, reduction="sum").backward()
            found.append([p.grad.data for p in model.parameters()])
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_no_examples_have_no_gradients():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3))
    found = nn.per_example_grads(model, tg.cross_entropy, tg.zeros(0, 1, 4, 4), np.zeros(0, int))
    assert {name: g.shape for name, g in found.items()} == {
        "0.weight": (0, 2, 1, 3, 3), "0.bias": (0, 2), "2.weight": (0, 3, 8), "2.bias": (0, 3)}


# ----- refused -----


MIXED = {
    "normalize in 1": lambda: [nn.Linear(3, 3), nn.BatchNorm1d(3)],
    "normalize in 0": lambda: [nn.BatchNorm1d(3), nn.Linear(3, 3)],
    "mean": lambda: [Custom(lambda m, x: tg.linear(x, m.a) - tg.linear(x, m.a).mean(axis=0))],
    "softmax": lambda: [nn.Linear(3, 3), nn.Softmax(0)],
    "matmul": lambda: [Custom(lambda m, x: tg.linear(tg.softmax(x @ x.T, axis=1) @ x, m.a))],
    "mul in 1": lambda: [nn.Linear(3, 1), Custom(lambda m, x: x * x.reshape(len(x)))],  # of known ops only, from here on
    "linear in 1": lambda: [nn.Linear(3, 2), Custom(lambda m, x: tg.linear(x, x))],
    "reshape in 0": lambda: [Custom(lambda m, x: x.reshape(1, 18)), nn.Linear(18, 6), Custom(lambda m, x: x.reshape(6, 1))],
    "roll": lambda: [nn.Linear(3, 3), Custom(lambda m, x: tg.roll(x, 1, axis=0))],
}


@pytest.mark.parametrize("what", MIXED)
def test_what_mixes_the_examples_is_refused_by_name_and_changes_nothing(what):
    model, x = nn.Sequential(*MIXED[what]()), np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    before = model.state_dict()
    for weights in np.eye(6):  # also if only one example has a gradient
        with pytest.raises(ValueError, match=rf"^per_example_vjp: {what}.*, called in .*, line \d+, mixes the examples: .*eval\(\)"):
            nn.per_example_grads(model, lambda out, y: (out * out * y).sum(), x, weights)
    after = model.state_dict()
    assert all(np.array_equal(before[k], after[k]) for k in before)


def test_batch_norm_in_evaluation_is_not():
    rng = np.random.default_rng(0)
    model = doubles(nn.Conv2d(1, 3, 3, **D), nn.BatchNorm2d(3, **D), nn.ReLU(), nn.GlobalAvgPool2d(), nn.Flatten()).eval()
    check(model, tg.cross_entropy, rng.standard_normal((5, 1, 6, 6)), rng.integers(0, 3, 5))


def test_wrong_arguments():
    model, x = nn.Linear(3, 2), tg.ones(4, 3)
    with pytest.raises(ValueError, match=r"x and y must have an axis of examples, the first, of one length, got shapes \(4, 3\) and \(5,\)"):
        nn.per_example_grads(model, tg.cross_entropy, x, np.zeros(5, int))
    with pytest.raises(ValueError, match=r"one value, got shape \(1, 2\); sum it"):
        nn.per_example_grads(model, lambda out, y: out * 2.0, x, np.zeros(4))
    with pytest.raises(TypeError, match="^per_example_vjp: x must be floating point, got int64"):
        nn.per_example_grads(model, tg.cross_entropy, np.ones((4, 3), int), np.zeros(4, int))
    with pytest.raises(ValueError, match=r"of one length, got shapes \(4, 3\) and \(2,\)"):
        tg.per_example_vjp(lambda x: model(x).sum(axis=0), x, [])
    with pytest.raises(TypeError, match="^per_example_vjp: expects a function that returns a tensor, got tuple"):
        tg.per_example_vjp(lambda x: (x, x), x, [])
    with pytest.raises(ValueError, match=r"must have y's shape \(4, 2\), got \(4,\)"):
        tg.per_example_vjp(model, x, [model.bias])[1](np.ones(4))


def test_mistakes_in_the_call_are_named():
    net, x, y = nn.Linear(3, 2), tg.ones(4, 3), np.zeros(4, int)
    for call, text in [(lambda: nn.per_example_grads(tg.cross_entropy, net, x, y), "a module first"),
                       (lambda: nn.per_example_grads(net, x, y, tg.cross_entropy), "a function, the loss, second"),
                       (lambda: nn.per_example_grads(net, lambda o, y: None, x, y), "got NoneType; does it lack a return"),
                       (lambda: nn.per_example_grads(net, lambda o, y: o.sum().item(), x, y), "got float; .*item")]:
        with pytest.raises(TypeError, match=f"per_example_grads: .*{text}"):
            call()


@pytest.mark.parametrize("mix", [lambda x: x - x[:1], lambda x: x - x[-1:], lambda x: x / tg.max(tg.abs(x)), lambda x: tg.flip(x, 0),
                                 lambda x: x + x[1:2] * 0.5])
def test_mixing_is_noticed_at_every_batch_size(mix):
    class Mixing(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(3, 2)

        def forward(self, x):
            return self.inner(mix(x))
    net = Mixing()
    for n in range(2, 18):
        x = np.random.default_rng(n).standard_normal((n, 3)).astype(np.float32)
        with pytest.raises(ValueError, match="mixes the"):
            nn.per_example_grads(net, lambda o, y: ((o - 1.0) ** 2).sum(), x, np.zeros(n))
