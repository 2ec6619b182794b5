"""Data sets, batches, augmentation; damaged, missing and broken-off files are clear errors."""
from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import http.server
import io
import itertools
import os
import socketserver
import struct
import subprocess
import sys
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import nn
from nn.data import download as image_sets
from nn.data.download import cache_folder, download, locate

ROOT = Path(__file__).resolve().parent.parent

def sha256(content):
    return hashlib.sha256(content).hexdigest()


def idx_bytes(array, ndim=None, sizes=None):
    """The IDX file of an array of bytes, optionally with a header that lies."""
    sizes = array.shape if sizes is None else sizes
    return (b"\x00\x00\x08" + bytes([array.ndim if ndim is None else ndim])
            + struct.pack(f">{len(sizes)}I", *sizes) + array.tobytes())


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server():
    """A loopback server: `files` by path; `broken` paths end half way."""
    files, broken = {}, set()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content = files.get(self.path)
            if content is None:
                return self.send_error(404)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[:len(content) // 2] if self.path in broken else content)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as s:
        s.files, s.broken, s.address = files, broken, f"http://127.0.0.1:{s.server_port}"
        thread = threading.Thread(target=s.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield s
        s.shutdown()
        thread.join()


NOWHERE = "http://127.0.0.1:9/"  # the discard port: nobody listens


# ----- digits -----

def test_digits_sizes_and_classes():
    train, test, whole = (nn.data.digits(s) for s in ("train", "test", "all"))
    assert (len(train), len(test), len(whole)) == (1442, 355, 1797)
    assert train.classes == tuple("0123456789")
    x, y = whole[:]
    assert x.shape == (1797, 1, 8, 8) and x.dtype == np.float32 and y.dtype == np.int64
    assert x.min() == 0 and x.max() == 1 and whole.images.dtype == np.uint8
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_split_is_every_fifth_of_each_class():
    train, test, whole = (nn.data.digits(s) for s in ("train", "test", "all"))
    for digit in range(10):
        images = whole.images[whole.labels == digit]
        assert np.array_equal(test.images[test.labels == digit], images[4::5])
    seen = {a.tobytes() for a in train.images}
    assert not any(a.tobytes() in seen for a in test.images)
    again = nn.data.digits("test")
    assert np.array_equal(again.images, test.images) and np.array_equal(again.labels, test.labels)


def test_digits_refuses_another_split():
    with pytest.raises(ValueError, match="split must be one of 'train', 'test', 'all', got 'valid'"):
        nn.data.digits("valid")


# ----- Dataset and DataLoader -----

def test_dataset_turns_bytes_into_floats_and_leaves_floats():
    data = nn.data.Dataset(np.array([[[[0, 51]]], [[[102, 255]]]], np.uint8), np.array([1, 2], np.uint8))
    x, y = data[[1]]
    assert x.dtype == np.float32 and np.allclose(x, [[[[0.4, 1.0]]]]) and y.tolist() == [2] and y.dtype == np.int64
    floats = nn.data.Dataset(np.ones((2, 1, 1, 1), np.float64), np.array([0.5, 1.5]))
    x, y = floats[:]
    assert x.dtype == np.float64 and y.dtype == np.float64
    assert repr(data) == "Dataset(2 images of shape (1, 1, 2), uint8)"


def test_dataset_refuses_other_lengths():
    with pytest.raises(ValueError, match=r"as many labels, got shapes \(2, .*\) and \(3,\)"):
        nn.data.Dataset(np.zeros((2, 1, 1, 1)), np.zeros(3))


def test_integer_images_become_float32_and_wide_pixels_need_a_scale():
    for kind in (np.uint8, np.int32, np.int64):
        x, _ = nn.data.Dataset(np.full((2, 1, 1, 1), 255, kind), np.zeros(2))[0:2]
        assert x.dtype == np.float32 and x.max() == 1
    deep = np.full((2, 1, 1, 1), 4095, np.uint16)
    with pytest.raises(ValueError, match="Dataset: expects scale for pixels up to 4095, .* pass scale=1/4095"):
        nn.data.Dataset(deep, np.zeros(2))
    assert nn.data.Dataset(deep, np.zeros(2), scale=1 / 4095)[0][0].max() == 1


def numbers(n):
    return nn.data.Dataset(np.arange(n, dtype=np.float32).reshape(n, 1, 1, 1), np.arange(n))


@pytest.mark.parametrize("n,size,drop,sizes", [
    (10, 4, False, [4, 4, 2]), (10, 4, True, [4, 4]), (8, 4, False, [4, 4]), (8, 4, True, [4, 4]),
    (3, 4, False, [3]), (3, 4, True, []), (0, 4, False, [])])
def test_loader_batches(n, size, drop, sizes):
    loader = nn.data.DataLoader(numbers(n), size, drop_last=drop)
    batches = list(loader)
    assert len(loader) == len(sizes) and [len(y) for _, y in batches] == sizes
    assert [int(v) for _, y in batches for v in y] == list(range(sum(sizes)))


def test_loader_shuffles_by_its_generator_and_keeps_pairs():
    a, b = (nn.data.DataLoader(numbers(20), 6, shuffle=True, rng=np.random.default_rng(3)) for _ in range(2))
    first, second = ([int(v) for _, y in a for v in y] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(20)) and first != second
    assert [int(v) for _, y in b for v in y] == first
    assert all(np.array_equal(x.ravel(), y) for x, y in a)


def test_loader_epoch_depends_on_the_state_of_the_generator_alone():
    loader = nn.data.DataLoader(numbers(20), 6, shuffle=True, rng=np.random.default_rng(3),
                                transform=lambda x, rng: x + rng.random(x.shape, np.float32))
    list(loader)
    state = loader.rng.bit_generator.state
    once = [x for x, _ in loader]
    loader.rng.bit_generator.state = state
    assert all(np.array_equal(x, z) for x, (z, _) in zip(once, loader, strict=True))


def test_loader_leaves_the_global_generator_alone():
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    list(nn.data.DataLoader(numbers(20), 6, shuffle=True, rng=np.random.default_rng(3), transform=nn.data.shift(1)))
    assert np.array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize("options,error,match", [
    ({"batch_size": 0}, ValueError, "at least 1, got 0"), ({"batch_size": 2.5}, TypeError, "got 2.5"),
    ({"shuffle": True}, TypeError, "with shuffle or transform: rng must be a np.random.Generator, it is missing"),
    ({"shuffle": True, "rng": 3}, TypeError, "rng must be a np.random.Generator, got 3"),
    ({"transform": nn.data.flip()}, TypeError, "default_rng")])
def test_loader_refuses(options, error, match):
    with pytest.raises(error, match=match):
        nn.data.DataLoader(numbers(3), **options)


# ----- augmentation -----

def test_shift_moves_whole_images_and_fills_with_zero(rng):
    x = rng.random((64, 2, 5, 6), np.float32) + 1
    kept = x.copy()
    y = nn.data.shift(2)(x, np.random.default_rng(0))
    assert y.shape == x.shape and y.dtype == np.float32 and np.array_equal(x, kept)
    padded = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)))
    places = set()
    for image, source in zip(y, padded):
        found = [(i, j) for i in range(5) for j in range(5) if np.array_equal(image, source[:, i:i + 5, j:j + 6])]
        assert len(found) == 1
        places.update(found)
    assert len(places) > 15  # of 25


