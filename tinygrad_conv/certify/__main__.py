"""The certificates of a module's ops: python -m tinygrad_conv.certify my_ops, or my_ops:softplus for one."""
import argparse
import importlib
import operator
import sys

from ..primitive import registered
from .certificate import certify


def main() -> int:
    """Write the reports; returns how many ops failed, at most 100."""
    parser = argparse.ArgumentParser(prog="python -m tinygrad_conv.certify", description=__doc__)
    parser.add_argument("what", metavar="module[:op]", nargs="+")
    failed = 0
    for what in parser.parse_args().what:
        name, _, op = what.partition(":")
        try:
            module = importlib.import_module(name)
            ops = [operator.attrgetter(op)(module)] if op else sorted(
                [p for p in registered if f"{p.__module__}.".startswith(f"{name}.")], key=lambda p: p.name)
        except (ImportError, AttributeError) as e:
            parser.error(f"{what}: {e}")
        if not ops:
            parser.error(f"{what}: the module has no primitives")
        for found in ops:
            try:
                certificate = certify(found)
            except (TypeError, ValueError) as e:
                parser.error(f"{what}: {e}")
            sys.stdout.write(f"{certificate}\n")
            failed += not certificate.ok
    return min(failed, 100)


if __name__ == "__main__":
    sys.exit(main())
