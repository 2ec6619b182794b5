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


@pytest.fixture(autouse=True)
def numpy_kernels():
    """Machine code would take longer to make than to run."""
    with tg.use_kernels("numpy"):
        yield


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


@pytest.mark.parametrize("make, size", [(lenet, (3, 1, 28, 28)), (ResNet, (2, 3, 32, 32)), (MobileNet, (1, 3, 32, 32)),
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
    assert not {"Shape", "Cast"} & {n.op_type for n in graph.node}
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


DERIVATIVES = {"adaptive_avg_pool2d_spread", "avg_pool2d_spread", "conv2d_weight", "div_no_nan", "hardtanh_vjp",
               "leaky_relu_vjp", "log_softmax_vjp", "max_pool2d_gather", "max_pool2d_scatter", "max_unpool2d_pick", "nll_vjp",
               "normalize_adjoint", "pick2d", "pile2d", "relu_vjp", "scatter_add", "softmax_vjp", "sqrt_vjp"}
NO_RULE = {"dropout", "max_unpool2d", "nll",  # of numbers drawn, of places, of labels: constants of one batch
           "checkpoint"}  # of calls that are not on the tape


def test_every_op_of_floats_has_a_rule():
    """Results that are no floats are not on the tape, and never asked for."""
    found = set()
    for row in all_rows():
        args, params = next(iter(row.samples(np.random.default_rng(0))))
        y = row.primitive(*args, **params)
        if row.primitive.export is None and (y[0] if isinstance(y, tuple) else y).dtype.kind == "f":
            found.add(row.name)
    assert found == DERIVATIVES | NO_RULE


# ----- geometries, layers and ways of writing that the table has not -----

def conv(size, o, kernel, bias=True, transposed=False, **how):
    """A convolution as a module."""
    class Convolution(nn.Module):
        def __init__(self):
            super().__init__()
            rng, c, groups = np.random.default_rng(3), size[1], how.get("groups", 1)
            shape = (c, o // groups, *kernel) if transposed else (o, c // groups, *kernel)
            self.weight = nn.Parameter(rng.standard_normal(shape).astype(np.float32))
            self.bias = nn.Parameter(rng.standard_normal(o).astype(np.float32)) if bias else None

        def forward(self, x):
            op = getattr(tg, f"conv{'_transpose' * transposed}{len(kernel)}d")
            return op(x, self.weight, self.bias, **how)
    return Convolution()


@pytest.mark.parametrize("size, o, kernel, how", [
    ((2, 4, 7, 9), 6, (3, 2), {"stride": (2, 1), "padding": ((0, 2), (1, 0)), "groups": 2}),
    ((2, 3, 8, 9), 4, (3, 3), {"stride": 2, "padding": ((-1, 1), (2, -2)), "dilation": (1, 2)}),
    ((2, 3, 7, 8), 4, (2, 3), {"padding": "same", "stride": (2, 3), "bias": False}),
    ((2, 3, 5, 5), 3, (2, 2), {"padding": 4}),
    ((2, 3, 6, 7), 4, (3, 3), {"padding": 2, "padding_mode": "circular"}),
    ((2, 3, 6, 7), 4, (3, 3), {"padding": (1, 2), "padding_mode": "replicate"}),
    ((2, 3, 6, 7), 4, (3, 3), {"padding": (2, 1), "padding_mode": "reflect", "stride": 2}),
    ((2, 6, 7, 3), 4, (3, 3), {"layout": "NHWC", "padding": 1}),
    ((2, 4, 11), 6, (3,), {"stride": 2, "padding": 1, "dilation": 2, "groups": 2}),
    ((2, 3, 11), 4, (4,), {"padding": "same", "padding_mode": "reflect"})])
def test_convolutions_of_any_geometry(size, o, kernel, how, tmp_path):
    channels = size[:1] + (size[-1],) + size[1:-1] if how.get("layout") == "NHWC" else size
    check(conv(channels, o, kernel, **how), images(*size), tmp_path)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size, kernel, how", [
    ((2, 4, 5, 4), (3, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    ((2, 4, 5, 4), (2, 2), {"stride": (3, 2), "output_padding": (2, 1)}),
    ((2, 4, 5, 4), (2, 3), {"stride": 2, "padding": ((0, 1), (2, 0)), "groups": 2}),
    ((2, 4, 5, 4), (2, 3), {"stride": 2, "padding": ((-2, 0), (1, -3))}),
    ((2, 4, 5, 4), (3, 2), {"stride": 2, "padding": ((-1, 0), (0, 1))}),
    ((2, 4, 4, 3), (2, 2), {"dilation": 3, "output_padding": 2}),
    ((2, 4, 4, 3), (3, 3), {"stride": 2, "output_size": (10, 7)}),
    ((2, 4, 6), (3,), {"stride": 2, "padding": 1, "output_padding": 1})])
def test_transposed_convolutions_of_any_geometry(size, kernel, how, bias, tmp_path):
    check(conv(size, 6, kernel, bias, True, **how), images(*size), tmp_path)


@pytest.mark.parametrize("pool, size, args, how", [
    ("max_pool2d", (2, 3, 7, 8), (3,), {"stride": 2, "padding": 1, "ceil_mode": True}),
    ("max_pool2d", (2, 3, 9, 8), ((2, 3),), {"stride": (3, 2), "dilation": 2, "padding": (1, 2)}),
    ("max_pool2d", (2, 3, 7, 8), (3,), {"stride": 2, "padding": "same"}),
    ("max_pool2d", (2, 3, 7, 9), (2,), {"stride": 3, "padding": ((-1, 0), (0, -2)), "ceil_mode": True}),
    ("max_pool2d", (2, 3, 7, 9), (2,), {"stride": 2, "padding": 1, "dilation": 3}),
    ("max_pool2d", (2, 3, 7, 9), (2,), {"padding": 2, "dilation": 4}),
    ("max_pool1d", (2, 3, 11), (3,), {"stride": 2, "padding": 1}),
    ("avg_pool2d", (2, 3, 7, 8), (3,), {"stride": 2, "padding": 1}),
    ("avg_pool2d", (2, 3, 7, 8), (3,), {"stride": 2, "padding": 1, "count_include_pad": False}),
    ("avg_pool2d", (2, 3, 7, 8), (3,), {"stride": 2, "padding": 1, "ceil_mode": True}),
    ("avg_pool2d", (2, 3, 7, 8), (3,), {"stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False}),
    ("avg_pool2d", (2, 3, 7, 8), (3,), {"stride": 2, "divisor_override": 5, "ceil_mode": True}),
    ("avg_pool2d", (2, 3, 7, 8), (2,), {"stride": 3, "padding": ((-1, 1), (0, -2)), "ceil_mode": True}),
    ("avg_pool1d", (2, 3, 11), (3,), {"stride": 2, "padding": 1, "count_include_pad": False}),
    ("adaptive_avg_pool2d", (2, 3, 8, 6), ((4, 3),), {}), ("adaptive_avg_pool2d", (2, 3, 7, 5), ((3, 4),), {}),
    ("adaptive_avg_pool2d", (2, 3, 7, 5), ((1, 1),), {}), ("adaptive_max_pool2d", (2, 3, 7, 5), ((3, 2),), {}),
    ("adaptive_max_pool2d", (2, 3, 7, 5), ((1, 1),), {}), ("global_avg_pool2d", (2, 3, 7, 5), (), {}),
    ("global_max_pool2d", (2, 3, 7, 5), (), {})])
def test_pools_of_any_geometry(pool, size, args, how, tmp_path):
    check(Function(lambda x: getattr(tg, pool)(x, *args, **how)), images(*size), tmp_path)


class Function(nn.Module):
    """A function as a module."""

    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, *xs):
        return self.f(*xs)


@pytest.mark.parametrize("layer", [
    nn.ReLU(), nn.ReLU6(), nn.LeakyReLU(0.2), nn.ELU(0.5), nn.SELU(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Sigmoid(),
    nn.Tanh(), nn.Softplus(), nn.Softplus(2.0, 1.0), nn.Hardtanh(-0.5, 0.7), nn.Softmax(1), nn.LogSoftmax(-1),
    nn.Identity(), nn.Dropout(0.5), nn.Dropout2d(0.5), nn.Flatten(2), nn.Linear(6, 3), nn.Linear(6, 3, bias=False),
    nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False), nn.BatchNorm2d(4, eps=0.3), nn.InstanceNorm2d(4),
    nn.InstanceNorm2d(4, affine=True, track_running_stats=True), nn.GroupNorm(2, 4), nn.LayerNorm(6),
    nn.LayerNorm((5, 6), bias=False), nn.BatchNorm2d(4, track_running_stats=False)], ids=str)
def test_layers(layer, tmp_path):
    x = images(3, 4, 5, 6)
    check(trained(layer, x) if [*layer.buffers()] else layer, x, tmp_path)


def test_a_layer_norm_is_one_node_and_so_is_an_instance_norm_by_running_statistics(tmp_path):
    graph = check(nn.LayerNorm(6), images(3, 4, 6), tmp_path)
    assert [n.op_type for n in graph.node] == ["LayerNormalization", "Identity"]
    graph = check(nn.InstanceNorm2d(4, affine=True, track_running_stats=True), images(3, 4, 5, 6), tmp_path)
    assert [n.op_type for n in graph.node] == ["BatchNormalization", "Identity"]
    assert [*graph.node[0].input[1:]] == ["weight", "bias", "running_mean", "running_var"]
    graph = check(nn.GroupNorm(2, 4), images(3, 4, 5, 6), tmp_path)  # scales of other shapes are not for every runtime
    assert "LayerNormalization" not in {n.op_type for n in graph.node}


@pytest.mark.parametrize("f", [
    lambda x: x.reshape(x.shape[0], -1), lambda x: x.reshape(-1, 6), lambda x: x.reshape(x.shape[0] * 4, 5, 6),
    lambda x: x[:, :0].reshape(0, 7), lambda x: tg.broadcast_to(x[:1], x.shape), lambda x: tg.broadcast_to(x.sum((1, 2, 3)).reshape(-1, 1), (x.shape[0], 7)),
    lambda x: x.transpose(0, 1).reshape(4, x.shape[0], 30).transpose(0, 1),
    lambda x: tg.broadcast_to(x.reshape(1, x.shape[0], -1), (2, x.shape[0], 120)).reshape(2, -1),
    lambda x: x[:, ::-1, 1:-1, ::2], lambda x: x[..., -1], lambda x: x[:, None, 2, :, None], lambda x: x[0], lambda x: x[-1:],
    lambda x: x[:, np.array([[1, 2], [0, 3]]), None], lambda x: tg.where(True, x, 0.0), lambda x: x[:, [2, 0, 0]], lambda x: x[:, :, np.array([[1, 2], [0, 4]])], lambda x: x[:, 3:0:-2][:, :, :, [5, 1]],
    lambda x: tg.flip(x, 2), lambda x: tg.roll(x, (1, -2), (2, 3)), lambda x: tg.stack([x, x * 2.0], 1),
    lambda x: tg.concat([p * float(i) for i, p in enumerate(tg.split(x, 2, 1))], 1),
    lambda x: tg.pad(x, ((0, 0), (0, 0), (1, -2), (0, 3)), constant_values=2.5),
    lambda x: x.squeeze(1) + x.unsqueeze(-1)[..., 0], lambda x: (x ** 2).mean((2, 3)) / (x.abs() + 1.0).sum((2, 3)),
    lambda x: tg.max(x, 3) - tg.min(x, 3) + tg.logsumexp(x, 3), lambda x: x.var((1, 2)) + x.std((1, 2)) + tg.norm(x, axis=(1, 2)),
    lambda x: tg.prod(x, 1), lambda x: tg.cumsum(x, 2), lambda x: x.mean(0), lambda x: x.sum(), lambda x: tg.sum(x, ()), lambda x: tg.concat([x, x[:1]]),
    lambda x: tg.broadcast_to(tg.sum(x[0]), (x.shape[0] * 4, 5)), lambda x: tg.where(np.arange(6) > 2, x, float("nan")),
    lambda x: tg.clip(x, -0.5, 0.5) + tg.maximum(x, 0.1) * tg.minimum(x, tg.sqrt(x * x)), lambda x: 1 - x / 3,
    lambda x: tg.where(np.arange(6) % 2 == 0, x, tg.exp(x)), lambda x: x @ np.ones((6, 2), np.float32),
    lambda x: tg.einsum("nchw,nkhw->nck", x, x), lambda x: tg.softmax(x @ x.transpose(-1, -2), -1) @ x,
    lambda x: x.astype(np.float64) * np.ones(6), lambda x: x * np.arange(6), lambda x: tg.log1p(tg.expm1(tg.relu(x))),
    lambda x: x])
def test_what_is_written_between_layers(f, tmp_path):
    check(Function(f), images(3, 4, 5, 6), tmp_path)


def test_what_only_another_domain_has(tmp_path, rule):
    rule(lambda to, x: to("QuickGelu", x, domain="com.microsoft", alpha=1.0))
    path, x = tmp_path / "net.onnx", images(2, 3)
    nn.onnx.export(Function(cube), x, path)
    np.testing.assert_allclose(run(path, x)[0], x / (1 + np.exp(-x)), rtol=1e-5)


def test_several_inputs_and_outputs(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 2), nn.Linear(4, 2)

        def forward(self, left, right, *more):
            y = self.a(left) * self.b(right)
            return {"y": y, "both": (y + 1.0, left)}

    net, path = Net(), tmp_path / "net.onnx"
    nn.onnx.export(net, ((2, 3), np.zeros((2, 4), np.float32)), path)
    it, left, right = session(path), images(5, 3), images(5, 4)
    assert [x.name for x in it.get_inputs()] == ["left", "right"]
    assert [x.name for x in it.get_outputs()] == ["output_0", "output_1", "output_2"]
    assert [x.shape for x in it.get_outputs()] == [["batch", 2], ["batch", 2], ["batch", 3]]
    with tg.no_grad():
        y = net(tg.tensor(left), tg.tensor(right))
    for mine, theirs in zip((y["y"], *y["both"]), run(path, left, right), strict=True):
        np.testing.assert_allclose(theirs, mine.numpy(), atol=1e-6)


def test_names_of_what_is_shared_frozen_or_bears_the_name_of_an_input(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = self.again = nn.Linear(4, 4).requires_grad_(False)
            self.x, self.output = nn.Parameter(tg.ones(4)), nn.Parameter(tg.ones(4))
            self.norm = nn.BatchNorm1d(4)

        def forward(self, x):
            other = tg.full(4, 5.0)
            other.name = "output"
            return self.norm(self.again(self.first(self.norm(x))) * self.x + tg.exp(self.output) * other)

    graph = check(Net(), images(2, 4), tmp_path)
    assert sorted([t.name for t in graph.initializer]) == [
        "/mul/constant", "first.bias", "first.weight", "norm.bias", "norm.running_mean", "norm.running_var",
        "norm.weight", "output", "x"]
    assert [v.name for v in (*graph.input, *graph.output)] == ["x_1", "output_1"]
    assert {n.name.rpartition("/")[0] for n in graph.node} >= {"/first/linear"}


def test_float64_and_a_batch_that_is_kept(tmp_path):
    net = nn.Sequential(nn.Linear(3, 4, dtype=np.float64), nn.Tanh(), nn.Linear(4, 2, dtype=np.float64))
    x = images(3, 3).astype(np.float64)
    nn.onnx.export(net, x, tmp_path / "net.onnx", batch=None)
    np.testing.assert_allclose(run(tmp_path / "net.onnx", x)[0], net(tg.tensor(x)).detach().numpy(), rtol=1e-12)
    assert session(tmp_path / "net.onnx").get_inputs()[0].shape == [3, 3]
    nn.onnx.export(net, x, tmp_path / "net.onnx", batch="N")
    assert session(tmp_path / "net.onnx").get_inputs()[0].shape == ["N", 3]


# ----- ops from outside, and what is refused -----

@tg.primitive
def cube(x):
    return x ** 3


@tg.primitive
def sphere(x):
    return x * x * x


for op in (cube, sphere):
    op.defvjp(lambda g, ans, x: g * 3.0 * x * x)


@pytest.fixture
def rule():
    """Sets the rule of `cube`, for one test."""
    yield cube.defexport
    cube.export = None


def test_an_op_from_outside_is_refused_by_name_until_it_has_a_rule(tmp_path, rule):
    net = nn.Sequential(nn.Linear(3, 3), Function(lambda x: sphere(cube(cube(x)))))
    with pytest.raises(NotImplementedError) as e:
        nn.onnx.export(net, (2, 3), tmp_path / "net.onnx")
    for part in ("no export rule for cube (in 1, ", "), sphere (in 1, ", "test_onnx.py:", "op.defexport(rule)"):
        assert part in str(e.value)
    assert not [*tmp_path.iterdir()]
    rule(lambda to, x: to("Mul", to("Mul", x, x), x))
    check(nn.Sequential(nn.Linear(3, 3), Function(cube)), images(2, 3), tmp_path)
    rule("Neg")
    path = tmp_path / "net.onnx"
    nn.onnx.export(Function(cube), (2, 3), path)
    np.testing.assert_array_equal(run(path, np.ones((4, 3), np.float32))[0], -np.ones((4, 3)))


def test_a_length_that_is_no_multiple_of_the_batch_is_left_open(tmp_path):
    graph = check(Function(lambda x: tg.concat([x, x[:1]])), images(2, 3), tmp_path)
    open_axis, other = graph.output[0].type.tensor_type.shape.dim
    assert (open_axis.dim_param, open_axis.dim_value, other.dim_value) == ("", 0, 3)
    graph = check(Function(lambda x: tg.concat([x, x])), images(2, 3), tmp_path)
    assert graph.output[0].type.tensor_type.shape.dim[0].dim_param == "2*batch"


def test_a_rule_that_is_a_name_loses_no_parameter(tmp_path):
    @tg.primitive
    def scaled(x, *, by=2.0):
        return x * by

    scaled.defvjp(lambda g, ans, x, *, by: g * by)
    scaled.defexport("Identity")
    with pytest.raises(TypeError, match="scaled: the rule 'Identity' would lose by; write a function"):
        nn.onnx.export(Function(scaled), (2, 3), tmp_path / "net.onnx")
    scaled.defexport(lambda to, x, *, by: to("Mul", x, x.dtype.type(by)))
    check(Function(scaled), images(2, 3), tmp_path)


def test_an_output_that_a_rule_leaves_out_is_missed_where_it_is_used(tmp_path):
    @tg.primitive
    def pair(x):
        return x * 2, x * 3

    pair.defvjp(lambda g, ans, x: g[0] * 2.0 + g[1] * 3.0)
    pair.defexport(lambda to, x: to("Add", x, x))
    check(Function(lambda x: pair(x)[0]), images(2, 3), tmp_path)
    with pytest.raises(NotImplementedError, match=r"exp \(.* takes output 1 of pair, whose export rule makes only"):
        nn.onnx.export(Function(lambda x: tg.exp(pair(x)[1])), (2, 3), tmp_path / "net.onnx")
    pair.defexport(lambda to, x: (to("Add", x, x), to("Mul", x, np.float32(3))))
    check(Function(lambda x: tg.concat(pair(x), 1)), images(2, 3), tmp_path)


@pytest.mark.parametrize("wrong, error, text", [
    (lambda to, x: to("Cube", x), ValueError, "an export rule made a graph that is not valid: .*Cube"),
    (lambda to, x: to("Reshape", x, np.array([7, 1])), ValueError, "an export rule made a graph that is not valid"),
    (lambda to, x: to("Mul", x, x.nothing), AttributeError, "nothing"),
    (lambda to, x: to("Reshape", x, np.array(x.shape)), TypeError, r"a length that follows .*to.sizes\(shape\)"),
    (lambda to, x: to("Mul", x, np.float32(x.shape[0] * 2)), TypeError, "unsupported operand")])
def test_a_wrong_rule_is_told(wrong, error, text, tmp_path, rule):
    rule(wrong)
    (tmp_path / "net.onnx").write_bytes(b"old")
    with pytest.raises(error, match=text) as e:
        nn.onnx.export(nn.Sequential(Function(cube)), (2, 3), tmp_path / "net.onnx")
    assert error is ValueError or "in the export rule of cube (in 0, " in "".join(e.value.__notes__)
    assert (tmp_path / "net.onnx").read_bytes() == b"old" and len([*tmp_path.iterdir()]) == 1


@pytest.mark.parametrize("wrong", [3, None, ["Mul"]])
def test_a_rule_is_a_name_or_a_function(wrong):
    with pytest.raises(TypeError, match="^cube.defexport: expects the name of an ONNX operator or a function, got"):
        cube.defexport(wrong)


@pytest.mark.parametrize("f, error, text", [
    (lambda x: tg.where(x > 0, x, 0.0), ValueError, "where .*takes bool.* that differs from batch to batch"),
    (lambda x: x * x.data.mean(), ValueError, "mul .*takes float32.* that differs from batch to batch"),
    (lambda x: x + x.detach(), ValueError, "add .*takes float32.* detach"),
    (lambda x: x + tg.zeros(x.shape[0], 1), ValueError, "add .*that differs from batch to batch"),
    (lambda x: x[:, x.data.argmax(1)[:1]], ValueError, "getitem .*: its parameter 'index' differs"),
    (lambda x: x[:x.shape[0] // 2 + 1], TypeError, "a length that follows the batch is no number"),
    (lambda x: tg.broadcast_to(x[:1], (x.shape[0] + 1, 3)), ValueError, "follows the batch, but is no multiple"),
    (lambda x: x if x.data.sum() == 0 else x + 1.0, ValueError, "calls other ops for another batch"),
    (lambda x: (pair := (tg.exp(x), tg.exp(x)))[x.shape[0] % 2] - pair[1] * pair[0], ValueError, "another call"),
    (lambda x: (x > 0), ValueError, "the result takes bool"),
    (lambda x: tg.dropout(x, 0.5, rng=np.random.default_rng(0)), NotImplementedError, "rule for dropout"),
    (lambda x: tg.getitem(x, (0, np.array([1, 2]))), NotImplementedError, "an array beside numbers"),
    (lambda x: x[:, np.array([True, False, True])], NotImplementedError, "getitem: an index with a mask")])
def test_what_is_not_on_the_tape_or_follows_the_batch_oddly_is_refused(f, error, text, tmp_path):
    with pytest.raises(error, match=text):
        nn.onnx.export(Function(f), (2, 3), tmp_path / "net.onnx")
    assert not [*tmp_path.iterdir()]


def test_a_model_for_batches_of_one_size_is_told_of_the_argument(tmp_path):
    net, x = Function(lambda x: x.reshape(2, 15)), images(2, 3, 5)
    with pytest.raises(ValueError, match="reshape: cannot reshape") as e:
        nn.onnx.export(net, x, tmp_path / "net.onnx")
    assert "in the second pass of onnx.export, over (5, 3, 5); batch=None" in "".join(e.value.__notes__)
    nn.onnx.export(net, x, tmp_path / "net.onnx", batch=None)
    np.testing.assert_array_equal(run(tmp_path / "net.onnx", x)[0], x.reshape(2, 15))


@pytest.mark.parametrize("args, error, text", [
    ((tg.relu, (2, 3), "a.onnx"), TypeError, "onnx.export: expects a module, its input and a path"),
    ((nn.ReLU(), (2, 3), 3), TypeError, "onnx.export: expects the path of a file third"),
    ((nn.ReLU(), np.zeros((2, 3), int), "a.onnx"), TypeError, "onnx.export: inputs must be floating point"),
    ((Function(tg.add), ((2, 3), (3, 3)), "a.onnx"), ValueError, r"the first axis of each input is the batch, got the "
     r"shapes \(2, 3\), \(3, 3\)"),
    ((nn.ReLU(), (), "a.onnx"), ValueError, "the first axis of each input is the batch"),
    ((Function(lambda x: 3), (2, 3), "a.onnx"), TypeError, "Function returned int and no tensor")])
def test_wrong_arguments(args, error, text):
    with pytest.raises(error, match=text):
        nn.onnx.export(*args)


def test_nothing_is_recorded_inside_no_grad(tmp_path):
    with tg.no_grad(), pytest.raises(RuntimeError, match=r"onnx.export: nothing is recorded inside no_grad\(\)"):
        nn.onnx.export(nn.ReLU(), (2, 3), tmp_path / "net.onnx")


def test_without_the_package_the_error_names_the_extra(tmp_path, monkeypatch):
    import sys
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ModuleNotFoundError, match=r"onnx.export: needs the package onnx .*tinygrad_conv\[onnx\]"):
        nn.onnx.export(nn.ReLU(), (2, 3), tmp_path / "net.onnx")
