"""Wrong arguments are refused by the name the user called, at the call, and leave nothing behind."""
from __future__ import annotations

import copy
import datetime
import fractions

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from nn.data.download import read_idx

X = np.linspace(-1.0, 1.0, 8, dtype=np.float32).reshape(2, 4)
T = tg.tensor(X)
IMAGE = X.reshape(1, 2, 2, 2)
MEAN, VAR = tg.zeros(4), tg.ones(4)
MASKED = np.ma.masked_array([1.0, 2.0], [False, True])
HUGE = 10 ** 400


def weight():
    return nn.Parameter(np.ones((2, 2), np.float32))


def sgd(**options):
    return nn.SGD([weight()], **options)


NUMBERS = {  # name in the message, and the call with one number in it
    "leaky_relu: negative_slope": lambda v: tg.leaky_relu(X, v),
    "elu: alpha": lambda v: tg.elu(X, v),
    "softplus: beta": lambda v: tg.softplus(X, v),
    "softplus: threshold": lambda v: tg.softplus(X, 1.0, v),
    "hardtanh: min_val": lambda v: tg.hardtanh(X, v),
    "hardtanh: max_val": lambda v: tg.hardtanh(X, -1.0, v),
    "dropout: p": lambda v: tg.dropout(X, v, rng=np.random.default_rng(0)),
    "huber_loss: delta": lambda v: tg.huber_loss(X, X, delta=v),
    "smooth_l1_loss: beta": lambda v: tg.smooth_l1_loss(X, X, beta=v),
    "cross_entropy: label_smoothing": lambda v: tg.cross_entropy(X, [0, 1], label_smoothing=v),
    "hinge_loss: margin": lambda v: tg.hinge_loss(X, [0, 1], margin=v),
    "batch_norm: eps": lambda v: tg.batch_norm(X, MEAN, VAR, eps=v),
    "instance_norm: eps": lambda v: tg.instance_norm(IMAGE, eps=v),
    "layer_norm: eps": lambda v: tg.layer_norm(X, 4, eps=v),
    "group_norm: eps": lambda v: tg.group_norm(X, 2, eps=v),
    "var: correction": lambda v: tg.var(X, correction=v),
    "normal: mean": lambda v: tg.normal(v, 1.0, (2,), np.random.default_rng(0)),
    "normal: std": lambda v: tg.normal(0.0, v, (2,), np.random.default_rng(0)),
    "uniform: low": lambda v: tg.uniform(v, 1.0, (2,), np.random.default_rng(0)),
    "uniform: high": lambda v: tg.uniform(0.0, v, (2,), np.random.default_rng(0)),
    "linspace: start": lambda v: tg.linspace(v, 1),
    "linspace: stop": lambda v: tg.linspace(0, v),
    "arange: step": lambda v: tg.arange(0, 3, v),
    "check_grads: atol": lambda v: tg.check_grads(tg.exp, (np.ones(2),), atol=v),
    "Dropout: p": lambda v: nn.Dropout(p=v),
    "SGD: lr": lambda v: sgd(lr=v),
    "Adam: eps": lambda v: nn.Adam([weight()], eps=v),
    "StepLR: gamma": lambda v: nn.StepLR(sgd(), 2, v),
    "MultiStepLR: gamma": lambda v: nn.MultiStepLR(sgd(), [2], v),
    "MultiStepLR: a milestone": lambda v: nn.MultiStepLR(sgd(), [v]),
    "ExponentialLR: gamma": lambda v: nn.ExponentialLR(sgd(), v),
    "CosineAnnealingLR: eta_min": lambda v: nn.CosineAnnealingLR(sgd(), 3, v),
    "LinearLR: start_factor": lambda v: nn.LinearLR(sgd(), v),
    "OneCycleLR: max_lr": lambda v: nn.OneCycleLR(sgd(), [v], 10),
    "OneCycleLR: div_factor": lambda v: nn.OneCycleLR(sgd(), 0.1, 10, div_factor=v),
    "ReduceLROnPlateau: patience": lambda v: nn.ReduceLROnPlateau(sgd(), patience=v),
    "ReduceLROnPlateau: min_lr": lambda v: nn.ReduceLROnPlateau(sgd(), min_lr=[v]),
    "constant_: value": lambda v: nn.init.constant_(weight(), v),
    "normal_: mean": lambda v: nn.init.normal_(weight(), v, rng=np.random.default_rng(0)),
    "uniform_: b": lambda v: nn.init.uniform_(weight(), 0.0, v, rng=np.random.default_rng(0)),
    "trunc_normal_: a": lambda v: nn.init.trunc_normal_(weight(), a=v, rng=np.random.default_rng(0)),
    "xavier_normal_: gain": lambda v: nn.init.xavier_normal_(weight(), v, rng=np.random.default_rng(0)),
    "orthogonal_: gain": lambda v: nn.init.orthogonal_(weight(), v, rng=np.random.default_rng(0)),
    "calculate_gain: a": lambda v: nn.init.calculate_gain("leaky_relu", v),
    "shift: p": lambda v: nn.data.shift(1, v),
}
NO_NUMBERS = {"None": None, "text": "1", "list": [], "array": X, "object": object(), "complex": 1j,
              "parameter": tg.tensor(1.0, requires_grad=True)}


