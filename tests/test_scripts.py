"""The README's tables and the model cards, of a registry with checkpoints of one file and of several, of which two share one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import miniature
import pytest
import yaml

from benchmarks import measured
from benchmarks.accuracy import table, transcripts, unseen
from emoser.checkpoints import ROLES, Metric
from emoser.registry import list_checkpoints
from scripts import model_card, parts, readme_tables


def transducer(name: str, first: str) -> dict[str, Any]:
    """An entry with files that are not there; `first`: whose encoder it has."""
    files = []
    for number, role in enumerate(ROLES):
        stem = f"{first}-encoder" if role == "encoder" else f"{name}-{role}"
        for form, suffix in (("onnx", "onnx"), ("torchscript", "ts")):
            path = f"checkpoints/{form}/{stem}.{suffix}"
            size = 12_000_000 if role == "encoder" else 100_000 * number
            digest = hashlib.sha256(path.encode()).hexdigest()
            files.append({"role": role, "format": form, "precision": "fp16", "path": path, "size": size, "sha256": digest})
    more = {"symbols": ["<blank>", "A", "<eos>"], "state": {"layers": 1, "width": 2}, "frame_temperature": 1.0}
    golden = {"input": "tone", "logits": [0.0] * len(miniature.LABELS), "tokens": [1]}
    return {"name": name, "task": "transducer", "parts": files, "golden": golden, **more}


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`miniature`, `said` and `sung`, in a folder with records and results of its own."""
    registry = miniature.write_registry(tmp_path)
    entries = yaml.safe_load(registry.read_text(encoding="utf-8"))["checkpoints"][:1]
    entries += [entries[0] | transducer(name, "mini") for name in ("said", "sung")]
    registry.write_text(yaml.safe_dump({"checkpoints": entries}), encoding="utf-8")
    scores = {"a/seen": {"wer": 0.2, "cer": 0.1, "clips": 3}, "a/unseen": {"wer": 0.9, "cer": 0.7, "clips": 4}}
    for name, found in (("said", scores), ("sung", scores | {"a/unseen": {"wer": 0.8, "cer": 0.6, "clips": 4}}), ("miniature", {})):
        (tmp_path / f"{name}.json").write_text(json.dumps({"test": {"transcripts": found}}), encoding="utf-8")
    for module in (model_card, readme_tables):
        monkeypatch.setattr(module, "REGISTRY", registry)
    monkeypatch.setattr(parts, "RECORDS", tmp_path)
    monkeypatch.setattr(table, "RESULTS", tmp_path / "results")
    return registry


def test_sizes_are_summed_and_a_shared_file_is_named_once(pages: Path) -> None:
    made = readme_tables.checkpoints()
    rows = {line.split("|")[1].strip(): line for line in made.splitlines()[2:-2]}
    assert "| 1.0 MB (fp16) + `mini-encoder` |" in rows["`said`"] and "| 0.0 MB (fp16) |" in rows["`miniature`"]
    assert made.endswith("\n\n`mini-encoder`, 12.0 MB (fp16), is the encoder of `said` and `sung`: one file for all.")
    entries = list_checkpoints(pages)
    assert parts.onnx_sizes(entries[1], {}) == "13.0 MB (fp16)"
    assert set(parts.owners(entries)) == {"checkpoints/onnx/mini-encoder.onnx", "checkpoints/torchscript/mini-encoder.ts"}


def test_a_card_lists_parts_and_says_what_the_transcript_is_worth(pages: Path) -> None:
    entries = list_checkpoints(pages)
    cards = {entry.name: model_card.card(entry, parts.owners(entries)) for entry in entries}
    said = cards["said"]
    assert "| files | one for each part; as ONNX 13.0 MB (fp16) in all |" in said
    assert "| `checkpoints/onnx/mini-encoder.onnx` | encoder (that of `sung` too) | onnx | fp16 | 12,000,000 |" in said
    assert "| `checkpoints/onnx/said-joint.onnx` | joint | onnx | fp16 | 300,000 |" in said
    assert (
        "| a | seen | 20.0 | 10.0 | 3 |\n| a | unseen | 90.0 | 70.0 | 4 |" in said
        and "70 of 100 characters are wrong: nothing to read" in said
    )
    assert "Transcript" not in cards["miniature"] and "| part |" not in cards["miniature"]


