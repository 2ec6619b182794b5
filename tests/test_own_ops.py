"""Mistakes in an op of the user's own: each error names the op, the argument, how it is called, and where.

The errors of VJPs come in `backward()`, far from the call they belong to; their notes lead back to it.
"""
from __future__ import annotations

import inspect

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from tinygrad_conv.kernels import table

X = np.array([1.0, 2.0, 3.0])


def leaf():
    return tg.tensor(X, requires_grad=True)


def scaled(vjp):
    @tg.primitive
    def scaled(x, w, *, by=2.0):
        return x * w * by
    scaled.defvjp(lambda g, ans, x, w, *, by: g * w * by, vjp)
    return scaled


def told(e):
    return "\n".join([str(e), *getattr(e, "__notes__", [])])


WRONG_VJPS = {
    "no return": (lambda g, ans, x, w, *, by: None, TypeError, "must return a tensor, got NoneType; does it lack a return"),
    "autograd's": (lambda ans, x, w, by: lambda g: g, TypeError, "argument"),
    "autograd's with room": (lambda *call, **params: lambda g: g, TypeError, "got function; it takes everything at once"),
    "an array": (lambda g, ans, x, w, *, by: g.numpy(), TypeError, "got ndarray; write it in tensor ops"),
    "a number": (lambda g, ans, x, w, *, by: 1.0, TypeError, "got float; write it in tensor ops"),
    "all at once": (lambda g, ans, x, w, *, by: (g, g), TypeError, "got tuple; there is one function for each argument"),
    "all in a list": (lambda g, ans, x, w, *, by: [g, g], TypeError, "got list; there is one function for each argument"),
    "a wrong shape": (lambda g, ans, x, w, *, by: tg.ones(7), ValueError, r"returned shape \(7,\) for an input of shape \(3,\)"),
    "an axis too few": (lambda g, ans, x, w, *, by: g.sum(), ValueError, r"returned shape \(\) for an input"),
    "booleans": (lambda g, ans, x, w, *, by: x > 0, TypeError, "returned bool, which cannot be a multiple of g"),
    "integers": (lambda g, ans, x, w, *, by: tg.ones(3, dtype=int), TypeError, "returned int64, which cannot be"),
    "a missing keyword": (lambda g, ans, x, w: g, TypeError, "unexpected keyword argument 'by'"),
    "an argument too few": (lambda g, ans, x, *, by: g, TypeError, "takes 3 positional arguments but 4"),
    "an argument too many": (lambda g, ans, x, w, y, *, by: g, TypeError, "missing 1 required positional argument: 'y'"),
    "an op that fails": (lambda g, ans, x, w, *, by: g @ tg.ones(8, 8), ValueError, "matmul: the last axis of x"),
    "Python's errors": (lambda g, ans, x, w, *, by: 1 / 0, ZeroDivisionError, "division by zero"),
    "a missing name": (lambda g, ans, x, w, *, by: g.nothing, AttributeError, "no attribute 'nothing'"),
    "a missing key": (lambda g, ans, x, w, *, by: {}["key"], KeyError, "key"),
}


@pytest.mark.parametrize("through", ["backward", "create_graph", "grad", "vjp"])
@pytest.mark.parametrize("vjp, error, text", WRONG_VJPS.values(), ids=WRONG_VJPS)
def test_an_error_of_a_vjp_names_op_argument_signature_and_the_line_of_the_call(vjp, error, text, through):
    op, x, w = scaled(vjp), leaf(), leaf()
    line = inspect.currentframe().f_lineno + 1
    f = lambda x, w: op(x, w, by=3.0).sum()
    with pytest.raises(error, match=text) as e:
        if through in ("backward", "create_graph"):
            f(x, w).backward(create_graph=through == "create_graph")
        elif through == "grad":
            tg.grad(f, argnums=1)(x, w)
        else:
            tg.vjp(f, x, w)[1](tg.tensor(1.0, dtype=np.float64))
    assert ("in scaled's VJP for argument 1 (w), called as vjp(g, ans, *inputs, **params) with 2 inputs and params {'by': 3.0}; "
            f"scaled was called in {__file__}, line {line}") in told(e.value)
    assert x.grad is None and w.grad is None and tg.is_recording()


def test_a_vjp_too_many_is_refused_when_it_is_registered():
    op = tg.primitive(lambda x, w, *, by: x)
    with pytest.raises(TypeError, match=r"defvjp: expects one function \(or None\) for each of x, w, got 3"):
        op.defvjp(lambda *a, **k: a[0], None, None)
    with pytest.raises(TypeError, match="for each of no arguments, got 1"):
        tg.primitive(lambda: np.ones(2)).defvjp(lambda g, ans: g)
    tg.primitive(lambda x, *ws: x).defvjp(None, None, None)  # any number of arrays


