"""write_atomically: files are whole or not there, and what is in the way is named."""
from __future__ import annotations

import itertools
import os
import sys

import pytest

import tinygrad_conv as tg


def test_bytes_and_functions_make_whole_files_in_new_folders(tmp_path):
    tg.write_atomically(tmp_path / "new" / "a", b"one")
    tg.write_atomically(str(tmp_path / "new" / "b"), lambda part: part.write_bytes(b"two"))
    assert [(tmp_path / "new" / name).read_bytes() for name in "ab"] == [b"one", b"two"]
    assert sorted(os.listdir(tmp_path / "new")) == ["a", "b"]


@pytest.mark.parametrize("broken", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_breaks_off_leaves_the_old_file(broken, tmp_path):
    def half(part):
        part.write_bytes(b"ha")
        raise broken

    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(type(broken)):
        tg.write_atomically(tmp_path / "a", half)
    assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a").read_bytes() == b"old"


def test_a_folder_or_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(IsADirectoryError, match="write_atomically: .* is a folder; name a file in it"):
        tg.write_atomically(tmp_path, b"")
    for path in (tmp_path / "file" / "a", tmp_path / "file" / "below" / "a"):
        with pytest.raises(NotADirectoryError, match="no folder .*file.* can be made for 'a', a file is in its place"):
            tg.write_atomically(path, b"")
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").read_bytes() == b"old"


def test_ctrl_c_at_any_call_leaves_the_old_file_or_the_new_one_and_nothing_else(tmp_path):
    """Python raises it where a function begins; so does a profiler, at the call that is asked for."""
    path, left = tmp_path / "a.txt", set()
    for number in range(1000):
        path.write_bytes(b"old")
        calls = itertools.count()

        def profile(frame, event, argument, calls=calls, number=number):
            if event == "call" and next(calls) == number:
                raise KeyboardInterrupt
        try:
            sys.setprofile(profile)
            tg.write_atomically(path, lambda part: part.write_bytes(b"new"))
        except KeyboardInterrupt:
            pass
        else:
            break
        finally:
            sys.setprofile(None)
        left.add(path.read_bytes())
        assert [p.name for p in tmp_path.iterdir()] == ["a.txt"], number
    assert number > 20 and path.read_bytes() == b"new" and left >= {b"old"}
