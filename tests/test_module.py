"""Module: order, names, state, modes, copies, the printed tree, scopes and errors."""
from __future__ import annotations

import collections
import copy
import dataclasses
import gc
import operator
import os
import subprocess
import sys
import threading
import types
from collections import OrderedDict
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import nn
import tinygrad_conv as tg

ROOT = Path(__file__).resolve().parent.parent


class Net(nn.Module):
    def __init__(self, rng=None):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3, rng=rng), nn.BatchNorm2d(4), nn.ReLU())
        self.blocks = nn.ModuleList([nn.Linear(4, 4, rng=rng) for _ in range(2)])
        self.scale = nn.Parameter(np.ones(4, np.float32))
        self.drop = nn.Dropout(0.5, rng=np.random.default_rng(0))
        self.head = nn.Linear(4, 3, bias=False, rng=rng)

    def forward(self, x):
        x = self.features(x).mean((2, 3)) * self.scale
        for block in self.blocks:
            x = block(x)
        return self.head(self.drop(x))


NAMES = ["scale", "features.0.weight", "features.0.bias", "features.1.weight", "features.1.bias",
         "blocks.0.weight", "blocks.0.bias", "blocks.1.weight", "blocks.1.bias", "head.weight"]


# ----- order and names -----

def test_module_parameters_keep_their_order_and_know_their_names():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == NAMES
    assert [p.name for p in net.parameters()] == NAMES
    assert [n for n, _ in net.named_buffers()] == [
        "features.1.running_mean", "features.1.running_var", "features.1.num_batches_tracked"]
    assert [n for n, _ in net.named_children()] == ["features", "blocks", "drop", "head"]
    assert [n for n, _ in net.named_modules()][:4] == ["", "features", "features.0", "features.1"]
    assert list(net.modules())[0] is net and list(net.children())[0] is net.features


def test_module_order_does_not_depend_on_the_hash_seed():
    code = ("import nn; print([n for n, _ in nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), "
            "nn.Linear(3, 4)).named_parameters()])")
    outs = {subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, cwd=ROOT,
                           capture_output=True, text=True, check=True).stdout for seed in "01"}
    assert len(outs) == 1


def test_module_shared_parameters_count_once_and_are_saved_under_each_name():
    net = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    net[1].weight = net[0].weight
    assert [n for n, _ in net.named_parameters()] == ["0.weight"]
    assert list(net.state_dict()) == ["0.weight", "1.weight"]
    twice = nn.Sequential(net[0], net[0])
    assert len(list(twice.parameters())) == 1 and len(list(twice.modules())) == 2
    (twice(tg.ones(1, 3)).sum()).backward()
    assert net[0].weight.grad is not None
    fresh = copy.deepcopy(net)
    assert fresh[0].weight is fresh[1].weight and fresh[0].weight is not net[0].weight


def test_module_apply_goes_from_children_to_parents_in_order():
    seen = []
    net = nn.Sequential(nn.Sequential(nn.ReLU(), nn.Tanh()), nn.Linear(1, 1))
    assert net.apply(lambda m: seen.append(type(m).__name__)) is net
    assert seen == ["ReLU", "Tanh", "Sequential", "Linear", "Sequential"]


# ----- attributes -----

