"""diarize and listen: what their options do, and what they keep of recordings that break off."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from .conftest import COMMAND, RATE, ROOT, VALID, environment

Emoser = Callable[..., Any]
MODEL = ("-m", "miniature")
SPEECH = soundfile.read(ROOT / "examples" / "clip.wav", dtype="float32")[0]


@pytest.fixture
def talk(tmp_path: Path) -> Callable[..., Path]:
    """talk("a.wav"): speech, a pause, speech, noise; with channels=2 the second channel begins with the noise."""

    def write(name: str = "a.wav", channels: int = 1, **more: Any) -> Path:
        noise = np.random.default_rng(0).normal(0, 0.02, 2 * RATE).astype(np.float32)
        samples = np.concatenate([SPEECH, np.zeros(RATE, np.float32), SPEECH, noise])
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, samples if channels == 1 else np.stack([samples, np.roll(samples, len(noise))], 1), RATE, **more)
        return path

    return write


def cover(result: dict[str, Any]) -> None:
    edges = [0, *(segment["end"] for segment in result["segments"])]
    assert [segment["start"] for segment in result["segments"]] == edges[:-1]
    assert edges[-1] == result["duration"]


def test_the_formats_agree(emoser: Emoser, talk: Callable[..., Path]) -> None:
    talk(), talk("b/c.flac")
    document = emoser("diarize", "a.wav", "b", *MODEL).json()
    assert document["model"]["name"] == "miniature"
    results = document["results"]
    assert [result["file"] for result in results] == ["a.wav", "b/c.flac"]
    for result in results:
        cover(result)
        assert [segment["label"] == "silence" for segment in result["segments"]].count(True) >= 2
    lines = emoser("diarize", "a.wav", "b", *MODEL, "-f", "jsonl").lines()
    assert [{key: value for key, value in line.items() if key not in ("schema", "model")} for line in lines] == results
    rows = list(csv.DictReader(io.StringIO(emoser("diarize", "a.wav", "b", *MODEL, "-f", "tsv").out.decode()), delimiter="\t"))
    assert [(row["file"], float(row["end"])) for row in rows] == [(r["file"], s["end"]) for r in results for s in r["segments"]]
    turns = [line.split() for line in emoser("diarize", "a.wav", "b", *MODEL, "-f", "rttm").out.decode().splitlines()]
    spoken = [(Path(r["file"]).stem, s["label"]) for r in results for s in r["segments"] if s["label"] != "silence"]
    assert [(turn[1], turn[7]) for turn in turns] == spoken
    assert emoser("diarize", "a.wav", *MODEL, "-f", "table").out.decode().startswith("a.wav  ")


def test_a_file_each_in_a_folder(emoser: Emoser, talk: Callable[..., Path], tmp_path: Path) -> None:
    talk(), talk("b/a.wav"), talk("two.wav", channels=2)
    ran = emoser(
        "diarize",
        "a.wav",
        "b/a.wav",
        "two.wav",
        *MODEL,
        "--channel",
        "each",
        "-f",
        "srt",
        "-o",
        "out/",
        "--frames",
        "out/",
        "--html",
        "out/",
    )
    assert ran.code == 0, ran.err
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"a.srt", "a-2.srt", "two.srt", "a.0.npz", "a-2.0.npz", "two.0.npz", "two.1.npz", "two.1.html"} <= names
    assert b"1: [" in (tmp_path / "out" / "two.srt").read_bytes()
    refused = emoser("diarize", "a.wav", "two.wav", *MODEL, "-f", "srt")
    assert (refused.code, refused.out) == (2, b"") and "give a folder: -o FOLDER/" in refused.err
    assert emoser("diarize", "a.wav", *MODEL, "-o", "one.TextGrid").code == 0
    assert (tmp_path / "one.TextGrid").read_text().startswith("File type")


def test_channels_speakers_subtitles_and_confidence(emoser: Emoser, talk: Callable[..., Path], tmp_path: Path) -> None:
    talk("two.wav", channels=2)
    end = len(SPEECH) / RATE
    (tmp_path / "t.rttm").write_text(f"SPEAKER two 1 0 {end} <NA> <NA> anna <NA> <NA>\nSPEAKER two 1 {end} 99 <NA> <NA> bert <NA> <NA>\n")
    (tmp_path / "t.srt").write_text("1\n00:00:00,000 --> 00:00:01,500\nHello\n")
    options = ("--channel", "each", "--speakers", "t.rttm", "--subtitles", "t.srt", "--min-confidence", "1")
    first, second = emoser("diarize", "two.wav", *MODEL, *options).json()["results"]
    assert (first["channel"], second["channel"]) == (0, 1)
    assert {segment.get("speaker") for segment in first["segments"]} == {None, "anna", "bert"}
    assert first["transcript"]["text"] == "Hello" and first["transcript"]["words"][0]["label"] != "silence"
    assert first["warnings"] == ["low_confidence"]


def test_turns_among_several_recordings_go_by_name(emoser: Emoser, talk: Callable[..., Path], tmp_path: Path) -> None:
    talk("my call.wav"), talk("b.wav")
    (tmp_path / "t.rttm").write_text("SPEAKER my_call 1 0 99 <NA> <NA> anna <NA> <NA>\n")

    def speakers(*inputs: str) -> list[set[str | None]]:
        results = emoser("diarize", *inputs, *MODEL, "--speakers", "t.rttm").json()["results"]
        return [{segment.get("speaker") for segment in result["segments"]} for result in results]

    assert speakers("my call.wav", "b.wav") == [{None, "anna"}, {None}]
    assert speakers("b.wav") == [{None, "anna"}]  # the file tells of one recording, and there is one


def test_frames_in_a_file_of_capital_suffix(emoser: Emoser, talk: Callable[..., Path], tmp_path: Path) -> None:
    talk()
    assert emoser("diarize", "a.wav", *MODEL, "--frames", "f.NPZ").code == 0
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.lower().endswith(".npz")) == ["f.NPZ"]
    with np.load(tmp_path / "f.NPZ") as arrays:
        assert arrays["scores"].shape[0] == arrays["speech"].shape[0] > 0


@pytest.mark.parametrize("name", ["cut.wav", "cut.flac", "zero.wav", "-"])
def test_what_broke_off_is_kept_and_the_exit_code_says_so(emoser: Emoser, talk: Callable[..., Path], tmp_path: Path, name: str) -> None:
    source = talk("cut.flac" if name == "cut.flac" else "cut.wav", subtype="PCM_16")
    data = bytearray(source.read_bytes())
    if name == "zero.wav":
        at = data.index(b"data") + 4
        data[at : at + 4] = bytes(4)
    else:
        data = data[: len(data) * 3 // 4]
    (tmp_path / ("piped" if name == "-" else name)).write_bytes(data)
    ran = emoser("diarize", name, *MODEL, "-o", "out.jsonl", stdin=bytes(data) if name == "-" else b"")
    assert ran.code == 1
    assert "what came before is kept" in ran.err
    (line,) = map(json.loads, (tmp_path / "out.jsonl").read_bytes().splitlines())
    VALID.validate(line)
    cover(line)
    assert line["file"] == name and line["error"]["type"] == "AudioDecodeError"
    assert any(segment["label"] != "silence" for segment in line["segments"])
    if name == "-":
        assert "standard input" in line["error"]["message"] and "/tmp" not in line["error"]["message"]
    else:  # whole at last: done again, since it was not complete
        talk(name)
        assert emoser("diarize", name, *MODEL, "-o", "out.jsonl").code == 0
        (line,) = map(json.loads, (tmp_path / "out.jsonl").read_bytes().splitlines())
        assert "error" not in line


def test_one_bad_file_among_others(emoser: Emoser, talk: Callable[..., Path], tmp_path: Path) -> None:
    talk()
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    ran = emoser("diarize", "bad.wav", "a.wav", *MODEL)
    assert ran.code == 1
    assert ["error" in result for result in ran.json()["results"]] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("a.wav", "--html", "page.txt"), 2, "--html page.txt: give a file that ends in .html"),
        (("a.wav", "--frames", "f.json"), 2, ".npz, .csv"),
        (("a.wav", "b.wav", "--html", "page.html"), 2, "holds one recording, there are 2 inputs"),
        (("a.wav", "--channel", "each", "--plot", "p.png"), 2, "one for each channel"),
        (("a.wav", "--frames", "r.csv", "-o", "./r.csv"), 2, "--frames r.csv is where -o writes too"),
        (("a.wav", "--frames", "out/a.csv", "-o", "out/", "-f", "csv"), 2, "--frames out/a.csv is where -o writes too"),
        (("a.wav", "--html", "link.html", "--frames", "r.csv"), 2, "--html link.html is where --frames writes too"),
        (("a.wav", "b.wav", "--subtitles", "t.srt"), 2, "is of one recording"),
        (("a.wav", "--subtitles", "a.wav"), 2, "cannot read the subtitles"),
        (("a.wav", "--speakers", "t.srt"), 2, "no SPEAKER line"),
        (("a.wav", "--speakers", "missing.rttm"), 2, "missing.rttm"),
        (("a.wav", "--batch-size", "2"), 2, "--batch-size"),
        (("a.wav", "--min-confidence", "2"), 2, "--min-confidence"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_done(
    emoser: Emoser, talk: Callable[..., Path], tmp_path: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    talk(), talk("b.wav")
    (tmp_path / "t.srt").write_text("1\n00:00:00,000 --> 00:00:01,500\nHello\n")
    (tmp_path / "link.html").symlink_to("r.csv")
    ran = emoser("diarize", *arguments, *MODEL)
    assert (ran.code, ran.out) == (code, b"")
    assert words in ran.err and not (tmp_path / "r.csv").exists()


def raw(path: Path) -> bytes:
    return (soundfile.read(path, dtype="int16")[0]).astype("<i2").tobytes()


def test_a_pipe_of_samples_is_the_file(emoser: Emoser, talk: Callable[..., Path]) -> None:
    path = talk(subtype="PCM_16")
    (whole,) = emoser("diarize", "a.wav", *MODEL).json()["results"]
    (live,) = emoser("listen", "--raw", "s16le:16000", "-", *MODEL, stdin=raw(path)).json()["results"]
    assert live == whole | {"file": "-"}
    ran = emoser("listen", "--raw", "s16le:16000", "-", *MODEL, "-f", "jsonl", "-v", stdin=raw(path))
    assert [line["segment"] for line in ran.lines()] == whole["segments"]
    assert "the emotion of a moment is settled after" in ran.err
    stereo = np.repeat(np.frombuffer(raw(path), "<i2"), 2).tobytes()
    (mixed,) = emoser("listen", "--raw", "s16le:16000:2", "-", *MODEL, stdin=stereo).json()["results"]
    assert mixed["segments"] == live["segments"]


def test_a_pipe_that_breaks_off(emoser: Emoser, talk: Callable[..., Path]) -> None:
    ran = emoser("listen", "--raw", "s16le:16000", "-", *MODEL, stdin=raw(talk(subtype="PCM_16"))[:80_001])
    assert ran.code == 1
    assert "in the middle of a sample (1 of 2 bytes); what came before is kept" in ran.err
    (result,) = ran.json()["results"]
    assert result["duration"] == 2.5 and result["error"]["type"] == "Broken"


@pytest.mark.parametrize("form", ["json", "jsonl"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_pipe_with_a_sample_that_is_no_number(emoser: Emoser, form: str, channels: int) -> None:
    samples = np.concatenate([SPEECH, SPEECH]).astype("<f4")
    samples[40_300] = np.nan
    data = np.repeat(samples, channels).tobytes()
    ran = emoser("listen", "--raw", f"f32le:16000:{channels}", "-", *MODEL, "-f", form, stdin=data)
    assert ran.code == 1
    assert "NaN or infinity among the samples, after 2.519 s; what came before is kept" in ran.err
    if form == "jsonl":
        assert [line["segment"]["end"] for line in ran.lines()][-1] == 2.519
        return
    (result,) = ran.json()["results"]
    cover(result)
    assert result["duration"] == 2.519 and result["error"]["type"] == "AudioValueError"


def test_a_pipe_of_what_is_no_audio_gets_one_error_alone(emoser: Emoser) -> None:
    data = np.full((8000, 2), np.finfo(np.float32).max, "<f4")  # their mean is beyond float32
    data[10] = np.inf, -np.inf
    ran = emoser("listen", "--raw", "f32le:16000:2", "-", *MODEL, "-f", "jsonl", stdin=data.tobytes())
    assert ran.code == 1
    assert ran.err == "Error: NaN or infinity among the samples, after 0.000 s; what came before is kept\n"


def test_segments_of_earlier_runs_stay(emoser: Emoser, talk: Callable[..., Path], tmp_path: Path) -> None:
    data = raw(talk(subtype="PCM_16"))
    listen = ("listen", "--raw", "s16le:16000", "-", *MODEL, "-o", "l.jsonl")
    assert emoser(*listen, stdin=data).code == 0
    first = (tmp_path / "l.jsonl").read_bytes()
    assert emoser(*listen, stdin=data).code == 0
    assert (tmp_path / "l.jsonl").read_bytes() == first + first
    (tmp_path / "l.jsonl").write_bytes(first.replace(b'"file": "-"', b'"file": "a microphone"') + first[:30])
    assert emoser(*listen, stdin=data).code == 0
    assert emoser("diarize", "a.wav", *MODEL, "-o", "l.jsonl").code == 0
    again = (tmp_path / "l.jsonl").read_bytes()
    assert again.startswith(first.replace(b'"file": "-"', b'"file": "a microphone"') + first)
    assert json.loads(again.splitlines()[-1])["file"] == "a.wav"


def test_segments_come_while_the_pipe_is_open(registry: Path, talk: Callable[..., Path], tmp_path: Path) -> None:
    data = raw(talk(subtype="PCM_16"))
    command = [*COMMAND, "listen", "--raw", "s16le:16000", "-", *MODEL, "-f", "jsonl", "--threads", "1"]
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(data + bytes(2 * 10 * RATE))
    process.stdin.flush()
    before = time.monotonic()
    first = json.loads(process.stdout.readline())  # blocks, where nothing comes before the end
    assert time.monotonic() - before < 60 and first["segment"]["start"] == 0
    process.stdin.close()
    assert process.wait(timeout=60) == 0
    process.stdout.close()


def test_the_duration_ends_it(emoser: Emoser, talk: Callable[..., Path]) -> None:
    (result,) = emoser("listen", "--raw", "s16le:16000", "-", *MODEL, "--duration", "1.25", stdin=raw(talk(subtype="PCM_16"))).json()[
        "results"
    ]
    assert result["duration"] == 1.25
    cover(result)


def test_a_duration_of_no_whole_sample_ends_too(emoser: Emoser) -> None:
    samples = np.zeros(2 * 44_100, "<i2").tobytes()
    ran = emoser("listen", "--raw", "s16le:44100", "-", *MODEL, "--duration", "0.50001", stdin=samples)
    (result,) = ran.json()["results"]
    assert result["duration"] == 0.5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--raw", "s16le:16000"), "--raw s16le:16000 -"),
        (("-",), "--raw s16le:16000 -"),
        (("--raw", "mp3:16000", "-"), "types: s16le, s32le, f32le, u8"),
        (("--raw", "s16le:12", "-"), "1000"),
        (("--raw", "s16le:16000:0", "-"), "channels"),
    ],
)
def test_pipes_that_cannot_be(emoser: Emoser, arguments: tuple[str, ...], words: str) -> None:
    ran = emoser("listen", *arguments, *MODEL)
    assert (ran.code, ran.out) == (2, b"")
    assert words in ran.err


def test_without_sounddevice_the_extra_is_named(emoser: Emoser, tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "sounddevice.py").write_text("raise ImportError('not here')")
    ran = emoser("listen", *MODEL, env={"PYTHONPATH": f"{tmp_path / 'hidden'}:{ROOT}"})
    assert (ran.code, ran.out) == (4, b"")
    assert 'pip install "emoser[live]"' in ran.err


def test_a_microphone(emoser: Emoser, tmp_path: Path) -> None:
    """A stand-in for sounddevice, since machines that test have no microphone: it hears the clip, and then nothing for ever."""
    np.save(tmp_path / "speech.npy", SPEECH)
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "sounddevice.py").write_text(
        "import numpy as np\nclass PortAudioError(Exception): pass\n"
        "def query_devices(device, kind):\n"
        "    if device == 'none': raise ValueError('No input device matching')\n"
        "    return {'name': 'stand-in', 'default_samplerate': 44100.0 if device == 'odd' else 16000.0}\n"
        "class InputStream:\n"
        "    active = True\n"
        "    def __init__(self, callback, device, **more):\n"
        "        if device == 'taken': raise PortAudioError('Device unavailable')\n"
        "        self.callback = callback\n"
        "    def __enter__(self):\n"
        f"        speech = np.load({str(tmp_path / 'speech.npy')!r})\n"
        "        for start in range(0, len(speech), 1000): self.callback(speech[start:start + 1000, None], 0, 0, 0)\n"
        "        return self\n"
        "    def __exit__(self, *error): pass\n"
    )
    env = {"PYTHONPATH": f"{tmp_path / 'hidden'}:{ROOT}"}
    ran = emoser("listen", *MODEL, "--duration", "2", env=env)
    assert ran.code == 0, ran.err
    (result,) = ran.json()["results"]
    assert (result["file"], result["duration"]) == ("stand-in", 2.0)
    assert any(segment["label"] != "silence" for segment in result["segments"])
    ran = emoser("listen", *MODEL, "--input-device", "none", env=env)
    assert ran.code == 2 and "no such microphone" in ran.err
    ran = emoser("listen", *MODEL, "--input-device", "taken", "-o", "out.json", env=env)
    assert ran.code == 2 and "the microphone cannot be used: Device unavailable" in ran.err and not (tmp_path / "out.json").exists()
    ran = emoser("listen", *MODEL, "--input-device", "odd", "--duration", "0.50001", env=env)  # 22050.441 samples
    assert ran.code == 0 and ran.json()["results"][0]["duration"] == 0.5


def test_the_live_timeline(registry: Path, talk: Callable[..., Path], tmp_path: Path) -> None:
    pexpect = pytest.importorskip("pexpect")
    (tmp_path / "raw").write_bytes(raw(talk(subtype="PCM_16")))
    line = f"{' '.join(COMMAND)} listen --raw s16le:16000 - -m miniature -o live.json < raw"
    shown = pexpect.run(f"bash -c '{line}'", env=environment(TERM="xterm-256color", COLUMNS="100"), cwd=str(tmp_path), timeout=60).decode()
    (result,) = json.loads((tmp_path / "live.json").read_bytes())["results"]
    spoken = [segment for segment in result["segments"] if segment["label"] != "silence"]
    assert f"{spoken[0]['label']:<9}" in shown and "known up to" in shown