@pytest.mark.parametrize("value", NO_NUMBERS.values(), ids=NO_NUMBERS.keys())
@pytest.mark.parametrize("name", NUMBERS)
def test_an_option_that_is_no_number_is_refused_by_name(name, value):
    with pytest.raises(TypeError, match=f"^{name} must be a number"):
        NUMBERS[name](value)


@pytest.mark.parametrize(("call", "error", "text"), [
    (lambda: tg.layer_norm(X, 4, eps=-1.0), ValueError, "^layer_norm: eps must be at least 0"),
    (lambda: tg.group_norm(X, 2, eps=float("nan")), ValueError, "^group_norm: eps must be at least 0"),
    (lambda: tg.elu(X, HUGE), ValueError, "^elu: alpha, an integer of 1329 bits"),
    (lambda: T * HUGE, ValueError, "^mul: argument 1, an integer of 1329 bits"),
    (lambda: tg.tensor([1]) * 10 ** 30, ValueError, "^mul: argument 1, an integer of 100 bits"),
    (lambda: tg.tensor(MASKED), TypeError, "^tensor: a masked array would lose its mask"),
    (lambda: tg.from_numpy(MASKED), TypeError, "^from_numpy: a masked array would lose its mask"),
    (lambda: T[0, :2] + MASKED, TypeError, "^add argument 1: a masked array would lose its mask"),
    (lambda: tg.Tensor([1.0], np.float64), TypeError, "^requires_grad: expects True or False"),
    (lambda: nn.Parameter([1.0], np.float64), TypeError, "^requires_grad: expects True or False"),
    (lambda: tg.zeros(2, dtype=None), TypeError, "^zeros: dtype must be .*None"),
    (lambda: T.astype(None), TypeError, "^astype: dtype must be .*None"),
    (lambda: T.to("cuda"), TypeError, "^to .there are no devices, leave it out.: dtype must be .*'cuda'"),
    (lambda: nn.Linear(2, 2, dtype=None), TypeError, "dtype must be .*None"),
    (lambda: tg.full_like(X, None), TypeError, "^full_like value: expects real numbers"),
    (lambda: tg.full_like(X, [1.0, 2.0, 3.0, 4.0]), ValueError, r"^full_like value: expects shape \(\)"),
    (lambda: tg.randint(1.5, 4, (2,), np.random.default_rng(0)), TypeError, "^randint: low must be a whole"),
    (lambda: tg.permutation([1, 2], np.random.default_rng(0)), TypeError, "^permutation: n must be a whole number"),
    (lambda: tg.check_grads(tg.exp, (np.ones(2),), order=0), ValueError, "^check_grads: order must be at least 1"),
    (lambda: tg.check_grads(tg.exp, (np.ones(2),), order=np.inf), TypeError, "^check_grads: order must be a whole"),
    (lambda: tg.check_grads(3, (np.ones(2),)), TypeError, "^check_grads: expects a function first"),
    (lambda: tg.check_grads(tg.exp, (np.ones(2),), rng=3), TypeError, "^check_grads: rng must be"),
    (lambda: tg.tape(3), TypeError, "^tape: expects a tensor, got int"),
    (lambda: tg.scope(3).__enter__(), TypeError, "^scope: names must be strings, got"),
    (lambda: tg.ones(3).expand(-1, 3), ValueError, "^expand: -1 keeps an axis"),
    (lambda: tg.broadcast_to(1.0, (-2,)), ValueError, "^broadcast_to: a size in shape must be at least 0"),
    (lambda: tg.broadcast_to(1.0, "x"), TypeError, "^broadcast_to: a size in shape must be a whole number"),
    (lambda: tg.sum(X, np.array([0, 1])), TypeError, "^sum: axis must be a whole number"),
    (lambda: tg.sum(X, int), TypeError, "^sum: axis must be a whole number"),
    (lambda: tg.stack(3), TypeError, "^stack: expects a list of tensors, got 3"),
    (lambda: tg.concatenate(None), TypeError, "^concatenate: expects a list of tensors"),
    (lambda: tg.split(X, None), TypeError, "^split: indices_or_sections must be"),
    (lambda: tg.split(X, [0.5]), TypeError, "^split: indices_or_sections must be"),
    (lambda: tg.mse_loss(X, X, X), ValueError, "^mse_loss: reduction must be one of"),
    (lambda: tg.nll_loss(X, [0, 1], ignore_index="x"), TypeError, "^nll_loss: ignore_index must be a whole number"),
    (lambda: tg.nll_loss(X, [0, 1], weight=["a"] * 4), TypeError, "^nll_loss weight: expects real numbers"),
    (lambda: nn.Linear(X, 2), TypeError, "^Linear: in_features must be a whole number"),
    (lambda: nn.LayerNorm("x"), TypeError, "^LayerNorm: normalized_shape expects an int or a tuple of one, got 'x'"),
    (lambda: nn.Conv2d(1, 2, 3, padding_mode=X), ValueError, "^Conv2d: padding_mode must be one of"),
    (lambda: nn.init.zeros_(X), TypeError, "^zeros_: expects a floating point tensor"),
    (lambda: nn.init.xavier_uniform_(None, rng=np.random.default_rng(0)), TypeError, "^xavier_uniform_: expects a"),
    (lambda: nn.no_decay(None, 0.1), TypeError, "^no_decay: expects a module first"),
    (lambda: nn.OneCycleLR(None, 0.1, 10), TypeError, "^OneCycleLR: expects an optimiser first"),
    (lambda: nn.OneCycleLR(sgd(), 0.1, 10, div_factor=0), ValueError, "^OneCycleLR: div_factor .* above 0"),
    (lambda: nn.ReduceLROnPlateau(None), TypeError, "^ReduceLROnPlateau: expects an optimiser first"),
    (lambda: nn.data.compose(nn.data.flip(), None), TypeError, "^compose: expects transforms"),
    (lambda: nn.data.DataLoader(None), TypeError, "^DataLoader: expects a data set"),
])
def test_wrong_arguments_are_told_by_name(call, error, text):
    with pytest.raises(error, match=text):
        call()
    assert tg.is_recording()


