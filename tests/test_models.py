"""nn.models: torchvision's names and shapes, values equal to a PyTorch twin, a step of training, pictures, ONNX."""
from __future__ import annotations

import hashlib

import numpy as np
import pytest

import nn
import tinygrad_conv as tg

KEYS = {  # sha256 of torchvision 0.28's "name shape" lines
    "resnet18": "84fb10d9c6905a1cbb020b284537dc97c4f4ec55fb2a780a41152a23a2dd0e9d",
    "resnet34": "28f9096d5130749948981c6900083e57b19456b8b835829b8bdfe415bddc3f32",
    "MobileNetV2": "37bbbce8932fd0c49fe8e941719a7aa7b25b60c17b428749b72562f754135844",
}
SMALL = {  # a small form of each, and the shape of its input
    "LeNet5": (lambda rng: nn.models.LeNet5(rng=rng), (3, 1, 28, 28)),
    "resnet18": (lambda rng: nn.models.resnet18(10, rng=rng), (2, 3, 32, 32)),
    "resnet20": (lambda rng: nn.models.resnet20(rng=rng), (2, 3, 16, 16)),
    "MobileNetV2": (lambda rng: nn.models.MobileNetV2(10, 0.25, rng=rng), (2, 3, 32, 32)),
    "UNet": (lambda rng: nn.models.UNet(1, 2, 4, 2, rng=rng), (2, 1, 16, 12)),
    "VAE": (lambda rng: nn.models.VAE((1, 8, 12), 3, 4, rng=rng), (2, 1, 8, 12)),
}
every_model = pytest.mark.parametrize("name", SMALL)


@pytest.mark.parametrize("name", KEYS)
def test_names_and_shapes_are_torchvisions(name):
    state = getattr(nn.models, name)().state_dict()
    lines = "\n".join(f"{key} {tuple(np.shape(value))}" for key, value in state.items())
    assert hashlib.sha256(lines.encode()).hexdigest() == KEYS[name], lines[:2000]


def test_cifar_nets_have_the_papers_numbers_of_parameters_and_layers():
    for name, layers, parameters in (("resnet20", 20, 269_722), ("resnet32", 32, 464_154)):
        net = getattr(nn.models, name)()
        assert sum(p.size for p in net.parameters()) == parameters
        assert sum(p.ndim > 1 for p in net.parameters()) == layers


def loss_of(net, x):
    y = net(x)
    return net.loss(x) if isinstance(net, nn.models.VAE) else (y * y).mean()


