"""Draw a model: one forward pass in evaluation mode, with the names and kinds of its modules."""
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

import tinygrad_conv as tg

from .layers.module import Module, evaluating


def _used(t: tg.Tensor) -> list[tg.Tensor]:
    """The leaves behind a tensor."""
    return [x for entry in tg.tape(t) for x in entry.node.inputs if x.node is None]


def _gradients(model: Module, loss: tg.Tensor, after: ExitStack) -> list[tg.Tensor]:
    """The gradient of each parameter, recorded; `after` leaves every leaf's `.grad` as it was."""
    parameters = [*model.parameters()]
    for t in (*_used(loss), *parameters):
        if isinstance(t, tg.Tensor):
            after.callback(setattr, t, "grad", t.grad)
            t.grad = None
    seed = tg.full_like(loss, 1.0, requires_grad=True)  # so that all of the backward is recorded
    seed.name = "seed"
    loss.backward(seed, create_graph=True)
    seed.requires_grad = False
    return [p.grad for p in parameters if p.grad is not None]


def _results(y: Any, name: str = "") -> Iterator[tuple[str, tg.Tensor]]:
    """The tensors in what a model returned, by their keys or positions: "label", "output", "output 0"."""
    if isinstance(y, tg.Tensor):
        yield name or "output", y
    elif isinstance(y, Mapping):
        for key, part in y.items():
            yield from _results(part, f"{name} {key}".strip())
    elif isinstance(y, tuple | list):
        for i, part in enumerate(y):
            yield from _results(part, f"{name or 'output'} {i}")


# How an array that a loss uses may have come from one of its function's variables, the surest first: as it
# is, as class numbers (which became coefficients along axis 1), or with other values.
MOST = 6  # names of parameters in a line of the legend
FITS: tuple[Callable[[Any, np.ndarray], bool], ...] = (
    lambda x, v: isinstance(x, tg.Tensor) and np.array_equal(x.data, v),
    lambda x, v: v.dtype.kind in "iu" and (*x.shape[:1], *x.shape[2:]) == v.shape,
    lambda x, v: x.shape == v.shape)


def _variables(loss: Any) -> dict[str, np.ndarray]:
    """The arrays that a function sees by name: its closure's, module's, defaults, those in dictionaries."""
    held = {p.name: p.default for p in inspect.signature(loss).parameters.values()}
    function = getattr(loss, "__func__", loss)
    if inspect.isfunction(function):
        closure, module, *_ = inspect.getclosurevars(function)
        held = {**module, **closure, **held}
    for value in [*held.values()]:
        held |= {str(key): v for key, v in value.items()} if isinstance(value, dict) else {}
    return {name: v.data if isinstance(v, tg.Tensor) else v for name, v in held.items()
            if isinstance(v, tg.Tensor | np.ndarray) and v.ndim}


def _name_targets(loss: Any, outputs: Iterable[tg.Tensor], result: tg.Tensor, after: ExitStack) -> None:
    """Name the arrays that the loss alone uses as its function does; `after` takes the names away."""
    ours = {id(x) for y in outputs for x in _used(y)}
    targets = [x for x in _used(result) if id(x) not in ours and x.shape and not x.name]
    variables = _variables(loss) if targets else {}
    for x in targets:
        after.callback(setattr, x, "name", "")
    for fits in FITS:
        taken = {x.name for x in targets}  # what one way has found is nothing for the next
        left = {name: v for name, v in variables.items() if name not in taken}
        for x in targets:
            x.name = x.name or next((name for name, v in left.items() if fits(x, v)), "")


def _with_idle(drawing: tg.Drawing, model: Module, reached: set[int], derived: bool) -> tg.Drawing:
    """The drawing; its legend says which parameters of the model take no part in it."""
    idle = [name for name, p in model.named_parameters() if id(p) not in reached and (
        p.requires_grad or not derived)]
    if not idle:
        return drawing
    names = ", ".join(idle[:MOST]) + f" and {len(idle) - MOST} more" * (len(idle) > MOST)
    return drawing.remarked(f"{'no gradient reaches' if derived else 'not used'}: {names}")


