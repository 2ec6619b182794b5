"""A person's mistake is answered with what to do: names, keywords and shapes of a program written for PyTorch."""
from __future__ import annotations

import inspect
import pickle
from functools import partial

import numpy as np
import pytest

import nn
import tinygrad_conv as tg

X = tg.ones(2, 3)
DATA = nn.data.Dataset(np.zeros((4, 1, 2, 2), np.float32), np.arange(4))
NET = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))


def weights():
    return [nn.Parameter(np.ones((2, 2), np.float32))]


def loader(**named):
    return nn.data.DataLoader(DATA, 2, **named)


CPU = type("device", (), {"__str__": lambda self: "cpu"})()  # as torch.device("cpu") is printed
HARMLESS = {  # what means nothing here, and the same call without it
    "tg.ones": lambda **k: tg.ones(2, **k), "tg.tensor": lambda **k: tg.tensor([1.0], **k),
    "tg.zeros_like": lambda **k: tg.zeros_like(X, **k), "tg.arange": lambda **k: tg.arange(3, **k),
    "nn.Linear": lambda **k: nn.Linear(2, 3, rng=np.random.default_rng(0), **k).weight,
    "nn.Conv2d": lambda **k: nn.Conv2d(1, 2, 3, rng=np.random.default_rng(0), **k).weight,
    "nn.BatchNorm2d": lambda **k: nn.BatchNorm2d(3, **k).weight, "nn.LayerNorm": lambda **k: nn.LayerNorm(3, **k).weight,
    "t.to": lambda **k: X.to(**k)}


@pytest.mark.parametrize("device", ["cpu", None, CPU], ids=str)
@pytest.mark.parametrize("name", HARMLESS)
def test_the_device_there_is_may_be_named(name, device):
    assert np.array_equal(HARMLESS[name](device=device).numpy(), HARMLESS[name]().numpy())


@pytest.mark.parametrize("call", [
    lambda: X.to("cpu"), lambda: X.to(CPU), lambda: X.to(device="cpu", non_blocking=True), lambda: NET.zero_grad(set_to_none=True),
    lambda: nn.SGD(weights(), 0.1).zero_grad(set_to_none=True), lambda: loader(num_workers=0, pin_memory=False, persistent_workers=False),
    lambda: loader(collate_fn=None, sampler=None, generator=None, timeout=0, worker_init_fn=None),
    lambda: nn.Adam(weights(), amsgrad=False, foreach=True, fused=None, maximize=False, capturable=False, differentiable=False),
    lambda: nn.SGD(weights(), maximize=False, foreach=None), lambda: nn.StepLR(nn.SGD(weights()), 3, last_epoch=-1),
    lambda: tg.zeros(2, device="cpu", pin_memory=False), lambda: nn.MSELoss(size_average=None, reduce=None),
    lambda: nn.clip_grad_norm_(weights(), 1.0, foreach=True), lambda: tg.dropout(X, 0.0, inplace=False),
    lambda: NET.load_state_dict(NET.state_dict(), assign=False)])
def test_keywords_that_mean_nothing_here_are_accepted(call):
    call()


