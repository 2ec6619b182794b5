"""Files from outside and places to write to: whatever they are, an error names them, and nothing is lost."""
from __future__ import annotations

import copy
import gzip
import itertools
import json
import math
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from nn.data import download
from nn.train import saving
from tests import mutants

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(os.name == "nt", reason="pipes, links and limits are those of POSIX")


@pytest.fixture(autouse=True)
def no_test_waits_for_ever():
    """For what a pipe never gives, say."""
    def enough(*args):
        raise AssertionError("this takes too long")

    before = signal.signal(signal.SIGALRM, enough)
    signal.alarm(900 if "mutants" in os.environ.get("PYTEST_CURRENT_TEST", "") else 120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def python(code, *arguments, timeout=100):
    return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, text=True, timeout=timeout,
                          capture_output=True)


# ----- what is no file -----

def pipe(path):
    os.mkfifo(path)


def device(path):
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero, which may be broken
    except PermissionError:
        pytest.skip("needs the right to make a device")


def listening(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(os.path.relpath(path))  # a path of at most 107 bytes


def loop(path):
    path.symlink_to(path.name)


def folder(path):
    path.mkdir()


PLACES = [pipe, device, listening, loop, folder]


def a_checkpoint(path):
    parts = mutants.a_run()
    mutants.as_run(parts).load(path)


READERS = {"load": nn.load, "load_with_metadata": saving.load_with_metadata, "checkpoint": a_checkpoint,
           "read_idx": download.read_idx, "read_image": nn.data.read_image}
WRITERS = {
    "write_atomically": lambda path: tg.write_atomically(path, b"new"), "save": lambda path: nn.save({"a": np.ones(2)}, path),
    "draw": lambda path: tg.draw(tg.tensor([1.0], requires_grad=True) * 2.0).save(path),
    "plot": lambda path: nn.History([{"epoch": 1, "loss": 0.5}]).plot(path)}


@pytest.mark.parametrize("place", [*PLACES, lambda path: path.symlink_to("nowhere"), lambda path: None])
@pytest.mark.parametrize("reader", READERS)
def test_a_reader_refuses_what_is_no_file(reader, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place(tmp_path / "it")
    with pytest.raises(FileNotFoundError, match="(load|read_idx|read_image): there is no file '.*it'"):
        READERS[reader](tmp_path / "it")


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("path", ["a\0b", "a\ud800", "a" * 200 + "/b", ""])
def test_a_reader_of_a_path_that_cannot_be_is_told_so(reader, path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        READERS[reader](path)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("writer", WRITERS)
def test_a_writer_replaces_no_pipe_device_socket_or_folder(writer, place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "it.svg"
    place(path)
    before = os.lstat(path)
    with pytest.raises(OSError, match="write_atomically: '.*it.svg' is (a folder|no file but a device, a pipe)"):
        WRITERS[writer](path)
    assert os.lstat(path)[:2] == before[:2] and os.listdir(tmp_path) == ["it.svg"]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_writer_follows_a_link_which_stays(writer, tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "old.svg").write_bytes(b"old")
    for name, target in (("a", "far/old.svg"), ("b", "a.svg"), ("c", "far/new/dangling.svg")):
        (tmp_path / f"{name}.svg").symlink_to(target)
    for name, real in (("b", "far/old.svg"), ("c", "far/new/dangling.svg")):
        WRITERS[writer](tmp_path / f"{name}.svg")
        assert (tmp_path / real).is_file() and (tmp_path / real).read_bytes() != b"old"
    assert all((tmp_path / f"{name}.svg").is_symlink() for name in "abc")
    assert sorted(p.name for p in tmp_path.rglob("*.svg")) == ["a.svg", "b.svg", "c.svg", "dangling.svg", "old.svg"]


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("name", ["a" * 251 + ".svg", "é" * 125 + ".svg", os.fsdecode(b"\xff.svg"), "a\nb.svg", "-.svg"], ids=ascii)
def test_a_writer_takes_every_legal_name(writer, name, tmp_path):
    WRITERS[writer](tmp_path / name)
    assert os.listdir(tmp_path) == [name]
    if writer == "save":
        assert nn.load(tmp_path / name)["a"].tolist() == [1, 1]


@pytest.mark.parametrize("writer", WRITERS)
def test_a_writer_of_a_name_that_is_too_long_names_it(writer, tmp_path):
    with pytest.raises(OSError, match="File name too long: '.*aaa.svg'"):
        WRITERS[writer](tmp_path / ("a" * 252 + ".svg"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("name", ["a\0b.svg", "a\ud800.svg"], ids=ascii)
def test_a_writer_of_a_path_that_cannot_be_writes_nothing(writer, name, tmp_path):
    with pytest.raises(ValueError):
        WRITERS[writer](tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_a_file_that_is_replaced_keeps_its_mode(tmp_path):
    nn.save({"a": np.ones(1)}, tmp_path / "w")
    os.chmod(tmp_path / "w", 0o600)
    nn.save({"a": np.zeros(1)}, tmp_path / "w")
    assert stat.S_IMODE((tmp_path / "w").stat().st_mode) == 0o600 and nn.load(tmp_path / "w")["a"].tolist() == [0]


def test_a_protected_file_or_folder_is_left_and_named():
    code = """if True:
        import os, sys, pathlib
        import nn, numpy as np, safetensors.numpy
        folder = pathlib.Path(sys.argv[1])
        if not os.getuid():
            os.setuid(65534)
        for path, kind in (("kept", nn.save), ("closed/new", nn.save), ("secret", lambda a, path: nn.load(path))):
            try:
                kind({"a": np.zeros(1)}, folder / path)
            except PermissionError as e:
                print(path, e.filename == str(folder / path) or str(e))
    """
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        nn.save({"a": np.ones(1)}, path / "kept")
        nn.save({"a": np.ones(1)}, path / "secret")
        (path / "closed").mkdir()
        for part, mode in ((path, 0o777), (path / "kept", 0o444), (path / "closed", 0o555), (path / "secret", 0)):
            part.chmod(mode)
        done = python(code, path)

        assert done.stdout.splitlines() == ["kept True", "closed/new True", "secret True"], done.stderr
        assert nn.load(path / "kept")["a"].tolist() == [1] and os.listdir(path / "closed") == []
        assert sorted(os.listdir(path)) == ["closed", "kept", "secret"]


def test_what_a_killed_process_left_is_removed_in_time_and_nothing_else(tmp_path):
    """Only what nobody has written to for an hour; a name of the user's never."""
    part = []
    tg.write_atomically(tmp_path / "a", lambda path: part.append(path) or path.write_bytes(b"new"))
    old, fresh, own = part[0], tmp_path / ".tinygrad_conv-0123456789ab.part", tmp_path / ".a.part"
    for path in (old, fresh, own):
        path.write_bytes(b"half")
    for path in (old, own):
        os.utime(path, (time.time() - 4000,) * 2)
    tg.write_atomically(tmp_path / "b", b"new")
    assert sorted(os.listdir(tmp_path)) == sorted(["a", "b", fresh.name, own.name])


@pytest.mark.parametrize("writer", [*WRITERS, "download"])
def test_a_disk_that_is_full_in_the_middle_leaves_the_old_file(writer, tmp_path):
    code = """if True:
        import pathlib, resource, sys
        import numpy as np, nn, tinygrad_conv as tg
        from nn.data import download
        path, writer = sys.argv[1:]
        nn.save({"a": np.ones(1)}, path + ".other")  # imports what is needed
        if writer == "plot":
            nn.History([{"epoch": 1, "loss": 0.5}]).plot(path + ".svg")
        download._blocks = lambda url, name: iter([bytes(100)] * 100)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            {"write_atomically": lambda: tg.write_atomically(path, bytes(2000)),
             "save": lambda: nn.save({"a": np.ones(2000)}, path),
             "draw": lambda: tg.draw(sum([tg.tensor([1.0], requires_grad=True)] * 50)).save(path),
             "plot": lambda: nn.History([{"epoch": 1, "loss": 0.5}]).plot(path),
             "download": lambda: download.download("http://127.0.0.1:9/", pathlib.Path(path), "")}[writer]()
        except OSError as e:
            print(path in str(e), "ile too large" in str(e), e)
    """
    path = tmp_path / "it.svg"
    path.write_bytes(b"old")
    if writer == "plot":
        pytest.importorskip("matplotlib")
    done = python(code, path, writer)
    assert done.stdout.startswith("True True"), done.stdout + done.stderr
    assert path.read_bytes() == b"old" and not [p for p in tmp_path.iterdir() if p.name.endswith(".part")]


# ----- IDX -----

def test_an_idx_file_is_read_packed_or_not(tmp_path, rng):
    array = rng.integers(0, 256, (3, 4, 5), np.uint8)
    for content in (mutants.idx(array), gzip.compress(mutants.idx(array))):
        (tmp_path / "a").write_bytes(content)
        assert np.array_equal(download.read_idx(tmp_path / "a"), array)


@pytest.mark.parametrize("axes", [65, 70, 255])
def test_an_idx_file_of_more_axes_than_numpy_has_is_refused_by_name(axes, tmp_path):
    (tmp_path / "a").write_bytes(b"\0\0\x08" + bytes([axes]) + b"\0\0\0\1" * axes + b"x")
    with pytest.raises(ValueError, match=f"read_idx: .*a promises {axes} axes .*64"):
        download.read_idx(tmp_path / "a")


@pytest.mark.parametrize("sizes, held", [
    ((3, 4), 10**9), ((0,), 10**9), ((2**32 - 1, 2**32 - 1), 50), ((2**16,) * 4, 0), ((2**31, 2**31, 4), 0)])
@pytest.mark.parametrize("packed", [True, False])
def test_neither_a_bomb_nor_a_promise_of_terabytes_takes_memory(packed, sizes, held, tmp_path):
    """A gigabyte of zeros in a megabyte; in a sparse file where it is not packed."""
    head = b"\0\0\x08" + bytes([len(sizes)]) + np.array(sizes, ">u4").tobytes()
    with (gzip.open(tmp_path / "a", "wb", 1) if packed else open(tmp_path / "a", "wb")) as f:
        f.write(head)
        if packed:
            for _ in range(held >> 22):
                f.write(ZEROS)
            f.write(bytes(held % (1 << 22)))
        else:
            f.truncate(len(head) + held)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="read_idx: .*a holds [0-9]+ values, its header promises"):
            download.read_idx(tmp_path / "a")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


ZEROS = bytes(1 << 22)


# ----- the archive -----

@pytest.mark.parametrize("kind", ["link to itself", "links in a circle", "folder", "absent", "thousand names", "odd size"])
def test_an_archive_of_another_making_is_refused_by_name(kind, tmp_path, monkeypatch):
    import io
    import tarfile

    name, content = download.CIFAR_MEMBERS["test"][0], io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz", format=tarfile.GNU_FORMAT) as tar:
        for member, to in {"link to itself": [(name, name)], "links in a circle": [(name, "b"), ("b", name)]}.get(kind, []):
            info = tarfile.TarInfo(member)
            info.type, info.linkname = tarfile.SYMTYPE if "itself" in kind else tarfile.LNKTYPE, to
            tar.addfile(info)
        info = tarfile.TarInfo("other" if kind == "absent" else name)
        if kind == "folder":
            info.type = tarfile.DIRTYPE
            tar.addfile(info)
        elif kind in ("absent", "odd size"):
            info.size = 100
            tar.addfile(info, io.BytesIO(bytes(100)))
        elif kind == "thousand names":  # of one member, one within the other
            long = tarfile.TarInfo("././@LongLink")
            long.type, long.size = tarfile.GNUTYPE_LONGNAME, 5
            for _ in range(5000):
                tar.addfile(long, io.BytesIO(b"name\0"))
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(content.getvalue())
    monkeypatch.setattr(download, "CIFAR_SHA256", download.sha256(path))
    with pytest.raises(ValueError, match="cifar10: .*cifar-10-binary.tar.gz is damaged"):
        nn.data.cifar10("test", folder=tmp_path)


def test_every_published_file_has_a_sha256_and_an_encrypted_address():
    names = [name for name in vars(download) if name.endswith("_SHA256")]
    sums = [s for name in names for of_file in [getattr(download, name)]
            for s in ([of_file] if isinstance(of_file, str) else [s for several in of_file.values() for s in several])]
    assert len(names) == 6 and len(set(sums)) == len(sums) == 8 + 4 + 4 + 4 + 1 + 1
    assert all(len(s) == 64 and set(s) <= set("0123456789abcdef") for s in sums)
    assert all(getattr(download, name.replace("SHA256", "URL")).startswith("https://") for name in names)


# ----- safetensors, and what is none -----

def header(text, data=b""):
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize("content", [
    header({"a": entry(shape=[1] * 70)}, bytes(4)), header({"a": entry(shape=[2**62, 0], offsets=[0, 0])}),
    header({"a": entry(shape=[2**32, 2**32], offsets=[0, 0])}), header({"a": entry(shape=[10**30])}, bytes(4)),
    header({"a": entry("Q7")}, bytes(4)), header({"a": entry(), "b": entry()}, bytes(4)), header({"a": entry(offsets=[0, 2**63])}),
    header({"a": entry(offsets=[4, 0])}, bytes(4)), header(b"[" * 100_000), header(b'{"a":' * 100_000),
    header({"__metadata__": {"a": 5}}), header({"a": entry(shape=[math.nan])}), b"\xff" * 8, (10**8).to_bytes(8, "little"),
    (2**40).to_bytes(8, "little") + bytes(100), header(b"{" + b" " * 100_000_001), b"", b"\0" * 8, b"\0" * 100])
def test_weights_with_an_impossible_header_are_refused_by_name(content, tmp_path):
    (tmp_path / "w").write_bytes(content)
    with pytest.raises(ValueError, match="load: '.*w' is not a whole safetensors file"):
        nn.load(tmp_path / "w")


def test_a_file_of_another_format_is_told_what_to_do(tmp_path):
    torch = pytest.importorskip("torch")
    weights = torch.nn.Linear(2, 2).state_dict()
    torch.save(weights, tmp_path / "new")
    torch.save(weights, tmp_path / "old", _use_new_zipfile_serialization=False)
    with open(tmp_path / "many", "wb") as f:
        np.savez(f, a=np.ones(3))
    with open(tmp_path / "one", "wb") as f:
        np.save(f, np.ones(3))
    for name, advice in (("new", "PyTorch's: load it there and nn.save its state_dict"), ("old", "PyTorch's: load it there"),
                         ("many", r"NumPy's: nn.save\(dict\(np.load"), ("one", "NumPy's")):
        with pytest.raises(ValueError, match=f"{name}' is not a whole safetensors file .*; it looks like {advice}"):
            nn.load(tmp_path / name)
    with open(tmp_path / "many", "rb") as f:  # the advice works
        nn.save(dict(np.load(f)), tmp_path / "done")
    assert nn.load(tmp_path / "done")["a"].tolist() == [1, 1, 1]


# ----- checkpoints -----

def deep(levels=100_000):
    return "[" * levels + "]" * levels


BITS = [np.random.PCG64, np.random.PCG64DXSM, np.random.MT19937, np.random.Philox, np.random.SFC64]
STRANGE = [math.inf, -math.inf, math.nan, -1, -0.5, 7, 2**40, 2**70, 2**200, 10**400, 1e300, "x", "", None, True, [], [1, "x"], {},
           {"a": 1}]


def a_plateau(optimizer):
    return nn.ReduceLROnPlateau(optimizer, patience=1)


def setting(kind, bits=np.random.PCG64):
    """A run that has a schedule: of the batch or of the epoch."""
    parts = mutants.a_run(bits)
    name, make = {"batch": ("schedule", mutants.a_schedule), "epoch": ("epoch_schedule", a_plateau)}[kind]
    return parts, {name: make(parts[2])}


def places(tree, path=()):
    """Where in the numbers of a checkpoint something stands."""
    yield path
    for key, inner in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from places(inner, (*path, key))


def put(tree, path, value):
    if not path:
        return value
    tree = copy.deepcopy(tree)
    place = tree
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return tree


def numbers_in(text):
    """Those that are taken as they are: a schedule sets rate and betas anew, positions are the run's own."""
    tree = json.loads(text, parse_constant=str)
    for group in tree["groups"]:
        group.update(lr=0, betas=0, params=0)
    return sorted((str(path), inner) for path in places(tree) if not isinstance(inner := at(tree, path), dict | list))


def at(tree, path):
    for key in path:
        tree = tree[key]
    return tree


def few(path):
    """Of long lists, as MT19937's, the ends are enough."""
    return not any(isinstance(key, int) and 2 <= key < 623 for key in path)


@pytest.mark.parametrize("kind, bits", [("epoch", BITS[0]), *(("batch", b) for b in BITS)])
def test_a_checkpoint_with_a_strange_number_anywhere_is_refused_or_right(kind, bits, tmp_path, monkeypatch):
    """Every number of it, and every list and dictionary, in turn made everything it cannot be. What is refused
    has changed nothing; what is taken stands in the run as in the file, and the run can be shown and saved."""
    parts, schedules = setting(kind, bits)
    mutants.train(parts, tmp_path, 2, **schedules)
    arrays, metadata = saving.load_with_metadata(tmp_path / "last.safetensors")
    numbers = json.loads(metadata["run"])
    files = {}  # thousands of them
    monkeypatch.setattr(saving, "load_with_metadata", files.get)
    monkeypatch.setattr(saving, "save", lambda arrays, path, notes: files.update(
        {path: ({k: saving._to_save(k, v) for k, v in arrays.items()}, notes)}))
    parts, schedules = setting(kind, bits)
    history = nn.History()
    run = mutants.as_run(parts, **schedules, history=history)
    run.save("fresh")
    fresh = mutants.everything(run)
    refused = taken = 0
    for path, value in itertools.product(filter(few, places(numbers)), STRANGE):
        text = json.dumps(put(numbers, path, value))
        files["strange"] = arrays, {"format": saving.FORMAT, "run": text}
        try:
            run.load("strange")
        except (ValueError, RuntimeError) as e:
            assert "strange' does not fit this run, or is damaged" in str(e)
            assert mutants.everything(run) == fresh, (path, value)
            refused += 1
            continue
        taken += 1
        run.save("again")
        said, got = numbers_in(text), numbers_in(files["again"][1]["run"])
        assert got == said, (path, value)
        assert len(repr(history).splitlines()) == max(1, len(history))
        assert all(history.best(k) is None or k in history.best(k) for row in history.rows for k in row)
        run.load("again")
        run.load("fresh")
    assert refused > 2 * taken > 0


@pytest.mark.parametrize("bits, path, values", [
    (np.random.PCG64, ("state", "state"), [-1, 2**128, 1.5, "1"]), (np.random.PCG64, ("state", "inc"), [-1, 2**128, 2]),
    (np.random.PCG64DXSM, ("state", "inc"), [0, 2**70]), (np.random.PCG64, ("uinteger",), [-1, 2**32, 0.5]),
    (np.random.PCG64, ("has_uint32",), [-1, 2, 7, 2**70]), (np.random.PCG64, ("bit_generator",), ["MT19937", "PCG64DXSM", 5]),
    (np.random.MT19937, ("state", "pos"), [-1, 625, 10**5, 2**40]), (np.random.MT19937, ("state", "key"), [[1] * 623, [2**32] * 624, [-1] * 624]),
    (np.random.Philox, ("buffer_pos",), [-1, 5, 99]), (np.random.Philox, ("buffer",), [[1], [1.5] * 4, [2**64] * 4]),
    (np.random.Philox, ("state", "counter"), [[1] * 9, [], "abcd"]), (np.random.SFC64, ("state", "state"), [[1], [-1] * 4, [1] * 5])])
def test_a_generator_is_not_put_into_a_state_it_cannot_be_in(bits, path, values):
    """NumPy takes some of them, and reads or writes beyond its memory at the next number."""
    own = bits(0)
    sound = json.loads(json.dumps(bits(1).state, default=np.ndarray.tolist))
    saving._check_generator("loader", own, sound)
    for value in values:
        with pytest.raises((ValueError, TypeError, OverflowError)):
            saving._check_generator("loader", own, put(sound, path, value))
    assert repr(own.state) == repr(bits(0).state)


@pytest.mark.parametrize("text", [deep(), '{"groups": ' + deep() + "}", "", "{", "null", "5", "[]", '"x"', "{}", "\ufffd",
                                  '{"groups": ' + "9" * 5000 + "}"], ids=range(11))
def test_a_checkpoint_whose_numbers_are_no_such_text_changes_nothing(text, tmp_path):
    parts = mutants.a_run()
    run = mutants.as_run(parts)
    run.save(tmp_path / "c")
    arrays, metadata = saving.load_with_metadata(tmp_path / "c")
    nn.save(arrays, tmp_path / "c", {"format": saving.FORMAT, "run": text})
    before = mutants.everything(run)
    with pytest.raises(ValueError, match="load: .*c' does not fit this run, or is damaged"):
        run.load(tmp_path / "c")
    assert mutants.everything(run) == before


@pytest.mark.parametrize("name, value", [
    ("optimizer.0.step", np.array(-1)), ("optimizer.0.step", np.array(2**63, np.uint64)), ("optimizer.0.step", np.array(3.0)),
    ("optimizer.0.step", np.array([3])), ("optimizer.00.step", np.array(3)), ("optimizer.\u0663.step", np.array(3)),
    ("optimizer.99.step", np.array(3)), ("optimizer.0.mean", np.zeros((9, 9), np.float32)), ("optimizer.0.extra", np.zeros((4, 3))),
    ("other.0", np.ones(1)), ("", np.ones(1)), ("model.0.weight", np.zeros((4, 4), np.float32)), ("model.extra", np.ones(2))])
def test_a_checkpoint_with_another_array_changes_nothing(name, value, tmp_path):
    parts, schedules = setting("batch")
    mutants.train(parts, tmp_path, 1, **schedules)
    arrays, metadata = saving.load_with_metadata(tmp_path / "last.safetensors")
    del metadata["checksum"]
    nn.save({**arrays, name: value}, tmp_path / "c", metadata)
    parts, schedules = setting("batch")
    run = mutants.as_run(parts, **schedules)
    before = mutants.everything(run)
    with pytest.raises((ValueError, RuntimeError), match="load: .*c' does not fit this run, or is damaged"):
        run.load(tmp_path / "c")
    assert mutants.everything(run) == before


def test_a_checkpoint_with_a_changed_bit_anywhere_is_noticed(tmp_path):
    parts, schedules = setting("batch")
    mutants.train(parts, tmp_path, 1, **schedules)
    content = (tmp_path / "last.safetensors").read_bytes()
    run = mutants.as_run(parts, **schedules)
    before = mutants.everything(run)
    rng = np.random.default_rng(0)
    for i in {*rng.integers(len(content), size=300).tolist(), *range(len(content) - 100, len(content))}:
        (tmp_path / "c").write_bytes(content[:i] + bytes([content[i] ^ 1 << int(rng.integers(8))]) + content[i + 1:])
        with pytest.raises(ValueError, match="load: .*c'"):
            run.load(tmp_path / "c")
        assert mutants.everything(run) == before


def test_a_checkpoint_of_an_earlier_version_has_no_checksum_and_is_read(tmp_path):
    parts, schedules = setting("batch")
    mutants.train(parts, tmp_path, 1, **schedules)
    arrays, metadata = saving.load_with_metadata(tmp_path / "last.safetensors")
    del metadata["checksum"]
    nn.save(arrays, tmp_path / "earlier", metadata)
    trained = mutants.everything(mutants.as_run(parts, **schedules, history=nn.History(json.loads(metadata["run"])["history"])))
    parts, schedules = setting("batch")
    run = mutants.as_run(parts, **schedules)
    run.load(tmp_path / "earlier")
    assert mutants.everything(run) == trained


def test_a_load_that_is_interrupted_leaves_the_weights(tmp_path, monkeypatch):
    parts, schedules = setting("batch")
    mutants.train(parts, tmp_path, 1, **schedules)
    parts, schedules = setting("batch")
    run = mutants.as_run(parts, **schedules)
    before, load, calls = mutants.everything(run), nn.Module.load_state_dict, []

    def interrupted(self, state):
        calls.append(load(self, state))
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(nn.Module, "load_state_dict", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.load(tmp_path / "last.safetensors")
    assert mutants.everything(run) == before


# ----- a step that a schedule does not have -----

def test_a_schedule_that_has_no_such_step_is_left_where_it_was():
    optimizer = nn.SGD([nn.Parameter([1.0])], lr=1.0, momentum=0.9)
    schedule = nn.OneCycleLR(optimizer, 1.0, total_steps=3)
    for _ in range(3):
        schedule.step()
    before = dict(optimizer.param_groups[0]), schedule.t
    for do in (schedule.step, lambda: schedule.load_state_dict({"t": 4}), lambda: schedule.load_state_dict({"t": -1}),
               lambda: schedule.load_state_dict({"t": 1.0}), lambda: schedule.load_state_dict({"t": "1"})):
        with pytest.raises((ValueError, TypeError)):
            do()
        assert (dict(optimizer.param_groups[0]), schedule.t) == before


def test_a_watcher_of_a_metric_takes_no_strange_progress():
    schedule = nn.ReduceLROnPlateau(nn.SGD([nn.Parameter([1.0])], lr=1.0))
    before = {k: v for k, v in vars(schedule).items()}
    for key, value in (("best", math.nan), ("best", "0.5"), ("bad_epochs", math.inf), ("bad_epochs", -1), ("cooling", 0.5)):
        with pytest.raises((ValueError, TypeError), match=f"ReduceLROnPlateau: {key}"):
            schedule.load_state_dict({**schedule.state_dict(), key: value})
        assert vars(schedule) == before


# ----- a thousand mutants -----

def damaged(count, seed, folder):
    done = subprocess.run([sys.executable, "-m", "tests.mutants", str(folder), str(count), str(seed)], cwd=ROOT, text=True,
                          capture_output=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_a_thousand_mutants_are_read_right_or_refused(tmp_path):
    seen = damaged(1200, 0, tmp_path)
    assert sum(seen.values()) == 1200
    assert all(seen[f"{kind} refused"] > 100 for kind in ("weights", "checkpoint", "unsigned", "idx", "gz", "tar"))
    assert seen["idx read"] > 10 and seen["tar read"] > 10


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 5))
def test_a_hundred_thousand_mutants_are_read_right_or_refused(seed, tmp_path):
    assert sum(damaged(25_000, seed, tmp_path).values()) == 25_000
