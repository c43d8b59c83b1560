"""The registry: strict reading, and from a name, folder or file to a verified path."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import miniature
import pytest
import yaml

import emoser
from emoser import digests
from emoser.checkpoints import Checkpoint
from emoser.errors import CheckpointError, ChecksumMismatch, UnknownCheckpoint, UsageError
from emoser.registry import find, list_checkpoints, registry_file
from emoser.resolving import resolve


def change(path: Path, edit: Any) -> Path:
    """Rewrites a registry with `edit(first entry)`."""
    data = yaml.safe_load(path.read_text())
    edit(data["checkpoints"][0])
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    return path


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry that a test may change."""
    path = miniature.write_registry(tmp_path / "own")
    monkeypatch.setenv("EMOSER_REGISTRY", str(path))
    return path


def test_entries_are_typed(registry: Path) -> None:
    first, second = list_checkpoints()
    assert isinstance(first, Checkpoint) and first.folder == registry.parent
    assert (first.name, second.name, second.commercial_use) == ("miniature", "miniature-nc", False)
    assert first.labels == miniature.LABELS
    assert first.system.year == 2026 and first.metrics[0].interval == (0.2, 0.3)
    assert first.parts[0].format == "onnx" and first.parts[0].size == (registry.parent / first.parts[0].path).stat().st_size
    assert first.trained_on[0].license == "CC0-1.0" and first.hub is None and len(first.golden.logits) == 4


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (lambda e: e.pop("hub"), r'entry 1 \("miniature"\): missing field hub'),
        (lambda e: e.update(lables=[]), 'unknown field "lables", near "labels"'),
        (lambda e: e["parts"][0].pop("sha256"), r"parts\[0\]: missing field sha256"),
        (lambda e: e["parts"][0].update(format="tflite"), r"expected one of onnx, torchscript, npz, got 'tflite'"),
        (lambda e: e["parts"][0].update(sha256="AB"), "64 lower-case hexadecimal"),
        (lambda e: e["parts"][0].update(path="../../etc/passwd"), "must stay below"),
        (lambda e: e["parts"][0].update(path="/etc/passwd"), "must stay below"),
        (lambda e: e["metrics"][0].update(uar="high"), r"metrics\[0\], uar: expected a number, got 'high' \(text\)"),
        (lambda e: e["metrics"][0].update(interval=[0.2]), "expected 2 values, got 1"),
        (lambda e: e.update(languages=[False]), r"languages\[0\]: expected text, got False \(true or false\)"),  # YAML reads `no` so
        (lambda e: e.update(revision=1), r"revision: expected text, got 1 \(a whole number\)"),
        (lambda e: e.update(sample_rate=16000.0), "expected a whole number"),
        (lambda e: e.update(temperature=0), "temperature: must be above zero"),
        (lambda e: e.update(temperature=True), "expected a number, got True"),
        (lambda e: e.update(longest_window=float("inf")), "expected a number, got inf"),
        (lambda e: e.update(longest_window=10**400), "expected a number, got 1000"),
        (lambda e: e.update(name=[["much"] * 100] * 100), r"name: expected text, got \[\[.{1,500}$"),
        (lambda e: e.update(labels=["happy", "happy"]), "each once"),
        (lambda e: e.update(labels="happy"), "expected a list"),
        (lambda e: e["golden"].update(logits=[1.0]), "1 logits for 4 labels"),
        (lambda e: e.update(hub={"repository": "a/b", "commit": "main"}), "40 lower-case hexadecimal"),
        (lambda e: e.update(system="ShiftSER"), "expected fields and values, got 'ShiftSER'"),
        (lambda e: e.update(name="miniature-nc"), "more than one entry is named miniature-nc"),
    ],
)
def test_what_is_wrong_is_named(own: Path, edit: Any, says: str) -> None:
    with pytest.raises(CheckpointError, match=f"{own}.*{says}"):
        list_checkpoints(change(own, edit))


