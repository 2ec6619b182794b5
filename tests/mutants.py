"""Reads damaged files, in a process of its own: little memory, and no right to run or to write anything.

    python -m tests.mutants FOLDER COUNT SEED

Sound files of each kind are changed at random; each mutant must be read as what it says, or refused by an
error that names it. Prints how many of each kind were read and refused; the first that was neither ends it.
"""
from __future__ import annotations

import gzip
import io
import json
import resource
import struct
import sys
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np

import nn
from nn.data import download
from nn.train import saving
from nn.train.saving import Run

REFUSALS = (ValueError, OSError, RuntimeError)  # RuntimeError: of another model
MEMORY = 1 << 29  # bytes beyond what the imports took
FORBIDDEN = {"exec", "compile", "import", "marshal.loads", "pickle.find_class", "code.__new__", "os.system", "os.exec",
             "os.fork", "os.posix_spawn", "subprocess.Popen", "socket.connect", "ctypes.dlopen", "os.remove",
             "os.rename", "os.mkdir", "os.chmod", "os.truncate", "shutil.copyfile"}


# ----- the sound files -----

def a_run(bits=np.random.PCG64):
    """A small run with a schedule, two generators and an optimiser with counts and arrays."""
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(3, 4, rng=rng), nn.BatchNorm1d(4), nn.ReLU(),
                        nn.Dropout(0.5, rng=np.random.Generator(bits(5))), nn.Linear(4, 2, rng=rng))
    loader = nn.data.DataLoader(nn.data.Dataset(rng.random((12, 3), np.float32), np.arange(12) % 2), 4, shuffle=True,
                                rng=np.random.Generator(bits(7)))
    return net, loader, nn.Adam(nn.no_decay(net, 0.01), 0.01)


def train(parts, folder, epochs, resume=False, **schedules):
    net, loader, optimizer = parts
    return nn.fit(net, loader, epochs=epochs, optimizer=optimizer, checkpoint=folder, resume=resume, callbacks=(),
                  **schedules)


def a_schedule(optimizer):
    return nn.SequentialLR(optimizer, [nn.LinearLR(optimizer, 0.5, total_iters=2),
                                       nn.OneCycleLR(optimizer, 0.1, total_steps=40)], [2])


def as_run(parts, schedule=None, epoch_schedule=None, history=None):
    """What `nn.fit` saves and restores."""
    net, loader, optimizer = parts
    return Run({"model": net, "optimizer": optimizer, "batch": schedule, "epoch": epoch_schedule, "loader": loader.rng,
                "history": nn.History() if history is None else history})


def everything(run):
    """All of a run, as text: also the state that no `state_dict` shows."""
    def plain(x):
        if isinstance(x, nn.Schedule | nn.ReduceLROnPlateau):
            return plain({k: v for k, v in vars(x).items() if k not in ("optimizer", "schedulers")})
        if isinstance(x, np.ndarray):
            return x.dtype.str, x.shape, x.tobytes()
        if isinstance(x, dict):
            return {k: plain(x[k]) for k in sorted(x, key=str) if k != "params"}
        return [plain(v) for v in x] if isinstance(x, list | tuple) else x

    return repr(plain([run.models["model"].state_dict(), run.optimizers["optimizer"].state, run.optimizers["optimizer"].param_groups, run.history.rows,
                       run.schedules, [g.bit_generator.state for g in run.generators.values()]]))


def idx(array):
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def archive(members):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return content.getvalue()


# ----- what a file says, read in another way -----

def in_safetensors(content):
    length, = struct.unpack("<Q", content[:8])
    header = json.loads(content[8:8 + length])
    header.pop("__metadata__", None)
    names = {"F32": "f4", "F16": "f2", "F64": "f8", "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1", "U8": "u1", "U16": "u2",
             "U32": "u4", "U64": "u8", "BOOL": "?", "C64": "c8"}
    return {k: np.frombuffer(content[8 + length:][slice(*v["data_offsets"])], "<" + names[v["dtype"]]).reshape(v["shape"])
            for k, v in header.items()}


def same(a, b):
    return a.keys() == b.keys() and all(a[k].shape == b[k].shape and a[k].tobytes() == b[k].tobytes() for k in a)


# ----- mutants -----

def mutant(rng, good, other):
    """A sound file with one to three changes; `other` is another of its kind."""
    content = bytearray(good)
    for _ in range(rng.integers(1, 4)):
        n = len(content)
        head = min(n, 200)
        i, size = int(rng.integers(rng.choice([head, n]) + 1)), int(rng.integers(1, 40))
        match rng.integers(8):
            case 0 if i < n:
                content[i] ^= 1 << int(rng.integers(8))
            case 1:
                del content[i:]
            case 2:
                content[i:i] = rng.bytes(size)
            case 3:
                del content[i:i + size]
            case 4:
                content[i:i] = content[i:i + size * 16]
            case 5 if i + 8 <= n:  # a number, of either end
                value = int(rng.choice([0, 1, -1, 255, 2**16, 2**31, 2**32 - 1, 2**62]))
                content[i:i + 8] = struct.pack(str(rng.choice(["<q", ">q"])), value)
            case 6:
                content[i:] = other[int(rng.integers(len(other))):]
            case 7:
                digits = [j for j in range(n) if 48 <= content[j] <= 57][:400]
                if digits:
                    content[int(rng.choice(digits))] = int(rng.integers(45, 58))
    return bytes(content)


