"""Measures how fast emoser is, beside what anyone can measure on the same machine in the same minutes.

    python -m benchmarks.speed.run [-m shiftcnn] [--clips DIR] [--repeats 5] [--start-alone]

Writes results.json, or with --start-alone measures the starts anew and leaves the rest of it as it is; the main figures of the runs that
stood there before stay in it. `python -m benchmarks.speed.table` makes README.md from it. Needs the extras `cpu` and `train` (torch,
transformers).

- start: `emoser --help` against a process that imports click, and a first prediction against one that imports what it cannot do without
- speed, processor time and memory: the checkpoint against wav2vec2-base with a classifier on top, the architecture that most public
  emotion recognisers share, with random weights (they cost the same as trained ones), through transformers' audio-classification pipeline;
  the same clips, decoded before the clock starts, one by one
- a folder: `emoser predict DIR` as a process, from start to end, decoding included

All systems take turns in every repeat, so that a machine that gets busier slows all alike: compare ratios, not seconds. This file imports
the standard library alone, for on Linux a child's peak memory counts that of the parent it was forked from.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = Path(__file__).parent / "results.json"
SAMPLE = ROOT / "examples" / "clip.wav"

SPEECH = ("ravdess", "nemo", "emovo", "emodb", "ased", "emospeech-in", "speechocean762")  # folders of the corpora root
SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3"}
PACKAGES = ("numpy", "onnxruntime", "soundfile", "click", "torch", "transformers")
THREADS = (1, 2)
REFERENCE = "wav2vec2-base"

Record = dict[str, Any]


def measured(command: list[str], threads: int | None = None, cache: Path | None = None) -> Record:
    """Runs a command in the clone -> `wall` and `cpu` seconds (of it and its children), `peak` bytes of memory, and its `output`."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "PYTHONWARNINGS": "ignore"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # installed packages have theirs; the clone gets its own in the warm-up
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    if cache is not None:
        environment["EMOSER_CACHE"] = str(cache)
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=errors)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)  # it is reaped: tell Popen
        if process.returncode != 0:
            errors.seek(0)
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{errors.read().decode()[-2000:]}")
        output.seek(0)
        return {
            "wall": wall,
            "cpu": usage.ru_utime + usage.ru_stime,
            "peak": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
            "output": output.read().decode(),
        }


def in_turns(commands: dict[str, Callable[[], Record]], repeats: int) -> dict[str, list[Record]]:
    """Each command once to warm up the machine's caches, then all of them in turns."""
    for command in commands.values():
        command()
    found: dict[str, list[Record]] = {name: [] for name in commands}
    for _ in range(repeats):
        for name, command in commands.items():
            found[name].append(command())
    return found


def column(records: list[Record], key: str, digits: int = 4) -> list[float]:
    return [round(record[key], digits) for record in records]


def ratio(these: Iterable[float], those: Iterable[float]) -> float:
    """The median over repeats of this / that, each pair measured one after the other.

    >>> ratio([2.0, 30.0, 8.0], [1.0, 10.0, 2.0])
    3.0
    """
    return round(statistics.median(this / that for this, that in zip(these, those, strict=True)), 2)


def start_up(model: str, clip: Path, cache: Path, repeats: int) -> Record:
    """Whole processes, in seconds."""
    python = sys.executable
    commands = {
        "help": [python, "-m", "emoser", "--help"],
        "import click": [python, "-c", "import click"],
        "predict": [python, "-m", "emoser", "predict", "-m", model, "--offline", str(clip)],
        "import numpy, onnxruntime, soundfile": [python, "-c", "import numpy, onnxruntime, soundfile"],
    }
    found = in_turns({name: lambda command=command: measured(command, cache=cache) for name, command in commands.items()}, repeats)
    seconds = {name: column(records, "wall") for name, records in found.items()}
    return {
        "seconds": seconds,
        "peak_bytes": {name: int(statistics.median(column(found[name], "peak"))) for name in list(commands)[2:]},
        "ratios": {
            "help": ratio(seconds["help"], seconds["import click"]),
            "predict": ratio(seconds["predict"], seconds["import numpy, onnxruntime, soundfile"]),
        },
    }


