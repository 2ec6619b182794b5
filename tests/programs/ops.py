"""The steps of random programs: each function draws operands and arguments that fit, and appends its lines.

PyTorch's line is tg's with `torch.` for `tg.` unless it has another name or form there.
"""
from __future__ import annotations

import math
from collections.abc import Callable

from .draft import Draft
from .program import Step

OPS: list[Callable[[Draft], int]] = []
SLOPES = (0.0, 0.25, 1.0, -0.5, 1.5)


def op(weight: int) -> Callable:
    """Register: drawn as often as `weight` says."""
    def register(f: Callable[[Draft], int]) -> Callable:
        OPS.extend([f] * weight)
        return f
    return register


def drawn(seed: int) -> Draft:
    """A program of 8 to 25 steps; those that keep numbers small count as well."""
    p = Draft(seed)
    for _ in range(p.count(1, 3)):
        p.leaf(tuple(p.count(1, 4) for _ in range(p.count(0, 4))), constant=False)
    if p.most > 300:  # entries enough for the kernels to work in blocks
        p.leaf((p.count(2, 4), p.count(2, 8), p.count(30, 60), p.count(30, 60)))
    length = p.count(8, 20)
    while sum(isinstance(node, Step) for node in p.nodes) < length:
        p.choice(OPS)(p)
    return p


# ----- entry by entry -----

SMOOTH = ["tg.tanh({0})", "tg.sin({0})", "tg.cos({0})", "tg.sigmoid({0})", "tg.exp(tg.tanh({0}))",
          "tg.expm1(tg.tanh({0}))", "tg.log({0} * {0} + 0.5)", "tg.log1p({0} * {0})", "tg.sqrt({0} * {0} + 0.5)",
          "tg.erf({0})", "-{0}", "{0} ** 2", "{0} ** 3", "{0} ** 1", "{0} ** 0", "({0} * {0} + 0.5) ** -1",
          "({0} * {0} + 0.5) ** 1.5", "({0} * {0} + 0.5) ** 0.5", "2.0 / ({0} * {0} + 1.0)", "1.0 - {0}", "{0} * 0.5 + 1.0",
          "2.0 ** tg.tanh({0})", "{0} + {0}", "{0} * {0}"]
RENAMED = [("tg.identity({0})", "{0}.clone()"), ("tg.silu({0})", "F.silu({0})"), ("tg.gelu({0})", "F.gelu({0})"),
           ("tg.gelu({0}, 'tanh')", "F.gelu({0}, approximate='tanh')"),
           ("tg.astype({0}, np.float64)", "{0}.to(torch.float64)"),
           ("tg.checkpoint(lambda x: tg.sin(x) * x, {0})", "torch.sin({0}) * {0}")]
KINKED = [("tg.relu({0})", None), ("tg.relu6({0} * 4)", "F.relu6({0} * 4)"), ("tg.abs({0})", None), ("tg.sign({0}) * {0}", None),
          ("tg.floor({0}) - {0}", None), ("tg.clip({0}, -1, 0.5)", None), ("tg.clip({0}, min=0)", None),
          ("tg.clip({0}, max=0.25)", None), ("tg.hardtanh({0}, -0.5, 1.0)", "F.hardtanh({0}, -0.5, 1.0)"),
          ("tg.astype({0} > 0, np.float64) * {0}", "({0} > 0).to(torch.float64) * {0}"),
          ("tg.selu({0})", "1.0507009873554805 * (torch.where({0} > 0, {0}, 1.6732632423543772 * torch.expm1({0})))"),
          ("tg.where({0} == 0, 1.0, {0})", None), ("tg.where(tg.logical_not({0} <= 0), {0} * {0}, {0})", None),
          ("tg.where(tg.isfinite(tg.where({0} > 0, {0}, np.inf)), {0}, 2.0)", None),
          ("tg.where(tg.isnan(tg.where({0} > 0, {0}, np.nan)), {0}, 2.0 * {0})", None),
          ("{0} * tg.where({0} < 0, 0.5, 1.0)", None)]