@pytest.mark.parametrize("call, text", [
    (lambda: tg.ones(2, device="cuda"), r"^ones\(\) got .*'device'; instead: there are no devices"),
    (lambda: nn.Linear(2, 2, device="cuda:0"), r"^Linear\(\) got .*'device'; instead: there are no devices"),
    (lambda: nn.Conv2d(1, 2, 3, device="cuda"), r"^Conv2d\(\) got .*'device'; instead: there are no devices"),
    (lambda: X.to(device="cuda"), r"^Tensor.to\(\) got .*'device'; instead: there are no devices"),
    (lambda: X.to("cuda"), "^to .there are no devices"), (lambda: X.to(str), r"^to .*e.g. dtype=np.float32"),
    (lambda: tg.rand(2, generator=1), r"'generator'; instead: rng=np.random.default_rng\(seed\)"),
    (lambda: loader(generator=1), r"^DataLoader\(\) got .*'generator'; instead: rng=np.random.default_rng\(seed\)"),
    (lambda: loader(persistent_workers=True), r"^DataLoader\(\) got .*'persistent_workers'; instead: workers are threads"),
    (lambda: loader(pin_memory=True), "'pin_memory'; instead: there is no other memory"),
    (lambda: loader(batch_sampler=[[0]]), "'batch_sampler'; instead: sampler= gives the order"),
    (lambda: nn.Adam(weights(), differentiable=True), r"^Adam\(\) got .*'differentiable'; instead: write the step as"),
    (lambda: nn.SGD(weights()).zero_grad(set_to_none=False), "'set_to_none'; instead: a gradient that is forgotten is None"),
    (lambda: NET.zero_grad(set_to_none=False), "'set_to_none'; instead: a gradient that is forgotten is None"),
    (lambda: nn.StepLR(nn.SGD(weights()), 3, last_epoch=5), "'last_epoch'; instead: schedule.load_state_dict"),
    (lambda: nn.MSELoss(size_average=True), r"^MSELoss\(\) got .*'size_average'; instead: reduction='mean' or 'sum'"),
    (lambda: nn.CrossEntropyLoss(reduce=False), r"^CrossEntropyLoss\(\) got .*'reduce'; instead: reduction='none'"),
    (lambda: tg.dropout(X, 0.5, inplace=True), "'inplace'; instead: nothing is computed in place"),
    (lambda: nn.Conv2d(1, 2, 3, pading=1), "'pading'; instead: padding=$"), (lambda: nn.Adam(weights(), learning_rate=1), "learning_rate"),
    (lambda: tg.relu(X, inplace=True), "^relu: .*'inplace'; instead: nothing is computed in place"),
    (lambda: tg.sum(X, dim=0), r"^sum\(\) got .*'dim'; instead: axis=$"), (lambda: tg.max(X, dim=0), "'dim'; instead: axis=$"),
    (lambda: tg.concat([X, X], dim=0), "'dim'; instead: axis=$"), (lambda: tg.stack(tensors=[X]), "'tensors'; instead: by position"),
    (lambda: tg.mean(X, 0, keepdim=True), "'keepdim'; instead: keepdims=$"), (lambda: tg.sum(input=X), "'input'; instead: by position, first"),
    (lambda: tg.transpose(X, dims=(1, 0)), "'dims'; instead: axes=$"), (lambda: tg.var(X, unbiased=True), "'unbiased'; instead: correction="),
    (lambda: tg.exp(X, dim=0), r"^exp: .*'dim' \(inputs"), (lambda: tg.exp(input=X), r"arrays are positional: exp\(x\)"),
    (lambda: nn.load("x", map_location="cuda"), r"^load\(\) got .*'map_location'; instead: there are no devices"),
    (lambda: nn.Conv2d(3, 8), r"^Conv2d\(\) missing 1 required positional argument: 'kernel_size'$"),
    (lambda: nn.BatchNorm2d(), r"^BatchNorm2d\(\) missing 1 required positional argument: 'num_features'$"),
    (lambda: nn.Linear(2, 2, banana=1), r"^Linear\(\) got an unexpected keyword argument 'banana'$"),
    (lambda: nn.ReLU(True, True), r"^ReLU\(\) takes from 1 to 2 positional arguments but 3 were given$"),
    (lambda: nn.ReLU(inplace=True), "^ReLU: inplace must be False"), (lambda: nn.Dropout(0.5, inplace=True), "^Dropout: inplace must be"),
    (lambda: nn.Adam(NET), r"got Conv2d; pass model.parameters\(\)"), (lambda: nn.Adam(NET.parameters), r"got method; pass model.parameters\(\)"),
    (lambda: tg.draw(NET), r"^draw: .* got Sequential; of a model, use nn.draw\(model, x\)")])
def test_a_mistake_is_answered_with_what_to_write(call, text):
    with pytest.raises((TypeError, ValueError), match=text) as e:
        call()
    assert e.value.__cause__ is None and e.value.__context__ is None or "relu" in text or "exp" in text


