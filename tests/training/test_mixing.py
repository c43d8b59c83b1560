"""Mixtures of a made-up speaker's clips, sample by sample, and the command through its process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from training.corpora import CorpusError, Manifest, Utterance, load, zed
from training.mixing import LOUDEST, Plan, Source, joined, plans, render, trimmed, write

RATE = 16_000
CLONE = Path(__file__).resolve().parents[2]


def tone(seconds: float, level: float, pitch: float) -> np.ndarray:
    return (level * np.sin(2 * np.pi * pitch * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


SILENCE = np.zeros(RATE // 2, np.float32)


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Two speakers with three neutral clips and five emotional ones each, silence around all; a third who is never neutral."""
    rows = []
    for speaker in ("ada", "bo", "cy"):
        for index, emotion in enumerate(["neutral"] * 3 + ["happy", "angry", "sad", "sad", "fear"]):
            if speaker == "cy" and emotion == "neutral":
                continue
            path = f"{speaker}-{index}.wav"
            sound = np.concatenate([SILENCE, tone(0.4 + 0.1 * index, 0.02 * (index + 1), 200 + 100 * index), SILENCE])
            soundfile.write(tmp_path / path, sound, RATE)
            rows.append(Utterance("demo", path, speaker=speaker, emotion=emotion, text=f"text {index}", language="en"))
    return Manifest(tuple(rows), tmp_path)


def source(manifest: Manifest, path: str) -> Source:
    (item,) = [item for item in manifest if item.path == path]
    return Source(item, manifest.file(item))


# what is drawn


def test_every_emotional_clip_is_used_once_and_mixtures_stay_with_one_speaker(manifest: Manifest) -> None:
    found = plans(manifest, seed=3)
    used = Counter(source.utterance.path for plan in found for source in plan.sources if source.emotion != "neutral")
    assert set(used.values()) == {1} and len(used) == 12  # 4 of each speaker: fear is not asked for
    for plan in found:
        emotions = [source.emotion for source in plan.sources]
        assert {source.utterance.voice for source in plan.sources} == {plan.voice}
        assert ["neutral" if emotion == "neutral" else "emotion" for emotion in emotions] in [
            ["neutral", "emotion"],
            ["emotion", "neutral"],
            ["neutral", "emotion", "neutral"],
            ["emotion"],
        ]
        assert plan.voice != "demo/cy" or len(plan.sources) == 1
    assert len({plan.name for plan in found}) == len(found)


def test_draws_follow_the_seed_and_a_speaker_does_not_change_the_others(manifest: Manifest) -> None:
    found = plans(manifest, seed=3)
    assert plans(manifest, seed=3) == found and plans(manifest, seed=4) != found
    assert plans(manifest.where(speaker="bo"), seed=3) == [plan for plan in found if plan.voice == "demo/bo"]
    assert Counter(plan.voice for plan in plans(manifest, seed=3, limit=2)) == {"demo/ada": 2, "demo/bo": 2, "demo/cy": 2}


def test_all_four_forms_are_drawn() -> None:
    rows = [Utterance("demo", f"{index}.wav", speaker="ada", emotion="sad" if index else "neutral") for index in range(401)]
    forms = Counter("".join(source.emotion[0] for source in plan.sources) for plan in plans(Manifest(tuple(rows), Path())))
    assert set(forms) == {"ns", "sn", "nsn", "s"} and min(forms.values()) > 70


def test_neutral_is_no_emotion_of_a_mixture(manifest: Manifest) -> None:
    with pytest.raises(CorpusError, match="neutral is the background"):
        plans(manifest, ["happy", "neutral"])


# what is heard


def test_parts_are_trimmed_levelled_and_faded_into_each_other_with_exact_boundaries(manifest: Manifest) -> None:
    clips = [source(manifest, path) for path in ("ada-0.wav", "ada-4.wav", "ada-1.wav")]
    mixture = render(Plan("x", "demo/ada", tuple(clips)), fade=0.05)
    lengths = [0.4, 0.8, 0.5]
    assert mixture.duration == pytest.approx(sum(lengths) - 2 * 0.05, abs=0.04 + 1e-6)  # silence is cut by blocks of 20 ms
    starts = [part.start for part in mixture.parts]
    assert starts == pytest.approx([0.0, lengths[0] - 0.025, lengths[0] + lengths[1] - 0.075], abs=0.04)
    assert [part.end for part in mixture.parts] == [*starts[1:], mixture.duration]
    assert [(part.emotion, part.text, part.clip) for part in mixture.parts] == [
        ("neutral", "text 0", "demo/ada-0.wav"),
        ("angry", "text 4", "demo/ada-4.wav"),
        ("neutral", "text 1", "demo/ada-1.wav"),
    ]
    assert mixture.text == "text 0 text 4 text 1"
    for part, pitch in zip(mixture.parts, (200, 600, 300), strict=True):
        inside = mixture.samples[round((part.start + 0.1) * RATE) : round((part.end - 0.1) * RATE)]
        assert np.sqrt(np.mean(inside**2)) == pytest.approx(0.02 / np.sqrt(2), rel=0.02)  # the first part's level
        spectrum = np.abs(np.fft.rfft(inside * np.hanning(len(inside))))
        assert spectrum.argmax() * RATE / len(inside) == pytest.approx(pitch, abs=5)
    for part in mixture.parts[1:]:  # as loud as one part in the middle of a fade, at most: no jump
        around = mixture.samples[round((part.start - 0.03) * RATE) : round((part.start + 0.03) * RATE)]
        assert np.abs(np.diff(around)).max() < 0.02 * 2 * np.pi * 600 / RATE * 1.2


