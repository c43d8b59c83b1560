"""A tiny run over a frozen encoder as an encoder's and a read-out's file: what the whole graph gives, shared, adapted, saved."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import yaml
from accelerate.state import AcceleratorState
from onnx import numpy_helper
from waves import batch, noise

import emoser
from emoser.adaptation import Adaptation
from emoser.audio import tone
from emoser.batching import GROUP_SECONDS
from emoser.cli.checkup import _checkpoints
from emoser.errors import CheckpointError, ChecksumMismatch
from emoser.models.several import predict_with
from emoser.registry import find, list_checkpoints
from emoser.resolving import resolve
from emoser.runtimes import Adaptable, Runtime, open_runtime, sharing
from emoser.runtimes.onnx import OnnxGraph
from emoser.runtimes.parts import open_part
from emoser.runtimes.readouts import open_parts
from training import export
from training.ensemble import run_ensemble
from training.int8 import rounded_to_int8
from training.model import Adjustment, Graph
from training.recipe import Recipe, RecipeError
from training.runs import CLONE, Places, Prepared, finished, prepare, run_evaluate, run_fit

FROZEN = ("model.frozen_blocks=2", "model.first_layer=1", "model.statistics=8")
FORMATS = ("onnx", "torchscript")


@dataclass
class Exported:
    run: Prepared
    root: Path
    records: Path
    graph: Graph

    def runtime(self, kind: str) -> Runtime:
        folder, suffix = self.root / "checkpoints" / kind, {"onnx": "onnx", "torchscript": "ts"}[kind]
        return open_parts(folder / f"whisper-encoder.{suffix}", folder / f"frozen-readout.{suffix}", kind, frame=640, threads=1)


# In a process of its own, as `python -m training export` runs: what was traced before shows in names inside a TorchScript file.
EXPORT = """
import json, sys
from pathlib import Path
from training import export
from training.recipe import read_recipe
from training.runs import Places

recipe, root, records, places = json.loads(sys.argv[1])
export.RECORDS = Path(records)
export.INT8_LOSS = 1.0  # so that there are int8 files to look at
export.run_export(read_recipe(recipe), Places(**{name: Path(path) for name, path in places.items()}, workers=1), root=Path(root))
"""


def exported_alone(recipe: Recipe, places: Places, root: Path, records: Path) -> None:
    file = root / f"{recipe.name}.yaml"
    file.write_text(yaml.safe_dump(json.loads(json.dumps(recipe.to_dict()))), encoding="utf-8")
    folders = {name: str(getattr(places, name)) for name in ("runs", "cache", "corpora", "weights")}
    given = json.dumps([str(file), str(root), str(records), folders])
    subprocess.run([sys.executable, "-c", EXPORT, given], cwd=CLONE, check=True, capture_output=True, text=True)


@pytest.fixture(scope="module")
def exported(tree: Path, cache: Path, tiny: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """Two checkpoints over the frozen encoder of the start weights: `frozen`, with a whole file of int8 too, and `other`, whose read-out is
    stored as int8."""
    runs, root, records = (tmp_path_factory.mktemp(name) for name in ("runs", "root", "records"))
    places = Places(runs=runs, cache=cache, corpora=tree / "corpora", weights=tree / "weights", workers=1)
    for step in (run_fit, run_evaluate):
        AcceleratorState._reset_state(reset_partial_state=True)
        step(tiny(*FROZEN, name="frozen"), places)
    shutil.copytree(runs / "frozen", runs / "other")
    weights = torch.load(runs / "other" / "weights.pt", weights_only=True)
    weights["head.classifier.bias"] += torch.arange(len(weights["head.classifier.bias"]))
    torch.save(weights, runs / "other" / "weights.pt")
    for name, how in (("frozen", "register.whole=int8"), ("other", "register.readout=int8")):
        exported_alone(tiny(*FROZEN, how, name=name), places, root, records)
    run = prepare(tiny(*FROZEN, name="frozen"), places)
    return Exported(run, root, records, Graph(export.rounded_to_half(run.trained()), 4).eval())


@pytest.fixture
def registry(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EMOSER_REGISTRY", str(exported.root / "checkpoints.yaml"))
    return exported.root / "checkpoints.yaml"


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Clips in each batch that an encoder is really run on."""
    calls: list[int] = []
    run = OnnxGraph.__call__

    def counted(self: OnnxGraph, feeds: dict[str, Any]) -> dict[str, Any]:
        if "waveform" in feeds:
            calls.append(len(feeds["lengths"]))
        return run(self, feeds)

    monkeypatch.setattr(OnnxGraph, "__call__", counted)
    return calls


