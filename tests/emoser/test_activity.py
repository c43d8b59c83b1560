"""Speech activity: the published golden values, blocks that change nothing, and speech told from noise."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from emoser.diarization import activity
from emoser.diarization.activity import CHUNK, CHUNK_SECONDS, CONTEXT, THRESHOLD, SpeechActivity, loudest_stretch
from emoser.errors import AudioValueError, CheckpointError, ChecksumMismatch
from training.paths import corpora_root

RATE = 16_000
CLIP = Path(__file__).parents[2] / "examples" / "clip.wav"


@pytest.fixture(scope="module")
def detector() -> SpeechActivity:
    return SpeechActivity()


def test_golden(detector: SpeechActivity, tone: np.ndarray) -> None:
    probabilities = detector.speech_probabilities(tone)
    # The weights are stored as fp16, hence not 1e-6 (training/encoders/silero.py in fp32 is tested to that).
    expected = [0.343399, 0.478211, 0.317967, 0.125554, 0.061612, 0.051179, 0.062918, 0.07097]
    np.testing.assert_allclose(probabilities[:8], expected, atol=2.5e-3)
    assert probabilities.mean() == pytest.approx(0.028, abs=5e-4)
    assert probabilities.dtype == np.float32


@pytest.mark.parametrize(("samples", "chunks"), [(0, 0), (1, 1), (CHUNK, 1), (CHUNK + 1, 2), (5 * CHUNK, 5), (RATE, 32)])
def test_one_probability_each_32_ms(detector: SpeechActivity, samples: int, chunks: int) -> None:
    assert CHUNK_SECONDS == 0.032
    assert detector.speech_probabilities(np.full(samples, 0.1, np.float32)).shape == (chunks,)


@pytest.mark.parametrize("block", [1, 2, 7, 50])
def test_blocks_change_nothing(detector: SpeechActivity, block: int) -> None:
    waveform, _ = soundfile.read(CLIP, dtype="float32")
    waveform = waveform[: 50 * CHUNK + 100]  # the last block holds a part of a chunk alone where block is 1, 2, 50
    whole = detector.speech_probabilities(waveform)
    assert whole.min() < 0.2 and whole.max() > 0.8
    np.testing.assert_allclose(SpeechActivity(block=block).speech_probabilities(waveform), whole, atol=1e-5)


def test_memory_is_bounded_by_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    class Session:
        longest = 0

        def run(self, names: list[str], inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
            chunks, rest = divmod(len(inputs["samples"]) - CONTEXT, CHUNK)
            assert rest == 0
            self.longest = max(self.longest, chunks)
            return np.zeros(chunks, np.float32), inputs["state"] + chunks

    detector, session = SpeechActivity(block=10), Session()
    monkeypatch.setattr(detector, "_session", session, raising=False)
    assert detector.speech_probabilities(np.zeros(95 * CHUNK + 1, np.float32)).shape == (96,)
    assert session.longest == 10


def speech_share(detector: SpeechActivity, waveform: np.ndarray) -> float:
    probabilities = detector.speech_probabilities(waveform)
    return float(np.mean(probabilities > THRESHOLD)) if len(probabilities) else 0.0


def test_made_up_speech_and_noise(detector: SpeechActivity, tone: np.ndarray) -> None:
    waveform, rate = soundfile.read(CLIP, dtype="float32")
    assert rate == RATE
    assert speech_share(detector, waveform) > 0.7
    noise = np.random.default_rng(0).normal(0, 0.1, 3 * RATE).astype(np.float32)
    assert speech_share(detector, noise) < 0.05
    assert speech_share(detector, tone) == 0
    assert speech_share(detector, np.zeros(RATE, np.float32)) == 0
    assert speech_share(detector, np.zeros(0, np.float32)) == 0


def test_real_speech_and_noise(detector: SpeechActivity) -> None:
    root = corpora_root()
    speech, noise = ([] if root is None else sorted((root / name).rglob("*.opus"))[::40] for name in ("nemo", "esc10"))
    if not speech or not noise:
        pytest.skip("needs the corpora nemo and esc10 (EMOSER_CORPORA)")

    def shares(paths: list[Path]) -> list[float]:
        return [speech_share(detector, soundfile.read(path, dtype="float32")[0]) for path in paths[:12]]

    assert min(shares(speech)) > 0.6
    assert max(shares(noise)) < 0.2


def test_a_clip_holds_speech_if_a_tenth_of_a_second_is(detector: SpeechActivity, tone: np.ndarray) -> None:
    speech, _ = soundfile.read(CLIP, dtype="float32")
    noise = np.random.default_rng(0).normal(0, 0.02, 20 * RATE).astype(np.float32)
    assert detector.holds_speech(speech) and detector.holds_speech(speech[:RATE])
    assert not detector.holds_speech(noise) and not detector.holds_speech(tone) and not detector.holds_speech(noise[:0])
    assert detector.holds_speech(np.concatenate([noise, speech, noise])) and detector.holds_speech(
        np.concatenate([speech, 5 * noise])
    )  # the latter: not in its loudest second


def test_the_loudest_second_is_heard_first_and_mostly_alone(detector: SpeechActivity, monkeypatch: pytest.MonkeyPatch) -> None:
    speech, _ = soundfile.read(CLIP, dtype="float32")
    heard = []
    original = detector._each_block

    def listening(waveform: np.ndarray) -> Iterator[np.ndarray]:
        heard.append(len(waveform))
        return original(waveform)

    monkeypatch.setattr(detector, "_each_block", listening)
    silence = np.zeros(5 * RATE, np.float32)
    assert detector.holds_speech(np.concatenate([silence, speech, silence])) and heard == [RATE]


def test_loudest_stretch() -> None:
    waveform = np.zeros(100 * CHUNK, np.float32)
    waveform[40 * CHUNK : 45 * CHUNK] = 1.0
    found = loudest_stretch(waveform, 5 * CHUNK + 100)
    assert len(found) == 5 * CHUNK + 100 and found[: 5 * CHUNK].all()
    assert loudest_stretch(waveform[:1000], 2000) is not None and len(loudest_stretch(waveform[:1000], 2000)) == 1000
    waveform[:] = 0
    waveform[-CHUNK:] = 1.0
    assert loudest_stretch(waveform, 3 * CHUNK + 7)[-CHUNK:].all()


def test_one_session_made_at_the_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    original = activity.bundled_file
    monkeypatch.setattr(activity, "bundled_file", lambda: made.append(1) or original())
    detector = SpeechActivity()
    assert made == []
    for _ in range(2):
        speech_share(detector, np.zeros(CHUNK, np.float32))
    assert made == [1]


def test_missing_and_damaged_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "silero-vad.onnx"
    original = activity.bundled_file()
    monkeypatch.setattr(activity, "bundled_file", lambda: path)
    with pytest.raises(CheckpointError, match="is not at"):
        speech_share(SpeechActivity(), np.zeros(CHUNK, np.float32))
    shutil.copy(original, path)
    with path.open("r+b") as file:
        file.seek(1000)
        file.write(b"x")
    with pytest.raises(ChecksumMismatch, match=r"silero-vad\.onnx is damaged"):
        speech_share(SpeechActivity(), np.zeros(CHUNK, np.float32))


def test_one_channel_only(detector: SpeechActivity) -> None:
    with pytest.raises(AudioValueError, match=r"\(2, 512\)"):
        speech_share(detector, np.zeros((2, CHUNK), np.float32))