def inference(model: str, precisions: list[str | None], clips: list[Path], cache: Path, repeats: int) -> Record:
    """Clips in memory -> results, one by one. `speed` is seconds of audio a second, `cpu` processor seconds a second of audio."""
    listing = cache / "clips.json"
    listing.write_text(json.dumps([str(clip) for clip in clips]))

    def job(system: str, precision: str | None, threads: int) -> Callable[[], Record]:
        command = [sys.executable, "-m", "benchmarks.speed.worker", str(listing), "--system", system, "--threads", str(threads)]
        command += ["-m", model] if system == "emoser" else []
        command += ["--precision", precision] if precision else []

        def run() -> Record:
            found = measured(command, threads, cache)
            inner = json.loads(found["output"].splitlines()[-1])
            return {
                "speed": inner["audio"] / inner["wall"],
                "cpu": inner["cpu"] / inner["audio"],
                "load": inner["load"],
                "peak": found["peak"],
                "audio": inner["audio"],
            }

        return run

    ours = [("emoser", precision) for precision in precisions]
    jobs = {f"{precision or system} x{threads}": job(system, precision, threads) for threads in THREADS for system, precision in ours}
    jobs |= {f"{REFERENCE} x{threads}": job("wav2vec2", None, threads) for threads in THREADS}
    found = in_turns(jobs, repeats)
    systems = {}
    for name, records in found.items():
        label, threads = name.rsplit(" x", 1)
        reference = found[f"{REFERENCE} x{threads}"]
        systems[name] = {
            "system": label,
            "threads": int(threads),
            "speed": column(records, "speed", 2),
            "cpu": column(records, "cpu", 5),
            "load": column(records, "load"),
            "peak_bytes": int(statistics.median(column(records, "peak"))),
            "ratios": {
                "speed": ratio(column(records, "speed"), column(reference, "speed")),
                "cpu": ratio(column(reference, "cpu"), column(records, "cpu")),
                "peak": ratio(column(reference, "peak"), column(records, "peak")),
            },
        }
    return {"clips": len(clips), "seconds_of_audio": round(next(iter(found.values()))[0]["audio"], 1), "systems": systems}


def folder(model: str, clips: list[Path], cache: Path, repeats: int) -> Record:
    """`emoser predict DIR`, from the start of the process to its end."""
    place = cache / "folder"
    place.mkdir()
    for number, clip in enumerate(clips):
        shutil.copy(clip, place / f"{number:04d}{clip.suffix}")
    out = cache / "results.jsonl"

    def run() -> Record:
        out.unlink(missing_ok=True)
        command = [sys.executable, "-m", "emoser", "predict", "-m", model, "--offline", "-q", "-f", "jsonl", "-o", str(out), str(place)]
        found = measured(command, cache=cache)
        results = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
        if len(results) != len(clips) or any("error" in result for result in results):
            raise SystemExit(f"{len(clips)} clips gave {len(results)} results: {[result for result in results if 'error' in result][:3]}")
        return found | {"audio": sum(result["duration"] for result in results)}

    records = in_turns({"predict": run}, repeats)["predict"]
    return {
        "clips": len(clips),
        "seconds_of_audio": round(records[0]["audio"], 1),
        "wall": column(records, "wall", 3),
        "cpu": column(records, "cpu", 3),
        "peak_bytes": int(statistics.median(column(records, "peak"))),
    }


