"""Which clips of a recipe teach what, the mixtures made of them, and the batches that both come in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from training import data
from training.corpora import Utterance
from training.data import Example
from training.mixing import CORPUS as MIXTURES
from training.recipe import RecipeError
from training.runs import Places
from training.systems.transducer.data import Batch, Draws, clips_of, mixtures_of, parts_of_frames, timed
from training.systems.transducer.losses import NONE
from training.systems.transducer.recipe import TransducerRecipe
from training.systems.transducer.runs import Prepared, prepare, vocabulary_of
from training.systems.transducer.vocabulary import Vocabulary

Tiny = Callable[..., TransducerRecipe]


@pytest.fixture
def prepared(tiny_transducer: Tiny, spoken_places: Places) -> Callable[..., Prepared]:
    return lambda *overrides: prepare(tiny_transducer(*overrides), spoken_places)


def mixture(*parts: tuple[float, float, str]) -> Example:
    return Example(Utterance(MIXTURES, "audio/x.flac", segments=parts), Path("x"), NONE)


# what clips teach


def test_clips_with_an_emotion_or_a_text_teach_and_others_are_left_out(tiny_transducer: Tiny, spoken_places: Places) -> None:
    clips = clips_of(tiny_transducer(), spoken_places.corpora)
    taught = Counter((item.corpus, item.target != NONE) for item in clips.train)
    # ravdess, two speakers: 5 clips of the labels, and fear and calm for their texts; emodb has no texts, and fear and boredom go.
    assert taught == {("ravdess", True): 10, ("ravdess", False): 4, ("emodb", True): 10, ("speechocean762", False): 12}
    assert {item.utterance.emotion for item in clips.train if item.corpus == "ravdess" and item.target == NONE} == {"fear", "calm"}
    speakers = [{item.utterance.voice for item in part} for part in (clips.train, clips.validation, clips.test)]
    assert not speakers[0] & speakers[1] and not speakers[1] & speakers[2] and not speakers[0] & speakers[2]
    assert {voice for voice in speakers[2] if voice.startswith("speech")} == {"speechocean762/09", "speechocean762/10"}
    assert clips.description["test"]["ravdess"] == 14


def test_a_corpus_left_out_is_tested_whole(tiny_transducer: Tiny, spoken_places: Places) -> None:
    clips = clips_of(tiny_transducer("data.leave_out=[emodb]"), spoken_places.corpora)
    assert {item.corpus for item in clips.train} == {"ravdess", "speechocean762"}
    assert sum(item.corpus == "emodb" for item in clips.test) == 20


def test_a_label_that_nobody_says_is_an_error(tiny_transducer: Tiny, spoken_places: Places) -> None:
    with pytest.raises(RecipeError, match="no training clip is labelled disgust"):
        clips_of(tiny_transducer("data.labels=[neutral, disgust]"), spoken_places.corpora)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("transducer.system=ctc", "allowed: ent, fent, framewise"),
        ("transducer.vocabulary=words", "allowed: characters, english, pieces"),
        ("data.labels=[happy, sad]", "need 'neutral'"),
        ("data.more_labels=[fear]", "train its transcript alone"),
        ("transducer.transcripts=[nemo]", "which data.corpora does not"),
        ("augmentation.chances.cut=0.3", "no longer says its text"),
        ("transducer.mixtures.share=1", "lies in"),
        ("transducer.pooling.pooling=most", "allowed: one, full-t, full-u"),
        ("transducer.weights.lettice=1", "it has head, rnnt, lattice"),
    ],
)
def test_recipes_that_cannot_be_are_refused(tiny_transducer: Tiny, override: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        tiny_transducer(override)


def test_the_vocabulary_is_of_the_training_texts(tiny_transducer: Tiny, spoken_places: Places) -> None:
    clips = clips_of(tiny_transducer(), spoken_places.corpora)
    assert vocabulary_of(tiny_transducer(), clips).symbols == ("<blank>", "<unk>", " ", "C", "A", "B", "<sos/eos>")
    pytest.importorskip("sentencepiece")
    pieces = vocabulary_of(tiny_transducer("transducer.vocabulary=pieces", "transducer.pieces=9"), clips)
    assert pieces.model and "▁A" in pieces.symbols


# mixtures


def test_mixtures_are_rendered_once_of_the_parts_own_speakers(prepared: Callable[..., Prepared], spoken_places: Places) -> None:
    run = prepared("transducer.mixtures.share=0.25")
    assert set(run.mixtures) == {"train", "validation"}
    assert {item.utterance.speaker for item in run.mixtures["train"].examples} == {"ravdess-01", "ravdess-03", "emodb-08", "emodb-09"}
    files = {item.file: item.file.stat().st_mtime_ns for item in run.mixtures["validation"].examples}
    again = mixtures_of(run.recipe, run.clips, "validation", spoken_places.cache)
    assert {item.file: item.file.stat().st_mtime_ns for item in again.examples} == files
    for file, texts in again.texts.items():
        assert bool(texts) == file.name.startswith("ravdess")  # emodb has none
    assert "train" not in prepared().mixtures


def test_mixtures_beyond_the_encoders_positions_are_left_out(
    tiny_transducer: Tiny, spoken_places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_transducer()
    clips = clips_of(recipe, spoken_places.corpora)
    every = mixtures_of(recipe, clips, "validation", spoken_places.cache).examples
    longest = sorted(example.utterance.duration for example in every)[len(every) // 2]
    monkeypatch.setattr(data, "LONGEST", longest)
    heard = mixtures_of(recipe, clips, "validation", spoken_places.cache).examples
    assert 0 < len(heard) < len(every) and max(example.utterance.duration for example in heard) < longest + 0.01


def test_nodes_of_a_mixture_go_with_their_tokens_and_a_space_with_the_neutral_part() -> None:
    vocabulary = Vocabulary.characters(["ab c"])
    labels = ["neutral", "sad"]
    three = mixture((0.0, 1.0, "neutral"), (1.0, 2.0, "sad"), (2.0, 3.0, "neutral"))
    found = timed(three, ["ab", "c", "a"], vocabulary, labels)
    assert vocabulary.decode(found.tokens) == "AB C A" and found.emotions == [0, 1, 0]
    # The paper's count: neutral n + 2 with the start and the space, the emotion m, the second neutral n + 1 with its space.
    assert found.node_parts == [0, 0, 0, 0, 1, 2, 2]
    before = timed(mixture((0.0, 1.0, "sad"), (1.0, 2.0, "neutral")), ["c", "ab"], vocabulary, labels)
    assert before.node_parts == [0, 0, 1, 1, 1]  # emotion m + 1, neutral n + 1
    alone = timed(mixture((0.0, 1.0, "sad")), ["ab"], vocabulary, labels)
    assert alone.node_parts == [0, 0, 0]
    silent = timed(three, [], vocabulary, labels)
    assert silent.tokens == [] and silent.node_parts == [0]


def test_pieces_of_a_mixture_are_those_of_its_text() -> None:
    pytest.importorskip("sentencepiece")
    texts = ["the dogs are sitting", "by the door"]
    vocabulary = Vocabulary.pieces(texts, 60)
    found = timed(mixture((0.0, 1.0, "neutral"), (1.0, 2.0, "sad")), texts, vocabulary, ["neutral", "sad"])
    assert found.tokens == vocabulary.encode(" ".join(texts))
    assert found.node_parts.count(0) == len(vocabulary.encode(texts[0])) + 1


def test_frames_belong_to_the_part_of_their_middle() -> None:
    example = mixture((0.0, 0.1, "neutral"), (0.1, 0.22, "sad"), (0.22, 0.4, "neutral"))
    middles = (np.arange(11) + 0.5) * 0.04
    expected = [0 if middle < 0.1 else 1 if middle < 0.22 else 2 for middle in middles]
    assert parts_of_frames(example, 11, 0.04).tolist() == expected  # beyond the end the last part goes on


# batches


def same(first: Batch, second: Batch) -> bool:
    return all(torch.equal(value, getattr(second, name)) for name, value in vars(first).items())


def draws_of(run: Prepared, process: int = 0) -> Draws:
    mixed = run.mixtures["train"].examples if "train" in run.mixtures else ()
    return Draws(run.recipe, run.shelf, run.clips.train, mixed, process)


def test_a_draw_follows_seed_step_and_process_alone(prepared: Callable[..., Prepared]) -> None:
    run = prepared("transducer.mixtures.share=0.25")
    first = draws_of(run)
    expected = [first[step] for step in range(10)]
    again = draws_of(run)
    assert all(same(again[step], expected[step]) for step in (9, 0, 4))
    assert not any(same(expected[0], other) for other in (*expected[1:], draws_of(run, 1)[0]))


def test_a_batch_holds_clips_and_mixtures_with_their_labels(prepared: Callable[..., Prepared]) -> None:
    run = prepared("transducer.mixtures.share=0.25")
    draws = draws_of(run)
    for step in range(8):
        batch = draws[step]
        count, frames = batch.hidden.shape[:2]
        assert count == 8 and batch.frame_parts.shape == (8, -(-frames // 2)) and batch.node_parts.shape == (8, batch.tokens.shape[1] + 1)
        mixed = (batch.emotions != NONE).any(1)
        assert int(mixed.sum()) == 2 and bool((batch.targets[mixed] == NONE).all())
        assert bool((batch.frame_parts[~mixed] == NONE).all()) and bool((batch.node_parts[~mixed] == NONE).all())
        assert torch.equal(batch.spoken, batch.lengths > 0)
        for row in mixed.nonzero()[:, 0].tolist():
            own = -(-int(batch.frames[row]) // 2)
            parts = batch.frame_parts[row, :own]
            assert bool((parts.diff() >= 0).all()) and int(parts[0]) == 0
            assert int(parts[-1]) == int((batch.emotions[row] != NONE).sum()) - 1
            assert bool((batch.frame_parts[row, own:] == NONE).all())
            nodes = batch.node_parts[row]
            assert torch.equal(nodes != NONE, torch.arange(len(nodes)) <= batch.lengths[row])


def test_every_kind_of_clip_is_drawn(prepared: Callable[..., Prepared]) -> None:
    run = prepared()
    batches = [draws_of(run)[step] for step in range(16)]
    kinds = {(bool(spoken), bool(target != NONE)) for batch in batches for spoken, target in zip(batch.spoken, batch.targets, strict=True)}
    assert kinds == {(True, True), (True, False), (False, True)}


def test_clips_with_text_are_whole_and_others_cut(prepared: Callable[..., Prepared]) -> None:
    run = prepared("transducer.longest=0.4", "augmentation.views=0")
    draws = draws_of(run)
    assert {example.corpus for example in draws.examples} == {"emodb"}  # all the texts take longer
    assert int(draws[0].frames.max()) == 20


def test_batches_are_dealt_out_by_length(prepared: Callable[..., Prepared]) -> None:
    run = prepared("augmentation.views=0")
    draws = draws_of(run)
    spread = [float(draws[step].frames.float().std()) for step in range(8)]
    every = torch.cat([draws[step].frames for step in range(8)]).float()
    assert np.mean(spread) < 0.6 * float(every.std())