def test_shift_with_a_probability_leaves_some_images(rng):
    x = rng.random((400, 1, 4, 4))
    y = nn.data.shift(1, 0.5)(x, np.random.default_rng(0))
    same = np.mean([np.array_equal(a, b) for a, b in zip(x, y)])
    assert 0.45 < same < 0.65  # half, and a ninth of the other half
    assert np.array_equal(nn.data.shift(1, 0.0)(x, rng), x)
    assert np.array_equal(nn.data.shift(0)(x, rng), x)


def test_flip_mirrors_half_of_the_images(rng):
    x = rng.random((200, 2, 3, 4), np.float32)
    y = nn.data.flip()(x, np.random.default_rng(0))
    turned = [np.array_equal(a[..., ::-1], b) for a, b in zip(x, y)]
    assert all(t or np.array_equal(a, b) for t, a, b in zip(turned, x, y))
    assert 70 < sum(turned) < 130 and y.dtype == np.float32


def test_compose_applies_in_order(rng):
    double, add = (lambda x, rng: 2 * x), (lambda x, rng: x + 1)
    assert nn.data.compose(double, add)(np.ones(1), rng).tolist() == [3.0]


@pytest.mark.parametrize("make,match", [
    (lambda: nn.data.shift(-1), "cells must be at least 0, got -1"),
    (lambda: nn.data.shift(1.5), "cells must be a whole number, got 1.5"), (lambda: nn.data.shift(1, 2.0), r"p must be between 0 and 1, got 2.0"),
    (lambda: nn.data.shift(1)(np.ones((2, 3)), np.random.default_rng(0)), r"shift: expects .*\(N, C, H, W\), got shape \(2, 3\)"),
    (lambda: nn.data.flip()(np.ones((2, 3)), np.random.default_rng(0)), r"flip: expects .*\(N, C, H, W\), got shape \(2, 3\)")])