@pytest.mark.parametrize("owner, name, text", [
    (NET, "summary", r"nn.summary\(model, "), (NET, "fit", r"nn.fit\(model, loader, "), (NET, "compile", "nn.fit"),
    (NET, "predict", r"nn.predict\(model, x\)"), (NET, "draw", r"nn.draw\(model, x\)"), (NET, "save", r"nn.save\(model, path\)"),
    (NET, "to", "no devices.*dtype="), (NET, "cuda", "no devices"), (NET, "half", "dtype= of each layer"), (NET, "double", "dtype= of each layer"),
    (X, "cuda", "no devices"), (X, "cpu", "no devices"), (nn.init, "kaiming_normal", "nn.init.kaiming_normal_$"),
    (nn.init, "xavier_uniform", "nn.init.xavier_uniform_$"), (nn.init, "dirac_", "nn.init.zeros_"), (nn, "functional", "tg.relu"),
    (nn.optim, "lr_scheduler", "nn.StepLR"), (nn.data, "TensorDataset", "nn.data.Dataset"), (tg, "cat", "tg.concat")])
def test_a_missing_name_is_answered_with_what_there_is(owner, name, text):
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'; instead: .*{text}"):
        getattr(owner, name)


def test_names_of_pytorch_that_are_here_are_found():
    assert nn.optim.Adam is nn.Adam and nn.init.kaiming_normal_(weights()[0], rng=np.random.default_rng(0)).shape == (2, 2)


def test_shapes_and_arrays_are_both_taken():
    net = nn.Conv2d(2, 3, 3)
    for x in ((1, 2, 6, 6), np.zeros((1, 2, 6, 6), np.float32), tg.zeros(1, 2, 6, 6)):
        assert "1x2x6x6" in repr(nn.draw(net, x)) and nn.summary(net, x).lines[0].shape == (1, 3, 4, 4)


CHW, HWC = (3, 8, 8), (8, 8, 3)
NHWC, NCHW = (2, 8, 8, 3), (2, 3, 8, 8)
LAST = r"it looks like channels-last: x.permute\(0, 3, 1, 2\)$"


@pytest.mark.parametrize("net, shape, text", [
    (nn.Linear(192, 4), (3, 64), r"the batch axis is missing: call the network with x\[None\]"),
    (nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), CHW, r"the batch axis is missing: call the network with x\[None\]"),
    (NET, CHW, r"the batch axis is missing: call the network with x\[None\]"),
    (nn.Linear(4, 2), (2, 8), "this input needs in_features=8$"),
    (nn.Conv2d(3, 4, 3), NHWC, LAST), (nn.ConvTranspose2d(3, 4, 3), NHWC, LAST), (NET, NHWC, LAST), (nn.BatchNorm2d(3), NHWC, LAST),
    (nn.GroupNorm(1, 3), NHWC, LAST), (nn.InstanceNorm2d(3), NHWC, LAST),
    (nn.Conv2d(3, 4, 3), HWC, r"channels-last: x.permute\(2, 0, 1\)\[None\], which adds the batch axis$"), (NET, HWC, r"\[None\]"),
    (nn.BatchNorm2d(3), HWC, r"channels-last: x.permute\(2, 0, 1\)\[None\]"), (nn.Conv1d(3, 4, 2), (2, 8, 3), r"x.permute\(0, 2, 1\)$"),
    (nn.BatchNorm1d(3), (2, 8, 3), r"x.permute\(0, 2, 1\)$"), (nn.BatchNorm2d(3), CHW, r"the batch axis is missing: x\[None\]"),
    (nn.GroupNorm(1, 3), CHW, r"the batch axis is missing: x\[None\]"), (nn.InstanceNorm2d(3), CHW, r"the batch axis is missing: x\[None\]"),
    (nn.Conv2d(1, 4, 3), (5, 8, 8), r"the channel axis is missing: x\[:, None\]"), (nn.BatchNorm1d(3), (3,), r"expects 2 or 3 axes.*the batch axis is missing: x\[None\]"),
    (nn.Conv2d(3, 4, 3), (2, 5, 8, 8), r"groups=1\)$"), (nn.Conv2d(3, 4, 3), (2, 3), "x must have axes NCHW")])
