"""Look a model over before training: a batch, its loss, its gradients, and a few steps, all on a copy.

`CHECKS` has everything about each check: what it is called, how grave a finding is, and the function that
looks. A false alarm is worse than a miss, so the thresholds are far from what healthy models show.
"""
import copy
import functools
import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import tinygrad_conv as tg

from .layers.module import Module, joined
from .optim import Adam, Optimizer
from .train.given import one_value

MOST = 4          # places named in a line of the report
FEW = 32          # examples of the batch that are overfitted
FALL = 0.2        # by which part of itself the loss of one batch has to fall
RATES = (3e-3, 0.6), (3e-2, 0.2), (0.3, 0.2)  # Adam's for that, each from the start: its part of all steps
TOO_HIGH = 2.0    # how many times ln C, and 1 more, a first loss may be
LARGE, SMALL = 5.0, 0.02   # of inputs: the standard deviation, half the mean; the largest of all
DEAD = 0.9        # the part of a ReLU's units that is 0 for all of the batch
ENOUGH = 16       # labels of which one at least should differ
STEP = 1e-7, 0.5  # of a weight's norm, what a step changes at least and at most: float32's rounding; half
MADE: dict[str, Callable[[tg.Tensor], tuple[tg.Tensor, ...]]] = {  # an op is known by what it makes
    "log_softmax": lambda x: (tg.log_softmax(x, 1),),
    "softplus": lambda x: (tg.softplus(x),),
    "relu": lambda x: (tg.relu(x),),
    "probabilities": lambda x: (tg.softmax(x, 1), tg.sigmoid(x)),
    "sigmoid": lambda x: (tg.sigmoid(x),),
    "conv2d": lambda x: (tg.conv2d(x, x),),
    "product": lambda x: (tg.conv2d(x, x), tg.linear(x, x[0, 0]), x @ x),
    "passing on": lambda x: (x.reshape(1, 4), x.permute(0, 1, 3, 2), -x, x[0]),
}

Said = Iterator[tuple[str, str, str]]  # the place, what is there, and what to do


class Finding(NamedTuple):
    """What a check found: the check, "error" or "warning", where, what, and what to do about it.

    `place` is a module's path or a parameter's name as in the drawing, "x", "target", "loss" or "optimizer".
    """

    check: str
    severity: str
    place: str
    text: str
    fix: str


class Diagnosis:
    """What `doctor` returns: true if nothing was found; prints as a report, shows as a table in a notebook.

    `findings` are in the order of the checks; `checks` are the names of those that were made.

    Example:
        >>> import nn
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, rng=np.random.default_rng(0)), nn.Softmax(1))
        >>> found = nn.doctor(net, nn.data.digits("train")[:64])
        >>> bool(found), [(finding.check, finding.place) for finding in found.findings]
        (False, [('softmax', '2')])
    """

    def __init__(self, findings: list[Finding], checks: list[str], result: Any) -> None:
        self.findings, self.checks = findings, checks
        self._result = result  # the loss of the copy, or the error in its place

    def __bool__(self) -> bool:
        return not self.findings

    def _rows(self) -> list[tuple[str, str, str]]:
        """Check, places, and text with fix; what is said of several places once."""
        said: dict[tuple[str, str, str, str], list[str]] = {}
        for check, severity, place, text, fix in self.findings:
            said.setdefault((check, severity, text, fix), []).append(place)
        return [(f"{severity}: {check}", ", ".join(places[:MOST]) + (
            f" and {len(places) - MOST} more" if len(places) > MOST else ""), f"{text}; {fix}")
            for (check, severity, text, fix), places in said.items()]

    def _passed(self) -> str:
        found = {finding.check for finding in self.findings}
        return f"nothing found: {', '.join(name for name in self.checks if name not in found) or '-'}"

    def __repr__(self) -> str:
        return "\n".join([*[f"{head}, at {places}: {text}" for head, places, text in self._rows()],
                          self._passed()])

    def _repr_html_(self) -> str:
        return tg.table_html([("check", "place", "finding"), *self._rows(), ("", "", self._passed())])

    def draw(self) -> tg.Drawing:
        """The drawing of the batch's loss, in training mode, with the places marked and what is there.

        What has no box in it, such as a parameter that no gradient reaches, is named in the legend.

        Raises:
            ValueError: if the loss depends on nothing that is to be trained: there is nothing to draw.
        """
        drawing = tg.draw(self._result)
        for head, place, text in self._rows():
            drawing = drawing.remarked(f"{head}, at {place}: {text}")
        texts: dict[str, list[str]] = {}
        for check, _, place, text, _ in self.findings:
            texts.setdefault(place, []).append(f"{check}: {text}")
        return drawing.marked("found", lambda box: [
            text for place in sorted(_places(box)) for text in texts.get(place, ())])


