"""Certificates: every op of this package has one, every check can fail, and the mistakes planted are recognised."""
from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_conv as tg
from tests import certify_plants
from tests.op_table import all_rows
from tinygrad_conv.certify import builtin  # noqa: F401  (which registers samples)
from tinygrad_conv.certify.checks import CHECKS
from tinygrad_conv.kernels import table
from tinygrad_conv.ops import activation, conv
from tinygrad_conv.primitive import registered

ROOT = Path(__file__).resolve().parent.parent
X = np.array([[0.5, -1.0, 2.0], [0.7, 1.2, -0.4]])
W = np.array([[1.5, 0.3, -0.6], [-0.8, 0.9, 1.1]])
OURS = sorted([op for op in registered if op.__module__.startswith("tinygrad_conv.")], key=lambda op: (op.__module__, op.name))


@pytest.fixture(autouse=True)
def certificates_as_before():
    """They are seen in drawings, which other tests compare."""
    before = {op: op.certificate for op in registered}
    yield
    for op, certificate in before.items():
        op.certificate = certificate


def primitive(fn, *vjps, **how):
    op = tg.primitive(fn)
    op.defvjp(*vjps)
    return op


# ----- this package's own -----

@pytest.mark.parametrize("op", OURS, ids=lambda op: op.name)
def test_every_primitive_of_this_package_is_certified(op):
    certificate = tg.certify(op)
    assert certificate.ok, str(certificate)
    assert certificate.diagnosis is None and op.certificate is certificate
    assert [check.name for check in certificate.checks] == [*CHECKS, "samples tell"]


def test_all_of_them_are_there():
    assert {row.primitive for row in all_rows()} <= {*OURS} and len(OURS) > 90


@pytest.mark.parametrize("family", ["numpy", "compiled"])
@pytest.mark.parametrize("op", [conv._conv2d, conv._conv2d_weight, activation._log_softmax], ids=lambda op: op.name)
def test_both_families_of_kernels_are_certified(op, family):
    if family == "compiled":
        pytest.importorskip("llvmlite")
    with tg.use_kernels(family):
        assert tg.certify(op).ok


# ----- every check can fail -----

def with_random_numbers(x, rng=np.random.default_rng(0)):
    return x * (1.0 + 1e-3 * rng.random())


def changes_its_indices(x, i):
    i[0] += 1
    return x[i % 2]


BUFFER = tg.tensor([1.0, 2.0], dtype=np.float64)


def in_another_order(*args, **named):
    x, y = args or (named["y"], named["x"])
    return x - y


functools.update_wrapper(in_another_order, lambda x, y: x - y)


def averaged_back(g, ans, x, y):
    t = g * x
    return tg.mean(t, 0, keepdims=True) if y.shape[0] == 1 else t


def broadcasting_product():
    op = primitive(lambda x, y: x * y, lambda g, ans, x, y: g * y, averaged_back)
    op.defbroadcast()
    return op


@pytest.fixture
def with_a_wrong_kernel():
    op = primitive(lambda x: x * 2, lambda g, ans, x: g * 2.0)
    op.defkernel("of a test", lambda x: x * 2.001)
    yield op
    table.unregister("of a test")
    del table.kernels[op]


def test_kernels_of_the_op_are_compared(with_a_wrong_kernel):
    with tg.use_kernels("numpy"):
        certificate = tg.certify(with_a_wrong_kernel, [(X,)])
    (failed,) = [check for check in certificate.checks if not check.ok]
    assert failed.name == "kernels agree" and "'of a test' gives another result" in str(failed.failures[0])


def test_a_registered_jvp_is_compared_with_the_vjp():
    op = primitive(lambda x, w: x * w, lambda g, ans, x, w: g * w, lambda g, ans, x, w: g * x)
    op.defjvp("same", lambda t, ans, x, w: t * x * 2.0)
    certificate = tg.certify(op, [(X, W)])
    (failed,) = [check for check in certificate.checks if not check.ok]
    assert failed.name == "<g, Jv> = <J'g, v>" and "argument 1 (w): <g, J v> is" in str(failed.failures[0])
    op.defjvp("same", lambda t, ans, x, w: t * x)
    assert tg.certify(op, [(X, W)]).ok


def remembering():
    kept = {}

    def relu(x):
        kept["mask"] = (x > 0) * 1.0
        return x * kept["mask"]
    return primitive(relu, lambda g, ans, x: g * kept["mask"])


