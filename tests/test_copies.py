"""Copies, pickles and shared memory: what Python, other libraries and other processes do with a tensor."""
from __future__ import annotations

import ast
import copy
import functools
import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from tinygrad_conv.primitive import Primitive

ROOT = Path(__file__).resolve().parent.parent
ARRAYS = {"numbers": np.array([1.5, -2.0]), "one number": np.array(3.0), "nothing": np.zeros((0, 3)),
          "integers": np.arange(6).reshape(2, 3), "booleans": np.array([True, False]), "half": np.ones(2, np.float16),
          "transposed": np.arange(6.0).reshape(2, 3).T, "backwards": np.arange(4.0)[::-1]}
WAYS = {"copy": copy.copy, "deepcopy": copy.deepcopy, **{
    f"pickle {protocol}": lambda t, protocol=protocol: pickle.loads(pickle.dumps(t, protocol))
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)}}


def leaf(*values):
    return tg.tensor(np.array(values), requires_grad=True)


def net():
    rng = np.random.default_rng(0)
    return nn.Sequential(nn.Linear(2, 4, rng=rng), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5, rng=rng),
                         nn.Sequential(nn.Linear(4, 1, rng=rng)))


# ----- copies and pickles -----

@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize("way", WAYS)
def test_a_copy_has_the_values_and_memory_of_its_own(way, array):
    t = tg.tensor(array)
    t.name = "t"
    twin = WAYS[way](t)
    assert type(twin) is tg.Tensor and twin is not t and twin.name == "t" and not twin.requires_grad
    assert twin.dtype == t.dtype and np.array_equal(twin.numpy(), array)
    if array.size:
        twin.mutate()[...] = 0
        assert np.array_equal(t.numpy(), array)


@pytest.mark.parametrize("way", [way for way in WAYS if way != "copy"])
@pytest.mark.parametrize("make", [leaf, lambda *v: nn.Parameter(list(v)), lambda *v: nn.Parameter(list(v), False)])
def test_a_leaf_is_copied_as_what_it_is(make, way):
    t = make(1.0, 2.0)
    t.name = "w"
    (t * t).sum()                                            # a graph relies on it, not on its copy
    pair = WAYS[way]([t, t])
    assert pair[0] is pair[1] and type(pair[0]) is type(t)
    assert (pair[0].requires_grad, pair[0].name, pair[0].grad) == (t.requires_grad, "w", None)
    pair[0].mutate()[0] = 9.0
    assert t.tolist() == [1.0, 2.0]


def test_a_copy_of_an_array_that_is_shared_is_not_shared():
    array = np.ones(2)
    array.flags.writeable = False
    for way in WAYS.values():
        way(tg.from_numpy(array)).mutate()[0] = 5.0
    assert array.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("way", WAYS)
def test_the_result_of_an_op_is_not_copied_without_a_word(way):
    y = leaf(1.0) * 2.0
    with pytest.raises((RuntimeError, TypeError), match=r"t\.detach\(\)"):
        WAYS[way](y)
    assert WAYS[way](y.detach()).tolist() == [2.0]


def test_a_twin_of_a_tensor_that_requires_a_gradient_must_be_asked_for():
    with pytest.raises(TypeError, match=r"copy\.copy .* requires a gradient.*t\.detach\(\)"):
        copy.copy(leaf(1.0))
    with tg.no_grad():
        assert copy.copy(leaf(1.0)).requires_grad


# ----- models -----

