"""`nn.doctor`: every fault is found where it is, and healthy nets are found healthy."""
import numpy as np
import pytest

import nn
import tinygrad_conv as tg


def rng(seed=0):
    return np.random.default_rng(seed)


DIGITS = nn.data.digits("train")[:64]
X, Y = DIGITS


def cnn(*last, seed=0, first=1):
    r = rng(seed)
    return nn.Sequential(nn.Conv2d(first, 8, 3, rng=r), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(),
                         nn.Linear(288, 10, rng=r), *last)


def places(diagnosis, check):
    return [f.place for f in diagnosis.findings if f.check == check]


def only(diagnosis, check):
    """The places of a check's findings, when no other check found anything."""
    assert {f.check for f in diagnosis.findings} == {check}, diagnosis
    assert not diagnosis
    return places(diagnosis, check)


# ----- healthy -----

def lenet(seed):
    net = nn.models.LeNet5(rng=rng(seed))
    return net, (np.pad(X, ((0, 0), (0, 0), (10, 10), (10, 10))), Y), tg.cross_entropy, 1e-3


def resnet(seed):
    return nn.models.resnet20(in_channels=1, rng=rng(seed)), DIGITS, tg.cross_entropy, 1e-2


def regression(seed):
    r = rng(seed)
    x = r.standard_normal((64, 5)).astype(np.float32)
    net = nn.Sequential(nn.Linear(5, 32, rng=r), nn.ReLU(), nn.Linear(32, 1, rng=r))
    return net, (x, x[:, :1] * x[:, 1:2]), tg.mse_loss, 1e-3


def dropping(seed):
    return cnn(nn.Dropout(0.2, rng=rng(seed)), seed=seed), DIGITS, tg.cross_entropy, 1e-3


def binary(seed):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 16, rng=rng(seed)), nn.Tanh(), nn.Linear(16, 1, rng=rng(seed)))
    return net, (X, (Y[:, None] > 4).astype(np.float32)), tg.binary_cross_entropy_with_logits, 1e-3


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("make", [lenet, resnet, regression, dropping, binary])
def test_a_healthy_net_is_healthy(make, seed):
    net, batch, loss, lr = make(seed)
    found = nn.doctor(net, batch, loss, nn.Adam(net.parameters(), lr=lr))
    assert found and found.findings == [], found
    assert repr(found) == f"nothing found: {', '.join(found.checks)}" and len(found.checks) == 12


# ----- one fault each -----

def test_channels_last_that_the_model_refuses():
    found = nn.doctor(cnn(), (X.transpose(0, 2, 3, 1), Y))
    assert only(found, "layout") == ["x"] and "transpose(0, 3, 1, 2)" in found.findings[0].fix
    assert [box.mark for box in found.draw().graph.boxes if box.label == "x"] == ["found"]


def test_channels_last_that_fit_by_chance():
    net = nn.Sequential(nn.Conv2d(8, 8, (3, 1), rng=rng()), nn.Flatten(), nn.Linear(48, 10, rng=rng()))
    assert only(nn.doctor(net, (X.transpose(0, 2, 3, 1), Y)), "layout") == ["x"]