silence = np.zeros
SHAPES = (
    batch(noise(1_600)),
    batch(noise(9_601), np.concatenate([silence(5_000), noise(4_001, 1), silence(3_000)]).astype(np.float32), noise(1_700, 2)),
    batch(silence(4_000).astype(np.float32), noise(8_000)),
)


def moved(width: int) -> Adaptation:
    random = np.random.default_rng(0)
    return Adaptation(
        random.uniform(0.5, 2.0, width).astype(np.float32), random.normal(0, 0.5, width).astype(np.float32), clips=30, evenness=1.0
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_both_files_give_what_the_whole_graph_gives(exported: Exported, kind: str) -> None:
    runtime = exported.runtime(kind)
    for waveform, lengths in SHAPES:
        with torch.no_grad():
            expected = exported.graph(torch.from_numpy(waveform), torch.from_numpy(lengths))._asdict()
        found = runtime.run(waveform, lengths)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name].shape == tuple(value.shape) and found[name].dtype == value.numpy().dtype, name
            np.testing.assert_allclose(found[name], value.numpy(), atol=1e-5 if kind == "torchscript" else 1e-4, err_msg=name)
    assert np.abs(found["logits"]).max() > 0.01


def test_the_entry_and_the_record_name_each_file(exported: Exported, registry: Path) -> None:
    frozen, other = list_checkpoints()
    assert frozen.kinds == (("onnx", "fp16"), ("torchscript", "fp16"), ("onnx", "int8"))
    assert other.kinds == (("onnx", "int8"), ("torchscript", "int8"))
    for kind in FORMATS:
        (readout, encoder), theirs = frozen.files(kind), other.files(kind)
        assert (readout.role, encoder.role) == ("readout", "encoder")
        assert encoder == theirs[1] and readout != theirs[0]
        assert encoder.size > 3 * readout.size > 4 * theirs[0].size
    files = json.loads((exported.records / "frozen.json").read_text())["files"]
    assert set(files) == {f"{role}-{kind}-fp16" for role in ("encoder", "readout") for kind in FORMATS} | {"onnx-int8"}
    assert files["readout-onnx-fp16"] == frozen.files("onnx")[0].sha256


@pytest.mark.parametrize("kind", FORMATS)
def test_the_package_loads_both_files_by_name(exported: Exported, registry: Path, kind: str) -> None:
    model = emoser.load("frozen", runtime=kind, threads=1, offline=True)
    found = resolve("frozen", runtime=kind)
    assert model.precision == "fp16" and [role for role, _ in found.others] == ["encoder"]
    assert model.sha256 == found.sha256 not in [part.sha256 for part in find("frozen").parts]
    clip = exported.run.examples.test[0].file
    assert model(clip).label in model.labels and model.embed(clip).vector.shape == (384,)
    waveform = tone()[None]
    np.testing.assert_allclose(
        model.opened.run(waveform, np.array([waveform.shape[1]]))["logits"][0], find("frozen").golden.logits, atol=1e-4
    )


def test_the_whole_file_of_int8_is_near(exported: Exported, registry: Path) -> None:
    model = emoser.load("frozen", precision="int8", threads=1)
    assert model.precision == "int8" and resolve("frozen", precision="int8").others == ()
    waveform, lengths = SHAPES[1]
    found, exact = model.opened.run(waveform, lengths), exported.runtime("onnx").run(waveform, lengths)
    assert np.abs(found["logits"] - exact["logits"]).mean() < 0.2 and not np.array_equal(found["logits"], exact["logits"])
    assert isinstance(model.opened, Adaptable) and model.opened.reference is not None


def test_a_read_out_of_int8_is_the_rounded_module(exported: Exported, registry: Path) -> None:
    weights = torch.load(exported.run.folder.parent / "other" / "weights.pt", weights_only=True)
    model = exported.run.trained()
    model.load_state_dict(weights)
    graph = Graph(rounded_to_int8(export.rounded_to_half(model), export.FEWEST_HALVED), 4).eval()
    waveform, lengths = SHAPES[1]
    with torch.no_grad():
        expected = graph(torch.from_numpy(waveform), torch.from_numpy(lengths)).logits.numpy()
    for kind in FORMATS:
        opened = emoser.load("other", runtime=kind, threads=1).opened
        np.testing.assert_allclose(opened.run(waveform, lengths)["logits"], expected, atol=1e-4)
    # both formats hold the same whole numbers; the exporter to ONNX has turned some matrices
    files = {path.suffix: path for kind in FORMATS for path in resolve("other", runtime=kind).files if "readout" in path.name}
    whole = [weight for weight in onnx.load(files[".onnx"]).graph.initializer if weight.data_type == onnx.TensorProto.INT8]
    stored = files[".ts"].read_bytes()
    arrays = [numpy_helper.to_array(weight) for weight in whole]
    assert arrays and all(array.tobytes() in stored or array.T.tobytes() in stored for array in arrays)


