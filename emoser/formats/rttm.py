"""RTTM, as diarization toolkits exchange it."""

from __future__ import annotations

from typing import ClassVar

from emoser.formats.base import Kind, Record, Writer
from emoser.formats.timed import recording_id, spoken


class Rttm(Writer):
    """A SPEAKER line for each segment of speech (NIST, RT-09 evaluation plan, appendix A), with the emotion in place of the speaker's name
    and its confidence. Any number of recordings; channels are counted from 1."""

    extension = ".rttm"
    kinds: ClassVar[tuple[Kind, ...]] = ("diarize",)

    def write(self, record: Record) -> None:
        result = record.to_dict()
        name, channel = recording_id(result["file"]), (result.get("channel") or 0) + 1
        for segment in spoken(result) if "segments" in result else []:
            time = f"{segment['start']:.3f} {segment['end'] - segment['start']:.3f}"
            self.put(f"SPEAKER {name} {channel} {time} <NA> <NA> {segment['label']} {segment['confidence']:.4f} <NA>\n")

    def close(self) -> None:
        self.stream.flush()
