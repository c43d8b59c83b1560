"""What may be wrong with a recording, measured and in plain words: rate, bandwidth, level, clipping, silence, share of speech.

`check(path)` reads a file once, block by block: an hour in stereo needs no more memory than a minute. Levels are in dBFS, decibels
below full scale; a sine that reaches full scale has -3.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import asdict, dataclass, field, fields
from functools import cache
from typing import Any, Literal

import numpy as np
import soxr
from numpy.typing import NDArray

from emoser.audio import BYTES, CLIPPED_SHARE, SAMPLE_RATE, SHORTEST, SILENT_PEAK, clipped_samples, open_file, seekable, source_name
from emoser.diarization.activity import CHUNK, THRESHOLD, SpeechActivity
from emoser.errors import EmoserError
from emoser.results import Failure

# Frames of levels, of spectra and of speech are the same, at the rate that the models hear.
FRAME_SECONDS = CHUNK / SAMPLE_RATE  # 32 ms
BLOCK = 1875 * CHUNK  # samples, one minute, measured at a time
SILENCE_RANGE = 40.0  # dB: frames this far below the loudest are silence, as in the models
LOUD_RANGE = 30.0  # dB: frames whose spectrum counts
SHORTEST_PAUSE = 0.3  # seconds: silence within speech that is more than the closure of a plosive
ENERGY_SHARE = 0.99  # of the energy lies under the bandwidth
TELEPHONE, BEYOND = (2000.0, 3300.0), (4200.0, 7500.0)  # Hz: what a narrow band lets through, and what it does not
LEVEL_STEP, LOWEST_LEVEL = 5.0, -120.0  # dB: spectra are summed by their frame's level, as the loudest is known only at the end
MOST_SNR = 99.0  # dB: over a floor of digital silence it would be infinite
LEAST_FRAMES = 10  # for an estimate of the ratio of signal to noise

Severity = Literal["error", "warning", "info"]
Speech = Callable[[NDArray[np.float32]], NDArray[np.float32]]
Source = str | bytes  # a path, or the bytes of a file


@dataclass(frozen=True)
class Finding:
    """Something that may be wrong. `error`: no model can use the file; `warning`: results will suffer; `info`: good to know."""

    code: str
    severity: Severity
    message: str
    advice: str


@dataclass(frozen=True)
class Quality:
    """What was measured in one file. None where there is nothing to measure.

    duration, leading_silence, trailing_silence: seconds; inner_silence: seconds, in pauses of 0.3 and more. sample_rate: Hz, of the file.
    bandwidth: Hz, under which lies 99 % of the energy of the loud frames, after an emphasis of 6 dB an octave that evens out the slope of
    speech; 8,000 at most, which is what the models hear. level: dBFS, mean of what is not silence; peak: dBFS. clipping: share of samples.
    dc_offset: share of full scale. speech: share of the duration. snr: dB, speech over background, estimated from the loudest and the
    quietest tenth.
    """

    file: str | None
    channels: int
    duration: float
    sample_rate: int
    bandwidth: float | None = field(default=None, metadata={"digits": 0})
    level: float | None = field(default=None, metadata={"digits": 1})
    peak: float | None = field(default=None, metadata={"digits": 1})
    clipping: float = field(default=0.0, metadata={"digits": 6})
    dc_offset: float = field(default=0.0, metadata={"digits": 6})
    leading_silence: float = 0.0
    trailing_silence: float = 0.0
    inner_silence: float = 0.0
    speech: float = 0.0
    snr: float | None = field(default=None, metadata={"digits": 1})
    findings: tuple[Finding, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether a model can take the file at all."""
        return all(finding.severity != "error" for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for each in fields(self):
            value = getattr(self, each.name)
            result[each.name] = round(value, each.metadata.get("digits", 3)) if isinstance(value, float) else value
        return result | {"findings": [asdict(finding) for finding in self.findings]}


def check(source: Source, speech: Speech | None = None) -> Quality:
    """Measure a file.

    speech: waveform (samples,) at 16 kHz -> a probability for each 32 ms; the bundled model if None.

    Raises AudioDecodeError; MissingExtra where the file needs the extra `media`, or the speech model an onnxruntime.
    """
    name = source_name(source)
    with open_file(seekable(source, name) if isinstance(source, str) else source, name or BYTES) as reader:
        meter = Meter(reader.rate, reader.channels, speech or bundled_speech(), lossy=reader.lossy)
        for block in reader:
            meter.add(block)
    return meter.result(name)


def check_all(sources: Iterable[Source]) -> Generator[Quality | Failure, None, None]:
    """A Quality, or a Failure, for each source, in order. Raises MissingExtra and CheckpointError where the speech model cannot run."""
    speech = bundled_speech()
    speech(np.zeros(CHUNK, np.float32))  # what is wrong with the model is not the fault of the first file
    for source in sources:
        try:
            yield check(source, speech)
        except EmoserError as error:
            yield Failure(error, source_name(source))


@cache
def bundled_speech() -> Speech:
    return SpeechActivity().speech_probabilities


class Meter:
    """Takes blocks (frames, channels) float32 in order; `result` says what they hold."""

    def __init__(self, rate: int, channels: int, speech: Speech, *, lossy: bool = False) -> None:
        self.rate, self.channels, self.lossy = rate, channels, lossy
        self.frames = self.clipped = self.broken = self.speech_frames = 0
        self.peak = 0.0
        self.sums = np.zeros(channels)
        self.products = np.zeros((channels, channels))
        self.levels: list[NDArray[np.float64]] = []
        self.spectra = np.zeros((int(-LOWEST_LEVEL / LEVEL_STEP) + 1, CHUNK // 2 + 1))
        self._speech = speech
        self._resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32") if rate != SAMPLE_RATE else None
        self._waiting = np.zeros(0, np.float32)
        self._window = np.hanning(CHUNK)

    def add(self, block: NDArray[np.float32]) -> None:
        finite = np.isfinite(block)
        if not finite.all():
            self.broken += int((~finite).sum())
            block = np.where(finite, block, np.float32(0))
        self.frames += len(block)
        self.peak = max(self.peak, float(np.abs(block).max(initial=0.0)))
        self.clipped += clipped_samples(block)
        exact = block.astype(np.float64)
        self.sums += exact.sum(axis=0)
        self.products += exact.T @ exact
        mono = block.mean(axis=1, dtype=np.float32)
        self._hear(self._resampler.resample_chunk(mono) if self._resampler else mono)

    def _hear(self, mono: NDArray[np.float32], last: bool = False) -> None:
        self._waiting = np.concatenate([self._waiting, mono])
        while len(self._waiting) >= BLOCK or (last and len(self._waiting)):
            self._measure(self._waiting[:BLOCK])
            self._waiting = self._waiting[BLOCK:]

    def _measure(self, mono: NDArray[np.float32]) -> None:
        self.speech_frames += int((self._speech(mono) > THRESHOLD).sum())
        rest = len(mono) % CHUNK
        filling = np.full(-len(mono) % CHUNK, mono[-rest:].mean() if rest else 0.0)
        frames = np.append(mono.astype(np.float64), filling).reshape(-1, CHUNK)
        levels = _decibels(frames.var(axis=1))  # around their mean: an offset is neither voice nor background
        self.levels.append(levels)
        power = np.square(np.abs(np.fft.rfft(frames * self._window, axis=1)))
        np.add.at(self.spectra, _level_index(levels), power)

    def result(self, file: str | None = None) -> Quality:
        if self._resampler is not None and self.frames:
            self._hear(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        self._hear(np.zeros(0, np.float32), last=True)
        quality = Quality(file, self.channels, self.frames / self.rate, self.rate)
        if self.peak < SILENT_PEAK:
            measured: dict[str, Any] = {"leading_silence": quality.duration}
        else:
            measured = self._sound(quality.duration)
        findings = tuple(_judge(Quality(**{**vars(quality), **measured}), self))
        return Quality(**{**vars(quality), **measured, "findings": findings})

    def _sound(self, duration: float) -> dict[str, Any]:
        levels = np.concatenate(self.levels)
        active = levels > levels.max() - SILENCE_RANGE
        first, last = int(np.argmax(active)), len(active) - 1 - int(np.argmax(active[::-1]))
        edges = np.flatnonzero(np.diff(active[first : last + 1].astype(np.int8)))
        pauses = np.diff(edges)[::2] * FRAME_SECONDS
        return {
            "bandwidth": _bandwidth(self.loud_spectrum()),
            "level": float(_decibels(_power(levels[active]).mean())),
            "peak": float(2 * _decibels(np.float64(self.peak))),
            "clipping": self.clipped / (self.frames * self.channels),
            "dc_offset": float(np.abs(self.sums / self.frames).max()),
            "leading_silence": first * FRAME_SECONDS,
            "trailing_silence": max(0.0, duration - (last + 1) * FRAME_SECONDS),
            "inner_silence": float(pauses[pauses >= SHORTEST_PAUSE].sum()),
            "speech": min(1.0, self.speech_frames / len(levels)),
            "snr": _snr(levels) if self.speech_frames else None,
        }

    def loud_spectrum(self) -> NDArray[np.float64]:
        """Power of the loud frames, (CHUNK // 2 + 1,), from 0 to 8 kHz."""
        loudest = max(float(levels.max()) for levels in self.levels)
        lowest = int(_level_index(np.array([loudest - LOUD_RANGE]))[0])
        return np.asarray(self.spectra[lowest:].sum(axis=0))


def _judge(it: Quality, meter: Meter) -> Generator[Finding, None, None]:
    """The findings, worst first."""
    if it.duration < SHORTEST:
        text = f"{1000 * it.duration:.0f} ms long; at least 100 ms are needed"
        yield Finding("too_short", "error", text, "Take a second or more of speech.")
        return
    if meter.broken:
        yield Finding(
            "not_finite", "error", f"{meter.broken} samples are NaN or infinite", "Write the file again: what made it divided by zero."
        )
    if it.level is None:
        if it.duration > 0:
            advice = "Look at the microphone, at which input was recorded, and at the gain."
            yield Finding("silence", "warning", "no sample beyond -80 dBFS: there is nothing to hear", advice)
        return
    if it.speech * it.duration < SHORTEST:
        yield Finding("no_speech", "warning", "no speech was found", "Models judge voices; what they say of other sounds means nothing.")
    elif (share := it.speech * it.duration / (it.duration - it.leading_silence - it.trailing_silence)) < 0.3:
        # The models cut silence at both ends themselves.
        text = f"{100 * share:.0f} % is speech, not counting silence at the ends"
        yield Finding("little_speech", "warning", text, "Cut it to the speech: the rest counts in the result too.")
    if it.sample_rate < SAMPLE_RATE:
        text = f"sampled at {it.sample_rate / 1000:g} kHz: there is nothing above {it.sample_rate / 2000:g} kHz, models expect 8 kHz"
        yield Finding("low_rate", "warning", text, "Record at 16 kHz or more; resampling afterwards brings nothing back.")
    elif _cliff(meter.loud_spectrum()) > 34 and (it.bandwidth or 0) < 4000:
        text = f"sampled at {it.sample_rate / 1000:g} kHz, but there is nothing above {(it.bandwidth or 0) / 1000:.1f} kHz"
        advice = "It comes from a telephone, a narrow-band codec or an 8 kHz file: go back to the source before that."
        yield Finding("narrow_band", "warning", text, advice)
    if it.clipping > CLIPPED_SHARE and (meter.peak <= 1 or meter.lossy):  # beyond that nothing was cut off; an encoder may overshoot
        text = f"{100 * it.clipping:.1f} % of the samples stand at full scale"
        yield Finding("clipping", "warning", text, "Record with less gain: what was cut off cannot be brought back.")
    if meter.peak > 1 and not meter.lossy:
        text = f"samples reach {meter.peak:.3g} times full scale"
        yield Finding("clipped_range", "warning", text, "Scale the samples to lie between -1 and 1.")
    if it.snr is not None and it.snr < 10:
        text = f"about {it.snr:.0f} dB between voice and background"
        yield Finding("noisy", "warning", text, "Record closer to the speaker, or in a quieter place.")
    yield from _judge_channels(meter)
    if it.level < -50:
        text = f"speaks at {it.level:.0f} dBFS"
        yield Finding("quiet", "info", text, "Models even the level out, but the recorder's own noise rises with it: use more gain.")
    if it.dc_offset > 0.02:
        text = f"stands {100 * it.dc_offset:.0f} % off the middle"
        yield Finding("dc_offset", "info", text, "Take it out with a high-pass filter: ffmpeg -i FILE -af highpass=f=20 mended.wav")
    if SHORTEST <= it.duration < 1:
        yield Finding("short", "info", f"{it.duration:.2f} s long", "Little to judge from: longer clips give surer results.")
    if it.duration > 30:
        text = f"{it.duration:.0f} s long"
        yield Finding("long", "info", text, "It gets one emotion for all of it: cut it into turns or sentences to see changes.")


def _judge_channels(meter: Meter) -> Generator[Finding, None, None]:
    """What the mean of the first two channels would hide."""
    if meter.channels < 2:
        return
    left, right = (float(meter.products[i, i]) / meter.frames for i in (0, 1))
    louder, quieter = (0, 1) if left >= right else (1, 0)
    if min(left, right) < 1e-4 * max(left, right):
        text = f"channel {quieter} is silent beside channel {louder}"
        yield Finding("silent_channel", "info", text, f"Take the other one alone: --channel {louder}.")
        return
    correlation = float(meter.products[0, 1]) / meter.frames / (left * right) ** 0.5
    if correlation < -0.5:
        text = "channels 0 and 1 are each other's mirror image and cancel in the mix"
        yield Finding("opposite_phase", "warning", text, "Take one of them: --channel 0.")
    elif abs(correlation) < 0.3:
        text = "channels 0 and 1 hold different sounds"
        yield Finding("separate_channels", "info", text, "Two speakers, one a channel? Then --channel each.")


def _bandwidth(spectrum: NDArray[np.float64]) -> float:
    frequencies = np.linspace(0, SAMPLE_RATE / 2, len(spectrum))
    share = np.cumsum(spectrum * np.square(frequencies))
    return float(frequencies[int(np.searchsorted(share, ENERGY_SHARE * share[-1]))])


def _cliff(spectrum: NDArray[np.float64]) -> float:
    """dB by which the spectrum falls beyond the band of a telephone. Real wide-band speech: -20 to 32; narrow-band: 38 to 89."""
    frequencies = np.linspace(0, SAMPLE_RATE / 2, len(spectrum))
    inside, beyond = (spectrum[(frequencies > low) & (frequencies < high)].mean() for low, high in (TELEPHONE, BEYOND))
    # Beyond -120 dB there is only the arithmetic's own noise.
    floor = 1e-12 * max(float(spectrum.max()), 1e-30)
    return float(_decibels((inside + floor) / (beyond + floor)))


def _snr(levels: NDArray[np.float64]) -> float | None:
    if len(levels) < LEAST_FRAMES:
        return None
    powers = np.sort(_power(levels))
    tenth = max(1, len(powers) // 10)
    noise, loud = powers[:tenth].mean(), powers[-tenth:].mean()
    return float(np.clip(_decibels(np.maximum(loud - noise, noise * 1e-2)) - _decibels(noise), -20.0, MOST_SNR))


def _level_index(levels: NDArray[np.float64]) -> NDArray[np.intp]:
    return np.clip((levels - LOWEST_LEVEL) / LEVEL_STEP, 0, -LOWEST_LEVEL / LEVEL_STEP).astype(np.intp)


def _decibels(power: NDArray[np.float64] | np.float64) -> NDArray[np.float64]:
    return np.asarray(10 * np.log10(np.maximum(power, 10 ** (LOWEST_LEVEL / 10))))


def _power(levels: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.power(10, levels / 10))
