"""The audio contract: what is taken, what it becomes, and what each error says."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sounds import RATE, encoded, hertz_of, sine

from emoser.audio import is_silent, load_audio
from emoser.audio import tone as golden_tone
from emoser.errors import AudioDecodeError, AudioTooShort, AudioValueError, UsageError


def test_the_golden_tone_is_that_of_the_contract(tone: np.ndarray) -> None:
    np.testing.assert_array_equal(golden_tone(), tone)


# What is taken


def test_a_path_as_text_or_path(wav) -> None:
    path = wav("a.wav", sine())
    for given in (str(path), path):
        (clip,) = load_audio(given)
        assert clip.waveform.dtype == np.float32 and clip.waveform.shape == (RATE,)
        assert (clip.file, clip.channel, clip.duration, clip.warnings) == (str(path), None, 1.0, ())
        assert (clip.sample_rate, clip.source_rate, clip.source_channels) == (RATE, RATE, 1)
        np.testing.assert_allclose(clip.waveform, sine(), atol=1 / 32768)


def test_bytes_and_file_objects(wav) -> None:
    path = wav("a.wav", sine())
    data = path.read_bytes()
    for given in (data, bytearray(data), memoryview(data), io.BytesIO(data)):
        (clip,) = load_audio(given)
        assert clip.file is None and clip.waveform.shape == (RATE,)
    with path.open("rb") as file:
        assert load_audio(file)[0].file == str(path)


def test_a_file_object_at_its_end_says_to_rewind() -> None:
    file = io.BytesIO(encoded(sine()))
    file.read()
    with pytest.raises(AudioDecodeError, match=r"seek\(0\)"):
        load_audio(file)


def test_a_text_file_object(wav) -> None:
    with pytest.raises(AudioValueError, match='"rb"'):
        load_audio(io.StringIO("audio"))


def test_a_text_file_object_of_bytes_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"RIFF\xff\xfe")
    with (tmp_path / "a.wav").open(encoding="utf-8") as file, pytest.raises(AudioValueError, match=r'a\.wav was opened as text; .*"rb"'):
        load_audio(file)


class Failing:
    """A file object whose reading fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def read(self) -> bytes:
        raise self.error


def test_a_file_object_that_fails_is_one_bad_input(wav, checkpoint_folder: Path) -> None:
    from emoser import load
    from emoser.results import Failure

    with wav("a.wav", sine()).open("rb") as closed:
        pass
    with pytest.raises(AudioDecodeError, match=r"a\.wav cannot be read: .*closed file"):
        load_audio(closed)
    with pytest.raises(AudioDecodeError, match="the file object cannot be read: RuntimeError"):
        load_audio(Failing(RuntimeError()))
    given = [sine(), closed, Failing(OSError(5, "Input/output error")), sine()]
    results = list(load(checkpoint_folder).stream(given))
    assert [isinstance(result, Failure) for result in results] == [False, True, True, False]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_named_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    source = tmp_path / "a.wav"
    source.write_bytes(encoded(sine()))
    with subprocess.Popen([sys.executable, "-c", f"open({str(pipe)!r}, 'wb').write(open({str(source)!r}, 'rb').read())"]):
        assert load_audio(pipe)[0].waveform.shape == (RATE,)


@pytest.mark.parametrize(
    ("dtype", "scale", "middle"),
    [
        ("int8", 2**7, 0),
        ("int16", 2**15, 0),
        ("int32", 2**31, 0),
        ("uint8", 2**7, 2**7),
        ("uint16", 2**15, 2**15),
        ("uint32", 2**31, 2**31),
    ],
)
def test_integer_pcm_is_scaled(dtype: str, scale: int, middle: int) -> None:
    samples = (np.round(sine().astype(np.float64) * (scale - 1)) + middle).astype(dtype)
    (clip,) = load_audio(samples)
    np.testing.assert_allclose(clip.waveform, sine(), atol=2 / min(scale, 2**20))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f4"])