@pytest.mark.parametrize("call", [
    lambda x: nn.ReLU(x), lambda x: nn.LeakyReLU(x), lambda x: nn.Sigmoid(x), lambda x: nn.Flatten(x), lambda x: nn.Softmax(x),
    lambda x: nn.Dropout(x), lambda x: nn.MaxPool2d(x, 2), lambda x: nn.AdaptiveAvgPool2d(x), lambda x: nn.GlobalAvgPool2d(x),
    lambda x: nn.CrossEntropyLoss(x, x), lambda x: nn.MSELoss(x, x), lambda x: nn.BCEWithLogitsLoss(x, x),
    lambda x: nn.MultiMarginLoss(x, x)])
@pytest.mark.parametrize("x", [X, T])
def test_a_layer_that_was_called_before_it_was_made_is_told_so(call, x):
    with pytest.raises(TypeError, match=r"^(\w+): got (Tensor|ndarray) where an option belongs; create the layer first: "
                                        r"\1\(\)\((x|input, target)\)$"):
        call(x)


def test_weights_of_a_loss_may_stand_where_pytorch_has_them():
    ones = tg.ones(4)
    for loss, target in [(nn.CrossEntropyLoss(ones), [0, 1]), (nn.NLLLoss(X[0]), [0, 1]), (nn.MultiMarginLoss(1, 1.0, ones), [0, 1]),
                         (nn.BCEWithLogitsLoss(ones, "mean", ones), X)]:
        assert copy.deepcopy(loss)(T, target).shape == ()


def test_a_class_among_modules_is_told_what_to_write():
    with pytest.raises(TypeError, match=r"^Sequential: expects modules, got type at '1', the class ReLU; write ReLU\(\)$"):
        nn.Sequential(nn.Linear(2, 2), nn.ReLU)
    with pytest.raises(TypeError, match="^ModuleList: expects modules, got int at '0'$"):
        nn.ModuleList([3])


def test_a_forward_without_a_return_is_told_where_it_is():
    class Silent(nn.Module):
        def forward(self, x):
            tg.exp(x)

    with pytest.raises(TypeError, match=r"^Silent.forward returned None; does it lack a return\?") as e:
        nn.Sequential(nn.ReLU(), Silent(), nn.ReLU())(T)
    assert e.value.__notes__ == ["in Sequential.1 (Silent)"]