@op(8)
def smooth(p: Draft) -> int:
    if p.chance(0.25):
        ours, theirs = p.choice(RENAMED)
        return p.step(ours, p.tensor(), torch=theirs)
    return p.step(p.choice(SMOOTH), p.tensor())


@op(6)
def kinked(p: Draft) -> int:
    ours, theirs = p.choice(KINKED)
    return p.step(ours, *p.settled(p.tensor()), torch=theirs)


@op(4)
def kinked_with_numbers(p: Draft) -> int:
    x, = p.settled(p.tensor())
    a, kind = p.choice(SLOPES), p.count(0, 2)
    if kind == 0:
        return p.step(f"tg.leaky_relu({{0}}, {a})", x, torch=f"F.leaky_relu({{0}}, {a})")
    if kind == 1:  # F.elu mixes both sides at 0: the slope of the left one, the curvature of the right one
        return p.step(f"tg.elu({{0}}, {a})", x, torch=f"torch.where({{0}} > 0, {{0}}, {a} * torch.expm1({{0}}))")
    beta, threshold = p.choice([(1.0, 0.5), (2.0, 1.0), (-1.0, 0.25), (0.5, 20.0)])  # F.softplus mixes them too
    return p.step(f"tg.softplus({{0}}, {beta}, {threshold})", x, torch=(
        f"torch.where({{0}} * {beta} > {threshold}, {{0}}, F.softplus({{0}}, {beta}, 1e9))"))


SCALARS = ["tg.tan(tg.tanh({0}))", "tg.asin(0.75 * tg.tanh({0})) + tg.acos(0.5 * tg.sin({0}))",
           "tg.atan({0}) * tg.asinh({0})", "tg.sinh(tg.tanh({0})) + tg.cosh(tg.sin({0})) - tg.expm1(tg.sin({0}))",
           "tg.acosh({0} * {0} + 1.5) - tg.atanh(0.75 * tg.tanh({0}))",
           "tg.log2({0} * {0} + 0.5) + tg.log10({0} * {0} + 2.0)", "tg.exp2(tg.tanh({0}))"]
STEPPED = [("tg.ceil({0}) - {0}", None), ("tg.trunc({0}) * {0}", None), ("tg.round({0}) - {0}", None),
           ("{0} - {0} // 0.75", "{0} - torch.floor({0} / 0.75)"), ("{0} % 0.75 + {0}", None)]  # // has no gradient there
PAIRS = ["tg.atan2({0}, {1} * {1} + 0.5)", "tg.hypot({0}, {1} * {1} + 0.5)", "tg.logaddexp({0}, {1})"]


@op(4)
def scalar_functions(p: Draft) -> int:
    return p.step(p.choice(SCALARS), p.tensor())


@op(3)
def stepped(p: Draft) -> int:
    ours, theirs = p.choice(STEPPED)
    return p.step(ours, *p.settled(p.tensor()), torch=theirs)


@op(3)
def of_two(p: Draft) -> int:
    x = p.tensor()
    return p.step(p.choice(PAIRS), x, p.against(x))


@op(1)
def probabilities(p: Draft) -> int:
    x = p.tensor()
    return p.step("tg.binary_cross_entropy(tg.sigmoid({0}), tg.sigmoid({0} * {0}), reduction='none')", x,
                  torch="-(torch.sigmoid({0} * {0}) * F.logsigmoid({0}) + torch.sigmoid(-{0} * {0}) * F.logsigmoid(-{0}))")


@op(6)
def arithmetic(p: Draft) -> int:
    x = p.tensor()
    operands = [x, p.against(x)]
    p.rng.shuffle(operands)
    if p.chance(0.15):  # torch.pow takes the derivative by the base for constant where the exponent is 0
        return p.step("({0} * {0} + 0.5) ** tg.tanh({1})", *operands,
                      torch="torch.exp(torch.tanh({1}) * torch.log({0} * {0} + 0.5))")
    return p.step(p.choice(["{0} + {1}", "{0} - {1}", "{0} * {1}", "{0} / ({1} * {1} + 1.0)"]), *operands)