def test_module_assignment_before_init_is_a_clear_error():
    class Early(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(1, 1)

    class Late(nn.Module):
        def __init__(self):
            pass

    with pytest.raises(AttributeError, match=r"Early: call super\(\).__init__\(\) before assigning 'fc'"):
        Early()
    with pytest.raises(AttributeError, match=r"Late: call super\(\).__init__\(\) first"):
        Late()(1)
    with pytest.raises(AttributeError, match=r"super\(\).__init__\(\) first"):
        Late().register_buffer("x", tg.ones(1))


def test_module_missing_attribute_names_the_module():
    net = Net()
    with pytest.raises(AttributeError, match="Net has no attribute 'heda'") as e:
        net.heda  # noqa: B018
    assert e.value.name == "heda" and "head" in dir(e.value.obj)
    assert not hasattr(net, "heda") and "weight" in dir(net.head)


def test_module_attributes_may_be_none_replaced_and_deleted():
    net = nn.Linear(2, 2)
    net.bias = None
    assert list(net.state_dict()) == ["weight"] and net(tg.ones(1, 2)).shape == (1, 2)
    net.bias = nn.Parameter([0.0, 0.0])
    assert list(net.state_dict()) == ["weight", "bias"]
    net.bias = nn.Identity()  # another kind: it moves
    assert [n for n, _ in net.named_parameters()] == ["weight"] and len(list(net.children())) == 1
    del net.bias
    assert not hasattr(net, "bias")
    net.note = "plain"
    del net.note
    assert not hasattr(net, "note")
    with pytest.raises(AttributeError):
        del net.note


@pytest.mark.parametrize("value", [np.ones((2, 2)), 1.0, tg.ones(2, 2)])
def test_module_a_parameter_is_not_silently_replaced_by_something_untrained(value):
    net = nn.Linear(2, 2)
    with pytest.raises(TypeError, match=r"'weight' must be a Parameter or None.*weight.mutate\(\)"):
        net.weight = value
    assert isinstance(net.weight, nn.Parameter)


def test_module_buffers_stay_buffers():
    net = nn.BatchNorm2d(2)
    net.running_mean = tg.ones(2)
    assert net.state_dict()["running_mean"].tolist() == [1, 1]
    with pytest.raises(TypeError, match="'running_mean' must be a tensor"):
        net.running_mean = np.ones(2)
    with pytest.raises(TypeError, match="'q' must be a tensor or None, got ndarray"):
        net.register_buffer("q", np.ones(2))


def test_module_names_that_cannot_work_are_refused():
    net = nn.Linear(2, 2)
    with pytest.raises(AttributeError, match="'eval' is a method"):
        net.eval = nn.ReLU()
    for register in (net.register_buffer, net.register_parameter, net.add_module):
        with pytest.raises(ValueError, match="without dots, got 'a.b'"):
            register("a.b", None)
        with pytest.raises(ValueError, match="already has an attribute 'forward'"):
            register("forward", None)
        with pytest.raises(TypeError, match="got int"):
            register("ok", 3)
    with pytest.raises(ValueError, match="contain itself"):
        net.child = nn.Sequential(net)


def test_parameter_is_a_leaf_that_requires_grad():
    p = nn.Parameter(np.zeros(2))
    assert p.requires_grad and p.is_leaf and p.dtype == np.float64
    assert not nn.Parameter([1.0], requires_grad=False).requires_grad
    with pytest.raises(TypeError, match="floating point"):
        nn.Parameter([1, 2])


# ----- modes and gradients -----

def test_module_train_eval_and_freezing_reach_everything():
    net = Net()
    assert net.eval() is net and not any(m.training for m in net.modules())
    assert all(m.training for m in net.train().modules())
    assert not any(p.requires_grad for p in net.requires_grad_(False).parameters())
    assert not net(tg.ones(2, 1, 4, 4)).requires_grad
    net.requires_grad_()
    net(tg.ones(2, 1, 4, 4)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())


def test_module_generators_are_found_and_shared_ones_once():
    net = Net()
    assert [n for n, _ in net.named_generators()] == ["drop.rng"]
    rng = np.random.default_rng(0)
    pair = nn.Sequential(nn.Dropout(rng=rng), nn.Dropout(rng=rng))
    (name, found), = pair.named_generators()
    assert name == "0.rng" and found is rng
    state = rng.bit_generator.state
    a = pair(tg.ones(8)).numpy()
    rng.bit_generator.state = state
    assert np.array_equal(a, pair(tg.ones(8)).numpy())


def test_module_deepcopy_is_independent():
    net = Net()
    twin = copy.deepcopy(net)
    assert all(np.array_equal(a, b) for a, b in zip(net.state_dict().values(), twin.state_dict().values()))
    twin.head.weight.mutate()[...] = 7
    twin.drop.rng.random()
    assert not np.any(net.head.weight.data == 7)
    assert net.drop.rng.bit_generator.state != twin.drop.rng.bit_generator.state
    assert [p.name for p in twin.parameters()] == NAMES and twin.head.weight.requires_grad
    loss = twin(tg.ones(2, 1, 4, 4)).sum()
    loss.backward()
    assert net.head.weight.grad is None


def test_module_call_leaves_no_cycles():
    net = Net()
    gc.collect()
    gc.disable()
    try:
        net(tg.ones(2, 1, 4, 4)).sum().backward()
        assert gc.collect() == 0
    finally:
        gc.enable()


# ----- state -----

def test_state_dict_round_trip_is_exact_and_read_only():
    net, other = Net(), Net()
    state = net.state_dict()
    assert other.load_state_dict(state) == ([], [])
    for name, a in other.state_dict().items():
        assert np.array_equal(a, state[name]) and a.dtype == state[name].dtype
    with pytest.raises(ValueError):
        state["head.weight"][0] = 0
    before = state["head.weight"].copy()
    net.head.weight.mutate()[...] = 3
    assert np.array_equal(state["head.weight"], before)


def test_load_state_dict_lists_every_fault_and_changes_nothing():
    net = Net()
    before = net.state_dict()
    state = {k: v + 1 for k, v in before.items()}
    del state["scale"], state["features.0.bias"]
    state |= {"extra": np.ones(1), "head.weight": np.ones((1, 4)), "blocks.0.bias": np.ones(()),
              "features.1.running_mean": np.array(["a", "b", "c", "d"])}
    with pytest.raises(RuntimeError) as e:
        net.load_state_dict(state)
    for text in ("missing: scale, features.0.bias", "unexpected: extra",
                 "head.weight (expects (3, 4), got (1, 4))", "blocks.0.bias (expects (4,), got ())",
                 "features.1.running_mean (expects float32, got <U1)", "Net was not changed"):
        assert text in str(e.value)
    assert all(np.array_equal(a, b) for a, b in zip(before.values(), net.state_dict().values()))
    with pytest.raises(RuntimeError, match="another shape"):
        net.load_state_dict(state, strict=False)  # shapes matter all the same
    assert all(np.array_equal(a, b) for a, b in zip(before.values(), net.state_dict().values()))


def test_load_state_dict_not_strict_returns_both_lists():
    net = nn.Linear(2, 2)
    result = net.load_state_dict({"weight": np.ones((2, 2)), "w2": 0}, strict=False)
    assert result.missing_keys == ["bias"] and result.unexpected_keys == ["w2"]
    assert net.weight.data.tolist() == [[1, 1], [1, 1]] and net.weight.dtype == np.float32


def test_load_state_dict_takes_tensors_and_refuses_the_rest():
    net = nn.Linear(2, 2)
    net.load_state_dict({"weight": tg.zeros(2, 2), "bias": [1.0, 2.0]})
    assert net.bias.data.tolist() == [1, 2]
    with pytest.raises(TypeError, match="expects a mapping"):
        net.load_state_dict([1])
    with pytest.raises(TypeError, match="weight is not an array"):
        net.load_state_dict({"weight": [[1.0], [1.0, 2.0]], "bias": [0.0, 0.0]})
    with pytest.raises(RuntimeError, match="num_batches_tracked .expects int64, got float32"):
        nn.BatchNorm1d(1).load_state_dict({"num_batches_tracked": np.float32(1.5)}, strict=False)


def test_load_state_dict_between_forward_and_backward_is_noticed():
    net = nn.Linear(2, 2)
    y = net(tg.ones(1, 2, requires_grad=True)).sum()
    net.load_state_dict(net.state_dict())
    with pytest.raises(RuntimeError, match="'weight', was changed in place"):
        y.backward()


# ----- scopes, pictures, errors -----

def test_module_paths_are_the_scopes_of_the_tape():
    net = Net().eval()
    scopes = [".".join(entry.node.scope) for entry in tg.tape(net(tg.ones(1, 1, 4, 4)))]
    assert scopes[0] == "features.0" and "features.2" in scopes and "" in scopes
    assert scopes[-3:] == ["blocks.0", "blocks.1", "head"]
    listing = repr(tg.tape(net(tg.ones(1, 1, 4, 4))))
    assert "features.0.weight : leaf" in listing and "# blocks.1" in listing


def test_module_error_inside_forward_says_where():
    net = Net()
    with pytest.raises(ValueError, match="conv2d: weight expects 1 input channels but x has 2") as e:
        net(tg.ones(1, 2, 4, 4))
    assert e.value.__notes__ == ["in Net.features.0 (Conv2d)"]
    with pytest.raises(ValueError) as e:
        net.features[0](tg.ones(1, 2, 4, 4))
    assert e.value.__notes__ == ["in 0 (Conv2d)"]
    with pytest.raises(ValueError) as e:
        nn.Conv2d(1, 1, 3)(tg.ones(1, 2, 4, 4))
    assert e.value.__notes__ == ["in Conv2d (Conv2d)"]
    assert net(tg.ones(2, 1, 4, 4)).shape == (2, 3)  # scopes are as before


def test_module_without_forward_says_so():
    with pytest.raises(NotImplementedError, match="ModuleList has no forward"):
        nn.ModuleList([nn.ReLU()])(1)


def test_module_repr_is_a_tree():
    assert repr(Net()) == """Net(
  (features): Sequential(
    (0): Conv2d(1, 4, kernel_size=(3, 3), stride=(1, 1))
    (1): BatchNorm2d(4, eps=1e-05, momentum=0.1, affine=True, track_running_stats=True)
    (2): ReLU()
  )
  (blocks): ModuleList(
    (0): Linear(in_features=4, out_features=4, bias=True)
    (1): Linear(in_features=4, out_features=4, bias=True)
  )
  (drop): Dropout(p=0.5)
  (head): Linear(in_features=4, out_features=3, bias=False)
)"""


# ----- containers -----

def test_sequential_indexing_slicing_and_names():
    net = nn.Sequential(OrderedDict(conv=nn.Conv2d(1, 2, 3), act=nn.ReLU(), flat=nn.Flatten()))
    assert [n for n, _ in net.named_children()] == ["conv", "act", "flat"] and len(net) == 3
    assert net[0] is net.conv and net[-1] is net.flat and list(net) == [net.conv, net.act, net.flat]
    part = net[:2]
    assert isinstance(part, nn.Sequential) and part.conv is net.conv and len(part) == 2
    part.append(nn.Tanh())
    assert len(part) == 3 and len(net) == 3
    net[1] = nn.Tanh()
    assert isinstance(net.act, nn.Tanh)
    with pytest.raises(IndexError, match="index 3 is out of range for 3"):
        net[3]
    with pytest.raises(TypeError, match="expects modules, got type"):
        nn.Sequential(nn.ReLU)
    with pytest.raises(TypeError, match="expects modules, got function"):
        net.append(lambda x: x)


def test_sequential_slices_keep_names_scopes_and_append_finds_a_free_name():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2))
    tail = net[1:]
    assert list(tail.state_dict()) == ["2.weight", "2.bias"]
    assert [".".join(e.node.scope) for e in tg.tape(net(tg.ones(1, 2)))] == ["0", "1", "2"]
    tail.append(nn.Linear(2, 1))
    assert [n for n, _ in tail.named_children()] == ["1", "2", "3"]
    assert tail(tg.ones(1, 2)).shape == (1, 1)
    assert nn.Sequential()(5) == 5


