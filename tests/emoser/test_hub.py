"""The hub, spoken to over HTTP: a server of the test's own on the loopback device, and a fresh process for each load.

huggingface_hub reads its environment when it is imported, hence the processes.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import miniature
import pytest
import yaml

from emoser import hub
from emoser.errors import DownloadError

REPOSITORY = "someone/miniature"
ROOT = Path(__file__).parents[2]
# Any attempt to connect, or to look a name up, ends the process with a code of its own.
NO_SOCKETS = """
import os, socket
def refuse(*args, **kwargs):
    os.write(2, b"a socket was opened"); os._exit(77)
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
"""
NO_WAITING = """
import time
time.sleep = lambda seconds: None  # huggingface_hub tries again for 24 s
"""
LOAD = """
import sys, json
import emoser
from emoser.errors import EmoserError
name, options = sys.argv[1], json.loads(sys.argv[2])
try:
    model = emoser.load(name, **options)
except EmoserError as error:
    print(json.dumps({"error": type(error).__name__, "message": str(error)}))
else:
    from emoser.audio import tone
    print(json.dumps({"name": model.name, "runtime": model.runtime, "label": model(tone()).label}))
"""


@dataclass
class Hub:
    """What stands at the hub, and what was asked of it."""

    folder: Path
    url: str = ""
    truncate: bool = False
    requests: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Hub]:
    state = Hub(tmp_path / "hub")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, body: bool) -> None:
            state.requests.append((self.command, self.path))
            repository, _, rest = self.path.removeprefix("/").partition("/resolve/")
            revision, _, name = rest.partition("/")
            if repository != REPOSITORY:
                return self.refuse(401, "RepoNotFound")
            if revision not in (miniature.COMMIT, "main", "v1"):
                return self.refuse(404, "RevisionNotFound")
            file = state.folder / name
            if not file.is_file():
                return self.refuse(404, "EntryNotFound")
            data = file.read_bytes()
            self.send_response(200)
            self.send_header("X-Repo-Commit", miniature.COMMIT)
            self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body and state.truncate:
                self.wfile.write(data[: len(data) // 2])
                self.close_connection = True
            elif body:
                self.wfile.write(data)
            return None

        def refuse(self, code: int, reason: str) -> None:
            self.send_response(code)
            self.send_header("X-Error-Code", reason)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    miniature.write_folder(state.folder, torchscript=False)
    yield state
    http.shutdown()
    http.server_close()


@pytest.fixture
def thin_registry(tmp_path: Path, server: Hub) -> Path:
    """A registry whose file is only at the hub, under another path there than in the registry."""
    (tmp_path / "registry").mkdir()
    miniature.write_onnx(tmp_path / "registry" / "elsewhere.onnx")
    address = {"repository": REPOSITORY, "commit": miniature.COMMIT}
    entry = miniature.entry(tmp_path / "registry", {"elsewhere.onnx": "onnx"}, hub=address)
    (tmp_path / "registry" / "elsewhere.onnx").unlink()
    path = tmp_path / "registry" / "checkpoints.yaml"
    path.write_text(yaml.safe_dump({"checkpoints": [entry]}))
    return path


def load(name: str, server: Hub, registry: Path | None = None, *, before: str = "", **options: object) -> dict[str, str]:
    environment = os.environ | {"HF_ENDPOINT": server.url, "PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_XET": "1", "HF_HUB_ETAG_TIMEOUT": "2"}
    if registry is not None:
        environment["EMOSER_REGISTRY"] = str(registry)
    for variable in ("http_proxy", "https_proxy", "all_proxy"):
        environment.pop(variable, None)
        environment.pop(variable.upper(), None)
    done = subprocess.run(
        [sys.executable, "-c", before + LOAD, name, json.dumps(options)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


GOOD = {"name": "miniature", "runtime": "onnx", "label": "happy"}


def test_a_named_checkpoint_is_downloaded_once_pinned_to_its_commit(server: Hub, thin_registry: Path) -> None:
    offline = load("miniature", server, thin_registry, before=NO_SOCKETS, offline=True)
    assert offline["error"] == "DownloadError" and "offline" in offline["message"]
    assert server.requests == []

    assert load("miniature", server, thin_registry) == GOOD
    assert server.requests and all(f"/resolve/{miniature.COMMIT}/" in path for _, path in server.requests)

    server.requests.clear()
    assert load("miniature", server, thin_registry, before=NO_SOCKETS) == GOOD, "from the cache, without being told to stay offline"
    assert load("miniature", server, thin_registry, before=NO_SOCKETS, offline=True) == GOOD
    assert server.requests == []


@pytest.mark.parametrize("revision", [f"@{miniature.COMMIT}", "@v1", ""])
def test_an_address(server: Hub, revision: str) -> None:
    assert load(f"hf://{REPOSITORY}{revision}", server) == GOOD
    assert load(f"hf://{REPOSITORY}{revision}", server, before=NO_SOCKETS, offline=True) == GOOD


def test_a_download_that_breaks_off_leaves_nothing_behind(server: Hub, thin_registry: Path) -> None:
    server.truncate = True
    broken = load("miniature", server, thin_registry, before=NO_WAITING)
    assert broken["error"] == "DownloadError" and "try again" in broken["message"]
    server.truncate = False
    assert load("miniature", server, thin_registry) == GOOD


def test_a_file_that_is_not_the_one_registered(server: Hub, thin_registry: Path) -> None:
    miniature.write_onnx(server.folder / "miniature.onnx", miniature.INSIDE | {"summary": "Another."})
    found = load("miniature", server, thin_registry)
    assert found["error"] == "ChecksumMismatch" and "Delete it" in found["message"]


def test_a_listing_that_is_not_the_one_registered(server: Hub, thin_registry: Path) -> None:
    other = miniature.write_onnx(server.folder / "miniature.onnx", miniature.INSIDE | {"summary": "Another."})
    listing = yaml.safe_load((server.folder / "checkpoint.yaml").read_text())
    listing["parts"][0]["sha256"] = hashlib.sha256(other.read_bytes()).hexdigest()
    (server.folder / "checkpoint.yaml").write_text(yaml.safe_dump(listing))
    assert load(f"hf://{REPOSITORY}@v1", server)["name"] == "miniature", "listing and file agree: it is what was asked for"
    found = load("miniature", server, thin_registry)
    assert found["error"] == "ChecksumMismatch" and "update emoser" in found["message"], "but not what the registry means by the name"


def test_the_hub_does_not_have_it(server: Hub) -> None:
    for name, says in {
        f"hf://{REPOSITORY}@{'f' * 40}": "no revision",
        "hf://someone/else@v1": "no such repository, or it is private",
    }.items():
        found = load(name, server)
        assert found["error"] == "DownloadError" and says in found["message"], found
    (server.folder / "checkpoint.yaml").unlink()
    found = load(f"hf://{REPOSITORY}@v1", server)
    assert found["error"] == "DownloadError" and "no such file" in found["message"]


def test_no_network(server: Hub, thin_registry: Path) -> None:
    nobody = Hub(server.folder, url="http://127.0.0.1:9")
    found = load("miniature", nobody, thin_registry, before=NO_WAITING)
    assert found["error"] == "DownloadError" and "not reached" in found["message"] and "check the connection" in found["message"], found


@pytest.mark.parametrize("address", ["hf://miniature", "hf://a/b@", "hf://a/b/c", "hf://a b/c"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(DownloadError, match="hf://owner/repository@revision"):
        hub.parse(address)
