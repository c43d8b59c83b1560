"""The one place that talks to a hub. Everything goes through `huggingface_hub` and its cache; offline opens no socket."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from emoser.errors import DownloadError

SCHEME = "hf://"


@dataclass(frozen=True)
class Address:
    """A repository (owner/name) at a revision: a commit, a tag or a branch."""

    repository: str
    revision: str

    def __str__(self) -> str:
        return f"{SCHEME}{self.repository}@{self.revision}"


def parse(address: str) -> Address:
    """hf://owner/repository@revision; without a revision, the branch `main`.

    >>> parse("hf://someone/shiftcnn@v1")
    Address(repository='someone/shiftcnn', revision='v1')
    """
    found = re.fullmatch(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", address)
    if found is None:
        raise DownloadError(f"{address!r} is not an address: hf://owner/repository@revision, where the revision is a commit, tag or branch")
    return Address(found[1], found[2] or "main")


def fetch(address: Address, path: str, *, offline: bool = False) -> Path:
    """One file of a repository, from the cache or else from the hub. Raises DownloadError with cause and cure."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # read once, when huggingface_hub is imported
    from huggingface_hub import errors, hf_hub_download

    what = f"{path} of {address}"
    try:
        return Path(hf_hub_download(address.repository, path, revision=address.revision, local_files_only=offline))
    except errors.LocalEntryNotFoundError as error:
        if offline:
            raise DownloadError(f"{what} is not in the cache, and offline nothing is downloaded; run once without --offline") from error
        raise DownloadError(f"{what} is not in the cache, and the hub was not reached: {_cause(error)}; check the connection") from error
    except errors.GatedRepoError as error:
        raise DownloadError(f"{what}: access to the repository must be granted first; see its page at the hub") from error
    except errors.RepositoryNotFoundError as error:
        raise DownloadError(f"{what}: the hub has no such repository, or it is private; check the name, or log in") from error
    except errors.RevisionNotFoundError as error:
        raise DownloadError(f"{what}: the repository has no revision {address.revision!r}; check commit, tag or branch") from error
    except errors.EntryNotFoundError as error:
        raise DownloadError(f"{what}: the repository holds no such file at that revision") from error
    except (errors.HTTPError, OSError, ValueError) as error:  # type: ignore[attr-defined]
        raise DownloadError(f"{what} could not be downloaded: {_cause(error)}; try again") from error


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}".splitlines()[0]