def test_floats_of_any_width(dtype: str) -> None:
    (clip,) = load_audio(sine().astype(dtype))
    np.testing.assert_allclose(clip.waveform, sine(), atol=1e-3)


@pytest.mark.parametrize("samples", [np.zeros(RATE, np.int64), np.zeros(RATE, complex), np.zeros(RATE, bool), np.array(["a"] * RATE)])
def test_types_that_are_no_audio(samples: np.ndarray) -> None:
    with pytest.raises(AudioValueError, match=f"{samples.dtype}"):
        load_audio(samples)


def test_torch_tensors_of_every_kind() -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(sine())
    for given in (tensor, tensor.clone().requires_grad_(), tensor.to(torch.bfloat16), tensor.half(), (tensor * 32767).to(torch.int16)):
        np.testing.assert_allclose(load_audio(given)[0].waveform, sine(), atol=5e-3)
    assert load_audio((tensor[None].requires_grad_(), 8000))[0].duration == 2.0


def test_pairs_carry_their_rate() -> None:
    samples = sine(rate=8000)
    for given, rate in (((samples, 8000), None), (samples, 8000), ((samples, np.int64(8000)), None), ((samples, 8000.0), 8000)):
        (clip,) = load_audio(given, sample_rate=rate)
        assert clip.duration == 1.0 and clip.source_rate == 8000 and len(clip.waveform) == RATE
        assert hertz_of(clip.waveform) == pytest.approx(220, abs=1)


@pytest.mark.parametrize(
    ("given", "rate", "says"),
    [
        ((8000, sine()), None, "other way round"),
        ((sine(), sine()), None, "pair"),
        ((sine(), 8000, 1), None, "3 values"),
        ((sine(), 8000), 16000, "leave one out"),
        ((sine(), 16), None, "sampling rate is 16"),
        ((sine(), 44100.5), None, "whole number"),
        ((sine(), True), None, "True"),
        (sine(), "16000", "'16000'"),
        (("a.wav", 8000), None, "give it alone"),
        ([0.1, 0.2], None, "list of inputs"),
        (0.1, None, "float is no audio"),
        (np.float32(0.1), None, "float32 is no audio"),
        (None, None, "NoneType is no audio"),
        ((x for x in "ab"), None, "stream"),
    ],
)
def test_what_is_no_input(given: object, rate: object, says: str) -> None:
    with pytest.raises(AudioValueError, match=says):
        load_audio(given, sample_rate=rate)


def test_an_array_that_refuses_to_become_one() -> None:
    class Refuses:
        def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
            raise TypeError("implicit conversion is not allowed")

    with pytest.raises(AudioValueError, match="implicit conversion"):
        load_audio(Refuses())


# Shapes and channels


def test_channels_first_and_last_are_the_same() -> None:
    stereo = np.stack([sine(hertz=200), sine(hertz=3000)])
    for given in (stereo, stereo.T, np.asfortranarray(stereo), (stereo.T, RATE)):
        (mixed,) = load_audio(given)
        np.testing.assert_allclose(mixed.waveform, stereo.mean(axis=0), atol=1e-6)
        left, right = load_audio(given, channel="each")
        assert (left.channel, right.channel, left.source_channels) == (0, 1, 2)
        np.testing.assert_array_equal(right.waveform, stereo[1])
        (one,) = load_audio(given, channel=np.int64(1))
        assert one.channel == 1
        np.testing.assert_array_equal(one.waveform, stereo[1])
    assert load_audio(sine(), channel="each")[0].channel == 0


@pytest.mark.parametrize("shape", [(16000, 16000), (9, 16000), (4, 4), (1, 1, 16000), (), (3,) * 4, (0, 16000), (16000, 0)])
def test_ambiguous_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(AudioValueError, match=r"array of shape|no audio"):
        load_audio(np.zeros(shape, np.float32))