def _places(box: Any) -> set[str]:
    """The places that a box is: a parameter or an input by its name, the module of a call, the loss."""
    path = ".".join(filter(None, box.scope))
    return {path or "(root)"} if box.kind == "op" else {joined(path, box.label)}


@dataclass
class _Case:
    """A model, and what its copy, in training mode, made of the batch."""

    model: Module
    twin: Module
    optimizer: Optimizer | None  # of the model
    twin_optimizer: Any
    x: np.ndarray
    y: Any
    loss: Callable[..., tg.Tensor]
    steps: int
    value: tg.Tensor
    tape: list[Any]

    def named(self) -> dict[str, tg.Tensor]:
        """The copy's parameters that are to be trained."""
        return {name: p for name, p in self.twin.named_parameters() if p.requires_grad}


def _where(node: Any) -> str:
    return ".".join(node.scope) or "(root)"


@functools.cache
def _ops(kind: str) -> set[Any]:
    """The primitives of a row of MADE."""
    x = tg.ones(1, 1, 2, 2, requires_grad=True)
    return {tg.tape(y)[-1].node.primitive for y in MADE[kind](x)}


def _source(t: Any) -> Any:
    """The call that made a tensor, of those that compute; None for a leaf."""
    while t.node is not None and t.node.primitive in _ops("passing on"):
        t = t.node.inputs[0]
    return t.node


def _first_inputs(case: _Case) -> Iterator[tuple[Any, str, np.ndarray]]:
    """Op, place and values of what goes into the model's first products, as the model has prepared it."""
    for entry in case.tape:
        op, t = entry.node.primitive, entry.node.inputs[0]
        if op in _ops("product") and _source(t) is None and isinstance(t, tg.Tensor) and not t.requires_grad:
            yield op, _where(entry.node), t.detach().numpy()


# ----- the checks -----

def _is_last(shape: tuple[int, ...]) -> bool:
    """Whether images of that shape have their channels last."""
    return len(shape) == 4 and shape[3] in (1, 3) and min(shape[1:3]) > 3


def _layout(case: _Case) -> Said:
    for op, _, values in _first_inputs(case):
        if op in _ops("conv2d") and _is_last(values.shape):
            yield from _said_of_layout(values.shape)


def _said_of_layout(shape: tuple[int, ...]) -> Said:
    yield ("x", f"images of shape {shape} have their channels last (NHWC)",
           "convolutions want (N, C, H, W): x.transpose(0, 3, 1, 2)")


def _scale(case: _Case) -> Said:
    for _, place, x in _first_inputs(case):
        if not x.size or not np.isfinite(x).all():
            continue
        mean, std, most = float(x.mean(dtype=float)), float(x.std(dtype=float)), float(np.abs(x).max())
        if std > LARGE or abs(mean) > 2 * LARGE or most < SMALL:
            yield (place, f"its input has mean {mean:.3g} and standard deviation {std:.3g}",
                   "bring it near 0 and 1: (x - mean) / std, of the training set; of bytes, x / 255 first")


def _labels(case: _Case) -> Said:
    y = np.asarray(case.y.detach().numpy() if isinstance(case.y, tg.Tensor) else case.y)
    if y.dtype.kind in "iufb" and y.ndim and len(y) >= ENOUGH and (y == y[:1]).all():
        yield ("target", f"all {len(y)} labels are the same",
               "shuffle the data (DataLoader(..., shuffle=True)), or look where the labels come from")