def test_a_vjp_too_few_is_named_where_it_is_needed_and_only_there():
    op = tg.primitive(lambda x, w: x * w)
    op.defvjp(lambda g, ans, x, w: g * w)
    x, w = leaf(), leaf()
    op(x, X).sum().backward()
    assert x.grad.tolist() == X.tolist()
    with pytest.raises(NotImplementedError, match=r"has no VJP for argument 1 \('w'\); register one") as e:
        op(x, w).sum().backward()
    assert "argument 1 (w)" in told(e.value)


@pytest.mark.parametrize("i", [0, 1])
def test_an_error_of_a_variadic_vjp_names_the_argument(i):
    op = tg.primitive(lambda *xs: xs[0] + xs[1])
    op.defvjp_variadic(lambda k, g, ans, *xs: g.nothing if k == i else g)
    with pytest.raises(AttributeError) as e:
        op(leaf(), leaf()).sum().backward()
    assert f"VJP for argument {i}, called as" in told(e.value)


def jointly(calls):
    """x * w, whose gradients come of one function; it notes when it runs."""
    op = tg.primitive(lambda x, w, *, by: x * w * by)
    op.defvjp_joint(lambda g, ans, x, w, *, by: (calls.append(by), (g * w * by, g * x * by))[1])
    return op


def test_a_joint_vjp_runs_once_a_call_if_it_is_needed():
    calls, x, w = [], leaf(), leaf()
    op = jointly(calls)
    (op(x, w, by=2.0) + op(x, X, by=3.0) + op(X, X, by=5.0)).sum().backward()
    assert sorted(calls) == [2.0, 3.0]
    np.testing.assert_allclose(x.grad.data, 2 * X + 3 * X)
    np.testing.assert_allclose(w.grad.data, 2 * X)
    tg.grad(lambda t: op(t, x, by=7.0).sum())(X)
    assert calls[2:] == [7.0]


def test_a_joint_vjp_can_be_differentiated_again():
    tg.check_grads(lambda x, w: jointly([])(x, w, by=2.0), (X, X + 1), order=3, linear=(0, 1))


@pytest.mark.parametrize("wrong, got", [(lambda g, ans, x, w: g, "Tensor"), (lambda g, ans, x, w: None, "NoneType")])
def test_a_joint_vjp_must_return_a_tuple(wrong, got):
    op = tg.primitive(lambda x, w: x * w)
    op.defvjp_joint(wrong)
    with pytest.raises(TypeError, match=f"its joint VJP must return a tuple, a gradient for each argument, got {got}"):
        op(leaf(), leaf()).sum().backward()


# ----- the function itself -----

WRONG_FUNCTIONS = {
    "no return": (lambda x, *, by: None, TypeError, "or a tuple of them, got None; does it lack a return?"),
    "an object": (lambda x, *, by: object(), TypeError, "must return an array of real numbers, .* got object"),
    "a word": (lambda x, *, by: "abc", TypeError, "got str"), "a dict": (lambda x, *, by: {}, TypeError, "got dict"),
    "a generator": (lambda x, *, by: (i for i in x), TypeError, "got generator"),
    "complex numbers": (lambda x, *, by: x * 1j, TypeError, "got dtype complex128"),
    "nothing in a tuple": (lambda x, *, by: (x, None), TypeError, "got None; does it lack a return?"),
    "parts that do not fit": (lambda x, *, by: [1.0, x], ValueError, "inhomogeneous"),
    "NumPy's errors": (lambda x, *, by: x + np.ones(7), ValueError, "could not be broadcast"),
    "Python's errors": (lambda x, *, by: 1 / 0, ZeroDivisionError, "division"), "a missing key": (lambda x, *, by: {}["k"], KeyError, "k"),
    "a missing name": (lambda x, *, by: x.nothing, AttributeError, "nothing"), "no more": (lambda x, *, by: next(iter(())), StopIteration, ""),
    "an overflow": (lambda x, *, by: 10.0 ** 400, OverflowError, ""), "its own": (lambda x, *, by: (_ for _ in ()).throw(AssertionError("no")),
                                                                            AssertionError, "no"),
    "no memory": (lambda x, *, by: np.ones(10 ** 14), MemoryError, "^clumsy: Unable to allocate"),
}


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("fn, error, text", WRONG_FUNCTIONS.values(), ids=WRONG_FUNCTIONS)
def test_an_error_of_an_ops_function_names_the_op_its_inputs_and_parameters(fn, error, text, recorded):
    fn.__name__ = "clumsy"
    with pytest.raises(error, match=text) as e:
        tg.primitive(fn)(leaf() if recorded else X, by=3)
    assert "clumsy" in told(e.value) and "(inputs float64[3], parameters {'by': 3})" in told(e.value)


