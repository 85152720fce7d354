"""A sentence encoder of the operator's choice: an ONNX file in ``models/encoder/``, described by a manifest.

Needs the extra ``mailrouter[encoder]``. Without the folder nothing of this is loaded, and nothing else changes.
"""

import hashlib
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mailrouter.classify.model import Model
from mailrouter.classify.trust import Trust

FOLDER, MANIFEST, CACHE = "encoder", "manifest.json", "cache.sqlite"
_BATCH = 32
Vectors = NDArray[np.float32]


class EncoderError(ValueError):
    """The encoder cannot be used; the message says which file and why."""


class Manifest(BaseModel):
    """What is known of an encoder: docs/replay.md explains each key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    onnx: str  # file name in the folder
    sha256: str  # of that file; one that differs is refused
    tokenizer: str = "tokenizer.json"  # of the Hugging Face tokenizers library
    pooling: Literal["mean", "cls", "none"] = "mean"  # none: the model gives one vector a text by itself
    max_tokens: int = Field(256, ge=2)
    dimension: int = Field(ge=1)
    normalise: bool = True  # to length one
    prefix: str = ""  # put before each text, as some encoders want ("query: ")


@dataclass(frozen=True)
class Encoder:
    """Texts to vectors. Made by ``load``."""

    manifest: Manifest
    folder: Path
    session: Any  # onnxruntime.InferenceSession
    tokenizer: Any  # tokenizers.Tokenizer

    def encode(self, texts: Sequence[str]) -> Vectors:
        """One row a text."""
        parts = [self._batch(texts[start : start + _BATCH]) for start in range(0, len(texts), _BATCH)]
        return np.concatenate(parts) if parts else np.zeros((0, self.manifest.dimension), np.float32)

    def encode_cached(self, texts: Sequence[str]) -> Vectors:
        """The same, with vectors of texts that were met before read from a file beside the manifest.

        The file holds hashes and vectors, no texts; it may be removed at any time.
        """
        keys = [hashlib.sha256(f"{self.manifest.sha256}\n{text}".encode()).digest() for text in texts]
        vectors = np.empty((len(texts), self.manifest.dimension), np.float32)
        with closing(sqlite3.connect(self.folder / CACHE, timeout=30)) as cache:
            cache.execute("CREATE TABLE IF NOT EXISTS vector (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID")
            for start in range(0, len(texts), _BATCH):
                part = range(start, min(start + _BATCH, len(texts)))
                marks = ",".join("?" * len(part))
                known = dict(
                    cache.execute(f"SELECT key, value FROM vector WHERE key IN ({marks})", [keys[at] for at in part])  # noqa: S608
                )
                missing = [at for at in part if keys[at] not in known]
                made = self.encode([texts[at] for at in missing]).astype(np.float16)
                new = {keys[at]: vector.tobytes() for at, vector in zip(missing, made, strict=True)}
                cache.executemany("INSERT OR IGNORE INTO vector VALUES (?, ?)", new.items())
                cache.commit()
                for at in part:
                    vectors[at] = np.frombuffer((known | new)[keys[at]], np.float16)
        return vectors

    def _batch(self, texts: Sequence[str]) -> Vectors:
        encoded = self.tokenizer.encode_batch([self.manifest.prefix + text for text in texts])
        ids = np.array([one.ids for one in encoded], dtype=np.int64)
        mask = np.array([one.attention_mask for one in encoded], dtype=np.int64)
        given = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        wanted = {one.name for one in self.session.get_inputs()}
        found = np.asarray(self.session.run(None, {name: given[name] for name in wanted})[0], dtype=np.float32)
        if self.manifest.pooling == "mean":
            found = (found * mask[:, :, None]).sum(axis=1) / np.maximum(mask.sum(axis=1), 1)[:, None]
        elif self.manifest.pooling == "cls":
            found = found[:, 0]
        if found.shape != (len(texts), self.manifest.dimension):
            raise EncoderError(
                f"{self.manifest.name} gives vectors of the shape {found.shape}, not what the manifest says"
            )
        if self.manifest.normalise:
            found = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
        return np.asarray(found, dtype=np.float32)


def load(models: Path) -> Encoder | None:
    """The encoder in ``models/encoder/``; None when there is no manifest. Raises EncoderError."""
    folder = models / FOLDER
    if not (folder / MANIFEST).exists():
        return None
    try:
        manifest = Manifest.model_validate_json((folder / MANIFEST).read_bytes())
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"])) or "the file"
        raise EncoderError(f"{folder / MANIFEST}: {where}: {fault['msg']}") from error
    if _hash_of(folder / manifest.onnx) != manifest.sha256:
        raise EncoderError(f"{folder / manifest.onnx} is not the file its manifest describes (the hash differs)")
    try:
        import onnxruntime  # noqa: PLC0415 (an extra)
        import tokenizers  # noqa: PLC0415
    except ImportError as error:
        raise EncoderError(f"{folder / MANIFEST} needs the extra: pip install 'mailrouter[encoder]'") from error
    tokenizer = tokenizers.Tokenizer.from_str(_read(folder / manifest.tokenizer).decode())
    tokenizer.enable_truncation(manifest.max_tokens)
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id("<pad>") or tokenizer.token_to_id("[PAD]") or 0)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the processes of a city are many; each keeps to its core
    session = onnxruntime.InferenceSession(
        str(folder / manifest.onnx), sess_options=options, providers=["CPUExecutionProvider"]
    )
    return Encoder(manifest, folder, session, tokenizer)


def _hash_of(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise EncoderError(f"cannot read the encoder's file {file}: {error.strerror}") from error


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise EncoderError(f"cannot read the encoder's file {file}: {error.strerror}") from error


DENSE, DENSE_CARD = "dense.npz", "dense.json"


@dataclass(frozen=True)
class Dense:
    """A version's second opinion: planes over an encoder's vectors, added to the scores of the areas."""

    encoder: Encoder
    weights: Vectors  # dimension x areas, in the order of the model's
    intercept: Vectors
    calibration: dict[str, Any]  # fields of the card that hold for the sum

    @property
    def by(self) -> str:
        """What a verdict says of its origin."""
        return f"{self.encoder.manifest.name} {self.encoder.manifest.sha256[:8]}"

    def calibrate(self, model: Model) -> Model:
        """The model with the calibration that holds for its scores and ours together."""
        trust = Trust.from_json(self.calibration["trust"])
        curve = tuple((float(promise), float(least)) for promise, least in self.calibration["curve"])
        temperature = float(self.calibration["temperature"])
        return replace(model, card=replace(model.card, temperature=temperature, trust=trust, curve=curve))

    def scores(self, texts: Sequence[str]) -> Vectors:
        """Texts x areas, to be added."""
        return np.asarray(self.encoder.encode(texts) @ self.weights + self.intercept, dtype=np.float32)


def save_dense(
    folder: Path, encoder: Manifest, weights: NDArray[Any], intercept: NDArray[Any], calibration: dict[str, Any]
) -> None:
    """Write a second opinion beside a version's card."""
    np.savez_compressed(
        folder / DENSE, allow_pickle=False, weights=weights.astype(np.float16), intercept=intercept.astype(np.float32)
    )
    sha256 = _hash_of(folder / DENSE)
    card = {"encoder": encoder.name, "encoder_sha256": encoder.sha256, "sha256": sha256, "calibration": calibration}
    (folder / DENSE_CARD).write_text(json.dumps(card, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def dense_of(models: Path, version: str) -> Dense | None:
    """The second opinion of a version; None without an encoder, or when it was learnt from another one.

    Raises EncoderError when the files are not what they say.
    """
    folder = models / version
    if not (folder / DENSE_CARD).exists():
        return None
    encoder = load(models)
    card = json.loads(_read(folder / DENSE_CARD))
    if encoder is None or encoder.manifest.sha256 != card["encoder_sha256"]:
        return None
    if _hash_of(folder / DENSE) != card["sha256"]:
        raise EncoderError(f"{folder / DENSE} is not the file its card describes (the hash differs)")
    with np.load(folder / DENSE, allow_pickle=False) as arrays:
        return Dense(encoder, arrays["weights"].astype(np.float32), arrays["intercept"], card["calibration"])
