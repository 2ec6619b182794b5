"""A PyTorch user's spelling does the same here, or the error says what to write; never another number."""
from __future__ import annotations

import re

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from nn import advice as nn_advice
from tinygrad_conv import advice

A = np.random.default_rng(0).standard_normal((2, 3, 4))


def test_the_first_argument_of_norm_is_the_order_as_in_pytorch_and_numpy():
    """`gradient.norm(2, 1)` once was the norm over axis 2, with the axis kept."""
    x, rows = tg.tensor(A), np.sqrt((A * A).sum(1))
    for norms in (x.norm(2, 1), x.norm(dim=1), x.norm(axis=1), x.norm(2, dim=1), tg.norm(x, 2, 1), tg.norm(x, axis=1)):
        np.testing.assert_allclose(norms.data, rows, rtol=1e-14)
    assert x.norm(2).shape == () and x.norm("fro", 1, True).shape == (2, 1, 4)
    for wrong in (lambda: x.norm(1), lambda: x.norm(p=np.inf, dim=1), lambda: tg.norm(x, (1, 2))):
        with pytest.raises(ValueError, match=r"^norm: expects p=2, the Euclidean norm, got .*axis= or dim="):
            wrong()


@pytest.mark.parametrize("wrong", [lambda x: x.std(False), lambda x: x.var(False), lambda x: x.sum(True),
                                   lambda x: x.max(True), lambda x: tg.mean(x, (0, np.bool(True)))])
def test_a_boolean_is_no_axis(wrong):
    """`x.std(False)`, PyTorch's for the biased one of all entries, once was that along axis 0."""
    with pytest.raises(TypeError, match="axis must be a whole number, got .*(True|False)"):
        wrong(tg.tensor(A))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16, np.float32, np.float64])
def test_a_clone_has_the_dtype(dtype):
    t = tg.tensor(A.astype(dtype)).clone()
    assert t.dtype == dtype and (t.data == A.astype(dtype)).all()


def test_size_is_a_number_that_says_what_size_with_brackets_is_called():
    t = tg.tensor(A)
    assert t.size == 24 and repr(t.size) == "24" and isinstance(t.size, int)
    with pytest.raises(TypeError, match=r"^size: is the number of entries, 24, .* t\.shape\[1\]"):
        t.view(t.size(1), -1)


LACKING = {**{("tg", name): text for name, text in advice.FUNCTIONS.items()},
           **{("t", name): text for name, text in advice.METHODS.items()},
           **{("nn", name): text for name, text in nn_advice.NAMES.items()},
           **{("data", name): text for name, text in nn_advice.DATA.items()},
           **{("model", name): text for name, text in nn_advice.METHODS.items()},
           **{("init", name): text for name, text in nn_advice.INIT.items()},
           **{("array", name): text for name, text in advice.DATA.items()}}
HERE = {"tg": tg, "nn": nn, "data": nn.data, "t": tg.tensor(A), "model": nn.Linear(2, 3), "np": np,
        "init": nn.init, "array": tg.tensor(A).data}


@pytest.mark.parametrize(("owner", "name"), LACKING)
def test_an_error_that_says_what_to_write_names_only_what_there_is(owner, name):
    with pytest.raises(AttributeError) as e:
        getattr(HERE[owner], name)
    assert f"has no attribute {name!r}; instead: {LACKING[owner, name]}" in str(e.value) and len(str(e.value)) < 260
    for thing, attribute in re.findall(r"\b(tg|nn|t|model|np)\.(\w+)", LACKING[owner, name]):
        assert hasattr(HERE[thing], attribute), attribute


@pytest.mark.parametrize("of", ["tg", "t", "nn", "data", "model", "init", "array"])
def test_advice_is_for_names_of_pytorch(of):
    torch = pytest.importorskip("torch")
    theirs = {"tg": [torch, torch.nn.functional, torch.func, torch.autograd, nn], "t": [torch.zeros(1, 1)],
              "nn": [torch.nn, torch.optim, torch.optim.lr_scheduler, tg],  # or of our other package
              "data": [torch.utils.data], "model": [torch.nn.Linear(2, 3)],
              "init": [torch.nn.init], "array": [torch.zeros(1)]}[of]
    of_drawings = {"make_dot", "visualize", "draw_graph", "plot", "plot_model"}  # of packages that draw models
    assert [name for owner, name in LACKING if owner == of and name not in of_drawings
            and not any(hasattr(m, name) for m in theirs)] == []


