"""Whether ops are recorded, and in which scope, is a matter of the thread and of the asyncio task."""
from __future__ import annotations

import asyncio
import itertools
import threading

import pytest

import tinygrad_conv as tg


def recorded_scope():
    """(whether an op is recorded now, the scope it is recorded in)."""
    y = tg.exp(tg.ones(1, requires_grad=True))
    assert y.requires_grad == tg.is_recording()
    return y.requires_grad, ".".join(y.node.scope) if y.requires_grad else None


PLAIN = (True, "")


@pytest.fixture(autouse=True)
def _as_before():
    assert recorded_scope() == PLAIN
    yield
    assert recorded_scope() == PLAIN


# ----- asyncio -----

def overlapping(*blocks):
    """What each task sees in its block when all blocks overlap, entered and left in the same order."""
    async def task(number, block, entered, leave, seen):
        assert recorded_scope() == PLAIN
        await entered[number].wait()
        with block():
            if number + 1 < len(entered):
                entered[number + 1].set()
            seen[number] = [recorded_scope()]
            await leave[number].wait()
            seen[number].append(recorded_scope())
        if number + 1 < len(leave):
            leave[number + 1].set()
        await asyncio.sleep(0)
        assert recorded_scope() == PLAIN

    async def main():
        entered, leave = ([asyncio.Event() for _ in blocks] for _ in range(2))
        seen = [None] * len(blocks)
        tasks = [asyncio.create_task(task(i, block, entered, leave, seen)) for i, block in enumerate(blocks)]
        entered[0].set()
        while seen[-1] is None:
            await asyncio.sleep(0)
            assert recorded_scope() == PLAIN
        leave[0].set()
        await asyncio.gather(*tasks)
        assert recorded_scope() == PLAIN
        return seen
    return asyncio.run(main())


def test_overlapping_no_grad_blocks_of_two_tasks_leave_recording_on():
    assert overlapping(tg.no_grad, tg.no_grad) == [[(False, None)] * 2] * 2
    assert tg.is_recording()


def test_overlapping_scopes_of_tasks_do_not_mix():
    seen = overlapping(lambda: tg.scope("a"), lambda: tg.scope("b"), lambda: tg.scope("c", "d"))
    assert seen == [[(True, "a")] * 2, [(True, "b")] * 2, [(True, "c.d")] * 2]


def test_a_task_that_records_beside_one_that_does_not():
    seen = overlapping(tg.no_grad, lambda: tg.scope("a"), tg.no_grad)
    assert seen == [[(False, None)] * 2, [(True, "a")] * 2, [(False, None)] * 2]


def test_one_no_grad_object_serves_two_tasks():
    shared = tg.no_grad()
    assert overlapping(lambda: shared, lambda: shared) == [[(False, None)] * 2] * 2


def test_a_cancelled_task_leaves_recording_on():
    async def sleeper():
        with tg.no_grad(), tg.scope("asleep"):
            await asyncio.sleep(60)

    async def main():
        task = asyncio.create_task(sleeper())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return recorded_scope()
    assert asyncio.run(main()) == PLAIN


def test_a_backward_in_one_task_while_another_is_in_no_grad():
    async def quiet(inside, leave):
        with tg.no_grad():
            inside.set()
            await leave.wait()

    async def main():
        inside, leave = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(quiet(inside, leave))
        await inside.wait()
        x = tg.ones(2, requires_grad=True)
        (x * x * x).sum().backward(create_graph=True)
        assert x.grad.requires_grad
        leave.set()
        await task
        return x.grad.numpy().tolist()
    assert asyncio.run(main()) == [3.0, 3.0]


# ----- threads -----

@pytest.mark.parametrize("block", [tg.no_grad, lambda: tg.scope("outside")])
def test_a_new_thread_begins_with_recording_on_and_no_scope(block):
    seen = []
    with block():
        thread = threading.Thread(target=lambda: seen.append(recorded_scope()))
        thread.start()
        thread.join()
    assert seen == [PLAIN]


