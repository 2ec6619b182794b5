"""What PyTorch's names and keywords are called here: advice for the error of a missing one.

`tg` has NumPy's names and argument order, tensors have PyTorch's, and most things have only one name (but
there are concat and concatenate, clip and clamp, view and reshape, to and astype); a ported program meets
this file where it uses another. Public as `tg.advice`: nn has a table of its own.
"""
import functools
import importlib
import inspect
import re
import sys
import types
from collections.abc import Callable, Container, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, ParamSpec, TypeVar

DEVICE = "there are no devices, leave it out"
SEEDED = "there is no hidden state: rng = np.random.default_rng(seed), given as rng= to what draws numbers"
RECORDED = "tg.grad, tg.vjp, tg.jvp, tg.jacobian, ... of a function; tg.detect_anomaly"

FUNCTIONS = {  # what is missing in tg
    "cat": "tg.concat(tensors, axis)",
    "unsqueeze": "tg.expand_dims(t, axis), or t.unsqueeze(dim)",
    "permute": "tg.transpose(t, axes), or t.permute(*dims)",
    "clamp": "tg.clip(t, min, max)",
    "mm": "a @ b", "bmm": "a @ b", "addmm": "a @ b + c",
    "square": "t * t", "rsqrt": "1 / tg.sqrt(t)", "reciprocal": "1 / t",
    "chunk": "t.split(size, dim), size = -(-n // chunks)", "unbind": "list(t)",
    "as_tensor": "tg.tensor, which copies, or tg.from_numpy, which shares", "empty": "tg.zeros",
    "randn_like": "tg.randn(*t.shape, rng=rng)", "rand_like": "tg.rand(*t.shape, rng=rng)",
    "numel": "t.size", "is_tensor": "isinstance(t, tg.Tensor)", "allclose": "np.allclose(a, b)",
    "normalize": "t / t.norm(dim=1, keepdim=True)", "repeat_interleave": "tg.repeat(t, repeats, axis)",
    "embedding": "weight[indices]",
    "manual_seed": SEEDED, "Generator": SEEDED, "device": DEVICE, "cuda": DEVICE,
    "autograd": RECORDED + "; for a Function of your own, tg.primitive",
    "func": RECORDED, "enable_grad": "the end of the block of tg.no_grad()",
    "vmap": "a batch axis; nn.per_example_grads for gradients by example", "jacrev": "tg.jacobian(f)",
    "jacfwd": "tg.jacobian(f, mode='forward')", "set_detect_anomaly": "with tg.detect_anomaly():",
    **{name: f"tg.{here}" for name, here in (
        ("arcsin", "asin"), ("arccos", "acos"), ("arctan", "atan"), ("arcsinh", "asinh"),
        ("arccosh", "acosh"), ("arctanh", "atanh"), ("arctan2", "atan2"), ("fix", "trunc"))},
    "fmod": "x - y * tg.trunc(x / y)", "frac": "x - tg.trunc(x)",
    **{name: f"import nn: nn.{name}" for name in ("functional_call", "per_example_grads", "capture", "onnx")},
    "inference_mode": "tg.no_grad()", "set_grad_enabled": "tg.no_grad()",
    **dict.fromkeys(("make_dot", "visualize", "draw_graph", "plot"), "tg.draw(y), or nn.draw(model, x)"),
    "nn": "import nn", "optim": "import nn: nn.SGD, nn.Adam", "utils": "import nn: nn.data; tg.checkpoint",
    "save": "nn.save(model, path)", "load": "model.load_state_dict(nn.load(path))",
    "long": "np.int64", "float": "np.float32", "double": "np.float64", "bool": "np.bool",
    "float16": "np.float16", "float32": "np.float32", "float64": "np.float64", "int64": "np.int64",
    "int32": "np.int32", "uint8": "np.uint8",
}
IN_PLACE = "a leaf is changed with t.mutate()[...] = values; an op's result is not changed, name a new one"
DATA = {  # what is missing on t.data, which is NumPy's
    **{name: f"nn.init.{name}(t, ..., rng=rng), of the tensor itself" for name in ("normal_", "uniform_")},
    "zero_": "nn.init.zeros_(t)", "fill_": "nn.init.constant_(t, value)",
    "clamp_": "t.mutate()[...] = t.data.clip(min, max)", "copy_": "t.data = values",
    "mul_": "t.mutate()[...] *= x", "add_": "t.mutate()[...] += x", "sub_": "t.mutate()[...] -= x",
    "clone": "t.data.copy()", "numpy": "t.data is a NumPy array", "cpu": DEVICE, "detach": "t.detach()",
}
METHODS = {  # what is missing on tensors
    "dim": "t.ndim", "t": "t.T", "mT": "t.transpose(-1, -2)", "nelement": "t.size",
    "cpu": DEVICE, "cuda": DEVICE, "device": DEVICE, "contiguous": "t itself, any memory order will do",
    "long": "t.astype(np.int64)", "int": "t.astype(np.int32)", "bool": "t.astype(bool)",
    "half": "t.astype(np.float16)", "type": "t.astype(dtype)", "type_as": "t.astype(other.dtype)",
    "view_as": "t.reshape(other.shape)", "reshape_as": "t.reshape(other.shape)",
    "expand_as": "t.expand(other.shape)",
    "eq": "t == other", "ne": "t != other", "gt": "t > other", "ge": "t >= other", "lt": "t < other",
    "le": "t <= other", "mm": "t @ other", "bmm": "t @ other", "dot": "t @ other",
    "square": "t * t", "rsqrt": "1 / t.sqrt()", "reciprocal": "1 / t",
    "chunk": "t.split(size, dim), size = -(-n // chunks)", "unbind": "list(t)",
    "repeat_interleave": "tg.repeat(t, repeats, axis)", "tile": "t.repeat(*times)",
    "movedim": "tg.moveaxis(t, source, destination)", "diag": "tg.diag(t)",
    "diff": "t[1:] - t[:-1], or np.diff(t)",
    **{name: f"tg.{name}(t)" for name in ("asin", "acos", "sinh", "cosh", "asinh", "acosh", "atanh", "log10",
                                          "exp2", "trunc", "log1p", "expm1", "erf")},
    "index_select": "t[indices], or t[:, indices] along 1", "select": "t[index], or t[:, index] along 1",
    "unfold": "shifted views, t[:, :, i:i + n], or tg.unfold(t, kernel) for the patches of images",
    "narrow": "t[start:start + length], or t[:, start:start + length] along 1",
    "new_zeros": "tg.zeros(shape, dtype=t.dtype)", "new_ones": "tg.ones(shape, dtype=t.dtype)",
    "grad_fn": "t.node, or tg.tape(t)", "retain_grad": "t.register_hook(seen.append), seen = []",
    "zero_": "t.grad = None forgets a gradient; " + IN_PLACE,
}
HERE = "workers are threads of this process, which end with the epoch"
KEYWORDS = {  # what a call has no argument for: values that mean nothing here (accepted), and what to write
    "device": ("None cpu", DEVICE), "map_location": ("None cpu", DEVICE),
    "layout": ("None torch.strided", "all arrays are dense"),
    "memory_format": ("torch.preserve_format torch.contiguous_format", "any memory order will do"),
    "pin_memory": ("False", "there is no other memory to copy to"), "non_blocking": ("True False", DEVICE),
    "persistent_workers": ("False", HERE), "prefetch_factor": ("None", HERE),
    "worker_init_fn": ("None", HERE), "multiprocessing_context": ("None", HERE), "timeout": ("0", HERE),
    "batch_sampler": ("None", "sampler= gives the order of an epoch, batch_size= cuts it"),
    "generator": ("None", "rng=np.random.default_rng(seed)"),
    "foreach": ("None True False", ""), "fused": ("None True False", ""), "capturable": ("False", DEVICE),
    "differentiable": ("False", "write the step as p = p - lr * g, of tg.grad(f)"),
    "set_to_none": ("True", "a gradient that is forgotten is None, which counts as zero"),
    "last_epoch": ("-1", "schedule.load_state_dict(state) goes on from any step"),
    "verbose": ("False", "schedule.get_last_lr() tells the rate"),
    "inplace": ("False", "nothing is computed in place, write x = f(x)"),
    "size_average": ("None", "reduction='mean' or 'sum'"),
    "reduce": ("None", "reduction='none', or 'mean' and 'sum'"),
    "weights_only": ("True", "reading a file never runs code"),
    "assign": ("False", "values are copied into the parameters there are"),
    "where": ("True", "choose first, as in tg.sum(tg.where(mask, x, 0.0))"),  # NumPy's from here on
    "initial": ("", "one more entry, as in tg.maximum(tg.max(x), initial)"),
    "dtype": ("None", "x.astype(dtype), of the argument or of the result"),
    "casting": ("same_kind", "x.astype(dtype)"), "like": ("None", "the result is a tensor"),
    "order": ("C K", "any memory order will do; the order of the entries is that of tg.transpose(x)"),
    "copy": ("None True False", ""), "subok": ("True False", ""), "mean": ("", "it is computed here"),
    "optimize": ("True False greedy optimal", "the order of the products is chosen here"),
    "shape": ("None", "by position, as in tg.zeros(2, 3)"), "axes": ("", "tg.transpose(x, axes), before"),
    "kind": ("None quicksort mergesort heapsort stable", "it is stable"), "stable": ("None True False", ""),
    "prepend": ("", "tg.concat([first, x], axis), before"),
    "append": ("", "tg.concat([x, last], axis), before"),
    "retstep": ("False", "it is (stop - start) / (num - 1)"), "reflect_type": ("even", ""),
    "end_values": ("0", "mode='constant' with constant_values="),
    "stat_length": ("None", "tg.concat of what it is padded with"),
    "out": ("None", "the result is returned"), "unbiased": ("", "correction=1 if it is True, else 0"),
    "learning_rate": ("", "lr="), "epoch": ("", "epochs="), "pad": ("", "padding="),
    "input": ("", "by position, first"), "other": ("", "by position, second"),
    "tensors": ("", "by position, first"),
}
RENAMED = {  # what methods of tensors, PyTorch and NumPy call arguments that there are
    "dim": "axis", "dims": "axes", "keepdim": "keepdims", "a": "x t", "array": "x", "ary": "x", "arr": "x",
    "m": "x", "A": "x", "tup": "arrays", "b": "y", "x1": "x", "x2": "y", "a_min": "min", "a_max": "max",
    "ddof": "correction", "N": "n", "M": "m", "value": "fill_value",
}

