"""Hooks of tensors and modules, beside PyTorch's: what they see, what they replace, in which order, and what is left."""
from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from tinygrad_conv.hooks import hooked

torch = pytest.importorskip("torch")
A = np.array([[0.5, -1.0, 2.0], [3.0, 0.25, -0.5]])


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    yield
    gc.collect()
    assert not hooked


def numbers(value: Any) -> Any:
    """Gradients and containers of them as lists."""
    if isinstance(value, tuple | list):
        return [numbers(v) for v in value]
    return value if value is None else np.round(np.asarray(value.detach()), 6).tolist()


def both(case: Any) -> tuple[Any, Any]:
    """What a case logs with our tensors, and with PyTorch's."""
    ours = case(lambda a: tg.tensor(a, requires_grad=True), tg)
    theirs = case(lambda a: torch.tensor(a, requires_grad=True), torch)
    assert ours  # it logged something
    return numbers(ours), numbers(theirs)


# ----- tensors -----


def several(make, lib):
    """Order, replacement, None, on a leaf, an intermediate used twice, and the result."""
    x, seen = make(A), []
    h = x * x
    y = (h * h + lib.exp(h * 0.5)).sum()
    h.register_hook(seen.append)
    h.register_hook(lambda g: g * 2.0)
    h.register_hook(seen.append)
    x.register_hook(seen.append)
    x.register_hook(lambda g: -g)
    y.register_hook(lambda g: g * 3.0)
    y.backward()
    return [*seen, x.grad]


def removed(make, lib):
    x, seen = make(A), []
    first, second = x.register_hook(lambda g: g * 5.0), x.register_hook(seen.append)
    (x * x).sum().backward()
    first.remove()
    first.remove()
    (x * x).sum().backward()
    with second:
        (x * x).sum().backward()
    (x * x).sum().backward()
    return [*seen, x.grad]


def used_before(make, lib):
    """A hook that is registered after the tensor was used, and two passes over one graph."""
    x, seen = make(A), []
    h = lib.tanh(x)
    y = (h * x).sum()
    h.register_hook(lambda g: seen.append(g))
    y.backward(retain_graph=True)
    h.register_hook(lambda g: g * 0.0)
    y.backward()
    return [*seen, x.grad]


def second_order(make, lib):
    """The ops of a hook are recorded under create_graph; the gradient of the gradient passes hooks too."""
    x, w, seen = make(A), make(A + 1.0), []
    h = lib.exp(x * w)
    h.register_hook(lambda g: g * w)
    h.register_hook(seen.append)
    h.sum().backward(create_graph=True)
    first = x.grad
    x.grad, w.grad = None, None
    (first * first).sum().backward()
    return [first, *seen, x.grad, w.grad]


def a_part_of_several(make, lib):
    """One of the results of an op that has several."""
    x, seen = make(A), []
    parts = list(x)
    parts[1].register_hook(seen.append)
    parts[1].register_hook(lambda g: g + 1.0)
    (parts[0] * parts[1] * 2.0).sum().backward()
    return [*seen, x.grad]


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph")
@pytest.mark.parametrize("case", [several, removed, used_before, second_order, a_part_of_several])
def test_tensor_hooks_are_pytorchs(case):
    ours, theirs = both(case)
    assert ours == theirs


def test_hooks_run_in_gradients_of_functions():
    """Also of one that is differentiated again outside: the argument is then no leaf."""
    def f(x):
        h = x * x
        h.register_hook(lambda g: g * 10.0)
        return h.sum()
    assert tg.grad(f)(tg.tensor([1.0, 2.0])).tolist() == [20.0, 40.0]

    def at_the_argument(x):
        x.register_hook(lambda g: g * 10.0)
        return (x * x).sum()
    for outside in (False, True):
        assert tg.grad(at_the_argument)(tg.tensor([1.0, 2.0], requires_grad=outside)).tolist() == [20.0, 40.0]
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    assert torch.autograd.grad(f(x), x)[0].tolist() == [20.0, 40.0]


def test_an_op_with_several_results_has_hooks_at_each():
    two = tg.primitive(lambda x: (x * 2.0, x * 3.0))
    two.defvjp(lambda g, ans, x: g[0] * 2.0 + g[1] * 3.0)
    x, seen = tg.tensor([1.0], requires_grad=True), []
    a, b = two(x)
    a.register_hook(lambda g: seen.append(("a", g.item())))
    b.register_hook(lambda g: seen.append(("b", g.item())))
    b.register_hook(lambda g: g * 100.0)
    (a + b * 5.0).sum().backward(retain_graph=True)
    assert x.grad.item() == 2.0 + 1500.0
    a.sum().backward()
    assert seen == [("a", 1.0), ("b", 5.0), ("a", 1.0)]  # nothing came to b


