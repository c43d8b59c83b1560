"""Every degradation: what it is asked for is what it does, by measures that are taken here and not there."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.signal import correlate

from training.augment import (
    RATE,
    Augmenter,
    Chances,
    add_noise,
    band_limit,
    change_speed,
    gain,
    made_up_room,
    mp3,
    opus,
    reverberate,
    telephone,
    through_codec,
    tilt,
)

NEVER = Chances(noise=0, room=0, tilt=0, clip=0, telephone=0, mp3=0, opus=0, speed=0, cut=0)


def db(ratio: float) -> float:
    return 20 * float(np.log10(ratio))


def rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x, dtype=np.float64))))


def sine(hertz: float, seconds: float = 1.0, peak: float = 0.5) -> np.ndarray:
    return (peak * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def voice(seconds: float = 1.0) -> np.ndarray:
    """Harmonics of a gliding pitch in syllables, and a little noise: it has one place where it correlates with itself."""
    t = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * (140 * t + 30 * t**2)
    x = sum(np.sin(k * phase + k) / k for k in range(1, 20)) * (0.55 + 0.45 * np.sin(2 * np.pi * 4 * t))
    return (0.2 * x + 0.01 * np.random.default_rng(1).standard_normal(len(t))).astype(np.float32)


def lag(x: np.ndarray, y: np.ndarray) -> int:
    """By how many samples `y` comes after `x`."""
    return int(np.argmax(correlate(y, x))) - (len(x) - 1)


# level and noise


@pytest.mark.parametrize("decibels", [-20.0, -3.0, 5.0])
def test_gain(decibels: float) -> None:
    x = sine(440, peak=0.4)
    assert db(rms(gain(x, decibels)) / rms(x)) == pytest.approx(decibels, abs=0.01)


def test_gain_clips_at_full_scale() -> None:
    y = gain(sine(440, peak=0.5), 12)
    assert y.max() == 1.0 and y.min() == -1.0
    assert np.mean(np.abs(y) == 1.0) > 0.5 and y.dtype == np.float32


@pytest.mark.parametrize("snr", [-5.0, 0.0, 20.0])
@pytest.mark.parametrize("length", [RATE // 3, RATE, 3 * RATE])
def test_noise_at_the_asked_ratio(snr: float, length: int) -> None:
    x, noise = sine(440), np.random.default_rng(0).standard_normal(length).astype(np.float32)
    y = add_noise(x, noise, snr, start=1_234)
    assert y.shape == x.shape and y.dtype == np.float32
    assert db(rms(x) / rms(y - x)) == pytest.approx(snr, abs=0.5)


def test_the_ratio_is_that_of_the_speech_and_not_of_the_silence_around_it() -> None:
    speech = sine(440, seconds=0.8)
    x = np.concatenate([np.zeros(RATE // 4, np.float32), speech, np.zeros(RATE // 4, np.float32)])
    noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32)
    assert db(rms(speech) / rms(add_noise(x, noise, 10) - x)) == pytest.approx(10, abs=0.5)


def test_noise_begins_where_it_is_told_and_goes_round() -> None:
    x = sine(440, seconds=0.1)
    noise = np.arange(1, 1_001, dtype=np.float32)
    added = add_noise(x, noise, 0, start=990) - x
    expected = np.resize(np.roll(noise, -990), len(x))
    np.testing.assert_allclose(added / added[0], expected / expected[0], atol=1e-3, rtol=1e-3)
    assert expected[0] == 991


def test_noise_without_samples_is_an_error() -> None:
    with pytest.raises(ValueError, match="no samples"):
        add_noise(sine(440), np.zeros(0, np.float32), 10)


# rooms, microphones, speed


def test_a_room_that_only_delays_changes_nothing() -> None:
    x, response = voice(), np.zeros(900, np.float32)
    response[800] = -0.3
    np.testing.assert_allclose(reverberate(x, response), -x, atol=1e-5)


@pytest.mark.parametrize("length", [400, 40_000])
def test_a_room_keeps_length_level_and_place(length: int) -> None:
    x = voice()
    decay = np.exp(-np.arange(length) / 2_000)
    response = (0.05 * decay * np.random.default_rng(2).standard_normal(length)).astype(np.float32)
    response[5] = 4.0
    y = reverberate(x, response)
    assert y.shape == x.shape and y.dtype == np.float32
    assert db(rms(y) / rms(x)) == pytest.approx(0, abs=0.01)
    assert abs(lag(x, y)) <= 2
    assert rms(y - x) > 0.1 * rms(x)


def test_a_room_leaves_silence_silent() -> None:
    response = np.random.default_rng(0).standard_normal(100).astype(np.float32)
    assert np.abs(reverberate(np.zeros(1_600, np.float32), response)).max() < 1e-6


def test_tilt_has_the_asked_gains_at_points_of_the_mel_scale() -> None:
    gains = np.array([-6.0, 4.0, 0.0, -8.0])
    click = np.zeros(16_000, np.float32)
    click[0] = 0.5
    y = tilt(click, gains)
    assert y.shape == click.shape and y.dtype == np.float32
    response = 20 * np.log10(np.abs(np.fft.rfft(y.astype(np.float64))) / 0.5)  # one bin a hertz
    top = 2595 * np.log10(1 + 8_000 / 700)
    for point, decibels in enumerate(gains):
        hertz = 700 * (10 ** (top * point / 3 / 2595) - 1)
        assert response[round(hertz)] == pytest.approx(decibels, abs=0.05)
    assert response.min() > -8.05 and response.max() < 4.05


@pytest.mark.parametrize("factor", [0.88, 1.12])
def test_speed_moves_length_and_pitch_together(factor: float) -> None:
    y = change_speed(sine(1000), factor)
    assert len(y) == pytest.approx(RATE / factor, abs=1) and y.dtype == np.float32
    spectrum = np.abs(np.fft.rfft(y * np.hanning(len(y))))
    assert np.argmax(spectrum) * RATE / len(y) == pytest.approx(1000 * factor, abs=1.5)


@pytest.mark.parametrize(("hertz", "low", "high"), [(60, -200, -40), (1000, -0.5, 0.1), (2000, -0.5, 0.1), (6800, -200, -25)])
def test_band_limit(hertz: float, low: float, high: float) -> None:
    y = band_limit(sine(hertz), 300, 3400)
    assert low < db(rms(y[2_000:]) / rms(sine(hertz))) < high


# lines and codecs


@pytest.mark.parametrize("degrade", [telephone, mp3, opus])
@pytest.mark.parametrize("samples", [16_000, 9_601])
def test_codecs_keep_length_level_and_place(degrade, samples: int) -> None:
    x = voice()[:samples]
    y = degrade(x)
    assert y.shape == x.shape and y.dtype == np.float32
    assert abs(lag(x, y)) <= 48  # 3 ms
    heard = band_limit(x, 300, 3400) if degrade is telephone else x
    assert abs(db(rms(y) / rms(heard))) < 2.5  # Opus takes off the lowest tones of a voice
    assert rms(y - x) > 0.01 * rms(x)  # something was lost


@pytest.mark.parametrize("codec", [mp3, opus])
def test_fewer_bits_lose_more(codec) -> None:
    x = voice()
    errors = [rms(codec(x, kilobits) - x) for kilobits in (16, 32, 64)]
    assert errors[0] > 1.2 * errors[2] and errors[0] >= errors[1] >= errors[2]


def test_mu_law_is_g711s() -> None:
    """8 bits a sample: decoded values are those of the standard's table, and each sample became the nearest but for its rounding."""
    table = np.array([sign * (((2 * step + 33) << segment) - 33) for sign in (1, -1) for segment in range(8) for step in range(16)]) * 4
    x = np.linspace(-0.95, 0.95, 8_000).astype(np.float32)
    y = through_codec(x, "pcm_mulaw", "wav", 8_000)
    assert y.shape == x.shape
    decoded = np.round(y * 32_768).astype(int)
    assert set(decoded.tolist()) <= set(table.tolist()) and len(set(decoded.tolist())) > 200
    nearest = table[np.argmin(np.abs(table[None, :] - x[:, None] * 32_768), axis=1)]
    assert np.mean(decoded == nearest) > 0.95


