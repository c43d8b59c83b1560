"""NPZ: embeddings as arrays, for numpy."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from emoser.formats.base import Header, Record, Writer


class Npz(Writer):
    """What `numpy.load` opens, without pickles. Ten times smaller than text, and exact.

    embedding (n, dim) float32; file (n,) str; channel (n,) int64, -1 where channels were mixed; duration (n,) float64 seconds;
    model () str; failed (m,) and error (m,) str: the inputs that could not be processed, and why.

    The vectors wait in a temporary file, so that memory holds only the names.
    """

    extension = ".npz"
    kinds = ("embed",)
    binary = True

    def open(self, stream: BinaryIO, header: Header) -> None:
        super().open(stream, header)
        self._vectors = tempfile.TemporaryFile()  # noqa: SIM115  closed by close()
        self._dim = 0
        self._rows: list[tuple[str, int, float]] = []
        self._failures: list[tuple[str, str]] = []

    def write(self, record: Record) -> None:
        row = record.to_dict()
        if "error" in row:
            self._failures.append((row["file"] or "", f"{row['error']['type']}: {row['error']['message']}"))
            return
        vector = np.asarray(row["embedding"], dtype=np.float32)
        self._dim = len(vector)
        self._vectors.write(vector.tobytes())
        # Last, so that an interruption between the two leaves a vector too many, which close() cuts, and never one too few.
        self._rows.append((row["file"] or "", -1 if row["channel"] is None else row["channel"], row["duration"]))

    def close(self) -> None:
        assert self.header.model is not None
        with zipfile.ZipFile(self.stream, "w") as archive:
            size = len(self._rows) * self._dim * 4
            self._vectors.truncate(size)
            self._vectors.seek(0)
            with archive.open("embedding.npy", "w", force_zip64=True) as member:
                shape: dict[str, Any] = {"descr": "<f4", "fortran_order": False, "shape": (len(self._rows), self._dim)}
                np.lib.format.write_array_header_1_0(member, shape)
                shutil.copyfileobj(self._vectors, member)
            arrays: dict[str, NDArray[Any]] = {
                "file": np.array([file for file, _, _ in self._rows], dtype=np.str_),
                "channel": np.array([channel for _, channel, _ in self._rows], dtype=np.int64),
                "duration": np.array([duration for _, _, duration in self._rows], dtype=np.float64),
                "model": np.array(self.header.model["name"], dtype=np.str_),
                "failed": np.array([file for file, _ in self._failures], dtype=np.str_),
                "error": np.array([message for _, message in self._failures], dtype=np.str_),
            }
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        self._vectors.close()
        self.stream.flush()
