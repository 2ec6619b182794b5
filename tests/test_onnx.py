"""Exported models and ops against onnxruntime, which runs the file on numbers of its own choosing."""
from __future__ import annotations

import zlib

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from nn.layers.module import evaluating
from tests.op_table import all_rows

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install 'tinygrad_conv[onnx]'")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime, which runs the files, is not installed")


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def run(path, *arrays):
    """The outputs of a file, for arrays in the order of its inputs."""
    it = session(path)
    return it.run(None, dict(zip([x.name for x in it.get_inputs()], arrays, strict=True)))


def ours(model, *arrays):
    with evaluating(model), tg.no_grad():
        y = model(*map(tg.tensor, arrays))
    return [t.numpy() for t in (y if isinstance(y, tuple) else (y,))]


def check(model, x, tmp_path, batches=(1, 2, 5), atol=1e-5):
    """The file gives what the model gives, for several batch sizes; returns the graph."""
    path = tmp_path / "model.onnx"
    nn.onnx.export(model, x, path)
    for n in batches:
        again = np.random.default_rng(n).standard_normal((n, *np.shape(x)[1:])).astype(np.float32)
        for mine, theirs in zip(ours(model, again), run(path, again), strict=True):
            assert mine.shape == theirs.shape and mine.dtype == theirs.dtype
            np.testing.assert_allclose(theirs, mine, atol=atol, rtol=1e-5)
    return onnx.load(path).graph


def trained(model, x):
    """With statistics and weights that no other layer has."""
    rng = np.random.default_rng(1)
    model.train()
    with tg.no_grad():
        model(tg.tensor(x))
    for t in model._state().values():
        if t.dtype.kind == "f" and t.ndim == 1:
            t.mutate()[...] += rng.uniform(0.1, 0.3, t.shape)
    return model


def images(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


# ----- whole networks -----

def lenet():
    return nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(6, 16, 5), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(400, 120), nn.BatchNorm1d(120), nn.ReLU(), nn.Dropout(0.5), nn.Linear(120, 10))


class Block(nn.Module):
    def __init__(self, c, o, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(c, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        self.downsample = nn.Sequential(nn.Conv2d(c, o, 1, stride, bias=False), nn.BatchNorm2d(o)) if (
            stride > 1 or c != o) else nn.Identity()

    def forward(self, x):
        y = tg.relu(self.bn1(self.conv1(x)))
        return tg.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Block(8, 8, 1), Block(8, 8, 1))
        self.layer2 = nn.Sequential(Block(8, 16, 2), Block(16, 16, 1))
        self.layer3 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1))
        self.fc = nn.Linear(32, 10)

    def forward(self, x):
        x = self.maxpool(tg.relu(self.bn1(self.conv1(x))))
        x = tg.global_avg_pool2d(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.reshape(x.shape[0], -1))


def inverted(c, o, stride, expand):
    h = c * expand
    return nn.Sequential(nn.Conv2d(c, h, 1, bias=False), nn.BatchNorm2d(h), nn.ReLU6(),
                         nn.Conv2d(h, h, 3, stride, 1, groups=h, bias=False), nn.BatchNorm2d(h), nn.ReLU6(),
                         nn.Conv2d(h, o, 1, bias=False), nn.BatchNorm2d(o))


class MobileNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(),
                                      inverted(8, 12, 2, 3))
        self.residual = inverted(12, 12, 1, 6)
        self.classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(12, 10))

    def forward(self, x):
        x = self.features(x)
        return tg.softmax(self.classifier(x + self.residual(x)), 1)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        pair = lambda c, o: nn.Sequential(nn.Conv2d(c, o, 3, padding=1, padding_mode="reflect"), nn.GroupNorm(2, o),
                                          nn.SiLU(), nn.Conv2d(o, o, 3, padding="same"), nn.BatchNorm2d(o), nn.ReLU())
        self.down1, self.down2, self.middle = pair(1, 4), pair(4, 8), pair(8, 16)
        self.up2, self.merge2 = nn.ConvTranspose2d(16, 8, 2, 2), pair(16, 8)
        self.up1, self.merge1 = nn.ConvTranspose2d(8, 4, 3, 2, 1, output_padding=1), pair(8, 4)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(tg.max_pool2d(a, 2))
        c = self.middle(tg.avg_pool2d(b, 2))
        c = self.merge2(tg.concat([self.up2(c), b], 1))
        return self.head(self.merge1(tg.concat([a, self.up1(c)], 1)))


@pytest.mark.parametrize("make, size", [(lenet, (3, 1, 28, 28)), (ResNet, (2, 3, 32, 32)), (MobileNet, (2, 3, 32, 32)),
                                        (UNet, (2, 1, 16, 24))])
def test_networks_give_the_same_in_onnxruntime_for_every_batch(make, size, tmp_path):
    x = images(*size)
    model = trained(make(), x)
    modes = [m.training for m in model.modules()]
    graph = check(model, x, tmp_path)
    assert [m.training for m in model.modules()] == modes
    used = {t.name for t in graph.initializer}
    state = {name for name in model.state_dict() if not name.endswith("num_batches_tracked")}
    assert state <= used
    norms = sum(isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d) for m in model.modules())
    assert [n.op_type for n in graph.node].count("BatchNormalization") == norms
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert graph.output[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim[1:]] == list(size[1:])


# ----- every op that has a rule, on the samples of the op table -----

ROWS = [row for row in all_rows() if row.primitive.export is not None]


class Call(nn.Module):
    """One call of an op: arrays of floats are its inputs, others are constants."""

    def __init__(self, op, args, params):
        super().__init__()
        self.call = op, args, params

    def forward(self, *xs):
        op, args, params = self.call
        xs = iter(xs)
        y = op(*[next(xs) if np.asarray(a).dtype.kind == "f" else a for a in args], **params)
        return y[0] if isinstance(y, tuple) else y


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_rule_on_the_samples_of_the_op_table(row, tmp_path):
    path = tmp_path / "op.onnx"
    samples = list(row.samples(np.random.default_rng(zlib.crc32(row.name.encode()))))
    done = 0
    for args, params in samples:
        arrays = [np.asarray(a, np.float32) for a in args if np.asarray(a).dtype.kind == "f"]
        model = Call(row.primitive, args, params)
        try:
            nn.onnx.export(model, tuple(map(tg.tensor, arrays)), path, batch=None)
        except NotImplementedError as e:
            assert row.name == "getitem" and "mask, several arrays" in str(e)
            continue
        [mine], [theirs] = ours(model, *arrays), run(path, *arrays)
        assert mine.shape == theirs.shape and mine.dtype == theirs.dtype, (params, mine.shape, theirs.shape)
        np.testing.assert_allclose(theirs, mine, rtol=1e-5, atol=1e-5, err_msg=str(params))
        done += 1
    assert done > len(samples) / 2