def test_an_entry_is_read_when_it_is_asked_for(own: Path) -> None:
    change(own, lambda entry: entry.update(labels="happy"))
    data = json.loads(json.dumps(yaml.safe_load(own.read_text())))  # without YAML's references from one entry to another
    own.write_text(yaml.safe_dump(data, sort_keys=False))
    assert find("miniature-nc").labels == miniature.LABELS  # the first entry is malformed, and nobody asked for it
    with pytest.raises(CheckpointError, match=r'entry 1 \("miniature"\), labels: expected a list'):
        find("miniature")
    with pytest.raises(UnknownCheckpoint, match='mean "miniature"'):
        find("minature")


@pytest.mark.parametrize("text", ["", "checkpoints: {}", "[]", "checkpoints: []\nother: 1", "a: [", "\x00", "checkpoints: ['a']"])
def test_what_is_no_registry(own: Path, text: str) -> None:
    own.write_text(text)
    with pytest.raises(CheckpointError, match=str(own)):
        list_checkpoints()


def test_where_the_registry_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EMOSER_REGISTRY", raising=False)
    assert registry_file().name == "checkpoints.yaml"
    monkeypatch.setenv("EMOSER_REGISTRY", str(tmp_path / "none.yaml"))
    with pytest.raises(CheckpointError, match=r"none.yaml is not there; install emoser again, or set EMOSER_REGISTRY"):
        list_checkpoints()
    with pytest.raises(UnknownCheckpoint, match=r"Known names: none|is not there"):
        resolve("nothing/at/all")


# From a name to a file


def test_a_name(registry: Path) -> None:
    found = resolve("miniature")
    assert found.path == registry.parent / "onnx" / "miniature.onnx" and found.sha256 == found.part.sha256
    assert found.checkpoint.name == "miniature"


def test_an_unknown_name_lists_all_and_the_nearest(registry: Path) -> None:
    with pytest.raises(UnknownCheckpoint, match=r'named "minature". Did you mean "miniature"\? Known names: miniature, miniature-nc\.'):
        resolve("minature")
    with pytest.raises(UnknownCheckpoint, match=r'named "xyz"\. Known names'):
        emoser.load("xyz")


def test_a_folder_of_the_same_name_does_not_hide_the_name(registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "miniature").mkdir()
    monkeypatch.chdir(tmp_path)
    assert resolve("miniature").path.is_relative_to(registry.parent)
    with pytest.raises(CheckpointError, match=r"no checkpoint folder: there is no checkpoint\.yaml in it"):
        resolve("./miniature")
    with pytest.raises(CheckpointError, match=r"no checkpoint folder: there is no checkpoint\.yaml in it"):
        resolve(Path("miniature"))


def test_a_folder(checkpoint_folder: Path, tmp_path: Path) -> None:
    for given in (checkpoint_folder, str(checkpoint_folder)):
        assert resolve(given).path == checkpoint_folder / "miniature.onnx"
    listing = (checkpoint_folder / "checkpoint.yaml").read_text()
    (tmp_path / "checkpoint.yaml").write_text(listing)
    with pytest.raises(CheckpointError, match=r"names miniature.onnx, which is not there"):
        resolve(tmp_path)


@pytest.mark.parametrize("given", ["none.onnx", "some/where", "./none", "/none.pt", Path("none")])
def test_paths_that_lead_nowhere(registry: Path, given: str | Path) -> None:
    with pytest.raises(UnknownCheckpoint, match=r"no such file or folder. Known names: miniature"):
        resolve(given)


def test_a_single_file_describes_itself(checkpoint_folder: Path, tmp_path: Path, tone) -> None:
    model = emoser.load(checkpoint_folder / "miniature.onnx")
    assert model.labels == miniature.LABELS and not isinstance(model.checkpoint, Checkpoint)
    assert model.sha256 == resolve(checkpoint_folder).sha256
    assert model(tone).scores == emoser.load(checkpoint_folder)(tone).scores
    bare = miniature.write_onnx(tmp_path / "bare.onnx", metadata=None)
    with pytest.raises(CheckpointError, match=r"bare.onnx: missing fields name, task, labels.*not made by emoser"):
        emoser.load(bare)
    newer = miniature.write_onnx(tmp_path / "newer.onnx", metadata=miniature.INSIDE | {"stride": 2})
    with pytest.raises(CheckpointError, match=r'unknown field "stride".*does not understand'):
        emoser.load(newer)


