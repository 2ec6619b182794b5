"""What PyTorch's names are called here: advice for the AttributeError of a missing name.

`tg` has NumPy's names and argument order, tensors have PyTorch's, and most things have only one name (but
there are concat and concatenate, clip and clamp, view and reshape, to and astype); a ported program meets
this file where it uses another. Public as `tg.advice`: nn has a table of its own.
"""
import importlib
import sys
import types
from collections.abc import Container, Mapping
from typing import Any

DEVICE = "there are no devices, leave it out"
SEEDED = "there is no hidden state: rng = np.random.default_rng(seed), given as rng= to what draws numbers"
RECORDED = "tg.grad(f) or tg.vjp(f, x), of a function of the tensor in question"

FUNCTIONS = {  # what is missing in tg
    "cat": "tg.concat(tensors, axis)",
    "unsqueeze": "tg.expand_dims(t, axis), or t.unsqueeze(dim)",
    "permute": "tg.transpose(t, axes), or t.permute(*dims)",
    "clamp": "tg.clip(t, min, max)",
    "mm": "a @ b", "bmm": "a @ b", "addmm": "a @ b + c",
    "square": "t * t", "rsqrt": "1 / tg.sqrt(t)", "reciprocal": "1 / t",
    "chunk": "t.split(size, dim), size = -(-n // chunks)", "unbind": "list(t)",
    "gather": "t.gather(dim, index)",
    "as_tensor": "tg.tensor, which copies, or tg.from_numpy, which shares", "empty": "tg.zeros",
    "randn_like": "tg.randn(*t.shape, rng=rng)", "rand_like": "tg.rand(*t.shape, rng=rng)",
    "numel": "t.size", "is_tensor": "isinstance(t, tg.Tensor)", "allclose": "np.allclose(a, b)",
    "binary_cross_entropy": "tg.binary_cross_entropy_with_logits, of what comes before the sigmoid",
    "normalize": "t / t.norm(dim=1, keepdim=True)", "one_hot": "np.eye(classes)[labels]",
    "embedding": "weight[indices]", "unfold": "shifted views, t[:, :, i:i + n]; tg.conv2d needs no columns",
    "manual_seed": SEEDED, "Generator": SEEDED, "device": DEVICE, "cuda": DEVICE,
    "autograd": RECORDED + "; for a Function of your own, tg.primitive",
    "func": RECORDED, "enable_grad": "the end of the block of tg.no_grad()",
    "inference_mode": "tg.no_grad()", "set_grad_enabled": "tg.no_grad()",
    "nn": "import nn", "optim": "import nn: nn.SGD, nn.Adam", "utils": "import nn: nn.data",
    "save": "nn.save(model, path)", "load": "model.load_state_dict(nn.load(path))",
    "long": "np.int64", "float": "np.float32", "double": "np.float64", "bool": "np.bool",
    "float16": "np.float16", "float32": "np.float32", "float64": "np.float64", "int64": "np.int64",
    "int32": "np.int32", "uint8": "np.uint8",
}
IN_PLACE = "a leaf is changed with t.mutate()[...] = values; an op's result is not changed, name a new one"
GRADIENT = ("split the function there: h = first(x).detach().requires_grad_(), then second(h).backward() "
            "fills h.grad; or use tg.vjp(second, h)")
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
    "repeat": "tg.concat([t] * times, axis)",
    "masked_fill": "tg.where(mask, value, t)",
    "index_select": "t[indices], or t[:, indices] along 1", "select": "t[index], or t[:, index] along 1",
    "narrow": "t[start:start + length], or t[:, start:start + length] along 1",
    "new_zeros": "tg.zeros(shape, dtype=t.dtype)", "new_ones": "tg.ones(shape, dtype=t.dtype)",
    "grad_fn": "t.node, or tg.tape(t)", "retain_grad": GRADIENT, "register_hook": GRADIENT,
    "zero_": "t.grad = None forgets a gradient; " + IN_PLACE,
}


def missing(owner: str, name: str, advice: Mapping[str, str], elsewhere: Container[str] = (),
            there: str = "") -> str:
    """The text of an AttributeError, with what to write here if that is known.

    Args:
        owner: what lacks the name.
        advice: what to write, by name.
        elsewhere: names that another object has; `there` is how to write such a one.

    Example:
        >>> missing("Tensor", "erf", {}, ["erf"], "tg.{}(t)")
        "Tensor has no attribute 'erf'; here: tg.erf(t)"
    """
    fits = advice.get(name, there.format(name) if name in elsewhere else "")
    return f"{owner} has no attribute {name!r}" + f"; here: {fits}" * bool(fits)


class Package(types.ModuleType):
    """A package some of whose names are loaded when first used; for those it lacks there is advice."""

    def __getattr__(self, name: str) -> Any:
        modules, *advice = vars(self)["_late"]
        if name not in modules:
            raise AttributeError(missing(self.__name__, name, *advice), name=name, obj=self)
        module = importlib.import_module(f".{modules[name] or name}", self.__name__)
        value = vars(self)[name] = getattr(module, name) if modules[name] else module
        return value

    def __dir__(self) -> list[str]:
        return sorted({*vars(self), *vars(self)["_late"][0]})

    def __setattr__(self, name: str, value: Any) -> None:
        """Loading the file `draw` would put the module in the place of the function."""
        if not (isinstance(value, types.ModuleType) and vars(self)["_late"][0].get(name)):
            super().__setattr__(name, value)


def late(package: str, modules: Mapping[str, str], advice: Mapping[str, str], elsewhere: Container[str] = (),
         there: str = "") -> None:
    """Make a package a `Package`.

    Args:
        package: its name.
        modules: by name, the module inside the package that has it; "" if the name is a module itself.
        advice, elsewhere, there: as for `missing`.
    """
    vars(sys.modules[package])["_late"] = modules, advice, elsewhere, there
    sys.modules[package].__class__ = Package
