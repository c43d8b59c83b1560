"""From a recipe to clips, on a tree of a few dozen: who is in which part, under which label, how often drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from training import runs
from training.augment import Chances
from training.corpora import CorpusError, Utterance
from training.data import Example, check_lengths, examples_of, noises, read, rooms, sampling_weights
from training.paths import MissingInputError
from training.recipe import Augmentation, Data, Recipe, RecipeError
from training.runs import Places

LABELS = ("neutral", "happy", "angry", "sad")


@pytest.fixture
def corpora(tree: Path) -> Path:
    return tree / "corpora"


def test_parts_by_speaker(tiny: Callable[..., Recipe], corpora: Path) -> None:
    examples = examples_of(tiny().data, corpora)
    parts = {"train": examples.train, "validation": examples.validation, "test": examples.test}
    speakers = {name: {example.speaker for example in part} for name, part in parts.items()}
    assert speakers == {
        "train": {"ravdess/01", "ravdess/03", "emodb/08", "emodb/09"},
        "validation": {"ravdess/02", "emodb/03"},
        "test": {"ravdess/09", "ravdess/10", "emodb/10"},
    }
    # a speaker has two happy clips and one of each other label; `fear` trains only, `calm` and `boredom` are no label here
    assert {name: Counter(example.target for example in part) for name, part in parts.items()} == {
        "train": {0: 4, 1: 8, 2: 4, 3: 4, 4: 4},
        "validation": {0: 2, 1: 4, 2: 2, 3: 2},
        "test": {0: 3, 1: 6, 2: 3, 3: 3},
    }
    assert examples.description == {
        "train": {"emodb": 12, "ravdess": 12},
        "validation": {"emodb": 5, "ravdess": 5},
        "test": {"emodb": 5, "ravdess": 10},
    }
    assert all(example.file.is_file() for part in parts.values() for example in part)


def test_targets_are_places_in_labels_and_then_more_labels(tiny: Callable[..., Recipe], corpora: Path) -> None:
    recipe = tiny("data.labels=[sad, happy]", "data.more_labels=[fear, calm]")
    examples = examples_of(recipe.data, corpora)
    found = {(example.utterance.emotion, example.target) for example in examples.train}
    assert found == {("sad", 0), ("happy", 1), ("fear", 2), ("calm", 3)}
    assert {example.utterance.emotion for example in (*examples.validation, *examples.test)} == {"sad", "happy"}


def test_a_corpus_left_out_is_whole_in_test_and_nowhere_else(tiny: Callable[..., Recipe], corpora: Path) -> None:
    examples = examples_of(tiny("data.leave_out=[emodb]").data, corpora)
    assert {example.corpus for example in (*examples.train, *examples.validation)} == {"ravdess"}
    left_out = [example for example in examples.test if example.corpus == "emodb"]
    assert {example.speaker for example in left_out} == {"emodb/08", "emodb/09", "emodb/03", "emodb/10"}
    assert len(left_out) == 20
    assert {example.speaker for example in examples.test if example.corpus == "ravdess"} == {"ravdess/09", "ravdess/10"}


def test_rename_goes_before_the_labels_and_reaches_a_corpuss_own_words(tiny: Callable[..., Recipe], corpora: Path) -> None:
    recipe = tiny("data.rename={ravdess: {calm: neutral}, emodb: {boredom: sad, fear: surprise}}", "data.more_labels=[fear, surprise]")
    examples = examples_of(recipe.data, corpora)
    counts = Counter((example.corpus, recipe.all_labels[example.target]) for example in examples.train)
    assert counts["ravdess", "neutral"] == 4 and counts["emodb", "neutral"] == 2
    assert counts["emodb", "sad"] == 4 and counts["ravdess", "sad"] == 2
    assert counts["ravdess", "fear"] == 2 and counts["emodb", "surprise"] == 2
    assert counts["emodb", "fear"] == counts["ravdess", "surprise"] == 0


def test_clips_without_a_label_are_left_out(tiny: Callable[..., Recipe], corpora: Path, with_read_speech: Callable[..., Path]) -> None:
    folder = with_read_speech("ljspeech-mini", ["LJ"])
    labelled = examples_of(tiny().data, corpora)
    mixed = examples_of(tiny("data.corpora=[ravdess, emodb, ljspeech-mini]").data, folder)
    for part in ("train", "validation", "test"):
        assert [item.utterance for item in getattr(mixed, part)] == [item.utterance for item in getattr(labelled, part)]
    with pytest.raises(RecipeError, match="no training clip is labelled neutral, happy, angry, sad in ljspeech-mini"):
        examples_of(tiny("data.corpora=[ljspeech-mini]", "data.more_labels=[]").data, folder)


def test_labels_that_no_training_clip_has(tiny: Callable[..., Recipe], corpora: Path) -> None:
    with pytest.raises(RecipeError, match="no training clip is labelled disgust, surprise in ravdess, emodb"):
        examples_of(tiny("data.more_labels=[fear, disgust, surprise]").data, corpora)


def test_leaving_out_what_is_not_there(tiny: Callable[..., Recipe], corpora: Path) -> None:
    with pytest.raises(RecipeError, match="leave_out names nemo"):
        examples_of(tiny("data.leave_out=[nemo, emodb]").data, corpora)


def test_a_corpus_that_is_missing_names_its_source_and_licence(tiny: Callable[..., Recipe], corpora: Path) -> None:
    with pytest.raises(MissingInputError, match=r'corpus "nemo" not found.*github\.com.*CC BY-NC-SA'):
        examples_of(tiny("data.corpora=[ravdess, nemo]").data, corpora)


def test_checksum_is_of_the_data_that_are_used(tiny: Callable[..., Recipe], corpora: Path) -> None:
    sums = [
        examples_of(tiny(*overrides).data, corpora).checksum
        for overrides in ((), ("data.longest_crop=1.0",), ("data.corpora=[ravdess]",), ("data.rename={emodb: {fear: sad}}",))
    ]
    assert sums[0] == sums[1] and len(set(sums)) == 3


# how often clips are drawn


def clips(**counts: int) -> tuple[Example, ...]:
    """ravdess_0=3: three clips of that corpus and class."""
    return tuple(
        Example(Utterance(name.split("_")[0], f"{index}.wav"), Path(), int(name.split("_")[1]))
        for name, count in counts.items()
        for index in range(count)
    )


def shares(examples: tuple[Example, ...], weights: np.ndarray) -> dict[tuple[str, int], float]:
    found: Counter[tuple[str, int]] = Counter()
    for example, weight in zip(examples, weights, strict=True):
        found[example.corpus, example.target] += float(weight)
    return dict(found)


UNEVEN = clips(a_0=8, a_1=8, b_0=1, b_1=3)


@pytest.mark.parametrize(
    ("corpus_balance", "class_balance", "expected"),
    [
        (0, 0, [0.4, 0.4, 0.05, 0.15]),  # clips count alike
        (1, 1, [0.25, 0.25, 0.25, 0.25]),  # corpora alike, classes within a corpus alike
        (1, 0, [0.25, 0.25, 0.125, 0.375]),
        (0, 1, [0.4, 0.4, 0.1, 0.1]),
        (0.5, 1, [1 / 3, 1 / 3, 1 / 6, 1 / 6]),  # roots of 16 and 4
    ],
)
def test_sampling_weights(corpus_balance: float, class_balance: float, expected: list[float]) -> None:
    weights = sampling_weights(UNEVEN, Data(corpus_balance=corpus_balance, class_balance=class_balance))
    assert weights.sum() == pytest.approx(1, abs=1e-12)
    assert list(shares(UNEVEN, weights).values()) == pytest.approx(expected)
    assert len(set(weights[:8].round(12))) == 1  # clips of one corpus and class are drawn alike


def test_a_share_of_the_draws_may_be_of_the_first_corpus() -> None:
    three = (*UNEVEN, *clips(c_0=4))
    found = shares(three, sampling_weights(three, Data(corpora=("b", "a", "c"), first_share=0.5)))
    assert list(found.values()) == pytest.approx([1 / 6, 1 / 6, 1 / 4, 1 / 4, 1 / 6])  # a and c: roots of 16 and 4, half of all
    alone = clips(b_0=1, b_1=3)
    np.testing.assert_allclose(sampling_weights(alone, Data(corpora=("b",), first_share=0.5)), sampling_weights(alone, Data()))
    for corpora, share in ((("b",), 1.0), (("d",), 0.5)):
        with pytest.raises(RecipeError, match="first_share"):
            sampling_weights(three, Data(corpora=corpora, first_share=share))


def test_weights_fit_the_tree(tiny: Callable[..., Recipe], corpora: Path) -> None:
    train = examples_of(tiny().data, corpora).train
    weights = sampling_weights(train, Data(corpus_balance=0.5, class_balance=1.0))
    assert list(shares(train, weights).values()) == pytest.approx([0.1] * 10)  # 2 corpora of 12 clips, 5 classes


# what is mixed in


def test_noises_and_rooms_of_training_are_not_those_of_the_benchmark(corpora: Path) -> None:
    train, test = noises(corpora), noises(corpora, "test")
    assert len(train) == len(test) == 2
    assert not any(np.array_equal(first, second) for first in train for second in test)
    esc = read(corpora / "esc10" / "noise" / "001_dog_bark_5-100035-A.wav")
    assert any(np.array_equal(esc, sound) for sound in test)  # fold 5
    responses = [rooms(corpora), rooms(corpora, "test")]
    assert [len(part) for part in responses] == [1, 1] and not np.array_equal(responses[0][0], responses[1][0])


def test_clips_are_read_as_mono_at_16_khz(corpora: Path) -> None:
    samples = read(corpora / "ravdess" / "01" / "happy-1.wav")
    assert samples.dtype == np.float32 and samples.shape == (8_800,)


# how long clips may be


def test_a_clip_beyond_the_encoders_positions_is_named(tmp_path: Path) -> None:
    def clip(**about: Any) -> Example:
        return Example(Utterance("demo", "long.wav", **about), tmp_path / "long.wav", 0)

    soundfile.write(tmp_path / "long.wav", np.zeros(31 * 8_000, np.float32), 8_000)
    check_lengths([clip(duration=30.0), clip(start=2.0), clip(start=1.0, end=30.0)])
    for about, length in (({"duration": 30.01}, "30.0"), ({}, "31.0"), ({"start": 0.5}, "30.5")):
        with pytest.raises(CorpusError, match=rf"demo: long\.wav.* lasts {length} s; the compact encoder hears 30 s at once"):
            check_lengths([clip(**about)])
    slower = Augmentation(views=1, chances=Chances(speed=0.1, speeds=(0.8, 1.1)))
    check_lengths([clip(duration=24.0)], slower)
    with pytest.raises(CorpusError, match=r"lasts 25\.0 s, and 31\.2 s slowed down to 0\.8 of its speed"):
        check_lengths([clip(duration=25.0)], slower)
    check_lengths([clip(duration=25.0)], replace(slower, views=0))


def test_a_run_is_not_prepared_with_it(tiny: Callable[..., Recipe], places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    found = examples_of(tiny().data, places.corpora)
    first = replace(found.test[0], utterance=replace(found.test[0].utterance, duration=31.0))
    monkeypatch.setattr(runs, "examples_of", lambda *_: replace(found, test=(first, *found.test[1:])))
    with pytest.raises(CorpusError, match=r"lasts 31\.0 s"):
        runs.prepare(tiny(), places)