def test_a_single_torchscript_file(tmp_path: Path, tone) -> None:
    pytest.importorskip("torch")
    path = miniature.write_torchscript(tmp_path / "a.pt")
    for runtime in ("onnx", "torchscript"):  # the file's own format decides
        model = emoser.load(path, runtime=runtime)
        assert model.runtime == "torchscript" and model(tone).label == "happy"
    with pytest.raises(CheckpointError, match="is an ONNX file: leave runtime"):
        emoser.load(miniature.write_onnx(tmp_path / "a.onnx"), runtime="torchscript")


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights")
    with pytest.raises(CheckpointError, match=r"model\.bin: a checkpoint file ends in \.onnx"):
        resolve(tmp_path / "model.bin")


def test_a_runtime_or_precision_that_is_not_there(registry: Path) -> None:
    with pytest.raises(CheckpointError, match='"miniature" has no torchscript file; it has: onnx fp16'):
        resolve("miniature", runtime="torchscript")
    with pytest.raises(CheckpointError, match="no onnx file with precision int8; it has: onnx fp16"):
        resolve("miniature", precision="int8")
    assert resolve("miniature", precision="fp16").part.precision == "fp16"
    for options, says in {"runtime": "runtime is 'x'; allowed: onnx, torchscript", "precision": "precision is 'x'; allowed: fp16"}.items():
        with pytest.raises(UsageError, match=says):
            emoser.load("miniature", **{options: "x"})


def test_a_twin_that_the_wheel_does_not_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    path = miniature.write_registry(tmp_path / "twins", torchscript=True)
    monkeypatch.setenv("EMOSER_REGISTRY", str(path))
    assert emoser.load("miniature", runtime="torchscript").runtime == "torchscript"
    (path.parent / "torchscript" / "miniature.pt").unlink()
    with pytest.raises(CheckpointError, match=r"torchscript file of \"miniature\" is not at .* on no hub; get it from a clone"):
        emoser.load("miniature", runtime="torchscript")


def test_labels_inside_and_outside_must_agree(own: Path) -> None:
    change(own, lambda e: e.update(labels=["calm", *e["labels"][1:]]))
    with pytest.raises(CheckpointError, match=r"labels .*neutral.* inside, .*calm.* in the registry"):
        emoser.load("miniature")


# Checksums


def test_a_damaged_file_is_refused(own: Path) -> None:
    file = own.parent / "onnx" / "miniature.onnx"
    resolve("miniature")
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    with pytest.raises(ChecksumMismatch, match=r"miniature\.onnx is damaged.*expected [0-9a-f]{64}.*Delete it"):
        resolve("miniature")


