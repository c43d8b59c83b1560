"""Fixed features of a clip for the baselines, each one vector a clip, kept under `cache/baselines/` once computed.

egemaps   88 eGeMAPSv02 functionals by openSMILE, of the clip as it is (needs the extra `bench`)
logmel    mean, deviation and percentiles (10, 25, 50, 75, 90) over time of 80 log-mel bands, silence at both ends cut, level normalised
whisper   mean and deviation over time of the hidden states after blocks 1, 2 and 3 of Whisper tiny.en's encoder, cut and levelled likewise
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emoser.audio import load_audio

Vector = NDArray[np.float32]
Extractor = Callable[[Vector], Vector]

SAMPLE_RATE = 16_000  # Hz
KINDS = ("egemaps", "logmel", "whisper")
CACHE = Path(__file__).resolve().parents[2] / "cache" / "baselines"
ENCODER = Path(__file__).resolve().parents[2] / "training" / "encoders" / "compact.py"
PERCENTILES = (10, 25, 50, 75, 90)
BLOCKS = 3


def extractor(kind: str, weights: Path | None = None) -> Extractor:
    """The function from samples to one vector; `weights` is the folder with Whisper's encoder."""
    if kind == "egemaps":
        return _egemaps()
    if kind == "logmel":
        return _logmel()
    if kind == "whisper":
        if weights is None:
            raise ValueError("the whisper features need the folder of start weights")
        return _whisper(weights)
    raise ValueError(f"unknown features {kind!r}: one of {', '.join(KINDS)}")


def _egemaps() -> Extractor:
    import opensmile

    smile = opensmile.Smile(feature_set=opensmile.FeatureSet.eGeMAPSv02, feature_level=opensmile.FeatureLevel.Functionals)

    def extract(samples: Vector) -> Vector:
        values = smile.process_signal(samples, SAMPLE_RATE).to_numpy(dtype=np.float32)[0]
        return np.nan_to_num(values)

    return extract


def _logmel() -> Extractor:
    import torch

    from training.encoders.compact import LogMel, SpeechSpan

    span, mel = SpeechSpan(), LogMel()

    @torch.inference_mode()
    def extract(samples: Vector) -> Vector:
        cut, lengths, _ = span(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
        bands, frames = mel(cut, lengths)
        values = bands[0, :, : int(frames[0])].numpy()
        return np.concatenate([values.mean(1), values.std(1), *np.percentile(values, PERCENTILES, axis=1)]).astype(np.float32)

    return extract


def _whisper(weights: Path) -> Extractor:
    import torch

    from training.encoders.compact import CompactEncoder

    encoder = CompactEncoder(BLOCKS).load_whisper(weights / "whisper_tiny_en_encoder_fp16.npz").eval()

    @torch.inference_mode()
    def extract(samples: Vector) -> Vector:
        states, frames, _ = encoder(torch.from_numpy(samples)[None], torch.tensor([len(samples)]))
        inside = [state[0, : int(frames[0])] for state in states[1:]]
        pooled = [part for state in inside for part in (state.mean(0), state.std(0, correction=0))]
        return np.asarray(torch.cat(pooled).numpy())

    return extract


def origin(kind: str) -> str:
    """What the numbers depend on besides the clip: openSMILE's release, or the code of the front end."""
    if kind == "egemaps":
        return version("opensmile")
    return hashlib.sha256(ENCODER.read_bytes()).hexdigest()[:12]


def table(kind: str, files: Sequence[Path], name: str, weights: Path | None = None, cache: Path = CACHE) -> Vector:
    """The features of `files`, (files, dim). `name` (of the corpus) names the file that keeps them.

    The cache holds one vector a file by the sha256 of its bytes, so that a changed file is computed again.
    """
    keys = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    store = cache / f"{kind}-{origin(kind)}-{name}.npz"
    known: dict[str, Vector] = {}
    if store.is_file():
        with np.load(store) as arrays:
            known = dict(zip(arrays["keys"].tolist(), arrays["values"], strict=True))
    missing = [(key, path) for key, path in zip(keys, files, strict=True) if key not in known]
    if missing:
        extract = extractor(kind, weights)
        for number, (key, path) in enumerate(missing, 1):
            known[key] = extract(load_audio(path, target_rate=SAMPLE_RATE)[0].waveform)
            if number % 500 == 0:
                print(f"{kind} {name}: {number} of {len(missing)}", file=sys.stderr)
        store.parent.mkdir(parents=True, exist_ok=True)
        arrays_out: dict[str, Any] = {"keys": np.array(list(known)), "values": np.stack(list(known.values()))}
        np.savez_compressed(store, **arrays_out)
    return np.stack([known[key] for key in keys])