@pytest.mark.parametrize("way", [way for way in WAYS if way != "copy"])
def test_a_model_is_copied_with_its_scopes_kinds_and_mode(way):
    model = net().eval()
    x = np.random.default_rng(1).standard_normal((3, 2)).astype(np.float32)
    twin = WAYS[way](model)
    assert np.array_equal(twin(x).detach().numpy(), model(x).detach().numpy())
    assert repr(twin) == repr(model) and not any(m.training for m in twin.modules())
    assert [name for name, _ in twin.named_parameters()] == [name for name, _ in model.named_parameters()]
    assert [t.name for t in twin.parameters()] == [t.name for t in model.parameters()]
    assert [name for name, _ in twin.named_buffers()] == [name for name, _ in model.named_buffers()]
    assert "# 4.0" in repr(tg.tape(twin(x)))
    twin.train()(x).sum().backward()
    assert all(p.grad is not None for p in twin.parameters()) and all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("name", [name for name, op in vars(tg).items() if isinstance(op, Primitive)])
def test_an_op_is_one_object_wherever_it_goes(name):
    op = getattr(tg, name)
    assert copy.copy(op) is copy.deepcopy(op) is pickle.loads(pickle.dumps(op)) is op
    layer = nn.Sequential(nn.ReLU())
    layer.activation = op
    assert copy.deepcopy(layer).activation is pickle.loads(pickle.dumps(layer)).activation is op


@tg.primitive
def tripled(x):
    return 3 * x


def test_an_op_of_the_users_is_found_by_its_name():
    assert pickle.loads(pickle.dumps([tripled])) == [tripled] == copy.deepcopy([tripled])
    for op in (tg.primitive(lambda x: x), tg.primitive(functools.partial(np.multiply, 2.0))):
        assert copy.deepcopy(op) is op
        with pytest.raises((pickle.PicklingError, AttributeError), match="lambda|op"):
            pickle.dumps(op)


def work(model, x, queue):
    y = model(x)
    y.sum().backward()
    queue.put((y.detach(), [(name, p.grad) for name, p in model.named_parameters()], model))


def test_a_model_goes_to_another_process_and_comes_back():
    context = multiprocessing.get_context("spawn")
    queue, model, x = context.SimpleQueue(), net().eval(), np.ones((2, 2), np.float32)
    process = context.Process(target=work, args=(model, x, queue))
    process.start()
    y, gradients, back = queue.get()
    process.join(60)
    assert process.exitcode == 0 and np.array_equal(y, model(x).detach())
    model(x).sum().backward()
    assert [name for name, _ in gradients] == [name for name, _ in model.named_parameters()]
    for (_, g), p in zip(gradients, model.parameters()):
        assert np.array_equal(g.numpy(), p.grad.numpy())
    assert type(back) is nn.Sequential and not back.training


def test_no_reader_of_files_unpickles():
    """Pickling in memory is not loading a file."""
    for path in [*(ROOT / "tinygrad_conv").rglob("*.py"), *(ROOT / "nn").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name.split(".")[0] for alias in node.names} | {getattr(node, "module", None)}
                assert not names & {"pickle", "cPickle", "shelve", "marshal", "joblib", "dill", "cloudpickle"}, path
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                assert isinstance(node.value, ast.Constant) and node.value.value is False, path


# ----- DLPack: memory shared with other libraries -----

def test_dlpack_shares_memory_that_no_graph_relies_on():
    t = tg.tensor([1.0, 2.0])
    array = np.from_dlpack(t)
    assert array.tolist() == [1.0, 2.0] and np.shares_memory(array, t.numpy())
    array[0] = 5.0
    assert t.tolist() == [5.0, 2.0]


@pytest.mark.parametrize("late", [True, False])
def test_memory_handed_out_through_dlpack_cannot_change_a_graph(late):
    x = leaf(1.0, 2.0)
    with tg.no_grad():
        array = None if late else np.from_dlpack(x)
    y = (x * x).sum()
    if late:
        array = np.from_dlpack(x.detach())
        array[...] = 9.0                                     # a copy
        y.backward()
        assert x.grad.tolist() == [2.0, 4.0]
    else:
        array[...] = 9.0
        with pytest.raises(RuntimeError, match="changed in place"):
            y.backward()


