"""Pages of the site that are made from what there is: the reference, the notebooks, sections of the README.

MkDocs calls the functions `on_...` of this file, and Griffe, which reads the docstrings, the class below.
"""
from __future__ import annotations

import importlib
import inspect
import re
import types
from collections import defaultdict
from pathlib import Path
from typing import Any

import griffe
from mkdocs.structure.files import File

import nn
import tinygrad_conv as tg
from tinygrad_conv.primitive import Primitive

ROOT = Path(__file__).resolve().parent.parent
FAMILIES = {  # page of the reference: modules whose public names it has
    "tensors": "tinygrad_conv.tensor tinygrad_conv.creation tinygrad_conv.core tinygrad_conv.hooks tinygrad_conv.state",
    "ops": "tinygrad_conv.ops",
    "derivatives": "tinygrad_conv.autodiff tinygrad_conv.calculus tinygrad_conv.checkpoint tinygrad_conv.gradcheck "
                   "tinygrad_conv.anomaly tinygrad_conv.per_example tinygrad_conv.tape",
    "certify": "tinygrad_conv.primitive tinygrad_conv.certify tinygrad_conv.arguments tinygrad_conv.advice",
    "drawing": "tinygrad_conv.draw nn.drawing nn.summary",
    "explain": "tinygrad_conv.explain",
    "layers": "nn.layers nn.init",
    "optimisers": "nn.optim",
    "training": "nn.train",
    "data": "nn.data",
    "models": "nn.models",
    "onnx": "nn.onnx",
    "kernels": "tinygrad_conv.kernels tinygrad_conv.config tinygrad_conv.files",
}
LINKED = ["demos/gallery/*.*", "demos/images/*.*"]  # files that pages link to


def home(value: Any) -> str:
    """The module that defines a public value; functions loaded late call themselves their package's."""
    plain = inspect.unwrap(value) if callable(value) else type(value)
    return getattr(plain, "__globals__", {}).get("__name__") or plain.__module__


def public(package: types.ModuleType, prefix: str) -> dict[str, tuple[str, str]]:
    """What users write, and the module and name of its definition."""
    found = {}
    for name in getattr(package, "__all__", None) or [n for n in vars(package) if not n.startswith("_")]:
        value = getattr(package, name)
        if isinstance(value, types.ModuleType):
            if hasattr(package, "__all__"):
                found |= public(value, f"{prefix}.{name}")
        elif hasattr(package, "__all__") or home(value) == package.__name__:
            module = value.__module__ if isinstance(value, Primitive) else home(value)
            found[f"{prefix}.{name}"] = module, name
    return found


def reference() -> dict[str, str]:
    """Page of each family: its Markdown, in which mkdocstrings fills in what `:::` names."""
    page_of = {module: page for page, modules in FAMILIES.items() for module in modules.split()}
    entries: dict[str, dict[str, list[str]]] = {page: defaultdict(list) for page in FAMILIES}
    for written, (module, name) in (public(tg, "tg") | public(nn, "nn")).items():
        room = ".".join(module.split(".")[:2])
        entries[page_of[room]][module].append(f"::: {module}.{name}\n    options: {{heading: {written}}}\n")
    return {page: "\n".join([f"# {page.capitalize()}\n"] + [
        line for module, members in sorted(modules.items())
        for line in (f"## {module.replace('.', '/')}.py\n", summary(module) + "\n", *sorted(members))])
        for page, modules in entries.items()}


def summary(module: str) -> str:
    """The first paragraph of a module's documentation."""
    return " ".join((importlib.import_module(module).__doc__ or "").split("\n\n")[0].split())


def notebook(path: Path) -> tuple[str, dict[str, bytes]]:
    """A notebook as it is kept, with its outputs: Markdown, and the pictures beside it."""
    import nbformat
    from nbconvert import MarkdownExporter
    text, resources = MarkdownExporter().from_notebook_node(
        nbformat.read(path, as_version=4), {"unique_key": path.stem})
    return text, resources["outputs"]


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made, and what pages link to."""
    made: dict[str, str | bytes] = {f"reference/{page}.md": text for page, text in reference().items()}
    for path in sorted((ROOT / "demos" / "notebooks").glob("*.ipynb")):
        made[f"notebooks/{path.stem}.md"], pictures = notebook(path)
        made |= {f"notebooks/{name}": data for name, data in pictures.items()}
    made |= {str(path.relative_to(ROOT)): path.read_bytes() for pattern in LINKED for path in ROOT.glob(pattern)}
    made["contributing.md"] = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Put in the sections of the README that a page asks for: `<!-- README: Speed -->`."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    sections = {part.split("\n", 1)[0]: part.split("\n", 1)[1] for part in readme.removeprefix("# ").split("\n## ")}
    return re.sub("<!-- README: (.*) -->", lambda found: linked(sections[found[1]], files), markdown)


def linked(text: str, files: Any) -> str:
    """Links to what the site does not have become their words."""
    return re.sub(r"(?<!!)\[([^]]*)\]\(([^)]*)\)",
                  lambda link: link[0] if "://" in link[2] or files.get_file_from_path(link[2]) else link[1], text)


class Documented(griffe.Extension):
    """What a reader of the source alone does not see: ops made by a row of a table, examples as code."""

    def on_module_members(self, *, mod: griffe.Module, **_: Any) -> None:
        if not mod.path.startswith("tinygrad_conv.ops."):
            return
        for name, value in vars(importlib.import_module(mod.path)).items():
            if isinstance(value, Primitive | types.FunctionType) and not isinstance(
                    mod.members.get(name), griffe.Function | griffe.Alias):
                mod.set_member(name, function(name, value, mod))

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = re.sub(r"^( *)>>> .*(?:\n(?! *$).*)*", r"\1```pycon\n\g<0>\n\1```",
                                         obj.docstring.value, flags=re.MULTILINE)


def function(name: str, value: Any, mod: griffe.Module) -> griffe.Function:
    """As Griffe would have read it from a `def`."""
    parameters = [griffe.Parameter(p.name, kind=griffe.ParameterKind(p.kind.description),
                                   default=None if p.default is p.empty else repr(p.default))
                  for p in inspect.signature(value).parameters.values()]
    return griffe.Function(name, parameters=griffe.Parameters(*parameters), parent=mod,
                           docstring=griffe.Docstring(inspect.getdoc(value) or "", lineno=1))
