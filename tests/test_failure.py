"""When forward raises: what the message says, what the picture shows, and what is left behind."""
from __future__ import annotations

import gc
import re
import weakref

import numpy as np
import pytest

import nn
import tinygrad_conv as tg

HERE = "test_failure.py"


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        return self.pool(tg.relu(self.conv(x)))


class Net(nn.Module):
    """Fails in the way it is told to."""

    def __init__(self):
        super().__init__()
        self.block1 = Block()
        self.conv3 = nn.Conv2d(8, 4, 3)
        self.norm = nn.BatchNorm2d(5)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(100, 5))

    def forward(self, x, then):
        h = self.block1(x)
        return then(self, h)


def failure(then, record=True):
    net = Net()
    with pytest.raises((ValueError, LookupError)) as e, tg.state.recording(record):
        net(tg.ones(2, 3, 14, 14), then)
    return e.value


def marked(g):
    return [(box.label, box.scope) for box in g.boxes if box.mark == "failed"]


def labels(g):
    return [box.label.split()[0] for box in g.boxes if box.kind == "op"]


def test_a_conv_in_a_module_says_channels_and_where_its_input_came_from():
    e = failure(lambda net, h: net.conv3(h))
    assert "weight expects 8 input channels but x has 16" in str(e)
    origin, where = e.__notes__
    assert origin.startswith("x (2, 16, 7, 7) came from block1.pool (max_pool2d, test_failure.py:")
    assert where == "in Net.conv3 (Conv2d)"


def test_the_picture_ends_in_the_failing_call_in_its_module():
    e = failure(lambda net, h: net.conv3(h))
    g = tg.failed_graph(e)
    assert g is e.graph and labels(g) == ["conv2d", "relu", "max_pool2d", "conv2d"]
    assert marked(g) == [("conv2d", ("conv3",))]
    into = {edge.source: edge.shape for edge in g.edges if edge.target == "failed"}
    assert into["op2"] == (2, 16, 7, 7) and (4, 8, 3, 3) in into.values() and len(into) == 3
    kinds = {".".join(path): scope.kind for path, scope in g.scopes.items()}
    assert kinds == {"block1": "Block", "block1.conv": "Conv2d", "block1.pool": "MaxPool2d",
                     "conv3": "Conv2d"}
    notes = " ".join(g.boxes[-1].notes)
    assert "8 input channels but x has 16" in notes and HERE in notes
    assert g.legend == (("failed", "the call that raised ValueError"),)


def test_a_linear_after_a_flatten_says_which_in_features_fits():
    e = failure(lambda net, h: net.head(h))
    assert str(e).endswith("got x of shape (2, 784); this input needs in_features=784")
    assert e.__notes__[0].startswith("x (2, 784) came from head.0 (reshape, ")
    assert ", from (2, 16, 7, 7) of block1.pool (max_pool2d, " in e.__notes__[0]
    assert e.__notes__[1:] == ["in Net.head.1 (Linear)"]
    assert marked(e.graph) == [("Linear", ("head", "1"))]


def test_a_batch_norm_says_which_num_features_fits():
    e = failure(lambda net, h: net.norm(h))
    assert "num_features=16 would fit" in str(e) and "block1.pool" in e.__notes__[0]
    assert marked(e.graph) == [("BatchNorm2d", ("norm",))]


@pytest.mark.parametrize("then, name, text", [
    (lambda net, h: h + tg.ones(3, 5), "add", "(2, 16, 7, 7) and (3, 5)"),
    (lambda net, h: h @ tg.ones(4, 4), "matmul", "last axis of x has length 7 but y has 4 rows"),
    (lambda net, h: tg.conv2d(h, tg.ones(4, 3, 3, 3)), "conv2d", "3 input channels but x has 16"),
    (lambda net, h: tg.concatenate([h, tg.ones(2, 3, 6, 6)], 1), "concatenate", "[2, 3, 6, 6]"),
    (lambda net, h: h.reshape(3, 7), "reshape", "(3, 7)"),
    (lambda net, h: h[:, 99], "getitem", "99")])
