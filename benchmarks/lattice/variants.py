"""What is varied of the recipe `ent`: each variant is one run, and a list of `--set` that says what it differs in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from training.recipe import read_recipe
from training.systems.transducer.losses import AS_PUBLISHED, Pooling
from training.systems.transducer.recipe import TransducerRecipe

BASE = "ent"
PREFIX = "ent-ablation-"
POOLINGS = ("one", "full-t", "full-u")
# The published loss with its faults mended one by one: a negative that does not contradict, neutral clips neutral everywhere, no padding.
MENDED = Pooling(negative="most-neutral", neutral_clips="mean")


@dataclass(frozen=True)
class Variant:
    text: str
    overrides: tuple[str, ...] = ()


def pooled(how: Pooling) -> tuple[str, ...]:
    """All fields, whatever the recipe says."""
    return (f"transducer.pooling={json.dumps(asdict(how))}",)


VARIANTS: dict[str, Variant] = {
    "ent": Variant("the recipe as it is"),
    "without": Variant("no lattice loss; nodes are read by the utterance head", ("transducer.weights.lattice=0",)),
    **{f"{pooling}-published": Variant(f"{pooling}, as published", pooled(replace(AS_PUBLISHED, pooling=pooling))) for pooling in POOLINGS},
    **{pooling: Variant(f"{pooling}, mended", pooled(replace(MENDED, pooling=pooling))) for pooling in POOLINGS},
    "soft": Variant("one node, softly, mended as the others: the most neutral node pulled too", pooled(replace(MENDED, temperature=1.0))),
    "bpe": Variant("byte pairs for characters, as in ent-bpe", ("transducer.vocabulary=pieces",)),
    "mix": Variant(
        "a quarter of each batch are mixtures, as in ent-mix",
        ("transducer.weights.mixture_head=0.25", "transducer.weights.mixture_lattice=0.5", "transducer.mixtures.share=0.25"),
    ),
}


def recipe_of(name: str, steps: int, base: str = BASE, more: Sequence[str] = ()) -> TransducerRecipe:
    """The recipe of a variant, with fewer steps and two evaluations; `more` overrides are those of all variants."""
    schedule = (f"schedule.steps={steps}", f"schedule.evaluate_every={max(1, steps // 2)}")
    recipe = read_recipe(base, (*schedule, *more, *VARIANTS[name].overrides), PREFIX + name)
    assert isinstance(recipe, TransducerRecipe)
    return recipe
