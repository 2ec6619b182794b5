"""Kernels in machine code: their numbers, their limits, what is kept on disk, and how they are chosen.

What holds where LLVM is absent is tested in test_families.py.
"""
from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tinygrad_conv as tg
from tinygrad_conv.kernels import conv as plain_conv
from tinygrad_conv.kernels import pool as plain
from tinygrad_conv.kernels import table
from tinygrad_conv.kernels.geometry import conv_geometry, pool_geometry

pytest.importorskip("llvmlite")
from tinygrad_conv.kernels.compiled import arrays, family, ir, launch, machine  # noqa: E402

CLOSE = {np.float64: 1e-12, np.float32: 1e-4}


def close(a: np.ndarray, b: np.ndarray, kind: type) -> None:
    assert a.dtype == kind and a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=CLOSE[kind], atol=CLOSE[kind])


def laid_out(rng: np.random.Generator, shape: tuple[int, ...], kind: type) -> np.ndarray:
    """Random numbers, channels last in memory, or first, or every second of a larger array."""
    a = rng.standard_normal(shape).astype(kind)
    how = rng.integers(3)
    if how == 0:
        return np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    return a if how == 1 else np.repeat(a, 2, axis=3)[..., ::2]


def geometries(rng: np.random.Generator, count: int):
    """(batch, channels, filters of all groups, geometry), small and odd."""
    while count:
        groups = int(rng.choice([1, 1, 2, 3]))
        c, o = groups * int(rng.integers(1, 6)), groups * int(rng.integers(1, 20))
        if rng.random() < 0.2:
            c = o = groups = int(rng.integers(2, 20))
        size, kernel = rng.integers(1, 12, 2).tolist(), rng.integers(1, 4, 2).tolist()
        try:
            geometry = conv_geometry("conv2d", tuple(size), tuple(kernel), tuple(rng.integers(1, 4, 2).tolist()),
                                     tuple(map(tuple, rng.integers(-1, 3, (2, 2)).tolist())),
                                     tuple(rng.integers(1, 3, 2).tolist()), groups)
        except ValueError:
            continue
        count -= 1
        yield int(rng.integers(1, 4)), c, o, geometry


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_compiled_convolution_equals_that_of_numpy(rng, kind):
    """The family `numpy` is compared with seven plain loops in test_conv.py."""
    for n, c, o, geometry in geometries(rng, 30):
        x = laid_out(rng, (n, c, *geometry.size), kind)
        w = rng.standard_normal((o, c // geometry.groups, *geometry.kernel)).astype(kind)
        g, b = laid_out(rng, (n, o, *geometry.out), kind), rng.standard_normal(o).astype(kind)
        close(family.conv2d(x, w, b, geometry), plain_conv.conv2d(x, w, b, geometry), kind)
        close(family.input_adjoint(g, w, None, geometry), plain_conv.input_adjoint(g, w, None, geometry), kind)
        close(family.weight_adjoint(g, x, geometry), plain_conv.weight_adjoint(g, x, geometry), kind)


def test_the_three_compiled_maps_are_adjoint(rng):
    """<g, conv2d(x, w)> = <input_adjoint(g, w), x> = <weight_adjoint(g, x), w>."""
    for n, c, o, geometry in geometries(rng, 20):
        x, g = rng.standard_normal((n, c, *geometry.size)), rng.standard_normal((n, o, *geometry.out))
        w = rng.standard_normal((o, c // geometry.groups, *geometry.kernel))
        t = np.vdot(g, family.conv2d(x, w, None, geometry))
        scale = 1e-12 * np.abs(g).sum() * np.abs(w).max()
        assert abs(np.vdot(family.input_adjoint(g, w, None, geometry), x) - t) < scale
        assert abs(np.vdot(family.weight_adjoint(g, x, geometry), w) - t) < scale


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_compiled_pooling_equals_that_of_numpy_also_ties_and_nan(rng, kind):
    tried = 0
    while tried < 25:
        padding = tuple(map(tuple, rng.integers(-1, 2, (2, 2)).tolist()))
        try:
            geometry = pool_geometry("pool", tuple(rng.integers(1, 12, 2).tolist()),
                                     *(tuple(rng.integers(1, 4, 2).tolist()) for _ in range(2)), padding,
                                     tuple(rng.integers(1, 3, 2).tolist()), bool(rng.integers(2)))
        except ValueError:
            continue
        tried += 1
        n, c = rng.integers(1, 4), rng.integers(1, 40)
        x = rng.integers(-2, 3, (n, *geometry.size, c)).astype(kind).transpose(0, 3, 1, 2)
        x[rng.random(x.shape) < rng.choice([0, 0.2])] = rng.choice([np.nan, -np.inf])
        y = plain.maxima(x, geometry)
        g, u = (rng.standard_normal((n, *a.shape[2:], c)).astype(kind).transpose(0, 3, 1, 2) for a in (y, x))
        divisor = rng.uniform(1, 3, geometry.out)
        close(family.maxima(x, geometry), y, kind)
        close(family.maxima_scatter(g, x, y, geometry), plain.scatter(g, x, y, geometry), kind)
        close(family.maxima_gather(u, x, y, geometry), plain.gather(u, x, y, geometry), kind)
        close(family.averages(u, divisor, geometry), plain.averages(u, divisor, geometry), kind)
        close(family.averages_adjoint(g, divisor, geometry), plain.averages_adjoint(g, divisor, geometry), kind)


# ----- nothing is read or written outside the arrays -----

PROTECTED = """
import ctypes, math, mmap, sys
import numpy as np
from tests import test_compiled as cases
from tinygrad_conv.kernels.compiled import family

page, libc, kept = mmap.PAGESIZE, ctypes.CDLL(None, use_errno=True), []
libc.mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int

def fenced(shape, dtype, at_end):
    # an array between two pages that nobody may touch, flush with one of them
    shape = tuple(map(int, np.atleast_1d(shape)))
    size = math.prod(shape) * np.dtype(dtype).itemsize
    middle = -(-size // page) * page
    memory = mmap.mmap(-1, middle + 2 * page)
    kept.append(memory)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for fence in (address, address + page + middle):
        assert libc.mprotect(fence, page, 0) == 0
    return np.frombuffer(memory, dtype, math.prod(shape), page + (middle - size) * at_end).reshape(shape)

class Numpy:
    # NumPy, with fences around what the kernels are given to work in
    def __init__(self, at_end): self.at_end = at_end
    def __getattr__(self, name): return getattr(np, name)
    def empty(self, shape, dtype): return fenced(shape, dtype, self.at_end)
    def empty_like(self, a): return self.empty(a.shape, a.dtype)
    def zeros(self, shape, dtype=np.float64): return self.empty(shape, dtype)
    def ascontiguousarray(self, a, dtype=None):
        copy = fenced(a.shape, dtype or a.dtype, self.at_end)
        copy[...] = a
        return copy

rng = np.random.default_rng(int(sys.argv[1]))
for n, c, o, geometry in cases.geometries(rng, 25):
    at_end, kind = bool(rng.integers(2)), rng.choice([np.float32, np.float64])
    family.np = Numpy(at_end)
    def filled(*shape):
        a = fenced(shape, kind, at_end)
        a[...] = rng.standard_normal(shape)
        return a
    x, g = filled(n, c, *geometry.size), filled(n, o, *geometry.out)
    w, b = filled(o, c // geometry.groups, *geometry.kernel), filled(o)
    family.conv2d(x, w, b, geometry), family.input_adjoint(g, w, None, geometry), family.weight_adjoint(g, x, geometry)
    x = filled(n, *geometry.size, c).transpose(0, 3, 1, 2)
    if geometry.groups == 1 and not geometry.blind:
        y = family.maxima(x, geometry)
        u = family.maxima_scatter(y, x, y, geometry)
        family.maxima_gather(u, x, y, geometry)
        family.averages_adjoint(family.averages(x, np.ones(geometry.out), geometry), np.ones(geometry.out), geometry)
print("untouched")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="protects pages of memory")
@pytest.mark.parametrize("seed", [0, 1])
def test_compiled_kernels_stay_inside_their_arrays(seed):
    """Every operand, scratch and result lies flush with a page that kills whoever touches it."""
    run = subprocess.run([sys.executable, "-c", PROTECTED, str(seed)], capture_output=True, text=True, timeout=300)
    assert run.stdout == "untouched\n", run.stderr[-2000:] or f"killed by signal {-run.returncode}"


def test_compiled_kernels_take_misaligned_and_reversed_arrays(rng):
    geometry = conv_geometry("conv2d", (5, 6), (3, 3), 1, 1, 1, 1)
    x, w = rng.standard_normal((2, 3, 5, 6)), rng.standard_normal((4, 3, 3, 3))
    shifted = np.frombuffer(b"0" + x.tobytes(), np.float64, offset=1).reshape(x.shape)
    assert not shifted.flags.aligned
    expected = plain_conv.conv2d(x, w, None, geometry)
    close(family.conv2d(shifted, w, None, geometry), expected, np.float64)
    reversed_ = x[:, ::-1, ::-1].copy()[:, ::-1, ::-1]
    close(family.conv2d(reversed_, w, None, geometry), expected, np.float64)


def test_nan_and_inf_travel_as_in_numpy(rng):
    geometry = conv_geometry("conv2d", (6, 5), (3, 2), (2, 1), 0, 1, 1)
    for bad in (np.nan, np.inf, -np.inf):
        x, w = rng.standard_normal((1, 2, 6, 5)), rng.standard_normal((3, 2, 3, 2))
        g = rng.standard_normal((1, 3, *geometry.out))
        for a in (x, w, g):
            before, a.flat[3] = a.flat[3], bad
            close(family.conv2d(x, w, None, geometry), plain_conv.conv2d(x, w, None, geometry), np.float64)
            close(family.input_adjoint(g, w, None, geometry), plain_conv.input_adjoint(g, w, None, geometry),
                  np.float64)
            close(family.weight_adjoint(g, x, geometry), plain_conv.weight_adjoint(g, x, geometry), np.float64)
            a.flat[3] = before


# ----- what is kept on disk -----

SCALE = ir.Code("double", x=ir.POINTER)
SCALE.store(SCALE.load(SCALE.arguments[0], 0, "double") * SCALE.constant(3.0), SCALE.arguments[0], 0)


def tripled() -> float:
    a = np.array([2.0])
    launch.launch(machine.compiled(SCALE), arrays.places(a), 1)
    return float(a[0])


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(machine.FOLDER, str(tmp_path / "code"))
    return tmp_path / "code"


def test_machine_code_is_kept_and_used_again(folder, monkeypatch):
    assert tripled() == 6 and len(list(folder.iterdir())) == 1
    monkeypatch.setattr(machine, "_optimised", lambda *call: pytest.fail("made again"))
    assert tripled() == 6
    if hasattr(os, "getuid"):
        assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[:40] + b"x" + b[41:], lambda b: b * 2])
def test_damaged_machine_code_is_made_again_with_a_warning(folder, damage):
    tripled()
    path, = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    with pytest.warns(RuntimeWarning, match="is damaged"):
        assert tripled() == 6
    assert path.read_bytes() == whole


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="modes of files")
@pytest.mark.parametrize("which", ["file", "folder"])
def test_machine_code_that_others_may_write_is_not_run(folder, which):
    tripled()
    path, = folder.iterdir()
    (path if which == "file" else folder).chmod(0o770)
    with pytest.warns(RuntimeWarning, match="others may write"):
        assert tripled() == 6


def test_machine_code_is_not_kept_if_so_wished_or_if_it_cannot_be(tmp_path, monkeypatch):
    monkeypatch.setenv(machine.FOLDER, "off")
    assert tripled() == 6 and machine.folder_of_code() is None
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(machine.FOLDER, str(tmp_path / "file" / "below"))
    assert tripled() == 6


def test_an_interrupt_while_code_is_kept_leaves_no_file(folder, monkeypatch):
    def interrupt(*call):
        raise KeyboardInterrupt
    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        tripled()
    assert list(folder.iterdir()) == []
    monkeypatch.undo()
    assert tripled() == 6


def test_the_name_of_kept_code_stands_for_text_cpu_and_version(folder, monkeypatch):
    tripled()
    monkeypatch.setattr(machine, "version", lambda: "LLVM 1")
    tripled()
    assert len(list(folder.iterdir())) == 2


# ----- how kernels are chosen -----

def used(monkeypatch) -> list[str]:
    """Which operations of the family `compiled` run from now on."""
    names: list[str] = []
    for name in ("conv2d", "input_adjoint", "weight_adjoint", "maxima", "maxima_scatter"):
        monkeypatch.setattr(family, name, lambda *call, name=name, real=getattr(family, name): (
            names.append(name), real(*call))[1])
    return names


def step(n: int = 8) -> None:
    x, w = tg.ones(n, 3, 16, 16, requires_grad=True), tg.ones(8, 3, 3, 3, requires_grad=True)
    tg.max_pool2d(tg.conv2d(x, w), 2).sum().backward()


def test_large_calls_go_to_machine_code_by_themselves(monkeypatch):
    names = used(monkeypatch)
    step()
    assert sorted(names) == sorted(["conv2d", "maxima", "maxima_scatter", "input_adjoint", "weight_adjoint"])
    names.clear()
    tg.conv2d(tg.ones(1, 1, 4, 4), tg.ones(1, 1, 3, 3))
    assert names == []


def test_use_kernels_takes_effect_at_once_and_ends_with_its_block(monkeypatch):
    names = used(monkeypatch)
    with tg.use_kernels("numpy"):
        assert tg.kernels_in_use() == "numpy"
        step()
        assert names == []
        with tg.use_kernels("compiled"):
            tg.conv2d(tg.ones(1, 1, 4, 4), tg.ones(1, 1, 3, 3))
            assert names == ["conv2d"]
        assert tg.kernels_in_use() == "numpy"
    assert tg.kernels_in_use() == "auto"
    try:
        tg.use_kernels("numpy")
        assert tg.kernels_in_use() == "numpy"
    finally:
        tg.use_kernels("auto")


def test_use_kernels_refuses_what_is_not_there(monkeypatch):
    with pytest.raises(ValueError, match=r"use_kernels: family must be one of 'auto', .*got 'gpu'"):
        tg.use_kernels("gpu")
    monkeypatch.setattr(table, "families", lambda: ["numpy"])
    with pytest.raises(ImportError, match=r"tinygrad_conv\[fast\]"):
        tg.use_kernels("compiled")
    assert tg.kernels_in_use() == "numpy"  # the only one
    monkeypatch.undo()
    assert tg.kernels_in_use() == "auto"


def test_half_precision_is_left_to_numpy(monkeypatch):
    names = used(monkeypatch)
    with tg.use_kernels("compiled"):
        y = tg.conv2d(tg.ones(1, 1, 4, 4, dtype=np.float16), tg.ones(1, 1, 3, 3, dtype=np.float16))
    assert names == [] and y.dtype == np.float16


def test_results_do_not_depend_on_what_was_made_before(rng):
    """The same call gives the same bits, first and later, in any order."""
    geometry = conv_geometry("conv2d", (14, 14), (3, 3), 1, 1, 1, 1)
    x, w = rng.standard_normal((4, 6, 14, 14), np.float32), rng.standard_normal((8, 6, 3, 3), np.float32)
    g = rng.standard_normal((4, 8, 14, 14), np.float32)
    first = [family.conv2d(x, w, None, geometry), family.weight_adjoint(g, x, geometry)]
    arrays.made.cache_clear(), family._convolution.cache_clear(), family._correlation.cache_clear()
    again = [family.conv2d(x, w, None, geometry), family.weight_adjoint(g, x, geometry)]
    assert all(np.array_equal(a, b) for a, b in zip(first, again))


# ----- threads, forks, interrupts -----

def test_threads_that_call_at_once_do_not_meet(rng):
    """Kernels that none of them has made yet, each with its own scratch and sums."""
    geometry = conv_geometry("conv2d", (9, 8), (3, 2), 1, 1, 1, 1)
    calls = [(rng.standard_normal((3, 5, 9, 8)), rng.standard_normal((7, 5, 3, 2))) for _ in range(8)]
    grads = [rng.standard_normal((3, 7, *geometry.out)) for _ in calls]
    expected = [(plain_conv.conv2d(x, w, None, geometry), plain_conv.input_adjoint(g, w, None, geometry),
                 plain_conv.weight_adjoint(g, x, geometry)) for (x, w), g in zip(calls, grads)]
    arrays.made.cache_clear(), family._convolution.cache_clear(), family._correlation.cache_clear()
    start = threading.Barrier(len(calls))

    def work(call, g):
        x, w = call
        start.wait(30)
        return [(family.conv2d(x, w, None, geometry), family.input_adjoint(g, w, None, geometry),
                 family.weight_adjoint(g, x, geometry)) for _ in range(10)]
    with ThreadPoolExecutor(len(calls)) as pool:
        for found, right in zip(pool.map(work, calls, grads), expected):
            for several in found:
                for a, b in zip(several, right):
                    close(a, b, np.float64)


FORKED = """
import os, signal, threading
from tests import test_compiled as cases
from tinygrad_conv.kernels.compiled import machine

os.environ[machine.FOLDER] = "off"  # each is made anew
signal.alarm(60)
stop = threading.Event()
def make():
    while not stop.is_set():
        cases.tripled()
thread = threading.Thread(target=make)
thread.start()
for _ in range(20):
    child = os.fork()
    if not child:
        signal.alarm(30)
        os._exit(cases.tripled() != 6)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
stop.set()
thread.join()
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_child_that_is_forked_while_a_thread_makes_code_can_make_its_own():
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], capture_output=True, text=True, timeout=120)
    assert run.stdout == "done\n", run.stderr[-2000:] or f"killed by signal {-run.returncode}"


def test_an_interrupt_while_code_is_made_leaves_nothing(rng, folder, monkeypatch):
    geometry = conv_geometry("conv2d", (4, 4), (2, 2), 1, 1, 1, 1)
    x, w = rng.standard_normal((1, 2, 4, 4)), rng.standard_normal((3, 2, 2, 2))
    arrays.made.cache_clear(), family._convolution.cache_clear()
    right = machine._optimised

    def interrupt(*call):
        monkeypatch.setattr(machine, "_optimised", right)
        raise KeyboardInterrupt
    monkeypatch.setattr(machine, "_optimised", interrupt)
    with pytest.raises(KeyboardInterrupt):
        family.conv2d(x, w, None, geometry)
    assert not folder.exists()
    close(family.conv2d(x, w, None, geometry), plain_conv.conv2d(x, w, None, geometry), np.float64)


# ----- kernels are not made without end, and files are what their names say -----

def test_ever_new_shapes_are_left_to_numpy_after_some(monkeypatch, rng):
    from tinygrad_conv.kernels.compiled import arrays

    def of_softmax():
        return [shape for generator, shape in arrays.MADE if generator is kind]
    with tg.use_kernels("compiled"):
        tg.log_softmax(tg.from_numpy(rng.standard_normal((8, 2299))), axis=1)
        kind = arrays.MADE[-1][0]
        count = len(of_softmax())
        monkeypatch.setattr(arrays, "MOST", count + 3)
        for n in range(2300, 2310):
            x = rng.standard_normal((8, n))
            y = tg.log_softmax(tg.from_numpy(x), axis=1)
            np.testing.assert_allclose(np.exp(y.data).sum(1), 1.0, rtol=1e-10)
    assert len(of_softmax()) == count + 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("how", ["exchanged", "a pipe"])
def test_a_kept_file_that_is_another_is_not_run(how, tmp_path):
    program = """
import os, sys, warnings
import numpy as np, tinygrad_conv as tg
x = np.linspace(-2, 2, 64 * 512, dtype=np.float32).reshape(64, 512)
with tg.use_kernels("compiled"):
    print(*[float(f(tg.tensor(x)).numpy().sum()) for f in (tg.relu, tg.sigmoid, tg.hardtanh)])
"""
    env = {**os.environ, "TINYGRAD_CONV_CODE": str(tmp_path / "code"), "PYTHONWARNINGS": "ignore"}

    def run():
        return subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, timeout=120)
    first = run()
    assert first.returncode == 0 and first.stdout, first.stderr
    files = sorted((tmp_path / "code").iterdir())
    assert len(files) > 2
    if how == "exchanged":
        contents = [f.read_bytes() for f in files]
        for f, content in zip(files, contents[1:] + contents[:1]):
            f.write_bytes(content)
    else:
        for f in files:
            f.unlink()
            os.mkfifo(f, 0o600)
    again = run()
    assert again.returncode == 0 and again.stdout == first.stdout, again.stderr


@pytest.mark.parametrize("how", ["raise ValueError('broken')", "pass"])
def test_a_broken_library_leaves_the_work_to_numpy(how, tmp_path):
    (tmp_path / "llvmlite").mkdir()
    (tmp_path / "llvmlite" / "__init__.py").write_text(how + "\n")
    (tmp_path / "llvmlite" / "binding.py").write_text("llvm_version_info = (22, 0, 0)\n")
    program = """
import numpy as np, tinygrad_conv as tg
y = tg.relu(tg.tensor(np.full((64, 512), -1.0, np.float32)))
print(float(y.numpy().sum()), tg.kernels_in_use())
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=120, env={
        **os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.getcwd()]), "TINYGRAD_CONV_KERNELS": "compiled"})
    assert done.stdout.split() == ["0.0", "numpy"], done.stderr


def test_long_sums_lose_no_more_digits_than_numpys(rng):
    x = rng.random((100_000, 5), dtype=np.float32)
    exact = x.T.astype(np.float64) @ x.astype(np.float64)
    with tg.use_kernels("compiled"):
        ours = tg.matmul(tg.from_numpy(x.T), tg.from_numpy(x)).data
        rows = tg.linear(tg.from_numpy(np.ascontiguousarray(x.T)), tg.from_numpy(np.ascontiguousarray(x.T))).data
        image = np.ones((1, 1, 4097, 4097), np.float32)
        assert tg.conv2d_weight(image, image, 1).item() == np.float32(4097.0 ** 2)
    assert np.abs(ours / exact - 1).max() < 1e-5 and np.abs(rows / exact - 1).max() < 1e-5