def test_module_list_and_dict():
    layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
    layers.append(nn.ReLU()).extend([nn.Tanh()])
    assert [n for n, _ in layers.named_children()] == list("01234")
    assert [n for n, _ in layers[3:].named_children()] == ["0", "1"]
    layers[0] = nn.Identity()
    assert isinstance(layers[0], nn.Identity)
    heads = nn.ModuleDict({"a": nn.Linear(2, 1)})
    heads["b"] = nn.Linear(2, 2)
    assert list(heads) == ["a", "b"] and "a" in heads and len(heads) == 2
    assert [k for k, _ in heads.items()] == list(heads.keys()) and len(list(heads.values())) == 2
    with pytest.raises(KeyError, match="no module 'c'; there are a, b"):
        heads["c"]
    with pytest.raises(TypeError, match="got int at 'c'"):
        heads["c"] = 3


def test_containers_that_are_not_called_pass_their_name_on():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.heads = nn.ModuleDict({"a": nn.Linear(2, 2)})
            self.deep = nn.ModuleList([nn.ModuleList([nn.Linear(2, 2)])])
            self.heads["late"] = nn.Linear(2, 2)

        def forward(self, x):
            return self.deep[0][0](self.heads["late"](self.heads["a"](x)))

    tape = tg.tape(Two()(tg.ones(1, 2)))
    assert [".".join(e.node.scope) for e in tape] == ["heads.a", "heads.late", "deep.0.0"]