def test_a_gradient_that_a_hook_keeps_is_never_changed():
    x, seen = tg.ones(3, requires_grad=True), []
    h = x * 2.0
    for t in (x, h):
        t.register_hook(seen.append)
    (h * h).sum().backward()
    x.grad.mutate()[...] = 0
    assert [g.tolist() for g in seen] == [[4.0] * 3, [8.0] * 3]
    with pytest.raises(RuntimeError, match="mutate"):
        seen[0].mutate()[...] = 0


def test_hooks_that_hold_their_tensor_are_freed_with_it():
    """A hook that closes over the graph makes a cycle, which the collector takes; the registry keeps nothing."""
    x = tg.ones(3, requires_grad=True)
    h = x * 2.0
    h.register_hook(lambda g, h=h: h * g)
    watched = weakref.ref(h)
    h.sum().backward()
    assert x.grad.tolist() == [4.0] * 3
    del h
    gc.collect()
    assert watched() is None and not hooked


def test_hooks_outlive_a_tensor_that_neither_the_user_nor_the_tape_keeps():
    x = tg.ones(5000, requires_grad=True)
    h = tg.reshape(x * 2.0, (50, 100))  # neither reshape nor sum needs its values
    alive = weakref.ref(h)
    h.register_hook(lambda g: g * 3.0)
    y = tg.reshape(h, (5000,)).sum()
    del h
    assert alive() is None
    y.backward()
    assert (x.grad.data == 6).all()


def test_after_the_last_removal_a_pass_looks_for_nothing():
    x = tg.ones(3, requires_grad=True)
    x.register_hook(lambda g: g * 2.0).remove()
    x.sum().backward()
    assert not hooked and x.grad.tolist() == [1.0] * 3
    x.register_hook(lambda g: g * 2.0)
    x.sum().backward()
    assert x.grad.tolist() == [3.0] * 3


def test_what_a_tensor_hook_may_not_do():
    x = tg.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"^register_hook: this tensor has no gradient.*requires_grad=True"):
        tg.ones(3).register_hook(print)
    with pytest.raises(TypeError, match="^register_hook: expects a function of the gradient, got int"):
        x.register_hook(3)
    wrong = {(TypeError, "as a tensor, or None to leave it as it is, got ndarray"): lambda g: g.numpy(),
             (ValueError, r"\(3,\) and float32, but a hook returned \(1,\) and float32"): lambda g: g[:1],
             (ValueError, r"but a hook returned \(3,\) and float64"): lambda g: g.astype(np.float64),
             (ZeroDivisionError, "division"): lambda g: 1 / 0}
    for (kind, text), hook in wrong.items():
        with x.register_hook(hook), pytest.raises(kind, match=text):
            (x * 2.0).sum().backward()
        assert x.grad is None
    (x * 2.0).sum().backward()
    assert x.grad.tolist() == [2.0] * 3


# ----- modules -----


def pair(ours: bool) -> tuple[Any, Any]:
    """The same two layers in both libraries."""
    lib = nn if ours else torch.nn
    model = lib.Sequential(lib.Linear(3, 4), lib.Tanh(), lib.Linear(4, 2))
    rng = np.random.default_rng(0)
    state = {"0.weight": rng.normal(size=(4, 3)), "0.bias": rng.normal(size=4), "2.weight": rng.normal(size=(2, 4)),
             "2.bias": rng.normal(size=2)}
    make = np.float32 if ours else torch.tensor
    model.load_state_dict({k: make(v) for k, v in state.items()})
    return model, (tg if ours else torch).tensor(A.astype(np.float32), requires_grad=True)


def forward_both_ways(model, x, seen):
    one, three = model[0], model[2]
    one.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    one.register_forward_pre_hook(lambda m, args: (args[0] * 2.0,))
    one.register_forward_pre_hook(lambda m, args: args[0] + 1.0, prepend=True)
    one.register_forward_hook(lambda m, args, y: seen.append((args[0], y)))
    one.register_forward_hook(lambda m, args, y: y * y)
    one.register_forward_hook(lambda m, args, y: seen.append(y), prepend=True)
    handle = three.register_forward_hook(lambda m, args, y: y * 100.0)
    handle.remove()
    y = model(x)
    y.sum().backward()
    seen += [y, x.grad]


