"""The table of all heads, on a few made-up clips: what is collected and kept, what is paired, what the page says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("torch")
pytest.importorskip("av")

from benchmarks.accuracy import baselines, scoring
from benchmarks.accuracy.clips import Clip
from benchmarks.accuracy.crossval import page, references, results
from benchmarks.accuracy.crossval.__main__ import main
from benchmarks.accuracy.crossval.collect import collect, digest_of, options_of, result_of, told, weighed
from benchmarks.accuracy.crossval.paired import MEAN, both, differences
from benchmarks.accuracy.crossval.protocols import CORPORA, HEADS, MULTI, OWN, PROTOCOLS, RECIPES, RIDGE, TWINS, VARIANTS, Clips
from benchmarks.accuracy.crossval.results import Result
from benchmarks.accuracy.crossval.run import arguments_of
from training.crossval import FoldScores, Protocol
from training.recipe import RecipeError, read_recipe

LABELS = ("neutral", "happy", "angry")
TARGETS = np.tile([0, 1, 2], 4)  # of each fold: two speakers, each label twice by each
FILES = np.array([f"{index}.wav" for index in range(12)])


def clips(corpus: str) -> Clips:
    """Three folds of two speakers."""
    digests = tuple(digest_of([f"{fold}/{file}" for file in FILES], TARGETS) for fold in range(3))
    speakers = np.array([f"{corpus}/{fold}{index // 6}" for fold in range(3) for index in range(12)])
    return Clips(LABELS, ("1", "2", "3"), digests, np.repeat([0, 1, 2], 12), np.tile(TARGETS, 3), speakers)


def fold(corpus: str, number: int, wrong: int, seed: int = 42) -> FoldScores:
    """The first `wrong` clips of the fold are wrong as the model is; adapted, none is."""
    plain = np.where(np.arange(12) < wrong, (TARGETS + 1) % 3, TARGETS)
    logits, adapted = (5 * np.eye(3, dtype=np.float32)[each] for each in (plain, TARGETS))
    speakers = np.array([f"{corpus}/{number - 1}{index // 6}" for index in range(12)])
    files = np.array([f"{number - 1}/{file}" for file in FILES])
    return FoldScores(str(number), seed, logits, adapted, TARGETS, speakers, files, temperature=1.0)


def put(runs: Path, recipe: str, protocol: str, folds: list[FoldScores], **model: Any) -> Path:
    root = runs / "crossval" / recipe / protocol
    for each in folds:
        folder = root / f"seed-{each.seed}" / f"fold-{each.fold}"
        folder.mkdir(parents=True)
        each.save(folder / "scores.npz", "key")
        made = read_recipe("shiftcnn-frozen").to_dict()
        made["model"] |= model
        made["schedule"]["seed"] = each.seed
        (folder / "record.json").write_text(json.dumps({"recipe": made}), encoding="utf-8")
    (root / "report.json").write_text(json.dumps({"recipe_sha256": "abc"}), encoding="utf-8")
    return root


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for runs; a result file of reference rows that knows the clips of all corpora, with one row on emovo."""
    monkeypatch.setattr(scoring, "RESULTS", tmp_path / "results")
    known = {corpus.name: clips(corpus.name) for corpus in CORPORA}
    row = {"emovo-leave-one-speaker-out-nothing-selected": result_of([fold("emovo", number, 6, 1) for number in (1, 2, 3)], known["emovo"])}
    systems = {RIDGE: {"summary": "a ridge classifier", "protocols": row}}
    systems["svm"] = {"summary": "an SVM", "trained_on": "training speakers alone", "protocols": row}
    scoring.write(results.BASELINES, {"clips": {name: each.to_dict() for name, each in known.items()}, "systems": systems})
    return tmp_path / "runs"


def test_protocols_are_those_of_the_training() -> None:
    names = [Protocol(each.name, each.kind, multi_corpus=multi, select="nothing").name for multi in ("", "beside") for each in CORPORA]
    assert names == list(PROTOCOLS)
    assert all(read_recipe(head).model.head == head.removesuffix("-frozen") for head in RECIPES)


