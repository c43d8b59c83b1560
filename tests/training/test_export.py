"""A tiny run as files: both runtimes against the module, what is inside, and the package reading them."""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import miniature
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

import emoser
from emoser.adaptation import Adaptation
from emoser.digests import sha256
from emoser.pooling import calibrated
from emoser.registry import list_checkpoints
from emoser.runtimes import Adaptable, Outputs, open_runtime
from training import export
from training.adaptation import reference_of
from training.export import FEWEST_HALVED, rounded_to_half, run_export
from training.graphs import store_as_half, strip_torchscript
from training.loop import logits_of
from training.model import Adjustment, Graph
from training.publish import metrics_of
from training.runs import CLONE, Places, Prepared

LABELS = ("neutral", "happy", "angry", "sad")
KINDS = ("onnx-fp16", "onnx-int8", "torchscript-fp16")


@dataclass
class Exported:
    run: Prepared
    root: Path
    records: Path
    entry: dict[str, Any]
    graph: Graph

    def file(self, kind: str) -> Path:
        (part,) = [part for part in self.entry["parts"] if f"{part['format']}-{part['precision']}" == kind]
        return self.root / part["path"]


@pytest.fixture(scope="module")
def exported(trained: tuple[Prepared, Places], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    run, places = trained
    root, records = tmp_path_factory.mktemp("root"), tmp_path_factory.mktemp("records")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "RECORDS", records)
        patch.setattr(export, "INT8_LOSS", 1.0)  # so that there is an int8 file to look at
        entry = run_export(run.recipe, places, root=root)
    yield Exported(run, root, records, entry, Graph(rounded_to_half(run.trained()), len(LABELS)).eval())


def contents(file: Path) -> bytes:
    """What stands in a file, or in each record of an archive."""
    if not zipfile.is_zipfile(file):
        return file.read_bytes()
    with zipfile.ZipFile(file) as archive:
        return b"".join(archive.read(name) for name in archive.namelist())


def noise(samples: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


def padded(*clips: Tensor) -> tuple[Tensor, Tensor]:
    waveform = torch.zeros(len(clips), max(map(len, clips)))
    for row, clip in zip(waveform, clips, strict=True):
        row[: len(clip)] = clip
    return waveform, torch.tensor([len(clip) for clip in clips])


CLICK = torch.zeros(2_020)
CLICK[2_015] = 0.5

SHAPES = {
    "shortest": padded(noise(1_600)),
    "three": padded(noise(9_601), torch.cat([torch.zeros(5_000), noise(4_001, 1), torch.zeros(3_000)]), noise(1_700, 2)),
    "silence and a click": padded(torch.zeros(4_000), CLICK),
    "longest window": padded(noise(320_000)),
    "nine": padded(*(noise(3_000 + 317 * index, index) for index in range(9))),
}


# the same answer from every file


@pytest.mark.parametrize("kind", ["onnx-fp16", "torchscript-fp16"])
@pytest.mark.parametrize("shape", SHAPES)
def test_files_give_what_the_module_gives(exported: Exported, kind: str, shape: str) -> None:
    waveform, lengths = SHAPES[shape]
    with torch.no_grad():
        expected = exported.graph(waveform, lengths)._asdict()
    found = open_runtime(exported.file(kind), kind.split("-")[0], device="cpu", threads=1).run(waveform.numpy(), lengths.numpy())
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].shape == tuple(value.shape), name
        np.testing.assert_allclose(found[name], value.numpy(), atol=1e-4, rtol=0, err_msg=name)
    assert not np.allclose(found["logits"], 0)


def test_the_int8_file_is_smaller_and_near(exported: Exported) -> None:
    assert exported.file("onnx-int8").stat().st_size < 0.75 * exported.file("onnx-fp16").stat().st_size
    waveform, lengths = SHAPES["nine"]
    found = open_runtime(exported.file("onnx-int8"), "onnx", device="cpu", threads=1).run(waveform.numpy(), lengths.numpy())
    with torch.no_grad():
        expected = exported.graph(waveform, lengths).logits.numpy()
    assert np.abs(calibrated(found["logits"], 1.0) - calibrated(expected, 1.0)).mean() < 0.05
    assert not np.allclose(found["logits"], expected, atol=1e-4)


# what is inside