def test_augmentation_refuses(make, match):
    with pytest.raises((TypeError, ValueError), match=match):
        make()


# ----- IDX files -----

def test_read_idx(tmp_path, rng):
    array = rng.integers(0, 256, (3, 4, 5), np.uint8)
    (tmp_path / "a.gz").write_bytes(gzip.compress(idx_bytes(array)))
    assert np.array_equal(image_sets.read_idx(tmp_path / "a.gz"), array)


ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
WHOLE = gzip.compress(idx_bytes(ARRAY))


@pytest.mark.parametrize("content,match", [
    (WHOLE[:-10], "is not a whole gzip file"), (WHOLE[:5], "is not a whole gzip file"),
    (idx_bytes(ARRAY)[:-1], "holds 23 values, its header promises"), (WHOLE + b"tail", "is not a whole gzip file"),
    (WHOLE[:20] + bytes([WHOLE[20] ^ 255]) + WHOLE[21:], "is not a whole gzip file"),
    (b"", "begins with , expected 00 00 08"), (gzip.compress(b""), "begins with , expected 00 00 08"),
    (gzip.compress(b"\x00\x00\x0d\x03" + bytes(40)), "begins with 00 00 0d 03, expected 00 00 08"),
    (gzip.compress(b"<html>not found</html>"), "begins with 3c 68 74 6d"),
    (gzip.compress(b"\x00\x00\x08\x03\x00"), "begins with 00 00 08 03"),
    (gzip.compress(idx_bytes(ARRAY)[:-1]), r"holds 23 values, its header promises \(2, 3, 4\)"),
    (gzip.compress(idx_bytes(ARRAY, sizes=(2, 3, 3))), r"holds 24 values, its header promises \(2, 3, 3\)"),
    (gzip.compress(idx_bytes(ARRAY[:0], sizes=(2**31, 2**31, 4))), "holds 0 values, its header promises")])  # 2**64: 0 in int64
def test_read_idx_of_a_damaged_file_names_it(content, match, tmp_path):
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(ValueError, match=match) as e:
        image_sets.read_idx(tmp_path / "a.gz")
    assert str(tmp_path / "a.gz") in str(e.value)


def test_read_idx_of_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="a.gz"):
        image_sets.read_idx(tmp_path / "a.gz")


# ----- finding and downloading -----

