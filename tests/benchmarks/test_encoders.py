"""Encoders compared on validation speakers, over a tiny tree: what runs, what is kept and refused, what the file and the page say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("sklearn")
pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("av")

from benchmarks.accuracy import scoring
from benchmarks.accuracy.scoring import Truth, write_to
from benchmarks.encoders import page, results
from benchmarks.encoders.__main__ import main
from benchmarks.encoders.collect import collect
from benchmarks.encoders.results import Answers, Clips
from benchmarks.encoders.run import run
from benchmarks.encoders.variants import PREFIX, Variant, variants
from emoser.metrics import unweighted_average_recall
from training.loop import logits_of
from training.recipe import RecipeError
from training.runs import Places, prepare

from ..training.conftest import TINY, accelerate_anew, cache, places, tree  # noqa: F401  # fixtures

SHORT = {"steps": 2, "evaluate_every": 2, "keep": "last", "statistics_steps": 2, "apart": True, "batch_size": 8}


@pytest.fixture
def known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Variant]:
    """Two heads, one of them on the encoder of another run, and a ridge classifier; a result file and a page of their own."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY), encoding="utf-8")
    common = {"recipe": str(tmp_path / "tiny.yaml"), "reference": "plain"}
    quiet = {"augmentation": {"views": 0}, "model": {"frozen_blocks": 2, "first_layer": 1, "statistics": 4}}
    content = {
        "groups": {
            "frozen": {"text": "heads", **common, "set": {**quiet, "schedule": SHORT}},
            "ridge": {"text": "probes", **common, "alpha": 10, "set": quiet},
        },
        "variants": {
            "plain": {"group": "frozen", "text": "as it is", "set": {}},
            "started": {"group": "frozen", "text": "another start", "set": {"model": {"start": "{runs}/first/encoder.npz"}}},
            "probe": {"group": "ridge", "text": "a probe", "set": {}},
        },
    }
    (tmp_path / "variants.yaml").write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    monkeypatch.setattr(results, "FILE", tmp_path / "results.json")
    return variants(tmp_path / "variants.yaml")


def put(variant: Variant, runs: Path, clips: Clips, predictions: list[int]) -> Path:
    """A finished run, without one."""
    recipe = variant.recipe(runs)
    folder = runs / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.pt").write_bytes(b"weights")
    record = {"recipe_sha256": recipe.checksum(), "versions": {"torch": "1"}, "python": "3", "cores": 2, "seconds": 5}
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
    Answers(clips, np.array(predictions), results.key_of(variant, recipe, folder)).save(folder)
    return folder


def clips_of(digest: str = "abc") -> Clips:
    """Two corpora, one of a single speaker."""
    speakers = np.array(["one/a"] * 4 + ["two/b"] * 4 + ["two/c"] * 4)
    return Clips(np.tile([0, 1, 2, 3], 3), speakers, digest)


def test_the_variants_are_recipes_of_which_nothing_is_chosen() -> None:
    known = variants()
    for name, variant in known.items():
        recipe, reference = variant.recipe(), known[variant.group.reference].recipe()
        assert recipe.name == PREFIX + name and recipe.augmentation.views == 0
        assert recipe.data.corpora == reference.data.corpora and recipe.data.labels == reference.data.labels
        wholly = variant.group.name != "fine-tuned"
        assert (recipe.model.frozen_blocks == recipe.model.blocks) == wholly
        if variant.group.alpha is None:
            own = {"statistics_steps": recipe.schedule.statistics_steps}  # what is not there takes no steps
            assert recipe.schedule.keep == "last" and recipe.schedule == replace(reference.schedule, **own)
            assert (recipe.schedule.statistics_steps is None) == (recipe.model.statistics == 0)
    checksums = [(variant.recipe().checksum(), variant.group.name) for variant in known.values()]
    assert len(set(checksums)) == len(known)  # no two rows are the same run


def test_a_path_is_in_the_folder_of_runs_and_in_no_checksum_of_the_file(tmp_path: Path) -> None:
    variant = variants()["frozen-pretrained"]
    assert variant.recipe(tmp_path).model.start == str(tmp_path / "pretrain" / "encoder.npz")
    assert variant.recipe().model.start == "{runs}/pretrain/encoder.npz"