class Turned(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = cnn()

    def forward(self, x):
        return self.net(x.permute(0, 3, 1, 2) * (1 / 255))


def test_what_the_model_turns_itself_is_no_finding():
    assert nn.doctor(Turned(), (X.transpose(0, 2, 3, 1) * 255, Y))


@pytest.mark.parametrize("factor", [255.0, 1 / 255])
def test_inputs_that_are_not_scaled(factor):
    assert only(nn.doctor(cnn(), (X * np.float32(factor), Y)), "scale") == ["0"]


def test_bytes():
    assert only(nn.doctor(cnn(), ((X * 255).astype(np.uint8), Y)), "scale") == ["x"]


def test_bytes_with_the_channels_last():
    found = nn.doctor(cnn(), ((X * 255).astype(np.uint8).transpose(0, 2, 3, 1), Y))
    assert [(f.check, f.place) for f in found.findings] == [("layout", "x"), ("scale", "x")]


def test_what_is_wrong_otherwise_is_raised():
    with pytest.raises(ValueError, match="10"):  # images that need not be turned, a label that is none
        nn.doctor(Turned(), (X.transpose(0, 2, 3, 1), Y + 9))
    with pytest.raises(ValueError, match="conv2d"):
        nn.doctor(cnn(first=2), DIGITS)
    net = nn.Sequential(nn.Conv2d(8, 10, 3, rng=rng()), nn.GlobalAvgPool2d(), nn.Flatten())
    with pytest.raises(ValueError, match="conv2d"):  # it would take them turned, but they are not
        nn.doctor(net, (np.repeat(X, 5, 1), Y))
    with pytest.raises(TypeError, match="one value"):
        nn.doctor(cnn(), DIGITS, lambda output, y: output)
    with pytest.raises(TypeError, match="batch"):
        nn.doctor(cnn(), X)
    with tg.no_grad(), pytest.raises(RuntimeError, match="no_grad"):
        nn.doctor(cnn(), DIGITS)


def test_constant_labels():
    assert only(nn.doctor(cnn(), (X, np.full(64, 3))), "labels") == ["target"]
    assert nn.doctor(cnn(), (X[:8], np.full(8, 3))), "too few to say"


def test_eval_left_on():
    net = cnn(nn.Dropout(0.1, rng=rng())).eval()
    assert only(nn.doctor(net, DIGITS), "eval") == ["1", "5"]
    net.train()[1].eval()
    assert only(nn.doctor(net, DIGITS), "eval") == ["1"]
    net[1].requires_grad_(False)
    assert nn.doctor(net, DIGITS), "frozen: meant"
    assert nn.doctor(nn.Sequential(nn.Flatten(), nn.Linear(64, 10, rng=rng())).eval(), DIGITS), "no difference"

    class Kept(nn.BatchNorm2d):
        def train(self, mode=True):
            return super().train(False)
    net = cnn()
    net[1] = Kept(8)
    assert nn.doctor(net.train(), DIGITS) and not net[1].training, "meant, too"


def test_forgotten_zero_grad():
    net = cnn()
    tg.cross_entropy(net(tg.tensor(X)), Y).backward()
    assert nn.doctor(net, DIGITS), "the gradient of this batch"
    tg.cross_entropy(net(tg.tensor(X)), Y).backward()
    assert {"0.weight", "4.weight"} <= set(only(nn.doctor(net, DIGITS), "zero_grad"))
    net.zero_grad()
    assert nn.doctor(net, DIGITS)


def test_a_parameter_without_gradient():
    class Leaves(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.idle = (nn.Linear(64, 64, rng=rng()), nn.Linear(64, 10, rng=rng()),
                                                  nn.Linear(2, 2, rng=rng()))

        def forward(self, x):
            return self.second(self.first(x.flatten(1)).detach())
    net = Leaves()
    found = nn.doctor(net, DIGITS)
    assert only(found, "gradient") == ["first.weight", "first.bias", "idle.weight", "idle.bias"]
    assert "idle.weight" in str(found.draw().graph.legend)
    net.first.requires_grad_(False), net.idle.requires_grad_(False)
    assert nn.doctor(net, DIGITS)


def test_a_loss_that_depends_on_nothing():
    found = nn.doctor(cnn(), DIGITS, lambda output, y: tg.cross_entropy(output.detach(), y))
    assert only(found, "gradient") == ["loss"]
    with pytest.raises(ValueError, match="nothing was recorded"):
        found.draw()


def test_parameters_outside_the_optimizer():
    net = cnn()
    found = nn.doctor(net, DIGITS, optimizer=nn.SGD(net[4].parameters(), lr=0.01))
    assert only(found, "optimizer") == ["0.weight", "0.bias", "1.weight", "1.bias"]
    marked = {(box.scope[-1], box.label) for box in found.draw().graph.boxes if box.mark == "found"}
    assert marked == {("0", "weight"), ("0", "bias"), ("1", "weight"), ("1", "bias")}


@pytest.mark.parametrize("last", [nn.Softmax(1), nn.Sigmoid()])
def test_probabilities_in_place_of_logits(last):
    found = nn.doctor(cnn(last), DIGITS)
    assert only(found, "softmax") == ["5"]
    assert [box.scope[-1] for box in found.draw().graph.boxes if box.mark == "found"] == ["5"]


def test_a_sigmoid_before_the_loss_with_logits():
    net, batch, loss, _ = binary(0)
    net.append(nn.Sigmoid())
    assert "4" in places(nn.doctor(net, batch, loss), "softmax")
    assert nn.doctor(net, batch, tg.binary_cross_entropy)


def test_a_softmax_inside_is_none():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.last = nn.Linear(64, 64, rng=rng()), nn.Linear(64, 10, rng=rng())

        def forward(self, x):
            x = x.flatten(1)
            return self.last(x + tg.softmax(self.gate(x), 1))
    assert nn.doctor(Gated(), DIGITS)


def test_a_loss_far_from_guessing():
    net = cnn()
    net[4].weight.data = net[4].weight.data * 100
    assert only(nn.doctor(net, DIGITS), "loss") == ["loss"]
    found = nn.doctor(cnn(), DIGITS, lambda output, y: tg.cross_entropy(output, y, reduction="sum"))
    assert only(found, "loss") == ["loss"]


def test_a_loss_that_is_not_finite():
    x = X.copy()
    x[3, 0, 2, 2] = np.nan
    assert "loss" in places(nn.doctor(cnn(), (x, Y)), "loss")


def test_dead_relus():
    net = cnn()
    net[1].bias.data = np.full(8, -100.0, np.float32)
    found = nn.doctor(net, DIGITS)
    assert places(found, "relu") == ["2"]
    assert [box.scope[-1] for box in found.draw().graph.boxes if "relu" in str(box.notes)] == ["2"]
    net[1].bias.data = np.r_[np.full(4, -100.0), np.zeros(4)].astype(np.float32)
    assert nn.doctor(net, DIGITS), "half of them"


def test_a_batch_that_cannot_be_learned():
    found = nn.doctor(cnn(), DIGITS, lambda output, y: tg.cross_entropy(output * 1e-6, y), steps=10)
    assert only(found, "overfit") == ["loss"] and "in 10 steps" in found.findings[0].text


def test_updates_too_large_and_too_small():
    net = cnn()
    assert "4.weight" in only(nn.doctor(net, DIGITS, optimizer=nn.Adam(net.parameters(), lr=1.0)), "update")
    found = nn.doctor(net, DIGITS, optimizer=nn.SGD(net.parameters(), lr=1e-9))
    assert only(found, "update") == ["optimizer"]
    net[0].weight.data = net[0].weight.data * 1e-3  # before a batch norm: large steps, and no harm
    assert nn.doctor(net, DIGITS, optimizer=nn.SGD(net.parameters(), lr=0.01))


# ----- nothing changes, and the same again -----

def everything(net, optimizer):
    grads = {name: None if p.grad is None else p.grad.numpy().tobytes() for name, p in net.named_parameters()}
    state = optimizer.state_dict()
    return ({name: a.tobytes() for name, a in net.state_dict().items()}, grads,
            {path: m.training for path, m in net.named_modules()},
            {name: g.bit_generator.state for name, g in net.named_generators()},
            {name: np.asarray(a).tobytes() for name, a in state["arrays"].items()}, repr(state["groups"]),
            [id(p) for p in optimizer.parameters()], [p.name for p in net.parameters()])


@pytest.mark.parametrize("stepped", [False, True])
def test_everything_is_left_as_it_was(stepped):
    net = cnn(nn.Dropout(0.5, rng=rng()))
    optimizer = nn.Adam(net.parameters())
    if stepped:
        tg.cross_entropy(net(tg.tensor(X)), Y).backward()
        optimizer.step()
    net[1].eval()
    batch = tg.tensor(X), Y.copy()
    before = everything(net, optimizer)
    first = nn.doctor(net, batch, optimizer=optimizer)
    first.draw()
    assert everything(net, optimizer) == before
    assert np.array_equal(batch[0].numpy(), X) and np.array_equal(batch[1], Y) and not batch[0].name
    assert repr(nn.doctor(net, batch, optimizer=optimizer)) == repr(first)


def test_a_loss_that_uses_the_model_itself_leaves_no_gradient():
    net, scale = cnn(), tg.ones(requires_grad=True)
    before = everything(net, nn.SGD(net.parameters()))

    def decayed(output, y):
        return tg.cross_entropy(output * scale, y) + 1e-4 * sum((p * p).sum() for p in net.parameters())
    assert nn.doctor(net, DIGITS, decayed)
    assert everything(net, nn.SGD(net.parameters()))[:-2] == before[:-2] and scale.grad is None


def test_the_report(capsys):
    net = nn.Sequential(*[nn.Linear(64, 64, rng=rng()) for _ in range(3)], nn.Linear(64, 10, rng=rng()))
    found = nn.doctor(net, (X.reshape(64, 64), Y), optimizer=nn.SGD(net[3].parameters(), lr=0.1))
    assert capsys.readouterr() == ("", "")
    first, last = str(found).splitlines()
    assert first.startswith("error: optimizer, at 0.weight, 0.bias, 1.weight, 1.bias and 2 more: ")
    assert last.startswith("nothing found: layout, ") and "optimizer" not in last
    assert "<table>" in found._repr_html_() and "2 more" in found._repr_html_()
    assert {f.severity for f in found.findings} == {"error"} and len(found.findings) == 6
