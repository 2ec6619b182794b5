"""How a kernel's work is shared among threads: by machine code, which needs no lock of Python's.

A call is cut into parts, and whoever is free takes the next one: the thread that calls, and workers. Those
are threads of parallel.py that were asked in. They watch the ticket below for some time after their last
part, since the next call of a training step comes soon, and to wake a thread takes as long as a small
kernel; then they leave. All of a call happens inside one call of C. So no interrupt, handler or finaliser
can come between, and whoever finds the threads busy with another thread's call does all parts alone.

The ticket is one number of three fields: which call it is, how many parts it has, and how many are taken. To
take a part is to count up that number if it is still what was read, so a worker that was late takes nothing
of a later call. The other fields stay as they are until all parts are done.
"""
from __future__ import annotations

import contextlib
import ctypes
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .. import parallel
from ..memory import keep_memory
from .machine import loaded, target

PATIENCE = 1 << 15   # looks at the ticket without a part, after which a worker leaves: below 1 ms
LOOKS = 1 << 10      # of the calling thread, after which it lets others have the CPU, again and again
PARTS = 1 << 15      # of a call, at most
WORTH_THREADS = 1 << 16        # multiply-adds; below, handing work over costs more
BYTES_WORTH_THREADS = 1 << 17  # or bytes read and written

# The fields of @team, each in a cache line of its own where it changes often
TICKET, DONE, CALL, AWAKE, LEAVE = 0, 8, 16, 24, 32  # CALL: busy, kernel, arguments, count, parts, yield

PAUSES = {"x86_64": ("declare void @llvm.x86.sse2.pause()", "call void @llvm.x86.sse2.pause()"),
          "aarch64": ("declare void @llvm.aarch64.hint(i32)", "call void @llvm.aarch64.hint(i32 1)")}

TEXT = """
@team = global [40 x i64] zeroinitializer, align 64
{declared}

define internal i64 @cut(i64 %count, i64 %part, i64 %parts) {{    ; where a part begins
  %product = mul i64 %count, %part
  %at = udiv i64 %product, %parts
  ret i64 %at
}}

define internal void @one(ptr %kernel, ptr %arguments, i64 %count, i64 %part, i64 %parts) {{
  %next = add i64 %part, 1
  %first = call i64 @cut(i64 %count, i64 %part, i64 %parts)
  %last = call i64 @cut(i64 %count, i64 %next, i64 %parts)
  call void %kernel(ptr %arguments, i64 %first, i64 %last, i64 %part)
  ret void
}}

define internal i1 @take() {{    ; a part of the call under way, if one is left; whether one was
entry:
  br label %look
look:
  %ticket = load atomic i64, ptr {TICKET} seq_cst, align 8
  %part = and i64 %ticket, 65535
  %shifted = lshr i64 %ticket, 16
  %parts = and i64 %shifted, 65535
  %left = icmp ult i64 %part, %parts
  br i1 %left, label %try, label %none
try:
  %kernel = load ptr, ptr {KERNEL}
  %arguments = load ptr, ptr {ARGUMENTS}
  %count = load i64, ptr {COUNT}
  %taken = add i64 %ticket, 1
  %pair = cmpxchg ptr {TICKET}, i64 %ticket, i64 %taken seq_cst seq_cst
  %mine = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %mine, label %do, label %look
do:
  call void @one(ptr %kernel, ptr %arguments, i64 %count, i64 %part, i64 %parts)
  %old = atomicrmw add ptr {DONE}, i64 1 seq_cst
  ret i1 true
none:
  ret i1 false
}}

define void @serve(i64 %patience) {{    ; what a worker does
entry:
  %up = atomicrmw add ptr {AWAKE}, i64 1 seq_cst
  br label %look
look:
  %idle = phi i64 [0, %entry], [0, %found], [%more, %wait]
  %got = call i1 @take()
  br i1 %got, label %found, label %wait
found:
  br label %look
wait:
  {pause}
  %more = add i64 %idle, 1
  %leave = load atomic i64, ptr {LEAVE} seq_cst, align 8
  %told = icmp ne i64 %leave, 0
  %tired = icmp ugt i64 %more, %patience
  %go = or i1 %told, %tired
  br i1 %go, label %end, label %look
end:
  %down = atomicrmw sub ptr {AWAKE}, i64 1 seq_cst
  ret void
}}

define void @share(ptr %kernel, ptr %arguments, i64 %count, i64 %parts) {{    ; what the caller does
entry:
  %single = icmp ule i64 %parts, 1
  br i1 %single, label %alone, label %ask
ask:
  %pair = cmpxchg ptr {BUSY}, i64 0, i64 1 seq_cst seq_cst
  %free = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %free, label %begin, label %alone
alone:
  %part = phi i64 [0, %entry], [0, %ask], [%next, %alone]
  call void @one(ptr %kernel, ptr %arguments, i64 %count, i64 %part, i64 %parts)
  %next = add i64 %part, 1
  %further = icmp ult i64 %next, %parts
  br i1 %further, label %alone, label %end
begin:
  store ptr %kernel, ptr {KERNEL}
  store ptr %arguments, ptr {ARGUMENTS}
  store i64 %count, ptr {COUNT}
  store i64 0, ptr {DONE}
  store atomic i64 0, ptr {LEAVE} seq_cst, align 8
  %old = load atomic i64, ptr {TICKET} seq_cst, align 8
  %call = lshr i64 %old, 32
  %following = add i64 %call, 1
  %high = shl i64 %following, 32
  %middle = shl i64 %parts, 16
  %ticket = or i64 %high, %middle
  store atomic i64 %ticket, ptr {TICKET} seq_cst, align 8
  br label %work
work:
  %got = call i1 @take()
  br i1 %got, label %work, label %look
look:
  %looks = phi i64 [0, %work], [%more, %still], [0, %again]
  %done = load atomic i64, ptr {DONE} seq_cst, align 8
  %all = icmp eq i64 %done, %parts
  br i1 %all, label %release, label %still
still:
  {pause}
  %more = add i64 %looks, 1
  %long = icmp ugt i64 %more, {LOOKS}
  br i1 %long, label %give, label %look
give:
  %yield = load ptr, ptr {YIELD}
  %can = icmp ne ptr %yield, null
  br i1 %can, label %yes, label %again
yes:
  %status = call i32 %yield()
  br label %again
again:
  br label %look
release:
  store atomic i64 0, ptr {BUSY} seq_cst, align 8
  br label %end
end:
  ret void
}}
"""


