"""Files that lie, are cut off or need FFmpeg: what is read of them, and what each error says."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from sounds import RATE, encoded, hertz_of, sine

from emoser.audio import load_audio
from emoser.errors import AudioDecodeError, MissingExtra

# Files that are not what they should be


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.aiff", "a.caf", "a.mp3", "a.ogg", "a.opus"])
@pytest.mark.parametrize("keep", [0.6, 0.3, 0.02])
def test_a_truncated_file_is_an_error(wav, name: str, keep: float) -> None:
    path = wav(name, np.tile(sine(), 10))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(AudioDecodeError, match=rf"{name}.*(truncated|damaged)"):
        load_audio(path)
    with pytest.raises(AudioDecodeError, match=r"truncated|damaged"):
        load_audio(path.read_bytes())


def test_a_truncated_wav_says_how_much_can_be_read(wav) -> None:
    path = wav("a.wav", np.tile(sine(), 3))
    path.write_bytes(path.read_bytes()[: 44 + 2 * RATE])
    with pytest.raises(AudioDecodeError, match=r"a\.wav \(WAV PCM_16\) is truncated: 1\.00 s of the 3\.00 s"):
        load_audio(path)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000])
def test_a_wav_written_into_a_pipe_is_whole(size: int) -> None:
    data = bytearray(encoded(sine()))
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", size)
    assert load_audio(bytes(data))[0].duration == 1.0


def test_a_wav_that_its_recorder_did_not_finish() -> None:
    data = bytearray(encoded(sine()))
    at = data.index(b"data") + 4
    data[at : at + 4] = struct.pack("<I", 0)
    with pytest.raises(AudioDecodeError, match=r"32000 bytes follow.*ffmpeg"):
        load_audio(bytes(data))


def test_rf64_sizes(wav) -> None:
    data = encoded(sine(), format="RF64")
    assert load_audio(data)[0].duration == 1.0
    with pytest.raises(AudioDecodeError, match=r"0\.\d+ s of the 1\.00 s"):
        load_audio(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"Dear diary,\n" * 99, "is text, not audio: it starts with 'Dear diary"),
        ("Größe".encode() * 199, "is text, not audio"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:", "git-lfs"),
        (bytes(5000), "00 00 00 00|no audio"),
        (np.random.default_rng(1).bytes(5000), "no audio|damaged"),
        (b"RIFF", "text|no audio"),
        (b"OggS" + bytes(100), "truncated|no audio|damaged"),
    ],
)
def test_what_is_not_audio(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "odd.wav"
    path.write_bytes(content)
    with pytest.raises(AudioDecodeError, match=f"odd.wav.*({says})"):
        load_audio(path)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems want names to be text")
def test_a_name_that_is_no_text(wav, tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.wav"))
    wav("a.wav").rename(path)
    assert load_audio(path)[0].file == str(path)


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    with pytest.raises(AudioDecodeError, match=r"none\.wav: no such file"):
        load_audio(tmp_path / "none.wav")
    with pytest.raises(AudioDecodeError, match="is a directory"):
        load_audio(tmp_path)
    with pytest.raises(AudioDecodeError, match="the path of the audio is empty"):
        load_audio("")
    with pytest.raises(AudioDecodeError, match="download it first"):
        load_audio("https://example.org/a.wav")
    with pytest.raises(AudioDecodeError, match="cannot be read"):
        load_audio("a\0.wav")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(wav) -> None:
    path = wav("secret.wav")
    path.chmod(0)
    with pytest.raises(AudioDecodeError, match="Permission denied"):
        load_audio(path)


def test_headerless_pcm_names_the_way(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(sine().tobytes())
    with pytest.raises(AudioDecodeError, match="no audio"):
        load_audio(path)


# What only FFmpeg reads


def media(path: Path, codec: str, samples: np.ndarray, rate: int = RATE, *, options: dict[str, str] | None = None) -> Path:
    av = pytest.importorskip("av")
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        resampler = av.AudioResampler(
            format=stream.codec_context.format, layout="mono", rate=rate, frame_size=stream.codec_context.frame_size
        )
        for part in [*resampler.resample(frame), *resampler.resample(None), None]:
            container.mux(stream.encode(part))
    return path


@pytest.mark.parametrize(("name", "codec"), [("a.m4a", "aac"), ("a.mp4", "aac"), ("a.aac", "aac"), ("a.webm", "libopus"), ("a.mkv", "aac")])
def test_media_through_pyav(tmp_path: Path, name: str, codec: str) -> None:
    rate = 48000
    path = media(tmp_path / name, codec, sine(2, rate), rate)
    for given in (path, path.read_bytes()):
        (clip,) = load_audio(given)
        assert clip.duration == pytest.approx(2.0, abs=0.15) and clip.source_rate == rate
        assert hertz_of(clip.waveform) == pytest.approx(220, abs=2)
        assert np.abs(clip.waveform[4000:-4000]).max() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("options", [{}, {"movflags": "faststart"}], ids=["index at the end", "index in front"])
def test_a_truncated_m4a(tmp_path: Path, options: dict[str, str]) -> None:
    path = media(tmp_path / "a.m4a", "aac", sine(5), options=options)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(AudioDecodeError, match=r"a\.m4a.*truncated"):
        load_audio(path)


def test_a_film_without_sound(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "mute.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 16
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))))
        container.mux(stream.encode())
    with pytest.raises(AudioDecodeError, match=r"mute\.mp4 \(.*mp4.*\) holds no audio"):
        load_audio(path)


def test_without_pyav_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    path = tmp_path / "a.m4a"
    path.write_bytes(b"\0\0\0\x20ftypM4A \0\0\2\0" + bytes(100))
    with pytest.raises(MissingExtra, match=r'a\.m4a is MP4 or M4A; reading it needs the extra "media": pip install "emoser\[media\]"'):
        load_audio(path)
    (tmp_path / "odd.bin").write_bytes(bytes(range(256)))
    with pytest.raises(AudioDecodeError, match=r"odd\.bin is no audio that soundfile reads.*00 01 02.*emoser\[media\]"):
        load_audio(tmp_path / "odd.bin")