def test_clips_survive_their_file() -> None:
    made = clips("emovo")
    back = Clips.from_dict(json.loads(json.dumps(made.to_dict())))
    assert (back.labels, back.folds, back.digests) == (made.labels, made.folds, made.digests)
    assert all(np.array_equal(getattr(back, name), getattr(made, name)) for name in ("fold", "targets", "speakers"))


def test_a_result_holds_figures_and_predictions_of_the_folds_that_ran() -> None:
    own = clips("emovo")
    found = Result(result_of([fold("emovo", 3, 0), fold("emovo", 1, 6)], own))
    assert found.ran(own) == "2 of 3" and not found.whole(own)
    assert found.figure("plain", "uar").value == 0.75 and found.figure("adapted", "uar").value == 1.0
    assert found.figure("plain", "wa").interval is not None
    assert found.record["plain"]["mean_of_folds"]["uar"] == {"mean": 0.75, "deviation": 0.3536}
    said = found.predictions("plain", own)
    assert list(said) == [(42, "1"), (42, "3")]
    assert (said[42, "1"] != TARGETS).sum() == 6 and np.array_equal(said[42, "3"], TARGETS)


def test_other_clips_than_those_of_the_references_are_refused() -> None:
    own = clips("emovo")
    with pytest.raises(RecipeError, match="other clips"):
        result_of([FoldScores(**{**vars(fold("emovo", 1, 0)), "files": FILES})], own)


