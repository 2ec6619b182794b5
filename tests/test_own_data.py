"""Data of one's own: parts, samplers, batches ahead in threads, images in folders."""
from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from nn.data import loader as loading

torch_data = pytest.importorskip("torch").utils.data
Image = pytest.importorskip("PIL.Image")
ROOT = Path(__file__).resolve().parent.parent


def seeded(n=0):
    return np.random.default_rng(n)


def numbers(n, classes=3):
    return nn.data.Dataset(np.arange(n, dtype=np.float32).reshape(n, 1, 1, 1), np.arange(n) % classes)


def own_threads():
    return [t for t in threading.enumerate() if t.name == "nn.data.DataLoader"]


# ----- Subset and random_split -----

def test_a_subset_is_the_chosen_samples_in_their_order():
    part = nn.data.Subset(numbers(10), [7, 2, 2])
    assert len(part) == 3 and part[:][0].ravel().tolist() == [7, 2, 2] and part[1][0].item() == 2
    of_it = nn.data.Subset(part, np.array([2, 0]))
    assert of_it[:][0].ravel().tolist() == [2, 7]
    assert [x.ravel().tolist() for x, _ in nn.data.DataLoader(part, 2)] == [[7, 2], [2]]


@pytest.mark.parametrize("indices, error, match", [
    ([0, 10], IndexError, "index 10 is out of range for a data set of 10"), ([-1], IndexError, "index -1"),
    ([0.5], ValueError, "indices must be integers"), ([], ValueError, "indices must be"), ([[1]], ValueError, r"shape \(1, 1\)")])
def test_a_subset_refuses(indices, error, match):
    with pytest.raises(error, match=match):
        nn.data.Subset(numbers(10), indices)


@pytest.mark.parametrize("n, lengths", [(10, [7, 3]), (10, [0.7, 0.3]), (11, [0.5, 0.5]), (100, [0.9, 0.1]), (7, [1 / 3] * 3),
                                        (1797, [0.8, 0.1, 0.1]), (10, [1.0]), (10, [0.3, 0.3, 0.4])])
def test_a_split_has_pytorchs_lengths_and_every_sample_once(n, lengths):
    parts = nn.data.random_split(numbers(n), lengths, seeded())
    theirs = torch_data.random_split(range(n), lengths)
    assert [*map(len, parts)] == [*map(len, theirs)]
    assert sorted(np.concatenate([p.indices for p in parts])) == [*range(n)]
    again = nn.data.random_split(numbers(n), lengths, seeded())
    assert all(np.array_equal(a.indices, b.indices) for a, b in zip(parts, again))


def test_a_stratified_split_keeps_the_proportions():
    labels = np.repeat([0, 1, 2], [700, 250, 50])
    data = nn.data.Dataset(np.zeros((1000, 1, 1, 1)), labels)
    for seed in range(20):
        for part in nn.data.random_split(data, [0.8, 0.1, 0.1], seeded(seed), labels=labels):
            share = np.bincount(labels[part.indices], minlength=3)
            assert np.abs(share - len(part) * np.array([0.7, 0.25, 0.05])).max() <= 2


@pytest.mark.parametrize("lengths, options, match", [
    ([6, 3], {}, "must add up to the 10 samples there are"), ([0.5, 0.6], {}, "fractions must add up to 1"),
    ([10, 0], {}, "leaves a part without any"), ([0.99, 0.01], {}, "without any"), ([-1, 11], {}, "a length must be at least 0"),
    ([5, 5], {"labels": [0]}, "a label for each of 10 samples, got 1")])
def test_a_split_refuses(lengths, options, match):
    with pytest.raises(ValueError, match=match):
        nn.data.random_split(numbers(10), lengths, seeded(), **options)
    with pytest.raises(TypeError, match="rng must be a np.random.Generator"):
        nn.data.random_split(numbers(10), [5, 5], 0)


# ----- samplers -----

def test_weights_are_the_probabilities():
    weights = np.array([0.0, 1, 3, 6])
    chosen = nn.data.WeightedRandomSampler(weights, 20_000)(seeded())
    assert len(chosen) == 20_000
    assert np.abs(np.bincount(chosen, minlength=4) / 20_000 - weights / 10).max() < 0.015
    without = nn.data.WeightedRandomSampler(weights, 3, replacement=False)
    assert sorted(without(seeded())) == [1, 2, 3]


