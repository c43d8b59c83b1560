"""The five graphs of a trained transducer in both formats: the same decoding as the training module, nothing of the machine inside."""

from __future__ import annotations

import copy
import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import yaml
from torch_network import TorchNetwork
from waves import batch, noise

from emoser.digests import sha256
from emoser.models.transducer import Part, Parts, beam_search, greedy, hear, lattice, pieces_of, posteriors, text_of, words_of
from emoser.registry import list_checkpoints
from emoser.runtimes.readouts import open_parts
from training.export import drop_unused
from training.graphs import strip_torchscript
from training.model import on_clip_axis
from training.parts import unchanged_for_others
from training.publish import test_scores as scores_of_test
from training.runs import CLONE, Places
from training.systems.transducer import export
from training.systems.transducer.data import Clips
from training.systems.transducer.decode import frame_by_frame
from training.systems.transducer.export import (
    compare,
    graphs_of,
    onnx_part,
    padded,
    run_export,
    torchscript_part,
)
from training.systems.transducer.fit import said_of
from training.systems.transducer.model import TransducerModel
from training.systems.transducer.networks import ENT, FENT, FrameWise
from training.systems.transducer.runs import Prepared

pytestmark = pytest.mark.usefixtures("accelerate_anew")

ROLES = {"encoder", "frames", "predictor", "joint", "head"}


@dataclass
class Exported:
    run: Prepared
    root: Path
    records: Path
    entry: dict[str, Any]
    model: TransducerModel

    def file(self, role: str, kind: str) -> Path:
        (part,) = [part for part in self.entry["parts"] if (part["role"], part["format"]) == (role, kind)]
        return self.root / part["path"]

    def parts(self, kind: str) -> Parts:
        graphs = graphs_of(self.model)
        opened: dict[str, Part] = {
            role: onnx_part(self.file(role, kind)) if kind == "onnx" else torchscript_part(self.file(role, kind), graph)
            for role, graph in graphs.items()
        }
        return export.parts_of(opened, self.model.network)