def _modes(case: _Case) -> Said:
    trains = {path: m for path, m in case.twin.named_modules() if m.training}  # those that train() reaches
    for path, m in case.model.named_modules():
        random = any(isinstance(value, np.random.Generator) for value in vars(m).values())
        own = [p for p in m._of_kind("parameter").values() if p is not None]
        frozen = own and not any(p.requires_grad for p in own)
        if not m.training and path in trains and not frozen and (random or m._of_kind("buffer")):
            yield (path or "(root)", "it is in evaluation mode, where batch norm and dropout do not train",
                   "call model.train() before training")


def _stale(case: _Case) -> Said:
    new = dict(case.twin.named_parameters())
    for name, p in case.model.named_parameters():
        if p.grad is not None:
            old, g = np.asarray(p.grad.detach().numpy()), new[name].grad
            if g is None or not np.allclose(old, g.detach().numpy(), 1e-3, 1e-3 * float(np.abs(old).max())):
                yield (name, "it has a gradient that is not of this batch, to which backward() adds",
                       "call optimizer.zero_grad() before each backward()")


def _reached(case: _Case) -> Said:
    if not case.value.requires_grad:
        yield ("loss", "it depends on no parameter that is to be trained",
               "look for numpy(), detach(), no_grad() in forward and loss, and for requires_grad=False")
        return
    for name, p in case.named().items():
        if p.grad is None:
            yield (name, "no gradient reaches it",
                   "use it in forward, without numpy() or detach() after it, or freeze it: "
                   "p.requires_grad = False")


def _outside(case: _Case) -> Said:
    if case.optimizer is not None:
        known = {id(p) for p in case.optimizer.parameters()}
        for name, p in case.model.named_parameters():
            if p.requires_grad and id(p) not in known:
                yield (name, "the optimizer does not have it",
                       "make the optimizer of model.parameters(), after the model is complete, or freeze "
                       "it: p.requires_grad = False")


def _softmax(case: _Case) -> Said:
    for entry in case.tape:
        for takes_logits, wrong in (("log_softmax", "probabilities"), ("softplus", "sigmoid")):
            source = _source(entry.node.inputs[0]) if entry.node.primitive in _ops(takes_logits) else None
            if source is not None and source.primitive in _ops(wrong):
                yield (_where(source), f"its {source.primitive.name} goes into a loss that takes logits",
                       "leave it out of the model in training: the loss has one of its own")


def _first_loss(case: _Case) -> Said:
    value = case.value.item()
    chance = sum(math.log(e.output.shape[e.node.params["axis"]]) for e in case.tape
                 if e.node.primitive in _ops("log_softmax"))
    if not math.isfinite(value):
        yield ("loss", f"it is {value} before the first step",
               "look for it in the inputs; tg.draw(loss, show='nan') shows where it begins")
    elif chance and value > TOO_HIGH * chance + 1:
        yield ("loss", f"it is {value:.3g} before the first step, that of guessing, ln C, is {chance:.3g}",
               "make the last layer's weights smaller, scale the inputs, take the mean over the batch")


def _relus(case: _Case) -> Said:
    for entry in case.tape:
        y = entry.output
        if entry.node.primitive in _ops("relu") and isinstance(y, tg.Tensor) and y.ndim > 1 and y.size:
            alive = (y.detach().numpy() > 0).any(axis=(0, *range(2, y.ndim)))
            if 1 - alive.mean() >= DEAD:
                yield (_where(entry.node), f"{int((~alive).sum())} of its {alive.size} units are 0 for all "
                       f"of the batch: no gradient passes", "look at bias, scale and initial values of the "
                       "layer before it (nn.init.kaiming_normal_), or use nn.LeakyReLU")


def _overfits(case: _Case) -> Said:
    if not case.value.requires_grad or not math.isfinite(case.value.item()):
        return  # said already
    x, y = case.x, case.y
    if isinstance(y, np.ndarray | tg.Tensor) and y.ndim and len(y) == len(x):
        x, y = x[:FEW], y[:FEW]
    lowest = []
    for rate, part in RATES:
        first, best = _overfitted(case, x, y, rate, math.ceil(part * case.steps))
        if best <= first - FALL * abs(first):
            return
        lowest.append(best)
    yield ("loss", f"of {len(x)} examples, over and over, it only goes from {first:.3g} to "
           f"{min(lowest):.3g} in {case.steps} steps of Adam", "see the other findings; else the labels do "
           "not go with the inputs, or the loss with the output")