def _text() -> str:
    """The functions above, for this kind of CPU."""
    declared, pause = PAUSES.get(target().triple.partition("-")[0], ("", ""))
    fields = {"TICKET": TICKET, "DONE": DONE, "BUSY": CALL, "KERNEL": CALL + 1, "ARGUMENTS": CALL + 2,
              "COUNT": CALL + 3, "YIELD": CALL + 4, "AWAKE": AWAKE, "LEAVE": LEAVE}
    places = {name: f"getelementptr (i64, ptr @team, i64 {k})" for name, k in fields.items()}
    return TEXT.format(declared=declared, pause=pause, LOOKS=LOOKS, **places)


class Team(NamedTuple):
    """The functions, and the numbers that they share."""

    share: Callable[[int, Any, int, int], None]
    serve: Callable[[int], None]
    fields: Any

    def forget(self) -> None:
        """In the child of a fork there are no workers, and no call is under way."""
        give = self.fields[CALL + 4]
        ctypes.memset(self.fields, 0, ctypes.sizeof(self.fields))
        self.fields[CALL + 4] = give


@functools.cache
def team() -> Team:
    keep_memory()
    share, serve, numbers = loaded(_text(), "share", "serve", "team")
    fields = (ctypes.c_int64 * 40).from_address(numbers)
    with contextlib.suppress(AttributeError, OSError):  # a system without it
        fields[CALL + 4] = ctypes.cast(ctypes.CDLL(None).sched_yield, ctypes.c_void_p).value
    made = Team(ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(
        share), ctypes.CFUNCTYPE(None, ctypes.c_int64)(serve), fields)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=made.forget)
    parallel.let_go = functools.partial(fields.__setitem__, LEAVE, 1)
    return made


def parts_of(count: int, worth: float) -> int:
    """Into how many parts a call is cut: one a thread, if it is so many times worth handing one over."""
    return max(1, min(parallel.get_num_threads(), count, PARTS, 1 + int(worth)))


def launch(kernel: int, arguments: Sequence[int], count: int, parts: int = 1) -> None:
    """Let a kernel do range(count), cut into parts; `arguments` are places of arrays, and whole numbers.

    It gets its part's `first` and `last` of range(count), and the part's own number.
    """
    made = team()
    if parts > 1 and made.fields[AWAKE] < parallel.get_num_threads() - 1:
        parallel.ask(made.serve, PATIENCE)
    made.share(kernel, (ctypes.c_int64 * len(arguments))(*arguments), count, parts)