def read(kind, path, run):
    if kind == "weights":
        return nn.load(path)
    if kind in ("checkpoint", "unsigned"):
        return run.load(path)
    if kind == "tar":
        download.CIFAR_SHA256 = download.sha256(path)
        return nn.data.cifar10("test", folder=path.parent)
    return download.read_idx(path)


def is_right(kind, content, value, run):
    """Whether what was read is what the file says."""
    if kind == "weights":
        return same(value, in_safetensors(content))
    if kind == "checkpoint":
        return everything(run) == run.sound
    if kind == "unsigned":
        arrays, numbers = run._contents()
        said = json.loads(json.loads(content[8:8 + struct.unpack("<Q", content[:8])[0]])["__metadata__"]["run"])
        for group in numbers["groups"] + said["groups"]:
            group.update(lr=None, betas=None, params=None)  # the schedule sets them
        given = {k: v.astype(arrays[k].dtype) for k, v in in_safetensors(content).items()}
        return same(arrays, given) and json.loads(json.dumps(numbers, default=np.ndarray.tolist)) == said
    plain = content if kind == "idx" else gzip.decompress(content)
    if kind == "tar":
        return np.insert(value.images.reshape(len(value), -1), 0, value.labels, axis=1).tobytes() in plain
    return value.shape == struct.unpack(f">{plain[3]}I", plain[4:4 + 4 * plain[3]]) and (
        value.tobytes() == plain[4 + 4 * plain[3]:])


def main(folder, count, seed):
    rng = np.random.default_rng(seed)
    sound = {}
    for i in (0, 1):
        state = {f"a{i}": rng.standard_normal((2, 3)).astype(np.float32), "b": np.arange(5), "c": rng.random(4) < 0.5,
                 "d": np.float64(i), "e": np.zeros((0, 2), np.float16)}
        nn.save(state, folder / "s", {"note": "text"})
        sound.setdefault("weights", []).append((folder / "s").read_bytes())
        parts = a_run()
        schedule = a_schedule(parts[2])
        rows = train(parts, None, 1 + i, schedule=schedule).rows
        as_run(parts, schedule, None, nn.History([{**row, "seconds": 0.5, "images_per_second": 24.0} for row in rows])
               ).save(folder / "r")
        sound.setdefault("checkpoint", []).append((folder / "r").read_bytes())
        arrays, metadata = saving.load_with_metadata(folder / "r")
        metadata.pop("checksum")  # as those of an earlier version
        nn.save(arrays, folder / "u", metadata)
        sound.setdefault("unsigned", []).append((folder / "u").read_bytes())
        array = rng.integers(0, 256, (3 + i, 4, 5), np.uint8)
        sound.setdefault("idx", []).append(idx(array))
        sound.setdefault("gz", []).append(gzip.compress(idx(array), mtime=0))
        records = rng.integers(0, 10, (2 + i, download.CIFAR_RECORD), np.uint8).tobytes()
        sound.setdefault("tar", []).append(archive({"cifar-10-batches-bin/readme": b"x" * 700,
                                                    download.CIFAR_MEMBERS["test"][0]: records}))
    parts = a_run()
    run = as_run(parts, a_schedule(parts[2]))
    fresh = folder / "fresh.safetensors"
    run.save(fresh)
    before = everything(run)
    (folder / "c").write_bytes(sound["checkpoint"][0])
    run.load(folder / "c")
    run.sound = everything(run)
    run.load(fresh)
    assert everything(run) == before != run.sound
    kinds, seen, armed, found = list(sound), Counter(), [], []

    def watch(event, args):
        if armed and (event in FORBIDDEN or event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")):
            found.append((event, args))

    sys.addaudithook(watch)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for n in range(-len(kinds), count):  # first the sound ones: what they import may be imported
        kind = kinds[n % len(kinds)]
        content = sound[kind][0] if n < 0 else mutant(rng, *sound[kind])
        if kind == "tar":
            content = gzip.compress(content, 1, mtime=0)
        elif kind == "gz" and n % 2:  # one that passes for gzip
            content = gzip.compress(mutant(rng, *sound["idx"]), 1, mtime=0)
        path = folder / ("cifar-10-binary.tar.gz" if kind == "tar" else f"mutant{n}.{kind}")
        path.write_bytes(content)
        refusal = value = None
        if n >= 0:
            armed.append(True)
        try:
            value = read(kind, path, run)
        except REFUSALS as e:
            refusal = e
        finally:
            armed.clear()
        what = f"mutant {n} of seed {seed}, a {kind}"
        assert path.read_bytes() == content and not found, f"{what}: {found} while it was read"
        if refusal is None:
            assert is_right(kind, content, value, run), f"{what}: read as something else"
            if kind in ("checkpoint", "unsigned"):
                run.load(fresh)
        else:
            assert n >= 0 and str(path) in str(refusal), f"{what}: {refusal!r}"
        assert everything(run) == before, f"{what}: half-loaded, {refusal!r}"
        if n >= 0:
            seen[f"{kind} {'read' if refusal is None else 'refused'}"] += 1
        path.unlink()
    print(json.dumps(seen))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
