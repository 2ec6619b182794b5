"""The recipes of the documentation: their code runs, and gives PyTorch's values and gradients."""
from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nn
import tinygrad_conv as tg

torch = pytest.importorskip("torch")
F = torch.nn.functional
RECIPES = Path(__file__).resolve().parent.parent / "docs" / "recipes.md"
CODE = "\n\n".join(re.findall(r"^```python\n(.*?)^```", RECIPES.read_text(encoding="utf-8"), re.M | re.S))
HERE: dict[str, Any] = {"__name__": "recipes"}
exec(compile(CODE, str(RECIPES), "exec"), HERE)
RNG = np.random.default_rng(0)
LABELS = np.array([0, 2, 1, 2])
MASK = np.tri(5, dtype=bool)


def same_gradients(here: Any, there: Any, *arrays: np.ndarray) -> None:
    """Values, and gradients for a random cotangent, of two functions of some arrays."""
    ours = [tg.tensor(a, requires_grad=True) for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    y, z = here(*ours), there(*theirs)
    g = np.random.default_rng(1).standard_normal(z.shape)
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), rtol=1e-10, atol=1e-12)
    y.backward(g)
    z.backward(torch.tensor(g))
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-9, atol=1e-12)


def focal_in_torch(logits: Any, labels: Any, gamma: float) -> Any:
    log_p = F.log_softmax(logits, 1).gather(1, labels[:, None])[:, 0]
    return -((1 - log_p.exp()) ** gamma * log_p).mean()


def contrastive_in_torch(x: Any, y: Any) -> Any:
    """By the paper's formula, pair by pair."""
    z, n = torch.cat([x, y]), len(x)
    s = F.cosine_similarity(z[:, None], z[None], dim=2) / 0.5
    total = 0.0
    for i in range(2 * n):
        others = torch.tensor([k for k in range(2 * n) if k != i])
        total = total + torch.logsumexp(s[i, others], 0) - s[i, (i + n) % (2 * n)]
    return total / (2 * n)


def dice_in_torch(logits: Any, targets: Any) -> Any:
    p = torch.sigmoid(logits)
    return sum(1 - (2 * (a * b).sum() + 1) / (a.sum() + b.sum() + 1) for a, b in zip(p, targets)) / len(p)


def array(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape)


