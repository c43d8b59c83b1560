"""Taking up a .jsonl that an interrupted run left behind."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from emoser.cli.inputs import STDIN
from emoser.errors import UsageError
from emoser.formats import Header
from emoser.results import SCHEMA, SILENCE

FIELD = {"predict": "scores", "embed": "embedding", "check": "findings", "diarize": "segments"}
ROUNDING = 1e-5  # by which a score in the file may differ from the one that was compared
CURE = "give another file with -o, or remove this one"


class _Line(NamedTuple):
    """What a line is about, and what is to become of it.

    done: a complete result. stays: a result that this run cannot make again, of standard input, a microphone or other inputs. again: a
    result that failed. cut: the line was not written to its end, and nothing is known of it.
    """

    fate: Literal["done", "stays", "again", "cut"]
    file: str | None = None
    model: str | None = None
    channel: int | None = None
    speakers: bool | None = None  # whether any segment has one, where any has speech


def take_up(
    path: Path, header: Header, inputs: Collection[str], accept: Callable[[Collection[str]], None] = lambda done: None
) -> Counter[str]:
    """Clean the file and count how often it holds each input complete.

    Dropped, so that this run does them again, are of its `inputs`: failed ones, a last line that was cut off, and, where an input has
    several lines (channels are judged one by one, or several checkpoints answer), all lines of the last input, of which some may be
    missing, and of those that failed in part. What came from elsewhere, standard input and microphones too, stays, and counts for nothing.

    Raises UsageError if the file is not what this run would write: nothing of the user's is ever overwritten by mistake. `accept` is told
    the inputs that are done before anything is dropped, and may raise one too.
    """
    ours = frozenset(inputs)
    lines = [line if line.fate == "cut" or line.file in ours else line._replace(fate="stays") for line in _read(path, header)]
    again = _in_part(lines, several=bool(header.models))
    stays = [line.fate == "stays" or (line.fate == "done" and line.file not in again) for line in lines]
    complete = [line for line, whole in zip(lines, stays, strict=True) if whole and line.fate == "done"]
    _check_answers(complete, header, path)
    told = [line.speakers for line in complete if line.speakers is not None]
    if header.speakers and told and not any(told):
        raise UsageError(f"{path} was made without --speakers; {CURE}")
    done = _counted(complete)
    accept(done)
    if not all(stays):
        _rewrite(path, stays)
    return done


def _read(path: Path, header: Header) -> list[_Line]:
    found: list[_Line] = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            where = f"{path}, line {number}"
            found.append(_judged(_record(line, where), header, where) if line.endswith(b"\n") else _Line("cut"))
    return found


def _record(line: bytes, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    if not isinstance(record, dict) or not _is_result(record):
        raise UsageError(f"{where} is not a result of emoser, so nothing was added to it; {CURE}")
    return record


def _is_result(record: dict[str, Any]) -> bool:
    """As far as it is looked at here."""
    model, scores, segments = record.get("model", {}), record.get("scores", {}), record.get("segments", [])
    return (
        record.get("schema") == SCHEMA
        and isinstance(record.get("file", 0), str | None)
        and isinstance(model, dict)
        and isinstance(model.get("name", ""), str)
        and isinstance(scores, dict)
        and isinstance(segments, list)
        and all(isinstance(part, dict) and _is_scored(part) for part in (record, *segments))
    )


def _is_scored(part: dict[str, Any]) -> bool:
    return isinstance(part.get("confidence", 0.0), int | float) and isinstance(part.get("warnings", []), list)


def _judged(record: dict[str, Any], header: Header, where: str) -> _Line:
    """Raises UsageError for what a run like this one does not write."""
    file, model = record["file"], record.get("model", {}).get("name")
    failed, result = "error" in record, FIELD[header.kind] in record
    if header.models and failed and model is None:  # it was not read, so that no checkpoint answered
        return _Line("again", file)
    labels = _labels(record.get("model", {}), header, where)
    live = header.kind == "diarize" and "segment" in record  # a line of `listen`
    if not (result or live or failed):
        raise UsageError(f"{where} holds no result of `emoser {header.kind}`; {CURE}")
    if header.kind == "predict" and result and set(record["scores"]) != set(labels):
        raise UsageError(f"{where} has the labels {', '.join(record['scores'])}, this run {', '.join(labels)}; {CURE}")
    if live or (result and file in (None, STDIN)):
        return _Line("stays", file, model)
    if result:
        _check_options(record, header, where)
    spoken = _spoken(record)
    speakers = any("speaker" in part for part in spoken) if spoken else None
    return _Line("again" if failed else "done", file, model, record.get("channel"), speakers)


def _spoken(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The segments of a diarization in which somebody speaks."""
    return [part for part in record.get("segments", ()) if part.get("label") != SILENCE]