def test_a_channel_that_is_not_there(wav) -> None:
    with pytest.raises(AudioValueError, match=r"a\.wav has 1 channel, counted from 0; there is no channel 1"):
        load_audio(wav("a.wav"), channel=1)


@pytest.mark.parametrize("channel", ["left", -1, True, 0.0, None])
def test_a_channel_that_cannot_be(channel: object) -> None:
    with pytest.raises(UsageError, match="allowed"):
        load_audio(sine(), channel=channel)


def test_files_may_have_more_channels_than_arrays(wav) -> None:
    clips = load_audio(wav("many.wav", np.stack([sine(level=0.05 * k) for k in range(12)], axis=1)), channel="each")
    assert [clip.channel for clip in clips] == list(range(12))
    assert np.abs(clips[11].waveform).max() == pytest.approx(0.55, abs=1e-3)


# Values


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_nan_and_infinity_say_where(bad: float) -> None:
    samples = sine().astype(np.float64)
    samples[8000] = bad
    with pytest.raises(AudioValueError, match=r"0\.500 s \(sample 8000\)"):
        load_audio(samples)


def test_samples_beyond_all_measure_say_how_large_they_are(wav) -> None:
    samples = sine()
    samples[8000] = -3e38
    with pytest.raises(AudioValueError, match=r"huge\.wav holds a sample of 3e\+38, where 1 is full scale, first at 0\.500 s"):
        load_audio(wav("huge.wav", samples, subtype="FLOAT"))
    samples[8000] = 32767  # whole numbers kept as floats are no such thing
    assert np.abs(load_audio(wav("loud.wav", samples, subtype="FLOAT"))[0].waveform).max() > 30_000


def test_nan_in_a_file_names_the_file(wav) -> None:
    samples = np.tile(sine(), 20)
    samples[300_000] = np.nan
    with pytest.raises(AudioValueError, match=r"nan\.wav.*sample 300000"):
        load_audio(wav("nan.wav", samples, subtype="FLOAT"))


def test_beyond_full_scale_warns_and_leaves_samples(wav) -> None:
    loud = sine(level=1.5)
    for given in (loud, wav("loud.wav", loud, subtype="FLOAT")):
        (clip,) = load_audio(given)
        assert clip.warnings == ("clipped_range",)
        np.testing.assert_array_equal(clip.waveform, loud)


def test_an_encoders_overshoot_is_no_warning(wav) -> None:
    square = np.sign(sine(level=1.0)) * np.float32(0.999)
    (clip,) = load_audio(wav("square.mp3", square))
    assert np.abs(clip.waveform).max() > 1.0 and clip.warnings == ()


def test_silence_is_told() -> None:
    assert is_silent(np.zeros(1600, np.float32)) and is_silent(np.full(1600, 5e-5, np.float32))
    assert not is_silent(sine(level=0.001))


def test_less_than_100_ms(wav) -> None:
    with pytest.raises(AudioTooShort, match=r"short\.wav is 99 ms long"):
        load_audio(wav("short.wav", sine(0.099)))
    with pytest.raises(AudioTooShort, match="0 samples"):
        load_audio(np.zeros(0, np.float32))
    with pytest.raises(AudioTooShort, match="0 samples"):
        load_audio(wav("none.wav", np.zeros(0, np.float32)))
    assert len(load_audio(sine(0.1))[0].waveform) == 1600
    for rate in (8000, 11025, 22050, 44100):
        assert load_audio((sine(0.1001, rate), rate))[0].duration >= 0.1