def test_parameter_refuses_in_place_arithmetic_that_would_only_rebind_a_name():
    """PyTorch's `with no_grad(): for p in ...: p -= lr * p.grad` would train nothing, silently."""
    net = nn.Linear(2, 2)
    before = net.state_dict()
    for op in (operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.ipow, operator.imatmul):
        with tg.no_grad(), pytest.raises(TypeError, match=r"\+= and the like do not change .*t\.mutate\(\)"):
            op(net.weight, 2.0)
    assert np.array_equal(before["weight"], net.weight.numpy())
    assert (net.weight + 1.0).shape == (2, 2)


def test_module_train_calls_the_train_of_every_module_below():
    """Overriding it is how a layer stays frozen, as in PyTorch."""
    class Frozen(nn.BatchNorm2d):
        def train(self, mode=True):
            return super().train(False)

    net = nn.Sequential(nn.Sequential(Frozen(2), nn.Dropout()))
    net.train()
    assert [m.training for m in net.modules()] == [True, True, False, True]


def test_load_state_dict_names_what_torch_cannot_give_as_an_array():
    torch = pytest.importorskip("torch")
    net = nn.Linear(2, 2)
    before = net.state_dict()
    for state in (torch.nn.Linear(2, 2).bfloat16().state_dict(), dict(torch.nn.Linear(2, 2).named_parameters())):
        with pytest.raises(TypeError, match="load_state_dict: weight is not an array: "):
            net.load_state_dict(state)
    assert all(np.array_equal(a, b) for a, b in zip(before.values(), net.state_dict().values()))