def test_every_index_comes_once_and_every_batch_has_the_proportions():
    labels = seeded(3).permutation(np.repeat([5, 1, 9], [640, 256, 128]))
    sampler = nn.data.StratifiedSampler(labels)
    order = sampler(seeded())
    assert sorted(order) == [*range(1024)] and not np.array_equal(order, sampler(seeded(1)))
    for size in (16, 64, 100):
        for i in range(0, 1024 - size, size):
            batch = labels[order[i:i + size]]
            assert [abs((batch == c).sum() - size * (labels == c).mean()) <= 2.5 for c in (5, 1, 9)] == [True] * 3
    firsts = [sampler(seeded(s))[0] for s in range(30)]
    assert len(set(firsts)) > 20


def test_a_sampler_gives_the_order_of_the_loader_and_its_length():
    data = numbers(10)
    loader = nn.data.DataLoader(data, 4, sampler=nn.data.WeightedRandomSampler(np.eye(10)[3], 6), rng=seeded())
    assert len(loader) == 2 and [x.ravel().tolist() for x, _ in loader] == [[3] * 4, [3] * 2]
    assert len(nn.data.DataLoader(data, 4, sampler=loader.sampler, rng=seeded(), drop_last=True)) == 1
    assert sorted(x.item() for x, _ in nn.data.DataLoader(data, 1, sampler=nn.data.StratifiedSampler(data.labels), rng=seeded())) == [*range(10)]


@pytest.mark.parametrize("make, error, match", [
    (lambda: nn.data.WeightedRandomSampler([1, -1], 2), ValueError, "at least 0"), (lambda: nn.data.WeightedRandomSampler([0, 0], 2), ValueError, "not all 0"),
    (lambda: nn.data.WeightedRandomSampler([1, np.nan], 2), ValueError, "finite"), (lambda: nn.data.WeightedRandomSampler([1, 0], 2, False), ValueError, "2 samples without replacement .* got 1"),
    (lambda: nn.data.WeightedRandomSampler(["a"], 2), ValueError, "weights must be numbers"), (lambda: nn.data.StratifiedSampler([0.5]), ValueError, "labels must be integers"),
    (lambda: nn.data.DataLoader(numbers(3), sampler=[2, 1], rng=seeded()), TypeError, r"got list; for a fixed order pass nn.data.Subset"),
    (lambda: nn.data.DataLoader(numbers(3), sampler=nn.data.StratifiedSampler([0])), TypeError, "with sampler or augment: rng must be"),
    (lambda: nn.data.DataLoader(numbers(3), shuffle=True, sampler=nn.data.StratifiedSampler([0]), rng=seeded()), ValueError, "leave out shuffle"),
    (lambda: nn.data.DataLoader(numbers(3), augment=nn.data.flip()), TypeError, "with sampler or augment: rng must be")])
def test_samplers_and_loaders_refuse(make, error, match):
    with pytest.raises(error, match=match):
        make()


def test_a_joint_needs_inputs_and_targets():
    class Three(Watched):
        def __getitem__(self, index):
            return index, index, index
    for options in ({"transform": nn.data.mixup(1.0, 3)}, {"augment": nn.data.mixup(1.0, 3)}):
        with pytest.raises(ValueError, match=r"a Joint changes batches \(x, y\), got 3 arrays"):
            list(nn.data.DataLoader(Three(), rng=seeded(), **options))


# ----- collate -----

def test_collate_stacks_what_pytorch_stacks():
    samples = [({"x": np.full((2, 3), i, np.float32), "n": i}, (i, float(i))) for i in range(4)]
    ours, theirs = nn.data.collate(samples), torch_data.default_collate(samples)
    assert np.array_equal(ours[0]["x"], theirs[0]["x"].numpy()) and ours[0]["x"].dtype == np.float32
    assert np.array_equal(ours[0]["n"], theirs[0]["n"].numpy()) and ours[0]["n"].dtype == np.int64
    assert np.array_equal(ours[1][0], theirs[1][0].numpy()) and np.array_equal(ours[1][1], theirs[1][1].numpy())
    assert ours[1][1].dtype == np.float32  # PyTorch's are float64
    assert nn.data.collate(["a", "b"]) == ["a", "b"] and nn.data.collate([tg.ones(2)]).tolist() == [[1, 1]]