def saving_too_little():
    op = primitive(lambda x: x ** 3, lambda g, ans, x: 3.0 * g * x * x)
    op.defsaved("ans")
    return op


FAILING = {
    "VJP = differences": (primitive(lambda x: x ** 3, lambda g, ans, x: 6.0 * g * x * x), [(X,)], "by the VJP (ratio 2)"),
    "None = no slope": (primitive(lambda x, w: x * w, lambda g, ans, x, w: g * w, None), [(X, W)], "argument 1 (w) is registered to have no"),
    "VJP linear in g": (primitive(lambda x: 2 * x, lambda g, ans, x: 2.0 * g + 1e-9 * g * g), [(X,)], "not linear in g"),
    "second order": (primitive(lambda x: x ** 3, lambda g, ans, x: g * (3.0 * x.data ** 2)), [(X,)], "argument 0 (x): dx["),
    "<g, Jv> = <J'g, v>": (primitive(lambda x, w: x * w, lambda g, ans, x, w: tg.tensor(g.data * w.data), lambda g, ans, x, w: g * x),
                           [(X, W)], "<g, J v> is"),
    "inputs unchanged": (changes_its_indices, [(X, np.array([0, 1]))], "argument 1 (i) was changed"),
    "outputs its own": (lambda x: (x * 2.0, BUFFER.detach()), [(X,)], "output 1 shares its memory"),
    "dtype kept": (primitive(lambda x: x if x.dtype == np.float32 else 2 * x, lambda g, ans, x: 2.0 * g), [(X,)], "other numbers"),
    "float64 throughout": (primitive(lambda x: (x.astype(np.float32) ** 2).astype(float), lambda g, ans, x: 2.0 * g * x), [(X,)],
                           "the value goes in steps"),
    "any memory order": (primitive(lambda x: x.ravel("K").reshape(x.shape), lambda g, ans, x: g), [(X,)], "in Fortran order"),
    "broadcasting": (broadcasting_product(), [(X, W)], "argument 1 (y), broadcast along axis 0: its gradient is not the sum"),
    "empty and ()": (primitive(lambda x: x * (1 / len(x)) * len(x), lambda g, ans, x: g), [(X,)], "without rows: ZeroDivisionError"),
    "wrong shapes refused": (primitive(lambda x, y: 1 / (x.ndim == y.ndim == 2) * x * y, lambda g, ans, x, y: g * y, lambda g, ans, x, y: g * x),
                             [(X, X[::-1])], "expected a ValueError that names the op"),
    "deterministic": (primitive(with_random_numbers, lambda g, ans, x: g), [(X,)], "two equal calls differ"),
    "no memory": (remembering(), [(X,)], "its gradient is another one after the op was called with other numbers"),
    "saved values": (saving_too_little(), [(X,)], "its VJP reads values that"),
    "by keyword": (in_another_order, [(X, W)], "arrays by keyword give another result"),
}


@pytest.mark.parametrize("check", FAILING)
def test_every_check_can_fail(check):
    op, samples, text = FAILING[check]
    certificate = tg.certify(op, samples)
    (checked,) = [c for c in certificate.checks if c.name == check]
    assert not checked.ok and not certificate.ok
    assert text in str(checked.failures[0]), str(certificate)
    assert f"FAILS  {check}" in str(certificate)


def test_no_check_is_left_out():
    assert {*FAILING, "kernels agree"} == {*CHECKS}


# ----- what is said -----

def test_the_worst_entry_is_named_by_the_arguments_own_axes():
    def wrong(vjp, g, ans, *xs, **params):
        mask = np.ones(xs[1].shape)
        mask[2, 1, 0, 2] = 3.0
        return vjp(g, ans, *xs, **params) * mask if xs[1].shape == (4, 2, 3, 3) else vjp(g, ans, *xs, **params)
    with certify_plants.planted(conv._conv2d, 1, wrong):
        certificate = tg.certify(conv._conv2d)
    assert "dw[out=2, in=1, kh=0, kw=2] is" in str(certificate) and "(ratio 3)" in str(certificate)
    assert certificate.diagnosis.mistake == "unknown" and certificate.diagnosis.argument == "w"


@pytest.mark.parametrize("op, sample, place", [
    (tg.relu, np.array([1.0, 0.0, -2.0]), "dx[1], where the value is 0"),
    (tg.abs, np.array([[1.0, 2.0], [3.0, 0.0]]), "dx[1, 1], where the value is 0"),
    (tg.ops.reduce._max, np.array([3.0, 1.0, 3.0]), "dx[")])
