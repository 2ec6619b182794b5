"""Pages of the site that are made from what there is: the reference, the notebooks, sections of the README.

MkDocs calls the functions `on_...` of this file (`hooks` in mkdocs.yml); Griffe, which reads the docstrings,
calls the methods of `Documented`.
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
ENGINE = {  # page of the reference: files and folders of the engine whose public names it has
    "tensors": "tensor creation core hooks state",
    "ops": "ops",
    "derivatives": "autodiff calculus checkpoint gradcheck anomaly per_example tape",
    "certify": "primitive certify arguments advice",
    "drawing": "draw",
    "explain": "explain",
    "kernels": "kernels config files",
}
LAYERS = {  # the same of nn
    "layers": "layers init",
    "optimisers": "optim",
    "training": "train parallel doctor",
    "data": "data",
    "models": "models",
    "onnx": "onnx",
    "drawing": "drawing summary",
}
PAGES = {f"{package}.{room}": page for package, pages in (("tinygrad_conv", ENGINE), ("nn", LAYERS))
         for page, rooms in pages.items() for room in rooms.split()}
LINKED = ["demos/gallery/*.*", "demos/images/*.*"]  # files that the README links to


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are made, and what pages link to."""
    made: dict[str, str | bytes] = {f"reference/{page}.md": text for page, text in reference().items()}
    for path in sorted((ROOT / "demos" / "notebooks").glob("*.ipynb")):
        made[f"notebooks/{path.stem}.md"], pictures = notebook(path)
        made |= {f"notebooks/{name}": data for name, data in pictures.items()}
    made |= {path.relative_to(ROOT).as_posix(): path.read_bytes()
             for pattern in LINKED for path in ROOT.glob(pattern)}
    made["contributing.md"] = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for name, content in made.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Put in the sections of the README that a page asks for, as `<!-- README: Speed -->`.

    Links to what the site does not have become their words.
    """
    def kept(link: re.Match[str]) -> str:
        return link[0] if "://" in link[2] or files.get_file_from_path(link[2]) else link[1]

    readme = (ROOT / "README.md").read_text(encoding="utf-8").removeprefix("# ")
    sections = dict(part.split("\n", 1) for part in readme.split("\n## "))
    return re.sub("<!-- README: (.*) -->", lambda asked: re.sub(
        r"(?<!!)\[([^]]*)\]\(([^)]*)\)", kept, sections[asked[1]]), markdown)


def reference() -> dict[str, str]:
    """The Markdown of each page of the reference, in which mkdocstrings fills in what `:::` names."""
    entries: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for written, module in (public(tg, "tg") | public(nn, "nn")).items():
        name = f"{module}.{written.rpartition('.')[2]}"
        page = PAGES[".".join(module.split(".")[:2])]
        entries[page][module].append(f"::: {name}\n    options: {{heading: {written}}}\n")
    return {page: "\n".join(
        f"## {module.replace('.', '/')}.py\n\n{purpose(module)}\n\n" + "\n".join(sorted(modules[module]))
        for module in sorted(modules)) for page, modules in entries.items()}


def public(package: types.ModuleType, prefix: str) -> dict[str, str]:
    """What users write, for all that is public in a package and the modules it shows: where it is defined."""
    found: dict[str, str] = {}
    shown = getattr(package, "__all__", None)
    for name in shown or [name for name in vars(package) if not name.startswith("_")]:
        value = getattr(package, name)
        if not isinstance(value, types.ModuleType):
            if shown or home(value) == package.__name__:
                found[f"{prefix}.{name}"] = home(value)
        elif shown:
            found |= public(value, f"{prefix}.{name}")
    return found


def home(value: Any) -> str:
    """The module that defines a value; a function that is loaded late calls itself its package's."""
    if isinstance(value, Primitive):
        return value.__module__
    made_of = inspect.unwrap(value) if callable(value) else type(value)
    return getattr(made_of, "__globals__", {}).get("__name__") or made_of.__module__


def purpose(module: str) -> str:
    """The first paragraph of a module's documentation."""
    return " ".join((importlib.import_module(module).__doc__ or "").split("\n\n")[0].split())


def notebook(path: Path) -> tuple[str, dict[str, bytes]]:
    """The Markdown of a notebook with the outputs it is kept with, and the pictures beside it."""
    import nbformat
    from nbconvert import MarkdownExporter
    text, resources = MarkdownExporter().from_notebook_node(
        nbformat.read(path, as_version=4), {"unique_key": path.stem})
    return text, resources["outputs"]


class Documented(griffe.Extension):
    """What a reader of the source alone does not see: ops that are rows of a table, where code begins."""

    def on_module_members(self, *, mod: griffe.Module, **_: Any) -> None:
        if mod.path.startswith("tinygrad_conv.ops."):
            for name, value in vars(importlib.import_module(mod.path)).items():
                if isinstance(value, Primitive | types.FunctionType) and not isinstance(
                        mod.members.get(name), griffe.Function | griffe.Alias):
                    mod.set_member(name, as_defined(name, value, mod))

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = re.sub(r"^( *)>>> .*(?:\n *\S.*)*", r"\1```pycon\n\g<0>\n\1```",
                                         obj.docstring.value, flags=re.MULTILINE)


def as_defined(name: str, value: Any, mod: griffe.Module) -> griffe.Function:
    """What Griffe would have read from a `def`."""
    parameters = [griffe.Parameter(p.name, kind=griffe.ParameterKind(p.kind.description),
                                   default=None if p.default is p.empty else repr(p.default))
                  for p in inspect.signature(value).parameters.values()]
    return griffe.Function(name, parameters=griffe.Parameters(*parameters), parent=mod,
                           docstring=griffe.Docstring(inspect.getdoc(value) or "", lineno=1))