def test_containers_name_an_index_or_modules_of_another_kind():
    for wrong in ("a", 0.5):
        with pytest.raises(TypeError, match=f"Sequential: index must be a whole number, got {wrong!r}"):
            nn.Sequential(nn.ReLU())[wrong]
    with pytest.raises(TypeError, match="ModuleDict: expects a mapping of names to modules, got list"):
        nn.ModuleDict([("a", nn.ReLU())])


def test_a_copied_module_has_attributes_of_its_own():
    net = nn.Sequential(nn.Linear(2, 3))
    longer = copy.copy(net).append(nn.ReLU())
    assert (len(net), len(longer)) == (1, 2) and longer[0] is net[0]


@dataclasses.dataclass
class Pair:
    first: object
    second: object = None


@dataclasses.dataclass(slots=True)
class Slim:
    first: object


Named = collections.namedtuple("Named", "one two")
HOLDERS = {"list": lambda m: [m], "tuple": lambda m: (m,), "dict": lambda m: {"a": m}, "set": lambda m: {m},
           "frozenset": lambda m: frozenset([m]), "deque": lambda m: collections.deque([m]), "Named": lambda m: Named(1, m),
           "OrderedDict": lambda m: collections.OrderedDict(a=m), "Pair": lambda m: Pair(0, [m]), "Slim": lambda m: Slim(m),
           "SimpleNamespace": lambda m: types.SimpleNamespace(a=m), "UserList": lambda m: collections.UserList([m]),
           "ndarray": lambda m: array_of(m)}
FINDERS = {"parameters": lambda net: net.parameters(), "state_dict": lambda net: net.state_dict(), "eval": lambda net: net.eval(),
           "load_state_dict": lambda net: net.load_state_dict({}), "save": lambda net: nn.save(net, "unused")}