def test_a_fade_adds_up_to_one_and_gives_way_to_short_clips() -> None:
    ones = np.ones(100, np.float32)
    total, edges = joined([ones, ones, ones[:10]], 20)
    np.testing.assert_allclose(total, 1, atol=1e-6)
    assert len(total) == 210 - 20 - 5 and edges == [0, 90, 177, 185]
    total, edges = joined([ones, 2 * ones], 0)
    assert edges == [0, 100, 200] and total[99] == 1 and total[100] == 2


def test_silence_at_the_ends_is_cut_and_inside_kept() -> None:
    sound = tone(0.1, 0.5, 400)
    clip = np.concatenate([np.zeros(640, np.float32), sound, np.zeros(3200, np.float32), sound, np.zeros(3200, np.float32)])
    assert np.array_equal(trimmed(clip), clip[640 : 640 + 3200 + 3200])


def test_too_loud_a_mixture_is_turned_down_as_a_whole(tmp_path: Path) -> None:
    sounds = {"a.wav": tone(0.5, 0.9, 300), "b.wav": 0.05 * tone(0.5, 1.0, 500)}
    sounds["b.wav"][2_000] = 0.4  # a click, far above its own level
    for path, sound in sounds.items():
        soundfile.write(tmp_path / path, sound, RATE)
    rows = [Utterance("demo", path, speaker="ada", emotion=emotion) for path, emotion in (("a.wav", "neutral"), ("b.wav", "sad"))]
    manifest = Manifest(tuple(rows), tmp_path)
    mixture = render(Plan("x", "demo/ada", (source(manifest, "a.wav"), source(manifest, "b.wav"))))
    assert np.abs(mixture.samples).max() == pytest.approx(LOUDEST) and mixture.text == ""
    assert np.abs(mixture.samples[: RATE // 3]).max() < 0.5


def test_parts_of_files_are_cut_out_of_them(tmp_path: Path) -> None:
    stereo = np.stack([tone(2.0, 0.1, 300), tone(2.0, 0.1, 700)], axis=1)
    soundfile.write(tmp_path / "long.wav", stereo, RATE)
    item = Utterance("demo", "long.wav", speaker="ada", emotion="sad", start=0.5, end=1.0, channel=1)
    mixture = render(Plan("x", "demo/ada", (Source(item, tmp_path / "long.wav"),)))
    assert mixture.duration == pytest.approx(0.5)
    assert np.abs(np.fft.rfft(mixture.samples)).argmax() == pytest.approx(350, abs=2)


def test_a_silent_clip_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(8_000), RATE)
    item = Utterance("demo", "a.wav", speaker="ada", emotion="sad")
    with pytest.raises(CorpusError, match=r"a\.wav is silent"):
        render(Plan("x", "demo/ada", (Source(item, tmp_path / "a.wav"),)))


# what is written


def test_a_folder_reads_as_zed_and_as_a_manifest(manifest: Manifest, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    written = write((render(plan) for plan in plans(manifest)), folder)
    as_zed, again = zed.read(folder), load(str(folder / "manifest.csv"))
    assert again.utterances == written.utterances and len(as_zed) == len(written) == 12
    entries = json.loads((folder / "ZED.json").read_text())
    for item, ours in zip(as_zed, written, strict=True):
        assert item.path == ours.path and item.duration == ours.duration and item.text == ours.text
        assert list(item.segments) == [segment for segment in ours.segments if segment[2] != "neutral"]
        assert soundfile.info(folder / ours.path).duration == ours.duration == ours.segments[-1][1]
        parts = entries[Path(ours.path).stem]["parts"]
        assert [(part["start"], part["end"], part["emotion"]) for part in parts] == list(ours.segments)
    assert written.speakers == ("mixtures/demo-ada", "mixtures/demo-bo", "mixtures/demo-cy")


def mix(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "training", "mix", *arguments], cwd=CLONE, capture_output=True, text=True)


def test_the_command(tree: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    done = mix("ravdess", "emodb", "--corpora", str(tree / "corpora"), "--out", str(folder), "--seed", "5", "--limit", "2")
    assert done.returncode == 0, done.stderr
    assert "6 mixtures of 3 speakers" in done.stdout
    assert {item.speaker for item in load(str(folder / "manifest.csv"))} == {"ravdess-09", "ravdess-10", "emodb-10"}
    other = mix("nowhere", "--corpora", str(tree / "corpora"), "--out", str(folder))
    assert other.returncode != 0 and 'no corpus is called "nowhere"' in other.stderr
    nothing = mix("emovo", "--corpora", str(tree / "corpora"), "--out", str(tmp_path / "none"), "--part", "all", "--emotions", "fear")
    assert nothing.returncode != 0 and "nothing to mix" in nothing.stderr
