"""evaluate --diarization: references of every kind, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from .conftest import RATE, ROOT

Emoser = Callable[..., Any]
MODEL = ("-m", "miniature")
SPEECH = soundfile.read(ROOT / "examples" / "clip.wav", dtype="float32")[0]


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    """recordings/0.wav to 2.wav: speech, a pause, speech of another loudness, which the miniature takes for another emotion."""
    folder = tmp_path / "recordings"
    folder.mkdir()
    for index in range(3):
        samples = np.concatenate([SPEECH, np.zeros(RATE, np.float32), SPEECH * (3 - index)])
        soundfile.write(folder / f"{index}.wav", samples.clip(-1, 1), RATE)
    return folder


@pytest.mark.parametrize(
    ("form", "arguments"),
    [
        ("rttm", ["recordings"]),
        ("textgrid", ["recordings"]),
        ("csv", []),
        ("csv", ["recordings"]),
        ("audformat", []),
        ("audformat", ["recordings"]),
    ],
)
def test_its_own_output_is_a_reference_without_errors(emoser: Emoser, talks: Path, form: str, arguments: list[str]) -> None:
    folder = form == "textgrid"
    target = "truth/" if folder else f"truth.{'rttm' if form == 'rttm' else 'csv'}"
    assert emoser("diarize", "recordings", *MODEL, "-f", form, "-o", target).code == 0
    ran = emoser("evaluate", *arguments, "--diarization", target, *MODEL)
    assert ran.code == 0 and ran.err == ""
    found = ran.json()["timelines"]
    assert found["unit"] == "recordings" and found["left_out"] == {}
    (scores,) = found["checkpoints"]
    assert scores["name"] == "miniature" and scores["recordings"] == 3
    assert scores["eder"]["value"] == pytest.approx(0, abs=1e-3)  # written in milliseconds
    assert scores["frame_uar"]["value"] == pytest.approx(1, abs=1e-3) and scores["segment_f1"]["value"] == 1


def test_zed_two_checkpoints_and_speakers(emoser: Emoser, talks: Path, checkpoint_folder: Path) -> None:
    duration = soundfile.info(talks / "0.wav").duration
    entries = {
        str(index): {
            "wav": f"datafolder/{index}.wav",
            "duration": duration,
            "emotion": [{"emo": "sad", "start": 0, "end": 1}, {"emo": "joy", "start": 1, "end": 2}],
            "speaker": f"s{index % 2}",
        }
        for index in range(3)
    }
    (talks / "ZED.json").write_text(json.dumps(entries))
    ran = emoser("evaluate", "--diarization", "recordings/ZED.json", *MODEL, "-m", checkpoint_folder, "--rename", "joy=happy")
    assert ran.code == 0
    found = ran.json()["timelines"]
    assert found["unit"] == "speakers" and [each["groups"] for each in found["checkpoints"]] == [2, 2]
    for each in found["checkpoints"]:
        assert each["eder"]["value"] > 0 and sum(each["parts"].values()) == pytest.approx(each["eder"]["value"])
        assert sum(map(sum, each["frames"])) == pytest.approx(300 * duration, abs=3)
        assert each["labels"][0] == "neutral" and {"happy", "sad"} <= set(each["labels"])
    assert {(item["second"], item["difference"]) for item in found["comparisons"]} == {(str(checkpoint_folder), 0)}
    table = emoser("evaluate", "--diarization", "recordings/ZED.json", *MODEL, "--rename", "joy=happy", "-f", "table").out.decode()
    assert f"{100 * found['checkpoints'][0]['eder']['value']:.1f} [" in table


def test_failures_and_what_is_left_out(emoser: Emoser, talks: Path) -> None:
    (talks / "1.wav").write_bytes(b"no audio")
    rows = ["0.wav,0,1,sad", "1.wav,0,1,sad", "2.wav,0,1,fear", "gone.wav,0,1,sad"]
    (talks / "t.csv").write_text("\n".join(["file,start,end,label", *rows]) + "\n")
    ran = emoser("evaluate", "--diarization", "recordings/t.csv", *MODEL, "-o", "scores.json")
    assert ran.code == 1 and "2 of 3 recordings failed" in ran.err and "gone.wav" in ran.err
    document = json.loads((talks.parent / "scores.json").read_text())
    assert document["timelines"]["left_out"] == {"fear": 1} and document["timelines"]["checkpoints"][0]["recordings"] == 1
    assert [Path(failure["file"]).name for failure in document["failures"]] == ["1.wav", "gone.wav"]
    (talks / "t.csv").write_text("file,start,end,label\n0.wav,0,1,sad\n2.wav,0,99,sad\n")
    ran = emoser("evaluate", "--diarization", "recordings/t.csv", *MODEL)
    assert ran.code == 1 and "of another recording" in ran.err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "Missing argument 'MANIFEST'"),
        (("--diarization", "none.rttm"), 2, "no such reference"),
        (("--diarization", "t.csv"), 2, "every reference holds a label that cannot be told: fear"),
        (("--diarization", "t.csv", "--rename", "fear=sad"), 2, "not one of 1 recordings could be read"),
        (("--diarization", "t.csv", "--plot", "x.png"), 2, "--plot is for labelled clips"),
        (("--diarization", "t.csv", "--labels", "sad,happy"), 2, "--labels is for labelled clips"),
        (("--diarization", "t.csv", "--channel", "each"), 2, "take mix, or one channel"),
        (("--diarization", "t.csv", "-m", "unknown"), 3, "No checkpoint is named"),
    ],
)
def test_what_cannot_be_is_said(emoser: Emoser, tmp_path: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    (tmp_path / "t.csv").write_text("file,start,end,label\ngone.wav,0,1,fear\n")
    ran = emoser("evaluate", *arguments, *(() if "-m" in arguments else MODEL))
    assert ran.code == code and words in ran.err and ran.out == b""