def _check_options(record: dict[str, Any], header: Header, where: str) -> None:
    """Raises UsageError for a result that other options gave, as far as it shows: skipped, it would pass for one of this run."""
    channel = record.get("channel")
    if header.channel is not None:
        wanted = isinstance(channel, int) if header.channel == "each" else channel == (None if header.channel == "mix" else header.channel)
        if not wanted:
            of = "all channels mixed" if channel is None else f"channel {channel}"
            raise UsageError(f"{where} is of {of}, this run has --channel {header.channel}; {CURE}")
    scored = [record] if header.kind == "predict" else _spoken(record)
    for part in scored:
        confidence, unsure = part.get("confidence", header.min_confidence), "low_confidence" in part.get("warnings", ())
        if unsure != (confidence < header.min_confidence) and abs(confidence - header.min_confidence) > ROUNDING:
            marked = "marked" if unsure else "not marked"
            raise UsageError(f"{where}: a score of {confidence:.2f} is {marked} as low, this run has another --min-confidence; {CURE}")
    if header.kind == "diarize":
        if (record.get("transcript") is not None) != header.transcripts:
            raise UsageError(f"{where} was made {'without' if header.transcripts else 'with'} --subtitles; {CURE}")
        if not header.speakers and any("speaker" in part for part in scored):
            raise UsageError(f"{where} was made with --speakers; {CURE}")


def _labels(model: dict[str, Any], header: Header, where: str) -> Sequence[str]:
    """Those of the checkpoint of this run that gave the line. Raises UsageError if another one did.

    A line without sha256, as they were written once, is known by the name alone.
    """
    blocks = {block["name"]: block for block in (header.models or ((header.model,) if header.model else ()))}
    name, digest = model.get("name"), model.get("sha256")
    if name not in (blocks or {None}):
        this = ", ".join(blocks) or header.kind
        raise UsageError(f"{where} holds results of {name or 'another command'}, this run is of {this}; {CURE}")
    if name is None:
        return ()
    if digest not in (None, blocks[name]["sha256"]):
        text = "another precision, version or adaptation of it"
        raise UsageError(f"{where} holds results of another {name} (sha256 {digest}): {text}; {CURE}")
    labels: Sequence[str] = blocks[name]["labels"]
    return labels


def _in_part(lines: Iterable[_Line], *, several: bool) -> set[str | None]:
    """Inputs that may have complete lines and lack others."""
    whole = [line for line in lines if line.fate != "cut"]
    if not several and all(line.channel is None for line in whole):
        return set()
    # Of the last one more may have been to come; so may what was cut off have been.
    last = {line.file for line in whole[-1:] if line.fate != "stays"}
    return last | {line.file for line in whole if line.fate == "again"}


def _check_answers(complete: Iterable[_Line], header: Header, path: Path) -> None:
    """Raises UsageError where fewer checkpoints answered than this run has: the others would never be asked."""
    answered: defaultdict[str | None, set[str | None]] = defaultdict(set)
    for line in complete:
        answered[line.file].add(line.model)
    for file, models in answered.items():
        if missing := [block["name"] for block in header.models if block["name"] not in models]:
            raise UsageError(f"{path} holds no result of {', '.join(missing)} for {file}: it is of fewer checkpoints than this run; {CURE}")


def _counted(complete: Iterable[_Line]) -> Counter[str]:
    """How often each input is there: as often as one channel of it by one checkpoint."""
    done: Counter[str] = Counter()
    for line, count in Counter(complete).items():
        if line.file is not None:
            done[line.file] = max(done[line.file], count)
    return done


def _rewrite(path: Path, stays: Iterable[bool]) -> None:
    """Without the lines that do not stay."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with path.open("rb") as lines, part.open("wb") as clean:
            clean.writelines(line for line, whole in zip(lines, stays, strict=True) if whole)
        part.chmod(path.stat().st_mode)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
