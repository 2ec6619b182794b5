"""The summary's numbers against counts by hand."""
from __future__ import annotations

import numpy as np
import pytest

import nn
import tinygrad_conv as tg


def test_summary_of_lenet_by_hand():
    net = nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),
                        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.Linear(120, 10))
    s = nn.summary(net, (1, 1, 28, 28))
    assert s.parameters == 6 * 26 + 16 * 151 + 400 * 120 + 120 + 1210
    work = {line.path: line.multiply_adds for line in s.lines}
    assert work["0"] == 28 * 28 * 6 * 25 and work["3"] == 10 * 10 * 16 * 150 and work["7"] == 48000
    assert s.multiply_adds == sum(work.values())
    assert {line.path: line.shape for line in s.lines}["3"] == (1, 16, 10, 10)
    text = str(s)
    assert "multiply-adds" in text and f"{s.parameters:,}" in text and "<table>" in s._repr_html_()


@pytest.mark.parametrize("groups, dilation, stride", [(1, 1, 1), (2, 2, 2), (4, 1, 1)])
def test_summary_counts_grouped_and_dilated_convolutions(groups, dilation, stride):
    net = nn.Conv2d(4, 8, 3, stride=stride, dilation=dilation, groups=groups, padding=2)
    s = nn.summary(net, (2, 4, 9, 9))
    n, o, oh, ow = net(tg.zeros(2, 4, 9, 9)).shape
    assert s.multiply_adds == n * o * oh * ow * (4 // groups) * 9


def test_summary_counts_a_shared_layer_each_time_and_functions_too():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(5, 5)

        def forward(self, x):
            return tg.matmul(self.inner(self.inner(x)), np.ones((5, 2), np.float32))

    s = nn.summary(Twice(), (3, 5))
    assert s.multiply_adds == 2 * 3 * 25 + 3 * 2 * 5 and s.parameters == 30


def test_summary_leaves_the_model_as_it_was():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout(0.5, rng=np.random.default_rng(0)))
    net[1].eval()
    before = net.state_dict()
    nn.summary(net, (2, 3, 4, 4))
    assert [m.training for m in net.modules()] == [True, True, False]
    assert all(np.array_equal(a, b) for a, b in zip(before.values(), net.state_dict().values()))


@pytest.mark.parametrize("pack", [tuple, list, lambda ys: {"a": ys[0], "b": [ys[1]]}])
def test_summary_counts_every_output(pack):
    class Heads(nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.one, self.two = nn.Linear(4, 8), nn.Linear(8, 2), nn.Linear(8, 3)

        def forward(self, x):
            x = self.body(x)
            return pack([self.one(x), self.two(x)])

    s = nn.summary(Heads(), (1, 4))
    assert [line.path for line in s.lines] == ["body", "one", "two"] and s.multiply_adds == 32 + 16 + 24


class Around(nn.Module):
    """Calls the module it is given, under a name that is given too."""

    def __init__(self, name, inner):
        super().__init__()
        self.add_module(name, inner)

    def forward(self, x):
        for m in self.children():
            x = m(x)
        return x


def test_summary_counts_a_layer_used_under_two_names():
    def twice(shared):
        return nn.Sequential(shared, nn.ReLU(), shared)

    def in_two_places(shared):
        return nn.Sequential(Around("a", shared), Around("b", shared))

    for build, lines in [(twice, [("2", 32), ("1", 0)]), (in_two_places, [("0.b", 16), ("1.b", 16)])]:
        s = nn.summary(build(nn.Linear(4, 4)), (1, 4))
        assert [(line.path, line.multiply_adds) for line in s.lines] == lines
        assert s.multiply_adds == 32 and s.parameters == 20


def test_summary_and_drawing_of_a_part_of_a_model():
    net = nn.Sequential(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Linear(4, 2))
    with tg.scope("outside"):
        s = nn.summary(net[0], (1, 4))
    assert [(line.path, line.kind, line.multiply_adds) for line in s.lines] == [("0", "Linear", 16), ("1", "ReLU", 0)]
    assert nn.summary(net[1], (1, 4)).lines[0].path == "(root)"
    scopes = nn.draw(net[0], tg.ones(1, 4)).graph.scopes
    assert {path: scope.kind for path, scope in scopes.items()} == {
        ("0",): "Sequential", ("0", "0"): "Linear", ("0", "1"): "ReLU"}


def test_summary_of_lists_in_lists():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.rows = nn.ModuleList([nn.ModuleList([nn.Sequential(nn.Linear(2, 2))])])

        def forward(self, x):
            return self.rows[0][0](x)

    assert [line.path for line in nn.summary(nn.Sequential(Net()), (1, 2)).lines] == ["0.rows.0.0.0"]


def test_summary_refuses_what_it_would_count_as_nothing():
    net = nn.Linear(4, 2)
    with tg.no_grad(), pytest.raises(RuntimeError, match=r"summary: nothing is recorded inside no_grad\(\)"):
        nn.summary(net, (1, 4))
    with pytest.raises(TypeError, match="expects a module and the shape of its input, got tuple"):
        nn.summary((1, 4), net)
    for shape in (4, (-1, 4), [(1, 4), (1, 4)], "14"):
        with pytest.raises(ValueError, match="input_shape must be whole numbers, the batch first"):
            nn.summary(net, shape)


def test_summary_counts_modules_by_identity_and_named_stretches_for_their_module():
    class Net(nn.Module):
        def __init__(self, other):
            super().__init__()
            self.fc, self.other = nn.Linear(4, 4), lambda x: other.fc(x)  # both are called "fc"

        def forward(self, x):
            with tg.scope("twice"):
                x = tg.matmul(x, np.ones((4, 4), np.float32))
            return self.other(self.fc(self.fc(x)))

    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 2)

    s = nn.summary(Net(Other()), (1, 4))
    assert [(line.path, line.shape, line.parameters, line.multiply_adds) for line in s.lines] == [
        ("(root)", (1, 4), 0, 16), ("fc", (1, 4), 20, 32), ("fc", (1, 2), 0, 8)]  # the other's are not the model's
    assert (s.parameters, s.multiply_adds) == (20, 56)


def test_summary_of_tied_weights_counts_them_in_each_line_and_once_in_all():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    s = nn.summary(net, (1, 4))
    assert [line.parameters for line in s.lines] == [20, 20] and s.parameters == 24