# Formats and rates


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.opus", "a.mp3", "a.aiff", "a.caf", "a.au", "ä ü/日本.wav"])
def test_what_soundfile_reads(wav, name: str) -> None:
    path = wav(name, sine(rate=48000), 48000)
    (clip,) = load_audio(path)
    assert clip.duration == pytest.approx(1.0, abs=0.06)
    assert hertz_of(clip.waveform) == pytest.approx(220, abs=2)
    assert load_audio(path.read_bytes())[0].duration == clip.duration


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM"])
def test_every_width_of_wav(wav, subtype: str) -> None:
    (clip,) = load_audio(wav("a.wav", sine(), subtype=subtype))
    np.testing.assert_allclose(clip.waveform[100:RATE], sine()[100:], atol=0.03)  # ADPCM needs some samples to find its step


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000, 192_000])
def test_every_rate_gives_the_same_sine(wav, rate: int) -> None:
    (clip,) = load_audio(wav("a.wav", sine(2.0, rate), rate, "FLOAT"))
    assert clip.duration == 2.0 and abs(len(clip.waveform) - 2 * RATE) <= 1
    middle = slice(2000, -2000)
    np.testing.assert_allclose(clip.waveform[middle], sine(2.0)[: len(clip.waveform)][middle], atol=2e-3)


@pytest.mark.parametrize("rate", [1, 50, 999, 768_001, 2**31 - 1])
def test_a_file_of_a_rate_that_cannot_be(wav, rate: int) -> None:
    """A few samples at 1 Hz would become minutes."""
    data = bytearray(encoded(sine(0.5)))
    data[24:28] = struct.pack("<I", rate)
    path = wav("odd.wav")
    path.write_bytes(data)
    with pytest.raises(AudioDecodeError, match=rf"odd\.wav has a sampling rate of {rate} Hz .*1000 to 768000 Hz are possible"):
        load_audio(path)
    with pytest.raises(AudioDecodeError, match="the audio bytes has a sampling rate"):
        load_audio(bytes(data))


@pytest.mark.parametrize("rate", [1_000, 768_000])
def test_the_lowest_and_the_highest_rate_of_a_file(wav, rate: int) -> None:
    assert load_audio(wav("a.wav", sine(0.5, rate, 100.0), rate))[0].source_rate == rate


def test_blocks_and_whole_are_resampled_alike(wav) -> None:
    long = np.stack([sine(15, 44100), sine(15, 44100, 3000)], axis=1)  # more than two blocks
    from_file = load_audio(wav("long.wav", long, 44100, "FLOAT"), channel="each")
    from_array = load_audio((long, 44100), channel="each")
    for a, b in zip(from_file, from_array, strict=True):
        np.testing.assert_allclose(a.waveform, b.waveform, atol=1e-6)


def test_frequencies_above_8_khz_do_not_fold_back() -> None:
    (clip,) = load_audio((sine(1.0, 48000, 12_000), 48000))
    assert np.abs(clip.waveform[500:-500]).max() < 1e-3


# Clips


def test_a_clip_passes_through() -> None:
    (clip,) = load_audio(sine())
    assert load_audio(clip) == [clip]
    with pytest.raises(AudioValueError, match="8000 Hz is needed"):
        load_audio(clip, target_rate=8000)


def test_another_target_rate() -> None:
    (clip,) = load_audio(sine(), target_rate=8000)
    assert clip.sample_rate == 8000 and len(clip.waveform) == 8000


def test_clipping_is_worth_a_warning_and_a_single_peak_is_not() -> None:
    time = np.arange(16_000) / 16_000
    voice = 0.5 * np.sin(2 * np.pi * 200 * time).astype(np.float32)
    (overdriven,) = load_audio(np.clip(4 * voice, -1, 1))
    assert overdriven.warnings == ("clipping",)
    voice[100] = 1.0
    (clean,) = load_audio(voice)
    assert clean.warnings == ()
    # Mixing lowers what one channel was clipped at, and does not mend it.
    for loud, code in ((np.clip(4 * voice, -1, 1), "clipping"), (4 * voice, "clipped_range")):
        (mixed,) = load_audio(np.stack([loud, 0 * voice]))
        assert mixed.warnings == (code,)
        assert [clip.warnings for clip in load_audio(np.stack([loud, 0 * voice]), channel=1)] == [()]
