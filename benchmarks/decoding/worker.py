"""One measurement in a process of its own, for run.py: clips in memory, decoded one by one. Prints one line of JSON.

All ways of decoding start from frames that are there already, and use the parts that `emoser` would use; but those of training, which use
its module with the run's weights, rounded as the files are.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.speed.worker import processor_seconds
from emoser.audio import load_audio
from emoser.checkpoints import Checkpoint
from emoser.models.transducer import Hypothesis, Parts, beam_search, greedy
from emoser.resolving import resolve
from emoser.runtimes.parts import open_part

RATE = 16_000  # Hz
SYSTEMS = ("encoder", "greedy", "loop", "beam", "training", "together", "whole")

Floats = NDArray[np.float32]
Tokens = list[int]
Job = Callable[[Any], list[Tokens]]  # an item that is timed -> what was decoded, [] where nothing is


def transducer(model: str) -> Checkpoint:
    """The registry's entry; SystemExit for what is no transducer."""
    entry = resolve(model, offline=True).checkpoint
    if entry is None or entry.state is None or entry.symbols is None:
        raise SystemExit(f"{model} is no transducer of a registry or a checkpoint folder")
    return entry


def parts_of(model: str, threads: int) -> Parts:
    state = transducer(model).state
    assert state is not None
    found = resolve(model, offline=True)
    files = (("encoder", found.path), *found.others)
    graphs = {role: open_part(role, path, found.format, device="cpu", threads=threads) for role, path in files}
    return Parts(**graphs, layers=state.layers, state=state.width)


def frames_of(parts: Parts, waveform: Floats) -> Floats:
    """(samples,) -> (T, width)."""
    found = parts.encoder({"waveform": waveform[None], "lengths": np.array([len(waveform)])})
    read = parts.frames({"states": found["states"], "frame_lengths": found["frame_lengths"]})["frames"]
    return cast(Floats, read[0, : int(found["frame_lengths"][0])])


class FromFrames:
    """A training module to which its frames are given as they come out of it, so that decoding alone is timed."""

    def __init__(self, network: Any) -> None:
        self._network = network

    def frames(self, frames: Any, lengths: Any) -> Any:
        return frames

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)


def network_of(entry: Checkpoint, recipe: str, runs: Path) -> Any:
    """The training module of a checkpoint, from its run."""
    import torch

    from training.export import rounded_to_half
    from training.recipe import read_recipe
    from training.systems.transducer.model import TransducerModel
    from training.systems.transducer.recipe import TransducerRecipe

    read = read_recipe(recipe, name=entry.name)
    assert isinstance(read, TransducerRecipe) and entry.symbols is not None
    model = TransducerModel(read, len(entry.symbols))
    model.load_state_dict(torch.load(runs / entry.name / "weights.pt", weights_only=True))
    return rounded_to_half(model).eval().network


def by_training(network: Any, clips: Sequence[Floats]) -> list[Tokens]:
    """Greedy decoding by the training code of some clips at once."""
    import torch

    from training.systems.transducer.decode import greedy_batch

    padded = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(np.array(clip)) for clip in clips], batch_first=True)
    return greedy_batch(cast(Any, FromFrames(network)), padded, torch.tensor([len(clip) for clip in clips])).tokens


def job(system: str, options: argparse.Namespace, waveforms: list[Floats]) -> tuple[Job, list[Any]]:
    """What is timed, and the items that it is timed on."""
    if system == "whole":
        import emoser

        model = emoser.load(options.model, device="cpu", threads=options.threads, offline=True)

        def whole(waveform: Floats) -> list[Tokens]:
            model(waveform)
            return []

        return whole, waveforms
    parts = parts_of(options.model, options.threads)
    if system == "encoder":

        def encoder(waveform: Floats) -> list[Tokens]:
            frames_of(parts, waveform)
            return []

        return encoder, waveforms
    frames = [frames_of(parts, waveform) for waveform in waveforms]
    if system in ("training", "together"):
        import torch

        torch.set_num_threads(options.threads)
        network = network_of(transducer(options.model), options.recipe, options.runs)
        return partial(by_training, network), [frames] if system == "together" else [[clip] for clip in frames]
    if system == "loop":
        from training.systems.transducer.decode import frame_by_frame

        return lambda clip: [frame_by_frame(parts, clip).tokens], frames
    search: Callable[..., Hypothesis] = greedy if system == "greedy" else beam_search
    return lambda clip: [list(search(parts, clip).tokens)], frames


def measured(system: str, options: argparse.Namespace, waveforms: list[Floats]) -> dict[str, Any]:
    run, items = job(system, options, waveforms)
    run(items[0])  # the first call allocates
    processor, start = processor_seconds(), time.perf_counter()
    found = [run(item) for item in items]
    wall = time.perf_counter() - start
    return {
        "audio": sum(map(len, waveforms)) / RATE,
        "wall": wall,
        "cpu": processor_seconds() - processor,
        "tokens": [tokens for item in found for tokens in item],
    }


def describe(model: str) -> dict[str, Any]:
    """What a result file says about the checkpoint."""
    entry = transducer(model)
    found = resolve(model, offline=True)
    return {
        "name": entry.name,
        "revision": entry.revision,
        "sha256": found.sha256,
        "recipe": entry.recipe,
        "vocabulary": len(entry.symbols or ()),
        "frame_hop": entry.frame_hop,
        "bytes": {part.role: part.size for part in entry.files("onnx")},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="?", type=Path, help="a JSON list of audio files")
    parser.add_argument("--system", choices=SYSTEMS, default="greedy")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-m", "--model", default="ent")
    parser.add_argument("--recipe", help="of the training code's module")
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--describe", action="store_true", help="only say what the checkpoint is")
    options = parser.parse_args()
    if options.describe:
        print(json.dumps(describe(options.model)))
        return
    waveforms = [load_audio(path)[0].waveform for path in json.loads(options.clips.read_text(encoding="utf-8"))]
    print(json.dumps(measured(options.system, options, waveforms)))


if __name__ == "__main__":
    main()