def find_clips(given: Path | None, count: int) -> tuple[str, list[Path]]:
    """What they are, and `count` audio files in an order that is mixed but always the same; the shipped sample where there are none."""
    from training.paths import corpora_root

    root = given or corpora_root()
    folders = [given] if given else [root / name for name in SPEECH if (root / name).is_dir()] if root else []
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES]
    if given and not files:
        raise SystemExit(f"no audio file ({', '.join(sorted(SUFFIXES))}) under {given}")
    if root is None or not files:
        return "examples/clip.wav, repeated", [SAMPLE] * count
    files.sort(key=lambda path: hashlib.sha256(path.relative_to(root).as_posix().encode()).digest())
    source = "a folder of the person who ran it" if given else "real speech, " + ", ".join(folder.name for folder in folders)
    return source, [files[number % len(files)] for number in range(count)]


def machine() -> Record:
    """What it ran on; no names of hosts, people or folders."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": versions,
    }


def checkpoint(model: str) -> Record:
    """Name, revision and the precisions of its ONNX files, asked of a process of its own (this one stays small)."""
    found = measured([sys.executable, "-m", "benchmarks.speed.worker", "--describe", "-m", model])
    return json.loads(found["output"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", default="shiftcnn", help="name or path of a checkpoint")
    parser.add_argument("--clips", type=Path, help="a folder of speech (default: the corpora, else the shipped sample)")
    parser.add_argument("--count", type=int, default=24, help="clips one by one (default: 24)")
    parser.add_argument("--folder-count", type=int, default=240, help="clips in the folder (default: 240)")
    parser.add_argument("--repeats", type=int, default=5, help="of each measurement (default: 5); starts are cheap and take twice as many")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS, help="default: results.json beside this file")
    parser.add_argument("--start-alone", action="store_true", help="measure the starts anew, and keep the rest of the results")
    options = parser.parse_args()

    source, clips = find_clips(options.clips, max(options.count, options.folder_count))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    with tempfile.TemporaryDirectory() as name:
        cache = Path(name)
        about = checkpoint(options.model)
        conditions = {"day": date.today().isoformat(), "machine": machine(), "load_before": None if load is None else round(load, 2)}
        if options.start_alone:
            record = json.loads(options.out.read_text(encoding="utf-8"))
            if record["checkpoint"]["sha256"] != about["sha256"]:
                raise SystemExit(f"{options.out.name} is of another file of {about['name']}: measure all of it anew")
            record["start"] = start_up(options.model, clips[0], cache, 2 * options.repeats) | {"measured_apart": conditions}
            write(record, options.out)
            return
        record = {**conditions, "checkpoint": about, "clips": source, "repeats": options.repeats}
        record["start"] = start_up(options.model, clips[0], cache, 2 * options.repeats)
        record["folder"] = folder(options.model, clips[: options.folder_count], cache, options.repeats)
        record["inference"] = inference(options.model, about["precisions"], clips[: options.count], cache, options.repeats)
    record["earlier"] = earlier(options.out, about["name"])
    write(record, options.out)


def earlier(out: Path, name: str) -> list[Record]:
    """The main figures of the runs of a checkpoint that `out` holds, the oldest first: one machine of a name is not as fast as another."""
    if not out.is_file():
        return []
    before = json.loads(out.read_text(encoding="utf-8"))
    return [*before.get("earlier", []), summary(before)] if before["checkpoint"]["name"] == name else []


def summary(record: Record) -> Record:
    """A run in one row of a table."""
    systems, whole = record["inference"]["systems"], record["folder"]
    return {
        **{key: record[key] for key in ("day", "load_before")},
        "machine": {key: record["machine"][key] for key in ("cpu", "cores")},
        "revision": record["checkpoint"]["revision"],
        "systems": {label: {"speed": statistics.median(one["speed"]), "ratio": one["ratios"]["speed"]} for label, one in systems.items()},
        "folder": round(whole["seconds_of_audio"] / statistics.median(whole["wall"])),
    }


def write(record: Record, out: Path) -> None:
    out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {out.name}; now: python -m benchmarks.speed.table")


if __name__ == "__main__":
    main()
