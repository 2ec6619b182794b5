"""`pytest --certify`: the certificate of every op that there is, as tests beside the others.

Ops are known once their modules are imported: by a test, by a conftest.py, or because the ini option
`certify_modules` names them. An op without samples is skipped. pytest finds this file by its entry point.
"""
import importlib
from collections import Counter
from typing import Any

import pytest

from ..primitive import Primitive, registered
from .certificate import certify


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tinygrad_conv")
    group.addoption("--certify", action="store_true", help="also certify every op that is imported")
    parser.addini("certify_modules", "modules with ops, to import for --certify", type="args", default=[])


@pytest.hookimpl(tryfirst=True)  # before -k and -m choose
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config,
                                  items: list[pytest.Item]) -> None:
    if config.getoption("--certify"):
        for name in config.getini("certify_modules"):
            importlib.import_module(name)
        items += Certificates.from_parent(session, name="certify", nodeid="certify").collect()


class Certificates(pytest.Collector):
    """The ops, by module and name."""

    def collect(self) -> list[pytest.Item]:
        items, seen = [], Counter[str]()
        ops = [(f"{op.__module__}.{op.name}", op) for op in registered]
        for name, op in sorted(ops, key=lambda pair: pair[0]):
            seen[name] += 1
            items.append(OpItem.from_parent(self, name=name + f"#{seen[name]}" * (seen[name] > 1), op=op))
        return items


class OpItem(pytest.Item):
    """One op: fails with the report of its certificate."""

    def __init__(self, *, op: Primitive[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.op = op

    def reportinfo(self) -> tuple[Any, None, str]:
        return self.path, None, f"certificate of {self.name}"

    def runtest(self) -> None:
        if not self.op.samples:
            pytest.skip(f"{self.op.name} has no samples; add them with {self.op.name}.defsamples([(x,)])")
        certificate = certify(self.op)
        if not certificate.ok:
            pytest.fail(str(certificate), pytrace=False)
