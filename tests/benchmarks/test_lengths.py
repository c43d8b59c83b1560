"""Recordings put together of clips: which clips, in which windows they are heard, and what the table says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("torch")
pytest.importorskip("av")

import emoser
from benchmarks.accuracy import lengths, table
from benchmarks.accuracy.clips import Clip


def clips(count: int) -> list[Clip]:
    """Of two speakers and two labels each, in turns."""
    return [
        Clip("emodb", Path(f"{number}.wav"), f"{number}.wav", f"emodb/{number % 2}", number // 2 % 2, "test") for number in range(4 * count)
    ]


def test_recordings_are_of_one_speaker_and_label_and_share_no_clip() -> None:
    found = lengths.recordings(clips(5), 2)
    assert len(found) == 8  # five clips make two pairs
    assert all(len({(clip.speaker, clip.label) for clip in each}) == 1 for each in found)
    names = [clip.name for each in found for clip in each]
    assert len(names) == len(set(names)) == 16
    assert found == lengths.recordings(clips(5), 2)
    assert len(lengths.recordings(clips(3 * lengths.MOST), 2)) == 4 * lengths.MOST


def test_other_windows_change_a_copy_alone(checkpoint_folder: Path) -> None:
    model = emoser.load(checkpoint_folder)
    wave = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    shorter = lengths.with_windows(model, 0.4)
    assert shorter(wave).warnings[-1:] == ("windowed",) and "windowed" not in model(wave).warnings


def test_the_table_has_a_row_for_each_number_of_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    def scores(uar: float) -> dict:
        return {"mean_of_corpora": {"uar": uar, "interval": [uar - 0.1, uar + 0.1]}}

    entry = {
        "clips": 4,
        "seconds": 12.1,
        "recordings": 30,
        "windows": {"6": scores(0.8), "20": scores(0.6)},
        "gain": {"difference": 0.2, "interval": [0.1, 0.3]},
    }
    monkeypatch.setattr(table, "read", lambda name: {"longest_window": 6.0, "lengths": [entry]} if name == "shiftcnn-lengths" else None)
    made = lengths.overview()
    assert "| 4 | 12.1 | 30 | 80.0 (70.0 to 90.0) | 60.0 (50.0 to 70.0) | +20.0 (+10.0 to +30.0) |" in made
    assert "in windows of up to 6 s | of up to 20 s" in made and lengths.overview("lstm") == ""