def test_collect_replaces_what_is_there_and_keeps_what_is_gone(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    emovo, nemo = "emovo-leave-one-speaker-out-nothing-selected", "nemo-leave-one-speaker-out-nothing-selected"
    put(runs, "cnn-frozen", emovo, [fold("emovo", 1, 6)], head="cnn")
    gone = put(runs, "shiftcnn-frozen", nemo + MULTI, [fold("nemo", 1, 3)])
    put(runs, "trial", emovo, [fold("emovo", 1, 0)])
    assert main(["collect", "--runs", str(runs)]) == 0
    assert "passed over: trial" in capsys.readouterr().err
    first = results.read(results.RUNS)["runs"]
    assert {name: list(found) for name, found in first.items()} == {"cnn-frozen": [emovo], "shiftcnn-frozen": [nemo + MULTI]}
    assert first["cnn-frozen"][emovo]["recipe_sha256"] == "abc"
    assert first["cnn-frozen"][emovo]["options"]["model.head"] == "cnn"

    for path in [path for path in gone.rglob("*") if path.is_file()]:
        path.unlink()
    put(runs, "cnn-frozen", emovo + MULTI, [fold("emovo", 2, 6)], head="cnn")
    second = collect(runs)["runs"]
    assert second["shiftcnn-frozen"] == first["shiftcnn-frozen"]
    assert list(second["cnn-frozen"]) == [emovo, emovo + MULTI]


def test_the_shares_told_are_those_of_each_speaker() -> None:
    """A speaker whose clips are of one label, for whom the adapted scores lean to another; and one about whom they are undecided."""
    targets, speakers = np.array([0] * 30 + [1, 2] * 15), np.repeat(["a", "b"], 30)
    adapted = np.log(np.array([[0.3, 0.4, 0.3]] * 30 + [[0.34, 0.33, 0.33]] * 30, np.float32))
    files = np.arange(60).astype(str)
    scores = FoldScores("1", 42, adapted, adapted, targets, speakers, files, temperature=1.0)
    likely = np.exp(weighed(scores).adapted)
    likely /= likely.sum(1, keepdims=True)
    assert (likely[:30].argmax(1) == 0).all() and (likely[30:, 0] < 0.2).all()
    assert told([scores])["wa"]["value"] == pytest.approx(0.75)  # all of the one, and half of the other
    warm = FoldScores("1", 42, 2 * adapted, 2 * adapted, targets, speakers, files, temperature=2.0)
    np.testing.assert_allclose(weighed(warm).adapted, 2 * weighed(scores).adapted, atol=1e-5)


def test_folds_of_two_recipes_are_not_one_result(runs: Path) -> None:
    put(runs, "cnn", "ravdess-emobox-nothing-selected", [fold("ravdess", 1, 6)], head="cnn")
    put(runs, "cnn", "ravdess-emobox-nothing-selected", [fold("ravdess", 2, 6)], head="shiftcnn", statistics=8)
    with pytest.raises(RecipeError, match="more than one recipe"):
        collect(runs)


def test_options_leave_out_what_the_protocol_sets() -> None:
    recipe = read_recipe("shiftcnn-frozen", ["model.head_options.n_div=8"]).to_dict()
    found = options_of(json.loads(json.dumps(recipe)))
    assert found["model.head_options.n_div"] == 8 and found["model.frozen_blocks"] == 3
    assert not [name for name in found if name.startswith(("data.labels", "data.corpora", "data.rename", "register", "schedule.seed"))]


def test_differences_are_of_common_folds_and_seeds_with_the_mean_of_corpora() -> None:
    own = {corpus: clips(corpus) for corpus in ("emovo", "nemo", "ased")}

    def result(corpus: str, wrong: int, *runs: tuple[int, int]) -> Result:
        return Result(result_of([fold(corpus, number, wrong, seed) for seed, number in runs], own[corpus]))

    first = {"emovo": result("emovo", 0, (1, 1), (1, 2), (2, 1)), "nemo": result("nemo", 3, (1, 1)), "ased": result("ased", 0, (1, 1))}
    second = {"emovo": result("emovo", 6, (1, 2), (1, 3), (2, 1)), "nemo": result("nemo", 0, (1, 1)), "ased": result("ased", 0, (1, 2))}
    found = differences(first, second, "plain", own)
    assert {name: (round(each.value, 4), each.count) for name, each in found.items()} == {
        "emovo": (0.5, 2),
        "nemo": (-0.25, 1),
        MEAN: (0.125, 2),
    }
    low, high = found["emovo"].interval or (None, None)
    assert low is not None and high is not None and 0 <= low < 0.5 < high <= 1
    same = differences(first, first, "adapted", own)
    assert all(each.value == 0 and each.interval == (0, 0) for each in same.values())


def test_a_reference_of_one_seed_stands_beside_every_seed_of_a_head() -> None:
    own = {corpus: clips(corpus) for corpus in ("emovo", "nemo")}

    def result(corpus: str, wrong: int, *runs: tuple[int, int]) -> Result:
        return Result(result_of([fold(corpus, number, wrong, seed) for seed, number in runs], own[corpus]))

    head = {"emovo": result("emovo", 0, (42, 1), (42, 2), (43, 1)), "nemo": result("nemo", 3, (42, 2))}
    probe = {"emovo": result("emovo", 6, (1, 1), (1, 2), (1, 3)), "nemo": result("nemo", 0, (1, 1))}
    assert differences(head, probe, "plain", own) == {}
    found = differences(head, probe, "plain", own, any_seed=True)
    assert {name: (each.value, each.count) for name, each in found.items()} == {"emovo": (0.5, 2)}  # of nemo no fold is common
    pair = both(head["emovo"], probe["emovo"], "plain", "emovo", own["emovo"], any_seed=True)
    assert pair is not None and len(pair.truth.labels) == 36 and (pair.second != pair.truth.labels).sum() == 18


def test_the_page_says_what_ran(runs: Path) -> None:
    assert page.block() == ""
    emovo = "emovo-leave-one-speaker-out-nothing-selected"
    every = (1, 2, 3)
    put(runs, "cnn-frozen", emovo, [fold("emovo", number, 6) for number in every], head="cnn")
    put(runs, "shiftcnn-frozen", emovo, [fold("emovo", number, 3) for number in every])
    put(runs, "shiftcnn-frozen", emovo + MULTI, [fold("emovo", 1, 0)])
    put(runs, "shiftcnn", emovo, [fold("emovo", number, 6) for number in every])
    put(runs, "ablation-n-div-8", emovo, [fold("emovo", number, 0) for number in every], head_options={"n_div": 8})
    put(runs, "ablation-n-div-8-mixup", emovo, [fold("emovo", number, 6) for number in every], head_options={"n_div": 8}, statistics=8)
    scoring.write(results.RUNS, collect(runs))
    plain, rest = page.page().split("## Adapted to each")
    adapted, _, told_so = rest.partition("## Adapted, and told")
    told_so, found, later = told_so.partition("## With the shift")
    assert "| **shiftcnn-frozen** | - | 100.0 |" in told_so and "lstm" not in told_so and RIDGE not in told_so
    adapted += found + later
    assert "| **cnn-frozen** | - | 50.0 | - | - | - |" in plain and "| **lstm** | - | - | - | - | - |" in plain
    assert "| **shiftcnn-frozen** | - | 75.0 |" in plain and "| **shiftcnn-frozen** | - | 100.0 |" in adapted
    assert "| **shiftcnn-frozen**, multi-corpus | - | 100.0 (1 of 3) |" in plain
    assert "| **shiftcnn** | - | -25.0 [" in adapted[adapted.index("| minus the same, `-frozen` |") :]
    assert "| whisper-ridge | - | 50.0 |" in plain and "91.3 †" in plain and "91.3 †" not in adapted
    assert "| EMOVO, 7 | +25.0 [" in adapted and "shiftcnn-frozen - cnn-frozen" in adapted
    assert "| n-div-8 | shiftcnn-frozen | `model.head_options.n_div: 8` | EMOVO, 7 | 3 of 3 | 100.0 [100.0, 100.0] | +25.0 [" in adapted
    assert "| n-div-8-mixup | n-div-8 | `model.statistics: 8` | EMOVO, 7 | 3 of 3 | 50.0 [" in adapted
    ahead = adapted[adapted.index(f"| minus {RIDGE} |") : adapted.index("## Placement")]
    assert "| **cnn-frozen** | - | +0.0 [+0.0, +0.0] | - | - | - | - |" in ahead and "| **shiftcnn-frozen** | - | +25.0 [" in ahead
    assert "| **shiftcnn-frozen**, multi-corpus | - | +50.0 [" in ahead and "(1 of 3)" in ahead and "lstm" not in ahead
    assert "svm: run earlier, trained on training speakers alone." in page.block() and page.run_earlier({}) == ""
    block = page.block()
    assert "**lstm**" not in block and block.count("| **cnn-frozen** |") == 2 and max(map(len, block.splitlines())) <= page.WIDTH


def test_an_encoder_of_another_run_is_named() -> None:
    emovo = "emovo-leave-one-speaker-out-nothing-selected"
    runs = {"lstm": {emovo: {"options": {"model.encoder_of": "cnn-without-emovo"}}}, "cnn": {emovo: {"options": {}}}}
    assert page.encoders(runs).endswith("too: lstm (cnn-without-CORPUS).") and page.encoders({"cnn": runs["cnn"]}) == ""


def test_twins_that_differ_in_more_than_the_head_are_marked(runs: Path) -> None:
    emovo = "emovo-leave-one-speaker-out-nothing-selected"
    for name, options in (
        ("shiftlstm", {"head": "shiftlstm"}),
        ("lstm", {"head": "lstm"}),
        ("cnn-own-blocks", {"head": "cnn", "statistics": 8}),
    ):
        put(runs, name, emovo, [fold("emovo", 1, 3)], **options)
    put(runs, "shiftcnn", emovo, [fold("emovo", 1, 3)])
    made = page.twins("plain", False, collect(runs)["runs"], {each.name: clips(each.name) for each in CORPORA})
    assert "| shiftlstm - lstm |" in made and "| shiftcnn - cnn-own-blocks \\* |" in made
    assert made.endswith("no measure of the shift: `model.statistics`.")


def test_references_learn_from_training_speakers_and_adapt_to_each_speaker() -> None:
    """Two features hold the label; a third, large, the speaker. Validation speakers do not train: they carry nonsense."""
    random = np.random.default_rng(0)
    parts = {"1": "train", "2": "train", "3": "train", "4": "validation", "5": "test", "6": "test"}
    each = [
        Clip("emovo", Path(f"{who}-{index}"), f"{who}-{index}", f"emovo/{who}", index % 3, part)
        for who, part in parts.items()
        for index in range(12)
    ]
    vectors = {clip.name: np.array([*np.eye(3)[clip.label], 0], np.float32) + random.normal(0, 0.1, 4).astype(np.float32) for clip in each}
    test = [clip for clip in each if clip.part == "test"]
    labels, speakers = np.array([clip.label for clip in test]), np.array([clip.speaker for clip in test])
    own = Clips(LABELS, ("1",), (digest_of([clip.name for clip in test], labels),), np.zeros(24, int), labels, speakers)
    baseline = next(item for item in references.SYSTEMS if item.classifier == "ridge")
    found = Result(references.result(baseline, vectors, own, {"1": each}))
    assert found.figure("plain", "uar").value > 0.9 and found.figure("adapted", "uar").value > 0.9
    assert found.whole(own) and sum(found.record["parameters"]["adapted"].values()) == 1

    values = np.stack(list(vectors.values()))
    owned = references.by_speaker(values + 100, np.array([clip.speaker for clip in each]))
    assert np.allclose(owned, references.by_speaker(values, np.array([clip.speaker for clip in each])), atol=1e-3)
    assert np.array_equal(references.by_speaker(np.ones((3, 2), np.float32), np.array(["a"] * 3)), np.zeros((3, 2)))
    assert {item.name for item in references.SYSTEMS} == {item.name for item in baselines.BASELINES if item.features != "logmel"}


def test_the_committed_page_is_up_to_date() -> None:
    assert main(["table", "--check"]) == 0, "run: python -m benchmarks.accuracy.crossval table"


def test_the_tables_runs_are_of_their_recipes_with_the_tables_settings() -> None:
    for head in RECIPES:
        arguments = arguments_of(head, "ased", ["--only", "1"])
        assert arguments[:6] == ["crossval", head, "--corpus", "ased", "--folds", "speakers"] and arguments[-2:] == ["--only", "1"]
        recipe, own = read_recipe(head, [each.removeprefix("--set=") for each in arguments if each.startswith("--set=")]), read_recipe(head)
        assert recipe.model.head == own.model.head and recipe.model.frozen_blocks == own.model.frozen_blocks
        assert recipe.schedule.keep == "last" and recipe.schedule.steps < own.schedule.steps and "nothing" in arguments
        chances = recipe.augmentation.chances
        assert chances.speed == 1 and chances.noise == chances.room == chances.telephone == 0  # of one corpus, recorded alike
    alone, beside = (
        {each for each in arguments_of("cnn-frozen", "ased", more) if each.startswith("--set=schedule.")}
        for more in ([], ["--multi-corpus", "beside"])
    )
    assert alone < beside and any(each.startswith("--set=schedule.steps=") for each in beside - alone)


def test_heads_with_blocks_of_their_own_are_shiftcnns_recipe_with_their_head() -> None:
    shiftcnn = arguments_of("shiftcnn", "emovo")
    assert {name.removesuffix(OWN) for name in VARIANTS} == {name for name in RECIPES if not name.endswith("-frozen")} - {"shiftcnn"}
    for name in VARIANTS:
        head = name.removesuffix(OWN)
        assert arguments_of(name, "emovo") == [*shiftcnn, f'--set=model.head="{head}"', "--name", name]
        assert HEADS.index(name) == HEADS.index(head) + 1
    assert ("shiftcnn", "cnn-own-blocks") in TWINS and ("shiftlstm-own-blocks", "lstm-own-blocks") in TWINS
