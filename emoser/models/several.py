"""Several models on the same recordings, each of which is decoded once."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from emoser.audio import AudioInput, Channel
from emoser.errors import UsageError
from emoser.models.options import Options
from emoser.models.utterance import UtteranceModel
from emoser.results import Failure, Prediction


def predict_with(
    models: Sequence[UtteranceModel],
    inputs: Iterable[AudioInput],
    *,
    names: Sequence[str] | None = None,
    channel: Channel = "mix",
    batch_size: int | None = None,
    min_confidence: float | None = None,
) -> Generator[Prediction | Failure, None, None]:
    """The predictions of all models for an input, in their order and named (`Prediction.model`), then those for the next input; one
    Failure for an input that could not be processed. `names`: what they are called, where two have the same (adapted copies). Raises
    UsageError for models of different sample rates or of one name."""
    names = [model.name for model in models] if names is None else names
    if len(set(names)) < len(names):
        raise UsageError(f"the same model twice: {', '.join(names)}")
    rates = {model.checkpoint.sample_rate for model in models}
    if len(rates) > 1:
        raise UsageError(f"models of different sample rates cannot share what is decoded: {', '.join(map(str, sorted(rates)))} Hz")
    options = Options("predict", None, channel, batch_size, min_confidence)
    return _predictions(models, names, inputs, options)


def _predictions(
    models: Sequence[UtteranceModel], names: Sequence[str], inputs: Iterable[AudioInput], options: Options
) -> Generator[Any, None, None]:
    with closing(models[0].decoded(inputs, options)) as groups:
        for group in groups:
            clips = [item for item in group if not isinstance(item, Failure)]
            answers = [iter(model.answers(clips, options)) for model in models]
            for item in group:
                if isinstance(item, Failure):
                    yield item
                    continue
                for name, answer in zip(names, answers, strict=True):
                    for result in next(answer):
                        assert isinstance(result, Prediction)
                        yield replace(result, model=name)