def test_a_read_out_of_int8_that_costs_accuracy_is_refused(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    export._check_readout(exported.run, exported.run.trained())
    worse = exported.run.trained()
    with torch.no_grad():
        worse.head.classifier.bias[0] += 100
    with pytest.raises(RuntimeError, match=r"points of UAR on validation speakers: register\.readout must be fp16"):
        export._check_readout(exported.run, worse)


def test_what_is_stored_how(tiny: Callable[..., Recipe]) -> None:
    assert export.stored_as(tiny()) == ("fp16", False)
    assert export.stored_as(tiny("register.readout=int8")) == ("int8", False)
    for overrides, says in (
        (["register.readout=int4"], "fp16 or int8"),
        (["register.whole=fp16"], "int8 or left out"),
        (["register.readout=int8", "register.whole=int8"], "told apart"),
    ):
        with pytest.raises(RecipeError, match=says):
            export.stored_as(tiny(*overrides))
    with pytest.raises(RecipeError, match="not wholly frozen"):
        export.run_export(tiny("register.readout=int8"), Places())


def test_blocks_that_a_run_trained_are_an_encoders_file_too(
    tiny: Callable[..., Recipe], places: Places, tmp_path: Path, accelerate_anew: None
) -> None:
    recipe = tiny("register.parts=true", "model.statistics=8", "schedule.steps=2", "schedule.evaluate_every=2", name="own")
    run_fit(recipe, places)
    run_evaluate(recipe, places)
    entry = export.run_export(recipe, places, root=tmp_path / "root", record=False)
    assert [part["path"].rsplit("/", 1)[1] for part in entry["parts"] if part["format"] == "onnx"] == [
        "own-encoder.onnx",
        "own-readout.onnx",
    ]
    folder = tmp_path / "root" / "checkpoints" / "onnx"
    opened = open_parts(folder / "own-encoder.onnx", folder / "own-readout.onnx", "onnx", frame=640, threads=1)
    prepared = prepare(finished(recipe), places)
    graph = Graph(export.rounded_to_half(prepared.trained()), len(recipe.data.labels)).eval()
    waveform, lengths = export.padded(prepared.examples.test[:3])
    with torch.no_grad():
        expected = graph(torch.from_numpy(waveform), torch.from_numpy(lengths))
    found = opened.run(waveform, lengths)
    for name in ("logits", "frames", "embedding", "frame_lengths"):
        np.testing.assert_allclose(found[name], getattr(expected, name).numpy(), atol=1e-5)


def test_what_an_encoder_is_called(tiny: Callable[..., Recipe]) -> None:
    assert export.encoder_name(tiny(*FROZEN)) == "whisper-encoder"
    assert export.encoder_name(tiny(*FROZEN, "model.encoder_of=tiny")) == "tiny-encoder"
    assert export.encoder_name(tiny(*FROZEN, "model.start=mine.npz", name="own")) == "own-encoder"
    assert export.encoder_text(tiny(*FROZEN).model) == "Whisper tiny.en front end and 2 blocks, 2 of them frozen"
    assert export.encoder_text(tiny(*FROZEN, "model.encoder_of=tiny").model).endswith("2 blocks, as tiny trained them")


def test_several_models_run_a_shared_encoder_once(registry: Path, encoded: list[int]) -> None:
    sounds = [noise(8_000 + 500 * index, index) for index in range(6)]
    models = [emoser.load(name, threads=1) for name in ("frozen", "other")]
    together = list(predict_with(models, sounds, batch_size=2))
    assert encoded == [2, 2, 2]
    assert [found.model for found in together] == ["frozen", "other"] * 6  # type: ignore[union-attr]
    frozen = models[0]
    del models
    encoded.clear()
    alone = [frozen.predict(sounds, batch_size=2) for _ in range(2)]
    assert encoded == [2, 2, 2] * 2, "one model alone remembers nothing"
    assert [found.scores for found in alone[0]] == [found.scores for found in together[::2]]  # type: ignore[union-attr]


def test_an_ensemble_runs_a_shared_encoder_once(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoded: list[int]
) -> None:
    shutil.copytree(exported.root, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("EMOSER_REGISTRY", str(tmp_path / "checkpoints.yaml"))
    run_ensemble("both", ["frozen", "other"], tmp_path)
    encoded.clear()
    model = emoser.load("both", threads=1)
    scores = model(noise(16_000)).scores
    assert encoded == [1]
    single = [emoser.load(name, threads=1)(noise(16_000)).scores for name in ("frozen", "other")]
    for label, share in scores.items():
        assert share == pytest.approx((single[0][label] + single[1][label]) / 2, abs=1e-5)


def test_an_ensemble_has_its_members_settings_and_the_figures_that_were_measured_of_it(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(exported.root, tmp_path, dirs_exist_ok=True)
    registry = tmp_path / "checkpoints.yaml"
    monkeypatch.setenv("EMOSER_REGISTRY", str(registry))
    content = yaml.safe_load(registry.read_text())
    for entry in content["checkpoints"]:
        entry["diarization"] = {"window": 2.0, "hop": 0.5}
    registry.write_text(yaml.safe_dump(content))
    assert run_ensemble("both", ["frozen", "other"], tmp_path)["metrics"] == []
    model = emoser.load("both")
    assert model.checkpoint.diarization.window == 2.0

    one, all_clips = ({"uar": uar, "interval": [0.5, 0.9], "clips": clips, "speakers": 3} for uar, clips in ((0.75, 10), (0.7, 15)))
    alone = {"uar": 1.0, "interval": None, "clips": 5, "speakers": 1}
    scores = {"corpora": {"emodb": one, "tess": alone}, "pooled": all_clips}
    figures = tmp_path / "both.json"
    figures.write_text(json.dumps({"system": {"sha256": model.sha256}, "scores": scores}))
    run_ensemble("both", ["frozen", "other"], tmp_path, figures=figures)
    assert [(metric.corpus, metric.uar) for metric in emoser.load("both").checkpoint.metrics] == [("emodb", 0.75), ("pooled", 0.7)]

    figures.write_text(json.dumps({"system": {"sha256": "0" * 64}, "scores": scores}))
    before = registry.read_text()
    with pytest.raises(CheckpointError, match="measured with other files"):
        run_ensemble("both", ["frozen", "other"], tmp_path, figures=figures)
    assert registry.read_text() == before

    content["checkpoints"][0]["diarization"] = {"window": 3.0, "hop": 0.5}
    registry.write_text(yaml.safe_dump(content))
    assert "diarization" not in run_ensemble("both", ["frozen", "other"], tmp_path), "they agree on none"


def test_what_is_remembered_is_bounded(registry: Path, encoded: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    assert sharing.REMEMBERED_SECONDS > GROUP_SECONDS
    monkeypatch.setattr(sharing, "REMEMBERED_SECONDS", 3)
    first, second = (emoser.load(name, threads=1).opened for name in ("frozen", "other"))
    batches = [batch(noise(16_000, seed)) for seed in range(4)]
    for each in batches:
        first.run(*each)
    assert len(encoded) == 4
    for each in reversed(batches):
        second.run(*each)
    assert len(encoded) == 5, "the oldest was forgotten"
    longer = batch(np.append(batches[3][0][0], np.zeros(1, np.float32)))
    second.run(longer[0], batches[3][1])
    assert len(encoded) == 6, "another padding is another batch"


def test_threads_may_ask_at_once(registry: Path) -> None:
    models = [emoser.load(name, threads=1).opened for name in ("frozen", "other")]
    batches = [batch(noise(8_000, seed)) for seed in range(4)]
    expected = [[model.run(*each)["logits"] for each in batches] for model in models]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            found = list(pool.map(lambda pair: pair[0].run(*pair[1])["logits"], [(model, each) for model in models for each in batches]))
            for one, other in zip(found, [logits for each in expected for logits in each], strict=True):
                np.testing.assert_array_equal(one, other)


# adaptation


def test_parts_adapt_as_the_module_does(exported: Exported) -> None:
    runtime = exported.runtime("onnx")
    assert isinstance(runtime, Adaptable) and runtime.reference is not None
    assert not isinstance(exported.runtime("torchscript"), Adaptable)
    waveform, lengths = SHAPES[1]
    with torch.no_grad():
        plain, vectors = exported.graph.run(torch.from_numpy(waveform), torch.from_numpy(lengths))
    move = moved(vectors.shape[1])
    by = Adjustment(torch.from_numpy(move.scale), torch.from_numpy(move.shift))
    with torch.no_grad():
        expected, _ = exported.graph.run(torch.from_numpy(waveform), torch.from_numpy(lengths), by)
    adapted = runtime.adapted(move)
    outputs = adapted.run(waveform, lengths)
    for name in ("logits", "frames", "embedding"):
        np.testing.assert_allclose(outputs[name], getattr(expected, name).numpy(), atol=1e-3, err_msg=name)
    for each in (runtime, adapted):  # what an adaptation is made from is that of the file
        logits, pooled = each.pooled(waveform, lengths)
        np.testing.assert_allclose(logits, plain.logits.numpy(), atol=1e-4)
        np.testing.assert_allclose(pooled, vectors.numpy(), atol=1e-4)
    with pytest.raises(CheckpointError, match="made for another one"):
        runtime.adapted(moved(5))


def test_a_saved_folder_has_both_files(registry: Path, tmp_path: Path) -> None:
    model = emoser.load("frozen", threads=1)
    runtime = model.opened
    assert isinstance(runtime, Adaptable) and runtime.reference is not None
    adapted = model.adapted(moved(len(runtime.reference.deviation)))
    adapted.save(tmp_path / "mine")
    again = emoser.load(tmp_path / "mine", threads=1)
    sounds = [noise(9_000, seed) for seed in range(3)]
    assert again(sounds) == adapted(sounds) != model(sounds) and (again.name, again.sha256) == (adapted.name, adapted.sha256)
    parts = yaml.safe_load((tmp_path / "mine" / "checkpoint.yaml").read_text())["parts"]
    assert [(part["role"], part["path"]) for part in parts] == [
        ("readout", "frozen-readout.onnx"),
        ("encoder", "whisper-encoder.onnx"),
        ("adaptation", "adaptation.npz"),
    ]
    again.save(tmp_path / "mine")  # over itself
    assert emoser.load(tmp_path / "mine", threads=1).sha256 == adapted.sha256


# what is wrong


def test_a_file_of_another_role_is_refused(exported: Exported) -> None:
    folders = exported.root / "checkpoints"
    with pytest.raises(CheckpointError, match=r"whisper-encoder.onnx is not the readout of a checkpoint: its inputs are waveform"):
        open_part("readout", folders / "onnx" / "whisper-encoder.onnx", "onnx")
    with pytest.raises(CheckpointError, match=r"whisper-encoder.ts is the encoder of a checkpoint, not its readout"):
        open_part("readout", folders / "torchscript" / "whisper-encoder.ts", "torchscript")
    for kind, suffix in (("onnx", "onnx"), ("torchscript", "ts")):
        with pytest.raises(CheckpointError, match="is the readout of a checkpoint of several files; give"):
            open_runtime(folders / kind / f"frozen-readout.{suffix}", kind)


@pytest.mark.parametrize("stem", ["frozen-readout", "whisper-encoder"])
def test_a_damaged_part_is_found(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stem: str) -> None:
    shutil.copytree(exported.root, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("EMOSER_REGISTRY", str(tmp_path / "checkpoints.yaml"))
    file = tmp_path / "checkpoints" / "onnx" / f"{stem}.onnx"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(ChecksumMismatch, match=stem):
        emoser.load("frozen")
    wrong = [check.name for check in _checkpoints() if check.status == "error"]
    owners = ["frozen", "other"] if stem == "whisper-encoder" else ["frozen"]
    assert wrong == [f"{name} {stem.rpartition('-')[2]}" for name in owners]


def test_doctor_compares_what_both_files_give(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = yaml.safe_load((exported.root / "checkpoints.yaml").read_text())
    data["checkpoints"][1]["golden"]["logits"][0] += 0.1
    shutil.copytree(exported.root, tmp_path, dirs_exist_ok=True)
    (tmp_path / "checkpoints.yaml").write_text(yaml.safe_dump(data))
    monkeypatch.setenv("EMOSER_REGISTRY", str(tmp_path / "checkpoints.yaml"))
    checks = {check.name: check for check in _checkpoints()}
    assert checks["frozen"].status == "ok" and "both parts together" in checks["frozen"].value
    assert checks["other"].status == "error" and "off the known values" in checks["other"].value


def test_labels_that_are_not_those_of_the_file(exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = yaml.safe_load((exported.root / "checkpoints.yaml").read_text())
    data["checkpoints"][0]["labels"].reverse()
    shutil.copytree(exported.root, tmp_path, dirs_exist_ok=True)
    (tmp_path / "checkpoints.yaml").write_text(yaml.safe_dump(data))
    monkeypatch.setenv("EMOSER_REGISTRY", str(tmp_path / "checkpoints.yaml"))
    with pytest.raises(CheckpointError, match=r"frozen-readout\.onnx: labels"):
        emoser.load("frozen")