def test_a_card_without_a_result_file_has_the_registrys_figures(pages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = replace(
        list_checkpoints(pages)[0], name="eight", metrics=(Metric("nemo", "held-out speakers", 0.714, (0.683, 0.745), 1078, 2),)
    )
    assert "| nemo | 71.4 [68.3, 74.5] | 1078 | 2 |" in model_card.card(entry, {}) and "Unseen corpora" not in model_card.card(entry, {})
    assert "## Accuracy" not in model_card.card(replace(entry, metrics=()), {})
    uar = {"nemo": {"none": 0.365, "all": 0.43}}
    monkeypatch.setattr(unseen, "records", lambda: {"eight": {"labels": ["sad", "fear"], "uar": uar, "set": ["schedule.steps=1"]}})
    card = model_card.card(entry, {})
    assert "| As it is | 36.5 |" in card and "beside the recipe's: `schedule.steps=1`." in card


def test_the_readme_says_it_of_the_best(pages: Path) -> None:
    made = readme_tables.written()
    assert made.startswith("`said` and `sung` write what is said too") and max(map(len, made.splitlines())) <= readme_tables.WIDTH
    assert "60 of 100 characters are wrong" in made.replace("\n", " ") and "That is the best, `sung`." in made.replace("\n", " ")
    assert "| **said** | 20.0 | 10.0 | 90.0 | 70.0 |" in made
    (pages.parent / "said.json").unlink()
    (pages.parent / "sung.json").unlink()
    assert readme_tables.written() == ""


def test_what_a_transcript_is_worth_in_words() -> None:
    assert transcripts.worth({"a/unseen": {"cer": 0.12}}) == "Of a sentence that stood in no training clip 12 of 100 characters are wrong."
    assert "was not measured" in transcripts.worth({"a/seen": {"cer": 0.12}})


def test_results_may_name_all_parts_by_one_digest(pages: Path) -> None:
    _, said, sung = list_checkpoints(pages)
    joined = hashlib.sha256("".join(part.sha256 for part in said.files("onnx")).encode()).hexdigest()
    assert joined in measured.digests(said) and joined not in measured.digests(sung) and said.parts[0].sha256 in measured.digests(said)


def test_results_of_earlier_files_are_told_apart(pages: Path) -> None:
    """A file that the registry names, another, a checkpoint that it does not know, and an ensemble of two."""
    _, said, sung = entries = list_checkpoints(pages)
    first, second = (measured.digests(each) - {part.sha256 for part in each.parts} for each in (said, sung))
    assert not measured.earlier({"name": "said", "sha256": min(first)}, entries)
    assert measured.earlier({"name": "said", "sha256": min(second)}, entries)
    assert not measured.earlier({"name": "gone", "sha256": "0"}, entries)
    both = replace(said, name="both", parts=(), members=("said", "sung"), temperature=1.0)
    joined = {hashlib.sha256((one + other).encode()).hexdigest() for one in first for other in second}
    assert joined and not any(measured.earlier({"name": "both", "sha256": each}, [*entries, both]) for each in joined)
    assert measured.earlier({"name": "both", "sha256": min(first)}, [*entries, both])


def test_a_read_out_is_counted_with_its_encoder(pages: Path) -> None:
    """Of int8 beside an encoder of fp16, which others have too."""
    data = yaml.safe_load(pages.read_text(encoding="utf-8"))
    encoders = [part for part in data["checkpoints"][1]["parts"] if part["role"] == "encoder"]
    readout = {"role": "readout", "format": "onnx", "precision": "int8", "path": "checkpoints/onnx/read-readout.onnx", "size": 3_000_000}
    files = [*encoders, readout | {"sha256": "0" * 64}, readout | {"format": "torchscript", "path": "read.ts", "sha256": "1" * 64}]
    data["checkpoints"] = [data["checkpoints"][0] | {"name": "read", "parts": files}, *data["checkpoints"][1:]]
    pages.write_text(yaml.safe_dump(data), encoding="utf-8")
    entries = list_checkpoints(pages)
    made = readme_tables.checkpoints()
    assert "| 3.0 MB (int8) + `mini-encoder` |" in made and "is the encoder of `read`, `said` and `sung`" in made
    card = model_card.card(entries[0], parts.owners(entries))
    assert "one for each part; as ONNX 15.0 MB (int8) in all" in card and "| readout | onnx | int8 | 3,000,000 |" in card
    together = hashlib.sha256(("0" * 64 + encoders[0]["sha256"]).encode()).hexdigest()
    assert together in measured.digests(entries[0])