def backward_sees_and_replaces(model, x, seen):
    def log(m, grad_input, grad_output):
        seen.append((grad_input, grad_output))
    for layer in model:
        layer.register_full_backward_hook(log)
    model.register_full_backward_hook(log)
    model[1].register_full_backward_hook(lambda m, gi, go: (gi[0] * 3.0,))
    model[1].register_full_backward_hook(lambda m, gi, go: (go[0] + gi[0],), prepend=True)
    model[1].register_full_backward_hook(log)
    model(x).sum().backward()
    model(x.detach()).sum().backward()  # of whose first layer no argument has a gradient
    seen += [x.grad, *[p.grad for p in model.parameters()]]


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("case", [forward_both_ways, backward_sees_and_replaces])
def test_module_hooks_are_pytorchs(case):
    logs = []
    for ours in (True, False):
        seen: list[Any] = []
        case(*pair(ours), seen)
        logs.append(numbers(seen))
    ours, theirs = logs
    assert len(ours) == len(theirs) > 4
    for a, b in zip(ours, theirs):
        a, b = [np.concatenate([np.ravel(np.array(part, float)) for part in flat(value)]) for value in (a, b)]
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def flat(value: Any) -> list[Any]:
    """Rows of numbers, wherever they are nested; None is nan."""
    if isinstance(value, list) and value and isinstance(value[0], list | type(None)):
        return [part for v in value for part in flat(v)]
    return [value]


def keywords(lib, tensor):
    class Layer(lib.Module):
        def forward(self, x, *, scale=1.0):
            return x * scale, x
    layer, seen = Layer(), []
    layer.register_forward_pre_hook(lambda m, args, kw: (args, {"scale": kw["scale"] + 1}), with_kwargs=True)
    layer.register_forward_pre_hook(lambda m, args, kw: seen.append(kw["scale"]), with_kwargs=True)
    layer.register_forward_hook(lambda m, args, kw, y: seen.append(kw["scale"]), with_kwargs=True)
    layer.register_full_backward_hook(lambda m, gi, go: seen.append((gi[0].tolist(), go[0].tolist(), go[1])))
    x = tensor([1.0, 2.0], requires_grad=True)
    layer(x, scale=2)[0].sum().backward()
    return [*seen, x.grad.tolist()]


def always(lib, tensor):
    """Also after an error; with the result, if there is one; not twice; an error of the hook hides no other."""
    class Layer(lib.Module):
        def forward(self, x):
            if x is None:
                raise ZeroDivisionError("the layer's")
            return x
    layer, seen = Layer(), []
    layer.register_forward_hook(lambda m, args, y: seen.append(("first", y)), always_call=True)
    layer.register_forward_hook(lambda m, args, y: seen.append(("never", y)))
    layer.register_forward_hook(lambda m, args, y: 1 / 0, always_call=True)
    layer.register_forward_hook(lambda m, args, kw, y: seen.append(("last", y)), always_call=True, with_kwargs=True)
    for x, text in ((None, "the layer's"), (3, "division by zero")):
        with pytest.raises(ZeroDivisionError, match=text):
            layer(x)
    return seen


@pytest.mark.filterwarnings("ignore:module forward hook with.*silenced")
@pytest.mark.parametrize("case", [keywords, always])
def test_the_options_of_module_hooks_are_pytorchs(case):
    ours = case(nn, tg.tensor)
    assert ours == case(torch.nn, torch.tensor) and ours


def test_every_argument_and_result_has_its_place_in_a_backward_hook():
    class Layer(nn.Module):
        def forward(self, a, n, b):
            return a * b, n, a + b
    layer, seen = Layer(), []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append(numbers([gi, go])))
    layer.register_full_backward_hook(lambda m, gi, go: (None, None, gi[2] * 2.0))
    a, b = tg.tensor([3.0], requires_grad=True), tg.tensor([5.0], requires_grad=True)
    product, n, total = layer(a, 7, b)
    assert n == 7
    (product + total).sum().backward()
    assert seen == [[[[6.0], None, [4.0]], [[1.0], None, [1.0]]]]
    assert (a.grad.item(), b.grad.item()) == (0.0, 8.0)


@pytest.mark.filterwarnings("ignore:Using backward.. with create_graph")
def test_backward_hooks_are_differentiated_again():
    found = []
    for layer, x in ((nn.Tanh(), tg.tensor([0.3, -0.7], requires_grad=True)),
                     (torch.nn.Tanh(), torch.tensor([0.3, -0.7], requires_grad=True))):
        layer.register_full_backward_hook(lambda m, gi, go: (gi[0] * gi[0],))
        layer(x).sum().backward(create_graph=True)
        first, x.grad = x.grad, None
        first.sum().backward()
        found.append(numbers([first, x.grad]))
    assert found[0] == found[1]
    np.testing.assert_allclose(found[0][0], (1 - np.tanh([0.3, -0.7]) ** 2) ** 2, rtol=1e-5)


