"""Memory for time: values that are dropped, and computed again when a derivative asks for them.

What runs again is not the function but the calls that it recorded. So random numbers are those of the first
time, running statistics are updated once, and nothing that the function does besides happens twice.
"""
import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .arguments import instance
from .autodiff import vjp
from .core import Fixed
from .primitive import Node, primitive
from .hooks import key_of
from .pullback import check_usable
from .state import is_recording, recording, tick
from .tape import reach, revive
from .tensor import Tensor, share
from .trees import leaves, rebuilt

EMPTY = share(np.empty(0), Fixed())  # in the place of a tensor whose values are not kept


class Calls:
    """Recorded calls without their values: a function of what came from outside."""

    def __init__(self, nodes: Sequence[Node], inputs: dict[Any, Tensor], outputs: dict[Any, Tensor]) -> None:
        self.inputs, self.outputs, self.steps = [*inputs], [*outputs], []
        self.moving = [i for i, t in enumerate(inputs.values()) if t.requires_grad]  # the rest are constants
        self.values: Any = [t._data for t in outputs.values()]  # until the tape has taken them
        needed = {*outputs}
        for node in reversed(nodes):
            keys = [key_of(t) for t in node.inputs]
            last = {*keys} - needed  # what no later call uses
            needed |= last
            hooks = {key: [*found.values()] for key, found in (getattr(node, "hooks", None) or {}).items()}
            self.steps.append((node.primitive, keys, node.params, node.order, last, hooks))
        self.steps.reverse()

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        made: dict[Any, Any] = dict(zip(self.inputs, inputs))
        for op, keys, params, number, last, hooks in self.steps:
            params = {name: copy.deepcopy(value) if isinstance(value, np.random.Generator) else value
                      for name, value in params.items()}
            result = op(*[made[key] for key in keys], **params)
            made.update({(number, i): t for i, t in enumerate(result)} if isinstance(result, tuple)
                        else {number: result})
            for key, functions in hooks.items():
                for hook in functions if made[key].requires_grad else ():
                    made[key].register_hook(hook)
            for key in last:
                del made[key]
        return tuple([made[key] for key in self.outputs])

    def __repr__(self) -> str:
        return f"<{len(self.steps)} calls>"


@primitive
def _checkpoint(*inputs, calls):
    values, calls.values = calls.values, None
    if values is None:
        with recording(False):
            values = [t._data for t in calls(*map(share, inputs))]
    return values.pop() if len(values) == 1 else tuple(values)


def _checkpoint_vjp(g: Any, ans: Any, *inputs: Tensor, calls: Calls) -> Any:
    inputs = inputs if is_recording() else tuple([t.detach() for t in inputs])

    def function(*values: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(calls.moving, values))
        return calls(*[given.get(i, t) for i, t in enumerate(inputs)])

    _, pullback = vjp(function, *[inputs[i] for i in calls.moving])
    found = dict(zip(calls.moving, pullback(*(g if isinstance(g, tuple) else (g,)))))
    return tuple([found.get(i) for i in range(len(inputs))])


_checkpoint.defvjp_joint(_checkpoint_vjp)
_checkpoint.deflabel(lambda *inputs, calls: f"{len(calls.steps)} calls")


def _from_outside(nodes: Sequence[Node], start: int, given: dict[Any, Tensor]) -> dict[Any, Any]:
    """By key, what was there before; None where a call has not kept it, unless it is among the `given`."""
    found: dict[Any, Any] = {}
    for t in (t for node in nodes for t in node.inputs):
        if t.node is None or t.node.order < start:
            key = key_of(t)
            found[key] = given[key] if key in given else t if isinstance(t, Tensor) else found.get(key)
    return found


def checkpoint(f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`f(*args, **kwargs)`, of which the tape keeps only what comes in from outside, not what f computes.

    A derivative computes it again: the memory of a long network falls to that of its longest checkpointed
    part and the results of the others, for one more forward pass. What runs again are the calls that f has
    recorded, not f: dropout keeps its mask (and the memory of it), batch norm counts the batch once.
    Derivatives of every order are those without it.

    Args:
        f: a function or a module; it may use parameters and other tensors that are not its arguments.
        args, kwargs: its arguments.

    Returns:
        what f returns; tensors also in tuples, lists and dictionaries.

    Raises:
        RuntimeError: in the derivative, if a tensor that f used has been changed in place since.

    Example:
        >>> import tinygrad_conv as tg
        >>> x = tg.tensor([1.0, 2.0], requires_grad=True)
        >>> tg.checkpoint(lambda t: tg.exp(t) * t, x).sum().backward()
        >>> bool(np.allclose(x.grad.data, np.exp(x.data) * (1 + x.data)))
        True

    Source: Chen et al. 2016; called as torch.utils.checkpoint.checkpoint.
    """
    instance(f, Callable, "checkpoint", "a function")
    start, y = tick(), f(*args, **kwargs)
    found = leaves(y)
    outputs = {key_of(t): t for t in found
               if isinstance(t, Tensor) and t.node is not None and t.node.order > start}
    if not outputs:
        return y
    reached = reach(outputs.values())
    nodes = [reached[number][0].node for number in sorted(reached) if number > start]
    for node in nodes:
        check_usable(node)
    given = {key_of(t): t for t in leaves((args, kwargs)) if isinstance(t, Tensor) and t.requires_grad}
    outside = _from_outside(nodes, start, given)
    if any(t is None for t in outside.values()):
        revive(outputs.values())
        outside = _from_outside(nodes, start, given)
    calls = Calls(nodes, outside, outputs)
    keys = [key_of(t) if isinstance(t, Tensor) else None for t in found]
    rest = [EMPTY if key in outputs else t for key, t in zip(keys, found)]
    y = rebuilt(y, [EMPTY] * len(found))
    del found, outputs, reached, nodes, args, kwargs, given, node  # what is left is the tape's alone
    made = _checkpoint(*outside.values(), calls=calls)
    by_key = dict(zip(calls.outputs, made if isinstance(made, tuple) else (made,)))
    return rebuilt(y, [by_key.get(key, t) for key, t in zip(keys, rest)])
