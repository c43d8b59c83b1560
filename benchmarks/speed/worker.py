"""One measurement in a process of its own, for run.py: clips in memory -> results, one by one. Prints one line of JSON."""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE = 16_000  # Hz
CLASSES = 4

Waveform = NDArray[np.float32]


def emoser_model(model: str, precision: str | None, threads: int) -> Callable[[Waveform], object]:
    import emoser

    return emoser.load(model, device="cpu", precision=precision, threads=threads, offline=True)


def wav2vec2_pipeline(threads: int) -> Callable[[Waveform], object]:
    """wav2vec 2.0 base (95 M parameters), mean pooling and a linear classifier: random weights, built here, nothing downloaded."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification, pipeline

    torch.set_num_threads(threads)
    model = Wav2Vec2ForSequenceClassification(Wav2Vec2Config(num_labels=CLASSES)).eval()
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=RATE)
    classify = pipeline("audio-classification", model=model, feature_extractor=extractor, device="cpu")
    return lambda waveform: classify({"raw": waveform, "sampling_rate": RATE})


def processor_seconds() -> float:
    """Of this process and of children that it waited for, all threads."""
    # getrusage counts in microseconds where os.times counts in hundredths of a second.
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def describe(model: str) -> dict[str, object]:
    """What results.json says about the checkpoint. `precisions` of its ONNX files, the default one first; [None] for a single file."""
    import emoser
    from emoser.resolving import resolve

    loaded = emoser.load(model, device="cpu", offline=True)
    entry = resolve(model, offline=True).checkpoint
    precisions = [precision for form, precision in entry.kinds if form == "onnx"] if entry else []
    sizes = {precision: sum(part.size for part in entry.files("onnx", precision)) for precision in precisions} if entry else {}
    return {
        "name": loaded.name,
        "revision": loaded.checkpoint.revision,
        "sha256": loaded.sha256,
        "encoder": loaded.checkpoint.encoder,
        "parameters": entry.parameters if entry else None,
        "bytes": sizes,
        "precisions": precisions or [None],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", nargs="?", type=Path, help="a JSON list of audio files")
    parser.add_argument("--system", choices=["emoser", "wav2vec2"], default="emoser")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision")
    parser.add_argument("-m", "--model", default="shiftcnn")
    parser.add_argument("--describe", action="store_true", help="only say what the checkpoint is")
    options = parser.parse_args()
    if options.describe:
        print(json.dumps(describe(options.model)))
        return

    from emoser.audio import load_audio

    waveforms = [load_audio(path)[0].waveform for path in json.loads(options.clips.read_text())]
    start = time.perf_counter()
    if options.system == "emoser":
        system = emoser_model(options.model, options.precision, options.threads)
    else:
        system = wav2vec2_pipeline(options.threads)
    load = time.perf_counter() - start
    system(waveforms[0])  # the first call allocates
    processor, start = processor_seconds(), time.perf_counter()
    for waveform in waveforms:
        system(waveform)
    wall = time.perf_counter() - start
    audio = sum(map(len, waveforms)) / RATE
    print(json.dumps({"audio": audio, "wall": wall, "cpu": processor_seconds() - processor, "load": load}))


if __name__ == "__main__":
    main()