@pytest.mark.parametrize("call, text", [
    (lambda op: op(X, bye=3), r"got an unexpected keyword argument 'bye'; instead: by= \(inputs x\)"),
    (lambda op: op(X, by=leaf()), "parameter 'by' is a tensor or holds one, .* arrays are positional: clumsy"),
    (lambda op: op(X, X, X), "takes 1 positional argument but 3"), (lambda op: op(by=3), "missing 1 required positional")])
def test_a_call_with_wrong_arguments_names_the_op(call, text):
    def clumsy(x, *, by=1):
        return x
    with pytest.raises(TypeError, match=f"^clumsy: .*{text}"):
        call(tg.primitive(clumsy))


def test_a_named_tuple_is_a_tuple_of_results():
    op = tg.primitive(lambda x: np.linalg.qr(x))
    q, r = op(tg.tensor(np.array([[2.0, 1.0], [1.0, 3.0]]), requires_grad=True))
    np.testing.assert_allclose((q @ r).detach().numpy(), [[2.0, 1.0], [1.0, 3.0]])
    assert q.requires_grad and q.index == 0 and r.index == 1


# ----- its facets -----

@pytest.mark.parametrize("fn, text", [
    (lambda *call, by: 1 / 0, "ZeroDivisionError: division by zero"), (lambda: "", "unexpected keyword argument 'by'"),
    (lambda *call, by: call[9], "IndexError: tuple index out of range"), (3, "TypeError: 'int' object is not callable")])
def test_an_error_of_a_facet_names_op_and_facet(fn, text):
    op = scaled(None)
    op.deflabel(fn), op.defcost(fn)
    y = op(leaf(), leaf())
    drawn = tg.draw(y, show="flops").graph
    (box,) = [box for box in drawn.boxes if box.label == "scaled"]
    assert any("its label failed" in note and text in note for note in box.notes)
    assert any("flops of scaled: its cost failed" in line and text in line for _, line in drawn.legend)
    with pytest.raises(Exception, match=text.split(": ")[-1]) as e:
        tg.multiply_adds(op, [(3,), (3,)], (3,), {"by": 2.0})
    assert "in the function of scaled.defcost, called with ((3,), (3,), (3,)) and {'by': 2.0}" in told(e.value)


# ----- kernels -----

IMAGE, FILTER = np.random.default_rng(0).standard_normal((2, 2, 4, 4)), np.ones((4, 2, 3, 3))
def doubled(p):
    return (p * 2,)


USES = {  # by operation, a call that needs it
    "conv2d": lambda x, w: tg.conv2d(x, w), "input_adjoint": lambda x, w: tg.conv2d(x, w).sum().backward(),
    "weight_adjoint": lambda x, w: tg.conv2d(x, w).sum().backward(),
    "averages": lambda x, w: tg.avg_pool2d(x, 2), "averages_adjoint": lambda x, w: tg.avg_pool2d(x, 2).sum().backward(),
    "maxima": lambda x, w: tg.max_pool2d(x, 2), "maxima_scatter": lambda x, w: tg.max_pool2d(x, 2).sum().backward(),
    "maxima_indices": lambda x, w: tg.max_pool2d(x, 2, return_indices=True),
    **{name: lambda x, w, op=op: op(x) for name, op in (("relu", tg.relu), ("leaky_relu", tg.leaky_relu), ("hardtanh", tg.hardtanh),
                                                        ("sigmoid", tg.sigmoid), ("log_softmax", tg.log_softmax))},
    **{f"{op.__name__}_vjp": lambda x, w, op=op: op(x).sum().backward() for op in (
        tg.relu, tg.leaky_relu, tg.hardtanh, tg.log_softmax)},
    "slabs": lambda x, w: tg.sum(tg.ones(2, 4096, 3), axis=1), "matmul": lambda x, w: tg.matmul(tg.ones(2, 3), tg.ones(3, 4)),
    "linear": lambda x, w: tg.linear(tg.ones(2, 3), tg.ones(4, 3)),
    "overwrite": lambda x, w: tg.overwrite(doubled, [(np.ones(3),)]),
    "normalize": lambda x, w: tg.batch_norm(x, None, None, training=True), "scale": lambda x, w: tg.batch_norm(x, tg.zeros(2), tg.ones(2)),
    "normalize_adjoint": lambda x, w: tg.batch_norm(x, None, None, training=True).sum().backward(),
    "maxima_gather": lambda x, w: tg.grad(lambda x: tg.grad(lambda x: (tg.max_pool2d(x, 2) ** 2).sum())(x).sum())(x),
}


def test_every_operation_of_a_kernel_is_used_here():
    assert set(USES) == {name for name in table.kernels if isinstance(name, str)} == set(table.SHAPES)