def test_cache_folder_is_where_the_user_says(monkeypatch, tmp_path):
    monkeypatch.setenv("TINYGRAD_CONV_DATA", str(tmp_path / "data"))
    assert cache_folder("mnist") == tmp_path / "data" / "mnist"
    assert cache_folder("mnist", tmp_path) == tmp_path
    monkeypatch.delenv("TINYGRAD_CONV_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("mnist") == tmp_path / "tinygrad_conv" / "mnist"
    monkeypatch.setenv("TINYGRAD_CONV_DATA", "")  # set to nothing: as if it were not there
    assert cache_folder("mnist") == tmp_path / "tinygrad_conv" / "mnist"


def test_cache_folder_knows_the_users_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("TINYGRAD_CONV_DATA", "~/data")
    assert cache_folder("mnist") == tmp_path / "data" / "mnist"
    assert cache_folder("mnist", "~/mine") == tmp_path / "mine"


def test_download_puts_the_whole_file_there(server, tmp_path):
    server.files["/f"] = content = bytes(range(256)) * 1000
    download(server.address + "/f", tmp_path / "new" / "f", sha256(content))
    assert (tmp_path / "new" / "f").read_bytes() == content and os.listdir(tmp_path / "new") == ["f"]


def test_download_asks_for_the_mode_the_umask_allows(server, tmp_path):
    """A cache is shared; a temporary file's mode would lock others out."""
    server.files["/f"] = b"content"
    (tmp_path / "other").touch()
    download(server.address + "/f", tmp_path / "f", sha256(b"content"))
    assert (tmp_path / "f").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_download_that_breaks_off_leaves_nothing(server, tmp_path):
    server.files["/f"] = content = bytes(range(256)) * 1000
    server.broken.add("/f")
    with pytest.raises(ConnectionError, match=r"/f failed \(.*128000 of 256000 bytes"):
        download(server.address + "/f", tmp_path / "f", sha256(content))
    assert os.listdir(tmp_path) == []


def test_download_of_another_file_is_not_kept(server, tmp_path):
    server.files["/f"] = b"another"
    (tmp_path / "f").write_bytes(b"old")
    with pytest.raises(ValueError, match=f"has checksum {sha256(b'another')}, expected {sha256(b'this')}"):
        download(server.address + "/f", tmp_path / "f", sha256(b"this"))
    assert os.listdir(tmp_path) == ["f"] and (tmp_path / "f").read_bytes() == b"old"


@pytest.mark.parametrize("url", ["{}/missing", NOWHERE])
def test_download_from_nowhere_leaves_nothing(url, server, tmp_path):
    with pytest.raises(ConnectionError, match="download: http://127.0.0.1:[0-9]+/.* failed"):
        download(url.format(server.address), tmp_path / "f", sha256(b""))
    assert os.listdir(tmp_path) == []


def test_download_interrupted_by_the_user_leaves_nothing(server, tmp_path, monkeypatch):
    server.files["/f"] = b"x" * 1000
    monkeypatch.setattr("nn.data.download.sha256", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        download(server.address + "/f", tmp_path / "f", sha256(b"x" * 1000))
    assert os.listdir(tmp_path) == []


@pytest.fixture
def answer():
    """A loopback server that answers each request with the bytes of `say(request)`, a generator."""
    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            request = self.request.recv(4096).decode()
            with contextlib.suppress(OSError):  # the other end has had enough
                for block in s.say(request):
                    self.request.sendall(block)
                    s.sent += len(block)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads, say, sent = True, None, 0

    with Server(("127.0.0.1", 0), Handler) as s:
        s.address = f"http://127.0.0.1:{s.server_address[1]}"
        thread = threading.Thread(target=s.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield s
        s.shutdown()
        thread.join()


OK = b"HTTP/1.0 200 OK\r\n"


def test_download_of_what_has_no_end_is_given_up(answer, tmp_path, monkeypatch):
    monkeypatch.setattr(image_sets, "LARGEST", 1 << 20)
    answer.say = lambda request: itertools.chain([OK + b"\r\n"], itertools.repeat(bytes(1 << 16), 500))
    with pytest.raises(ConnectionError, match="failed .gave up after 1[0-9]* bytes in "):
        download(answer.address + "/f", tmp_path / "f", sha256(b""))
    assert os.listdir(tmp_path) == []


def test_download_that_drips_is_given_up(answer, tmp_path, monkeypatch):
    """Each byte comes in time; all of them would not."""
    monkeypatch.setattr(image_sets, "TIMEOUT", 0.3)

    def drip(request):
        yield OK + b"Content-Length: 100000\r\n\r\n"
        for _ in range(200):
            time.sleep(0.02)
            yield b"x"

    answer.say = drip
    with pytest.raises(ConnectionError, match="failed .gave up after [0-9]+ bytes in "):
        download(answer.address + "/f", tmp_path / "f", sha256(b""))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("to", ["file:///etc/hostname", "ftp://127.0.0.1/f", "data:,content", "gopher://127.0.0.1/", "//[", ""])
def test_download_is_not_sent_on_to_another_kind_of_address(to, answer, tmp_path):
    answer.say = lambda request: [f"HTTP/1.0 302 Found\r\nLocation: {to}\r\n\r\n".encode()]
    with pytest.raises(ConnectionError, match="download: http://127.0.0.1:[0-9]+/f failed"):
        download(answer.address + "/f", tmp_path / "f", sha256(b""))
    assert os.listdir(tmp_path) == []


def test_download_is_never_sent_on_from_https_to_http():
    import email.message
    import urllib.error
    import urllib.request

    def sent_on(old, new):
        return image_sets._Redirects().redirect_request(urllib.request.Request(old), io.BytesIO(), 302, "Found",
                                                        email.message.Message(), new)

    with pytest.raises(urllib.error.HTTPError, match="sent on to HTTP://b/, not https"):
        sent_on("https://a/", "HTTP://b/")
    for old, new in (("https://a/", "https://b/"), ("http://a/", "https://b/"), ("http://a/", "http://b/")):
        assert sent_on(old, new).full_url == new


def test_download_follows_a_file_that_has_moved(answer, tmp_path):
    answer.say = lambda request: [OK + b"\r\nmoved"] if "/g " in request else [b"HTTP/1.0 301 Moved\r\nLocation: /g\r\n\r\n"]
    download(answer.address + "/f", tmp_path / "f", sha256(b"moved"))
    assert (tmp_path / "f").read_bytes() == b"moved"


PAGE = b"<!DOCTYPE html><title>Sign in to this network</title>"


@pytest.mark.parametrize("reply, error", [
    (OK + b"Content-Length: many\r\n\r\n" + PAGE, ValueError), (OK + b"Content-Length: -5\r\n\r\n" + PAGE, ValueError),
    (OK + b"Content-Length: 10\r\n\r\n" + PAGE, ValueError), (OK + b"Content-Length: 99999999999999999999\r\n\r\n" + PAGE, ConnectionError),
    (OK + b"\r\n" + PAGE, ValueError), (OK + b"\r\n", ValueError), (b"", ConnectionError), (b"\x00\xff" * 50, ConnectionError),
    (b"HTTP/1.0 200 " + b"x" * 70000, ConnectionError), (OK + b"a: b\r\n" * 500 + b"\r\n", ConnectionError),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx", ConnectionError),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFFFF\r\nx", ConnectionError),
    (b"HTTP/1.0 301 Moved\r\nLocation: /f\r\n\r\n", ConnectionError), (b"HTTP/1.0 500 No\r\n\r\n", ConnectionError)])
def test_download_of_an_answer_that_is_none_keeps_the_old_file(reply, error, answer, tmp_path):
    (tmp_path / "f").write_bytes(b"old")
    answer.say = lambda request: [reply]
    with pytest.raises(error, match="download: http://127.0.0.1:[0-9]+/f (has checksum|failed)"):
        download(answer.address + "/f", tmp_path / "f", sha256(b"this"))
    assert os.listdir(tmp_path) == ["f"] and (tmp_path / "f").read_bytes() == b"old"


def test_locate_takes_the_first_folder_that_has_the_file(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    b.mkdir()
    (b / "f").write_bytes(b"packed anew")
    assert locate("set", "f", NOWHERE, (sha256(b"published"), sha256(b"packed anew")), [a, b], "x") == b / "f"


def test_locate_of_a_damaged_file_names_it_and_keeps_it(tmp_path):
    (tmp_path / "f").write_bytes(b"damaged")
    with pytest.raises(ValueError, match=f"set: .*f is damaged .checksum {sha256(b'damaged')}, expected abc.; delete it"):
        locate("set", "f", NOWHERE, ("abc",), [tmp_path], "x")
    assert (tmp_path / "f").read_bytes() == b"damaged"


def test_a_folder_that_cannot_be_written_names_the_ways_to_another(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="set: f cannot be kept in .*file.* folder=.*TINYGRAD_CONV_DATA"):
        locate("set", "f", NOWHERE, ("abc",), [tmp_path / "file"], "x")
    with pytest.raises(OSError, match="set: f cannot be kept in "):
        locate("set", "f", NOWHERE, ("abc",), [tmp_path / "file" / "below"], "x")


def test_a_full_disk_is_not_taken_for_a_lost_network(server, tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def writelines(self, lines):
            raise OSError(errno.ENOSPC, f"No space left on device after {len(next(iter(lines)))} bytes")

    server.files["/f"] = content = b"x" * 1000
    monkeypatch.setattr("nn.data.download.open", lambda *a: Full(), raising=False)
    with pytest.raises(OSError, match="set: f cannot be kept in .*No space left on device after 1000 bytes"):
        locate("set", "f", server.address + "/f", (sha256(content),), [tmp_path], "x")
    assert os.listdir(tmp_path) == []


# ----- the sets -----

def test_what_the_network_needs_is_imported_with_the_first_set_that_may_need_it():
    code = ("import sys, nn; assert 'ssl' not in sys.modules and 'tarfile' not in sys.modules; "
            "assert {'mnist', 'cifar10', 'fashion_mnist'} <= set(dir(nn.data)); nn.data.mnist; "
            "assert 'nn.data.download' in sys.modules and nn.data.mnist is nn.data.mnist")
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_fashion_mnist_absent_and_offline_says_both_ways_out(tmp_path, monkeypatch):
    monkeypatch.setattr(image_sets, "DEBIAN_FASHION", tmp_path / "none")
    monkeypatch.setattr(image_sets, "FASHION_URL", NOWHERE)
    with pytest.raises(FileNotFoundError) as e:
        nn.data.fashion_mnist(folder=tmp_path / "cache")
    for text in ("train-images-idx3-ubyte.gz is not in", str(tmp_path / "cache"), str(tmp_path / "none"), NOWHERE,
                 "connect to the network once", "apt-get install dataset-fashion-mnist"):
        assert text in str(e.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_mnist_absent_and_offline_says_what_can_be_done(tmp_path, monkeypatch):
    monkeypatch.setattr(image_sets, "MNIST_URL", NOWHERE)
    with pytest.raises(FileNotFoundError, match="connect to the network once, or use nn.data.digits"):
        nn.data.mnist(folder=tmp_path)


def publish(server, monkeypatch, images, labels):
    """Serve two made-up files as MNIST's training set."""
    for name, array in zip(image_sets.FILES["train"], (images, labels)):
        server.files["/" + name] = gzip.compress(idx_bytes(array), mtime=0)
    monkeypatch.setattr(image_sets, "MNIST_URL", server.address + "/")
    monkeypatch.setattr(image_sets, "MNIST_SHA256", {name[1:]: (sha256(content),) for name, content in server.files.items()})


def test_mnist_is_downloaded_once(server, tmp_path, monkeypatch, rng):
    images, labels = rng.integers(0, 256, (7, 28, 28), np.uint8), np.arange(7, dtype=np.uint8)
    publish(server, monkeypatch, images, labels)
    data = nn.data.mnist("train", folder=tmp_path)
    assert np.array_equal(data.images, images[:, None]) and np.array_equal(data.labels, labels)
    assert sorted(os.listdir(tmp_path)) == sorted(image_sets.FILES["train"])
    server.files.clear()
    assert np.array_equal(nn.data.mnist("train", folder=tmp_path).images, data.images)


def test_mnist_broken_off_leaves_nothing_and_is_fetched_again(server, tmp_path, monkeypatch, rng):
    publish(server, monkeypatch, rng.integers(0, 256, (7, 28, 28), np.uint8), np.arange(7, dtype=np.uint8))
    server.broken.add("/" + image_sets.FILES["train"][0])
    with pytest.raises(FileNotFoundError, match="bytes"):
        nn.data.mnist("train", folder=tmp_path)
    assert os.listdir(tmp_path) == []
    server.broken.clear()
    assert len(nn.data.mnist("train", folder=tmp_path)) == 7


def test_mnist_files_that_do_not_belong_together(server, tmp_path, monkeypatch, rng):
    publish(server, monkeypatch, rng.integers(0, 256, (7, 28, 28), np.uint8), np.arange(6, dtype=np.uint8))
    with pytest.raises(ValueError, match=r"as many labels, got shapes \(7, 1, 28, 28\) and \(6,\)"):
        nn.data.mnist("train", folder=tmp_path)
    with pytest.raises(ValueError, match="split must be one of 'train', 'test', got 'all'"):
        nn.data.mnist("all", folder=tmp_path)


@pytest.mark.skipif(not image_sets.DEBIAN_FASHION.is_dir(), reason="needs Debian's dataset-fashion-mnist")
@pytest.mark.parametrize("split,n", [("train", 60000), ("test", 10000)])
def test_fashion_mnist_of_debian(split, n, tmp_path):
    data = nn.data.fashion_mnist(split, folder=tmp_path)
    assert data.images.shape == (n, 1, 28, 28) and data.images.dtype == np.uint8
    assert np.bincount(data.labels).tolist() == [n // 10] * 10 and len(data.classes) == 10
    assert data.images.max() == 255 and os.listdir(tmp_path) == []


def cifar_archive(folder, monkeypatch, members):
    """An archive like CIFAR-10's, and its checksum in place of the real one."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, records in members.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(records)
            tar.addfile(info, io.BytesIO(records))
    (folder / "cifar-10-binary.tar.gz").write_bytes(content.getvalue())
    monkeypatch.setattr(image_sets, "CIFAR_SHA256", sha256(content.getvalue()))


def test_cifar10_reads_the_archive_in_place(tmp_path, monkeypatch, rng):
    records = {f"data_batch_{i}.bin": rng.integers(0, 10, (2, image_sets.CIFAR_RECORD), np.uint8) for i in range(1, 6)}
    cifar_archive(tmp_path, monkeypatch, {name: r.tobytes() for name, r in reversed(records.items())})
    data = nn.data.cifar10("train", folder=tmp_path)
    assert data.images.shape == (10, 3, 32, 32) and data.classes[3] == "cat"
    assert data.labels.tolist() == [int(v) for r in records.values() for v in r[:, 0]]
    assert np.array_equal(data.images[2, 1], records["data_batch_2.bin"][0, 1025:2049].reshape(32, 32))
    assert os.listdir(tmp_path) == ["cifar-10-binary.tar.gz"]


@pytest.mark.parametrize("damage", [
    lambda b: b[:len(b) // 2], lambda b: b[:-1], lambda b: b + bytes(1), lambda b: b"no archive", lambda b: b""])
def test_cifar10_of_a_damaged_archive_names_it(damage, tmp_path, monkeypatch):
    """The checksum decides before anything is read: what it lets through is the published archive."""
    cifar_archive(tmp_path, monkeypatch, {"test_batch.bin": bytes(image_sets.CIFAR_RECORD)})
    path = tmp_path / "cifar-10-binary.tar.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match="cifar10: .*cifar-10-binary.tar.gz is damaged .checksum .*; delete it"):
        nn.data.cifar10("test", folder=tmp_path)


def test_cifar10_absent_and_offline_says_what_can_be_done(tmp_path, monkeypatch):
    monkeypatch.setattr(image_sets, "CIFAR_URL", NOWHERE + "cifar-10-binary.tar.gz")
    with pytest.raises(FileNotFoundError, match="connect to the network once, or use nn.data.digits"):
        nn.data.cifar10(folder=tmp_path)
    with pytest.raises(ValueError, match="split must be one of 'train', 'test', got 'all'"):
        nn.data.cifar10("all", folder=tmp_path)


@pytest.mark.parametrize("dataset", [[(1.0, 0), (2.0, 1)], (np.ones((4, 2)), np.ones(4)), np.ones((4, 2))])
def test_loader_refuses_what_is_no_data_set(dataset):
    with pytest.raises(TypeError, match="DataLoader: expects a data set, .* pass nn.data.Dataset"):
        nn.data.DataLoader(dataset, 2)


def test_loader_does_not_take_an_array_apart_for_inputs_and_targets():
    class Rows:
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return np.ones((4, 3))[index]

    with pytest.raises(TypeError, match=r"Rows\[array of indices\] must give a tuple of arrays, got ndarray; return"):
        next(iter(nn.data.DataLoader(Rows(), 2)))


def test_dataset_refuses_a_single_number_for_labels():
    with pytest.raises(ValueError, match=r"Dataset: expects arrays of N images .* got shapes \(3, 1\) and \(\)"):
        nn.data.Dataset(np.ones((3, 1)), 5)


def test_loader_takes_numpy_integers():
    data = nn.data.Dataset(np.ones((5, 2)), np.arange(5))
    assert [len(y) for _, y in nn.data.DataLoader(data, np.int64(2))] == [2, 2, 1]


@pytest.mark.parametrize("make, name, url, checksums, files, classes", [
    (nn.data.kmnist, "kmnist", "KMNIST_URL", "KMNIST_SHA256", image_sets.FILES, ("o", "wo")),
    (nn.data.qmnist, "qmnist", "QMNIST_URL", "QMNIST_SHA256", image_sets.QMNIST_FILES, ("0", "9"))])
@pytest.mark.parametrize("split", ["train", "test"])
def test_kmnist_and_qmnist_are_read_and_named(make, name, url, checksums, files, classes, split, server, tmp_path, monkeypatch, rng):
    images, labels = rng.integers(0, 256, (7, 28, 28), np.uint8), np.arange(7)
    notes = (idx_bytes(labels.astype(np.uint8)) if name == "kmnist" else
             b"\0\0\x0c\x02" + struct.pack(">2I", 7, 8) + np.stack([labels, *np.full((7, 7), 260_000)], 1).astype(">i4").tobytes())
    for file, content in zip(files[split], (idx_bytes(images), notes)):
        server.files["/" + file] = gzip.compress(content, mtime=0)
    monkeypatch.setattr(image_sets, url, server.address + "/")
    monkeypatch.setattr(image_sets, checksums, {file[1:]: (sha256(content),) for file, content in server.files.items()})
    data = make(split, folder=tmp_path)
    assert np.array_equal(data.images, images[:, None]) and data[:][1].tolist() == labels.tolist()
    assert (data.classes[0], data.classes[-1], len(data.classes)) == (*classes, 10)
    monkeypatch.setattr(image_sets, url, NOWHERE)
    with pytest.raises(FileNotFoundError, match=f"{name}: .*connect to the network once, or use nn.data.digits"):
        make(split, folder=tmp_path / "none")


def test_cifar100_has_the_fine_labels(tmp_path, monkeypatch, rng):
    records, content = rng.integers(0, 20, (4, 1 + image_sets.CIFAR_RECORD), np.uint8), io.BytesIO()
    records[:, 1] = 0, 99, 51, 3
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        info = tarfile.TarInfo("cifar-100-binary/test.bin")
        info.size = records.size
        tar.addfile(info, io.BytesIO(records.tobytes()))
    (tmp_path / "cifar-100-binary.tar.gz").write_bytes(content.getvalue())
    monkeypatch.setattr(image_sets, "CIFAR100_SHA256", sha256(content.getvalue()))
    data = nn.data.cifar100("test", folder=tmp_path)
    assert [data.classes[y] for y in data.labels] == ["apple", "worm", "mushroom", "bear"]
    assert len(set(data.classes)) == 100 and list(data.classes) == sorted(data.classes)
    assert np.array_equal(data.images[1, 2], records[1, 2 + 2048:].reshape(32, 32))
    with pytest.raises(ValueError, match="cifar100: .* is damaged .*train.bin"):
        nn.data.cifar100("train", folder=tmp_path)


@pytest.mark.parametrize("packed", [True, False])
def test_read_idx_of_int32(packed, tmp_path):
    array = np.array([[1, -2], [2**31 - 1, 3]])
    content = b"\0\0\x0c\x02" + struct.pack(">2I", 2, 2) + array.astype(">i4").tobytes()
    (tmp_path / "a").write_bytes(gzip.compress(content) if packed else content)
    got = image_sets.read_idx(tmp_path / "a")
    assert got.dtype == np.int32 and got.dtype.isnative and np.array_equal(got, array)
    (tmp_path / "a").write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"holds 3 values, its header promises \(2, 2\)"):
        image_sets.read_idx(tmp_path / "a")