TARGETS = (array(2, 1, 5, 6) > 0).astype(float)
SIGNS = np.array([1.0, -1.0, 1.0, -1.0])
TEACHER = array(4, 3)
FUNCTIONS = {
    "focal": (lambda x: HERE["focal_loss"](x, LABELS), lambda x: focal_in_torch(x, torch.tensor(LABELS), 2.0), [array(4, 3)]),
    "focal, gamma 0": (lambda x: HERE["focal_loss"](x, LABELS, 0.0), lambda x: F.cross_entropy(x, torch.tensor(LABELS)), [array(4, 3)]),
    "dice": (lambda x: HERE["dice_loss"](x, TARGETS), lambda x: dice_in_torch(x, torch.tensor(TARGETS)), [array(2, 1, 5, 6)]),
    "cosine similarity": (HERE["cosine_similarity"], F.cosine_similarity, [array(4, 3), array(4, 3)]),
    "cosine embedding": (lambda x, y: HERE["cosine_embedding_loss"](x, y, SIGNS, 0.1),
                         lambda x, y: F.cosine_embedding_loss(x, y, torch.tensor(SIGNS), 0.1), [array(4, 3), array(4, 3)]),
    "contrastive": (HERE["contrastive_loss"], contrastive_in_torch, [array(4, 3), array(4, 3)]),
    "distillation": (lambda x: HERE["distillation_loss"](x, TEACHER),
                     lambda x: 16 * F.kl_div(F.log_softmax(x / 4, 1), F.softmax(torch.tensor(TEACHER) / 4, 1), reduction="batchmean"),
                     [array(4, 3)]),
    "attention": (HERE["attention"], F.scaled_dot_product_attention, [array(2, 3, 4, 6), array(2, 3, 5, 6), array(2, 3, 5, 7)]),
    "masked attention": (lambda q, k, v: HERE["attention"](q, k, v, MASK),
                         lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), [array(2, 5, 6), array(2, 5, 6), array(2, 5, 4)]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_has_the_values_and_gradients_of_pytorch(name):
    here, there, arrays = FUNCTIONS[name]
    same_gradients(here, there, *arrays)


STATE = (array(4, 5), array(4, 5))
MODULES = {  # ours, PyTorch's, inputs; outputs are compared as one tuple
    "Embedding": (lambda: HERE["Embedding"](10, 4, rng=RNG), lambda: torch.nn.Embedding(10, 4), [np.array([[1, 2, 2], [9, 0, 1]])]),
    "MultiheadAttention": (lambda: HERE["MultiheadAttention"](8, 2, rng=RNG), lambda: torch.nn.MultiheadAttention(8, 2, batch_first=True), [array(3, 5, 8)]),
    "Block": (lambda: HERE["Block"](8, 2, rng=RNG),
              lambda: torch.nn.TransformerEncoderLayer(8, 2, 32, 0.0, "gelu", batch_first=True, norm_first=True), [array(3, 5, 8)]),
    "LSTMCell": (lambda: HERE["LSTMCell"](3, 5, rng=RNG), lambda: torch.nn.LSTMCell(3, 5), [array(4, 3), STATE]),
    "GRUCell": (lambda: HERE["GRUCell"](3, 5, rng=RNG), lambda: torch.nn.GRUCell(3, 5), [array(4, 3), array(4, 5)]),
}


def converted(value: Any, make: Any) -> Any:
    """Inputs as tensors of one of the two frameworks, float32; numbers of rows stay integers."""
    if isinstance(value, tuple):
        return tuple(converted(v, make) for v in value)
    return make(value if value.dtype.kind == "i" else value.astype(np.float32))


@pytest.mark.parametrize("name", MODULES)
def test_layer_takes_pytorchs_weights_and_has_its_values_and_gradients(name):
    ours, theirs, inputs = MODULES[name]
    here, there = ours(), theirs()
    here.load_state_dict(there.state_dict())  # strict: every name and shape
    y = here(*[converted(x, lambda a: a if a.dtype.kind == "i" else tg.tensor(a)) for x in inputs])
    z = (there(*[converted(inputs[0], torch.tensor)] * 3, need_weights=False) if name == "MultiheadAttention"
         else there(*[converted(x, torch.tensor) for x in inputs]))
    y, z = (y if isinstance(y, tuple) else (y,)), tuple(v for v in (z if isinstance(z, tuple) else (z,)) if v is not None)
    assert len(y) == len(z)
    for a, b in zip(y, z):
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-6)
    sum((a * a).sum() for a in y).backward()
    sum((b * b).sum() for b in z).backward()
    for path, p in here.named_parameters():
        np.testing.assert_allclose(p.grad.numpy(), there.get_parameter(path).grad.numpy(), rtol=1e-4, atol=1e-5, err_msg=path)