def _as_inputs(error: Exception, model: Module, names: list[str]) -> None:
    """In the picture of a failure the model's inputs are inputs, though they were recorded as parameters."""
    drawn, own = vars(error).get("graph"), dict(model.named_parameters())
    if hasattr(drawn, "boxes"):
        error.graph = replace(drawn, boxes=tuple(
            replace(box, kind="input", scope=()) if box.kind == "parameter" and box.label in names
            and ".".join((*box.scope, box.label)) not in own else box for box in drawn.boxes))


def _check_loss(loss: Any) -> None:
    try:
        inspect.signature(loss).bind(None)
    except TypeError:
        raise TypeError(f"draw: loss must be a function of the output alone, got {loss!r}; write "
                        f"loss=lambda output: tg.cross_entropy(output, labels)") from None


def draw(model: Module, *inputs: Any, loss: Callable[[Any], tg.Tensor] | None = None,
         show: str | Iterable[str] = (), depth: int | None = None, unroll: bool = False,
         hide: Iterable[str] = ("constant",)) -> tg.Drawing:
    """Draw what a model computes; with `loss`, also the gradient of each of its parameters.

    The model runs once, in evaluation mode, and is left as it was: modes, running statistics,
    random state and `.grad`. To see what training does differently (dropout, batch
    statistics), use `tg.draw(loss)` on a real step.

    Args:
        model: any module; it may return tuples, lists or dictionaries of tensors, whose keys or positions
            name the outputs.
        inputs: what to call it with; tensors, arrays, or shapes such as (1, 1, 28, 28), for zeros.
        loss: a function of the output; then its gradient is drawn beside the forward pass, all of it
            from the seed on: the gradient 1 of the loss itself. Its targets go by its function's variables.
        show, depth, unroll, hide: as in `tg.draw`.

    Returns:
        a `tg.Drawing`; frames show each module's path and class.

    Raises:
        What the model raises, and what `tg.draw` does.

    Example:
        >>> import nn
        >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
        >>> nn.draw(net, tg.ones(2, 4), depth=0)
        leaf0     x          -> 2x4  (input)
        module:0  0  Linear  -> 2x3  15 parameters
        module:1  1  ReLU    -> 2x3
        output0   output     -> 2x3  (output)
    """
    tg.arguments.instance(model, Module, "nn.draw", "a module and its input",
                          "; use tg.draw for what was computed")
    if loss is not None:
        _check_loss(loss)
    given = [tg.zeros(x) if isinstance(x, tuple) and all(map(tg.arguments.is_whole, x)) else tg.tensor(x)
             for x in inputs]
    names = [p.name for p in inspect.signature(model.forward).parameters.values()
             if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    names += [f"x{i}" for i in range(len(names), len(given))]
    for x, name in zip(given, names):
        x.name = name
        x.requires_grad = loss is None and x.dtype.kind == "f"  # recorded, whatever is frozen
    with evaluating(model):
        try:
            y = model(*given)
        except Exception as e:
            _as_inputs(e, model, names)
            raise
        results = {id(t): (name, t) for name, t in _results(y)}
        if not results:
            raise TypeError(f"draw: {type(model).__name__} returned {type(y).__name__} and no tensor")
        result = loss(y) if loss is not None else None
    for x in given:
        x.requires_grad = False  # an input, not a parameter
    with ExitStack() as after:
        outputs = [t for _, t in results.values()]
        gradients = []
        if result is not None:
            _name_targets(loss, outputs, result, after)
            gradients = _gradients(model, result, after)
            calls = {entry.node for entry in tg.tape(result)}
            outputs = [result, *[t for t in outputs if t.node in calls and t is not result]]
        for name, t in (("loss", result), *results.values()):
            if t is not None and t.node is not None:
                t.name = t.name or name
        drawing = tg.draw(*outputs, *gradients, show=show, depth=depth, unroll=unroll, hide=hide)
        return _with_idle(drawing, model, {id(t) for t in drawing.whole.sources.values()} if result is None
                          else {id(p) for p in model.parameters() if p.grad is not None}, result is not None)