def test_functional_calls_in_a_forward(then, name, text):
    e = failure(then)
    assert text in str(e) and e.__notes__[-1] == "in Net (Net)"
    assert e.__notes__[0].startswith(("x (2, 16, 7, 7) came from block1.pool",
                                      "arrays0 (2, 16, 7, 7) came from block1.pool"))
    assert marked(e.graph) == [(name, ())] and labels(e.graph)[:3] == ["conv2d", "relu", "max_pool2d"]


def test_a_forward_that_raises_itself_shows_what_it_had_computed():
    def then(net, h):
        raise KeyError("mine")
    e = failure(then)
    assert marked(e.graph) == [("Net", ())] and "max_pool2d" in labels(e.graph)
    assert e.__notes__[-1] == "in Net (Net)"


def test_under_no_grad_the_text_is_as_clear_and_says_what_is_not_known():
    e = failure(lambda net, h: net.head(h), record=False)
    assert "this input needs in_features=784" in str(e)
    assert e.__notes__ == ["x (2, 784): nothing is recorded under no_grad(), so what made it is not "
                           "known", "in Net.head.1 (Linear)"]
    assert [(box.label, box.mark) for box in e.graph.boxes] == [("x", ""), ("Linear", "failed")]


def test_outside_of_modules_the_traceback_is_read():
    x, w = tg.ones(2, 3, requires_grad=True), tg.ones(4, 4)
    with pytest.raises(ValueError) as e:
        tg.exp(x) @ w
    g = tg.failed_graph(e.value)
    assert labels(g) == ["exp", "matmul"] and marked(g) == [("matmul", ())]
    place, code = g.boxes[-1].notes[-2:]
    assert place.startswith(HERE) and code == "tg.exp(x) @ w" and not hasattr(e.value, "__notes__")
    with pytest.raises(ValueError) as e:
        tg.conv2d(tg.ones(1, 3, 5, 5), tg.ones(2, 4, 3, 3))
    g = tg.failed_graph(e.value)
    assert [(b.label, b.shape) for b in g.boxes[:2]] == [("x", (1, 3, 5, 5)), ("w", (2, 4, 3, 3))]
    assert marked(g) == [("conv2d", ())]


@pytest.mark.parametrize("error", [ValueError("two many"), ZeroDivisionError("nought")])
def test_a_primitive_of_the_users_that_raises(error):
    @tg.primitive
    def mine(x, y):
        raise error
    x = tg.ones(2, requires_grad=True)
    with pytest.raises(type(error), match=str(error)) as e:
        mine(tg.exp(x), np.ones(3))
    g = tg.failed_graph(e.value)
    assert labels(g) == ["exp", "mine"] and marked(g) == [("mine", ())]
    assert [edge.shape for edge in g.edges if edge.target == "failed"] == [(2,), (3,)]


def test_an_error_in_backward_names_backward():
    @tg.primitive
    def bad(x):
        return x * 2.0
    bad.defvjp(lambda g, ans, x: tg.reshape(g, (7,)))
    y = bad(tg.ones(2, requires_grad=True)).sum()
    with pytest.raises(ValueError) as e:
        y.backward()
    assert marked(tg.failed_graph(e.value))[0][0] in ("backward", "reshape")


def test_what_is_no_caught_exception_is_refused():
    with pytest.raises(TypeError, match="caught exception, got str"):
        tg.failed_graph("oops")
    with pytest.raises(ValueError, match="no traceback"):
        tg.failed_graph(ValueError("never raised"))


def test_a_call_without_its_argument_is_called_as_its_module():
    with pytest.raises(TypeError) as e:
        nn.Linear(2, 2)()
    assert tg.failed_graph(e.value).boxes[-1].label == "Linear"


def test_errors_without_tensors_have_a_picture_too():
    with pytest.raises(ZeroDivisionError) as e:
        divmod(1, 0)
    assert [box.mark for box in tg.failed_graph(e.value).boxes] == ["failed"]


