"""What users give it: good audio, bad audio, folders, patterns, lists, pipes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emoser.audio import load_audio
from emoser.cli.inputs import expand, on_disk
from emoser.errors import AudioDecodeError, UsageError

Emoser = Callable[..., Any]
Clip = Callable[..., Path]
NOISE = np.random.default_rng(0).normal(0, 0.1, 16_000)
GOOD = {
    "noise.wav": {"samples": NOISE},
    "stereo.wav": {"samples": np.stack([NOISE, NOISE[::-1]], 1)},
    "rate8000.wav": {"rate": 8_000},
    "rate192000.wav": {"rate": 192_000},
    "int16.wav": {"samples": (NOISE * 30_000).astype(np.int16)},
    "float.wav": {"samples": NOISE, "subtype": "FLOAT"},
    "silence.wav": {"samples": np.zeros(16_000)},
    "sub/deeper.flac": {},
    "日本 ünïcode.ogg": {"subtype": "VORBIS"},
}
BAD = {
    "empty.wav": ("AudioDecodeError", "0 bytes"),
    "text.wav": ("AudioDecodeError", "is text"),
    "truncated.wav": ("AudioDecodeError", "truncated"),
    "truncated.flac": ("AudioDecodeError", "truncated"),
    "nosamples.wav": ("AudioTooShort", "0 ms"),
    "10ms.wav": ("AudioTooShort", "10 ms"),
    "dangling.wav": ("AudioDecodeError", "no such file"),
}


@pytest.fixture
def mixed(clip: Clip, tmp_path: Path) -> Path:
    """A folder with all of the above, and files that are no audio."""
    folder = tmp_path / "mixed"
    for name, how in GOOD.items():
        clip(f"mixed/{name}", **how)
    whole = clip("whole.wav").read_bytes(), clip("whole.flac", samples=NOISE).read_bytes()
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("this is not audio\n" * 20)
    (folder / "truncated.wav").write_bytes(whole[0][: len(whole[0]) // 2])
    (folder / "truncated.flac").write_bytes(whole[1][: len(whole[1]) // 2])
    clip("mixed/nosamples.wav", samples=np.zeros(0))
    clip("mixed/10ms.wav", seconds=0.01)
    (folder / "dangling.wav").symlink_to("nowhere")
    (folder / "notes.txt").write_text("not looked at")
    (folder / "._noise.wav").write_text("what macOS leaves")
    return folder


@pytest.mark.parametrize("command", ["predict", "embed", "check"])
def test_a_folder_of_good_and_bad(emoser: Emoser, mixed: Path, command: str) -> None:
    model = () if command == "check" else ("-m", "miniature")
    ran = emoser(command, "mixed", "missing.wav", *model)
    assert ran.code == 1
    results = {
        Path(result["file"]).relative_to("mixed").as_posix() if "/" in result["file"] else result["file"]: result
        for result in ran.json()["results"]
    }
    bad = BAD | {"missing.wav": ("AudioDecodeError", "no such file")}
    if command == "check":  # it says so of what can be read but not used
        for name in ("10ms.wav", "nosamples.wav"):
            assert [finding["code"] for finding in results[name]["findings"]] == ["too_short"]
            del bad[name]
    assert set(results) == set(GOOD) | set(BAD) | {"missing.wav"}
    for name, (kind, words) in bad.items():
        assert results[name]["error"]["type"] == kind
        assert words in results[name]["error"]["message"]
        assert name in results[name]["error"]["message"]
        assert results[name]["error"]["message"] in ran.err  # said on the way, too
    for name in GOOD:
        assert "error" not in results[name], results[name]
    if command == "predict":
        assert results["silence.wav"]["warnings"] == ["silence"]
        assert len(set(results["silence.wav"]["scores"].values())) == 1
        for name in GOOD:
            assert sum(results[name]["scores"].values()) == pytest.approx(1)


def test_quiet_says_nothing_but_keeps_the_exit_code(emoser: Emoser, mixed: Path) -> None:
    ran = emoser("predict", "mixed", "-m", "miniature", "-q", "-f", "csv")
    assert (ran.code, ran.err) == (1, "")
    assert len(ran.out.splitlines()) == 1 + len(GOOD) + len(BAD)


def test_a_folder_without_audio_is_an_error_and_the_rest_is_done(emoser: Emoser, clip: Clip, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "notes.txt").touch()
    clip()
    ran = emoser("predict", "bare", "a.wav", "-m", "miniature")
    assert ran.code == 1
    assert "bare: no audio in this folder" in ran.err
    first, second = ran.json()["results"]
    assert (first["file"], first["error"]["type"]) == ("bare", "AudioError")
    assert second["label"]


def test_bytes_on_standard_input(emoser: Emoser, clip: Clip) -> None:
    path = clip()
    by_name = emoser("predict", "a.wav", "-m", "miniature").json()["results"][0]
    piped = emoser("predict", "-", "-m", "miniature", stdin=path.read_bytes()).json()["results"][0]
    assert piped.pop("file") == "-"
    assert by_name.pop("file") == "a.wav"
    assert piped == by_name
    broken = emoser("predict", "-", "-m", "miniature", stdin=b"")
    assert broken.code == 1
    assert broken.json()["results"][0]["file"] == "-"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("command", ["predict", "diarize", "check"])
def test_a_named_pipe(emoser: Emoser, clip: Clip, tmp_path: Path, command: str) -> None:
    clip()
    os.mkfifo(tmp_path / "pipe")
    model = () if command == "check" else ("-m", "miniature")
    with subprocess.Popen(["sh", "-c", "cat a.wav > pipe"], cwd=tmp_path):
        ran = emoser(command, "pipe", *model)
    assert ran.code == 0, ran.err
    assert ran.json()["results"] == [emoser(command, "a.wav", *model).json()["results"][0] | {"file": "pipe"}]


@pytest.mark.parametrize("arguments", [("predict", "-"), ("predict", "@-"), ("listen", "--raw", "s16le:16000", "-")])
def test_standard_input_that_is_closed(emoser: Emoser, arguments: tuple[str, ...]) -> None:
    ran = emoser(*arguments, "-m", "miniature", preexec_fn=lambda: os.close(0))
    assert (ran.code, ran.out) == (2, b"") and "closed; for instance" in ran.err


def test_a_list_from_standard_input(emoser: Emoser, clip: Clip) -> None:
    for name in ("b.wav", "a.wav", "c.wav"):
        clip(name)
    ran = emoser("predict", "@-", "-m", "miniature", stdin=b"b.wav\r\n\na.wav\n")
    assert [result["file"] for result in ran.json()["results"]] == ["b.wav", "a.wav"]


@pytest.mark.skipif(os.name == "nt", reason="names of bytes are a matter of Unix")
@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "table"])
def test_a_name_that_is_not_utf8(emoser: Emoser, clip: Clip, tmp_path: Path, form: str) -> None:
    name = b"caf\xe9\n.wav"
    try:
        shutil.copy(clip(), tmp_path / os.fsdecode(name))
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    ran = emoser("predict", name, "-m", "miniature", "-f", form)
    assert ran.code == 0, ran.err
    if form == "json":
        assert os.fsencode(ran.json()["results"][0]["file"]) == name
    elif form == "jsonl":
        assert os.fsencode(ran.lines()[0]["file"]) == name
    elif form == "csv":
        assert b'"caf\xe9\n.wav"' in ran.out
    else:
        assert r"caf\xe9\n.wav" in ran.out.decode("ascii")


@pytest.fixture
def here(tmp_path: Path, clip: Clip, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("z.wav", "sub/b.flac", "sub/a.wav", "sub/.hidden.wav", ".cache/c.wav", "brackets[1].wav"):
        clip(name)
    (tmp_path / "notes.txt").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_folders_are_walked_in_order(here: Path) -> None:
    assert expand((".",)) == (["./brackets[1].wav", "./z.wav", "./sub/a.wav", "./sub/b.flac"], [])
    assert expand(("sub/",)) == (["sub/a.wav", "sub/b.flac"], [])


def test_patterns(here: Path) -> None:
    assert expand(("sub/*.wav",))[0] == ["sub/a.wav"]
    assert expand(("**/*.wav",))[0] == ["brackets[1].wav", "sub/a.wav", "z.wav"]
    assert expand(("*",))[0] == ["brackets[1].wav", "sub/a.wav", "sub/b.flac", "z.wav"]
    assert expand(("brackets[1].wav",))[0] == ["brackets[1].wav"]  # a file of that very name
    for pattern in ("*.mp3", "*.txt"):
        paths, (failure,) = expand((pattern,))
        assert paths == []
        assert "matches this pattern" in str(failure.error)


def test_what_is_named_is_tried_whatever_it_is_called(here: Path) -> None:
    assert expand(("notes.txt", "missing"))[0] == ["notes.txt", "missing"]


def test_an_input_given_twice_is_done_twice(here: Path) -> None:
    assert expand(("z.wav", "z.wav"))[0] == ["z.wav", "z.wav"]


def test_lists(here: Path) -> None:
    (here / "list.txt").write_bytes(b"\xef\xbb\xbfz.wav\r\nsub\n\n sp.wav\n")
    assert expand(("@list.txt",))[0] == ["z.wav", "sub/a.wav", "sub/b.flac", " sp.wav"]
    (here / "@odd.wav").touch()
    assert expand(("@odd.wav",))[0] == ["@odd.wav"]
    (here / "empty.txt").write_text("\n\n")
    for name, words in (("@missing.txt", "No such file"), ("@empty.txt", "empty"), ("@sub", "directory")):
        with pytest.raises(UsageError, match=words):
            expand((name,))


def test_standard_input_can_be_read_once(here: Path) -> None:
    with pytest.raises(UsageError, match="once"):
        expand(("-", "-"))


@pytest.mark.parametrize("pattern", ["*", "su*", "**", "**/*", "*/*.wav", "**/*.wav", "s*/a.*"])
def test_a_folder_behind_a_pattern_that_cannot_be_read(here: Path, monkeypatch: pytest.MonkeyPatch, pattern: str) -> None:
    real = os.scandir

    def scandir(folder: str | None = None) -> object:
        if folder is not None and os.path.normpath(folder) == "sub":
            raise PermissionError(13, "Permission denied", folder)
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    paths, (failure,) = expand((pattern,))
    assert failure.file == "sub" and str(failure.error) == "sub: cannot read this folder: Permission denied"
    whole_tree = pattern in ("*", "**", "**/*", "**/*.wav")
    assert paths == (["brackets[1].wav", "z.wav"] if whole_tree else [])


def test_folders_without_audio_behind_a_pattern_are_no_matter(here: Path) -> None:
    (here / "bare").mkdir()
    assert expand(("*",)) == (["brackets[1].wav", "sub/a.wav", "sub/b.flac", "z.wav"], [])
    paths, (failure,) = expand(("bar*",))
    assert paths == [] and "no audio file matches this pattern" in str(failure.error)


LONG = "x" * 300 + ".wav"


@pytest.mark.parametrize("command", ["predict", "diarize", "check"])
def test_a_name_that_is_too_long_is_one_bad_input(emoser: Emoser, clip: Clip, tmp_path: Path, command: str) -> None:
    clip()
    (tmp_path / "list.txt").write_text(f"{LONG}\n[ab]{LONG}\na.wav\n")
    ran = emoser(command, "@list.txt", *(() if command == "check" else ("-m", "miniature")))
    assert ran.code == 1
    by_pattern, by_name, good = ran.json()["results"]
    assert by_name["file"] == LONG and by_name["error"]["type"] == "AudioDecodeError"
    assert "File name too long" in by_name["error"]["message"]
    assert by_pattern["error"]["type"] == "AudioError" and good["file"] == "a.wav" and "error" not in good


@pytest.mark.parametrize("command", ["predict", "diarize", "check"])
def test_an_empty_path_is_no_folder(emoser: Emoser, clip: Clip, command: str) -> None:
    clip()
    ran = emoser(command, "", "a.wav", *(() if command == "check" else ("-m", "miniature")))
    assert ran.code == 1
    empty, good = ran.json()["results"]
    assert empty == {"file": "", "error": {"type": "AudioDecodeError", "message": "the path of the audio is empty; give that of a file"}}
    assert good["file"] == "a.wav" and "error" not in good


def test_a_path_in_a_folder_without_access_is_left_to_the_reader(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.stat

    def stat(path: object, *arguments: object, **more: Any) -> object:
        if "locked" in os.fsdecode(path):  # type: ignore[arg-type]
            raise PermissionError(13, "Permission denied", path)
        return real(path, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "stat", stat)
    assert expand(("locked/a.wav", "z.wav")) == (["locked/a.wav", "z.wav"], [])
    with on_disk("locked/a.wav") as path:
        assert path == "locked/a.wav"
    with pytest.raises(AudioDecodeError, match=r"'locked/a\.wav' cannot be read: Permission denied"):
        load_audio("locked/a.wav")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_that_cannot_be_opened_is_left_to_the_reader(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo("pipe.wav")

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "pipe.wav")

    monkeypatch.setattr(Path, "open", refused)
    with on_disk("pipe.wav") as path:
        assert path == "pipe.wav"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read(here: Path) -> None:
    (here / "sub").chmod(0)
    try:
        paths, (failure,) = expand((".",))
    finally:
        (here / "sub").chmod(0o755)
    assert "./z.wav" in paths
    assert "cannot read this folder" in str(failure.error)
