"""Files -> arrays: both formats against plain NumPy, devices, threads, and what can be wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import miniature
import numpy as np
import pytest

import emoser
from emoser.errors import CheckpointError, DeviceError, MissingExtra, RuntimeClash, UsageError
from emoser.runtimes import Runtime, open_runtime
from emoser.runtimes.device import usable_threads

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=["onnx", "torchscript"])
def runtime(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    folder = tmp_path_factory.mktemp("runtime")
    if request.param == "onnx":
        return open_runtime(miniature.write_onnx(folder / "a.onnx"), "onnx", device="cpu", threads=1)
    pytest.importorskip("torch")
    return open_runtime(miniature.write_torchscript(folder / "a.pt"), "torchscript", device="cpu", threads=1)


def test_outputs_are_those_of_the_reference_in_any_company(runtime: Runtime, tone: np.ndarray) -> None:
    lengths = np.array([32_000, 1_600, 20_001, 319 * 100])
    batch = np.zeros((4, 32_000), np.float32)
    for row, length in zip(batch, lengths, strict=True):
        row[:length] = tone[:length] * (1 + length / 50_000)
    outputs = runtime.run(batch, lengths)
    for i, length in enumerate(lengths):
        expected = miniature.reference(batch[i, :length])
        np.testing.assert_allclose(outputs["logits"][i], expected["logits"], atol=1e-5)
        np.testing.assert_allclose(outputs["embedding"][i], expected["embedding"], atol=1e-5)
        count = outputs["frame_lengths"][i]
        assert count == -(-length // miniature.FRAME)
        np.testing.assert_allclose(outputs["frames"][i, :count], expected["frames"], atol=1e-5)
    assert {name: value.dtype.name for name, value in outputs.items()} == {
        "logits": "float32",
        "frames": "float32",
        "embedding": "float32",
        "frame_lengths": "int64",
    }


def test_what_a_runtime_says_of_itself(runtime: Runtime) -> None:
    assert runtime.metadata == miniature.INSIDE
    assert (runtime.device, runtime.threads) == ("cpu", 1)
    assert [str(port) for port in runtime.inputs] == ["waveform float32 (batch, samples)", "lengths int64 (batch)"]
    assert [port.name for port in runtime.outputs] == ["logits", "frames", "embedding", "frame_lengths"]


@pytest.mark.parametrize("form", ["onnx", "torchscript"])
def test_files_that_are_none(tmp_path: Path, form: str) -> None:
    if form == "torchscript":
        pytest.importorskip("torch")
    for content in (b"", b"not a graph", bytes(2000)):
        path = tmp_path / "bad"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=f"{path} is not a.* file that (onnxruntime|torch) .* can open"):
            open_runtime(path, form)


def test_another_graph_is_refused_by_its_ports(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, save

    port = helper.make_tensor_value_info("audio", TensorProto.FLOAT, ["batch", 80])
    out = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 80])
    graph = helper.make_graph([helper.make_node("Identity", ["audio"], ["logits"])], "other", [port], [out])
    path = tmp_path / "other.onnx"
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    with pytest.raises(CheckpointError, match=r"its inputs are audio float32 \(batch, 80\); expected waveform"):
        open_runtime(path, "onnx")


def test_damaged_metadata(tmp_path: Path) -> None:
    import onnx

    path = miniature.write_onnx(tmp_path / "a.onnx")
    model = onnx.load(path)
    for value in ("{not json", json.dumps(["a list"])):
        onnx.helper.set_model_props(model, {"emoser": value})
        onnx.save(model, path)
        with pytest.raises(CheckpointError, match="emoser metadata is not"):
            open_runtime(path, "onnx")
    miniature.write_onnx(path, metadata=None)
    assert open_runtime(path, "onnx").metadata == {}


# Devices and threads


@pytest.mark.parametrize("form", ["onnx", "torchscript"])
def test_a_gpu_that_is_not_there(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if form == "torchscript":
        torch = pytest.importorskip("torch")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        path = miniature.write_torchscript(tmp_path / "a.pt")
    else:
        import onnxruntime

        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
        path = miniature.write_onnx(tmp_path / "a.onnx")
    with pytest.raises(DeviceError, match='device "cuda" is not there'):
        open_runtime(path, form, device="cuda")
    assert open_runtime(path, form, device="auto").device == "cpu"
    with pytest.raises(UsageError, match="device is 'tpu'; allowed: auto, cpu, cuda"):
        open_runtime(path, form, device="tpu")


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_gpu_build_whose_gpu_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """This build cannot make a CUDA session: as on a machine without a driver, what was promised does not come."""
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("CUDA may well start here")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    path = miniature.write_onnx(tmp_path / "a.onnx")
    assert open_runtime(path, "onnx", device="auto").device == "cpu", "the device in use is told, not the one hoped for"
    assert capfd.readouterr().out == "", "stdout belongs to results"
    with pytest.raises(DeviceError, match="did not start"):
        open_runtime(path, "onnx", device="cuda")
    path.write_bytes(b"not a graph")
    with pytest.raises(CheckpointError, match="is not an ONNX file"):
        open_runtime(path, "onnx", device="cuda")


def test_threads_are_those_the_process_may_use(tmp_path: Path) -> None:
    limit = tmp_path / "cpu.max"
    everything = usable_threads(tmp_path / "none")
    assert everything >= 1
    for text, expected in {"max 100000": everything, "150000 100000": min(2, everything), "50000 100000": 1, "odd": everything}.items():
        limit.write_text(text)
        assert usable_threads(limit) == expected
    if hasattr(os, "sched_setaffinity"):
        code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        code += "from emoser.runtimes.device import usable_threads; print(usable_threads())"
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True).stdout == "1\n"


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2", 1025])
def test_threads_that_cannot_be(tmp_path: Path, threads: object) -> None:
    with pytest.raises(UsageError, match="threads is"):
        open_runtime(miniature.write_onnx(tmp_path / "a.onnx"), "onnx", threads=threads)


# What is installed


def test_both_onnxruntimes_are_a_clash_with_its_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    for folder in ("onnxruntime", "onnxruntime-1.23.0.dist-info", "onnxruntime_gpu-1.22.0.dist-info"):
        (site / folder).mkdir(parents=True)
    (site / "onnxruntime" / "__init__.py").write_text("raise SystemExit('it must not be imported')")
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.syspath_prepend(str(site))
    with pytest.raises(RuntimeClash) as caught:
        open_runtime(miniature.write_onnx(tmp_path / "a.onnx"), "onnx")
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in str(caught.value) and 'pip install "emoser[gpu]"' in str(caught.value)


def test_missing_runtimes_name_their_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = miniature.write_onnx(tmp_path / "a.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"emoser\[cpu\]"):
        open_runtime(path, "onnx")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"emoser\[torch\]"):
        open_runtime(path, "torchscript")


def test_nothing_reaches_the_terminal(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    folder = miniature.write_folder(tmp_path / "m", torchscript=True)
    code = """
