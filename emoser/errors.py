"""The errors a user meets. Each message says what was given, what is allowed and what to do."""

from __future__ import annotations


class EmoserError(Exception):
    """Base of every error that emoser raises on purpose. `exit_code` is what the command line ends with."""

    exit_code = 1


class AudioError(EmoserError):
    """The audio could not be read or is not usable."""


class AudioDecodeError(AudioError):
    """A file is missing, empty, not audio, truncated, or in a codec that needs an extra."""


class AudioTooShort(AudioError):
    """Less than 100 ms of audio."""


class AudioValueError(AudioError):
    """An array has an ambiguous shape, an unusable type, or holds NaN or infinity."""


class Interrupted(AudioError):
    """The caller wanted no more of a recording than what was read so far."""


class UsageError(EmoserError):
    """Options or arguments that cannot be right, whatever the audio."""

    exit_code = 2


class CheckpointError(EmoserError):
    """A checkpoint is not available."""

    exit_code = 3


class UnknownCheckpoint(CheckpointError):
    """No checkpoint of that name; the message lists all names and the nearest."""


class ChecksumMismatch(CheckpointError):
    """A file does not have the sha256 that the registry holds."""


class DownloadError(CheckpointError):
    """The hub did not deliver: offline, no such repository, revision or file, or a connection that broke."""


class OutputError(EmoserError):
    """The results cannot be written: a full disk, a folder that is missing or protected."""


class MissingExtra(EmoserError):
    """A feature needs a package of an extra that is not installed."""

    exit_code = 4

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f'{what} needs the extra "{extra}": pip install "emoser[{extra}]"')
        self.extra = extra


class RuntimeClash(EmoserError):
    """Both onnxruntime and onnxruntime-gpu are installed, and one hides the other's files."""

    exit_code = 4


class DeviceError(UsageError):
    """The device asked for is not there."""