def test_the_picture_of_a_kept_error_keeps_no_tensor_alive():
    gc.disable()
    try:
        net, x = Net(), tg.ones(2, 3, 14, 14)
        alive = weakref.ref(x)
        try:
            net(x, lambda net, h: net.head(h))
        except ValueError as e:
            kept = e.with_traceback(None)
        del x
        assert alive() is None and labels(kept.graph)[-1] == "Linear"
    finally:
        gc.enable()


def test_an_error_passes_on_its_way_through_the_same_scopes():
    net = Net()
    for _ in range(2):
        e = failure(lambda net, h: net.conv3(h))
        assert len(e.__notes__) == 2
    y = net(tg.ones(2, 3, 14, 14), lambda net, h: h)
    assert tg.tape(y)[-1].node.scope == ("block1", "pool")


def test_the_input_of_a_drawn_model_that_fails_is_an_input():
    net = nn.Sequential(nn.Linear(4, 2), nn.Linear(3, 3))
    with pytest.raises(ValueError) as e:
        nn.draw(net, tg.ones(2, 4))
    kinds = {(box.label, box.kind, box.scope) for box in e.value.graph.boxes}
    assert ("x", "input", ()) in kinds and ("weight", "parameter", ("0",)) in kinds


def test_numpy_functions_that_fail_are_called_as_the_op():
    with pytest.raises(ValueError) as e:
        np.ones(3) - tg.ones(2, requires_grad=True)
    g = tg.failed_graph(e.value)
    assert [(box.label, box.shape) for box in g.boxes[:-1]] == [("x", (3,)), ("y", (2,))]
    assert marked(g) == [("sub", ())]


def test_numbers_that_an_error_cannot_know_are_said_to_be_unknown():
    with pytest.raises(ValueError) as e:
        nn.Sequential(nn.Linear(4, 2), nn.Linear(3, 3))(tg.ones(2, 4))
    g = tg.draw(e.value, show=("parameters", "nan")).graph
    assert ("", "nan: not known, an error keeps no values alive") in g.legend
    assert [box.notes for box in g.boxes if box.label == "weight"] == [("8 parameters",)]


def test_lines_of_a_notebook_are_those_of_a_cell():
    code = compile("y = tg.exp(x)\nnet(y)", "/tmp/ipykernel_7/4711.py", "exec")
    with pytest.raises(ValueError) as e:
        exec(code, {"tg": tg, "x": tg.ones(2, 4, requires_grad=True), "net": nn.Linear(3, 3)})
    assert "x (2, 4) came from exp at notebook cell:1" in e.value.__notes__
    assert e.value.graph.boxes[-1].notes[-1] == "notebook cell:2"


def test_of_a_result_that_only_got_another_shape_it_is_said_what_it_was():
    def from_outside(name, fn):
        fn.__name__ = name
        return tg.primitive(fn)
    flat, reshape = from_outside("flat", lambda x: x.reshape(-1)), from_outside("reshape", lambda x: x * 2.0)
    with pytest.raises(ValueError) as e:
        nn.Linear(3, 3)(flat(tg.exp(tg.ones(2, 2, requires_grad=True))))
    assert re.search(r"came from flat at .*, from \(2, 2\) of exp at ", e.value.__notes__[0])
    with pytest.raises(ValueError) as e:
        nn.Linear(3, 3)(reshape(tg.exp(tg.ones(2, 2, requires_grad=True))))
    assert "came from reshape at" in e.value.__notes__[0] and "exp" not in e.value.__notes__[0]


def test_a_failure_in_one_of_two_models_stands_in_that_model():
    first, second = nn.Sequential(nn.Linear(2, 3)), nn.Sequential(nn.Linear(3, 3), nn.Linear(4, 1))
    with pytest.raises(ValueError) as e:
        second(first(tg.ones(1, 2)))
    assert marked(e.value.graph) == [("Linear", ("Sequential (2)", "1"))]
    assert e.value.graph.scopes["Sequential (2)", "1"].kind == "Linear"
