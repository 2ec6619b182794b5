"""show_config: what it finds here, and what it says about machines that are not here."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygrad_conv as tg
from tinygrad_conv import config

ROOT = Path(__file__).resolve().parent.parent
AVX512 = frozenset({"avx2", "fma", "avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl"})
ALL_THERE = dict.fromkeys(config.EXTRAS, "1.0")


def test_it_shows_versions_threads_and_blas():
    found = tg.show_config()
    assert found.versions["tinygrad_conv"] == tg.__version__ and found.versions["NumPy"] == np.__version__
    assert found.threads == tg.get_num_threads() and found.blas
    text = str(found)
    assert text == repr(found) and f"NumPy {np.__version__}" in text and str(found.blas[0]) in text


def test_nothing_is_printed(capsys):
    tg.show_config()
    assert capsys.readouterr() == ("", "")


def test_a_notebook_gets_a_table_with_the_same_text_escaped():
    found = config.Config({"NumPy": "<2>"}, "", (), 1, "", "a & b", frozenset(), dict(ALL_THERE), ())
    page = found._repr_html_()
    assert page.startswith("<table>") and "NumPy &lt;2&gt;" in page and "a &amp; b" in page


def test_what_is_missing_is_named_with_its_extra():
    optional = {**ALL_THERE, "matplotlib": None, "dot": None}
    text = str(config.Config({}, "", (), 1, "", "", frozenset(), optional, ()))
    assert "matplotlib missing" in text and "pip install 'tinygrad_conv[viz]'" in text


def test_the_kernel_is_the_one_openblas_uses():
    code = "import tinygrad_conv as tg; print([b.kernel for b in tg.show_config().blas], tg.show_config().advice)"
    environment = {**os.environ, "OPENBLAS_CORETYPE": "Haswell"}
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True).stdout
    found = tg.show_config()
    if found.blas[0].name != "openblas" or "avx2" not in found.flags:
        pytest.skip("no OpenBLAS on x86 here")
    assert said.startswith("['Haswell'")
    assert ("OPENBLAS_CORETYPE=SkylakeX" in said) == (found.flags >= AVX512)


@pytest.mark.parametrize("kernel, flags, told", [
    ("Haswell", AVX512, True), ("SkylakeX", AVX512, False), ("Haswell", AVX512 - {"avx512bw"}, False),
    ("Zen", AVX512, False), (None, AVX512, False), ("armv8", frozenset({"asimd"}), False)])
def test_advice_on_the_kernel_only_where_the_cpu_can_do_better(kernel, flags, told):
    advice = config._advice((config.Blas("openblas", "0.3", kernel, 1),), flags)
    assert any("OPENBLAS_CORETYPE=SkylakeX" in text for text in advice) == told


def test_a_blas_that_threadpoolctl_does_not_know_is_named_as_numpy_was_built_with_it(monkeypatch):
    monkeypatch.setattr("threadpoolctl.threadpool_info", list)
    found = tg.show_config()
    assert found.blas[0].name == np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    assert found.blas[0].kernel is None


@pytest.mark.parametrize("text, name, flags", [
    ("processor\t: 0\nmodel name\t: Some CPU: fast\nflags\t\t: fma avx2\n\nprocessor : 1\nflags : x\n", "Some CPU: fast", {"fma", "avx2"}),
    ("processor\t: 0\nFeatures\t: fp asimd\n", None, {"fp", "asimd"}), ("", None, set())])
def test_the_cpu_is_read_from_cpuinfo(tmp_path, text, name, flags):
    (tmp_path / "cpuinfo").write_text(text)
    found, has = config._processor(tmp_path / "cpuinfo")
    assert has == flags and (name is None or found == name)


def test_a_machine_without_cpuinfo_is_no_error(tmp_path):
    assert config._processor(tmp_path / "absent")[1] == frozenset()
