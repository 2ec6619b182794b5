"""Kernels in machine code, made by LLVM for this CPU: the family `compiled` (extra `fast`)."""