def test_a_telephone_carries_speech_and_nothing_below_or_above_its_band() -> None:
    for hertz, low, high in [(60, -200, -25), (1000, -1, 1), (6000, -200, -30)]:
        assert low < db(rms(telephone(sine(hertz))[2_000:]) / rms(sine(hertz))) < high, hertz


def test_an_overdriven_clip_is_not_clipped_by_the_line() -> None:
    y = telephone(sine(1000, peak=3.0))
    spectrum = np.abs(np.fft.rfft(y[:16_000]))
    assert spectrum[3_000] < 0.02 * spectrum[1_000]  # a clipped sine has a third harmonic of a third or so


# drawing


SOUNDS = list(np.random.default_rng(9).standard_normal((3, 8_000)).astype(np.float32))
ROOMS = [sound[:800] * np.exp(-np.arange(800) / 100).astype(np.float32) for sound in SOUNDS[:2]]


def drawn(chances: Chances, seed: int = 0, x: np.ndarray | None = None) -> np.ndarray:
    return Augmenter(SOUNDS, ROOMS, chances)(voice() if x is None else x, np.random.default_rng(seed))


def test_without_chances_the_clip_comes_back() -> None:
    assert np.array_equal(drawn(NEVER), voice())


@pytest.mark.parametrize("name", ["noise", "room", "tilt", "clip", "telephone", "mp3", "opus", "speed", "cut"])
def test_each_degradation_is_drawn_by_its_own_chance(name: str) -> None:
    always = dataclasses.replace(NEVER, **{name: 1.0}, cut_seconds=(0.4, 0.6))
    first = drawn(always)
    assert first.dtype == np.float32 and np.isfinite(first).all()
    assert first.shape != voice().shape or not np.array_equal(first, voice())
    if name not in ("speed", "cut"):
        assert first.shape == voice().shape
    some = dataclasses.replace(always, **{name: 0.5})
    changed = [not np.array_equal(drawn(some, seed), voice()) for seed in range(8)]
    assert 0 < sum(changed) < 8