def array_of(part):
    array = np.empty(2, object)
    array[1] = part
    return array


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("kind", HOLDERS)
def test_a_plain_container_of_modules_or_parameters_is_refused_where_they_would_be_lost(kind, nested):
    for what, advice in ((nn.Linear(2, 2), "nn.ModuleList or nn.ModuleDict"), (nn.Parameter([1.0]), "register_parameter")):
        held, net = HOLDERS[kind](what), nn.Module()
        net.inner = nn.Sequential()
        net.inner.h = [3, {"x": (held,)}] if nested else held
        for find in FINDERS.values():
            with pytest.raises(TypeError, match=f"^Module: 'inner.h' is a plain {'list' if nested else kind} that holds a "
                                                f"{type(what).__name__}, which would be neither trained.*{advice}"
                                                r".*object.__setattr__\(self, name, it\)"):
                find(net)
        net.late = what  # found by another way, whenever that is
        assert len([*FINDERS["parameters"](net)]) == len(FINDERS["state_dict"](net)) and FINDERS["eval"](net) is net


@pytest.mark.parametrize("find", [name for name in FINDERS if name != "save"])
def test_a_container_that_grows_after_it_was_assigned_is_looked_into_again(find):
    """Modules without parameters too: their mode and their buffers would be lost."""
    for part in (nn.Dropout(), nn.BatchNorm1d(2, affine=False), nn.Linear(2, 2)):
        net = nn.Module()
        net.parts = []
        FINDERS[find](net)
        net.parts.append(part)
        with pytest.raises(TypeError, match="^Module: 'parts' is a plain list"):
            FINDERS[find](net)
    by = {nn.ReLU(): 1}
    net.parts = by
    with pytest.raises(TypeError, match="^Module: 'parts' is a plain dict that holds a ReLU"):
        FINDERS[find](net)


def test_a_module_is_hidden_on_purpose_as_the_error_says():
    net, teacher = nn.Linear(2, 3), nn.Linear(2, 3)
    object.__setattr__(net, "teacher", teacher)
    assert len(net.state_dict()) == len([*net.parameters()]) == 2 and teacher.training and not net.eval().training
    net.other = partial(teacher)
    assert net.train().other(tg.ones(1, 2)).shape == (1, 3) and len(net.state_dict()) == 2
    loss = lambda output, y: ((output - net.teacher(tg.tensor(np.ones((1, 2), np.float32)))) ** 2).mean()  # noqa: E731
    nn.fit(net, [(np.ones((1, 2), np.float32), np.zeros(1))], epochs=1, optimizer=nn.SGD(net.parameters()), loss=loss, callbacks=())


def test_looking_into_containers_opens_no_plain_value_and_each_container_once(monkeypatch):
    """Much in a list, or many lists, stay cheap: what is opened is counted."""
    opened = []
    opener = nn.layers.module._opener
    monkeypatch.setattr(nn.layers.module, "_opener", lambda kind: opened.append(kind) or opener(kind))
    net = nn.Module()
    net.many = [None, True, 1, "a", (1, 2), (None, "b")] * 10_000
    net.eval()
    assert len(opened) < 100
    walks, tree = [], nn.Module.named_modules
    monkeypatch.setattr(nn.Module, "named_modules", lambda self: walks.append(0) or tree(self))
    for n in range(100):
        setattr(net, f"h{n}", [nn.ReLU()])
        setattr(net, f"m{n}", getattr(net, f"h{n}")[0])
    walks.clear()
    net.eval()
    assert len(walks) < 10


def test_plain_containers_of_anything_else_are_attributes_like_others():
    net, loop = nn.Sequential(nn.Linear(2, 2), nn.ReLU()), []
    loop.append(loop)
    for value in ([1, 2], [tg.ones(2)], [], {"a": np.ones(2)}, loop, [*net], {"w": net[0].weight}, Pair(net[1]), Pair,
                  nn.ModuleDict({"a": net[1]}), list(range(100_000))):
        net.h = value
        assert net.h is value
        del net.h


@pytest.mark.parametrize("name, value, advice", [
    ("train", False, r"net.eval\(\) ends it"), ("eval", True, r"net.eval\(\) ends"), ("parameters", [1], "another name"),
    ("forward", 3, "another name"), ("apply", None, "another name"), ("state_dict", {}, "another name"),
    ("extra", 1, "another name"), ("buffers", (), "another name"), ("requires_grad", False, r"net.requires_grad_\(False\)")])