def _overfitted(case: _Case, x: Any, y: Any, rate: float, steps: int) -> tuple[float, float]:
    """The first and the lowest loss of some examples, over and over."""
    net = copy.deepcopy(case.model).train()
    optimizer = Adam([p for p in net.parameters() if p.requires_grad], lr=rate)
    losses: list[float] = []
    for _ in range(steps):
        value = case.loss(net(tg.tensor(x)), y)
        losses.append(value.item())
        if losses[-1] <= losses[0] - FALL * abs(losses[0]):
            break
        optimizer.zero_grad()
        _backward(value, net)
        optimizer.step()
    return losses[0], min(losses)


def _updates(case: _Case) -> Said:
    if case.optimizer is None or not case.value.requires_grad:
        return
    old = {name: p.detach().numpy().copy() for name, p in case.named().items() if p.ndim > 1}
    case.twin_optimizer.step()
    ratios = {name: float(np.linalg.norm(p.detach().numpy() - old[name]) / np.linalg.norm(old[name]))
              for name, p in case.named().items() if name in old and p.grad is not None and old[name].any()}
    if ratios and max(ratios.values()) < STEP[0]:
        yield ("optimizer", f"a step changes no weight by more than {max(ratios.values()):.2g} of itself",
               "raise the learning rate; 1e-3 is usual")
    large = {name: ratio for name, ratio in ratios.items() if not ratio < STEP[1]}
    first = after = case.value.item()
    if large:
        after = _loss(case.loss, case.twin, case.x, case.y).item()
    if not after <= first + abs(first):
        for name, ratio in large.items():
            yield (name, f"a step changes it by {ratio:.2g} of itself, and the loss goes from {first:.3g} to "
                   f"{after:.3g}", "lower the learning rate; 1e-3 is usual")


CHECKS: dict[str, tuple[str, Callable[[_Case], Said]]] = {
    "layout": ("error", _layout),
    "scale": ("warning", _scale),
    "labels": ("warning", _labels),
    "eval": ("error", _modes),
    "zero_grad": ("warning", _stale),
    "gradient": ("error", _reached),
    "optimizer": ("error", _outside),
    "softmax": ("error", _softmax),
    "loss": ("warning", _first_loss),
    "relu": ("warning", _relus),
    "overfit": ("error", _overfits),
    "update": ("warning", _updates),  # last: its step changes the copy
}


def _loss(loss: Callable[..., tg.Tensor], model: Module, x: np.ndarray, y: Any) -> tg.Tensor:
    """The loss of the batch, named for the drawing."""
    given = tg.tensor(x)
    given.name = "x"
    value = one_value("doctor", loss(model(given), y))
    value.name = "loss"
    return value


def _backward(value: tg.Tensor, net: Module) -> None:
    """Gradients for the parameters of a copy; not for what else a loss may use, such as the model itself."""
    own = {id(p) for p in net.parameters()}
    others = [t for entry in tg.tape(value) for t in entry.node.inputs
              if t.node is None and t.requires_grad and id(t) not in own]
    kept = [t.grad for t in others]
    try:
        value.backward(retain_graph=True)
    finally:
        for t, g in zip(others, kept):
            t.grad = g


def _refused(model: Module, loss: Callable[..., tg.Tensor], x: np.ndarray, y: Any) -> list[Finding]:
    """Why a model does not take images, if it takes them otherwise: the least that has to be changed."""
    turned, floating = _is_last(x.shape), x.dtype.kind in "iu" and x.ndim > 2
    for turns, floats in ((True, False), (False, True), (True, True)):
        if turns <= turned and floats <= floating:
            tried = x.transpose(0, 3, 1, 2) if turns else x
            with suppress(Exception):
                _loss(loss, copy.deepcopy(model).train(), tried.astype(np.float32) if floats else tried, y)
                said = [*[("layout", *row) for row in _said_of_layout(x.shape) if turns],
                        *[("scale", "x", f"images are {x.dtype}",
                           "x.astype(np.float32) / 255, then (x - mean) / std")] * floats]
                return [Finding(check, "error", *rest) for check, *rest in said]
    return []