COMPARED = ["{0} == {1}", "{0} != {1}", "{0} < {1}", "{0} <= {1}", "{0} > {1}", "{0} >= {1}",
            "tg.logical_and({0} > {1}, {0} != 0)", "tg.logical_or({0} > {1}, {1} == 0)"]


@op(5)
def choosing(p: Draft) -> int:
    x = p.tensor()
    x, y = p.settled(x, p.against(x))
    if p.chance(0.5):
        return p.step(p.choice(["tg.maximum({0}, {1})", "tg.minimum({0}, {1})"]), x, y)
    return p.step(f"tg.where({p.choice(COMPARED)}, {p.choice(['{0}', '0.0', '{0} * {0}'])}, {{1}})", x, y)


@op(2)
def masks(p: Draft) -> int:
    x, = p.settled(p.tensor(1))
    axis, kind = p.axis(x), p.choice(["any", "all"])
    return p.step(f"tg.where(tg.{kind}({{0}} > 0, {axis}, True), {{0}}, -{{0}})", x,
                  torch=f"torch.where(torch.{kind}({{0}} > 0, {axis}, keepdim=True), {{0}}, -{{0}})")


@op(2)
def dropout(p: Draft) -> int:
    name = p.choice(["dropout", "dropout2d"])
    x = p.images(1) if name == "dropout2d" else p.tensor()
    options = f"{p.choice([0.0, 0.25, 0.5])}, rng=np.random.default_rng({p.count(0, 999)})"
    return p.step(f"tg.{name}({{0}}, {options})", x,
                  torch=f"{{0}} * torch.tensor(tg.{name}(np.ones({p.shape(x)}), {options}).data)")


# ----- reductions -----

@op(5)
def reduction(p: Draft) -> int:
    x = p.tensor(1)
    n, name, keep = len(p.shape(x)), p.choice(["sum", "mean", "logsumexp", "var", "std", "norm", "amax", "amin"]), p.chance(0.5)
    axis = tuple(sorted(p.rng.choice(n, p.count(1, n), replace=False).tolist()))
    if name in ("amax", "amin"):
        x, = p.settled(x)
    if name == "norm":                                        # away from 0, where PyTorch's curvature is nan
        return p.step(f"tg.norm({{0}} * {{0}} + 0.25, axis={axis}, keepdims={keep})", x,
                      torch=f"torch.linalg.vector_norm({{0}} * {{0}} + 0.25, dim={axis}, keepdim={keep})")
    if name in ("var", "std"):
        count = math.prod(p.shape(x)[a] for a in axis)
        correction = p.choice([0, 1]) if count > 1 else 0
        if name == "std" and p.ours[x].data.std(axis=axis).min() < 0.1:  # away from 0
            name = "var"
        return p.step(f"tg.{name}({{0}}, {axis}, {correction}, {keep})", x,
                      torch=f"torch.{name}({{0}}, {axis}, correction={correction}, keepdim={keep})")
    return p.step(f"tg.{name}({{0}}, {axis}, keepdims={keep})", x, torch=f"torch.{name}({{0}}, {axis}, keepdim={keep})")


@op(3)
def whole_reduction(p: Draft) -> int:
    x = p.tensor()
    name = p.choice(["sum", "mean", "max", "min", "prod"])
    if name in ("max", "min", "prod"):                        # torch.prod divides by factors, however small, but 0
        x, = p.settled(x)
    if name == "prod":
        return p.step("tg.prod(tg.tanh({0}))", x)
    return p.step(f"tg.{name}({{0}})", x)


@op(4)
def along_an_axis(p: Draft) -> int:
    x = p.tensor(1)
    a, name = p.axis(x), p.choice(["cumsum", "softmax", "log_softmax", "prod"])
    if name == "prod":
        return p.step(f"tg.prod({{0}}, {a})", *p.settled(x))  # with zeros
    return p.step(f"tg.{name}({{0}}, {a})", x)


