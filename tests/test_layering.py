"""The house, read from the source: who may import whom, annotations and stubs counted, and what lies where."""
from __future__ import annotations

import ast
import types
from pathlib import Path

import pytest

import nn
import tinygrad_conv as tg
from tests.op_table import all_rows

ROOT = Path(__file__).resolve().parent.parent
ENGINE = ROOT / "tinygrad_conv"

# A module may import from its own line and the lines above it. Tensor's class body lies below the primitives.
LAYERS = [
    ["arguments", "files", "state", "advice"],
    ["kernels", "config"],
    ["core", "hooks"],
    ["tensor"],
    ["operands", "trees"],
    ["primitive"],
    ["tape"],
    ["ops"],
    ["pullback", "watching"],
    ["forward"],
    ["autodiff"],
    ["calculus", "checkpoint", "gradcheck", "creation", "anomaly", "per_example", "numpy_protocol"],
    ["draw"],
    ["explain"],
    ["certify"],
    ["__init__"],
]
FOLDERS = {"kernels", "ops", "draw", "explain", "certify"}
# The record knows no op and no derivative; kernels know no tensor; ops know no derivative.
ONLY = {"arguments": set(), "files": set(), "state": set(), "advice": set(), "kernels": {"arguments"},
        "core": {"state"}, "hooks": {"core"}, "tensor": {"core", "hooks", "state", "arguments", "advice"}, "operands": {"core", "tensor"},
        "primitive": {"core", "tensor", "operands", "state", "advice", "kernels"}, "tape": {"core", "tensor", "primitive", "state"},
        "ops": {"core", "tensor", "primitive", "kernels", "arguments", "operands"}}
# Rooms of nn: layers do not know what updates them, updates do not know what trains, data knows nobody.
ROOMS = [["advice", "init"], ["layers", "data"], ["optim", "models", "parallel"], ["train"], ["doctor", "drawing", "summary", "onnx"], ["__init__"]]
ROOM_ONLY = {"init": set(), "advice": set(), "data": {"advice"}, "layers": {"init", "advice"}}
OPTIONAL = {"threadpoolctl", "graphviz", "matplotlib", "safetensors", "tqdm", "torch", "numba",
            "PIL", "llvmlite", "onnx", "IPython", "mpi4py", "tensorboardX"}