@pytest.fixture(scope="module")
def exported(
    trained_transducer: Callable[[str], tuple[Prepared, Places]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Exported]:
    made: dict[str, Exported] = {}

    def make(system: str) -> Exported:
        if system not in made:
            run, places = trained_transducer(system)
            root, records = tmp_path_factory.mktemp("root"), tmp_path_factory.mktemp("records")
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(export, "RECORDS", records)
                entry = run_export(run.recipe, places, root=root)
            made[system] = Exported(run, root, records, entry, export.rounded_to_half(run.trained()))
        return made[system]

    return make


def talkative(made: Exported, kind: str, less: float = 5.0) -> tuple[Parts, TorchNetwork]:
    """Files and module with `less` taken from the logit of blank: a run this short has learnt to say nothing."""
    parts, model = made.parts(kind), copy.deepcopy(made.model.network)
    assert isinstance(model, ENT | FENT)
    bias = model.joint.output.bias if isinstance(model, ENT) else model.blank_joint.output.bias
    with torch.no_grad():
        bias[0] -= less
    joint = parts.joint

    def quieter(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        found = joint(feeds)
        return {**found, "tokens": found["tokens"] - less * np.eye(1, found["tokens"].shape[1], dtype=np.float32)}

    return replace(parts, joint=quieter), TorchNetwork(model)


SHAPES = {
    "shortest": batch(noise(1_600)),
    "three": batch(noise(9_601), np.concatenate([np.zeros(5_000), noise(4_001, 1), np.zeros(3_000)]), noise(1_700, 2)),
    "long": batch(noise(160_000)),
}


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
@pytest.mark.parametrize("system", ["ent", "fent"])
def test_the_encoder_gives_what_the_module_gives(exported: Callable[[str], Exported], system: str, kind: str) -> None:
    made = exported(system)
    parts = made.parts(kind)
    for waveform, lengths in SHAPES.values():
        with torch.no_grad():
            expected = made.model.encode(torch.from_numpy(waveform), torch.from_numpy(lengths))
            layers, counts, _ = made.model.listen(torch.from_numpy(waveform), torch.from_numpy(lengths))
            frames = made.model.network.frames(layers, counts).numpy()
        found = parts.encoder({"waveform": waveform, "lengths": lengths})
        for name, value in zip(("states", "frame_lengths", "starts"), expected, strict=True):
            np.testing.assert_allclose(found[name], value.numpy(), atol=2e-4, rtol=1e-4, err_msg=name)
        read = parts.frames({"states": found["states"], "frame_lengths": found["frame_lengths"]})["frames"]
        for one, other, count in zip(read, frames, counts, strict=True):
            np.testing.assert_allclose(one[:count], other[:count], atol=2e-4, rtol=0)


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
@pytest.mark.parametrize("system", ["ent", "fent"])
def test_the_predictor_carries_its_state(exported: Callable[[str], Exported], system: str, kind: str) -> None:
    made = exported(system)
    parts, network = made.parts(kind), TorchNetwork(made.model.network)
    random = np.random.default_rng(0)
    layers = made.entry["state"]["layers"]
    state = tuple(random.standard_normal((layers, 2, 12)).astype(np.float32) for _ in range(2))
    expected, after = network.step(np.array([1, 4]), (state[0], state[1]))
    found, found_after = parts.step(np.array([1, 4]), (state[0], state[1]))
    for one, other in ((found, expected), *zip(found_after, after, strict=True)):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
@pytest.mark.parametrize("system", ["ent", "fent"])
def test_real_clips_are_decoded_as_frame_by_frame_in_training(exported: Callable[[str], Exported], system: str, kind: str) -> None:
    made = exported(system)
    parts, network = talkative(made, kind)
    clips = made.run.clips.test[::4]
    waveform, lengths = padded(clips)
    spoken = 0
    for item, clip in zip(hear(parts, waveform, lengths), clips, strict=True):
        slow = frame_by_frame(network, item.frames)
        assert list(item.hypothesis.tokens) == slow.tokens and list(item.hypothesis.places) == slow.places
        np.testing.assert_allclose(item.hypothesis.emotions, slow.emotions, atol=1e-3)
        alone = hear(parts, *padded([clip]))[0]
        assert alone.hypothesis.tokens == item.hypothesis.tokens  # its partners change nothing
        np.testing.assert_allclose(alone.logits, item.logits, atol=1e-3)
        spoken += len(slow.tokens)
    assert spoken > 0


@pytest.mark.parametrize("system", ["ent", "fent"])
def test_the_package_says_what_training_says(exported: Callable[[str], Exported], system: str) -> None:
    """From the waveform in the package, and from cached states in training."""
    made = exported(system)
    clips = made.run.clips.test[:8]
    said = said_of(made.run.recipe, made.run.trained(), made.run.shelf, clips)
    heard = hear(made.parts("onnx"), *padded(clips), search=lambda network, frames: greedy(network, frames, cap=8))
    symbols = made.entry["symbols"]
    texts = [text_of(item.hypothesis.tokens, symbols) for item in heard]
    assert sum(text == expected.text for text, expected in zip(texts, said, strict=True)) >= 7  # states are cached as fp16
    for item, expected in zip(heard, said, strict=True):
        np.testing.assert_allclose(item.logits, expected.logits, atol=0.1)


def test_a_clip_has_words_and_emotions_in_time(exported: Callable[[str], Exported]) -> None:
    made = exported("ent")
    parts, _ = talkative(made, "onnx")
    (example, *_) = [item for item in made.run.clips.test if item.corpus == "ravdess"]
    (heard,) = hear(parts, *padded([example]), search=beam_search)
    found = lattice(parts, heard.frames, heard.hypothesis.tokens)
    read = posteriors(found, made.entry["frame_temperature"])
    np.testing.assert_allclose(read.sum(1), 1, atol=1e-6)
    assert read.shape == (len(heard.frames), 4) and len(heard.hypothesis.counts) == len(heard.frames)
    words = words_of(pieces_of(heard.hypothesis, made.entry["symbols"]))
    assert words and all(0 <= word.start < word.end <= len(heard.frames) for word in words)


def test_silence_alone_is_decoded_too(exported: Callable[[str], Exported]) -> None:
    heard = hear(exported("fent").parts("onnx"), *batch(np.zeros(4_000, np.float32), noise(4_000)))
    assert all(np.isfinite(item.logits).all() for item in heard)


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
def test_the_baseline_is_an_utterance_checkpoint(exported: Callable[[str], Exported], kind: str) -> None:
    made = exported("framewise")
    runtime = open_parts(made.file("encoder", kind), made.file("readout", kind), kind, frame=640)
    assert isinstance(made.model.network, FrameWise)
    for waveform, lengths in SHAPES.values():
        with torch.no_grad():
            layers, counts, starts = made.model.listen(torch.from_numpy(waveform), torch.from_numpy(lengths))
            logits, embedding, read = made.model.network(layers, counts)
            frames, frame_lengths = on_clip_axis(read, counts, starts, waveform.shape[1], torch.from_numpy(lengths), 640)
        found = runtime.run(waveform, lengths)
        for name, value in {"logits": logits, "frames": frames, "embedding": embedding, "frame_lengths": frame_lengths}.items():
            np.testing.assert_allclose(found[name], value.numpy(), atol=2e-4, err_msg=name)
    (checkpoint,) = list_checkpoints(made.root / "checkpoints.yaml")
    assert checkpoint.name == "tiny" and checkpoint.kinds == (("onnx", "fp16"), ("torchscript", "fp16"))
    assert [part.role for part in checkpoint.files("onnx")] == ["readout", "encoder"]


@pytest.mark.parametrize("system", ["ent", "fent"])
def test_the_entry_and_what_each_file_says_of_itself(exported: Callable[[str], Exported], system: str) -> None:
    made = exported(system)
    (entry,) = yaml.safe_load((made.root / "checkpoints.yaml").read_text(encoding="utf-8"))["checkpoints"]
    assert entry == json.loads(json.dumps(made.entry))
    assert entry["task"] == "transducer" and entry["symbols"][0] == "<blank>" and len(entry["golden"]["logits"]) == 4
    assert entry["state"] == {"layers": 1 if system == "ent" else 2, "width": 12} and entry["frame_hop"] == 0.04
    assert {(part["role"], part["format"]) for part in entry["parts"]} == {
        (role, kind) for role in ROLES for kind in ("onnx", "torchscript")
    }
    for part in entry["parts"]:
        file = made.file(part["role"], part["format"])
        assert (part["size"], part["sha256"]) == (file.stat().st_size, sha256(file))
        if part["format"] == "onnx":
            inside = json.loads({item.key: item.value for item in onnx.load(file).metadata_props}["emoser"])
        else:
            extra = {"emoser.json": ""}
            torch.jit.load(str(file), _extra_files=extra)
            inside = json.loads(extra["emoser.json"])
        assert ("labels" in inside) == (part["role"] != "encoder")  # which may be another checkpoint's too
        assert inside["role"] == part["role"] and {name: entry[name] for name in inside if name != "role"} == {
            name: value for name, value in inside.items() if name != "role"
        }
    record = json.loads((made.records / "tiny.json").read_text())
    assert record["files"]["joint-onnx-fp16"] == sha256(made.file("joint", "onnx")) and record["test"]["pooled"]["clips"] == 15


@pytest.mark.parametrize("system", ["ent", "framewise"])
def test_nothing_inside_names_a_place_on_this_machine(exported: Callable[[str], Exported], system: str) -> None:
    made = exported(system)
    for part in made.entry["parts"]:
        file = made.file(part["role"], part["format"])
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                data = b"".join(archive.read(name) for name in archive.namelist())
            before = file.read_bytes()
            strip_torchscript(file)
            assert file.read_bytes() == before
        else:
            data = file.read_bytes()
        for place in (CLONE, Path(torch.__file__).parent, Path(sys.prefix), made.root):
            assert str(place).encode() not in data
        assert b"site-packages" not in data


def test_formats_that_disagree_are_an_error(exported: Callable[[str], Exported]) -> None:
    made = exported("ent")
    one, other = made.parts("onnx"), made.parts("torchscript")
    compare(one, other, made.model.network.sizes.vocabulary, made.run)
    right = one.joint
    one = replace(one, joint=lambda feeds: {name: value + 0.01 for name, value in right(feeds).items()})
    with pytest.raises(RuntimeError, match="differ by"):
        compare(one, other, made.model.network.sizes.vocabulary, made.run)


def test_a_run_without_test_scores_is_not_exported(exported: Callable[[str], Exported], tmp_path: Path) -> None:
    run = exported("ent").run
    assert isinstance(run.clips, Clips)
    with pytest.raises(FileNotFoundError, match="no test scores yet: python -m training evaluate tiny"):
        scores_of_test(Prepared(run.recipe, run.clips, run.mixtures, run.shelf, run.source, tmp_path))


def test_a_shared_file_does_not_change(exported: Callable[[str], Exported], tmp_path: Path) -> None:
    made = exported("ent")
    shutil.copytree(made.root, tmp_path, dirs_exist_ok=True)
    files = [tmp_path / made.file("encoder", kind).relative_to(made.root) for kind in ("onnx", "torchscript")]
    before = [file.read_bytes() for file in files]
    with unchanged_for_others(*files, tmp_path, "another"):
        files[0].write_bytes(before[0])
    with pytest.raises(RuntimeError, match="a part of tiny too"), unchanged_for_others(*files, tmp_path, "another"):
        files[1].write_bytes(b"other weights")
    assert [file.read_bytes() for file in files] == before
    with unchanged_for_others(*files, tmp_path, "tiny"):  # its own may
        files[1].write_bytes(b"other weights")


def test_a_part_holds_what_it_uses() -> None:
    class Half(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor]:
            return (self.used(x),)

    half = Half()
    x = torch.ones(1, 3)
    expected = half(x)[0]
    drop_unused(half, (x,))
    assert {name: value.numel() for name, value in half.named_parameters()} == {
        "used.weight": 6, "used.bias": 2, "other.weight": 0, "other.bias": 0,
    }  # fmt: skip
    assert torch.equal(half(x)[0], expected)