@pytest.mark.parametrize("operation", [operation for operation in USES if operation != "overwrite"])  # has no result
@pytest.mark.parametrize("wrong", [lambda a: a[:1], lambda a: a[..., None], lambda a: None, lambda a: a.T[:-1]])
def test_a_kernel_that_returns_a_wrong_shape_is_named(operation, wrong):
    right = table.kernels[operation][-1].function

    def spoiled(*call):
        value = right(*call)
        return (wrong(value[0]), *value[1:]) if isinstance(value, tuple) else wrong(value)
    x, w = tg.tensor(IMAGE, requires_grad=True), tg.tensor(FILTER, requires_grad=True)
    USES[operation](x, w)
    table.register("mine", operation, lambda *call: right(*call))
    try:
        USES[operation](x, w)                                 # the same function, under another name
        table.unregister("mine")
        table.register("mine", operation, spoiled)
        with pytest.raises(ValueError, match=f"{operation}: a result of shape .*, expects") as e:
            USES[operation](x, w)
    finally:
        table.unregister("mine")
    assert f"in the kernel of family 'mine' for {operation}" in told(e.value)


def test_a_module_around_an_op_that_fails_keeps_the_notes_of_both():
    class Clumsy(nn.Module):
        def forward(self, x):
            return tg.primitive(lambda x: 1 / 0)(x)
    with pytest.raises(ZeroDivisionError) as e:
        nn.Sequential(Clumsy())(leaf())
    assert "(inputs float64[3], parameters {})" in told(e.value) and "Sequential.0 (Clumsy)" in told(e.value)


# ----- what an op from outside may have: methods, kernels, a block of its own in pictures -----

def own(name):
    def op(x, *, by=1.0):
        return np.logaddexp(0, x) * by
    op.__name__ = op.__qualname__ = name
    op = tg.primitive(op)
    op.defvjp(lambda g, ans, x, *, by: g * tg.sigmoid(x) * by)
    return op


def test_an_op_in_six_lines_has_value_gradient_and_second_derivative_and_may_become_a_method():
    op = own("softplus_of_mine")
    op.defmethod()
    try:
        tg.check_grads(lambda x: x.softplus_of_mine(by=3.0), (X,), order=3)
        assert "softplus_of_mine" in str(tg.draw(leaf().softplus_of_mine()))
        with pytest.raises(AttributeError, match="softplus_of_mine.defmethod: tensors already have an attribute"):
            op.defmethod()
    finally:
        del tg.Tensor.softplus_of_mine
    with pytest.raises(AttributeError, match="sum.defmethod: tensors already"):
        own("sum").defmethod()


def test_an_op_may_have_a_faster_kernel_for_a_family():
    op, calls = own("with_kernel"), []

    def faster(x, *, by):
        calls.append(by)
        return np.log1p(np.exp(x)) * by
    op.defkernel("quick", faster, serves=lambda x, *, by: by != 5.0)
    try:
        y = op(leaf(), by=2.0)
        np.testing.assert_allclose(y.data, np.logaddexp(0, X) * 2.0)
        assert calls == [2.0]                                  # "auto" takes it
        op(leaf(), by=5.0)
        with tg.use_kernels("numpy"):
            op(leaf(), by=2.0)
        assert calls == [2.0]
        with tg.use_kernels("quick"):
            tg.check_grads(op, (X,), order=2)
        assert len(calls) > 1
        with tg.profile() as seen:
            op(leaf())
        assert "quick" in seen.table()
        op.defkernel("quick", lambda x, *, by: x.nonsense)
        with pytest.raises(AttributeError) as e:
            op(leaf())
        assert "in with_kernel (inputs float64[3], parameters {'by': 1.0})" in told(e.value) and "'quick'" in told(e.value)
        op.defkernel("quick", lambda x, *, by: x.__setitem__(..., 0.0))
        with pytest.raises(ValueError, match="with_kernel: .*read-only; an op must not write into its inputs"):
            op(leaf())
    finally:
        table.unregister("quick")
    assert op(leaf(), by=2.0).data.tolist() == (np.logaddexp(0, X) * 2.0).tolist()
    with pytest.raises(TypeError, match="with_kernel.defkernel: expects a function, got int"):
        op.defkernel("quick", 3)


def test_a_composite_is_drawn_as_one_block():
    @tg.scope("mish", kind="Mish")
    def mish(x):
        return x * tg.tanh(tg.softplus(x))
    y = mish(leaf())
    assert {entry.node.scope for entry in tg.tape(y)} == {("mish",)}
    closed = [box for box in tg.graph(y).boxes if "tanh" in box.label]
    assert closed and "Mish" in str(tg.draw(y, depth=0)) and "tanh" not in str(tg.draw(y, depth=0))