P = ParamSpec("P")
T = TypeVar("T")


def keyword(e: BaseException) -> str:
    """The keyword that a TypeError of Python says there is no argument for, or ""."""
    found = re.search(r"unexpected keyword argument '(\w+)'", str(e))
    return found[1] if found else ""


def here(keyword: str, known: Container[str]) -> str:
    """What an argument is called here, of a function with the arguments `known`."""
    return next((name for name in RENAMED.get(keyword, "").split() if name in known), keyword)


def instead(keyword: str, value: Any, known: Container[str]) -> str | None:
    """What to write instead of a keyword that a function lacks; None if the value means nothing here.

    Example:
        >>> instead("ddof", 1, ["x", "correction"]), instead("device", "cpu", ["x"])
        ('; instead: correction=', None)
    """
    accepted, advice = KEYWORDS.get(keyword, ("", ""))
    if (name := here(keyword, known)) != keyword:
        advice = f"{name}="
    if not advice and isinstance(known, Iterable):
        advice = " or ".join(f"{name}=" for name in get_close_matches(keyword, list(known), 1))
    return None if str(value) in accepted.split() else f"; instead: {advice}" * bool(advice)


def advised(f: Callable[P, T]) -> Callable[P, T]:
    """`f`, whose error about a keyword that it lacks says what to write here.

    A keyword that means nothing here is accepted with its usual value. A call that is right costs a tenth of
    a microsecond more.

    Example:
        >>> advised(lambda x: x)(3, device="cpu")
        3
    """
    @functools.wraps(f)
    def call(*args: P.args, **named: P.kwargs) -> T:
        try:
            return f(*args, **named)
        except TypeError as e:
            if e.__traceback__.tb_next is not None:  # type: ignore[union-attr]  # raised inside f
                raise
            name = type(args[0]).__name__ if f.__name__ == "__init__" else f.__qualname__
            unknown, text = keyword(e), str(e).replace(f.__qualname__, name, 1)
        advice = instead(unknown, named.get(unknown), inspect.signature(f).parameters)
        if unknown in named and advice is None:
            del named[unknown]
            return call(*args, **named)
        raise TypeError(text + (advice or ""))
    return call


