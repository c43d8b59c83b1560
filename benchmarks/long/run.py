"""Measures `emoser diarize` on long recordings: real-time factor, peak memory against a one-minute file's, and whether what is not speech
got an emotion; beside it a single forward pass over the whole file through a model of wav2vec2-base's size, as far as memory lets it go.

    python -m benchmarks.long.run [--seconds 60 3600 21600] [--threads 2] [--memory 12]

Writes results.json; `python -m benchmarks.long.table` makes README.md from it. Needs the corpora and the extras `cpu` and `train`. Six
hours take about 700 MB of disk for the recording. This file imports no heavy package: a child's peak memory counts that of its parent.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.speed.run import ROOT, Record, checkpoint, machine, measured

RESULTS = Path(__file__).parent / "results.json"
FORWARD = (60, 120, 300, 600, 1200, 3600)  # seconds given to the single pass, until one does not fit
STEP = 0.01  # seconds: the grid on which speech is compared


def diarized(model: str, audio: Path, seconds: float, threads: int, out: Path) -> Record:
    command = [sys.executable, "-m", "emoser", "diarize", "-m", model, "--offline", "-q", "--threads", str(threads)]
    ran = measured([*command, "-f", "json", "-o", str(out), str(audio)], threads)
    (result,) = json.loads(out.read_text(encoding="utf-8"))["results"]
    return {
        "seconds": seconds,
        "wall": round(ran["wall"], 2),
        "cpu": round(ran["cpu"], 2),
        "speed": round(seconds / ran["wall"], 1),
        "peak_bytes": ran["peak"],
        "segments": len(result["segments"]),
        **shares(json.loads(audio.with_suffix(".json").read_text()), result["segments"]),
    }


def shares(truth: list[tuple[float, float, str]], segments: list[Record]) -> Record:
    """By kind, the share of time that got an emotion: of speech it should be all, of the others none. None where a kind lacks."""
    length = round(truth[-1][1] / STEP)
    spoken = bytearray(length)
    for segment in segments:
        if segment["label"] != "silence":
            first, stop = round(segment["start"] / STEP), min(length, round(segment["end"] / STEP))
            spoken[first:stop] = b"\1" * (stop - first)
    found: dict[str, list[int]] = {}
    for start, end, kind in truth:
        piece = spoken[round(start / STEP) : round(end / STEP)]
        found.setdefault(kind, [0, 0])
        found[kind][0] += sum(piece)
        found[kind][1] += len(piece)
    return {"emotion": {kind: round(got / of, 4) if of else None for kind, (got, of) in sorted(found.items())}}


def forward(audio: Path, seconds: float, threads: int, memory: float) -> Record:
    """The single pass, in a process that may take `memory` GiB; `fits` says whether it came to its end."""
    command = [sys.executable, "-m", "benchmarks.long.worker", str(audio), "--threads", str(threads), "--memory", str(memory)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 3, -9):  # done, out of its memory, or killed for that of the machine
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}")
        output.seek(0)
        inner = json.loads(output.read()) if process.returncode == 0 else {}
    fits = process.returncode == 0
    return {
        "seconds": seconds,
        "fits": fits,
        "wall": round(wall, 2),
        "speed": round(seconds / inner["forward"], 2) if fits else None,
        "peak_bytes": usage.ru_maxrss * 1024,
    }


def mixture(path: Path, seconds: float) -> None:
    """In a process of its own, which may be large."""
    subprocess.run([sys.executable, "-m", "benchmarks.long.mixture", str(path), "--seconds", str(seconds)], cwd=ROOT, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="shiftcnn")
    parser.add_argument("--seconds", type=float, nargs="+", default=[60, 3600, 21_600], help="the first is what memory is compared with")
    parser.add_argument("--forward", type=float, nargs="*", default=FORWARD, help="seconds for the single pass; none leaves it out")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory", type=float, default=12, help="GiB that the single pass may take")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    record: Record = {"machine": machine(), "load_before": round(load, 2), "checkpoint": checkpoint(options.model)}
    record |= {"threads": options.threads, "memory_gib": options.memory, "diarize": [], "forward": []}
    with tempfile.TemporaryDirectory() as folder:
        for seconds in options.seconds:
            audio = Path(folder, "long.wav")
            mixture(audio, seconds)
            record["diarize"].append(diarized(options.model, audio, seconds, options.threads, Path(folder, "out.json")))
            print(record["diarize"][-1], file=sys.stderr)
        for seconds in options.forward:
            audio = Path(folder, "long.wav")
            mixture(audio, seconds)
            record["forward"].append(forward(audio, seconds, options.threads, options.memory))
            print(record["forward"][-1], file=sys.stderr)
            if not record["forward"][-1]["fits"]:
                break
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {options.out.name}; now: python -m benchmarks.long.table")


if __name__ == "__main__":
    main()
