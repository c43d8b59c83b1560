"""benchmarks/lattice on a tiny recipe: what the variants are, a run from training to the page, and that nothing is done twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.accuracy import transcripts
from benchmarks.accuracy.scoring import write_to
from benchmarks.diarization import mixtures, scoring
from benchmarks.diarization.evaluate import baselines
from benchmarks.lattice import run, table
from benchmarks.lattice.variants import MENDED, VARIANTS, recipe_of
from training.recipe import read_recipe
from training.runs import Places
from training.systems.transducer.losses import AS_PUBLISHED, Pooling
from training.systems.transducer.recipe import TransducerRecipe

pytestmark = pytest.mark.usefixtures("accelerate_anew")


def test_variants_differ_from_the_recipe_in_what_they_say() -> None:
    made = {name: recipe_of(name, 600) for name in VARIANTS}
    assert len({recipe.checksum() for recipe in made.values()}) == len(VARIANTS)
    assert {recipe.schedule.steps for recipe in made.values()} == {600} and made["one"].name == "ent-ablation-one"
    ent = read_recipe("ent")
    assert isinstance(ent, TransducerRecipe)
    assert made["ent"].transducer == ent.transducer and made["ent"].data == ent.data
    assert made["without"].transducer.weights.lattice == 0
    assert made["one-published"].transducer.pooling == AS_PUBLISHED
    assert made["full-u-published"].transducer.pooling == Pooling(pooling="full-u", negative="least-neutral", padding=True)
    assert made["full-t"].transducer.pooling == Pooling(pooling="full-t", negative="most-neutral", neutral_clips="mean")
    assert made["one"].transducer.pooling == MENDED and made["soft"].transducer.pooling.temperature == 1
    for variant, recipe in (("mix", "ent-mix"), ("bpe", "ent-bpe")):
        other = read_recipe(recipe)
        assert isinstance(other, TransducerRecipe) and made[variant].transducer == other.transducer


@pytest.fixture
def tiny_runs(
    tiny_transducer: Callable[..., TransducerRecipe], spoken_places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """The command's options for the spoken tree; mixtures and results in folders of the test's own."""
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(json.loads(json.dumps(tiny_transducer().to_dict() | {"name": "tiny"}))), encoding="utf-8")
    cache = tmp_path / "mixtures"
    made = mixtures.mixtures
    monkeypatch.setattr(mixtures, "CORPORA", ("ravdess", "emodb"))
    monkeypatch.setattr(run, "mixtures", lambda part, corpora, limit: made(part, corpora, limit, cache))
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(table, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(scoring, "RESULTS", tmp_path / "diarization")
    monkeypatch.setattr(table, "PAGE", tmp_path / "README.md")
    places = {"corpora": spoken_places.corpora, "weights": spoken_places.weights, "runs": spoken_places.runs, "cache": spoken_places.cache}
    return ["--recipe", str(file), "--steps", "2", *(word for name, path in places.items() for word in (f"--{name}", str(path)))]


def test_from_training_to_the_page(
    tiny_runs: list[str], spoken_places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run.main(["without", *tiny_runs, "--limit", "1"])
    assert not (tmp_path / "results").exists() and (spoken_places.runs / "ent-ablation-without" / "record.json").is_file()
    run.main(["ent", "without", *tiny_runs])
    found = table.records()
    assert list(found) == ["ent", "without"] and found["ent"]["run"]["steps"] == 2 and found["ent"]["run"]["kept_step"] in (1, 2)
    for record in found.values():
        assert len(record["diarization"]["rates"]) == sum(record["tested"]["mixtures"].values()) > 2
        assert set(record["clips"]["corpora"]) == {"ravdess", "emodb"} and "speechocean762/seen" in record["clips"]["transcripts"]
    parts = yaml.safe_load((spoken_places.runs / "ent-ablation-without" / "exported" / "checkpoint.yaml").read_text())["parts"]
    assert len(parts) == 10

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("done twice")

    for name in ("run_fit", "run_evaluate", "run_export", "diarized"):
        monkeypatch.setattr(run, name, never)
    run.main(["ent", "without", *tiny_runs])
    with pytest.raises(AssertionError, match="done twice"):
        run.main(["ent", *tiny_runs, "--set", "schedule.seed=8"])
    with pytest.raises(SystemExit):
        run.main(["nothing"])
    assert "no variant nothing; there are ent, without," in capsys.readouterr().err

    assert "| - |" in table.page(found)  # whose the mixtures are stands in the diarization benchmark's file
    mixed = run.mixtures("test", spoken_places.corpora, None)
    write_to(tmp_path / "diarization" / "baselines.json", {"tested": mixtures.described(mixed), **baselines(mixed)})
    page = table.page(found)
    assert (
        "one seed and short runs" in page and "trained for 2 steps with the seed 7" in page and "| **ent** | the recipe as it is |" in page
    )
    row = next(line for line in page.splitlines() if line.startswith("| **without**"))
    expected = (found["without"]["diarization"]["mean_of_corpora"], found["ent"]["diarization"]["mean_of_corpora"])
    assert f"| {100 * (expected[0]['eder']['value'] - expected[1]['eder']['value']):+.1f}" in row
    monkeypatch.setattr("sys.argv", ["table"])
    assert table.main() == 0
    monkeypatch.setattr("sys.argv", ["table", "--check"])
    assert table.main() == 0
    record = found["without"] | {"run": found["without"]["run"] | {"steps": 3}}
    write_to(tmp_path / "results" / "without.json", record)
    with pytest.raises(SystemExit, match="differ in mixtures, steps or seed"):
        table.main()


def test_transcripts_in_rows() -> None:
    scores = {"a/seen": {"wer": 0.2, "cer": 0.1, "clips": 3}, "b/seen": {"wer": 0.4, "cer": 0.3, "clips": 5}}
    scores["b/unseen"] = {"wer": 1.1, "cer": 0.9, "clips": 2}
    rows = transcripts.by_corpus(scores).splitlines()[2:]
    assert rows == [
        "| a | seen | 20.0 | 10.0 | 3 |",
        "| b | seen | 40.0 | 30.0 | 5 |",
        "| mean of the corpora | seen | 30.0 | 20.0 | 8 |",
        "| b | unseen | 110.0 | 90.0 | 2 |",
    ]
    assert transcripts.cell(scores, "unseen", "cer") == "90.0" and transcripts.cell({}, "seen", "wer") == "-"