def test_a_module_that_is_called_twice_has_its_hooks_called_twice():
    layer, seen = nn.Linear(2, 2), []
    layer.register_full_backward_hook(lambda m, gi, go: seen.append(go[0].item() if go[0].size == 1 else "inner"))
    x = tg.ones(1, 2, requires_grad=True)
    layer(layer(x))[0, :1].sum().backward()
    assert len(seen) == 2


def test_a_copy_of_a_module_has_the_hooks_and_keeps_them():
    layer, seen = nn.Linear(2, 2), []
    handle = layer.register_forward_hook(lambda m, args, y: seen.append(m))
    twin = copy.deepcopy(layer)
    handle.remove()
    layer(tg.ones(1, 2))
    assert seen == []
    twin(tg.ones(1, 2))
    assert seen == [twin]
    assert layer.state_dict().keys() == {"weight", "bias"}


def test_an_error_in_a_hook_names_the_module_and_leaves_nothing():
    model = nn.Sequential(nn.Linear(2, 2))
    handle = model[0].register_forward_hook(lambda m, args, y: 1 / 0)
    with pytest.raises(ZeroDivisionError) as caught:
        model(tg.ones(1, 2))
    assert caught.value.module_path == "Sequential.0"
    handle.remove()
    assert model(tg.ones(1, 2)).shape == (1, 2)


def test_what_a_module_hook_may_not_do():
    layer = nn.Linear(2, 2)
    for register in (layer.register_forward_hook, layer.register_forward_pre_hook, layer.register_full_backward_hook):
        with pytest.raises(TypeError, match=rf"^{register.__name__}: expects a function, got int"):
            register(3)
    with layer.register_forward_pre_hook(lambda m, args, kw: args, with_kwargs=True), pytest.raises(
            TypeError, match=r"None or a pair \(args, kwargs\)"):
        layer(tg.ones(1, 2))
    x = tg.ones(1, 2, requires_grad=True)
    for wrong, got in ((lambda m, gi, go: gi[0], "got Tensor"), (lambda m, gi, go: gi * 2, "got 2 of them")):
        with layer.register_full_backward_hook(wrong), pytest.raises(
                TypeError, match=f"of Linear must return None or a tuple, a gradient for each of 1 arguments, {got}"):
            layer(x).sum().backward()
    assert x.grad is None


def test_backward_hooks_are_seen_on_the_tape_and_nothing_else_is():
    layer, x = nn.ReLU(), tg.ones(2, requires_grad=True)
    ops = [entry.node.primitive.name for entry in tg.tape(layer(x))]
    layer.register_forward_hook(lambda m, args, y: None)
    assert [entry.node.primitive.name for entry in tg.tape(layer(x))] == ops
    layer.register_full_backward_hook(lambda m, gi, go: None)
    assert [entry.node.primitive.name for entry in tg.tape(layer(x))] == ["backward_hook", *ops, "backward_hook"]
    assert "told" not in tg.draw(layer(x)).dot
    assert "%2 = backward_hook(%1, told=ReLU) -> float32[2]" in str(tg.tape(layer(x)))


def test_a_tangent_calls_no_hooks():
    net, seen = nn.Linear(3, 2, rng=np.random.default_rng(0)), []
    net.register_full_backward_hook(lambda *call: seen.append(call))
    x, t = tg.tensor([[1.0, 2.0, 3.0]]), tg.tensor([[0.0, 1.0, 0.0]])
    y, moved = tg.jvp(net, (x,), (t,))
    np.testing.assert_allclose(moved.data, net.weight.data[:, 1:2].T, rtol=1e-6)
    assert seen == []
    tg.grad(lambda x: net(x).sum())(x)
    assert len(seen) == 1


def test_a_hook_that_leaves_the_graph_is_told():
    net, x = nn.Sequential(nn.Linear(3, 2)), tg.ones(4, 3)
    with net[0].register_forward_hook(lambda m, i, o: o.detach().numpy()), pytest.raises(
            TypeError, match="register_forward_hook: a hook of Linear must return a tensor in the place of one, or None, got ndarray"):
        net(x)
    with net[0].register_forward_pre_hook(lambda m, i: i[0].numpy()), pytest.raises(
            TypeError, match="register_forward_pre_hook: a hook of Linear must .* got ndarray"):
        net(x)
    assert net(x).requires_grad