def test_a_kink_or_a_tie_is_noted_with_its_place(op, sample, place):
    certificate = tg.certify(op, [(sample, {"axis": (0,), "keepdims": False} if op.name == "max" else {})])
    assert certificate.ok, str(certificate)
    assert "a kink or a tie at " + place in str(certificate)


def test_a_wrong_entry_beside_a_kink_still_fails():
    op = primitive(lambda x: np.maximum(x, 0), lambda g, ans, x: g * (x > 0) * 2.0)
    certificate = tg.certify(op, [(np.array([1.0, 0.0, -2.0]),)])
    assert not certificate.ok and certificate.diagnosis.mistake == "factor 2"


def test_plain_functions_are_certified_too():
    assert tg.certify(lambda x, w: tg.conv2d(x, w, padding=1), [(np.random.default_rng(0).standard_normal((2, 1, 4, 5)), W.reshape(1, 1, 2, 3))]).ok
    broken = primitive(lambda x: x.sum(-1), lambda g, ans, x: tg.expand_dims(g, -1) * tg.ones(*x.shape, dtype=x.dtype) * -1.0)
    certificate = tg.certify(lambda x: broken(tg.exp(x)), [(X,)])
    assert certificate.diagnosis.mistake == "sign" and certificate.diagnosis.argument == "x"


def test_an_error_of_a_vjp_is_a_failure_and_is_told():
    certificate = tg.certify(primitive(lambda x: x * 2, lambda g, ans, x: g.nothing), [(X,)])
    assert not certificate.ok and "no attribute 'nothing'" in str(certificate)


@pytest.mark.parametrize("change, mistake", [
    (lambda how: {**how, "stride": how["dilation"], "dilation": how["stride"]}, "stride and dilation exchanged"),
    (lambda how: {**how, "padding": how["padding"][::-1]}, "padding on the wrong side")])
def test_mistakes_with_parameters_that_are_plain_keywords(change, mistake):
    def line(x, w, *, stride, padding, dilation):
        return tg.conv1d(x, w, stride=stride, padding=(padding,), dilation=dilation).numpy()

    def back(g, ans, x, w, **how):
        stride, padding, dilation = change(how)["stride"], change(how)["padding"], change(how)["dilation"]
        return tg.grad(lambda x: (tg.conv1d(x, w, stride=stride, padding=(padding,), dilation=dilation) * g).sum())(x)
    rng = np.random.default_rng(0)
    op = primitive(line, back, None)
    samples = [(rng.standard_normal((2, 1, 9)), rng.standard_normal((1, 1, 3)), {"stride": 2, "padding": (1, 0), "dilation": 1}),
               (rng.standard_normal((3, 1, 11)), rng.standard_normal((1, 1, 2)), {"stride": 1, "padding": (0, 2), "dilation": 3})]
    certificate = tg.certify(op, samples)
    assert certificate.diagnosis.mistake == mistake and certificate.diagnosis.argument == "x"


def test_a_mistake_in_one_of_several_outputs():
    op = primitive(lambda x: (np.sin(x), np.cos(x), np.argsort(x, 0)), lambda g, ans, x: g[0] * ans[1] + g[1] * ans[0])
    certificate = tg.certify(op, [(X,)])
    assert certificate.diagnosis.mistake == "sign" and "(of output 1)" in certificate.diagnosis.text


def test_samples_too_large_to_compare_are_not_diagnosed():
    op = primitive(lambda x: x.sum(0), lambda g, ans, x: g * tg.ones(*x.shape) * -1.0)
    certificate = tg.certify(op, [(np.random.default_rng(0).standard_normal((3000, 20)),)])
    assert not certificate.ok and "too large" in certificate.diagnosis.text


def test_an_op_that_fails_is_not_diagnosed():
    certificate = tg.certify(primitive(lambda x: x.nothing, lambda g, ans, x: g), [(X,)])
    assert not certificate.ok and certificate.diagnosis.mistake == "VJP = differences"
    assert str(certificate).count("no attribute 'nothing'") <= 2 and "as for VJP = differences" in str(certificate)


# ----- mistakes planted -----

PLANTS = [*certify_plants.plants()]
SPECIAL = {(op, i, what) for op, i, what, *_ in certify_plants.SPECIAL}


def recognised(plants):
    found = [(plant, *plant.diagnosis()) for plant in plants]
    right = sum(said.startswith(plant.expected) for plant, _, said in found)
    assert all(failed for _, failed, _ in found), certify_plants.table(found)
    assert right >= 0.95 * len(found), certify_plants.table(found)