def test_collate_pads_unequal_shapes_if_asked():
    a, b = np.ones((1, 2, 3), np.float32), np.ones((1, 4, 1), np.float32)
    batch = nn.data.collate([a, b], pad=-1)
    assert batch.shape == (2, 1, 4, 3) and batch.dtype == np.float32
    assert np.array_equal(batch[0, :, :2], a) and (batch[0, :, 2:] == -1).all() and (batch[1, :, :, 1:] == -1).all()


@pytest.mark.parametrize("samples, error, match", [
    ([], ValueError, "at least one sample"), ([np.ones(2), np.ones(2), np.ones(3)], ValueError, r"samples 0 and 2 have shapes \(2,\) and \(3,\).*pad"),
    ([(1, 2), (1, 2, 3)], ValueError, "sample 1 is built otherwise than sample 0: tuple 3, tuple 2"),
    ([{"a": 1}, {"b": 1}], ValueError, r"sample 1 is built otherwise than sample 0: dict \['b'\], dict \['a'\]"), ([None, None], TypeError, "got NoneType")])
def test_collate_refuses(samples, error, match):
    with pytest.raises(error, match=match):
        nn.data.collate(samples)
    with pytest.raises(ValueError, match="1, 2. axes cannot be padded"):
        nn.data.collate([np.ones(2), np.ones((2, 2))], pad=0)


class OneByOne:
    """As PyTorch's data sets: `self[i]` is a sample, of a length of its own."""

    def __len__(self):
        return 5

    def __getitem__(self, i):
        return {"x": np.ones(int(i) % 2 + 1, np.float32), "name": str(i)}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_set_of_single_samples_is_put_together(workers):
    batches = list(nn.data.DataLoader(OneByOne(), 2, collate_fn=functools.partial(nn.data.collate, pad=0), num_workers=workers))
    assert [b["x"].shape for b in batches] == [(2, 2), (2, 2), (1, 1)] and batches[1]["name"] == ["2", "3"]


# ----- threads -----

def test_threads_give_the_same_batches_in_the_same_order():
    def epochs(workers):
        loader = nn.data.DataLoader(numbers(50), 4, shuffle=True, rng=seeded(), num_workers=workers,
                                    transform=lambda x, rng: x + rng.random(x.shape, np.float32))
        return [np.concatenate([x.ravel() for x, _ in loader]) for _ in range(2)]
    once = epochs(0)
    assert all(np.array_equal(a, b) for workers in (1, 2, 5) for a, b in zip(once, epochs(workers)))
    assert not own_threads()


class Watched:
    """A data set that counts what was asked for and, at one index, fails."""

    def __init__(self, bad=None, pause=0.0):
        self.bad, self.pause, self.asked = bad, pause, 0

    def __len__(self):
        return 400

    def __getitem__(self, index):
        self.asked += 1
        time.sleep(self.pause * bool(index[0]))
        if self.bad is not None and self.bad in index:
            raise ValueError(f"sample {self.bad} is damaged")
        return np.zeros((len(index), 1)), index


def test_an_error_comes_at_its_batch():
    batches = []
    with pytest.raises(ValueError, match="sample 21 is damaged"):
        for _, y in nn.data.DataLoader(Watched(21), 4, num_workers=3):
            batches.append(y.tolist())
    assert [b[0] for b in batches] == [0, 4, 8, 12, 16] and not own_threads()


def test_no_more_is_read_than_the_threads_may_be_ahead():
    data = Watched()
    for i, _ in enumerate(nn.data.DataLoader(data, 4, num_workers=2)):
        time.sleep(0.002)
        assert data.asked <= i + 1 + loading.AHEAD * 2
    assert data.asked == 100