def test_dlpack_without_a_copy_is_refused_for_memory_that_is_locked():
    x = leaf(1.0, 2.0)
    y = tg.exp(x)
    for t in (x.detach(), y.detach()):
        with pytest.raises(BufferError, match="a graph relies on these values.*a copy"):
            np.from_dlpack(t, copy=False)
        assert np.from_dlpack(t, copy=True).shape == np.from_dlpack(t).shape == (2,)


# ----- other libraries -----

def test_torch_takes_tensors_outside_a_graph():
    torch = pytest.importorskip("torch")
    t = tg.tensor([[1.0, 2.0], [3.0, 4.0]])
    for take in (torch.from_dlpack, torch.tensor, torch.as_tensor):
        assert take(t).tolist() == t.tolist() and take(t).dtype == torch.float32
        with pytest.raises(TypeError, match="requires a gradient, which would be lost"):
            take(leaf(1.0, 2.0))
    assert torch.tensor(tg.tensor(3)).item() == 3


def test_torch_cannot_write_into_what_a_graph_relies_on():
    torch = pytest.importorskip("torch")
    x = leaf(1.0, 2.0)
    y = tg.exp(x)
    taken = [torch.from_dlpack(t.detach()) for t in (x, y)]  # PyTorch knows no read-only memory
    for values in taken:
        values[...] = 0.0
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp([1.0, 2.0]))


def test_tensors_of_torch_are_taken_if_they_require_no_gradient():
    torch = pytest.importorskip("torch")
    assert tg.tensor(torch.ones(2)).tolist() == [1.0, 1.0] == tg.exp(torch.zeros(2)).tolist()
    assert tg.tensor([torch.ones(2), torch.ones(2)]).shape == (2, 2)
    weight = torch.nn.Parameter(torch.ones(2))
    for call in (tg.tensor, tg.exp, lambda w: tg.tensor([w, w]), lambda w: tg.ones(2) * w):
        with pytest.raises(TypeError, match="cannot make an array of .*detach"):
            call(weight)
    assert tg.tensor(weight.detach()).tolist() == [1.0, 1.0]


def test_matplotlib_draws_tensors_outside_a_graph():
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    figure, axes = pyplot.subplots()
    try:
        t = tg.tensor([1.0, 3.0, 2.0])
        (line,) = axes.plot(t)
        assert line.get_ydata().tolist() == [1.0, 3.0, 2.0]
        (line,) = axes.plot(t, t * 2.0)
        assert line.get_ydata().tolist() == [2.0, 6.0, 4.0]
        axes.scatter(t, t), axes.hist(t), axes.imshow(tg.ones(2, 2)), axes.bar(t, t), axes.fill_between(t, t)
        with pytest.raises(TypeError, match="requires a gradient, which would be lost"):
            axes.plot(leaf(1.0, 2.0))
    finally:
        pyplot.close(figure)


# ----- other libraries' arrays -----

def test_dlpack_shares_memory_both_ways():
    torch = pytest.importorskip("torch")
    theirs = torch.arange(6.0).reshape(2, 3)
    ours = tg.from_dlpack(theirs)
    theirs[0, 0] = 9.0
    assert ours.shape == (2, 3) and ours.data[0, 0] == 9.0
    back = torch.from_dlpack(tg.tensor([[1.0, 2.0]]))
    assert back.tolist() == [[1.0, 2.0]]
    with pytest.raises((TypeError, BufferError)):
        tg.from_dlpack(torch.ones(2, requires_grad=True))
    with pytest.raises(TypeError, match="from_dlpack: expects an array with __dlpack__, got list"):
        tg.from_dlpack([1.0])


def test_pictures_become_tensors_and_tensors_pictures():
    image = pytest.importorskip("PIL.Image")
    picture = image.new("RGB", (4, 5), (10, 20, 30))
    t = tg.tensor(picture)
    assert t.shape == (5, 4, 3) and t.dtype == np.uint8 and t.data[0, 0].tolist() == [10, 20, 30]
    assert image.fromarray(t.numpy()).tobytes() == picture.tobytes()
