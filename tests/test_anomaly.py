"""`tg.detect_anomaly`: the first value that is not finite is found where it is made, forward and backward."""
from __future__ import annotations

import re
import threading
from collections.abc import Iterator

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from tinygrad_conv import watching
from tinygrad_conv.primitive import Primitive

CALL, VJPS = Primitive.__call__, Primitive.vjps_for
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    yield
    assert Primitive.__call__ is CALL and Primitive.vjps_for is VJPS and not watching._watchers


def line_of(text: str) -> int:
    """The line of this file with a comment."""
    with open(__file__, encoding="utf-8") as f:
        return next(i for i, line in enumerate(f, 1) if line.rstrip().endswith(f"# {text}"))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.tail = nn.Sequential(nn.ReLU(), Root())

    def forward(self, x):
        return self.tail(self.first(x)).sum()


class Root(nn.Module):
    function = staticmethod(tg.sqrt)

    def forward(self, x):
        return self.function(x)  # the root


def net(bias: list[float], function=tg.sqrt) -> Net:
    model = Net()
    model.first.load_state_dict({"weight": np.zeros((3, 3)), "bias": np.array(bias)})
    model.tail[1].function = function
    return model


def test_forward_names_op_place_module_and_line_and_carries_the_picture():
    model = net([1.0, 2.0, 0.0], tg.log)
    assert model(tg.ones(2, 3)).item() == -np.inf  # nothing is said outside
    with pytest.raises(FloatingPointError) as caught, tg.detect_anomaly():
        model(tg.ones(2, 3))
    assert str(caught.value) == (
        "log: the result has 2 nan or inf among 6 values, first -inf at [0, 2], of finite numbers; in tail.1, called in "
        f"{__file__}, line {line_of('the root')}")
    assert caught.value.module_path == "Net.tail.1"
    assert [box.label for box in tg.failed_graph(caught.value).boxes if box.mark] == ["log"]


@pytest.mark.parametrize("recorded", [True, False])
def test_forward_is_searched_whether_it_is_recorded_or_not(recorded):
    x = tg.tensor([1.0, 0.0], requires_grad=recorded)
    with tg.detect_anomaly(), pytest.raises(FloatingPointError, match=r"^div: .* first inf at \[1\], of finite numbers"):
        1.0 / x


def test_what_comes_in_is_told_from_what_is_made():
    with tg.detect_anomaly(), pytest.raises(FloatingPointError, match="^mul: .* of argument 1, which holds nan;"):
        tg.ones(2) * tg.tensor([1.0, np.nan])


def test_infinities_of_a_constant_are_intended_until_they_make_nan():
    x = tg.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    mask = tg.tensor([[0.0, -np.inf], [0.0, 0.0]])
    for masked in (lambda mask: x + mask, lambda mask: tg.where(mask == 0, x, -np.inf)):
        with tg.detect_anomaly():
            tg.softmax(masked(mask), axis=1)[:, 0].sum().backward()
            with pytest.raises(FloatingPointError, match="softmax: the result has 4 nan or inf among 4 values, first nan"):
                tg.softmax(masked(tg.full((2, 2), -np.inf)), axis=1)
    assert np.isfinite(x.grad.data).all()
    with tg.detect_anomaly(), pytest.raises(FloatingPointError, match="^mul: .* of argument 0, which holds inf;"):
        tg.tensor([1.0, np.inf], requires_grad=True) * 2.0


def test_backward_names_the_derivative_and_where_its_op_was_called():
    model = net([1.0, 2.0, 0.0])
    with tg.detect_anomaly():
        loss = model(tg.ones(2, 3))
        with pytest.raises(FloatingPointError) as caught:
            loss.backward()
    assert str(caught.value) == (
        "sqrt: the gradient of argument 0 (x) has 2 nan or inf among 6 values, first inf at [0, 2], of finite numbers; "
        f"in tail.1, called in {__file__}, line {line_of('the root')}")
    assert all(p.grad is None for p in model.parameters())


def test_a_cotangent_that_is_not_finite_is_told():
    x = tg.ones(2, requires_grad=True)
    y = x * 2.0
    with tg.detect_anomaly(), pytest.raises(FloatingPointError, match="^mul: .* of cotangent 0, which holds inf;"):
        y.backward(tg.tensor([1.0, np.inf]))


def test_what_is_summed_between_two_derivatives_is_searched():
    """A half-precision bias whose gradient overflows when broadcasting is undone, outside of any derivative."""
    b = tg.tensor(np.zeros(1, np.float16), requires_grad=True)
    y = tg.zeros(3, dtype=np.float16) + b
    with tg.detect_anomaly(), pytest.raises(FloatingPointError, match="^sum: the result has 1 nan or inf among 1") as e:
        y.backward(np.full(3, 6e4, np.float16))
    assert any(re.search("in add's VJP for argument 1", note) for note in e.value.__notes__)


def test_what_a_derivative_computes_on_the_way_is_its_own_affair():
    safe = tg.primitive(lambda x: np.where(x > 0, np.log(np.where(x > 0, x, 1)), 0))
    safe.defvjp(lambda g, ans, x: tg.where(x > 0, g / x, 0.0))  # g / 0 on the way
    x = tg.tensor([0.0, 2.0], requires_grad=True)
    with tg.detect_anomaly():
        safe(x).sum().backward(create_graph=True)
    assert x.grad.tolist() == [0.0, 0.5]


def test_a_step_that_is_finite_is_the_same_inside():
    """Also of ops that have several results, a joint derivative, or whole numbers for a result."""
    found = []
    for inside in (False, True):
        model = nn.Sequential(nn.Conv2d(1, 4, 3, rng=np.random.default_rng(0)), nn.BatchNorm2d(4), nn.ReLU(),
                              nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * 9, 3, rng=np.random.default_rng(1)))
        x, labels = np.random.default_rng(2).standard_normal((5, 1, 8, 8)).astype(np.float32), np.arange(5) % 3

        def step(model=model, x=x, labels=labels):
            y = model(x)
            tg.cross_entropy(y, labels).backward()
            return y.max(dim=1).indices
        indices = tg.detect_anomaly()(step)() if inside else step()
        found.append([indices.data, *[p.grad.data for p in model.parameters()]])
    assert all(np.array_equal(a, b) for a, b in zip(*found))


def test_a_second_derivative_is_searched():
    x = tg.tensor([0.0, 1.0], requires_grad=True)
    with tg.detect_anomaly():
        first = tg.grad(lambda x: (x ** 1.5).sum())(x)
        assert np.isfinite(first.data).all()
        with pytest.raises(FloatingPointError, match="^pow: the gradient of argument 0"):
            first.sum().backward()


def test_blocks_nest_beside_a_profile_and_leave_other_threads_alone():
    caught = []

    def other():
        try:
            tg.log(tg.zeros(1))
        except FloatingPointError as e:
            caught.append(e)
    zero = tg.zeros(1)
    with tg.profile() as p, tg.detect_anomaly():
        with tg.detect_anomaly(), tg.profile() as inner:
            tg.exp(zero)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(timeout=60)
        with pytest.raises(FloatingPointError):
            tg.log(zero)
    tg.log(zero)
    assert caught == []
    assert [event.name for event in inner.events] == ["exp"]
    assert [event.name for event in p.events] == ["exp", "log", "log"]
