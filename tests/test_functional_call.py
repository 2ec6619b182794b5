"""A module called with other parameters: for that call only, whatever happens."""
from __future__ import annotations

import numpy as np
import pytest

import nn
import tinygrad_conv as tg

RNG = np.random.default_rng(0)


def net():
    return nn.Sequential(nn.Linear(3, 4, rng=RNG), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2, rng=RNG))


X = np.random.default_rng(1).standard_normal((5, 3)).astype(np.float32)


def test_parameters_and_buffers_are_replaced_for_one_call():
    model, other = net(), net()
    model.eval(), other.eval()
    params = {name: tg.tensor(a) for name, a in other.state_dict().items()}
    before = {name: id(t) for name, t in (*model.named_parameters(), *model.named_buffers())}
    own = model(tg.tensor(X)).tolist()
    assert nn.functional_call(model, params, tg.tensor(X)).tolist() == other(tg.tensor(X)).tolist() != own
    assert {name: id(t) for name, t in (*model.named_parameters(), *model.named_buffers())} == before
    assert model(tg.tensor(X)).tolist() == own
    assert nn.functional_call(model, {}, (tg.tensor(X),)).tolist() == own
    some = nn.functional_call(model, {"3.bias": params["3.bias"]}, (), {"x": tg.tensor(X)})
    np.testing.assert_allclose(some.data, own - model[3].bias.data + params["3.bias"].data, rtol=1e-5)


def test_running_statistics_given_are_those_updated():
    model = net()
    mean = tg.zeros(4)
    nn.functional_call(model, {"1.running_mean": mean}, tg.tensor(X))
    assert mean.data.any() and not model[1].running_mean.data.any() and model[1].num_batches_tracked.item() == 1


def test_nothing_is_left_behind_after_an_error():
    model = net()
    before = [(path, dict(vars(m))) for path, m in model.named_modules()]
    params = {name: p.detach() * 2.0 for name, p in model.named_parameters()}
    for call, error, text in (
            (lambda: nn.functional_call(model, params, tg.ones(5, 7)), ValueError, "in_features=3"),
            (lambda: nn.functional_call(model, {"0.weigth": tg.ones(4, 3)}, tg.ones(5, 3)), KeyError,
             r"Sequential has no parameter or buffer '0.weigth', only 0.weight, 0.bias"),
            (lambda: nn.functional_call(model, {**params, "0.weight": tg.ones(3, 4)}, tg.ones(5, 3)), ValueError,
             r"'0.weight' must have shape \(4, 3\), got \(3, 4\)"),
            (lambda: nn.functional_call(model, {"0.bias": [1.0] * 4}, tg.ones(5, 3)), TypeError,
             "functional_call: expects a tensor for '0.bias', got list"),
            (lambda: nn.functional_call(model, [params], tg.ones(5, 3)), TypeError, "expects a mapping of names"),
            (lambda: nn.functional_call(tg.relu, {}, tg.ones(5, 3)), TypeError, "expects a module first")):
        with pytest.raises(error, match=text):
            call()
    assert [(path, dict(vars(m))) for path, m in model.named_modules()] == before


def test_a_shared_parameter_is_replaced_wherever_it_is_used():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(3, 3, bias=False, rng=RNG)
            self.b = nn.Linear(3, 3, bias=False, rng=RNG)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x))
    model, w = Tied(), np.float32(np.eye(3)) * 2
    for name in ("a.weight", "b.weight"):
        assert nn.functional_call(model, {name: tg.tensor(w)}, tg.tensor(X)).tolist() == (4 * X).tolist()
    both = tg.tensor(w)
    assert nn.functional_call(model, {"a.weight": both, "b.weight": both}, tg.tensor(X)).tolist() == (4 * X).tolist()
    with pytest.raises(ValueError, match="'b.weight' is shared, and has another value by another name"):
        nn.functional_call(model, {"a.weight": both, "b.weight": both * 3.0}, tg.tensor(X))
    assert model.a.weight is model.b.weight


def test_derivatives_by_parameters_and_an_inner_step(rng):
    """What MAML does: the gradient through a step of gradient descent."""
    model = nn.Linear(3, 1, dtype=np.float64, rng=RNG)
    x, y = rng.standard_normal((6, 3)), rng.standard_normal((6, 1))

    def loss(params):
        return tg.mse_loss(nn.functional_call(model, params, tg.tensor(x)), tg.tensor(y))

    def after_a_step(params):
        g = tg.grad(loss)(params)
        return loss({name: p - 0.1 * g[name] for name, p in params.items()})
    params = {name: p.detach() for name, p in model.named_parameters()}
    g = tg.grad(after_a_step)(params)
    for name, p in params.items():
        for index in np.ndindex(*p.shape):
            step = np.zeros(p.shape)
            step[index] = 1e-6
            up, down = [after_a_step({**params, name: tg.tensor(p.data + s)}).item() for s in (step, -step)]
            assert abs(g[name].data[index] - (up - down) / 2e-6) < 1e-8
    assert all(p.grad is None for p in model.parameters())


def test_recorded_parameters_stay_connected():
    model = net()
    params = {name: p * 1.0 for name, p in model.named_parameters()}
    nn.functional_call(model, params, tg.tensor(X)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_a_state_dict_is_taken():
    model, x = net(), tg.ones(5, 3)
    state = {name: np.array(np.asarray(t) + 1) for name, t in model.state_dict().items()}
    y = nn.functional_call(model, state, x)
    model.load_state_dict(state)
    np.testing.assert_array_equal(y.data, model(x).data)


def test_calls_of_several_threads_leave_the_module_as_it_was():
    import threading
    net, x = nn.Linear(1, 1, bias=False), tg.ones(1, 1)
    before, wrong = net.weight, []

    def work(value):
        for _ in range(200):
            y = nn.functional_call(net, {"weight": tg.tensor([[value]])}, x).item()
            if y != value:
                wrong.append((value, y))
    threads = [threading.Thread(target=work, args=(float(k),)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert net.weight is before and not wrong