def test_a_file_is_hashed_once(own: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = own.parent / "onnx" / "miniature.onnx"
    digest = digests.sha256(file)
    memory = own_cache / "emoser" / digests.MEMORY
    assert json.loads(memory.read_text())[str(file.resolve())][2] == digest
    with monkeypatch.context() as patch:
        patch.setattr(digests.hashlib, "sha256", lambda: pytest.fail("hashed again"))
        assert digests.sha256(file) == digest
    os.utime(file, ns=(1, 1))
    assert digests.sha256(file) == digest, "a file that was touched is hashed again"
    assert json.loads(memory.read_text())[str(file.resolve())][1] == 1


@pytest.mark.parametrize("content", ["", "{", "[]", '{"PATH": "odd"}', '{"PATH": [1, 2]}'])
def test_a_damaged_memory_costs_a_hash(own: Path, own_cache: Path, content: str) -> None:
    file = own.parent / "onnx" / "miniature.onnx"
    memory = own_cache / "emoser" / digests.MEMORY
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.write_text(content.replace("PATH", str(file.resolve())))
    assert resolve("miniature").sha256 == digests.sha256(file)
    assert str(file.resolve()) in json.loads(memory.read_text())


def test_a_cache_that_cannot_be_written(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tone) -> None:
    (tmp_path / "a file").write_text("")
    monkeypatch.setenv("EMOSER_CACHE", str(tmp_path / "a file" / "cache"))
    assert emoser.load("miniature")(tone).label == "happy"
    assert (tmp_path / "a file").read_text() == ""


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EMOSER_CACHE", "~/somewhere")
    assert digests.cache_folder() == Path.home() / "somewhere"
    monkeypatch.delenv("EMOSER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(digests.sys, "platform", "linux")
    assert digests.cache_folder() == tmp_path / "emoser"
    monkeypatch.setattr(digests.sys, "platform", "darwin")
    assert digests.cache_folder() == Path.home() / "Library" / "Caches" / "emoser"
    monkeypatch.setattr(digests.sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert digests.cache_folder() == tmp_path / "emoser" / "Cache"


# An encoder and a read-out


def parts_of(*files: str) -> list[dict[str, Any]]:
    """Parts from "role format precision"; the files are not there."""
    words = [file.split() for file in files]
    return [
        {"role": role, "format": form, "precision": precision, "path": f"{number}.onnx", "size": 1, "sha256": f"{number:064x}"}
        for number, (role, form, precision) in enumerate(words)
    ]


def entry_of(own: Path, *files: str) -> Checkpoint:
    change(own, lambda entry: entry.update(parts=parts_of(*files)))
    return list_checkpoints()[0]


def test_two_files_or_one_in_each_kind(own: Path) -> None:
    mixed = ("encoder onnx fp16", "readout onnx fp16", "model onnx int8", "encoder torchscript fp16", "readout torchscript fp16")
    entry = entry_of(own, *mixed)
    assert entry.kinds == (("onnx", "fp16"), ("onnx", "int8"), ("torchscript", "fp16"))
    assert [part.path for part in entry.files("onnx")] == ["1.onnx", "0.onnx"] and entry.part("onnx").role == "readout"
    assert [part.path for part in entry.files("onnx", "int8")] == ["2.onnx"]
    assert [part.path for part in entry.files("torchscript")] == ["4.onnx", "3.onnx"]
    with pytest.raises(CheckpointError, match="no onnx file with precision fp32; it has: onnx fp16, onnx int8, torchscript fp16"):
        entry.files("onnx", "fp32")


def test_the_encoder_is_of_the_precision_asked_for_or_of_fp16(own: Path) -> None:
    entry = entry_of(own, "encoder onnx fp16", "readout onnx int8")
    assert [part.precision for part in entry.files("onnx", "int8")] == ["int8", "fp16"] and entry.kinds == (("onnx", "int8"),)
    entry = entry_of(own, "encoder onnx fp16", "encoder onnx int8", "readout onnx int8", "readout onnx fp16")
    assert [part.path for part in entry.files("onnx", "int8")] == ["2.onnx", "1.onnx"]
    assert [part.path for part in entry.files("onnx", "fp16")] == ["3.onnx", "0.onnx"]


@pytest.mark.parametrize(
    ("files", "got"),
    [
        (["encoder onnx fp16"], "got encoder"),
        (["readout onnx fp16"], "got readout"),
        (["readout onnx int8", "encoder onnx fp32"], "got readout"),
        (["readout onnx int8", "encoder torchscript fp16"], "got readout"),
        (["model onnx fp16", "readout onnx fp16", "encoder onnx fp16"], "got encoder, model, readout"),
        (["model onnx fp16", "model onnx fp16"], "got model, model"),
        (["model onnx fp16", "head onnx fp16"], "got head, model"),
        (["encoder onnx fp16", "encoder onnx int8", "readout onnx int8"], "got encoder"),
    ],
)
def test_files_that_do_not_run(own: Path, files: list[str], got: str) -> None:
    with pytest.raises(CheckpointError, match=f"are a model, or a readout and its encoder; {got}$"):
        entry_of(own, *files)
