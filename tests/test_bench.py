"""The benchmark's own parts: what it measures is what it says, and its arithmetic is right. Nothing is timed."""
from __future__ import annotations

import csv
import io
import math
import sys

import numpy as np
import pytest

import nn
from tests.bench import __main__ as program
from tests.bench import cases, clock, curves, nets, processes, rivals
from tests.bench.convs import EIGHT, SINGLE, Conv, our_conv, torch_conv
from tests.bench.clock import BUSY
from tests.bench.rows import Row, Target, Work, as_csv, compared, fastest_rival, lines, means, summary
from tests.bench.sides import FAMILIES, torch

SMALL = [conv._replace(n=2, h=min(conv.h, 12)) for conv in EIGHT + SINGLE]
TARGETS = {"compiled": Target(most=0.5), "numpy": Target(most=1.5)}
ROUNDS = [[1e-3, 3e-3, 2e-3], [1e-3, 4e-3, 4e-3], [3e-3, 5e-3, 4e-3]]


def rows() -> list[Row]:
    return compared("a case", ["compiled", "numpy", "PyTorch"], ROUNDS, Work(2e6, 4e9), TARGETS)


# ----- what is measured -----

def test_the_eight_convolutions():
    assert [conv[:6] for conv in EIGHT] == [
        (64, 1, 28, 32, 3, 1), (64, 32, 14, 64, 3, 1), (64, 64, 32, 64, 3, 1), (1, 5, 100, 10, 5, 0),
        (64, 1, 28, 6, 5, 2), (64, 6, 14, 16, 5, 0), (32, 3, 32, 32, 3, 1), (32, 128, 8, 128, 3, 1)]
    assert all(conv[6:] == (1, 1, 1, "float32", "conv2d") for conv in EIGHT)


def test_single_convolutions_are_of_the_kinds_that_have_targets():
    kinds = [lambda c: c.stride == 2 and c.op == "conv2d", lambda c: c.dilation == 2, lambda c: c.groups == 4,
             lambda c: c.groups == c.c == c.o and c.k == 3, lambda c: c.k == 1, lambda c: c.k == 7,
             lambda c: c.op == "conv_transpose2d", lambda c: c.dtype == "float64"]
    assert [[kind(conv) for conv in SINGLE].count(True) for kind in kinds] == [1] * 8 and len(SINGLE) == 8


@pytest.mark.parametrize("conv", EIGHT + SINGLE, ids=str)
def test_operations_are_those_of_the_layer_and_its_two_adjoints(conv):
    kind = {"conv2d": nn.Conv2d, "conv_transpose2d": nn.ConvTranspose2d}[conv.op]
    table = nn.summary(kind(conv.c, conv.o, conv.k, **conv.options), (1, conv.c, conv.h, conv.h))
    assert conv.operations == 2 * 3 * conv.n * table.multiply_adds
    assert table.lines[0].shape == (1, conv.o, conv.out, conv.out)


@pytest.mark.skipif(torch is None, reason="needs PyTorch")
@pytest.mark.parametrize("conv", SMALL, ids=str)
def test_both_sides_compute_the_same(conv):
    for ours, theirs in zip(our_conv(conv)(), torch_conv(conv, "channels_last")()):
        assert str(ours.dtype) == conv.dtype
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("net", nets.NETS)
def test_a_net_of_ours_trains_and_is_built_as_pytorchs(net):
    nets.our_step(net, 2)()
    if torch is not None:
        nets.torch_step(net, 2, "channels_last")()
        ours, theirs = [nets.NETS[net].build(m).parameters() for m in (nn, torch.nn)]
        assert [tuple(p.shape) for p in ours] == [tuple(p.shape) for p in theirs]