@pytest.mark.parametrize("part", range(3))
def test_planted_mistakes_are_recognised(part):
    """Each kind of mistake in some op; all of them in all ops take a minute more."""
    recognised(PLANTS[part::20])


@pytest.mark.slow
def test_all_planted_mistakes_are_recognised():
    recognised(PLANTS)


def test_every_mistake_is_planted_in_each_op_it_can_be_in():
    kinds = {plant.expected for plant in PLANTS}
    assert kinds >= {"factor 2", "factor 1/(", "sign", "missing broadcast reduction", "transposed", "flipped",
                     "in and out channels exchanged", "groups ignored", "stride remainder dropped",
                     "stride and dilation exchanged", "padding on the wrong side", "ones instead of the cotangent",
                     "output used for input", "constant term", "detached branch", "float32 intermediate"}
    assert {plant.op for plant in PLANTS} == {*certify_plants.OPS} and len(PLANTS) > 450


# ----- how it is asked for -----

def test_samples_with_the_decorator_or_afterwards():
    @tg.primitive(samples=[(X,), (X[0],)])
    def double(x, *, times=2.0):
        return x * times
    double.defvjp(lambda g, ans, x, *, times: g * times)
    certificate = tg.certify(double)
    assert certificate.ok and certificate.samples == 2 and double.certificate is certificate
    double.defsamples([(X, {"times": 3.0})], x="row column")
    assert tg.certify(double).ok and double.axes == {"x": ("row", "column")}
    assert "on 1 samples" in str(tg.certify(double))


def test_samples_of_every_kind():
    op = primitive(lambda x, y: x * y, lambda g, ans, x, y: g * y, lambda g, ans, x, y: g * x)
    assert tg.certify(op, [(X.astype(np.float32), tg.tensor(W)), ([1.0, 2.0], 0.5)]).ok


@pytest.mark.parametrize("call, error, text", [
    (lambda: tg.certify(3), TypeError, "certify: expects a primitive or a function of tensors, got int"),
    (lambda: tg.certify(tg.primitive(lambda x: x)), ValueError, r"no samples of <lambda>; write certify\(op, \[\(x,\)\]\)"),
    (lambda: tg.certify(tg.exp, [X]), TypeError, r"expects a list of tuples of arguments; write \[\(x,\)\]"),
    (lambda: tg.exp.defsamples([X]), TypeError, r"exp.defsamples: expects a list of tuples of arguments, got ndarray"),
    (lambda: tg.exp.defsamples([(X,)], w="a b"), TypeError, "exp.defsamples: expects axes of x, got w")])
def test_what_is_no_op_or_no_sample_is_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()


OPS_OF_THEIRS = """
import numpy as np
import tinygrad_conv as tg

@tg.primitive(samples=[(np.array([0.5, -1.0, 2.0]),)])
def right(x):
    return x * x
right.defvjp(lambda g, ans, x: 2.0 * g * x)

@tg.primitive(samples=[(np.array([0.5, -1.0, 2.0]),)])
def wrong(x):
    return x * x
wrong.defvjp(lambda g, ans, x: -2.0 * g * x)

@tg.primitive
def bare(x):
    return x
"""


def run(tmp_path, *command):
    (tmp_path / "theirs.py").write_text(OPS_OF_THEIRS)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, "-m", *command], cwd=tmp_path, env=environment, capture_output=True,
                          text=True, timeout=120)


@pytest.mark.parametrize("what, code, texts", [
    ("theirs:right", 0, ["right: certified"]), ("theirs:wrong", 1, ["wrong: NOT certified", "most likely: sign"]),
    ("theirs", 2, ["no samples of bare"]), ("theirs:nothing", 2, ["theirs:nothing"]), ("nowhere", 2, ["No module named 'nowhere'"]),
    ("math", 2, ["math: the module has no primitives"])])
def test_from_the_command_line(tmp_path, what, code, texts):
    done = run(tmp_path, "tinygrad_conv.certify", what)
    assert done.returncode == code
    assert all(text in done.stdout + done.stderr for text in texts) and "Traceback" not in done.stderr