import sys, warnings, emoser
warnings.simplefilter("default")
from emoser.audio import tone
for runtime in ("onnx", "torchscript"):
    emoser.load(sys.argv[1], runtime=runtime)(tone())
"""
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, cwd=ROOT, check=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.fixture
def int8() -> Path:
    return Path(__file__).parents[2] / "checkpoints" / "onnx" / "shiftcnn-int8.onnx"


def test_int8_answers_alike_whatever_else_is_asked(int8: Path) -> None:
    """Its activations are quantised over a whole batch, padding and all."""
    random = np.random.default_rng(0)
    clips = [random.normal(0, level, samples).astype(np.float32) for level, samples in ((0.3, 16_000), (0.01, 24_000), (0.1, 9_000))]
    model = emoser.load(int8, threads=1)
    assert [one.scores for one in model(clips)] == [model(clip).scores for clip in clips]
    long = np.concatenate([clips[0], *[clips[1]] * 30])  # two windows
    assert model([long, clips[2]])[0].scores == model(long).scores


def test_a_file_of_the_registry_is_what_the_registry_says(int8: Path, tmp_path: Path) -> None:
    shutil.copyfile(int8, tmp_path / "mine.onnx")
    by_file, by_name = emoser.load(tmp_path / "mine.onnx"), emoser.load("shiftcnn", precision="int8")
    assert by_file.checkpoint == by_name.checkpoint and by_file.precision == "int8"
    (tmp_path / "mine.onnx").unlink()  # what is loaded needs its file no more
    assert len(by_file([np.full(16_000, 0.1, np.float32)] * 2)) == 2


def test_two_threads_leave_standard_output_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two files of one checkpoint are opened at once, and on a GPU build each hides what onnxruntime says."""
    from types import SimpleNamespace

    from emoser.runtimes import onnx

    inside, release = threading.Event(), threading.Event()

    def preload_dlls() -> None:
        """The first to hide standard output is the first to bring it back, unless the second waits for it."""
        if inside.is_set():
            release.set()
            time.sleep(0.2)
        else:
            inside.set()
            release.wait(timeout=0.5)

    session = SimpleNamespace(get_providers=lambda: [])
    ort: Any = SimpleNamespace(preload_dlls=preload_dlls, InferenceSession=lambda *_, **more: session)
    before = sys.stdout
    other = threading.Thread(target=onnx._cuda_session, args=(ort, Path("a.onnx"), None, []))
    other.start()
    inside.wait()
    onnx._cuda_session(ort, Path("b.onnx"), None, [])
    other.join()
    assert sys.stdout is before
