"""From text to machine code: LLVM through llvmlite."""
from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from .ir import INDEX, Code


class Target(NamedTuple):
    """This CPU as LLVM sees it: bytes of a vector register, how many there are."""

    cpu: str
    features: str
    width: int
    registers: int


@functools.cache
def _llvm() -> Any:
    import llvmlite.binding as llvm
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


@functools.cache
def target() -> Target:
    llvm = _llvm()
    features = llvm.get_host_cpu_features()
    if features.get("avx512f") and features.get("avx512vl"):
        width, registers = 64, 32
    elif features.get("avx2") and features.get("fma"):
        width, registers = 32, 16
    else:
        width, registers = 16, 32 if features.get("neon") else 16
    return Target(llvm.get_host_cpu_name(), features.flatten(), width, registers)


@functools.cache
def _machine() -> Any:
    llvm, t = _llvm(), target()
    return llvm.Target.from_default_triple().create_target_machine(opt=3, cpu=t.cpu, features=t.features)


_engines: list[Any] = []  # kept alive as long as their code may run


def assembly(text: str) -> str:
    """The machine code of a module, as text."""
    return _machine().emit_assembly(_optimised(text))


def _optimised(text: str) -> Any:
    llvm = _llvm()
    module = llvm.parse_assembly(text)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_unrolling = options.slp_vectorization = options.loop_vectorization = False
    builder = llvm.create_pass_builder(_machine(), options)
    builder.getModulePassManager().run(module, builder)
    return module


def compiled(code: Code) -> Callable[..., None]:
    """The function, callable with addresses and integers."""
    llvm = _llvm()
    engine = llvm.create_mcjit_compiler(_optimised(code.text()), _machine())
    engine.finalize_object()
    _engines.append(engine)
    kinds = [ctypes.c_int64 if a.type == INDEX else ctypes.c_void_p for a in code.arguments]
    return ctypes.CFUNCTYPE(None, *kinds)(engine.get_function_address(code.name))