def test_a_group_or_reference_that_is_not_there_is_named(tmp_path: Path) -> None:
    group = {"text": "", "recipe": "shiftcnn", "reference": "b", "set": {}}
    file = tmp_path / "some.yaml"
    file.write_text(yaml.safe_dump({"groups": {"g": group}, "variants": {"a": {"group": "g", "text": "", "set": {}}}}))
    with pytest.raises(RecipeError, match=r"some.yaml: no variant b"):
        variants(file)
    file.write_text(yaml.safe_dump({"groups": {"g": group}, "variants": {"a": {"group": "h", "text": "", "set": {}}}}))
    with pytest.raises(RecipeError, match=r"a is of no group h; there are g"):
        variants(file)


def test_variants_are_trained_once_and_scored_without_offsets(
    known: dict[str, Variant],
    places: Places,  # noqa: F811
    accelerate_anew: None,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run(list(known.values()), places) == 1
    assert "not run: started: model.start: there is no" in capsys.readouterr().err
    folder = places.runs / "encoders-plain"
    answers = Answers.read(folder)
    assert answers is not None and set(answers.clips.speakers) == {"ravdess/02", "emodb/03"}  # who validates, and nobody else

    told = int(answers.predictions[0])
    offsets = 50.0 * np.eye(4)[told]  # as if they had been fitted so: without them that label is never told
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps(record | {"class_offsets": offsets.tolist()}))
    (folder / "validation.npz").unlink()
    trained: list[str] = []
    monkeypatch.setattr("benchmarks.encoders.run.run_fit", lambda recipe, places: trained.append(recipe.name))
    monkeypatch.setattr("benchmarks.encoders.run.ridge", lambda variant, *rest: trained.append(variant.name))
    assert run([known["plain"], known["probe"]], places) == 0 and not trained
    prepared = prepare(known["plain"].recipe(places.runs), places)
    logits = logits_of(prepared.trained(), prepared.examples.validation, prepared.features, 0)[:, :4]
    answers = Answers.read(folder)
    assert answers is not None and answers.predictions.tolist() == (logits - offsets).argmax(1).tolist()
    assert told not in answers.predictions

    found = collect(known, places.runs)
    assert list(found["variants"]) == ["plain", "probe"] and found["variants"]["probe"]["alpha"] == 10
    assert found["variants"]["probe"]["scores"]["pooled"]["uar"] > 0.6  # pitches that differ as much are heard by a probe
    assert str(places.runs) not in json.dumps(found)


def test_what_lies_there_of_other_settings_or_another_start_is_refused(
    known: dict[str, Variant],
    places: Places,  # noqa: F811
    tree: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[str] = []
    monkeypatch.setattr("benchmarks.encoders.run.run_fit", lambda recipe, places: begun.append(recipe.name))
    folder = put(known["plain"], places.runs, clips_of(), [0] * 12)
    with pytest.raises(RecipeError, match=r"encoders-plain was made with another start_weights_sha256 than there is now"):
        run([known["plain"]], places)
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps(record | {"recipe_sha256": "of another"}))
    with pytest.raises(RecipeError, match="encoders-plain was trained by other settings"):
        run([known["started"], known["plain"]], places)
    with pytest.raises(RecipeError, match="of another recipe"):
        collect(known, places.runs)
    assert not begun


def test_the_file_pairs_variants_and_keeps_those_whose_runs_are_gone(known: dict[str, Variant], tmp_path: Path) -> None:
    runs, clips = tmp_path / "runs", clips_of()
    right = clips.targets.tolist()
    put(known["plain"], runs, clips, [*right[:4], *right[4:8], 1, 2, 3, 0])
    gone = put(known["probe"], runs, clips, right)
    first = collect(known, runs)
    write_to(results.FILE, first)
    assert first["scored"] == {"one": {"clips": 4, "speakers": 1}, "two": {"clips": 8, "speakers": 2}}
    plain, probe = first["variants"]["plain"], first["variants"]["probe"]
    assert plain["minus_reference"] is None and plain["scores"]["corpora"]["one"] == {"uar": 1.0, "interval": None}
    assert plain["scores"]["corpora"]["two"] == {"uar": 0.5, "interval": [0.0, 1.0]}
    assert plain["scores"]["mean_of_corpora"] == {"uar": 0.75, "interval": [0.5, 1.0]}
    assert probe["minus_reference"]["mean_of_corpora"] == {"difference": 0.25, "interval": [0.0, 0.5]}
    assert probe["minus_reference"]["corpora"]["one"] == {"difference": 0.0, "interval": None}

    (gone / "validation.npz").unlink()
    assert collect(known, runs) == first
    put(known["plain"], runs, clips, right)  # the reference anew: the difference to it is made again
    assert collect(known, runs)["variants"]["probe"]["minus_reference"]["pooled"]["difference"] == 0.0
    put(known["plain"], runs, clips_of("other"), right)
    with pytest.raises(RecipeError, match="probe: scored on other validation clips than plain"):
        collect(known, runs)