def test_large_weights_are_stored_as_half_and_the_front_end_exactly(exported: Exported) -> None:
    file = exported.file("onnx-fp16")
    weights = {weight.name: weight for weight in onnx.load(file).graph.initializer}
    large = {name: weight for name, weight in weights.items() if np.prod(weight.dims) >= FEWEST_HALVED}
    exact = {name for name, weight in large.items() if weight.data_type == TensorProto.FLOAT}
    assert {name.rpartition(".")[2] for name in exact} == {"basis", "filters"}
    halves = [weight for weight in large.values() if weight.data_type == TensorProto.FLOAT16]
    matrices = {value.detach().half().numpy().tobytes() for value in exported.graph.parameters() if value.numel() >= FEWEST_HALVED}
    stored = {numpy_helper.to_array(weight).tobytes() for weight in halves}
    stored |= {np.ascontiguousarray(numpy_helper.to_array(weight).T).tobytes() for weight in halves if len(weight.dims) == 2}
    assert len(matrices) > 10 and matrices <= stored
    numbers = exported.entry["parameters"]
    positions = exported.graph.model.encoder.positional_embedding.numel()
    assert file.stat().st_size < 2 * (numbers + positions) + 1_500_000  # the Fourier basis is 0.6 MB


def test_a_torchscript_file_is_of_half_weights_too(exported: Exported) -> None:
    with zipfile.ZipFile(exported.file("torchscript-fp16")) as archive:
        stored = sum(item.file_size for item in archive.infolist() if "/data/" in item.filename)
    positions = exported.graph.model.encoder.positional_embedding.numel()
    assert stored < 2 * exported.entry["parameters"] + 4 * positions + 1_500_000


def test_each_file_describes_itself(exported: Exported) -> None:
    fields = ["name", "task", "labels", "sample_rate", "frame_hop", "longest_window"]
    fields += ["temperature", "revision", "license", "summary", "encoder", "diarization"]
    expected = {field: exported.entry[field] for field in fields}
    assert expected["labels"] == list(LABELS) and expected["frame_hop"] == 0.04
    assert expected["temperature"] == exported.run.record()["temperature"]
    for kind in KINDS:
        opened = open_runtime(exported.file(kind), kind.split("-")[0], device="cpu", threads=1)
        assert dict(opened.metadata) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_inside_names_a_place_on_this_machine(exported: Exported, kind: str) -> None:
    data = contents(exported.file(kind))
    for place in (CLONE, Path(torch.__file__).parent, Path(sys.prefix), exported.root, Path.home()):
        assert len(str(place)) < 4 or str(place).encode() not in data
    assert b"site-packages" not in data and b'File "' not in data  # stack traces
    if kind.startswith("onnx"):
        model = onnx.load(exported.file(kind))
        assert not any(node.doc_string or node.metadata_props for node in model.graph.node)
        assert {item.key for item in model.metadata_props} == {"emoser", "adaptation"}


def test_inputs_and_outputs_are_the_contracts(exported: Exported) -> None:
    session = onnxruntime.InferenceSession(str(exported.file("onnx-fp16")), providers=["CPUExecutionProvider"])
    ports = {port.name: (port.type, port.shape) for port in (*session.get_inputs(), *session.get_outputs())}
    assert [*ports] == ["waveform", "lengths", "logits", "frames", "embedding", "frame_lengths", "pooled"]
    assert {port.name for port in session.get_overridable_initializers()} == {"scale", "shift"}
    assert ports["waveform"] == ("tensor(float)", ["batch", "samples"]) and ports["lengths"] == ("tensor(int64)", ["batch"])
    assert ports["logits"] == ("tensor(float)", ["batch", len(LABELS)])


# the registry and the record


def test_the_registry_entry(exported: Exported) -> None:
    (checkpoint,) = list_checkpoints(exported.root / "checkpoints.yaml")
    assert checkpoint.name == "tiny" and checkpoint.labels == LABELS and checkpoint.recipe == "training/recipes/tiny.yaml"
    assert checkpoint.diarization.differing() == {"window": 2.0}
    assert checkpoint.commercial_use is True and checkpoint.hub is None and checkpoint.languages == ("en", "de")
    assert [f"{part.format}-{part.precision}" for part in checkpoint.parts] == [*KINDS]
    for part in checkpoint.parts:
        file = exported.root / part.path
        assert (part.size, part.sha256) == (file.stat().st_size, sha256(file))
    assert checkpoint.parameters == sum(value.numel() for value in exported.run.trained().parameters())
    test = json.loads((exported.run.folder / "test.json").read_text())
    figures = {metric.corpus: (metric.uar, metric.clips, metric.speakers) for metric in checkpoint.metrics}
    assert figures == {"ravdess": (test["corpora"]["ravdess"]["uar"], 10, 2), "pooled": (test["pooled"]["uar"], 15, 3)}
    assert test["corpora"]["emodb"]["interval"] is None  # of one speaker: no figure


