"""What mypy sees in a user's program: right uses pass, mistakes are found, nothing is hidden."""
from __future__ import annotations

import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

import nn
import tinygrad_conv as tg

ROOT = Path(__file__).resolve().parent.parent
RIGHT = """
import numpy as np

import nn
import tinygrad_conv as tg


class Net(nn.Module):
    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1, rng=rng)
        self.head = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(256, 10, rng=rng))
        self.register_buffer("seen", tg.zeros(1))

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        y: tg.Tensor = self.head(self.conv(x))
        return y


@tg.no_grad()
def name(n: int) -> str:
    return str(n)


rng = np.random.default_rng(0)
x = tg.randn(4, 1, 8, 8, rng=rng)
w = tg.tensor(np.ones((3, 2)), requires_grad=True)
h: tg.Tensor = (x.flatten(1)[:, :3] @ w).sum(dim=1).relu() + 2.0 * w[0, 0] - np.float32(1)
from_the_left: tg.Tensor = np.ones(2) * w + np.ones((2, 3)) @ w
largest: tg.Tensor = w.max()
layer: tg.Tensor = nn.Linear(2, 3)(w)
values, indices = w.max(dim=1)
which: tg.Tensor = w <= 1
pooled, places = tg.max_pool2d(x, 2, return_indices=True)
shape: tuple[int, ...] = w.float().permute(1, 0).reshape(-1, 2).shape
rows: list[tg.Tensor] = [row[..., None] for row in w]
text: str = name(len({w, h}))
w.data = 3
w.mutate()[0] = 1
net = Net(rng)
optimizer = nn.AdamW(nn.no_decay(net, 1e-2), 1e-3)
schedule = nn.CosineAnnealingLR(optimizer, 10)
loss = tg.cross_entropy(net(x), np.array([0, 1, 2, 3]))
optimizer.zero_grad()
loss.backward(retain_graph=True)
nn.clip_grad_norm_(net.parameters(), 1.0)
optimizer.step()
schedule.step()
for path, p in net.named_parameters():
    print(path, p.shape, None if p.grad is None else p.grad.numpy().std())
nn.init.kaiming_normal_(net.conv.weight, rng=rng)
train = nn.data.DataLoader(nn.data.digits("train"), 64, shuffle=True, rng=rng)
history = nn.fit(net, train, train, epochs=1, optimizer=optimizer)
print(history.last["valid_accuracy"], nn.summary(net, (1, 8, 8)), tg.show_config(), tg.tape(loss))
nn.save(net, "net.safetensors")
net.load_state_dict(nn.load("net.safetensors"))
tg.check_grads(lambda t: t.sum(), (w,), order=2)
value, slope = tg.value_and_grad(lambda t: (t * t).sum())(w)
y, tangent = tg.jvp(tg.tanh, (w,), [np.ones((3, 2))])
second: tg.Tensor = tg.hessian(lambda t: tg.exp(t).sum())(w)
product: tg.Tensor = tg.hvp(lambda t: tg.exp(t).sum(), (w,), (w,))
rows = tg.jacobian(lambda p: p["w"] * 2.0, mode="forward")({"w": w})["w"]
again: tg.Tensor = nn.functional_call(net, dict(net.named_parameters()), tg.checkpoint(tg.tanh, x))
"""
WRONG = """
import nn
import tinygrad_conv as tg
t = tg.zeros(2, 3)
"""
MISTAKES = ["t.shapee", "tg.exp(t).shapee", "n: int = tg.matmul(t, t)", "t.sum(dim='a')", "t + 'a'", "t['a']", "t[0] = 1", "t.reshape('a')", "t.relu(3)",
            "t.max(dim=1).value", "t.backward(creategraph=True)", "n: int = t.sum()", "t.randn(3)",
            "tg.relu(t, nonsense=3)", "tg.exp(t, 2)", "n: int = nn.ReLU()(t)", "t.relu().shapee", "tg.sum(t).shapee", "nn.ReLU()(t).shapee",
            "tg.max_pool2d(t, 2).shapee", "tg.adaptive_max_pool2d(t, 2).shapee", "tg.conv2d(t, t, strid=2)", "tg.randn(2, rng=3)", "tg.rnadn(2)", "nn.Linear(3)",
            "nn.Conv2d(1, 2, kernel=3)", "tg.jvp(tg.tanh, t)", "tg.hessian(tg.sum, 'a', 3)", "nn.functional_call(t, {}, t)", "nn.Adam(lr=3)", "nn.Lniear(3, 2)", "nn.data.mnits()"]


def mypy(*arguments: str, folder: Path) -> str:
    """What mypy says, run in a folder outside the checkout."""
    environment = {**os.environ, "MYPYPATH": str(ROOT), "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout + done.stderr


def test_right_uses_pass_and_every_mistake_is_found(tmp_path):
    pytest.importorskip("mypy")
    (tmp_path / "right.py").write_text(RIGHT)
    (tmp_path / "wrong.py").write_text(WRONG + "\n".join(MISTAKES) + "\n")
    said = mypy("-m", "mypy", "--strict", "--follow-imports=silent", "right.py", "wrong.py", folder=tmp_path)
    assert not re.findall(r"^right.py.*", said, re.MULTILINE)
    found = {int(n) for n in re.findall(r"^wrong.py:(\d+): error", said, re.MULTILINE)}
    first = len(WRONG.splitlines()) + 1
    assert [m for i, m in enumerate(MISTAKES) if first + i not in found] == []
    assert min(found) == first


@pytest.mark.parametrize("package", [tg, nn, nn.data])
def test_every_public_name_is_exported_to_type_checkers(package):
    """A checker takes an imported name for private unless it stands in `__all__`."""
    public = {name for name in dir(package)  # some are loaded when they are asked for
              if not name.startswith("_") and not isinstance(getattr(package, name), types.ModuleType)}
    modules = {name for name in package.__all__ if isinstance(getattr(package, name), types.ModuleType)}
    assert public - set(package.__all__) == set(), "add to __all__"
    assert set(package.__all__) - modules - public == set(), "remove from __all__"
    assert len(package.__all__) == len(set(package.__all__))
