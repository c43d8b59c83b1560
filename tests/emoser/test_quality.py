"""Each measure against a signal made to have it, and each finding from a recording made to deserve it."""

from __future__ import annotations

import io
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from emoser.errors import AudioDecodeError
from emoser.quality import Meter, Quality, bundled_speech, check, check_all
from emoser.results import Failure

RATE = 16_000
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "clip.wav"


def all_speech(waveform: np.ndarray) -> np.ndarray:
    return np.ones(-(-len(waveform) // 512), np.float32)


def no_speech(waveform: np.ndarray) -> np.ndarray:
    return np.zeros(-(-len(waveform) // 512), np.float32)


def voice(seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """Noise that slopes as speech does, in syllables of 200 ms with gaps of 50, at about -20 dBFS."""
    noise = np.random.default_rng(seed).normal(size=int(seconds * rate))
    spectrum = np.fft.rfft(noise)
    frequencies = np.fft.rfftfreq(len(noise), 1 / rate)
    spectrum *= np.where(frequencies < 80, 0, np.minimum(1, 500 / np.maximum(frequencies, 1)))
    shaped = np.fft.irfft(spectrum, len(noise))
    t = np.arange(len(noise)) / rate
    shaped *= np.where(t % 0.25 < 0.2, 1.0, 0.02)
    return 0.1 * shaped / np.sqrt(np.mean(shaped**2))


def sine(seconds: float = 2.0, rate: int = RATE, level: float = 0.5, frequency: float = 1000.0) -> np.ndarray:
    return level * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)


def measure(
    samples: np.ndarray, rate: int = RATE, speech: Callable[[np.ndarray], np.ndarray] = all_speech, subtype: str = "FLOAT"
) -> Quality:
    data = io.BytesIO()
    soundfile.write(data, samples, rate, format="WAV", subtype=subtype)
    return check(data.getvalue(), speech)


def codes(quality: Quality) -> list[str]:
    return [finding.code for finding in quality.findings]


def test_a_good_recording_has_no_findings() -> None:
    quality = measure(voice(4.0))
    assert codes(quality) == []
    assert quality.usable
    assert (quality.sample_rate, quality.channels, quality.duration) == (RATE, 1, 4.0)
    assert quality.speech == 1.0


def test_levels_are_decibels_below_full_scale() -> None:
    quality = measure(sine(level=0.5))
    assert quality.level == pytest.approx(20 * math.log10(0.5 / math.sqrt(2)), abs=0.1)
    assert quality.peak == pytest.approx(20 * math.log10(0.5), abs=0.1)


def test_the_offset() -> None:
    quality = measure(voice(2.0) + 0.05)
    assert quality.dc_offset == pytest.approx(0.05, abs=2e-3)
    assert "dc_offset" in codes(quality)


def test_silence_at_the_ends_and_within() -> None:
    tone = sine(1.0)
    quality = measure(np.concatenate([np.zeros(8000), tone, np.zeros(16000), tone, np.zeros(1600), tone, np.zeros(4000)]))
    assert quality.leading_silence == pytest.approx(0.5, abs=0.04)
    assert quality.inner_silence == pytest.approx(1.0, abs=0.07)  # 0.1 s is no pause
    assert quality.trailing_silence == pytest.approx(0.25, abs=0.04)


def test_level_does_not_count_silence() -> None:
    alone, padded = measure(sine()), measure(np.concatenate([np.zeros(32000), sine(), np.zeros(32000)]))
    assert padded.level == pytest.approx(alone.level, abs=0.2)


@pytest.mark.parametrize("rate", [8000, 44100, 192000])
def test_the_rate_is_that_of_the_file(rate: int) -> None:
    quality = measure(sine(rate=rate), rate)
    assert quality.sample_rate == rate
    assert quality.duration == pytest.approx(2.0)
    assert quality.bandwidth == pytest.approx(1000, abs=100)


def test_wide_band_is_what_the_file_has() -> None:
    assert measure(np.random.default_rng(1).uniform(-0.3, 0.3, 32000)).bandwidth > 7800


@pytest.mark.parametrize("rate", [16000, 44100])
def test_narrow_band_in_a_wide_file_is_found(rate: int) -> None:
    narrow = soxr.resample(voice(4.0, 8000), 8000, rate)
    quality = measure(narrow, rate, subtype="PCM_16")
    assert codes(quality) == ["narrow_band"]
    assert 3000 < quality.bandwidth < 4000
    assert f"{rate / 1000:g} kHz" in quality.findings[0].message


def test_a_low_tone_is_not_taken_for_a_telephone() -> None:
    assert "narrow_band" not in codes(measure(sine(frequency=220.0)))


def test_a_low_rate_is_found_once() -> None:
    assert codes(measure(voice(4.0, 8000), 8000)) == ["low_rate"]


def test_clipping() -> None:
    clean = voice(2.0)
    clipped = np.clip(clean * 12, -1, 1)
    assert measure(clean).clipping == 0
    quality = measure(clipped, subtype="PCM_16")
    assert "clipping" in codes(quality)
    assert quality.clipping == pytest.approx(np.mean(np.abs(clipped) >= 0.99), rel=0.3)


def test_single_peaks_at_full_scale_are_not_clipping() -> None:
    samples = voice(2.0)
    samples[::1000] = 1.0
    assert measure(samples, subtype="PCM_16").clipping == 0


def test_samples_beyond_full_scale() -> None:
    quality = measure(voice(2.0) / 0.1)
    assert "clipped_range" in codes(quality)
    assert quality.peak > 0


def test_what_lies_beyond_full_scale_was_not_cut_off() -> None:
    found = codes(measure(200 * voice(2.0), subtype="FLOAT"))
    assert "clipped_range" in found and "clipping" not in found


def test_an_offset_is_no_noise() -> None:
    clean = voice(4.0)
    assert measure(clean + 0.1).snr == pytest.approx(measure(clean).snr, abs=1)
    assert "noisy" not in codes(measure(clean + 0.1))
    odd = np.concatenate([clean, np.zeros(3 * RATE + 300)])
    assert measure(odd + 0.02).trailing_silence == pytest.approx(measure(odd).trailing_silence, abs=0.05)


def test_noise_around_the_voice() -> None:
    clean = voice(4.0)
    noise = np.random.default_rng(2).normal(size=len(clean))
    assert measure(clean + 0.002 * noise).snr > 18
    noisy = measure(clean + 0.08 * noise)
    assert noisy.snr < 10
    assert codes(noisy) == ["noisy"]


def test_without_speech_nothing_is_said_of_its_noise() -> None:
    quality = measure(np.random.default_rng(3).normal(0, 0.1, 32000), speech=no_speech)
    assert codes(quality) == ["no_speech"]
    assert (quality.snr, quality.speech) == (None, 0.0)


def test_little_speech_does_not_count_the_silence_that_models_cut() -> None:
    def first_second(waveform: np.ndarray) -> np.ndarray:
        return (np.arange(-(-len(waveform) // 512)) < 31).astype(np.float32)

    assert "little_speech" in codes(measure(voice(8.0), speech=first_second))
    assert "little_speech" not in codes(measure(np.concatenate([voice(1.0), np.zeros(7 * RATE)]), speech=first_second))


def test_digital_silence() -> None:
    quality = measure(np.zeros(RATE), speech=no_speech)
    assert codes(quality) == ["silence"]
    assert (quality.level, quality.peak, quality.bandwidth, quality.snr) == (None, None, None, None)
    assert quality.leading_silence == 1.0


@pytest.mark.parametrize("samples", [0, 160, 1599])
def test_what_no_model_takes_is_an_error(samples: int) -> None:
    quality = measure(sine()[:samples])
    assert codes(quality) == ["too_short"]
    assert not quality.usable


def test_not_a_number_is_an_error_and_spoils_no_measure() -> None:
    samples = voice(2.0)
    samples[100] = np.nan
    samples[200] = np.inf
    quality = measure(samples)
    assert codes(quality) == ["not_finite"]
    assert not quality.usable
    assert "2 samples" in quality.findings[0].message
    assert all(math.isfinite(value) for value in quality.to_dict().values() if isinstance(value, float))


def test_short_long_and_quiet_are_worth_a_word() -> None:
    assert codes(measure(voice(0.5))) == ["short"]
    assert codes(measure(voice(31.0))) == ["long"]
    assert codes(measure(voice(4.0) * 0.01)) == ["quiet"]


def test_channels() -> None:
    one, other = voice(2.0), voice(2.0, seed=1)
    assert codes(measure(np.stack([one, one], 1))) == []
    assert codes(measure(np.stack([one, other], 1))) == ["separate_channels"]
    assert codes(measure(np.stack([one, -0.9 * one], 1))) == ["opposite_phase"]
    silent = measure(np.stack([0 * one, one], 1))
    assert codes(silent) == ["silent_channel"]
    assert "--channel 1" in silent.findings[0].advice


def test_blocks_do_not_show() -> None:
    samples = voice(70.0).astype(np.float32)[:, None]
    whole, parts = Meter(RATE, 1, all_speech), Meter(RATE, 1, all_speech)
    whole.add(samples)
    for start in range(0, len(samples), 12345):
        parts.add(samples[start : start + 12345])
    assert parts.result().to_dict() == whole.result().to_dict()


def test_it_can_be_read_by_people() -> None:
    for finding in measure(voice(0.5, 8000) + 0.1, 8000, speech=no_speech).findings:
        assert finding.message and finding.advice[0].isupper() and finding.advice.endswith((".", "wav"))


def test_the_bundled_model_hears_the_example(wav: Callable[..., Path]) -> None:
    quality = check(str(EXAMPLE), bundled_speech())
    assert quality.usable
    noise = check(str(wav("noise.wav", np.random.default_rng(0).normal(0, 0.05, 32000))))
    assert "no_speech" in codes(noise)


def test_a_bad_file_does_not_stop_the_others(wav: Callable[..., Path], tmp_path: Path) -> None:
    good = str(wav("good.wav"))
    bad = tmp_path / "bad.wav"
    bad.write_text("not audio\n" * 10)
    results = list(check_all([good, str(bad), Path(good).read_bytes()]))
    assert [type(result) for result in results] == [Quality, Failure, Quality]
    assert isinstance(results[1], Failure) and isinstance(results[1].error, AudioDecodeError)
    assert [result.file for result in results] == [good, str(bad), None]


def test_a_rate_that_cannot_be_is_an_error_of_the_file() -> None:
    data = bytearray(Path(EXAMPLE).read_bytes())
    data[24:28] = (1).to_bytes(4, "little")
    with pytest.raises(AudioDecodeError, match="the audio bytes has a sampling rate of 1 Hz"):
        check(bytes(data), all_speech)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe(wav: Callable[..., Path], tmp_path: Path) -> None:
    path, pipe = wav("a.wav", voice(2.0)), tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen([sys.executable, "-c", f"open({str(pipe)!r}, 'wb').write(open({str(path)!r}, 'rb').read())"]):
        through = check(str(pipe), all_speech)
    assert through.to_dict() == check(str(path), all_speech).to_dict() | {"file": str(pipe)}