def test_the_golden_logits_are_those_of_the_tone(exported: Exported) -> None:
    tone = miniature.tone()[None]
    found = open_runtime(exported.file("onnx-fp16"), "onnx", device="cpu", threads=1).run(tone, np.array([tone.shape[1]]))
    assert exported.entry["golden"]["input"] == "tone"
    np.testing.assert_allclose(found["logits"][0], exported.entry["golden"]["logits"], atol=1e-4)


def test_the_record_names_the_files_that_were_made(exported: Exported) -> None:
    record = json.loads((exported.records / "tiny.json").read_text())
    assert record["files"] == {f"{part['format']}-{part['precision']}": part["sha256"] for part in exported.entry["parts"]}
    assert record["recipe_sha256"] == exported.run.recipe.checksum() and record["test"]["pooled"]["clips"] == 15


# the package on the files


@pytest.mark.parametrize("kind", KINDS)
def test_the_package_predicts_with_a_file(exported: Exported, kind: str) -> None:
    model = emoser.load(exported.file(kind), device="cpu", threads=1)
    (example, *_) = exported.run.examples.test
    prediction = model(example.file)
    assert set(prediction.scores) == set(LABELS) and sum(prediction.scores.values()) == pytest.approx(1)
    assert prediction.label == max(prediction.scores, key=lambda label: prediction.scores[label])