@pytest.mark.parametrize("given", [T, nn.ReLU, tg.relu])
def test_nn_draw_is_for_modules(given):
    with pytest.raises(TypeError, match=r"^nn\.draw: expects a module and its input, got \w+; use tg\.draw for what was computed"):
        nn.draw(given, X)


@pytest.mark.parametrize("trained", [True, False])
def test_in_place_arithmetic_on_a_parameter_is_refused_even_if_it_is_frozen(trained):
    p = nn.Parameter([1.0], requires_grad=trained)
    with pytest.raises(TypeError, match=r"^Parameter: \+= and the like do not change a parameter.* t\.mutate\(\)"):
        p -= 1.0
    t = tg.tensor([1.0])
    t -= 1.0
    assert t.item() == 0.0


def test_a_refused_start_of_a_cycle_leaves_the_optimiser_as_it_was():
    opt = sgd(lr=0.5, momentum=0.9)
    for options in ({"max_lr": "x"}, {"max_lr": 0.1, "div_factor": 0}, {"max_lr": 0.1, "base_momentum": None}):
        with pytest.raises((TypeError, ValueError)):
            nn.OneCycleLR(opt, total_steps=10, **options)
    (group,) = opt.param_groups
    assert "initial_lr" not in group and (group["lr"], group["momentum"]) == (0.5, 0.9)


# ----- data that makes no tensor -----

def nested(levels, inside=1.0):
    for _ in range(levels):
        inside = [inside]
    return inside


def holding_itself():
    data = []
    data.append(data)
    data.append(data)
    return data


NO_DATA = {
    "2,000 lists": (lambda: nested(2000), "nested in more than 64 levels"),
    "2,000 lists around a tensor": (lambda: nested(2000, tg.tensor(1.0, requires_grad=True)), "nested in more than 64 levels"),
    "2,000 tuples": (lambda: (nested(1999),), "nested in more than 64 levels"),
    "lists that hold themselves": (holding_itself, "contains itself"),
    "an integer of 100 bits": (lambda: 10 ** 30, "integers of more than 64 bits"),
    "integers of 100 bits": (lambda: [10 ** 30, 1], "integers of more than 64 bits"), "imaginary parts": (
        lambda: np.ones(2) * 1j, "complex128"),
    "a huge integer": (lambda: HUGE, "integers of more than 64 bits"), "a word": (lambda: "abc", "got dtype <U3"),
    "bytes": (lambda: b"abc", r"got dtype \|S3"), "words": (lambda: ["a", "b"], "got dtype <U1"), "None": (lambda: None, "of NoneType"),
    "None in a list": (lambda: [None, 1.0], "of NoneType, float"), "a complex number": (lambda: 1j, "complex128"),
    "a date": (lambda: datetime.date(2020, 1, 1), "object of date"), "dates": (lambda: np.array(["2020"], "M8"), "datetime64"),
    "lists of different lengths": (lambda: [[1], [1, 2]], "inhomogeneous"), "arrays of different lengths": (
        lambda: [np.ones(2), np.ones(3)], "inhomogeneous"), "a dict": (dict, "object of dict"), "a set": (lambda: {1.0}, "object of set"),
    "a generator": (lambda: (i for i in [1.0]), "object of generator"), "a fraction": (lambda: fractions.Fraction(1, 2), "of Fraction"),
    "a class": (lambda: int, "object of type"), "a record": (lambda: np.zeros(2, [("a", "f4")]), "got dtype"),
}


@pytest.mark.parametrize("make, text", NO_DATA.values(), ids=NO_DATA)
@pytest.mark.parametrize("name, take", [("tensor", tg.tensor), ("exp argument 0", tg.exp), ("add argument 1", lambda d: T + d),
                                        ("tensor", nn.Parameter), ("sum", tg.sum), ("data", lambda d: setattr(tg.ones(2), "data", d)),
                                        ("tensor", lambda d: tg.tensor(d, dtype=np.float32)),
                                        ("tensor", lambda d: tg.tensor(d, dtype=np.int64))])
def test_data_that_makes_no_tensor_is_named(name, take, make, text):
    if name == "add argument 1" and "integer" in text and not isinstance(make(), list):
        return                                                # numbers beside tensors are told apart above
    with pytest.raises(TypeError, match=rf"^{name}: .*{text}"):
        take(make())


