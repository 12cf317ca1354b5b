"""From token ids to text.  Reading needs no encoding, so a table of tokens is all there is."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from .errors import CheckpointError

Kind = Literal["plain", "bytes", "metaspace"]

# XLM-R's ids, which the small checkpoints use: these four, then sentencepiece's from its 4th on.
_XLMR_SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")


class Tokenizer:
    """Token strings by id; ids without a string, and special ones, are no text.

    `kind` says what a string is: "plain" text, GPT-2's visible "bytes", or text with a
    "metaspace" (sentencepiece) for each blank.
    """

    def __init__(self, tokens: Mapping[int, str], special: Iterable[int], kind: Kind):
        self.special = frozenset(special)
        self._tokens = {i: t for i, t in tokens.items() if i not in self.special}
        self.kind = kind

    def __len__(self) -> int:
        """How many ids have a token, special ones among them."""
        return len(self._tokens) + len(self.special)

    def decode(self, ids: Sequence[int]) -> str:
        """The text of the ids, special tokens left out."""
        return "".join(self.pieces(ids))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """What each id adds to the text: joined they are `decode(ids)`.

        A character made of several tokens' bytes belongs to the last of them.
        """
        if self.kind == "bytes":
            return list(self._byte_pieces(ids))
        if self.kind == "metaspace":
            return list(self._metaspace_pieces(ids))
        return [self._tokens.get(i, "") for i in ids]

    def _byte_pieces(self, ids: Sequence[int]) -> Iterator[str]:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for n, i in enumerate(ids):
            token = self._tokens.get(i, "")
            # An added token holds ordinary text, blanks for instance, not visible bytes.
            if all(c in _VISIBLE_BYTES for c in token):
                data = bytes(_VISIBLE_BYTES[c] for c in token)
            else:
                data = token.encode()
            yield decoder.decode(data, final=n == len(ids) - 1)

    def _metaspace_pieces(self, ids: Sequence[int]) -> Iterator[str]:
        begun = False
        for i in ids:
            piece = self._tokens.get(i, "").replace("\u2581", " ")
            if not begun:
                piece = piece.removeprefix(" ")
                begun = i in self._tokens
            yield piece

    @classmethod
    def from_folder(cls, folder: Path) -> Tokenizer:
        """From tokenizer.json, vocab.json or sentencepiece.bpe.model, the first that is there.

        Raises CheckpointError where there is none, or one of a kind that TrOCR has not.
        """
        for name, read in _READERS.items():
            path = folder / name
            if path.is_file():
                try:
                    return read(path)
                except (ValueError, KeyError, IndexError, TypeError, AttributeError) as e:
                    raise CheckpointError(f"{path}: not a tokenizer that can be read: {e}") from e
        raise CheckpointError(
            f"{folder}: no tokenizer: one of {', '.join(_READERS)} must lie beside the weights"
        )


def _visible_bytes() -> dict[str, int]:
    """GPT-2's alphabet: printable bytes stand for themselves, the others for U+0100 onwards."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(0x100 + n): b for n, b in enumerate(others)}


_VISIBLE_BYTES = _visible_bytes()


def _read_tokenizer_json(path: Path) -> Tokenizer:
    data = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = data["model"]["vocab"]
    if isinstance(vocabulary, dict):
        tokens = {i: token for token, i in vocabulary.items()}
    else:  # Unigram: a list of [token, score]
        tokens = {i: entry[0] for i, entry in enumerate(vocabulary)}
    added = data.get("added_tokens") or []
    tokens |= {entry["id"]: entry["content"] for entry in added}
    special = [entry["id"] for entry in added if entry.get("special")]
    return Tokenizer(tokens, special, _decoder_kind(data.get("decoder")))


def _decoder_kind(decoder: dict[str, Any] | None) -> Kind:
    """Which strings a tokenizer.json holds, told by how it says they are put together."""
    kinds: dict[str, Kind] = {"ByteLevel": "bytes", "Metaspace": "metaspace", "Fuse": "plain"}
    name = decoder["type"] if decoder else "Fuse"
    if name not in kinds:
        raise ValueError(f"its decoder '{name}' is not supported")
    return kinds[name]


def _read_vocab_json(path: Path) -> Tokenizer:
    tokens = {i: token for token, i in json.loads(path.read_text(encoding="utf-8")).items()}
    names = {*_XLMR_SPECIALS, "<mask>"}
    return Tokenizer(tokens, [i for i, t in tokens.items() if t in names], "bytes")


def _read_sentencepiece(path: Path) -> Tokenizer:
    pieces = [_piece(m) for field, m in _fields(path.read_bytes()) if field == 1]
    # sentencepiece starts with <unk>, <s>, </s>; fairseq moved what follows by one.
    tokens = dict(enumerate([*_XLMR_SPECIALS, *pieces[3:], "<mask>"]))
    return Tokenizer(tokens, [0, 1, 2, 3, len(tokens) - 1], "metaspace")


def _piece(message: Any) -> str:
    """The text (field 1) of sentencepiece's SentencePiece message."""
    return next(bytes(value) for field, value in _fields(message) if field == 1).decode()


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of a protobuf message's fields: bytes, or the number of a varint."""
    position = 0

    def varint() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while position < len(data):
        key = varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
            continue
        if kind not in (1, 2, 5):
            raise ValueError("not a sentencepiece model")
        size = {1: 8, 5: 4}.get(kind) or varint()
        value = data[position : position + size]
        position += size
        yield key >> 3, value


_READERS = {
    "tokenizer.json": _read_tokenizer_json,
    "vocab.json": _read_vocab_json,
    "sentencepiece.bpe.model": _read_sentencepiece,
}