def missing(owner: str, name: str, advice: Mapping[str, str], elsewhere: Container[str] = (),
            there: str = "") -> str:
    """The text of an AttributeError, with what to write here if that is known.

    Args:
        owner: what lacks the name.
        advice: what to write, by name.
        elsewhere: names that another object has; `there` is how to write such a one.

    Example:
        >>> missing("Tensor", "erf", {}, ["erf"], "tg.{}(t)")
        "Tensor has no attribute 'erf'; instead: tg.erf(t)"
    """
    fits = advice.get(name, there.format(name) if name in elsewhere else "")
    return f"{owner} has no attribute {name!r}" + f"; instead: {fits}" * bool(fits)


class Package(types.ModuleType):
    """A package some of whose names are loaded when first used; for those it lacks there is advice."""

    def __getattr__(self, name: str) -> Any:
        modules, *advice = vars(self)["_late"]
        if name not in modules:
            raise AttributeError(missing(self.__name__, name, *advice), name=name, obj=self)
        module = importlib.import_module(f".{modules[name] or name}", self.__name__)
        vars(self)[name] = getattr(module, name) if modules[name] else module
        _advise(self, name)
        return vars(self)[name]

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *vars(self)["_late"][0]})

    def __setattr__(self, name: str, value: Any) -> None:
        """Loading the file `draw` would put the module in the place of the function."""
        if not (isinstance(value, types.ModuleType) and vars(self)["_late"][0].get(name)):
            super().__setattr__(name, value)


