"""Writes docs/cards/<name>.md for every checkpoint, from checkpoints.yaml and the benchmarks' result files.

python scripts/model_card.py [--check]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import measured  # noqa: E402
from benchmarks.accuracy import table, transcripts, unseen  # noqa: E402
from emoser.checkpoints import Checkpoint  # noqa: E402
from emoser.registry import list_checkpoints  # noqa: E402
from scripts.parts import listed, onnx_sizes, owners, transcripts_of  # noqa: E402

CARDS = ROOT / "docs" / "cards"
REGISTRY = ROOT / "checkpoints.yaml"
RESULTS = "../../benchmarks/accuracy/results"

USE = """\
## Use

Speech of one person, one emotion a clip. Trained mostly on acted speech of adults; spontaneous speech, children, other languages and
pathological voices are not tested. The label names how a voice sounds, not what the speaker feels. Not meant to decide anything about a
person. In the European Union, Regulation (EU) 2024/1689, Article 5(1)(f), prohibits inferring the emotions of natural persons in the
workplace and in education institutions, except for medical or safety reasons; most other uses are high-risk (Annex III, point 1(c)),
and the people exposed must be informed (Article 50(3)).
"""


def facts(entry: Checkpoint, shared: dict[str, list[str]]) -> str:
    rows = [
        ["system", f"{entry.system.name}: {entry.system.paper} ({entry.system.year}), <{entry.system.link}>"],
        ["labels", ", ".join(entry.labels)],
        ["languages of training", ", ".join(entry.languages)],
        ["encoder", entry.encoder],
        ["parameters", f"{entry.parameters:,}"],
        ["input", f"{entry.sample_rate} Hz mono, windows up to {entry.longest_window:g} s; a frame every {1000 * entry.frame_hop:g} ms"],
        ["temperature", f"{entry.temperature:g}, fitted on {entry.temperature_fitted_on}"],
        ["licence", entry.license + ("" if entry.commercial_use else "; no commercial use")],
        ["recipe", f"`{entry.recipe}`"],
        ["revision", entry.revision],
    ]
    several = any(len(entry.files(*kind)) > 1 for kind in entry.kinds)
    if several:
        rows.insert(-2, ["files", f"one for each part; as ONNX {onnx_sizes(entry, {})} in all"])
    files = []
    for part in entry.parts:
        others = [name for name in shared.get(part.path, []) if name != entry.name]
        role = [part.role + (f" (that of {listed(others)} too)" if others else "")] if several else []
        files.append([f"`{part.path}`", *role, part.format, part.precision, f"{part.size:,}", f"`{part.sha256}`"])
    head = ["file", *(["part"] if several else []), "format", "precision", "bytes", "sha256"]
    return (
        f"# {entry.name}\n\n{entry.summary}\n\n{table.markdown(['', ''], rows, numbers=False)}\n\n"
        f"{table.markdown(head, files, numbers=False)}\n"
    )


def training(entry: Checkpoint) -> str:
    rows = [[corpus.corpus, corpus.license] for corpus in entry.trained_on]
    return f"## Trained on\n\n{table.markdown(['corpus', 'licence'], rows, numbers=False)}\n"


def figures(entry: Checkpoint) -> str:
    """The tables of the result files that this checkpoint has; what tells other emotions than the benchmarks' four has none of `accuracy`,
    and the registry's figures instead."""
    parts = []
    if record := table.read(entry.name):
        note = " (of an earlier file of this checkpoint)" if measured.earlier(record["system"], list_checkpoints(REGISTRY)) else ""
        bins = record["calibration"]["pooled"]["bins"]
        parts.append(
            f"## Accuracy{note}\n\nTest speakers, who took no part in training; percent, 95 % interval over speakers.\n\n"
            f"{table.of_corpora(record['scores'])}\n\nMinus the baselines, UAR in points:\n\n{table.differences(record)}\n\n"
            f"## Calibration\n\nExpected calibration error in points, {bins} bins:\n\n{table.calibration(record)}\n\n"
            f"![Reliability diagram]({RESULTS}/{entry.name}-reliability.png)\n"
        )
    elif entry.metrics:
        parts.append(
            "## Accuracy\n\nTest speakers, who took no part in training; percent, 95 % interval over speakers. A corpus counts with the "
            f"labels that it has, the checkpoint may\nanswer with any.\n\n{registered(entry)}\n"
        )
        if adapted := unseen.of(entry.name):
            parts.append(
                "## Unseen corpora\n\nThe same recipe trained without the corpus named, tested on all of it, as it is and adapted to "
                "unlabelled clips of it\n([all of it](../../benchmarks/accuracy/unseen.md#more-emotions)). "
                f"{unseen.settings_said(entry.name)}\n\n{adapted}\n"
            )
    if record := table.read(f"{entry.name}-unseen"):
        parts.append(
            "## Unseen corpora\n\nThe same recipe trained without the corpus named, tested on all of it. "
            f"{unseen.settings_said(entry.name)}\n\n"
            f"{table.of_corpora(record['scores'])}\n\nMinus the baselines, UAR in points:\n\n{table.differences(record)}\n"
        )
    if record := table.read(f"{entry.name}-robustness"):
        rows = [
            [
                condition["name"],
                condition["how"],
                table.with_interval(condition["scores"]["mean_of_corpora"]),
                table.percent(condition["same_label"]),
            ]
            for condition in record["conditions"]
        ]
        head = ["condition", "what was done", "mean UAR", "same label (%)"]
        parts.append(f"## Robustness\n\n{table.PLACES}\n{table.markdown(head, rows, text=2)}\n")
    return "\n".join(parts)


def registered(entry: Checkpoint) -> str:
    """The registry's figures: a row a corpus."""
    rows = []
    for metric in entry.metrics:
        low, high = (100 * bound for bound in metric.interval)
        rows.append([metric.corpus, f"{100 * metric.uar:.1f} [{low:.1f}, {high:.1f}]", str(metric.clips), str(metric.speakers)])
    return table.markdown(["corpus", "UAR", "clips", "speakers"], rows)


def written(entry: Checkpoint) -> str:
    """What its transcripts are worth, of a checkpoint that writes any."""
    scores = transcripts_of(entry.name)
    if not scores:
        return ""
    return (
        "## Transcript\n\nCapitals without punctuation. Errors for each word (WER) and each character (CER) of test speakers, in percent; "
        '"seen" are\nsentences that stand in the training clips too, which the model may know by heart.\n\n'
        f"{transcripts.by_corpus(scores)}\n\n{transcripts.worth(scores)}\n"
    )


def card(entry: Checkpoint, shared: dict[str, list[str]]) -> str:
    """shared: files that are parts of several checkpoints, and of which."""
    return "\n".join(part for part in (facts(entry, shared), training(entry), figures(entry), written(entry), USE) if part)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a card is not up to date")
    entries = list_checkpoints(REGISTRY)
    made = {CARDS / f"{entry.name}.md": card(entry, owners(entries)) for entry in entries}
    if parser.parse_args().check:
        current = {path: path.read_text(encoding="utf-8") for path in CARDS.glob("*.md")}
        return int(current != made)
    CARDS.mkdir(parents=True, exist_ok=True)
    for path in CARDS.glob("*.md"):
        if path not in made:
            path.unlink()
    for path, text in made.items():
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