def doctor(model: Module, batch: Any, loss: Callable[..., tg.Tensor] = tg.cross_entropy,
           optimizer: Optimizer | None = None, *, steps: int = 100) -> Diagnosis:
    """Look for what would spoil the training: in seconds, before it begins.

    Everything is done on copies: weights, modes, statistics, generators, gradients and the optimizer stay as
    they are. The same call gives the same findings, if the model's random numbers are its own
    (`Dropout(rng=...)`). What each check finds:

    - layout: images (N, H, W, 1 or 3) that go into a 2-d convolution.
    - scale: what goes into the first layers, as the model has prepared it, has a standard deviation above 5,
      a mean beyond 10, or no entry above 0.02. Pixels from 0 to 1 and standardised numbers are far inside,
      bytes and pixels that were divided by 255 twice outside.
    - labels: 16 or more that are all the same.
    - eval: a module with statistics or random numbers in evaluation mode that `model.train()` would change;
      one whose parameters are frozen may stay in it.
    - zero_grad: a gradient that is there already and not that of this batch.
    - gradient: a parameter that is to be trained and that the loss does not depend on. One whose gradient
      is 0 is none: some are at the start, by design.
    - optimizer: a parameter that is to be trained, outside of it.
    - softmax: probabilities where the loss wants logits.
    - loss: not finite, or above 2 ln C + 1 for C classes; guessing has ln C. A trained model is below.
    - relu: 90% of the units 0 for all of the batch; half of them is usual in deep nets at the start.
    - overfit: 32 examples of the batch, whose loss falls by less than a fifth in `steps` steps of Adam,
      of which 60% are at 0.003, and 20% each, from the start again, at 0.03 and 0.3. A model that has
      learned them before is such a case, too.
    - update: a step of the optimizer that changes a weight by more than half of its norm, and doubles the
      loss (before a batch norm a weight may change a lot); or none by more than 1e-7, float32's rounding.
      1e-3 is usual.

    Args:
        model: called with a tensor of the batch's inputs.
        batch: (x, y), arrays or tensors, as `next(iter(loader))` gives it.
        loss: `loss(output, y)`, a tensor with one value, the mean of the batch.
        optimizer: over the model's parameters; without it two checks find nothing.
        steps: at most, for overfitting, which takes nearly all of the time.

    Raises:
        TypeError, ValueError: if the arguments are not those. RuntimeError: inside `tg.no_grad()`.
        What model and loss raise, unless they take images with the channels first or as floats.

    Example:
        >>> import nn
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, rng=np.random.default_rng(0)))
        >>> nn.doctor(net, nn.data.digits("train")[:64])  # doctest: +ELLIPSIS
        nothing found: layout, scale, labels, eval, zero_grad, gradient, optimizer, softmax, ...
    """
    tg.arguments.instance(model, Module, "doctor", "a module first")
    tg.arguments.instance(loss, Callable, "doctor", "a function, the loss, third")
    tg.arguments.instance(optimizer, Optimizer | None, "doctor", "optimizer=nn.SGD(model.parameters(), ...)")
    steps = tg.arguments.whole(steps, "doctor", "steps", 1)
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        raise TypeError(f"doctor: expects a batch (x, y), got {type(batch).__name__}; pass "
                        f"next(iter(loader))")
    if not tg.is_recording():
        raise RuntimeError("doctor: nothing is recorded inside no_grad(), and gradients are looked at; call "
                           "it outside")
    x, y = batch
    x = np.asarray(x.detach().numpy() if isinstance(x, tg.Tensor) else x)
    with tg.state_kept():
        twin, twin_optimizer = copy.deepcopy((model, optimizer))
        twin.train().zero_grad()
        try:
            value = _loss(loss, twin, x, y)
        except Exception as e:
            if not (findings := _refused(model, loss, x, y)):
                raise
            return Diagnosis(findings, ["layout", "scale"], e)
        tape = [*tg.tape(value)]
        if value.requires_grad:
            _backward(value, twin)
        case = _Case(model, twin, optimizer, twin_optimizer, x, y, loss, steps, value, tape)
        findings = [Finding(check, severity, *said) for check, (severity, look) in CHECKS.items()
                    for said in dict.fromkeys(look(case))]
    return Diagnosis(findings, [*CHECKS], value)