def test_an_attribute_that_would_hide_a_method_is_refused(name, value, advice):
    class Net(nn.Module):
        def extra(self):
            return 1

    net = Net()
    with pytest.raises(AttributeError, match=f"^Net: '{name}' .*{advice}"):
        setattr(net, name, value)
    assert name not in vars(net) and net.train().training


def test_a_forward_may_be_replaced_by_another_function():
    net = nn.Linear(2, 2)
    net.forward = lambda x: x + 1
    assert net(tg.zeros(1)).item() == 1.0


def nested(depth, wrap=nn.Sequential):
    net = nn.Linear(2, 2)
    for _ in range(depth):
        net = wrap(net)
    return net


def test_modules_nested_deeper_than_python_are_handled_and_a_call_says_how_deep(request):
    request.addfinalizer(partial(sys.setrecursionlimit, sys.getrecursionlimit()))
    sys.setrecursionlimit(500)
    net = nested(600)
    assert len([*net.modules()]) == 601 and not net.eval()[0][0].training
    assert len(net.state_dict()) == len([*net.parameters()]) == 2 and repr(net).count("Sequential(") == 600
    copied, seen = copy.deepcopy(net), []
    net.apply(lambda m: seen.append(type(m).__name__))
    assert seen == ["Linear"] + ["Sequential"] * 600
    assert np.array_equal(*[next(m.parameters()).numpy() for m in (copied, net)])
    for call in (lambda: net(tg.ones(1, 2)), lambda: nn.summary(net, (1, 2)), lambda: nn.draw(net, (1, 2))):
        with pytest.raises(RecursionError) as e:
            call()
        assert e.value.__notes__ == ["in Sequential, whose modules are nested 601 deep: each takes some of the 500 calls "
                                     "that Python nests (sys.setrecursionlimit)"]
    assert tg.is_recording() and nested(60)(tg.ones(1, 2)).shape == (1, 2)
    assert len([*nested(510, lambda m: nn.ModuleList([m])).modules()]) == 511


@pytest.mark.parametrize("call, text", [
    (lambda: nn.ModuleList(3), "^ModuleList: expects a list of modules, got int"),
    (lambda: nn.ModuleList(nn.ReLU()), "^ModuleList: expects a list of modules, got ReLU"),
    (lambda: nn.Sequential().extend(3), "^Sequential: expects a list of modules, got int"),
    (lambda: nn.ModuleDict(3), "^ModuleDict: expects a mapping of names to modules, got int"),
    (lambda: nn.Sequential([nn.ReLU()]), r"^Sequential: expects modules, got list at '0'; write Sequential\(\*modules\)"),
    (lambda: nn.Sequential(nn.ReLU(), nn.ReLU), r"^Sequential: expects modules, got type .* write ReLU\(\)"),
    (lambda: nn.ModuleDict({"a": nn.ReLU}), r"^ModuleDict: expects modules, got type at 'a'.* write ReLU\(\)"),
    (lambda: nn.Sequential(tg.relu), r"^Sequential: expects modules, got Primitive at '0'; functions have layers, such as nn.ReLU"),
    (lambda: nn.Sequential(lambda x: x), "^Sequential: expects modules, got function at '0'; functions have layers")])
def test_containers_say_what_they_take(call, text):
    with pytest.raises(TypeError, match=text):
        call()


def test_a_copy_of_a_model_that_keeps_an_activation_says_where():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    net[1].last = [net[0](tg.ones(1, 2))]
    with pytest.raises(RuntimeError, match=r"^deepcopy: Sequential keeps what an op computed, in 1.last; .* use t.detach\(\)"):
        copy.deepcopy(net)
    net[1].last = net[1].last[0].detach()
    assert copy.deepcopy(net)[1].last.shape == (1, 2)


def test_a_copy_follows_the_state_that_a_class_gives_and_takes():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.lock, self.inner = threading.Lock(), nn.Linear(2, 2)

        def __getstate__(self):
            return {k: v for k, v in vars(self).items() if k != "lock"}

        def __setstate__(self, state):
            vars(self).update(state, lock=threading.Lock())

    net = Counts()
    twice = copy.deepcopy([net, net.inner])
    assert twice[0].inner is twice[1] is not net.inner and twice[0].lock is not net.lock