@pytest.mark.parametrize("how", ["break", "error", "close"])
def test_a_loop_that_is_left_leaves_no_thread(how):
    loader = nn.data.DataLoader(Watched(pause=0.05), 4, num_workers=3)
    if how == "break":
        for _ in loader:
            break
    elif how == "error":
        with pytest.raises(KeyError):
            for _ in loader:
                raise KeyError
    else:
        batches = iter(loader)
        next(batches)
        assert len(own_threads()) == 3
        batches.close()
    assert not own_threads() and loader.dataset.asked < 6  # what was handed out and not begun is taken back
    loader.dataset.pause = 0.0
    assert len(list(loader)) == 100


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_while_it_waits_for_a_thread_leaves_none():
    class Slow(Watched):
        def __getitem__(self, index):
            if index[0] == 8:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
                time.sleep(0.05)
            return super().__getitem__(index)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        for _ in range(20):
            with pytest.raises(KeyboardInterrupt):
                for _ in nn.data.DataLoader(Slow(), 4, num_workers=2):
                    pass
            assert not own_threads()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_program_that_ends_in_the_middle_of_an_epoch_ends():
    code = """
import time, numpy as np, nn
class Slow:
    def __len__(self): return 100
    def __getitem__(self, index):
        time.sleep(0.01)
        return index, index
batches = iter(nn.data.DataLoader(Slow(), 1, num_workers=2))
next(batches)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


# ----- random numbers that do not depend on the order -----

def noise(x, rng):
    return x + rng.random(x.shape, np.float32)


def by_index(data, epochs=3, **options):
    """What each sample was in each epoch."""
    loader, found = nn.data.DataLoader(data, augment=noise, rng=seeded(7), **options), []
    for _ in range(epochs):
        x = np.concatenate([x.ravel() for x, _ in loader])
        found.append(x[np.argsort(np.floor(x))])
    return np.stack(found)


def test_what_a_sample_is_depends_on_seed_epoch_and_index_alone():
    data = numbers(40)
    plain = by_index(data)
    assert len(np.unique(plain % 1)) == plain.size  # other numbers for each sample and epoch
    for options in ({"shuffle": True}, {"batch_size": 7}, {"num_workers": 3}, {"num_workers": 2, "shuffle": True, "batch_size": 3},
                    {"sampler": nn.data.StratifiedSampler(data.labels)}, {"transform": lambda x, rng: x + 0 * rng.random()}):
        assert np.array_equal(by_index(data, **options), plain), options
    assert not np.array_equal(plain[0], nn.data.DataLoader(data, 40, augment=noise, rng=seeded(8)).__iter__().__next__()[0].ravel())


def test_an_epoch_that_is_given_up_changes_no_later_one():
    loader = nn.data.DataLoader(numbers(40), 8, shuffle=True, augment=noise, rng=seeded(7), num_workers=2)
    for _ in loader:
        break
    second = np.sort(np.concatenate([x.ravel() for x, _ in loader]))
    assert np.array_equal(second, by_index(numbers(40))[1])


def test_streams_are_counters_of_one_philox():
    key = np.array([3, 5], np.uint64)
    for number in (0, 1, 2**40):
        bits = np.random.Philox(key=key, counter=[0, 0, 0, number])
        assert np.array_equal(loading._stream(key, number).integers(0, 2**63, 8), np.random.Generator(bits).integers(0, 2**63, 8))


def test_resuming_with_sampler_augment_and_threads_is_exact(tmp_path):
    data = nn.data.digits("test")

    def train(folder, epochs, resume=False):
        rng = seeded()
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, rng=rng))
        loader = nn.data.DataLoader(data, 32, sampler=nn.data.StratifiedSampler(data.labels), rng=rng, num_workers=2,
                                    augment=nn.data.rotate(10), transform=nn.data.mixup(0.2, 10))
        history = nn.fit(net, loader, epochs=epochs, optimizer=nn.SGD(net.parameters(), 0.1), checkpoint=folder, resume=resume, callbacks=())
        return history["loss"], net.state_dict()
    whole, weights = train(tmp_path / "whole", 4)
    train(tmp_path / "part", 2)
    assert not own_threads()
    again, resumed = train(tmp_path / "part", 4, resume=True)
    assert whole == again and all(np.array_equal(weights[k], resumed[k]) for k in weights)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_a_training_that_is_broken_off_leaves_no_thread(error):
    class Stop(nn.Callback):
        def batch_end(self, row):
            raise error
    data = nn.data.digits("test")
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, rng=seeded()))
    try:
        nn.fit(net, nn.data.DataLoader(data, 16, num_workers=2), epochs=1, optimizer=nn.SGD(net.parameters(), 0.1), callbacks=[Stop()])
    except ZeroDivisionError:
        pass
    assert not own_threads()


# ----- images in folders -----

def put(image, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@pytest.fixture
def zoo(tmp_path, rng):
    for name, count in (("dog", 3), ("Cat", 2), ("10", 1)):
        for i in range(count):
            put(Image.fromarray(rng.integers(0, 256, (6, 9, 3), np.uint8)), tmp_path / name / f"{i}.png")
    put(Image.new("RGB", (9, 6), "red"), tmp_path / "dog" / "old" / "x.PNG")
    (tmp_path / "dog" / "notes.txt").write_text("none")
    (tmp_path / "dog" / "._0.png").write_text("none")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "readme.png").write_text("none")
    return tmp_path


def test_classes_are_the_folders_sorted_and_files_are_found(zoo):
    data = nn.data.ImageFolder(zoo)
    assert data.classes == ("10", "Cat", "dog") and data.class_to_idx == {"10": 0, "Cat": 1, "dog": 2}
    assert [str(Path(p).relative_to(zoo)) for p in data.paths] == ["10/0.png", "Cat/0.png", "Cat/1.png", "dog/0.png", "dog/1.png", "dog/2.png", "dog/old/x.PNG"]
    assert data.targets.tolist() == [0, 1, 1, 2, 2, 2, 2] and data.targets.dtype == np.int64 and len(data) == 7
    x, y = data[[6, 1]]
    assert x.shape == (2, 3, 6, 9) and x.dtype == np.float32 and y.tolist() == [2, 1]
    for i, image in enumerate(x):
        expected = np.asarray(Image.open(data.paths[[6, 1][i]])).transpose(2, 0, 1).astype(np.float32) / 255
        assert np.allclose(image, expected, atol=1e-7)
    assert np.array_equal(data[-1][0], x[0]) and len(data[:3][1]) == 3 and len(data[data.targets == 2][1]) == 4
    with pytest.raises(IndexError):
        data[7]


def test_a_folder_is_opened_without_reading_and_quickly_by_the_count_of_calls(zoo, monkeypatch):
    """Nothing is looked at file by file: only folders are listed."""
    for name in ("stat", "lstat"):
        monkeypatch.setattr(os, name, lambda *a, real=getattr(os, name), **k: pytest.fail(f"{name} of {a}") if str(a[0]).endswith(".png") else real(*a, **k))
    monkeypatch.setattr(Image, "open", lambda *a, **k: pytest.fail("read"))
    assert len(nn.data.ImageFolder(zoo)) == 7


def test_sizes_are_pillows_and_grey_is_pillows(zoo):
    path = nn.data.ImageFolder(zoo).paths[0]
    with Image.open(path) as image:
        small, grey = image.resize((4, 5), Image.Resampling.BILINEAR), image.convert("L")
    assert np.allclose(nn.data.ImageFolder(zoo, size=(5, 4))[0][0] * 255, np.asarray(small).transpose(2, 0, 1), atol=1e-4)
    assert np.allclose(nn.data.ImageFolder(zoo, mode="L")[0][0] * 255, np.asarray(grey)[None], atol=1e-4)


def test_unequal_sizes_need_a_size_or_a_crop(zoo):
    put(Image.new("RGB", (20, 30)), zoo / "Cat" / "big.png")
    data = nn.data.ImageFolder(zoo)
    with pytest.raises(ValueError, match=r"have shapes \(3, 6, 9\) and \(3, 30, 20\); give them one size"):
        data[:]
    loader = nn.data.DataLoader(data, 8, augment=nn.data.random_resized_crop(4), rng=seeded())
    assert next(iter(loader))[0].shape == (8, 3, 4, 4)


def test_the_exif_note_turns_a_picture(tmp_path):
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, :4] = 255
    image, note = Image.fromarray(pixels), Image.Exif()
    note[0x0112] = 6  # to be turned clockwise
    image.save(tmp_path / "a.jpg", exif=note, quality=100)
    x = nn.data.read_image(tmp_path / "a.jpg", "L")
    assert x.shape == (1, 8, 4) and x[0, :3].min() > 0.9 and x[0, 5:].max() < 0.1


def test_palettes_cmyk_alpha_and_sixteen_bits_are_what_is_seen(tmp_path):
    def read(image, suffix, mode="RGB", **options):
        image.save(tmp_path / f"a.{suffix}", **options)
        return nn.data.read_image(tmp_path / f"a.{suffix}", mode)[:, 0, 0].round(2).tolist()
    red = Image.new("RGB", (2, 2), (255, 0, 0))
    assert read(red.quantize(4), "png") == [1, 0, 0] and read(red.convert("CMYK"), "tif") == [1, 0, 0]
    assert read(Image.new("RGBA", (2, 2), (255, 0, 0, 0)), "png") == [1, 1, 1]  # what cannot be seen is not there
    assert read(Image.new("RGBA", (2, 2), (0, 0, 0, 128)), "png") == [0.5, 0.5, 0.5]
    assert read(Image.new("LA", (2, 2), (0, 0)), "png") == [1, 1, 1]
    clear = red.quantize(4)
    assert read(clear, "png", transparency=clear.getpixel((0, 0))) == [1, 1, 1]
    deep = Image.fromarray(np.full((2, 2), 0x8000, np.uint16))
    assert read(deep, "png", "L") == [0.5] and read(deep, "png") == [0.5] * 3 and read(deep, "pgm", "L") == [0.5]
    Image.fromarray(np.full((2, 2), 0xfffe, np.uint16)).save(tmp_path / "deep.png")
    assert np.allclose(nn.data.read_image(tmp_path / "deep.png", "L"), 0xfffe / 0xffff, atol=1e-7)
    assert read(Image.new("1", (2, 2), 1), "png") == [1, 1, 1]
    for mode in ("F", "I"):
        with pytest.raises(ValueError, match=f"of mode '{mode}', of 32 bits without a known range"):
            read(Image.new(mode, (2, 2), 3), "tif")


WHOLE = b"\x89PNG\r\n\x1a\n"


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("content", [b"", b"GIF89a", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", WHOLE, WHOLE + bytes(100), b"P5 10 10 255\n", b"II*\0\xff\xff\xff\xff"])
def test_what_is_no_image_is_named(content, zoo):
    (zoo / "dog" / "1.png").write_bytes(content)
    data = nn.data.ImageFolder(zoo, size=4)
    for workers in (0, 2):
        got = []
        with pytest.raises(ValueError, match="read_image: '.*dog/1.png' cannot be read as an image"):
            for _, y in nn.data.DataLoader(data, 2, num_workers=workers):
                got.append(y.tolist())
        assert got == [[0, 1], [1, 2]]


@pytest.mark.parametrize("kind", ["GIF", "EPS", "PCX"])
def test_a_format_that_is_not_asked_for_is_not_opened_whatever_its_name(kind, tmp_path):
    """An EPS file is a program, which Pillow would have Ghostscript run."""
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", kind)
    with pytest.raises(ValueError, match="a.png' cannot be read as an image .UnidentifiedImageError"):
        nn.data.read_image(tmp_path / "a.png")


def test_a_truncated_image_is_named(zoo):
    path = zoo / "dog" / "1.png"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match="dog/1.png' cannot be read as an image"):
        nn.data.ImageFolder(zoo)[4]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp", "bmp", "ppm"])
def test_a_damaged_image_is_named_or_read(suffix, tmp_path, rng):
    path, pixels = tmp_path / f"a.{suffix}", rng.integers(0, 256, (12, 16, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    whole, refused = path.read_bytes(), 0
    for _ in range(60):
        content = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            content[place] = rng.integers(256)
        path.write_bytes(content[:rng.integers(len(whole) // 2, 2 * len(whole))])
        try:
            x = nn.data.read_image(path, size=8)
        except ValueError as e:
            assert str(path) in str(e)
            refused += 1
        else:
            assert x.shape == (3, 8, 8) and x.dtype == np.float32 and 0 <= x.min() and x.max() <= 1
    assert refused > 5


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    Image.new("1", (3000, 3000)).save(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size < 10_000
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5_000_000)
    with pytest.warns(Image.DecompressionBombWarning), pytest.raises(ValueError, match="a.png.*3000x3000 pixels are more than PIL.Image.MAX_IMAGE_PIXELS, 5000000"):
        nn.data.read_image(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1_000_000)
    with pytest.raises(ValueError, match="a.png.*DecompressionBombError"):
        nn.data.read_image(tmp_path / "a.png")


@pytest.mark.skipif(os.name == "nt", reason="pipes and links of POSIX")
@pytest.mark.parametrize("make", [lambda path: os.mkfifo(path), lambda path: path.symlink_to("nowhere"), lambda path: path.symlink_to("/dev/zero")])
def test_pipes_devices_and_links_to_nothing_are_named(make, zoo):
    make(zoo / "dog" / "p.png")
    with pytest.raises(FileNotFoundError, match="ImageFolder: there is no file '.*dog/p.png'"):
        nn.data.ImageFolder(zoo)
    with pytest.raises(FileNotFoundError, match="read_image: there is no file"):
        nn.data.read_image(zoo / "dog" / "p.png")


@pytest.mark.skipif(os.name == "nt", reason="links of POSIX")
def test_links_to_files_and_classes_are_followed_and_circles_are_not(zoo):
    (zoo / "dog" / "again.png").symlink_to(zoo / "Cat" / "0.png")
    (zoo / "wolf").symlink_to(zoo / "Cat")
    (zoo / "dog" / "round").symlink_to(zoo)
    data = nn.data.ImageFolder(zoo)
    assert data.classes == ("10", "Cat", "dog", "wolf") and np.bincount(data.targets).tolist() == [1, 2, 5, 2]


@pytest.mark.parametrize("make, error, match", [
    (lambda p: nn.data.ImageFolder(p / "none"), FileNotFoundError, "there is no folder '.*none'"),
    (lambda p: nn.data.ImageFolder(p / "10"), FileNotFoundError, "there are no folders in .*; put the images of each class"),
    (lambda p: ((p / "empty").mkdir(), nn.data.ImageFolder(p)), FileNotFoundError, r"no images \(.jpg, .*\) in the folders of .* named 'empty'"),
    (lambda p: nn.data.ImageFolder(p, mode="CMYK"), ValueError, "mode must be one of 'RGB', 'L'"),
    (lambda p: nn.data.ImageFolder(p, size=0), ValueError, "size must be at least 1"), (lambda p: nn.data.ImageFolder(3), TypeError, "the path of a folder, got int"),
    (lambda p: nn.fit(nn.Linear(1, 1), nn.data.ImageFolder(p), epochs=1, optimizer=None), TypeError, "expects batches, got a ImageFolder; pass nn.data.DataLoader"),
    (lambda p: nn.evaluate(nn.Linear(1, 1), nn.data.Subset(numbers(3), [0])), TypeError, "expects batches, got a Subset")])
def test_image_folders_refuse(make, error, match, zoo):
    with pytest.raises(error, match=match):
        make(zoo)


def test_without_pillow_the_extra_is_named(monkeypatch, zoo):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(ImportError, match=r"needs Pillow; pip install 'tinygrad_conv\[images\]'"):
        nn.data.ImageFolder(zoo)[0]


def test_memory_stays_bounded_however_many_files(tmp_path):
    """A loader holds the batches its threads are ahead, not the data set: 100 MB of pixels, 3 MB at a time."""
    import tracemalloc
    put(Image.new("RGB", (256, 256)), tmp_path / "a" / "0.png")
    for i in range(1, 128):
        os.link(tmp_path / "a" / "0.png", tmp_path / "a" / f"{i}.png")
    loader = nn.data.DataLoader(nn.data.ImageFolder(tmp_path), 1, num_workers=2)
    tracemalloc.start()
    for _ in loader:
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * 256 * 256 * 3 * 4


def shapes(folder, n, rng):
    from PIL import ImageDraw
    for name in ("bar", "disc", "square"):
        for i in range(n):
            image = Image.new("RGB", (24, 20), tuple(rng.integers(0, 80, 3).tolist()))
            x, y, r = rng.integers(7, 15), rng.integers(7, 13), rng.integers(4, 7)
            draw, colour = ImageDraw.Draw(image), tuple(rng.integers(150, 256, 3).tolist())
            {"bar": lambda: draw.rectangle((x - r, y - 1, x + r, y + 1), colour), "disc": lambda: draw.ellipse((x - r, y - r, x + r, y + r), colour),
             "square": lambda: draw.rectangle((x - r, y - r, x + r, y + r), None, colour, 2)}[name]()
            put(image, folder / name / f"{i}.png")


def test_a_net_learns_from_a_folder(tmp_path):
    rng = seeded()
    shapes(tmp_path / "train", 50, rng)
    shapes(tmp_path / "valid", 20, rng)
    train, valid = (nn.data.ImageFolder(tmp_path / name, size=12) for name in ("train", "valid"))
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, rng=rng), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1, rng=rng),
                        nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(144, 3, rng=rng))
    history = nn.fit(net, nn.data.DataLoader(train, 20, sampler=nn.data.StratifiedSampler(train.targets), rng=rng, num_workers=2, augment=nn.data.flip()),
                     nn.data.DataLoader(valid, 30, num_workers=2), epochs=8, optimizer=nn.Adam(net.parameters(), 5e-3), callbacks=())
    assert history.last["valid_accuracy"] > 0.9, history.last
    assert not own_threads()