@every_model
def test_a_model_learns_and_the_same_generator_gives_the_same_model(name, rng):
    make, shape = SMALL[name]
    nets = [make(np.random.default_rng(1)) for _ in range(2)]
    assert all(np.array_equal(a.data, b.data) for a, b in zip(*(net.parameters() for net in nets)))
    net, x = nets[0], tg.tensor(rng.random(shape).astype(np.float32))
    optimizer = nn.Adam(net.parameters(), 1e-3)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = loss_of(net, x)
        loss.backward()
        assert all(p.grad is not None and np.isfinite(p.grad.data).all() for p in net.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@every_model
def test_a_model_is_drawn_and_summed_up(name):
    make, shape = SMALL[name]
    net = make(np.random.default_rng(1))
    assert len(nn.draw(net, shape, depth=0).graph.boxes) > 2
    assert nn.summary(net, shape).parameters == sum(p.size for p in net.parameters())


@every_model
def test_a_model_runs_in_onnxruntime_at_other_batch_sizes(name, rng, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    make, shape = SMALL[name]
    net = make(np.random.default_rng(1)).eval()
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean = tg.tensor(rng.standard_normal(m.running_mean.shape).astype(np.float32) * 0.1)
            m.running_var = tg.tensor(rng.uniform(0.5, 2.0, m.running_var.shape).astype(np.float32))
    nn.onnx.export(net, tg.zeros(*shape), tmp_path / "model.onnx")
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"))
    for batch in (1, 5):
        x = rng.random((batch, *shape[1:])).astype(np.float32)
        theirs = session.run(None, {session.get_inputs()[0].name: x})
        with tg.no_grad():
            ours = net(tg.tensor(x))
        for a, b in zip(ours if isinstance(ours, tuple) else [ours], theirs):
            np.testing.assert_allclose(a.data, b, rtol=1e-4, atol=1e-5 * max(1.0, float(np.abs(b).max())))


def torch_resnet(torch, classes):
    """torchvision's ResNet-18, written down again."""
    m = torch.nn

    class Block(m.Module):
        def __init__(self, c, o, stride):
            super().__init__()
            self.conv1, self.bn1 = m.Conv2d(c, o, 3, stride, 1, bias=False), m.BatchNorm2d(o)
            self.conv2, self.bn2 = m.Conv2d(o, o, 3, 1, 1, bias=False), m.BatchNorm2d(o)
            if (c, stride) != (o, 1):
                self.downsample = m.Sequential(m.Conv2d(c, o, 1, stride, bias=False), m.BatchNorm2d(o))

        def forward(self, x):
            y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
            return torch.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))

    class Net(m.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = m.Conv2d(3, 64, 7, 2, 3, bias=False), m.BatchNorm2d(64)
            for i, (c, o) in enumerate(((64, 64), (64, 128), (128, 256), (256, 512)), 1):
                setattr(self, f"layer{i}", m.Sequential(Block(c, o, 1 + (i > 1)), Block(o, o, 1)))
            self.fc = m.Linear(512, classes)

        def forward(self, x):
            x = torch.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
            for i in range(1, 5):
                x = getattr(self, f"layer{i}")(x)
            return self.fc(x.mean((2, 3)))
    return Net()


def test_resnet18_computes_what_its_twin_in_pytorch_does(rng):
    torch = pytest.importorskip("torch")
    ours, theirs = nn.models.resnet18(7, rng=np.random.default_rng(0)), torch_resnet(torch, 7)
    theirs.load_state_dict({key: torch.tensor(np.asarray(value)) for key, value in ours.state_dict().items()})
    x = rng.standard_normal((2, 3, 64, 48)).astype(np.float32)
    for mode in (True, False):
        ours.train(mode), theirs.train(mode)
        y, z = ours(tg.tensor(x)), theirs(torch.tensor(x))
        np.testing.assert_allclose(y.data, z.detach().numpy(), rtol=2e-3, atol=2e-4)
    (y * y).sum().backward(), (z * z).sum().backward()
    grads = dict(theirs.named_parameters())
    for key, p in ours.named_parameters():
        expected = grads[key].grad.numpy()
        np.testing.assert_allclose(p.grad.data, expected, rtol=2e-2, atol=2e-3 * np.abs(expected).max(), err_msg=key)


def test_the_vae_draws_codes_from_its_generator_and_its_bound_is_the_formula():
    x = tg.tensor(np.random.default_rng(0).random((4, 1, 8, 8)).astype(np.float32))
    one, two = (nn.models.VAE((1, 8, 8), 3, 4, rng=np.random.default_rng(5)) for _ in range(2))
    first = one(x)[0].data
    assert np.array_equal(first, two(x)[0].data) and not np.array_equal(first, one(x)[0].data)
    logits, mean, log_variance = (t.data.astype(np.float64) for t in one.eval()(x))
    p, v = 1 / (1 + np.exp(-logits)), np.exp(log_variance)
    bound = -(x.data * np.log(p) + (1 - x.data) * np.log(1 - p)).sum() + 0.5 * (mean**2 + v - 1 - np.log(v)).sum()
    assert one.loss(x).item() == pytest.approx(bound / 4, rel=1e-5)


@pytest.mark.parametrize("call, text", [
    (lambda: nn.models.UNet(1, 2, 4, 2)(tg.zeros(1, 1, 10, 12)), r"UNet: height and width must be multiples of 4.*\(1, 1, 10, 12\)"),
    (lambda: nn.models.VAE((1, 10, 8)), r"VAE: image must be \(C, H, W\).*got \(1, 10, 8\)"), (lambda: nn.models.CifarResNet(0), "blocks"),
])
def test_mistakes_are_told(call, text):
    with pytest.raises(ValueError, match=text):
        call()