@op(2)
def at_the_extreme(p: Draft) -> int:
    x, = p.settled(p.tensor(1))
    a, name = p.axis(x), p.choice(["argmax", "argmin"])
    return p.step(f"tg.take_along_axis({{0}} * {{0}}, tg.{name}({{0}}, {a}, True).data, {a})", x,
                  torch=f"torch.gather({{0}} * {{0}}, {a}, torch.{name}({{0}}, {a}, True))")


# ----- shapes -----

@op(6)
def reshaping(p: Draft) -> int:
    x = p.tensor()
    shape = p.shape(x)
    n, size = len(shape), math.prod(shape)
    kind = p.choice(["reshape", "permute", "swapaxes", "squeeze", "expand_dims", "flatten", "broadcast"])
    if kind == "reshape":
        new = p.choice([(size,), (1, size), shape[::-1], *[(k, size // k) for k in (2, 3) if size % k == 0]])
        return p.step(f"tg.reshape({{0}}, {new})", x)
    if kind == "permute":
        order = tuple(p.rng.permutation(n).tolist())
        return p.step(f"tg.transpose({{0}}, {order})", x, torch=f"torch.permute({{0}}, {order})")
    if kind == "swapaxes" and n:
        return p.step(f"tg.swapaxes({{0}}, {p.axis(x)}, {p.axis(x)})", x)
    if kind == "squeeze":
        return p.step("tg.squeeze({0})", x)
    if kind == "expand_dims" and n < 5:
        a = p.count(-n - 1, n)
        return p.step(f"tg.expand_dims({{0}}, {a})", x, torch=f"torch.unsqueeze({{0}}, {a})")
    if kind == "flatten" and n > 1:
        return p.step("tg.flatten({0}, 1)", x)
    new = tuple(p.count(2, 3) if m == 1 else m for m in shape)
    new = (2, *new) if n < 4 else new
    return p.step(f"tg.broadcast_to({{0}}, {new})", x)


@op(5)
def moving(p: Draft) -> int:
    x = p.tensor(1)
    shape, a, kind = p.shape(x), p.axis(x), p.choice(["flip", "roll", "concatenate", "stack", "split", "pad"])
    if kind == "flip":
        return p.step(f"tg.flip({{0}}, ({a},))", x)
    if kind == "roll":
        return p.step(f"tg.roll({{0}}, {p.count(-4, 4)}, {p.choice([a, None])})", x)
    if kind in ("concatenate", "stack") and len(shape) < 5:
        others = [p.shaped(shape) for _ in range(p.count(1, 2))]
        listed = "[{0}, " + ", ".join(f"{{{k + 1}}}" for k in range(len(others))) + ", {0}]"
        name = {"concatenate": p.choice(["concatenate", "concat"]), "stack": "stack"}[kind]
        return p.step(f"tg.{name}({listed}, {a})", x, *others)
    if kind == "split" and shape[a] > 1:
        return p.step(f"sum(part * {{0}} for part in tg.split({{0}}, {shape[a]}, {a}))", x,
                      torch=f"sum(part * {{0}} for part in torch.split({{0}}, 1, {a}))")
    width = [(p.count(-1 if n > 1 else 0, 2), p.count(0, 2)) for n in shape]  # below 0 it crops
    value = p.choice([0.0, 1.5])
    flat = [w for pair in width[::-1] for w in pair]
    return p.step(f"tg.pad({{0}}, {width}, constant_values={value})", x, torch=f"F.pad({{0}}, {flat}, value={value})")


@op(2)
def borders(p: Draft) -> int:
    x = p.images(3)
    (a, b, c, d), mode = [p.count(0, 2) for _ in range(4)], p.choice(["reflect", "replicate", "circular"])
    return p.step(f"tg.pad({{0}}, [(0, 0), (0, 0), ({a}, {b}), ({c}, {d})], {mode!r})", x,
                  torch=f"F.pad({{0}}, ({c}, {d}, {a}, {b}), {mode!r})")


@op(5)
def indexing(p: Draft) -> int:
    x = p.tensor(1)
    n, *rest = p.shape(x)
    kind = p.choice(["slice", "number", "rows", "mask", "pairs", "along", "new"])
    if kind == "slice":
        i = ", ".join(f"{p.count(0, m - 1)}::{p.count(1, 2)}" for m in p.shape(x))
        return p.step(f"{{0}}[{i}]", x)
    if kind == "number":
        return p.step(f"{{0}}[{p.count(-n, n - 1)}]", x)
    if kind == "mask" or kind == "pairs" and not rest:
        mask = [True, *(p.rng.random(n - 1) < 0.6).tolist()]
        return p.step(f"{{0}}[np.array({mask})]", x, torch=f"{{0}}[torch.tensor({mask})]")
    if kind == "along":
        a = p.axis(x)
        shape = [p.count(1, 4) if i == a % len(p.shape(x)) else m for i, m in enumerate(p.shape(x))]
        i = p.rng.integers(p.shape(x)[a], size=shape).tolist()
        return p.step(f"tg.take_along_axis({{0}}, np.array({i}), {a})", x, torch=f"torch.gather({{0}}, {a}, torch.tensor({i}))")
    if kind == "new":
        return p.step("{0}[None, ..., :1]" if len(rest) < 4 else "{0}[..., :1]", x)
    i, m = [p.rng.integers(-k, k, p.count(1, 4)).tolist() for k in (n, rest[0] if rest else 1)]
    if kind == "rows":
        return p.step(f"{{0}}[np.array({i})]", x, torch=f"{{0}}[torch.tensor({i})]")
    m = m[:1]
    return p.step(f"{{0}}[np.array({i}), np.array({m})]", x, torch=f"{{0}}[torch.tensor({i}), torch.tensor({m})]")


# ----- products -----

@op(4)
def matmul(p: Draft) -> int:
    x = p.tensor(1, 4)
    *lead, k = p.shape(x)
    kind = p.choice(["matrix", "vector", "batched", "itself", "linear", "bias", "outer"])
    if kind == "matrix":
        return p.step("{0} @ {1}", x, p.shaped((k, p.count(1, 3))))
    if kind == "batched" and len(lead) > 1:
        return p.step("{0} @ {1}", x, p.shaped((*[p.choice([1, m]) for m in lead[:-1]], k, p.count(1, 3))))
    if kind == "itself" and lead:
        return p.step("{0} @ tg.swapaxes({0}, -1, -2)", x)
    if kind == "linear":
        return p.step("tg.linear({0}, {1})", x, p.shaped((p.count(1, 3), k)), torch="F.linear({0}, {1})")
    if kind == "bias":
        o = p.count(1, 3)
        return p.step("tg.linear({0}, {1}, {2})", x, p.shaped((o, k)), p.shaped((o,)), torch="F.linear({0}, {1}, {2})")
    if kind == "outer" and not lead:
        return p.step("tg.outer({0}, {1})", x, p.tensor(1, 1))
    return p.step("tg.matmul({0}, {1})", x, p.shaped((k,)))


EINSUMS = ["ij,jk->ik", "ij->ji", "i,i->", "ij->j", "ij,kj->ijk", "bij,bjk->bik", "i,j,k->kji", "ij,jk,kl->il", "ii->i",
           "ii,i->i", "ij,ij->ij", "ij,k->i", "aab,bcc->ac", "...i,ij->...j"]


@op(3)
def einsum(p: Draft) -> int:
    spec = p.choice(EINSUMS)
    sizes = {k: p.count(1, 3) for k in "abcijkl"}
    xs = [p.shaped(tuple(sizes[k] for k in term.replace("...", ""))) for term in spec.split("->")[0].split(",")]
    return p.step(f"tg.einsum({spec!r}, {', '.join(f'{{{k}}}' for k in range(len(xs)))})", *xs)


# ----- convolution and pooling -----

@op(6)
def conv(p: Draft) -> int:
    x = p.images(3)
    (n, c, *size), groups = p.shape(x), 1
    if c > 1 and p.chance(0.4):
        groups = p.choice([g for g in range(2, c + 1) if c % g == 0])
    k, d, s = [(p.count(1, m), p.count(1, m)) for m in (3, 2, 3)]
    span = [d[i] * (k[i] - 1) + 1 for i in range(2)]
    pad = tuple(max(0, span[i] - size[i], p.count(0, 2)) for i in range(2))
    o = groups * p.count(1, 2)
    options = f"stride={s}, padding={pad}, dilation={d}, groups={groups}"
    kind = p.choice(["conv2d", "conv2d", "last", "bordered", "transposed", "weight"])
    if kind == "weight":
        out = [(size[i] + 2 * pad[i] - span[i]) // s[i] + 1 for i in range(2)]
        return p.step(f"tg.conv2d_weight({{1}}, {{0}}, {k}, {options})", x, p.shaped((n, o, *out)), torch=(
            f"torch.nn.grad.conv2d_weight({{0}}, {(o, c // groups, *k)}, {{1}}, {options})"))
    b = p.shaped((o,))
    if kind == "transposed":
        pad = tuple(min(pad[i], ((size[i] - 1) * s[i] + span[i] - 1) // 2) for i in range(2))
        extra = tuple(p.count(0, max(s[i], d[i]) - 1) for i in range(2))
        code = f"conv_transpose2d({{0}}, {{1}}, {{2}}, {s}, {pad}, {extra}, {groups}, {d})"
        return p.step(f"tg.{code}", x, p.shaped((c, o // groups, *k)), b, torch=f"F.{code}")
    w = p.shaped((o, c // groups, *k))
    if kind == "conv2d":
        if p.chance(0.2):
            options = f"padding='same', dilation={d}, groups={groups}"
        code = f"conv2d({{0}}, {{1}}, {p.choice(['{2}', 'None'])}, {options})"
        operands = (x, w, b) if "{2}" in code else (x, w)
        return p.step(f"tg.{code}", *operands, torch=f"F.{code}")
    if kind == "last":
        return p.step(f"tg.transpose(tg.conv2d(tg.transpose({{0}}, (0, 2, 3, 1)), {{1}}, {{2}}, {options}, layout='NHWC'), "
                      "(0, 3, 1, 2))", x, w, b, torch=f"F.conv2d({{0}}, {{1}}, {{2}}, {options})")
    sides, mode = tuple((m, p.count(0, 2)) for m in pad), p.choice(["zeros", "reflect", "replicate", "circular"])
    padded = f"F.pad({{0}}, {(*sides[1], *sides[0])}, {mode.replace('zeros', 'constant')!r})"
    return p.step(f"tg.conv2d({{0}}, {{1}}, {{2}}, {s}, {sides}, {d}, {groups}, padding_mode={mode!r})", x, w, b,
                  torch=f"F.conv2d({padded}, {{1}}, {{2}}, {s}, 0, {d}, {groups})")


@op(2)
def conv1d(p: Draft) -> int:
    x = p.some(lambda a: a.ndim == 3 and a.shape[2] > 2)
    x = p.shaped((p.count(1, 2), p.count(1, 3), p.count(3, 6))) if x is None else x
    c, o, k = p.shape(x)[1], p.count(1, 3), p.count(1, 3)
    name, shape = p.choice([("conv1d", (o, c, k)), ("conv_transpose1d", (c, o, k))])
    code = f"{name}({{0}}, {{1}}, {{2}}, stride={p.count(1, 2)}, padding={p.count(0, (k - 1) // 2)})"
    return p.step(f"tg.{code}", x, p.shaped(shape), p.shaped((o,)), torch=f"F.{code}")


@op(5)
def pool(p: Draft) -> int:
    x = p.images(3)
    k = (p.count(1, 3), p.count(1, 3))
    s = p.choice([k, (p.count(1, 3), p.count(1, 3))])
    pad = tuple(p.count(0, n // 2) for n in k)
    ceil = p.chance(0.4)
    if p.chance(0.5):
        include, divisor = p.chance(0.5), p.choice([None, None, 3])
        code = f"avg_pool2d({{0}}, {k}, {s}, {pad}, {ceil}, {include}, {divisor})"
        return p.step(f"tg.{code}", x, torch=f"F.{code}")
    x, = p.settled(x)
    d = p.choice([1, 1, 2]) if max(k) < 3 else 1
    code = f"max_pool2d({{0}}, {k}, {s}, {pad}, {d}, {ceil}"
    if p.chance(0.25):
        return p.step(f"tg.{code}, return_indices=True)[0]", x, torch=f"F.{code}, return_indices=True)[0]")
    return p.step(f"tg.{code})", x, torch=f"F.{code})")


@op(4)
def other_pool(p: Draft) -> int:
    x, = p.settled(p.images(3))
    kind = p.count(0, 5)
    if kind == 0:
        out = (p.count(1, 4), p.count(1, 4))
        return p.step(f"tg.adaptive_avg_pool2d({{0}}, {out})", x, torch=f"F.adaptive_avg_pool2d({{0}}, {out})")
    if kind == 1:
        out = (p.count(1, 4), p.count(1, 4))
        return p.step(f"tg.adaptive_max_pool2d({{0}}, {out})", x, torch=f"F.adaptive_max_pool2d({{0}}, {out})")
    if kind == 2:
        k = p.count(1, 2)
        code = f"max_unpool2d(*F.max_pool2d({{0}}, {k}, return_indices=True), {k}, output_size={p.shape(x)[2:]})"
        return p.step("tg." + code.replace("F.", "tg."), x, torch="F." + code)
    if kind == 3:
        return p.step("tg.global_avg_pool2d({0})", x, torch="F.adaptive_avg_pool2d({0}, 1)")
    if kind == 4:
        return p.step("tg.global_max_pool2d({0})", x, torch="F.adaptive_max_pool2d({0}, 1)")
    code = p.choice(["max_pool1d({0}[0], 2, 1, 1)", "avg_pool1d({0}[0], 2, 1, 1)", "avg_pool1d({0}[0], 3, 2, 1, True)"])
    return p.step(f"tg.{code}", x, torch=f"F.{code}")


# ----- normalisation -----

@op(4)
def norm(p: Draft) -> int:
    kind = p.choice(["batch_norm", "running", "layer_norm", "group_norm", "instance_norm"])
    x = p.images(2)
    c, eps = p.shape(x)[1], p.choice([0.25, 1.0])
    w, b = p.shaped((c,)), p.shaped((c,))
    if kind == "batch_norm":
        code = f"batch_norm({{0}}, None, None, {{1}}, {{2}}, True, 0.1, {eps})"
    elif kind == "running":
        m = p.leaf((c,), constant=True)
        code = f"batch_norm({{0}}, {{3}}, {{3}} * {{3}} + 0.5, {{1}}, {{2}}, False, 0.1, {eps})"
        return p.step(f"tg.{code}", x, w, b, m, torch=f"F.{code}")
    elif kind == "layer_norm":
        last = p.shape(x)[p.count(2, 3):]
        code = f"layer_norm({{0}}, {last}, {{1}}, {{2}}, {eps})"
        w, b = p.shaped(last), p.shaped(last)
    elif kind == "group_norm":
        code = f"group_norm({{0}}, {p.choice([g for g in range(1, c + 1) if c % g == 0])}, {{1}}, {{2}}, {eps})"
    else:
        code = f"instance_norm({{0}}, None, None, {{1}}, {{2}}, True, 0.1, {eps})"
    return p.step(f"tg.{code}", x, w, b, torch=f"F.{code}")


# ----- losses -----

def reduced(p: Draft) -> str:
    return p.choice(["'mean'", "'sum'", "'none'"])


@op(4)
def loss_of_pairs(p: Draft) -> int:
    x = p.tensor()
    t, how = p.shaped(p.shape(x)), reduced(p)
    kind = p.choice(["mse", "l1", "huber", "smooth_l1", "bce", "kl"])
    if kind in ("l1", "huber", "smooth_l1"):
        x, t = p.settled(x, t)
        more = {"l1": "", "huber": f", delta={p.choice([0.5, 1.0])}", "smooth_l1": f", beta={p.choice([0.0, 0.5, 1.0])}"}[kind]
        code = f"{kind}_loss({{0}}, {{1}}, reduction={how}{more})"
    elif kind == "mse":
        code = f"mse_loss({{0}}, {{1}}, reduction={how})"
    elif kind == "kl":
        if p.chance(0.5):
            how = "'batchmean'" if p.shape(x) and p.chance(0.3) else how
            code = f"kl_div({{0}}, torch.sigmoid({{1}}), reduction={how})"
        else:
            code = f"kl_div({{0}}, torch.tanh({{1}}), reduction={how}, log_target=True)"
    else:
        code = f"binary_cross_entropy_with_logits({{0}}, torch.sigmoid({{1}}), reduction={how}"
        if p.chance(0.5):
            a, b = p.shaped(p.shape(x)[-1:]), p.shaped(p.shape(x)[-1:])
            return p.step("tg." + code.replace("torch", "tg") + ", weight={2}, pos_weight={3} * {3})", x, t, a, b, torch=(
                "({2} * ({3} * {3} * torch.sigmoid({1}) * F.softplus(-{0}, threshold=1e9) + (1 - torch.sigmoid({1})) * "  # F's
                f"F.softplus({{0}}, threshold=1e9))){'' if 'none' in how else f'.{how[1:-1]}()'}"))  # is of constant weights
        code += ")"
    return p.step("tg." + code.replace("torch", "tg"), x, t, torch="F." + code)


@op(4)
def loss_of_classes(p: Draft) -> int:
    x = p.some(lambda a: a.ndim in (2, 3, 4))
    x = p.shaped((p.count(1, 4), p.count(2, 4))) if x is None else x
    n, c, *rest = p.shape(x)
    how = reduced(p)
    if p.chance(0.25):
        code = f"cross_entropy({{0}}, torch.{p.choice(['sigmoid({1})', 'softmax({1}, 1)'])}, reduction={how}, label_smoothing=0.25)"
        return p.step("tg." + code.replace("torch", "tg"), x, p.shaped(p.shape(x)), torch="F." + code)
    target = p.rng.integers(0, c, (n, *rest))
    kind = p.choice(["cross_entropy", "nll_loss", "hinge"])
    weight = p.rng.integers(1, 4, c).tolist()
    ours_w, theirs_w = f", weight=np.array({weight}) * 0.5", f", weight=torch.tensor({weight}) * torch.tensor(0.5, dtype=torch.float64)"
    if kind == "hinge" and not rest:
        x, = p.settled(x)
        power, margin = p.choice([1, 2]), p.choice([0.5, 1.0])
        i = target.tolist()
        return p.step(f"tg.hinge_loss({{0}}, np.array({i}), {power}, {margin}, reduction='none')", x, torch=(
            f"(torch.relu({{0}} - {{0}}[range({n}), {i}][:, None] + {margin}) ** {power} * "
            f"(torch.arange({c}) != torch.tensor({i})[:, None])).sum(1) / {c}"))
    kind = "cross_entropy" if kind == "hinge" else kind
    more = ""
    if p.chance(0.4):
        target.flat[1:][p.rng.random(target.size - 1) < 0.3] = -1
        more += ", ignore_index=-1"
    if kind == "cross_entropy" and p.chance(0.5):
        more += f", label_smoothing={p.choice([0.1, 0.5])}"
    weighted = p.chance(0.5)
    target, options = target.tolist(), f"reduction={how}{more}"
    return p.step(f"tg.{kind}({{0}}, np.array({target}), {options}{ours_w * weighted})", x, torch=(
        f"F.{kind}({{0}}.contiguous(), torch.tensor({target}), {options}{theirs_w * weighted})"))  # F asks for it