def late(package: str, modules: Mapping[str, str], advice: Mapping[str, str], elsewhere: Container[str] = (),
         there: str = "") -> None:
    """Make a package a `Package`, and its functions and classes `advised`.

    Args:
        package: its name.
        modules: by name, the module inside the package that has it; "" if the name is a module itself.
        advice, elsewhere, there: as for `missing`.
    """
    module = sys.modules[package]
    vars(module)["_late"] = modules, advice, elsewhere, there
    module.__class__ = Package
    for name in [name for name in vars(module) if not name.startswith("_")]:
        _advise(module, name)


def _advise(package: types.ModuleType, name: str) -> None:
    """Make a function that the package has from one of its modules `advised`, or the making of a class."""
    value, home = vars(package)[name], package.__name__
    if isinstance(value, types.FunctionType) and value.__module__.startswith(f"{home}."):
        vars(package)[name] = advised(value)
        vars(package)[name].__module__ = home  # where pickle finds it
    elif isinstance(value, type):
        for kind in value.__mro__:
            init = vars(kind).get("__init__")
            if isinstance(init, types.FunctionType) and kind.__module__.startswith(f"{home}.") and (
                    init.__code__ is not ADVISED):
                kind.__init__ = advised(init)  # type: ignore[misc]


ADVISED = advised(missing).__code__