def test_the_residual_net_has_depth_eight_in_three_stages():
    deep = [m for m in nets.resnet(nn).modules() if isinstance(m, nn.Linear)
            or isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert [m.out_channels for m in deep[:-1]] == [16, 16, 16, 32, 32, 64, 64] and deep[-1].out_features == 10
    shapes = {line.shape[1:] for line in nn.summary(nets.resnet(nn), (1, 3, 32, 32)).lines}
    assert {(16, 32, 32), (32, 16, 16), (64, 8, 8)} <= shapes


def test_operations_of_a_step_leave_out_the_gradient_of_the_images():
    first, rest = 28 * 28 * 6 * 25, 10 * 10 * 16 * 6 * 25 + 400 * 120 + 120 * 84 + 84 * 10
    assert nets.operations("lenet", 7) == 7 * 2 * (2 * first + 3 * rest)


def test_every_row_of_the_targets_is_a_case():
    names = [case.name for case in cases.cases()]
    assert len(set(names)) == len(names)
    steps = {(net, size): (t["compiled"].most, t["numpy"].most) for net, size, t in cases.STEPS}
    assert steps == {("resnet", 64): (0.8, 1.6), ("mobilenet", 32): (0.8, 1.6)} | {
        (net, size): (0.5, 1.0) if size == 1 else (0.67, 1.4) for net in ("lenet", "cnn") for size in (1, 32, 64, 256)}
    assert {f"{net} training step, batch {size}" for net, size in steps} <= set(names)
    assert set(cases.CONVS) == {str(conv) for conv in EIGHT + SINGLE} <= set(names)
    assert [(t["compiled"].most, t["numpy"].most) for _, t in cases.CONVS.values()] == [(0.9, 2)] * 8 + [(1.2, 2.5)] * 8
    assert (set(cases.MEAN[1]), cases.MEAN[2]["compiled"].most, cases.MEAN[2]["numpy"].most) == (
        {str(conv) for conv in EIGHT}, 0.67, 1.4)
    assert (cases.RIVAL["compiled"].least, cases.RIVAL["numpy"].least) == (15, 8)
    assert curves.NAMES <= set(names)


@pytest.mark.parametrize("axis", curves.CURVES)
def test_a_curve_changes_one_thing_and_keeps_the_size_of_images(axis):
    values = curves.CURVES[axis]
    found = [curves.convolution(axis, value) for value in values]
    assert all(conv.out == conv.h for conv in found) and len(set(found)) == len(values)
    field = {"batch": "n", "channels": "c", "image size": "h", "kernel size": "k"}
    assert [[getattr(conv, name) for conv in found] for a, name in field.items() if a == axis] == [values]
    assert all(len({getattr(conv, name) for conv in found}) == 1 for a, name in field.items() if a != axis)


# ----- rivals -----

@pytest.mark.parametrize("rival", rivals.RIVALS, ids=lambda rival: rival.name)
@pytest.mark.parametrize("conv", SMALL, ids=str)
def test_a_rival_computes_what_we_do(rival, conv):
    for module in rival.needs:
        pytest.importorskip(module)
    if rival.serves(conv):
        x, w = [grad.numpy() for grad in our_conv(conv)()]
        dx, dw = rival.step(conv)()
        dx = dx[:, :, conv.padding:, conv.padding:][:, :, :conv.h, :conv.h]
        np.testing.assert_allclose(np.pad(dx, [(0, n - m) for n, m in zip(x.shape, dx.shape)]), x, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(dw, w, rtol=1e-3, atol=1e-3)


def test_a_rival_serves_what_it_knows():
    plain = Conv(1, 4, 8, 4, 3, 1)
    rows = [plain, plain._replace(stride=2), plain._replace(dilation=2), plain._replace(groups=4),
            plain._replace(op="conv_transpose2d")]
    assert [[rival.serves(conv) for conv in rows] for rival in rivals.RIVALS] == [
        [True, True, True, False, False], [True, True, False, False, False], [True, False, False, False, False]]


def test_an_absent_rival_is_skipped_by_name():
    here = rivals.Rival("Here", ("math", "csv"), None)
    gone = rivals.Rival("Gone", ("math", "no_such_module"), None)
    assert rivals.installed([here, gone]) == ([here], ["Gone"])


# ----- arithmetic -----

def test_times_are_medians_and_ratios_are_medians_of_the_rounds_ratios():
    compiled, numpy, theirs = rows()
    assert [row.figure for row in rows()] == [1.0, 4.0, 4.0]
    assert (compiled.ratio, compiled.spread) == (0.5, (0.25, 0.75))  # not 1.0 / 4.0
    assert (numpy.ratio, numpy.spread) == (1.25, (1.0, 1.5))
    assert theirs.ratio is None and theirs.target is None
    assert (compiled.met, numpy.met, theirs.met) == (True, True, None)
    assert (compiled.rate, compiled.share) == (2e9, 0.5)


def test_without_pytorch_there_are_times_and_no_ratios():
    ours = compared("a case", ["compiled", "numpy"], [r[:2] for r in ROUNDS], Work(0.0, math.inf), TARGETS)
    assert [(row.figure, row.ratio, row.met) for row in ours] == [(1.0, None, None), (4.0, None, None)]


@pytest.mark.parametrize("row, met", [
    (Row("r", "s", 9.0, ratio=0.5, target=Target(most=0.5)), True),
    (Row("r", "s", 0.1, ratio=0.51, target=Target(most=0.5)), False),
    (Row("r", "s", 20.0, ratio=14.9, target=Target(least=15)), False),
    (Row("r", "s", 1.0, ratio=15.0, target=Target(least=15)), True),
    (Row("r", "s", 1500.0, target=Target(most=1500)), True),
    (Row("r", "s", 1501.0, target=Target(most=1500)), False),
    (Row("r", "s", math.nan, ratio=math.nan, target=Target(most=1)), False),
    (Row("r", "s", 1.0, ratio=0.1, target=Target(most=1), others=2 * BUSY), None),
    (Row("r", "s", 1.0), None)])
def test_met(row, met):
    assert row.met is met


def test_the_geometric_mean_is_of_all_of_its_cases_or_of_none():
    found = [Row(name, side, 1.0, ratio=ratio) for name, ratio in (("a", 0.5), ("b", 2.0), ("c", 8.0), ("d", 99.0))
             for side in ("compiled", "PyTorch")]
    mean, = means("mean", found, ["a", "b", "c"], TARGETS)
    assert (mean.side, mean.ratio, mean.met) == ("compiled", pytest.approx(2.0), False)
    busy = [row._replace(others=2 * BUSY) if row.name == "b" else row for row in found]
    assert means("mean", busy, ["a", "b", "c"], TARGETS)[0].met is None
    assert means("mean", found, ["a", "b", "e"], TARGETS) == []


def test_the_fastest_rival_counts():
    slow, fast = Row("a case", "Slow", 90.0), Row("a case", "Fast", 30.0)
    found = fastest_rival(rows(), [slow, fast], {"compiled": Target(least=15), "numpy": Target(least=8)})
    assert [(row.name, row.side, row.ratio, row.met) for row in found] == [
        ("a case: Fast / ours", "compiled", 30.0, True), ("a case: Fast / ours", "numpy", 7.5, False)]
    assert fastest_rival(rows(), [], TARGETS) == []


def test_sides_take_turns(monkeypatch):
    order = []
    monkeypatch.setattr(clock, "block", lambda step: order.append(step()) or float(len(order)))
    assert clock.by_turns([lambda: "a", lambda: "b"], budget=0) == [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]
    assert "".join(order) == "ab" * clock.LEAST


def test_what_others_used_is_told_from_what_we_used(monkeypatch):
    used, now = iter([10.0, 13.0]), iter([100.0, 102.0])
    monkeypatch.setattr(clock, "used_by_others", lambda: next(used))
    monkeypatch.setattr(clock.time, "perf_counter", lambda: next(now))
    assert clock.watched(lambda: "result") == ("result", 1.5)


def test_what_was_measured_while_others_computed_is_measured_again(monkeypatch):
    found = []
    monkeypatch.setattr(clock, "watched", lambda work: (work(), found.pop(0)))
    for others, count, kept in ([0.0, 9.0], 1, 0.0), ([0.5, 0.0], 2, 0.0), ([0.5, 0.7, 0.0], 2, 0.5):
        found[:], calls = others, []
        assert clock.quietest(lambda: calls.append(1)) == (None, kept)
        assert len(calls) == count


@pytest.mark.skipif("compiled" not in FAMILIES, reason="needs llvmlite")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_loop_of_the_peak_does_its_multiply_adds(dtype):
    from tinygrad_conv.kernels.compiled import anatomy
    from tinygrad_conv.kernels.compiled.arrays import NUMBERS, made, places
    from tinygrad_conv.kernels.compiled.launch import launch
    lanes, chains, turns = 2, 3, 1
    numbers = np.array([*range(lanes * chains), 2.0, 3.0, *[0.0] * lanes * 2], dtype)  # sums, factor, two parts
    launch(made(anatomy.fma_loop, NUMBERS[numbers.dtype], lanes, chains), places(numbers), turns)
    for lane, a in enumerate([2.0, 3.0]):
        sums = [float(k * lanes + lane) for k in range(chains)]
        for _ in range(turns * anatomy.UNROLLED):
            sums = [s * a + a for s in sums]
        assert numbers[(chains + 1) * lanes + lane] == sum(sums)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_measured_in_a_process_of_its_own():
    numbers = 4 * sum(p.size for p in nets.cnn(nn).parameters())  # with their gradients, and Adam's two moments
    assert numbers * 4 / 2**20 < processes.measured("memory", "numpy", "cnn", 4) < 50


def test_a_process_that_fails_says_why():
    with pytest.raises(RuntimeError, match="memory numpy nobody 4 failed:(.|\n)*KeyError: 'nobody'"):
        processes.measured("memory", "numpy", "nobody", 4)


# ----- what is said and written -----

def test_a_line_says_everything_once():
    said = lines([row._replace(others=2 * BUSY) for row in rows()]).splitlines()
    assert [line.split() for line in said] == [
        "a case compiled 1.00 ms 0.50x (0.25 to 0.75) at most 0.5: not judged 2.0 50% others took 0.2 CPUs".split(),
        "numpy 4.00 ms 1.25x (1.00 to 1.50) at most 1.5: not judged 0.5 12% others took 0.2 CPUs".split(),
        "PyTorch 4.00 ms 0.5 12% others took 0.2 CPUs".split()]


def test_the_summary_names_what_is_not_met_and_what_cannot_be_judged():
    missed = Row("b", "numpy", 5.0, ratio=1.6, target=Target(most=1.5))
    unsure = [missed._replace(name="c", side=side, others=2 * BUSY) for side in ("compiled", "numpy")]
    assert summary([*rows(), missed, *unsure]).splitlines() == [
        "2 of 5 targets met", "  not met: b, numpy: 1.60, at most 1.5",
        "2 not judged, since other processes computed meanwhile; measure them again:", "  c"]
    assert summary(rows()) == "2 of 2 targets met"


def test_csv():
    mean = Row("mean", "numpy", math.nan, "", 1.6, target=Target(most=1.5))
    head, first, *_, last = csv.reader(io.StringIO(as_csv([*rows(), mean]).decode()))
    assert dict(zip(head, first)) == {
        "name": "a case", "side": "compiled", "figure": "1", "unit": "ms", "ratio": "0.5", "GFLOP/s": "2",
        "share of peak": "0.5", "target": "at most 0.5", "met": "met", "CPUs of others": "0.00"}
    assert last == ["mean", "numpy", "", "", "1.6", "", "", "at most 1.5", "NOT MET", "0.00"]


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """The program, with cases that are known."""
    found = [cases.Case("a case", lambda name: rows())]
    found += [cases.Case(name, lambda name: [Row(name, side, 1.0) for side in curves.LINES]) for name in curves.NAMES]
    monkeypatch.setattr(program, "cases", lambda: found)
    monkeypatch.setattr(program, "fashion", lambda: [])
    monkeypatch.setattr(program, "peak", lambda dtype: 4e9)
    monkeypatch.setattr(program, "torch", None)
    monkeypatch.setattr(program, "OUT", tmp_path)
    return tmp_path


def test_the_program_writes_a_table_a_file_and_a_picture(measured, capsys):
    pytest.importorskip("matplotlib")
    program.main()
    said = capsys.readouterr().out
    assert "not installed, skipped: PyTorch\n" in said and "2 of 2 targets met" in said
    assert (measured / "bench.csv").read_text().count("\n") == 1 + 3 + 3 * len(curves.NAMES)
    assert (measured / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_a_part_has_a_file_of_its_own(measured):
    program.main("a case")
    assert [path.name for path in measured.iterdir()] == ["a-case.csv"]


def test_a_name_that_no_case_has_is_refused(measured):
    with pytest.raises(SystemExit, match="no case has 'nothing' in its name; the names are:\n  a case"):
        program.main("nothing")