def test_draws_follow_the_generator_alone() -> None:
    chances = dataclasses.replace(Chances(), noise=1.0, tilt=1.0)
    assert np.array_equal(drawn(chances, 5), drawn(chances, 5))
    assert not np.array_equal(drawn(chances, 5), drawn(chances, 6)[: len(drawn(chances, 5))])


def test_a_cut_is_a_piece_of_the_clip_and_short_clips_are_left_whole() -> None:
    chances = dataclasses.replace(NEVER, cut=1.0, cut_seconds=(0.4, 0.6))
    ramp = np.arange(RATE, dtype=np.float32)
    for seed in range(5):
        piece = drawn(chances, seed, ramp)
        assert 0.4 * RATE <= len(piece) <= 0.6 * RATE
        assert np.array_equal(np.diff(piece), np.ones(len(piece) - 1))
    assert np.array_equal(drawn(chances, 0, ramp[: RATE // 4]), ramp[: RATE // 4])


def test_noise_is_drawn_within_its_bounds() -> None:
    chances = dataclasses.replace(NEVER, noise=1.0, snr_db=(5.0, 15.0))
    x = sine(440)
    ratios = [db(rms(x) / rms(drawn(chances, seed, x) - x)) for seed in range(12)]
    assert 4.5 < min(ratios) < 9 and 11 < max(ratios) < 15.5


def test_without_sounds_nothing_is_mixed_in() -> None:
    chances = dataclasses.replace(NEVER, noise=1.0, room=1.0)
    assert np.array_equal(Augmenter([], [], chances)(voice(), np.random.default_rng(0)), voice())


def test_without_measured_rooms_all_are_made_up() -> None:
    chances = dataclasses.replace(NEVER, room=1.0, made_up_room=0.1)
    heard = Augmenter([], [], chances)(voice(), np.random.default_rng(0))
    assert len(heard) == len(voice())
    dry, wet = (np.abs(np.fft.rfft(x)) for x in (voice(), heard))
    assert not np.allclose(dry, wet, rtol=0.1)


def test_made_up_rooms_begin_with_their_loudest_sample_and_decay() -> None:
    for seed in range(50):
        response = made_up_room(np.random.default_rng(seed))
        assert int(np.argmax(np.abs(response))) == 0 and 0.2 * RATE <= len(response) <= 2 * RATE + 1
        energy = np.cumsum(np.square(response[::-1], dtype=np.float64))[::-1]
        assert energy[len(response) // 2] < 10 ** (-20 / 10) * energy[0]