def modules(package: Path) -> dict[str, ast.Module]:
    """Source of every module by its dotted name; a package is named without `.__init__`."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


SOURCES = {**modules(ENGINE), **modules(ROOT / "nn")}


def imports(name: str) -> list[tuple[str, list[str]]]:
    """(module, names) of every import, absolute, wherever it stands: those for annotations count too."""
    tree, found = SOURCES[name], []
    is_package = any(other.startswith(name + ".") for other in SOURCES) or name in (
        "tinygrad_conv", "nn")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = name.split(".")
            base = parts if is_package else parts[:-1]
            base = base[:len(base) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                found.append((inner, []) if inner in SOURCES else (module, [alias.name]))
    return found


def layer_of(module: str) -> str:
    """core, ops, ...: the part of its package that a module belongs to."""
    return (module.split(".") + ["__init__"])[1]


def ours(name: str, package: str) -> list[tuple[str, list[str]]]:
    return [(m, names) for m, names in imports(name) if m.split(".")[0] == package]


ENGINE_MODULES = [name for name in SOURCES if name.startswith("tinygrad_conv")]
NN_MODULES = [name for name in SOURCES if name.split(".")[0] == "nn"]


def test_the_root_of_the_engine_shows_the_engine_and_nothing_else():
    files = {path.name for path in ENGINE.iterdir() if path.is_file()}
    parts = {name for layer in LAYERS for name in layer} - FOLDERS
    assert files == {f"{name}.py" for name in parts} | {"py.typed"}
    assert {path.name for path in ENGINE.iterdir() if path.is_dir()} - {"__pycache__"} == FOLDERS


def test_nothing_is_declared_beside_its_source():
    assert [str(path) for package in (ENGINE, ROOT / "nn") for path in package.rglob("*.pyi")] == []


def test_every_module_has_a_layer():
    assert {layer_of(name) for name in ENGINE_MODULES} - {name for layer in LAYERS for name in layer} == set()
    assert {layer_of(name) for name in NN_MODULES} - {name for room in ROOMS for name in room} == set()


@pytest.mark.parametrize("name", SOURCES)
def test_imports_go_downwards_only(name):
    package = name.split(".")[0]
    layers, only = (LAYERS, ONLY) if package == "tinygrad_conv" else (ROOMS, ROOM_ONLY)
    height = {part: i for i, layer in enumerate(layers) for part in layer}
    own = layer_of(name)
    for module, _ in ours(name, package):
        other = layer_of(module)
        assert height[other] <= height[own], f"{name} imports {module}"
        assert own not in only or other in only[own] | {own}, f"{name} imports {module}"


# ----- kernels: geometry apart from strategy, and one table between families and ops -----

FAMILIES = {"conv", "pool", "patches", "wide", "winograd", "depthwise"}  # what the table chooses among


def kernels_imported(name: str) -> set[str]:
    return {m.removeprefix("tinygrad_conv.kernels.") for m, _ in imports(name)
            if m.startswith("tinygrad_conv.kernels.")}


def test_the_geometry_knows_no_kernel():
    assert {m for m, _ in ours("tinygrad_conv.kernels.geometry", "tinygrad_conv")} <= {"tinygrad_conv.arguments"}


def test_the_table_of_kernels_knows_no_family():
    assert kernels_imported("tinygrad_conv.kernels.table") <= {"geometry"}


@pytest.mark.parametrize("name", ["conv", "pool"])
def test_a_family_takes_its_geometry_and_registers_itself(name):
    assert {"geometry", "table"} <= kernels_imported(f"tinygrad_conv.kernels.{name}")


@pytest.mark.parametrize("name", ["conv", "pool"])
def test_ops_reach_the_kernels_of_a_family_through_the_table(name):
    assert "table" in kernels_imported(f"tinygrad_conv.ops.{name}")
    for op in ENGINE_MODULES:
        if not op.startswith("tinygrad_conv.kernels"):
            assert kernels_imported(op) & FAMILIES == set(), f"{op} imports a strategy"


# ----- an op is known by its Primitive, never by its name -----

OPS = {row.name for row in all_rows()} - {"min", "max", "mean", "sum", "norm"}  # words of statistics too
READERS = [name for name in SOURCES if name.startswith(("tinygrad_conv.draw", "tinygrad_conv.explain", "nn"))
           and not name.endswith("advice")]  # the tables of advice speak of other libraries' names


def is_name_of_an_op(node: ast.AST) -> bool:
    """`node.primitive.name`, `op.name`, ..."""
    return isinstance(node, ast.Attribute) and node.attr == "name" and "primitive" in ast.unparse(node.value)


def op_words(node: ast.AST) -> set[str]:
    """The names of ops in a string, or in a tuple, list, set or the keys of a dict of strings."""
    nodes = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", [node])
    return {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)} & OPS


@pytest.mark.parametrize("name", READERS)
def test_no_op_is_looked_up_by_its_name(name):
    for node in ast.walk(SOURCES[name]):
        where = f"{name} line {getattr(node, 'lineno', '?')}: {ast.unparse(node)[:80]}"
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            assert not (any(map(is_name_of_an_op, sides))), where
            assert name.startswith("nn") or not any(map(op_words, sides)), where
        elif isinstance(node, ast.Dict | ast.Set | ast.List | ast.Tuple):
            assert name.startswith("nn") or len(op_words(node)) < 2, where  # `nn.init.gain` has PyTorch's words
        elif isinstance(node, ast.Subscript):
            assert not is_name_of_an_op(node.slice), where
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in (
                "get", "pop", "setdefault", "startswith", "endswith"):
            assert not any(map(is_name_of_an_op, [*node.args, node.func.value])), where
        elif isinstance(node, ast.match_case):
            assert not any(op_words(n.value) for n in ast.walk(node.pattern) if isinstance(n, ast.MatchValue)), where


@pytest.mark.parametrize("name", ENGINE_MODULES)
def test_the_engine_does_not_know_nn(name):
    assert ours(name, "nn") == []


@pytest.mark.parametrize("name", NN_MODULES)
def test_nn_uses_public_names_of_the_engine_only(name):
    """`import tinygrad_conv as tg`, then `tg.something` that is public; never a submodule."""
    for module, names in ours(name, "tinygrad_conv"):
        assert module == "tinygrad_conv", f"{name} imports {module}"
        assert not [n for n in names if n.startswith("_")], f"{name} imports {names}"
    public = {n for n in dir(tg) if not n.startswith("_")}  # also what is loaded when it is first used
    for node in ast.walk(SOURCES[name]):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            known = node.value.id not in ("tg", "tinygrad_conv") or node.attr in public
            assert known, f"{name} uses tg.{node.attr}"


def private_attributes(names: list[str]) -> set[str]:
    """What is read or written as `something._attribute`."""
    nodes = [node for name in names for node in ast.walk(SOURCES[name])]
    return {n.attr for n in nodes if isinstance(n, ast.Attribute)
            and n.attr.startswith("_") and not n.attr.startswith("__")}


@pytest.mark.parametrize("name", NN_MODULES)
def test_nn_touches_no_underscore_name_of_a_tensor(name):
    record = [f"tinygrad_conv.{part}" for part in ("state", "core", "primitive", "tape", "pullback", "autodiff")]
    assert "_data" in private_attributes(record)
    own = {node.name for other in NN_MODULES for node in ast.walk(SOURCES[other])
           if isinstance(node, ast.FunctionDef)}
    assert private_attributes([name]) & private_attributes(record) - own == set()


@pytest.mark.parametrize("name", SOURCES)
def test_imports_inside_functions_are_optional_dependencies_only(name):
    for function in ast.walk(SOURCES[name]):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            for node in ast.walk(function):
                if isinstance(node, ast.Import):
                    inner = {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    inner = {(node.module or ".").split(".")[0] if not node.level else "."}
                else:
                    continue
                assert inner <= OPTIONAL, f"{name} line {node.lineno} imports {inner} in a function"


def test_there_are_no_import_cycles():
    edges = {}
    for name in SOURCES:
        wanted = [m for m, _ in imports(name) if m in SOURCES and m != name]
        # a package imports its own parts to show them: that is no dependency of the parts on it
        edges[name] = wanted
    state: dict[str, int] = {}
    for root in SOURCES:
        stack = [(root, iter(edges[root]))] if root not in state else []
        path = [root]
        state.setdefault(root, 1)
        while stack:
            name, following = stack[-1]
            child = next(following, None)
            if child is None:
                state[name] = 2
                stack.pop()
                path.pop()
            elif state.get(child) == 1:
                raise AssertionError(f"import cycle: {' -> '.join([*path, child])}")
            elif child not in state:
                state[child] = 1
                stack.append((child, iter(edges[child])))
                path.append(child)


@pytest.mark.parametrize("package", [tg, tg.ops, nn])
def test_no_public_name_is_hidden_by_a_file_of_the_same_name(package):
    """`from .norm import batch_norm` binds `norm` to the file, over a function called norm."""
    for node in SOURCES[package.__name__].body:
        if isinstance(node, ast.ImportFrom) and node.module and node.names[0].name != "*":
            for alias in node.names:
                value = getattr(package, alias.asname or alias.name)
                assert not isinstance(value, types.ModuleType), f"{package.__name__}.{alias.name}"


@pytest.mark.parametrize("name", SOURCES)
def test_files_say_why_they_exist(name):
    assert ast.get_docstring(SOURCES[name]), f"{name} has no module docstring"


# Every call and every derivative goes through these two: functions of their own would cost a tenth of them.
HOT = {"tinygrad_conv.primitive.__call__": 61, "tinygrad_conv.pullback.pull": 90}


@pytest.mark.parametrize("name", SOURCES)
def test_functions_fit_on_a_screen(name):
    for node in ast.walk(SOURCES[name]):
        if isinstance(node, ast.FunctionDef):
            doc = ast.get_docstring(node, clean=False)
            length = node.end_lineno - node.lineno + 1 - (len(doc.splitlines()) if doc else 0)
            assert length <= HOT.get(f"{name}.{node.name}", 40), f"{name}.{node.name} has {length} lines"


@pytest.mark.parametrize("name", SOURCES)
def test_no_user_error_is_an_assert_and_nothing_prints(name):
    for node in ast.walk(SOURCES[name]):
        assert not isinstance(node, ast.Assert), f"{name} line {node.lineno}: assert"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{name} line {node.lineno}"
