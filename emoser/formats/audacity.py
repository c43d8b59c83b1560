"""Labels for Audacity (File, Import, Labels)."""

from __future__ import annotations

from emoser.formats.timed import OneRecording, Result, caption, spoken


class Audacity(OneRecording):
    """Start, end and label of each segment of speech, separated by tabs; seconds with six decimals, as Audacity writes them itself."""

    extension = ".txt"

    def document(self, results: list[Result]) -> str:
        rows = [
            (
                segment["start"],
                segment["end"],
                caption(segment) if result["channel"] is None else f"[{result['channel']}] {caption(segment)}",
            )
            for result in results
            for segment in spoken(result)
        ]
        return "".join(f"{start:.6f}\t{end:.6f}\t{label}\n" for start, end, label in sorted(rows))
