"""`nn.capture`: what modules return, and the gradients of it, beside those that PyTorch's hooks see."""
from __future__ import annotations

import numpy as np
import pytest

import nn
import tinygrad_conv as tg

IMAGES = np.random.default_rng(0).standard_normal((2, 1, 8, 8)).astype(np.float32)


def cnn(lib):
    return lib.Sequential(lib.Conv2d(1, 3, 3, padding=1), lib.Sequential(lib.ReLU(), lib.MaxPool2d(2)), lib.Flatten(),
                          lib.Linear(48, 2))


def test_values_and_gradients_are_those_that_pytorchs_hooks_see():
    torch = pytest.importorskip("torch")
    model, theirs = cnn(nn), cnn(torch.nn)
    theirs.load_state_dict({k: torch.tensor(v) for k, v in model.state_dict().items()})
    values, grads = {}, {}
    for name, module in theirs.named_modules():
        def look(module, args, y, name=name):
            values[name] = y
            y.register_hook(lambda g: grads.update({name: g}))
        module.register_forward_hook(look)
    theirs(torch.tensor(IMAGES))[:, 1].sum().backward()
    with nn.capture(model) as seen:
        model(IMAGES)[:, 1].sum().backward()
    assert list(seen.values) == list(values) and set(seen.grads) == set(grads) == set(values)
    for name in values:
        np.testing.assert_allclose(seen.values[name].data, values[name].detach(), atol=1e-6)
        np.testing.assert_allclose(seen.grads[name].data, grads[name], atol=1e-6)


def test_only_what_is_named_is_kept_and_gradients_may_come_after_the_block():
    model = cnn(nn)
    with nn.capture(model, "1.0", "0") as seen:
        y = model(IMAGES)
    assert list(seen.values) == ["0", "1.0"] and seen.grads == {}
    model(IMAGES)
    y.sum().backward()
    assert {name: g.shape for name, g in seen.grads.items()} == {"0": (2, 3, 8, 8), "1.0": (2, 3, 8, 8)}
    assert all(not m._hooks or not m._hooks.after for m in model.modules())


def test_the_newest_call_counts():
    layer = nn.Linear(2, 2)
    with nn.capture(layer, "") as seen:
        first, second = layer(tg.ones(1, 2)), layer(tg.ones(1, 2))
        second.sum().backward(retain_graph=True)
        first.backward(tg.zeros(1, 2))
    assert seen.values[""] is second and seen.grads[""].tolist() == [[1.0, 1.0]]
    with nn.capture(layer, "") as seen:
        layer(tg.ones(1, 2)).sum().backward()
        assert list(seen.grads) == [""]
        with tg.no_grad():
            layer(tg.ones(1, 2))
    assert seen.values[""].shape == (1, 2) and seen.grads == {}


def test_each_of_several_results_has_an_entry():
    class Both(nn.Module):
        def forward(self, x):
            return {"twice": x * 2.0, "rest": [x * 3.0, 7]}
    x = tg.ones(2, requires_grad=True)
    with nn.capture(Both(), "") as seen:
        pass
    both = Both()
    with nn.capture(both) as seen:
        y = both(x)
        (y["twice"] * 5.0).sum().backward()
    assert {name: t.tolist() for name, t in seen.values.items()} == {"[0]": [2.0, 2.0], "[1]": [3.0, 3.0]}
    assert {name: t.tolist() for name, t in seen.grads.items()} == {"[0]": [5.0, 5.0]}


def test_a_wrong_name_is_refused_and_an_error_inside_leaves_no_hook():
    model = cnn(nn)
    with pytest.raises(ValueError, match=r"^capture: Sequential has no module 'layer4'; there are 0, 1, 1\.0, 1\.1, 2, 3$"):
        with nn.capture(model, "0", "layer4"):
            pass
    with pytest.raises(TypeError, match="^capture: expects a Module, got Primitive"):
        with nn.capture(tg.relu, "0"):
            pass
    with pytest.raises(ValueError, match="num_features|channels"), nn.capture(model):
        model(tg.ones(2, 2, 8, 8))
    assert all(not m._hooks or not m._hooks.after for m in model.modules())