def test_a_misplaced_or_missing_axis_is_named(net, shape, text):
    with pytest.raises(ValueError, match=f"(?m){text}"):  # notes of where it was follow on lines of their own
        net(tg.ones(shape))


@pytest.mark.parametrize("net, shape", [(nn.Conv2d(3, 4, 3), (4, 6, 6)), (nn.ConvTranspose2d(3, 4, 3), (4, 10, 10)),
                                        (nn.MaxPool2d(2), (3, 4, 4)), (nn.AvgPool2d(2), (3, 4, 4)), (nn.GlobalAvgPool2d(), (3, 1, 1))])
def test_one_sample_without_a_batch_axis_is_taken_where_pytorch_takes_it(net, shape):
    x = tg.randn(*CHW, rng=np.random.default_rng(0))
    assert net(x).shape == shape and np.array_equal(net(x).numpy(), net(x[None]).numpy()[0])


def test_the_parameters_of_a_model_with_a_plain_list_are_told_where_they_are():
    net = nn.Module()
    net.parts = []
    net.parts.append(nn.Linear(2, 2))
    with pytest.raises(TypeError, match="^Module: 'parts' is a plain list that holds a Linear.*use nn.ModuleList"):
        nn.SGD(net.parameters())
    net.parts = partial(net.parts[0])  # where it is not looked for
    with pytest.raises(ValueError, match=r"^SGD: got no parameters; pass model.parameters\(\), .*nn.ModuleList, not in a plain list"):
        nn.SGD(net.parameters())


def test_an_error_inside_a_call_is_not_taken_for_one_of_the_call():
    """A second try without the keyword would run the body twice."""
    calls = []

    def f(device):
        calls.append(device)
        raise TypeError("f() got an unexpected keyword argument 'device'")

    for given in ("cpu", "cuda"):
        with pytest.raises(TypeError, match="'device'$"):
            tg.advice.advised(f)(device=given)
    assert calls == ["cpu", "cuda"]


def test_advice_leaves_functions_as_they_are():
    for f in (tg.sum, tg.cross_entropy, tg.ones, nn.fit, nn.save):
        assert inspect.signature(f) == inspect.signature(f.__wrapped__) and f.__doc__ == f.__wrapped__.__doc__
        assert pickle.loads(pickle.dumps(f)) is f
    assert [*inspect.signature(nn.Linear).parameters][:2] == ["in_features", "out_features"]


def test_data_says_what_to_write_where_it_cannot_be_changed():
    p = nn.Parameter([1.0, 2.0])
    for name, advice in (("normal_", "nn.init.normal_"), ("uniform_", "nn.init.uniform_"), ("zero_", "nn.init.zeros_"),
                         ("fill_", "nn.init.constant_"), ("copy_", "t.data = values"), ("mul_", r"t.mutate\(\)")):
        with pytest.raises(AttributeError, match=f"^t.data, a NumPy array, has no attribute '{name}'; instead: {advice}"):
            getattr(p.data, name)
    p.data *= 0.5
    assert p.data.tolist() == [0.5, 1.0]
    loss = (p * p).sum()

    def item():
        p.data[0] = 1.0

    def product():
        p.data *= 2.0

    def difference():
        p.data -= p.data
    for change in (item, product, difference):
        with pytest.raises(ValueError, match=r"^data: a graph relies on these values.*t.mutate\(\)\[...\] \*= x"):
            change()
    loss.backward()
    assert p.grad.data.tolist() == [1.0, 2.0]
    p.data = p.data * 2.0
    assert p.data.tolist() == [1.0, 2.0]


def test_data_is_numpys_in_all_else():
    t = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    for value in (t.data + 1, t.data @ t.data, np.exp(t.data), t.data.sum(0), t.data == 1, t.numpy(), pickle.loads(pickle.dumps(t.data)),
                  np.array(t.data)):
        assert type(value) is np.ndarray
    assert type(t.data.sum()) is np.float32 and type(t.data[0, 0]) is np.float32 and repr(t.data) == repr(t.numpy())
    assert tg.tensor(t.data).shape == tg.from_numpy(t.data).shape == (2, 2) and np.shares_memory(t.data, t.numpy())