def test_from_pytest(tmp_path):
    (tmp_path / "test_theirs.py").write_text("import theirs\ndef test_nothing():\n    pass\n")
    plugin = ["pytest", "-p", "tinygrad_conv.certify.pytest_plugin", "-p", "no:cacheprovider", "-rs"]
    plain = run(tmp_path, *plugin)
    assert "1 passed" in plain.stdout and plain.returncode == 0
    certified = run(tmp_path, *plugin, "--certify", "-k", "theirs or conv2d")
    assert "certificate of theirs.wrong" in certified.stdout and "most likely: sign" in certified.stdout
    assert "bare has no samples; add them with bare.defsamples" in certified.stdout
    assert "1 failed" in certified.stdout and "1 skipped" in certified.stdout and certified.returncode == 1
    assert "4 passed" in certified.stdout  # theirs.right, the test, conv2d and its weight
    only = run(tmp_path, *plugin, "--certify", "-o", "certify_modules=theirs", "-k", "theirs.right", "--co", "-q")
    assert "certify::theirs.right" in only.stdout


def test_drawings_show_it():
    @tg.primitive(samples=[(X,)])
    def square(x):
        return x * x
    square.defvjp(lambda g, ans, x: 4.0 * g * x)
    y = square(tg.tensor(X, requires_grad=True))
    assert "certified:" not in tg.draw(y).html()
    tg.certify(square)
    assert "fails VJP = differences" in tg.draw(y).html() and "factor 2: the gradient of x is twice" in tg.draw(y).html()
    square.defvjp(lambda g, ans, x: 2.0 * g * x)
    tg.certify(square)
    assert "certified: 19 checks on 1 samples" in tg.draw(y).html()


def test_samples_that_tell_nothing_do_not_certify():
    def cubed(vjp):
        @tg.primitive
        def cubed(x):
            return x ** 3
        cubed.defvjp(vjp)
        return cubed
    for samples, vjp in [([(np.ones(3),)], lambda g, ans, x: 3 * g * x), ([(np.zeros(3),)], lambda g, ans, x: 5 * g * x * x),
                         ([(np.ones((0, 3)),)], lambda g, ans, x: 7 * g)]:
        certificate = tg.certify(cubed(vjp), samples)
        assert not certificate.ok and "no two different numbers" in str(certificate)
        assert certificate.diagnosis is not None
    assert tg.certify(cubed(lambda g, ans, x: 3 * g * x * x), [(np.array([1.0, 2.0]),)]).ok


def test_a_right_op_that_takes_more_shapes_than_its_vjp_is_certified_with_a_note():
    @tg.primitive(samples=[(np.arange(6.0).reshape(2, 3), np.linspace(-1, 1, 12).reshape(4, 3))])
    def scores(x, c):
        return x @ c.T
    scores.defvjp(lambda g, ans, x, c: g @ c, lambda g, ans, x, c: g.T @ x)
    certificate = tg.certify(scores)
    assert certificate.ok and "let the op raise ValueError" in str(certificate)


def test_a_failed_certificate_has_a_diagnosis():
    @tg.primitive(samples=[(np.linspace(-1, 1, 5),)])
    def own(x):
        return np.sin(x)
    own.defvjp(lambda g, ans, x: g * tg.cos(x))
    own.defjvp(lambda t, ans, x: 2.0 * t * tg.cos(x))
    certificate = tg.certify(own)
    assert not certificate.ok and certificate.diagnosis is not None


@pytest.mark.parametrize("op, x", [
    (primitive(np.linalg.inv, lambda g, ans, x: -(ans.T @ g @ ans.T)), np.random.default_rng(0).standard_normal((3, 3))),
    (primitive(lambda x: np.sin(100.0 * x), lambda g, ans, x: 100.0 * g * tg.cos(100.0 * x)), X),
    (primitive(np.log, lambda g, ans, x: g / x), np.array([1e-2, 0.3, 2.0])),
    (primitive(np.arccos, lambda g, ans, x: -g / tg.sqrt(1.0 - x * x)), np.array([0.99, 0.2, -0.5]))])
def test_right_ops_that_are_steep_or_refuse_some_values_are_certified(op, x):
    assert tg.certify(op, [(x,)]).ok, str(tg.certify(op, [(x,)]))


def test_a_kernel_for_single_precision_is_compared_too():
    op = primitive(lambda x: x * x, lambda g, ans, x: 2.0 * g * x)
    op.defkernel("narrow", lambda x: 1.009 * x * x, serves=lambda x: x.dtype == np.float32)
    try:
        assert "family 'narrow' gives another result" in str(tg.certify(op, [(X,)]))
    finally:
        from tinygrad_conv.kernels import table
        table.unregister("narrow")
