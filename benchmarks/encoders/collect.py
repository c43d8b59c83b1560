"""Finished runs of the variants -> results.json, with scores and paired differences; what is no longer under runs/ stays in the file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.accuracy import scoring
from benchmarks.accuracy.crossval.protocols import packed, unpacked
from benchmarks.encoders.results import Answers, Clips, Indices, Record, key_of, read
from benchmarks.encoders.variants import Group, Variant
from training.recipe import RecipeError
from training.runs import record_of

TAKEN = ("start_weights_sha256", "encoder_of_sha256", "seed", "revision", "versions", "python", "cores", "finished", "seconds")


def collect(variants: Mapping[str, Variant], runs: Path) -> Record:
    """All that results.json holds. What stood there of a variant whose settings are others by now is dropped, and named on standard error.

    Raises RecipeError where a run is of other settings than its variant has now, or was scored on other clips than the rest.
    """
    before = read()
    kept = before.get("variants", {})
    clips = {name: Clips.from_dict(before["clips"]) for name in kept}
    found: dict[str, Record] = {}
    for name, variant in variants.items():
        ran = collected(variant, runs.resolve())
        if ran is not None:
            found[name], clips[name] = ran
        elif name in kept and same(kept[name], variant):
            found[name] = kept[name] | {"text": variant.text}
    for name in sorted(set(kept) - set(found)):
        print(f"dropped: {name}, whose settings are others by now", file=sys.stderr)
    if not found:
        return {}
    own = clips[next(iter(found))]
    if other := [name for name in found if clips[name].digest != own.digest]:
        raise RecipeError(f"{', '.join(other)}: scored on other validation clips than {next(iter(found))}; run them again")
    groups = {found[name]["group"]: variants[name].group for name in found}
    labels = next(iter(variants.values())).recipe().data.labels
    return {
        "labels": list(labels),
        "scored": described(own),
        "clips": own.to_dict(),
        "interval": {"confidence": scoring.CONFIDENCE, "draws": scoring.REPEATS, "of": "speakers", "seed": scoring.SEED},
        "groups": {name: about(group) for name, group in groups.items()},
        "variants": {name: record | scored(name, variants[name].group.reference, found, own) for name, record in found.items()},
    }


def collected(variant: Variant, runs: Path) -> tuple[Record, Clips] | None:
    """A variant's settings, its run's record in short, and its predictions; None where it has not run."""
    recipe = variant.recipe(runs)
    folder = runs / recipe.name
    answers = Answers.read(folder)
    if answers is None or not (folder / "record.json").is_file():
        return None
    record = record_of(recipe, folder)
    if answers.key != key_of(variant, recipe, folder):
        raise RecipeError(f"{folder} was trained anew after it was scored; python -m benchmarks.encoders run {variant.name} scores it")
    made = {
        "text": variant.text,
        "group": variant.group.name,
        "set": list(variant.overrides),
        "recipe_sha256": variant.recipe().checksum(),
        **({} if variant.group.alpha is None else {"alpha": variant.group.alpha}),
        **{name: record[name] for name in TAKEN if name in record},
        "predictions": packed(answers.predictions),
    }
    return made, answers.clips


def same(record: Record, variant: Variant) -> bool:
    """Whether what stands in the file is of the settings that the variant has now."""
    return record["recipe_sha256"] == variant.recipe().checksum() and record.get("alpha") == variant.group.alpha


def about(group: Group) -> Record:
    made: Record = {"text": group.text, "recipe": group.recipe, "reference": group.reference, "set": list(group.overrides)}
    return made | ({} if group.alpha is None else {"alpha": group.alpha})


def described(clips: Clips) -> Record:
    """How many clips and speakers each corpus has."""
    truth = clips.truth
    return {
        corpus: {"clips": int(chosen.sum()), "speakers": len(set(truth.speakers[chosen].tolist()))}
        for corpus, chosen in truth.of_corpora().items()
    }


def scored(name: str, reference: str, found: Mapping[str, Record], clips: Clips) -> Record:
    """UAR with its intervals and, where the group's reference has run and is another, the difference to it on the same draws."""
    truth, guess = clips.truth, guesses(found[name])
    scores = scoring.score(truth, guess)
    made: Record = {"scores": shortened(scores, "uar"), "minus_reference": None}
    if reference in found and reference != name:
        made["minus_reference"] = shortened(scoring.compare(truth, guesses(found[reference]), guess), "difference")
    return made


def guesses(record: Record) -> Indices:
    return unpacked(record["predictions"])


def shortened(found: Record, value: str) -> Record:
    """The figure `value` and its interval, of the mean of the corpora, of all clips and of each corpus."""

    def one(part: Record) -> Record:
        return {value: part[value], "interval": part["interval"]}

    means = {name: one(found[name]) for name in ("mean_of_corpora", "pooled")}
    return {**means, "corpora": {name: one(part) for name, part in found["corpora"].items()}}
