"""models, info, download and doctor."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

Emoser = Callable[..., Any]


@pytest.fixture
def own_registry(registry: Path, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """own_registry(change) copies the registry, lets `change` alter its first entry and folder, and gives the environment that uses it."""

    def make(change: Callable[[dict[str, Any], Path], None]) -> dict[str, str]:
        folder = shutil.copytree(registry.parent, tmp_path / "own")
        path = folder / "checkpoints.yaml"
        data = yaml.safe_load(path.read_text())
        change(data["checkpoints"][0], folder)
        path.write_text(yaml.safe_dump(data))
        return {"EMOSER_REGISTRY": str(path)}

    return make


def test_models(emoser: Emoser) -> None:
    first, second = emoser("models").json()["checkpoints"]
    assert (first["name"], second["name"]) == ("miniature", "miniature-nc")
    assert first["installed"] is True
    assert "folder" not in first
    table = emoser("models", "-f", "table").out.decode().splitlines()
    assert table[1].split() == ["miniature", "0.25", "(0.20-0.30)", "4", "2.2", "kB", "Apache-2.0", "yes"]
    assert table[2].split()[-2:] == ["CC-BY-NC-4.0", "no"]


def test_models_for_commercial_use(emoser: Emoser) -> None:
    (only,) = emoser("models", "--commercial").json()["checkpoints"]
    assert only["name"] == "miniature"
    assert "miniature-nc" not in emoser("models", "--commercial", "-f", "table").out.decode()


def test_info(emoser: Emoser, checkpoint_folder: Path) -> None:
    (entry,) = emoser("info", "miniature").json()["checkpoints"]
    assert entry["trained_on"] == [{"corpus": "none", "license": "CC0-1.0"}]
    assert entry["metrics"][0]["interval"] == [0.2, 0.3]
    text = emoser("info", "miniature", "-f", "table").out.decode()
    words = (
        "Loudness and roughness",
        "Apache-2.0; commercial use: yes",
        "0.200 to 0.300",
        "CC0-1.0",
        "trained on",
        "example.org",
        entry["parts"][0]["sha256"],
    )
    for word in words:
        assert word in text
    (by_folder,) = emoser("info", checkpoint_folder).json()["checkpoints"]
    assert by_folder["name"] == "miniature"
    (by_file,) = emoser("info", checkpoint_folder / "miniature.onnx").json()["checkpoints"]
    assert by_file == {name: entry[name] for name in by_file}
    assert "windows of up to 3 s" in emoser("info", checkpoint_folder / "miniature.onnx", "-f", "table").out.decode()


def test_text_of_the_registry_is_shown_as_it_is(emoser: Emoser, own_registry: Callable[..., dict[str, str]]) -> None:
    env = own_registry(lambda entry, _: entry.update(summary="[bold]loud[/bold] [1]", license="[red]"))
    text = emoser("info", "miniature", "-f", "table", env=env).out.decode()
    assert "[bold]loud[/bold] [1]" in text and "[red]; commercial" in text
    assert "[red]" in emoser("models", "-f", "table", env=env).out.decode()


@pytest.mark.parametrize("command", ["info", "download"])
def test_an_unknown_name(emoser: Emoser, command: str) -> None:
    ran = emoser(command, "minature")
    assert (ran.code, ran.out) == (3, b"")
    assert 'Did you mean "miniature"?' in ran.err


def test_without_a_registry(emoser: Emoser, tmp_path: Path) -> None:
    ran = emoser("models", env={"EMOSER_REGISTRY": str(tmp_path / "none.yaml")})
    assert (ran.code, ran.out) == (3, b"")
    assert "none.yaml is not there" in ran.err


def test_downloading_what_is_here(emoser: Emoser, registry: Path) -> None:
    ran = emoser("download", "miniature")
    assert ran.code == 0
    assert ran.out.decode() == f"{registry.parent / 'onnx' / 'miniature.onnx'}\n"
    assert "nothing was downloaded" in ran.err


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[str]:
    """The address of a hub that has nothing."""

    class Nothing(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_downloading_what_no_hub_has(emoser: Emoser, hub: str) -> None:
    ran = emoser("download", "hf://no/where@v1", env={"HF_ENDPOINT": hub})
    assert (ran.code, ran.out) == (3, b"")
    assert "the hub has no such repository" in ran.err


def checks(ran: Any) -> dict[str, dict[str, Any]]:
    report = ran.json()["doctor"]
    found = {check["name"]: check for check in report["checks"]}
    assert report["ok"] is all(check["status"] != "error" for check in found.values())
    assert ran.code == (0 if report["ok"] else 1)
    return found


def test_the_doctor_finds_nothing(emoser: Emoser) -> None:
    ran = emoser("doctor")
    assert ran.code == 0, ran.out
    found = checks(ran)
    for name in ("emoser", "python", "numpy", "soundfile", "audio formats", "onnxruntime", "providers", "cache", "hub cache", "registry"):
        assert found[name]["status"] == "ok"
    assert "FLAC" in found["audio formats"]["value"]
    assert "output within" in found["miniature"]["value"]
    text = emoser("doctor", "-f", "table")
    assert text.code == 0
    assert "ok    miniature " in text.out.decode()


def test_the_doctor_finds_a_damaged_file(emoser: Emoser, own_registry: Callable[..., dict[str, str]]) -> None:
    def damage(entry: dict[str, Any], folder: Path) -> None:
        path = folder / "onnx" / "miniature.onnx"
        status = path.stat()
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # as a failing disk does: nothing shows from outside

    found = checks(emoser("doctor", env=own_registry(damage)))
    assert found["miniature"]["status"] == "error"
    assert "expected" in found["miniature"]["value"]
    assert found["miniature-nc"]["status"] == "ok"


def test_the_doctor_finds_a_missing_file(emoser: Emoser, own_registry: Callable[..., dict[str, str]]) -> None:
    found = checks(emoser("doctor", env=own_registry(lambda _, folder: (folder / "onnx" / "miniature.onnx").unlink())))
    assert "No such file" in found["miniature"]["value"]


def test_the_doctor_leaves_out_what_lies_on_a_hub(emoser: Emoser, own_registry: Callable[..., dict[str, str]]) -> None:
    def move(entry: dict[str, Any], folder: Path) -> None:
        entry["hub"] = {"repository": "some/where", "commit": "0" * 40}
        (folder / "onnx" / "miniature.onnx").unlink()

    ran = emoser("doctor", env=own_registry(move))
    assert ran.code == 0
    assert "miniature" not in checks(ran)


def test_the_doctor_finds_other_values(emoser: Emoser, own_registry: Callable[..., dict[str, str]]) -> None:
    def alter(entry: dict[str, Any], folder: Path) -> None:
        entry["golden"]["logits"][0] += 0.01

    ran = emoser("doctor", "-f", "table", env=own_registry(alter))
    assert ran.code == 1
    assert "WRONG miniature " in ran.out.decode()
    assert "output is 0.01 off the known values" in ran.out.decode()
    assert "1 of" in ran.err and "checks failed" in ran.err


def test_the_doctor_finds_a_cache_that_cannot_be_written(emoser: Emoser, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    found = checks(emoser("doctor", env={"EMOSER_CACHE": str(tmp_path / "file" / "cache")}))
    assert found["cache"]["status"] == "error"
    assert "EMOSER_CACHE" in found["cache"]["advice"]


def test_the_doctor_goes_on_past_a_broken_package(emoser: Emoser, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "soundfile.py").write_text("raise OSError('libsndfile.so: cannot open')")
    root = Path(__file__).resolve().parents[2]
    found = checks(emoser("doctor", env={"PYTHONPATH": f"{tmp_path / 'site'}:{root}"}))
    assert "libsndfile.so: cannot open" in found["sound"]["value"]
    assert found["cache"]["status"] == "ok"