def test_a_name_that_stands_elsewhere_is_pointed_at_and_no_other_name_is():
    t = tg.tensor(A)
    for there, wrong in [("tg.erf(t)", lambda: t.erf), ("t.requires_grad_(...)", lambda: tg.requires_grad_),
                         ("a leaf is changed with t.mutate()[...] = values", lambda: t.copy_)]:
        with pytest.raises(AttributeError, match=f"instead: {re.escape(there)}"):
            wrong()
    for plain in (lambda: t.shapee, lambda: tg.shape, lambda: nn.Lniear, lambda: nn.Linear(2, 3).weigth):
        with pytest.raises(AttributeError) as e:
            plain()
        assert "here:" not in str(e.value) and e.value.name and e.value.obj is not None
    assert not hasattr(t, "cuda") and getattr(tg, "cat", None) is None


def test_the_folders_of_nn_point_at_the_names_too_and_optim_has_them():
    """`nn.optim.SGD`, for the torch.optim.SGD of a ported program."""
    assert all(getattr(nn, name) is value for name, value in vars(nn.optim).items() if name[0].isupper())
    assert nn.optim.SGD is nn.SGD and nn.optim.OneCycleLR is nn.OneCycleLR
    for wrong, text in [(lambda: nn.optim.lr_scheduler, "nn.optim .*; instead: nn.StepLR, nn.Cosine"),
                        (lambda: nn.layers.Conv2d, "nn.layers .*; instead: nn.Conv2d$"),
                        (lambda: nn.train.fitt, "nn.train has no attribute 'fitt'$")]:
        with pytest.raises(AttributeError, match=text):
            wrong()


@pytest.mark.parametrize("layer", [nn.ReLU, nn.ReLU6, nn.SiLU, nn.SELU, nn.LeakyReLU, nn.ELU, nn.Hardtanh, nn.Dropout,
                                   nn.Dropout2d])
def test_a_layer_that_would_overwrite_its_input_is_refused(layer):
    assert repr(layer(inplace=False)) == repr(layer())
    with pytest.raises(ValueError, match=f"^{layer.__name__}: inplace must be False, got True.*x = layer"):
        layer(inplace=True)


def test_inplace_stands_where_pytorch_has_it():
    for layer in (lambda flag: nn.ReLU(flag), lambda flag: nn.LeakyReLU(0.2, flag), lambda flag: nn.Dropout(0.1, flag)):
        layer(False)
        with pytest.raises(ValueError, match="inplace must be False"):
            layer(True)


def test_a_missing_generator_is_asked_for_by_an_initialiser():
    for fill in (nn.init.normal_, nn.init.kaiming_normal_, nn.init.xavier_uniform_, nn.init.lecun_normal_):
        with pytest.raises(TypeError, match=f"^{fill.__name__}: rng must be .*, it is missing; make one with rng=np.random"):
            fill(tg.zeros(2, 2))


def test_an_initialiser_given_data_asks_for_the_tensor():
    with pytest.raises(TypeError, match=r"^constant_: .* got ndarray; give the tensor itself, not its \.data"):
        nn.init.constant_(nn.Linear(2, 3).bias.data, 0)


@pytest.mark.parametrize("dtype", ["cuda", "cuda:0", object()])
def test_what_is_no_dtype_is_told_and_that_there_are_no_devices(dtype):
    with pytest.raises(TypeError, match=r"^to \(there are no devices, leave it out\): dtype must be a float, .*, got"):
        tg.zeros(2).to(dtype)


def test_a_part_of_a_data_set_is_one_again_as_advised():
    data = nn.data.Dataset(np.arange(8, dtype=np.uint8).reshape(4, 1, 1, 2), np.arange(4))
    x, y = nn.data.Dataset(*data[np.array([2, 0])])[:]
    np.testing.assert_array_equal(x, data[:][0][[2, 0]])
    assert y.tolist() == [2, 0]


def test_a_tensor_in_the_place_of_an_axis_is_told_in_a_line():
    """`tg.concat(x, x)`, which wants a list, once printed all of x."""
    t = tg.tensor(A)
    with pytest.raises(TypeError, match=r"axis must be a whole number, got a Tensor of shape \(2, 3, 4\)$"):
        tg.concat(t, t)
