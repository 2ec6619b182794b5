"""From text to machine code: LLVM through llvmlite. What was made is kept on disk, for the next process.

A kept file is a checksum and object code. Its name stands for the text, the CPU and LLVM's version, and is
part of the checksum; one that is damaged or misnamed, or that others could have written, is made again.
"""
from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..parallel import around_forks
from .ir import Code

FOLDER = "TINYGRAD_CONV_CODE"  # the variable that names the folder of machine code; "off": keep none
NONBLOCKING = getattr(os, "O_NONBLOCK", 0)  # a pipe is not waited for
DIGEST = hashlib.sha256().digest_size
NAME = "kernel"
FORM = "checksum of name and code"  # of the files
LEAST = (20, 0, 0)  # of LLVM, with llvmlite 0.45
_told: set[Path] = set()  # folders that a warning was about
_lock = threading.RLock()  # around LLVM's work; a signal's handler may come while its own thread has it


def _forget() -> None:
    global _lock
    _lock = threading.RLock()


around_forks(lambda: _lock, _forget)


class Target(NamedTuple):
    """This CPU as LLVM sees it; a vector register has `width` bytes, and there are so many."""

    triple: str
    cpu: str
    features: str
    width: int
    registers: int


@functools.cache
def llvm() -> Any:
    """LLVM, ready for this CPU.

    Raises:
        ImportError: if it is too old to read what `Code` writes.
    """
    import llvmlite.binding
    if llvmlite.binding.llvm_version_info < LEAST:
        raise ImportError(f"llvmlite {llvmlite.__version__} is too old: pip install 'tinygrad_conv[fast]'")
    llvmlite.binding.initialize_native_target()
    llvmlite.binding.initialize_native_asmprinter()
    return llvmlite.binding


@functools.cache
def target() -> Target:
    """This CPU."""
    features = llvm().get_host_cpu_features()
    wide = features.get("avx512f") and features.get("avx512vl")
    width = 64 if wide else 32 if features.get("avx2") and features.get("fma") else 16
    registers = 32 if wide or features.get("neon") else 16
    return Target(llvm().get_default_triple(), llvm().get_host_cpu_name(), features.flatten(), width,
                  registers)


def version() -> str:
    """LLVM's, and that of the library by which we reach it."""
    import llvmlite
    return f"LLVM {'.'.join(map(str, llvm().llvm_version_info))}, llvmlite {llvmlite.__version__}"


def description() -> str:
    """By what machine code is made here, for which CPU, and where it is kept."""
    return (f"{version()}, {target().cpu}, registers of {target().width} bytes, "
            f"kept in {folder_of_code() or 'memory'}")


def _machine() -> Any:
    cpu, triple = target(), llvm().Target.from_default_triple()
    return triple.create_target_machine(opt=3, cpu=cpu.cpu, features=cpu.features)


def _optimised(text: str, machine: Any) -> Any:
    module = llvm().parse_assembly(text)
    module.verify()
    options = llvm().create_pipeline_tuning_options(speed_level=2)
    options.loop_unrolling = options.slp_vectorization = options.loop_vectorization = False  # we have done it
    builder = llvm().create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module


def compiled(code: Code) -> int:
    """The address of a kernel, to be given to `launch`."""
    return loaded(code.text(NAME), NAME)[0]


def assembly_of(text: str) -> str:
    """The same as the CPU's instructions, to be read."""
    with _lock:
        machine = _machine()
        assembly: str = machine.emit_assembly(_optimised(text, machine))
    return assembly


def loaded(text: str, *names: str) -> list[int]:
    """The addresses of functions and variables of a module.

    An interrupt leaves nothing behind: what was made until then is freed with the engine. Two threads that
    need the same module at once make it one after the other, the second from disk.
    """
    with _lock:
        return _loaded(text, names)


def _loaded(text: str, names: Sequence[str]) -> list[int]:
    stands_for = [FORM, text, target().cpu, target().features, version()]
    key = hashlib.sha256("\0".join(stands_for).encode()).hexdigest()
    folder = folder_of_code()
    content = None if folder is None else _kept(folder / key)
    if content is None:
        machine = _machine()
        content = machine.emit_object(_optimised(text, machine))
        if folder is not None:
            _keep(folder / key, content)
    engine = llvm().create_mcjit_compiler(llvm().parse_assembly(""), _machine())
    engine.add_object_file(llvm().ObjectFileRef.from_data(content))
    engine.finalize_object()
    addresses = [engine.get_global_value_address(name) for name in names]
    engine.detach()  # the code stays as long as the process: it may be called while Python ends
    return addresses


# ----- on disk -----

def folder_of_code() -> Path | None:
    """Where machine code is kept: $TINYGRAD_CONV_CODE, else the user's cache folder; None for "off", and if
    none can be kept there.
    """
    named = os.environ.get(FOLDER)
    if named is not None and named.lower() == "off":
        return None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "tinygrad_conv" / "code"
    try:
        folder = (Path(named) if named else cache).expanduser()
    except RuntimeError:  # this user has no home
        return None
    return folder if _usable(folder) else None


def _usable(folder: Path) -> bool:
    """Whether it is a folder that this user alone can write to, or may become one; else a warning says so."""
    try:
        status = os.stat(folder)
    except OSError:
        return True
    why = ("is no folder" if not stat.S_ISDIR(status.st_mode) else
           "" if _ours(status) else "belongs to another user, or others may write there")
    if why and folder not in _told:
        _told.add(folder)
        warnings.warn(f"kernels: {folder} {why}; machine code is not kept there, but made anew by each "
                      f"process. The variable {FOLDER} names another folder, or 'off'", RuntimeWarning,
                      stacklevel=2)
    return not why


def _kept(path: Path) -> bytes | None:
    """What the file holds, if it is there, whole, and could be written by this user only."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | NONBLOCKING)) as f:
            status = os.fstat(f.fileno())
            safe = _ours(status)
            content = f.read() if safe and stat.S_ISREG(status.st_mode) else b""
    except OSError:
        return None
    if content[:DIGEST] == _checksum(path, content[DIGEST:]):
        return content[DIGEST:]
    why = "is damaged" if safe else "belongs to another user, or others may write there"
    warnings.warn(f"kernels: {path} {why}; it is not used, and made again. The variable {FOLDER} names "
                  f"another folder, or 'off'", RuntimeWarning, stacklevel=2)
    return None


def _checksum(path: Path, content: bytes) -> bytes:
    return hashlib.sha256(path.name.encode() + content).digest()


def _ours(status: os.stat_result) -> bool:
    return not hasattr(os, "getuid") or (
        status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _keep(path: Path, content: bytes) -> None:
    """Write the file in one step, if the folder can be written; it is no loss if not."""
    part = path.with_name(f"{path.name}.{os.urandom(6).hex()}.part")
    with contextlib.suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with open(part, "xb", opener=functools.partial(os.open, mode=0o600)) as f:
                f.write(_checksum(path, content) + content)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
