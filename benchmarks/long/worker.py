"""One forward pass over a whole file, for run.py: wav2vec 2.0 base (95 M parameters, random weights) with a classifier at each frame, the
way SpeechBrain's emotion diarization works. Prints one line of JSON; ends with exit code 3 where memory does not let it."""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

from emoser.audio import load_audio

CLASSES = 4
OUT_OF_MEMORY = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("audio", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", type=float, required=True, help="GiB that the process may take")
    options = parser.parse_args()

    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2ForAudioFrameClassification

    torch.set_num_threads(options.threads)
    limit = round(options.memory * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    model = Wav2Vec2ForAudioFrameClassification(Wav2Vec2Config(num_labels=CLASSES)).eval()
    waveform = torch.from_numpy(load_audio(options.audio)[0].waveform)[None]
    start = time.perf_counter()
    try:
        with torch.inference_mode():
            frames = model(waveform).logits.shape[1]
    except (RuntimeError, MemoryError) as error:  # torch has no error of its own for the CPU's memory
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        raise SystemExit(OUT_OF_MEMORY) from None
    print(json.dumps({"frames": frames, "forward": time.perf_counter() - start}))


if __name__ == "__main__":
    main()
