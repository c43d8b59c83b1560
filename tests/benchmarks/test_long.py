"""The benchmark of long recordings on a short one: what is measured, what the shares mean, and the page."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmarks.long import mixture, run, table
from benchmarks.speed.run import machine
from training.paths import corpora_root

ROOT = Path(__file__).parents[2]
RATE = 16_000


def test_shares_of_each_kind_of_time() -> None:
    truth = [(0.0, 2.0, "speech"), (2.0, 3.0, "silence"), (3.0, 3.0, "music")]
    segments = [{"start": 0.0, "end": 1.5, "label": "sad"}, {"start": 1.5, "end": 2.5, "label": "silence"}]
    segments.append({"start": 2.5, "end": 3.25, "label": "happy"})
    assert run.shares(truth, segments) == {"emotion": {"speech": 0.75, "silence": 0.5, "music": None}}


def test_a_recording_is_measured_and_stands_on_the_page(registry: Path, tmp_path: Path) -> None:
    speech = soundfile.read(ROOT / "examples" / "clip.wav", dtype="float32")[0]
    audio, seconds = tmp_path / "long.wav", len(speech) / RATE + 2
    soundfile.write(audio, np.concatenate([speech, np.zeros(2 * RATE, np.float32)]), RATE)
    audio.with_suffix(".json").write_text(json.dumps([(0, seconds - 2, "speech"), (seconds - 2, seconds, "silence")]))
    found = run.diarized("miniature", audio, seconds, 1, tmp_path / "out.json")
    assert found["emotion"]["speech"] > 0.5 > found["emotion"]["silence"] and found["segments"] >= 2
    assert found["peak_bytes"] > 2**24 and found["speed"] == pytest.approx(seconds / found["wall"], rel=0.1)
    record = {"machine": machine(), "load_before": 0.1, "checkpoint": {"name": "miniature", "revision": "1"}, "threads": 1, "memory_gib": 2}
    record |= {"diarize": [found], "forward": [{"seconds": 60, "fits": False, "wall": 1, "speed": None, "peak_bytes": 1}]}
    page = table.page(record)
    assert f"| emoser diarize | {seconds:g} s | " in page and "| single pass | 1 min | does not fit |" in page


def test_the_page_is_what_the_results_say() -> None:
    record = json.loads((table.HERE / "results.json").read_text(encoding="utf-8"))
    assert (table.HERE / "README.md").read_text(encoding="utf-8") == table.page(record)


@pytest.mark.skipif(corpora_root() is None, reason="needs the corpora (EMOSER_CORPORA)")
def test_a_mixture_is_as_long_as_it_is_told_to_be_and_always_the_same(tmp_path: Path) -> None:
    truth = mixture.write(tmp_path / "a.wav", 90.5)
    assert soundfile.info(tmp_path / "a.wav").duration == 90.5
    assert truth[0][0] == 0 and truth[-1][1] == 90.5
    assert all(one[1] == other[0] for one, other in pairwise(truth))
    assert mixture.write(tmp_path / "b.wav", 30) == [(start, min(end, 30), kind) for start, end, kind in truth if start < 30]
