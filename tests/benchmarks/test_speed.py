"""The speed benchmark: that it measures what it says (on the miniature checkpoint) and that the page follows from the record."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from benchmarks.speed import run, table, worker

CLIP = Path(__file__).parents[2] / "examples" / "clip.wav"


def test_a_process_is_measured_from_outside() -> None:
    code = "import time; time.sleep(0.3); sum(range(3_000_000)); print('done')"
    found = run.measured([sys.executable, "-c", code])
    assert found["output"] == "done\n"
    assert found["wall"] > 0.3 and 0 < found["cpu"] < found["wall"]


def test_peak_memory_is_the_childs() -> None:
    # From a process that imports what run.py does and no more: a child counts its parent's memory from before the fork.
    code = """if True:
        import sys
        from benchmarks.speed.run import measured
        for size in (0, 200):
            print(measured([sys.executable, "-c", f"x = bytearray({size} * 2**20)"])["peak"])
    """
    small, large = map(int, run.measured([sys.executable, "-c", code])["output"].split())
    assert small < 60 * 2**20
    assert 200 * 2**20 < large < 260 * 2**20


def test_a_process_that_fails_ends_the_measurement() -> None:
    with pytest.raises(SystemExit, match=r"ended with 3:\n.*no such thing"):
        run.measured([sys.executable, "-c", "import sys; print('no such thing', file=sys.stderr); sys.exit(3)"])


def test_turns() -> None:
    called: list[str] = []

    def job(name: str) -> dict:
        called.append(name)
        return {"number": len(called)}

    found = run.in_turns({name: lambda name=name: job(name) for name in "ab"}, repeats=2)
    assert "".join(called) == "ababab"  # the first round warms up and is not counted
    assert run.column(found["a"], "number") == [3, 5]


def test_ratio_pairs_what_was_measured_together() -> None:
    assert run.ratio([1.0, 50.0, 6.0], [2.0, 10.0, 2.0]) == 3.0
    assert run.ratio([1.0, 9.0, 8.0], [1.0, 3.0, 8.0]) == 1.0  # that of the medians would be 8 / 3


def test_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.wav", "deep/b.wav", "c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(CLIP, tmp_path / name)
    _, clips = run.find_clips(tmp_path, 3)
    assert {path.name for path in clips} == {"a.wav", "b.wav"} and clips[2] == clips[0]
    assert run.find_clips(tmp_path, 3)[1] == clips
    monkeypatch.setenv("EMOSER_CORPORA", str(tmp_path))  # it holds none of the corpora
    assert run.find_clips(None, 2) == ("examples/clip.wav, repeated", [CLIP] * 2)
    (tmp_path / "deep").rename(tmp_path / "nemo")
    assert run.find_clips(None, 1) == ("real speech, nemo", [tmp_path / "nemo" / "b.wav"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit, match="no audio file"):
        run.find_clips(tmp_path / "empty", 1)


def test_the_machine_is_described_without_names() -> None:
    found = run.machine()
    assert found["versions"]["numpy"] and found["cores"] >= 1 and found["cpu"]
    assert set(found) == {"cpu", "cores", "system", "python", "versions"}


def test_start_and_folder(checkpoint_folder: Path, tmp_path: Path) -> None:
    start = run.start_up(str(checkpoint_folder), CLIP, tmp_path, repeats=1)
    assert start["ratios"]["predict"] > 0
    assert start["ratios"]["predict"] == run.ratio(start["seconds"]["predict"], start["seconds"]["import numpy, onnxruntime, soundfile"])
    assert start["peak_bytes"]["predict"] > 10 * 2**20
    folder = run.folder(str(checkpoint_folder), [CLIP] * 3, tmp_path, repeats=1)
    assert folder["clips"] == 3 and folder["seconds_of_audio"] == pytest.approx(3 * 2.55, abs=0.1)
    assert folder["wall"][0] > 0


def test_a_folder_with_a_bad_file_is_no_measurement(checkpoint_folder: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no audio")
    with pytest.raises(SystemExit, match="ended with 1"):
        run.folder(str(checkpoint_folder), [CLIP, bad], tmp_path, repeats=1)


def test_description(checkpoint_folder: Path) -> None:
    about = worker.describe(str(checkpoint_folder))
    assert about["name"] == "miniature" and about["precisions"] == ["fp16"] and about["bytes"]["fp16"] > 1000
    single = worker.describe(str(checkpoint_folder / "miniature.onnx"))
    assert single["precisions"] == [None] and single["sha256"] == about["sha256"]


def test_worker_measures_both_systems(checkpoint_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    waveform = np.zeros(16_000, np.float32)
    assert worker.emoser_model(str(checkpoint_folder), "fp16", 1)(waveform).label == "neutral"
    transformers = pytest.importorskip("transformers")
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16, "classifier_proj_size": 8}
    full = transformers.Wav2Vec2Config
    monkeypatch.setattr(transformers, "Wav2Vec2Config", lambda **options: full(**options, **small))
    answers = worker.wav2vec2_pipeline(1)(waveform)
    assert len(answers) == worker.CLASSES and sum(answer["score"] for answer in answers) == pytest.approx(1, abs=1e-5)


def record(precisions: tuple[str, ...]) -> dict:
    def system(label: str, threads: int, speed: float, peak: int) -> dict:
        ratios = {"speed": speed / 5, "cpu": 20.0, "peak": 1000 / peak}
        values = {"speed": [speed, speed + 1, speed - 1], "cpu": [1 / speed], "load": [0.1], "peak_bytes": peak * 2**20}
        return {"system": label, "threads": threads, **values, "ratios": ratios}

    systems = {f"{label} x{threads}": system(label, threads, 100.0 * threads, 125) for threads in (1, 2) for label in precisions}
    systems |= {f"{table.REFERENCE} x{threads}": system(table.REFERENCE, threads, 5.0 * threads, 1000) for threads in (1, 2)}
    bare = "import numpy, onnxruntime, soundfile"
    return {
        "day": "2030-01-02",
        "machine": {"cpu": "A Chip", "cores": 2, "system": "Linux", "python": "3.12.0", "versions": {"numpy": "2.0", "torch": None}},
        "load_before": 0.01,
        "checkpoint": {"name": "shiftcnn", "revision": "1"},
        "clips": "real speech",
        "repeats": 3,
        "start": {
            "seconds": {"help": [0.05], "import click": [0.04], "predict": [0.4], bare: [0.2]},
            "ratios": {"help": 1.25, "predict": 2.0},
        },
        "folder": {"clips": 200, "seconds_of_audio": 600.0, "wall": [4.0, 5.0, 9.0], "peak_bytes": 2**28},
        "inference": {"clips": 10, "seconds_of_audio": 30.0, "systems": systems},
    }


def test_page() -> None:
    page = table.page(record(("fp16",)))
    assert "| times real time, 1 thread | 100 | 5.00 (wav2vec2-base) | **20.0 times as fast** |" in page
    assert "| times real time, 2 threads | 200 | 10.0 (wav2vec2-base) | **40.0 times as fast** |" in page
    assert "| largest memory | 125 MiB | 1000 MiB (wav2vec2-base) | 8.00 times less |" in page
    assert "5.00 s: 40 clips a second, 120 times real time, 256 MiB" in page
    assert "A Chip, 2 cores, load 0.01 before the start; Python 3.12.0, numpy 2.0." in page
    begin, rest = page.split("<!-- table: begin -->\n")
    assert rest.index("<!-- table: end -->") > rest.index("3 repeats.")
    assert begin.startswith("# Speed")


def test_page_names_precisions_where_there_are_several() -> None:
    page = table.page(record(("fp16", "int8")))
    assert "times real time, int8, 2 threads" in page and "largest memory, int8" in page


def test_page_keeps_the_runs_before(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    assert run.earlier(out, "shiftcnn") == []
    run.write(record(("fp16",)), out)
    second = record(("fp16", "int8")) | {"day": "2030-02-03", "earlier": run.earlier(out, "shiftcnn")}
    run.write(second, out)
    assert [each["day"] for each in run.earlier(out, "shiftcnn")] == ["2030-01-02", "2030-02-03"]
    assert run.earlier(out, "lstm") == []  # of another checkpoint
    rows = [line for line in table.page(second).splitlines() if line.startswith("| 2030")]
    assert rows[0] == "| 2030-01-02 | 1 | A Chip, 2 cores | 0.01 | 100 (20.0) | - | 200 (40.0) | - | 120 |"
    assert rows[1].startswith("| 2030-02-03 | 1 |") and "All runs so far" not in table.page(record(("fp16",)))
