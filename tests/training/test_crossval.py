"""Cross-validation on a tree of a few dozen clips: what trains on what, what is kept, and what the report says."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from training import crossval
from training.__main__ import main
from training.adaptation import adapted_logits, reference_of
from training.crossval import FoldScores, Protocol, run_crossval
from training.data import Examples
from training.loop import logits_of, pooled_clips
from training.recipe import Recipe, RecipeError
from training.report import markdown, report, scored
from training.runs import Places, Prepared, prepare

pytestmark = pytest.mark.usefixtures("accelerate_anew")
FROZEN = ("model.frozen_blocks=2", "model.first_layer=1", "model.statistics=8", "schedule.steps=2", "schedule.evaluate_every=2")
PLAIN = Protocol("emodb", "leave-one-speaker-out", seeds=(1,))


@pytest.fixture(scope="module")
def done(tree: Path, cache: Path, tiny: Callable[..., Recipe], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two folds of emodb, frozen, two seeds. Shared: do not change it."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    places = Places(tmp_path_factory.mktemp("crossval"), cache, tree / "corpora", tree / "weights", workers=1)
    recipe = tiny(*FROZEN)
    protocol = replace(PLAIN, seeds=(1, 2), only=("1", "2"))
    return recipe, places, protocol, *run_crossval(recipe, places, protocol)


def test_folds_seeds_and_labels(done: Any) -> None:
    _, _, _, labels, scores, folder, folds = done
    assert labels == ("neutral", "happy", "angry", "sad", "fear", "boredom")  # the corpus's own word where there is none of ours
    assert [(fold.seed, fold.fold) for fold in scores] == [(1, "1-03"), (1, "2-08"), (2, "1-03"), (2, "2-08")]
    for fold in scores:
        assert fold.logits.shape == fold.adapted.shape == (7, 6) and sorted(set(fold.targets.tolist())) == list(range(6))
        assert set(fold.speakers) == {f"emodb/{fold.fold.split('-')[1]}"}
        assert not np.allclose(fold.logits, fold.adapted)
    assert not np.allclose(scores[0].logits, scores[2].logits)  # another seed
    assert folder.name == "emodb-leave-one-speaker-out"
    assert folds == ("1-03", "2-08", "3-09", "4-10")


def test_finished_folds_are_kept(done: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe, places, protocol, _, scores, *_ = done

    def no_fit(*_: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(crossval, "fit", no_fit)
    again = run_crossval(recipe, places, protocol).scores
    for first, second in zip(scores, again, strict=True):
        assert np.array_equal(first.logits, second.logits) and first.temperature == second.temperature
    with pytest.raises(RecipeError, match="of another recipe"):
        run_crossval(replace(recipe, schedule=replace(recipe.schedule, steps=3)), places, protocol)
    with pytest.raises(AssertionError, match="trained again"):
        run_crossval(recipe, places, replace(protocol, only=("3",)))


def test_a_report_holds_every_fold_and_both_columns(done: Any, tmp_path: Path) -> None:
    recipe, _, protocol, labels, scores, *_ = done
    found = report(recipe, protocol, labels, scores, tmp_path)
    assert json.loads((tmp_path / "report.json").read_text())["protocol"] == protocol.name
    for column, field in (("plain", "logits"), ("adapted", "adapted")):
        right = np.mean([np.mean(getattr(fold, field).argmax(1) == fold.targets) for fold in scores])
        assert found[column]["pooled"]["wa"]["value"] == pytest.approx(right)
        assert found[column]["pooled"]["groups"] == 2 and found[column]["pooled"]["clips"] == 28
        suffix = "" if column == "plain" else "-adapted"
        rows = list(csv.reader((tmp_path / f"confusion{suffix}.csv").open()))
        assert rows[0] == ["said", *labels]
        assert [list(map(int, row[1:])) for row in rows[1:]] == found[column]["pooled"]["confusion"]
        assert (tmp_path / f"confusion{suffix}.png").read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "report.md").read_text()
    assert "| 1-03 | 14 | 1 |" in text and "| **all clips** | 28 | 2 |" in text and "SD over seeds" in text
    assert "upper bound" not in text
    assert "upper bound" in markdown(found | {"select": "test-as-published"})


def test_a_report_of_one_fold_or_seed_holds_what_was_finished_before_and_says_what_is_missing(done: Any, tmp_path: Path) -> None:
    recipe, places, protocol, labels, scores, _, folds = done
    for part in (replace(protocol, only=("2",)), replace(protocol, seeds=(2,)), replace(protocol, seeds=(1,), only=("1-03",))):
        again = run_crossval(recipe, places, part)
        assert [(fold.seed, fold.fold) for fold in again.scores] == [(fold.seed, fold.fold) for fold in scores] and again.folds == folds
    found = report(recipe, protocol, labels, scores[:3], tmp_path, folds)
    assert found["missing"] == {"1": ["3-09", "4-10"], "2": ["2-08", "3-09", "4-10"]}
    text = (tmp_path / "report.md").read_text()
    assert "**Not all folds are finished: seed 1 lacks 3-09, 4-10; seed 2 lacks 2-08, 3-09, 4-10. The figures" in text
    report(recipe, protocol, labels, scores, tmp_path, ["1-03", "2-08"])
    assert "Not all folds" not in (tmp_path / "report.md").read_text()


def test_selection_as_published_is_named_and_sees_the_test_clips(
    tiny: Callable[..., Recipe], places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Examples] = []

    def spy(prepared: Prepared, name: str, as_published: bool) -> FoldScores:
        seen.append(prepared.examples)
        count = len(prepared.examples.test)
        empty = np.zeros((count, 6), np.float32)
        targets = np.array([example.target for example in prepared.examples.test])
        return FoldScores(name, 1, empty, empty, targets, np.array(["x"] * count), np.array(["f"] * count), 1.0)

    monkeypatch.setattr(crossval, "train_and_test", spy)
    recipe = tiny(*FROZEN)
    run_crossval(recipe, places, replace(PLAIN, only=("1",)))
    folder = run_crossval(recipe, places, replace(PLAIN, only=("1",), select="test-as-published")).folder
    assert folder.name.endswith("selected-on-test-as-published")
    run_crossval(recipe, places, replace(PLAIN, only=("1",), multi_corpus="beside"))
    blind_folder = run_crossval(recipe, places, replace(PLAIN, only=("1",), select="nothing")).folder
    assert blind_folder.name == "emodb-leave-one-speaker-out-nothing-selected"
    honest, published, multi, blind = seen
    speakers = [{example.speaker for example in part} for part in (honest.train, honest.validation, honest.test)]
    assert not speakers[0] & speakers[1] and not (speakers[0] | speakers[1]) & speakers[2]
    assert published.validation == published.test == honest.test
    assert {example.speaker for example in published.train} == speakers[0] | speakers[1]
    # the other corpus's training speakers, and the labels that only it has after the corpus's own
    assert {example.speaker for example in multi.train} == speakers[0] | {"ravdess/01", "ravdess/03"}
    assert {example.target for example in multi.train if example.corpus == "ravdess"} == {0, 1, 2, 3, 4, 6}
    assert multi.validation == honest.validation
    assert blind.validation == () and blind.train == (*honest.train, *honest.validation) and blind.test == honest.test


def test_with_nothing_selected_the_last_step_is_kept_and_nothing_calibrated(tiny: Callable[..., Recipe], places: Places) -> None:
    recipe = tiny(*FROZEN, "schedule.evaluate_every=1")
    _, (scores,), folder, _ = run_crossval(recipe, places, replace(PLAIN, only=("1",), select="nothing"))
    assert scores.temperature == 1.0 and np.isfinite(scores.logits).all()
    record = json.loads((folder / "seed-1" / "fold-1-03" / "record.json").read_text(encoding="utf-8"))
    assert record["kept_step"] == 2 and record["clips"] == {"train": {"emodb": 21}, "validation": {}, "test": {"emodb": 7}}


def test_a_frozen_model_reads_the_cached_layers_as_it_reads_the_waveform(done: Any, tiny: Callable[..., Recipe], places: Places) -> None:
    prepared = prepare(tiny(*FROZEN), places)
    example = prepared.examples.test[0]
    state = prepared.features.get(example, 0)
    assert state.shape[1] == 2 * 384  # after blocks 1 and 2
    model = prepared.model().eval()
    from training.data import read

    samples = torch.from_numpy(read(example.file))[None]
    with torch.no_grad():
        direct = model(samples, torch.tensor([samples.shape[1]]))[0].numpy()
    np.testing.assert_allclose(logits_of(model, [example], prepared.features, 0), direct, atol=2e-2)
    # the cache of the ordinary recipe is another, under the name that it always had
    plain = prepare(tiny(), places)
    assert plain.source.key != prepared.source.key == replace(prepared.source, first_layer=1).key
    assert plain.source.key == replace(plain.source, first_layer=1).key  # the last frozen layer alone, said twice


def test_adapted_logits_follow_the_group(done: Any, tiny: Callable[..., Recipe], places: Places) -> None:
    prepared = prepare(tiny(*FROZEN), places)
    model, test = prepared.model(), prepared.examples.test
    reference = reference_of(model, prepared.examples.train, prepared.features, 4)
    pooled = pooled_clips(model, test, prepared.features)
    assert pooled.vector.shape == (len(test), model.vector_width) and reference.means.shape == (4, model.vector_width)
    speakers = np.array([example.speaker for example in test])
    whole = adapted_logits(model, pooled, speakers, reference, 4, 1.0)
    chosen = speakers == speakers[0]
    part = pooled_clips(model, [example for example, keep in zip(test, chosen, strict=True) if keep], prepared.features)
    np.testing.assert_allclose(adapted_logits(model, part, speakers[chosen], reference, 4, 1.0), whole[chosen], atol=1e-4)
    plain = logits_of(model, test, prepared.features, 0)[:, :4]
    assert not np.allclose(whole, plain, atol=1e-3)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))])
def test_a_model_is_adapted_and_corrected_where_it_is(tiny: Callable[..., Recipe], places: Places, device: str) -> None:
    prepared = prepare(tiny(*FROZEN), places)
    model, test = prepared.model(), prepared.examples.test
    reference = reference_of(model, prepared.examples.train, prepared.features, 4)
    pooled = pooled_clips(model, test, prepared.features)
    arguments = (np.array([example.speaker for example in test]), reference, 4, 1.0)
    expected = adapted_logits(model, pooled, *arguments)
    model.to(device)
    moves: list[torch.device] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.Module, "cpu", lambda self: moves.append(torch.device("cpu")) or self)
        found = adapted_logits(model, pooled, *arguments)
    assert not moves and {parameter.device.type for parameter in model.parameters()} == {device}
    np.testing.assert_allclose(found, expected, atol=1e-3)
    before = logits_of(model, test, prepared.features, 0)
    model.add_offsets(torch.tensor([1.0, -2.0]))
    np.testing.assert_allclose(
        logits_of(model, test, prepared.features, 0)[:, :3] - before[:, :3], [[1.0, -2.0, 0.0]] * len(test), atol=1e-4
    )


def test_the_command(done: Any, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--corpora", str(tree / "corpora"), "--weights", str(tree / "weights"), "--runs", str(tmp_path)]
    assert main(["crossval", "shiftcnn", "--corpus", "emodb", "--folds", "sessions", *where]) == 1
    assert main(["crossval", "shiftcnn", "--corpus", "emodb", "--folds", "speakers", "--labels", "glee", "sad", *where]) == 2
    assert "no clip of emodb is labelled glee" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["crossval", "shiftcnn", "--corpus", "emodb", "--folds", "random", *where])


def test_scores_pool_clips_of_all_folds(done: Any) -> None:
    scores = done[4]
    assert scored(scores, "logits").clips == 28 and scored(scores[:1], "logits").uar.interval is None
