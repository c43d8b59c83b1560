"""What official layouts do not say about their files: duration and sha256."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import soundfile

from training.corpora.manifest import Manifest, Utterance


def measured(manifest: Manifest) -> Manifest:
    """The manifest with the duration (seconds) and sha256 of each file filled in where they are unknown; reads every such file once.

    With the hashes, `Manifest.checksum` vouches for the audio as well as for the labels.
    """
    return replace(manifest, utterances=tuple(completed(manifest, item) for item in manifest))


def completed(manifest: Manifest, item: Utterance) -> Utterance:
    path = manifest.file(item)
    if item.duration is None:
        end = soundfile.info(path).duration if item.end is None else item.end
        item = replace(item, duration=round(end - (item.start or 0.0), 6))
    if not item.sha256:
        with path.open("rb") as file:
            item = replace(item, sha256=hashlib.file_digest(file, "sha256").hexdigest())
    return item