def test_one_no_grad_object_serves_two_threads_whose_blocks_overlap():
    shared, seen = tg.no_grad(), {}
    steps = [threading.Event() for _ in range(3)]

    def first():
        with shared:
            steps[0].set()
            assert steps[1].wait(10)
            seen["first, inside"] = tg.is_recording()
        seen["first, outside"] = tg.is_recording()
        steps[2].set()

    def second():
        assert steps[0].wait(10)
        with shared:
            steps[1].set()
            assert steps[2].wait(10)
            seen["second, inside"] = tg.is_recording()
        seen["second, outside"] = tg.is_recording()
    threads = [threading.Thread(target=f) for f in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {"first, inside": False, "first, outside": True, "second, inside": False,
                    "second, outside": True}


# ----- generators -----

def suspended(block):
    with block():
        while True:
            yield recorded_scope()


@pytest.mark.parametrize("order", itertools.permutations(range(3)))
def test_generators_suspended_inside_no_grad_may_be_closed_in_any_order(order):
    generators = [suspended(tg.no_grad) for _ in range(3)]
    for g in generators:
        assert next(g) == (False, None)
    for i, last in zip(order, (False, False, True)):
        generators[i].close()
        assert tg.is_recording() == last
        for g in generators:
            if g.gi_frame is not None:
                assert next(g) == (False, None)
    assert recorded_scope() == PLAIN


@pytest.mark.parametrize("order", itertools.permutations(range(3)))
def test_generators_suspended_inside_scopes_may_be_closed_in_any_order(order):
    names = "abc"
    generators = [suspended(lambda n=n: tg.scope(n)) for n in names]
    for g in generators:
        next(g)
    for i in order:
        generators[i].close()
    assert recorded_scope() == PLAIN


def test_a_generator_collected_by_the_garbage_collector_leaves_recording_on():
    for _ in range(2):
        g = suspended(tg.no_grad)
        next(g)
        del g
        assert recorded_scope() == PLAIN


def test_a_block_left_by_a_generator_outside_is_unharmed():
    """The generator's block ends inside another one, which goes on."""
    g = suspended(tg.no_grad)
    next(g)
    with tg.no_grad():
        g.close()
        assert not tg.is_recording()
    assert tg.is_recording()


# ----- one object, several times -----

def test_one_no_grad_object_may_be_entered_again_inside_and_after():
    block = tg.no_grad()
    for _ in range(2):
        with block:
            with block:
                assert not tg.is_recording()
            assert not tg.is_recording()
        assert tg.is_recording()
    with pytest.raises(KeyError), block:
        raise KeyError
    assert tg.is_recording()


def test_one_scope_object_may_be_entered_again():
    block = tg.scope("again")
    for _ in range(2):
        with block:
            assert recorded_scope() == (True, "again")
    assert recorded_scope() == PLAIN


def test_no_grad_decorates_a_function_that_calls_itself():
    @tg.no_grad()
    def countdown(n):
        assert not tg.is_recording()
        return n and countdown(n - 1)
    assert countdown(5) == 0 and tg.is_recording()


def test_a_block_that_ends_inside_another_takes_only_its_own_part_back():
    """no_grad ends while a scope that began inside it goes on, and the other way round."""
    for first, second, between, after in ((tg.no_grad(), tg.scope("step"), (True, "step"), PLAIN),
                                          (tg.scope("step"), tg.no_grad(), (False, None), PLAIN)):
        first.__enter__()
        second.__enter__()
        first.__exit__()
        assert recorded_scope() == between
        second.__exit__()
        assert recorded_scope() == after


@pytest.mark.parametrize("block", [tg.no_grad(), tg.scope("s")])
def test_a_generator_or_coroutine_is_not_decorated(block):
    async def coroutine():
        pass

    def generator():
        yield

    async def both():
        yield
    for function in (coroutine, generator, both):
        with pytest.raises(TypeError, match=f"{function.__name__}: .*use the `with` block inside it"):
            block(function)