def test_masked_multihead_attention_looks_back_only():
    here, there = HERE["MultiheadAttention"](8, 2, rng=RNG), torch.nn.MultiheadAttention(8, 2, batch_first=True)
    here.load_state_dict(there.state_dict())
    x = array(3, 5, 8).astype(np.float32)
    z = there(*[torch.tensor(x)] * 3, attn_mask=torch.tensor(~MASK))[0]  # there True is where it may not
    np.testing.assert_allclose(here(tg.tensor(x), MASK).numpy(), z.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_an_lstm_is_its_cell_unrolled():
    cell, there = HERE["LSTMCell"](3, 5, rng=RNG), torch.nn.LSTM(3, 5, batch_first=True)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in there.state_dict().items()})
    x = array(4, 6, 3).astype(np.float32)
    y, (h, c) = HERE["unrolled"](cell, tg.tensor(x), (tg.zeros(4, 5), tg.zeros(4, 5)))
    z, (k, d) = there(torch.tensor(x))
    for a, b in ((y, z), (h, k[0]), (c, d[0])):
        np.testing.assert_allclose(a.numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_squeeze_and_excitation():
    here, x = HERE["SqueezeExcitation"](6, 2, rng=RNG), array(2, 6, 4, 5).astype(np.float32)
    w = [torch.tensor(p.numpy()) for p in here.parameters()]
    z = torch.tensor(x)
    scale = torch.sigmoid(F.conv2d(F.relu(F.conv2d(F.adaptive_avg_pool2d(z, 1), w[0], w[1])), w[2], w[3]))
    np.testing.assert_allclose(here(tg.tensor(x)).numpy(), (z * scale).numpy(), rtol=1e-5, atol=1e-6)


def small_net(seed: int) -> nn.Module:
    rng = np.random.default_rng(seed)
    return nn.Sequential(nn.Conv2d(1, 2, 3, rng=rng), nn.BatchNorm2d(2), nn.Tanh(), nn.Flatten(), nn.Linear(32, 3, rng=rng))


def test_moving_average_of_the_weights():
    average, model = small_net(0), small_net(1)
    there = torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    expected = {name: torch.tensor(value) for name, value in average.state_dict().items() if value.dtype.kind == "f"}
    for _ in range(3):
        HERE["update"](average, model, 0.9)
        there(list(expected.values()), [torch.tensor(model.state_dict()[name]) for name in expected], None)
    for name, value in expected.items():
        np.testing.assert_allclose(average.state_dict()[name], value.numpy(), rtol=1e-6, atol=1e-7)


def test_four_batches_make_the_step_of_one():
    nets = [nn.Sequential(nn.Flatten(), nn.Linear(36, 3, rng=np.random.default_rng(0))) for _ in range(2)]
    x, labels = array(8, 1, 6, 6).astype(np.float32), np.arange(8) % 3
    for net, size in zip(nets, (8, 2)):
        HERE["step"](net, nn.SGD(net.parameters(), 0.1), [(x[i:i + size], labels[i:i + size]) for i in range(0, 8, size)])
    for a, b in zip(*[net.parameters() for net in nets]):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-7)


def test_penalty_on_the_gradient():
    rng = np.random.default_rng(0)
    here = nn.Sequential(nn.Conv2d(1, 2, 3, rng=rng), nn.Tanh(), nn.Flatten(), nn.Linear(32, 3, rng=rng))
    there = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Tanh(), torch.nn.Flatten(), torch.nn.Linear(32, 3))
    there.load_state_dict({name: torch.tensor(value) for name, value in here.state_dict().items()})
    x, labels = array(4, 1, 6, 6).astype(np.float32), LABELS
    loss = HERE["penalised_loss"](here, x, labels, 3.0)
    z = torch.tensor(x, requires_grad=True)
    plain = F.cross_entropy(there(z), torch.tensor(labels))
    slope, = torch.autograd.grad(plain, z, create_graph=True)
    total = plain + 3.0 * (slope ** 2).sum((1, 2, 3)).mean()
    np.testing.assert_allclose(loss.item(), total.item(), rtol=1e-5)
    loss.backward()
    total.backward()
    for path, p in here.named_parameters():
        np.testing.assert_allclose(p.grad.numpy(), there.get_parameter(path).grad.numpy(), rtol=1e-4, atol=1e-6, err_msg=path)


def test_every_recipe_is_tested():
    source = Path(__file__).read_text(encoding="utf-8")
    recipes = set(re.findall(r"^(?:def|class) (\w+)", CODE, re.M)) - {"Cell"}
    assert recipes and {name for name in recipes if f'HERE["{name}"]' not in source} == set()