def test_what_was_scored_before_it_was_trained_anew_is_refused(known: dict[str, Variant], tmp_path: Path) -> None:
    folder = put(known["plain"], tmp_path / "runs", clips_of(), [0] * 12)
    (folder / "weights.pt").write_bytes(b"other weights")
    with pytest.raises(RecipeError, match="trained anew after it was scored"):
        collect(known, tmp_path / "runs")


def test_a_variant_of_other_settings_by_now_is_dropped(
    known: dict[str, Variant], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(known["plain"], tmp_path / "runs", clips_of(), [0] * 12)
    put(known["probe"], tmp_path / "runs", clips_of(), [0] * 12)
    write_to(results.FILE, collect(known, tmp_path / "runs"))
    stronger = {name: replace(each, group=replace(each.group, alpha=each.group.alpha and 20.0)) for name, each in known.items()}
    assert list(collect(stronger, tmp_path / "elsewhere")["variants"]) == ["plain"]
    assert "dropped: probe" in capsys.readouterr().err


def test_the_page_says_what_the_file_holds(known: dict[str, Variant], tmp_path: Path) -> None:
    assert page.page(list(known)) == ""
    clips = clips_of()
    right = clips.targets.tolist()
    put(known["plain"], tmp_path / "runs", clips, [*right[:8], 1, 2, 3, 0])
    put(known["probe"], tmp_path / "runs", clips, right)
    write_to(results.FILE, collect(known, tmp_path / "runs"))
    made = page.page(list(known))
    assert "| **plain** | as it is | 75.0 (50.0 to 100.0) | - | 66.7 (0.0 to 100.0) | - | 5 |" in made
    assert "| **probe** | a probe | 100.0 (100.0 to 100.0) | +25.0 (+0.0 to +50.0) | 100.0 (100.0 to 100.0) |" in made
    assert "| **plain** | 100.0 | 50.0 (0.0 to 100.0) |" in made and "one speaker (one) there is no interval" in made
    assert "## Not run\n\nstarted" in made and "Probes (alpha 10). Recipe" in made and "`augmentation.views=0`" in made
    assert max(len(line) for line in made.splitlines() if "|" not in line and "`" not in line) <= page.WIDTH


def test_one_speaker_of_a_corpus_stands_still_in_the_draws_of_the_mean() -> None:
    clips = clips_of()
    truth: Truth = clips.truth
    guess = np.where(np.arange(12) % 3 == 0, (clips.targets + 1) % 4, clips.targets)
    found = scoring.score(truth, guess)
    one = unweighted_average_recall(clips.targets[:4], guess[:4])
    low, high = found["corpora"]["two"]["interval"]
    assert found["corpora"]["one"]["interval"] is None
    assert found["mean_of_corpora"]["interval"] == pytest.approx([(one + low) / 2, (one + high) / 2], abs=1e-4)


def test_the_committed_page_is_up_to_date() -> None:
    assert main(["table", "--check"]) == 0, "run: python -m benchmarks.encoders table"


def test_the_commands_name_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FILE", tmp_path / "results.json")
    with pytest.raises(SystemExit):
        main(["run", "frozen-5"])
    assert "no variant frozen-5; there are frozen-2" in capsys.readouterr().err
    assert main(["collect", "--runs", str(tmp_path)]) == 1
    assert "no variant has run" in capsys.readouterr().err