def test_the_package_finds_it_in_the_registry_and_says_what_training_says(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scores of the test clips, from the waveform in the package and from cached states in training."""
    monkeypatch.setenv("EMOSER_REGISTRY", str(exported.root / "checkpoints.yaml"))
    run = exported.run
    logits = logits_of(run.trained(), run.examples.test, run.features, 0)[:, : len(LABELS)]
    expected = calibrated(logits, run.record()["temperature"])
    model = emoser.load("tiny", device="cpu", threads=1, offline=True)
    for example, row in zip(run.examples.test, expected, strict=True):
        prediction = model(example.file)
        assert prediction.label == LABELS[int(row.argmax())]
        np.testing.assert_allclose([prediction.scores[label] for label in LABELS], row, atol=0.05)
    for options in ({"precision": "int8"}, {"runtime": "torchscript"}):
        assert set(emoser.load("tiny", device="cpu", threads=1, offline=True, **options)(run.examples.test[0].file).scores) == set(LABELS)


# refusals


def test_an_int8_file_that_costs_accuracy_is_not_shipped(exported: Exported) -> None:
    examples = sorted(exported.run.examples.validation, key=lambda example: example.utterance.duration)
    truth = np.eye(len(LABELS), dtype=np.float32)[[example.target for example in examples]]
    wrong = truth.copy()
    wrong[0] = np.roll(wrong[0], 1)

    class Fixed:
        def __init__(self, rows: np.ndarray, alone: bool) -> None:
            self.rows, self.alone = iter(rows), alone

        def run(self, waveform: np.ndarray, lengths: np.ndarray) -> dict[str, np.ndarray]:
            assert len(lengths) == 1 or not self.alone
            return {"logits": np.stack([next(self.rows) for _ in lengths])}

    for small, holds in ((truth, True), (wrong, False)):
        assert export._int8_holds(Fixed(truth, alone=False), Fixed(small, alone=True), exported.run) is holds


def test_files_that_disagree_are_an_error(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (open_runtime(exported.file(kind), kind.split("-")[0]) for kind in ("onnx-fp16", "torchscript-fp16"))
    export.compare(one, other, exported.run.examples.test)
    run = other.run

    def off(waveform: np.ndarray, lengths: np.ndarray) -> Outputs:
        found = run(waveform, lengths)
        found["logits"] += 2e-4
        return found

    monkeypatch.setattr(other, "run", off)
    with pytest.raises(RuntimeError, match="differ by more than"):
        export.compare(one, other, exported.run.examples.test)


def test_a_run_without_test_scores_is_not_exported(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no test scores yet: python -m training evaluate tiny"):
        metrics_of(replace(exported.run, folder=tmp_path))


# the passes over files, on small ones


def product(**weights: np.ndarray) -> onnx.ModelProto:
    """y = x (4, 2) times each weight, one after the other."""
    names = ["x", *(f"y{index}" for index in range(len(weights)))]
    nodes = [helper.make_node("Mul", [names[index], weight], [names[index + 1]]) for index, weight in enumerate(weights)]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 2]) for name in (names[0], names[-1])]
    initializers = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "product", [ports[0]], [ports[1]], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_store_as_half_rounds_weights_of_a_size_and_keeps_those_named() -> None:
    weights = {"scale": np.array(0.1), "few": np.full((4, 1), 0.1), "many": np.full((4, 2), 0.1), "front.basis": np.full((4, 2), 0.1)}
    model = product(**weights)
    store_as_half(model, keep=[".basis"], fewest=5)
    onnx.checker.check_model(model, full_check=True)
    kinds = {weight.name: weight.data_type for weight in model.graph.initializer}
    assert kinds == {
        "scale": TensorProto.FLOAT,
        "few": TensorProto.FLOAT,
        "many.half": TensorProto.FLOAT16,
        "front.basis": TensorProto.FLOAT,
    }
    many = product(many=weights["many"])
    store_as_half(many)
    session = onnxruntime.InferenceSession(many.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.ones((4, 2), np.float32)})
    assert np.array_equal(found, np.full((4, 2), np.float32(np.float16(0.1))))


def test_stripping_a_torchscript_file_leaves_what_it_computes(tmp_path: Path) -> None:
    def twice(x: Tensor) -> Tensor:
        return 2 * x

    file = tmp_path / "twice.ts"
    torch.jit.save(torch.jit.trace(twice, torch.zeros(3)), str(file), _extra_files={"emoser.json": "{}"})
    assert Path(__file__).name.encode() in contents(file)  # or there is nothing to strip
    strip_torchscript(file)
    assert Path(__file__).name.encode() not in contents(file)
    extra = {"emoser.json": ""}
    assert torch.equal(torch.jit.load(str(file), _extra_files=extra)(torch.ones(2)), torch.full((2,), 2.0))
    assert extra["emoser.json"] == b"{}"
    before = file.read_bytes()
    strip_torchscript(file)
    assert file.read_bytes() == before


@pytest.mark.parametrize("kind", KINDS[:2])
def test_an_exported_file_adapts_as_the_module_does(exported: Exported, kind: str) -> None:
    runtime = open_runtime(exported.file(kind), "onnx")
    assert isinstance(runtime, Adaptable) and runtime.reference is not None
    reference = reference_of(exported.run.trained(), exported.run.examples.train, exported.run.features, 4)
    np.testing.assert_allclose(runtime.reference.means, reference.means, atol=2e-2)
    waveform, lengths = padded(noise(16_000), noise(9_000, seed=1))
    with torch.no_grad():
        plain, pooled = exported.graph.run(waveform, lengths)
    logits, vectors = runtime.pooled(waveform.numpy(), lengths.numpy())
    tolerance = 1e-4 if kind == "onnx-fp16" else 0.5
    np.testing.assert_allclose(vectors, pooled.numpy(), atol=tolerance)
    np.testing.assert_allclose(logits, plain.logits.numpy(), atol=tolerance)
    random = np.random.default_rng(0)
    width = vectors.shape[1]
    moved = Adaptation(
        random.uniform(0.5, 2.0, width).astype(np.float32), random.normal(0, 0.5, width).astype(np.float32), clips=30, evenness=1.0
    )
    outputs = runtime.adapted(moved).run(waveform.numpy(), lengths.numpy())
    with torch.no_grad():
        expected, _ = exported.graph.run(waveform, lengths, Adjustment(torch.from_numpy(moved.scale), torch.from_numpy(moved.shift)))
    assert not np.allclose(expected.logits.numpy(), plain.logits.numpy(), atol=0.05)
    for name in ("logits", "frames", "embedding"):
        np.testing.assert_allclose(outputs[name], getattr(expected, name).numpy(), atol=10 * tolerance, err_msg=name)
    np.testing.assert_array_equal(runtime.run(waveform.numpy(), lengths.numpy())["logits"], logits)