def test_long_lists_and_lists_met_often_are_taken():
    row = [1.0] * 100
    assert tg.tensor([row] * 100).shape == (100, 100) and tg.tensor(nested(64)).shape == (1,) * 64
    assert tg.tensor([[tg.tensor(1.0), 2.0]] * 3).tolist() == [[1.0, 2.0]] * 3


# ----- what is meant for blocks, gradients and ops -----

def bare_block():
    with tg.no_grad:
        pass


def bare_scope():
    with tg.scope:
        pass


def bare_decorator():
    @tg.no_grad
    def f():
        pass


def bare_scope_decorator():
    @tg.scope
    def f():
        pass


@pytest.mark.parametrize("use", [bare_block, bare_scope, bare_decorator, bare_scope_decorator])
def test_a_block_without_its_parentheses_is_told_what_to_write(use):
    with pytest.raises(TypeError, match=r"^(no_grad|scope): the parentheses are missing; write `with tg\.\1\(\):`, or @tg\.\1\(\)"):
        use()
    assert tg.is_recording() and tg.scope.__name__ == "scope" and "Context manager" in tg.no_grad.__doc__


@pytest.mark.parametrize("thing", [3, None, "exp", [tg.exp], tg.ones(2)])
def test_only_functions_become_ops(thing):
    with pytest.raises(TypeError, match="^primitive: expects a function on arrays, got"):
        tg.primitive(thing)


@pytest.mark.parametrize("grad", [3.0, [1.0], "a", {}, np.ones(3), tg.ones(1, 2), True])
def test_a_grad_set_to_what_fits_no_parameter_is_refused_where_it_is_read(grad):
    def fresh():
        p = nn.Parameter([1.0, 2.0])
        p.grad = grad
        return p
    for use in (lambda p: (p * p).sum().backward(), lambda p: nn.SGD([p], lr=0.1).step(), lambda p: nn.Adam([p]).step()):
        with pytest.raises((ValueError, TypeError), match=r"shape|real numbers"):
            use(fresh())


@pytest.mark.parametrize("grad", [[3.0, 4.0], np.array([3, 4]), tg.tensor([3, 4])])
def test_a_grad_set_by_hand_counts_wherever_it_is_read(grad):
    p = nn.Parameter([0.0, 0.0])
    p.grad = grad
    assert nn.clip_grad_norm_([p], 1.0) == 5.0 and np.allclose(p.grad.numpy(), [0.6, 0.8])
    p.grad = grad
    nn.SGD([p], lr=1.0).step()
    assert p.tolist() == [-3.0, -4.0]


@pytest.mark.parametrize("grad", [3.0, "a"])
def test_a_grad_that_is_none_is_refused_by_what_clips_it(grad):
    p = nn.Parameter([0.0, 0.0])
    p.grad = grad
    if grad == "a":
        with pytest.raises(TypeError, match="real numbers"):
            nn.clip_grad_norm_([p], 1.0)
    else:
        assert nn.clip_grad_norm_([p], 5.0) == 3.0            # the step refuses its shape


@pytest.mark.parametrize("path", [3, None, b"x"])
def test_what_is_no_path_is_told_with_the_name_of_the_function(path):
    net, calls = nn.Linear(2, 2), {"save": lambda: nn.save({}, path), "load": lambda: nn.load(path),
                                   "read_idx": lambda: read_idx(path)}
    if path is not None:
        calls["fit"] = lambda: nn.fit(net, [], epochs=1, optimizer=nn.SGD(net.parameters()), checkpoint=path)
    for name, call in calls.items():
        with pytest.raises(TypeError, match=f"^{name}: expects .*path.*, got {type(path).__name__}"):
            call()
    with pytest.raises(ValueError, match="^save: a path has no null character"):
        nn.save({}, "a\0b")


@pytest.mark.parametrize("make, told", [
    (lambda: nn.Dropout(True), "^Dropout: p must be a number between 0 and 1, got True"),
    (lambda: nn.Dropout2d(np.True_), "^Dropout2d: p must be a number"),
    (lambda: nn.SGD([tg.ones(1, requires_grad=True)], True), "^SGD: lr must be a number, got True"),
    (lambda: nn.SGD([tg.ones(1, requires_grad=True)], 0.1, True), "^SGD: momentum must be a number, got True"),
    (lambda: nn.draw(nn.Linear(2, 2), (1, 2), loss=lambda output, y: output), "^draw: loss must be a function of the output alone")])
def test_what_would_be_another_number_or_another_function_is_refused(make, told):
    with pytest.raises(TypeError, match=told):
        make()
