"""From text to the token ids a checkpoint is trained on: the tokenizers that wrote them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ocrmypdf_trocr_mlx.checkpoints.errors import CheckpointError
from ocrmypdf_trocr_mlx.checkpoints.weights import folder_of

# sentencepiece's ids moved as fairseq does; its id for unknown text is XLM-R's <unk>.
_FAIRSEQ_OFFSET = 1
_XLMR_UNKNOWN = 3


class UnknownCharacters(ValueError):
    """A label with characters that the checkpoint has no token for."""

    def __init__(self, characters: str):
        super().__init__(f"characters outside the model's set: {' '.join(characters)}")
        self.characters = characters


class LabelEncoder:
    """Encodes text without special tokens; pickled, it is the folder's name."""

    def __init__(self, folder: Path):
        """From the checkpoint's tokenizer.json, vocab.json and merges.txt, or sentencepiece.

        Raises CheckpointError where there is none of them.
        """
        self._folder = folder
        self._encode, self._unknown = _read(folder_of(folder))

    def __reduce__(self) -> tuple[type[LabelEncoder], tuple[Path]]:
        return LabelEncoder, (self._folder,)

    def __call__(self, text: str) -> list[int]:
        """Token ids; raises UnknownCharacters."""
        ids = self._encode(text)
        if self._unknown in ids:
            found = {c for c in text if not c.isspace() and self._unknown in self._encode(c)}
            raise UnknownCharacters("".join(sorted(found)))
        return ids


# Encodes; the id of what is unknown, if there is one.
_Encoding = tuple[Callable[[str], list[int]], int | None]


def _read(folder: Path) -> _Encoding:
    try:
        if (folder / "tokenizer.json").is_file():
            return _from_json(folder / "tokenizer.json")
        if (folder / "merges.txt").is_file():
            return _from_bpe(folder)
        if (folder / "sentencepiece.bpe.model").is_file():
            return _from_sentencepiece(folder / "sentencepiece.bpe.model")
    except CheckpointError:
        raise
    except Exception as e:  # tokenizers raises bare Exceptions
        raise CheckpointError(f"{folder}: its tokenizer cannot be read: {e}") from e
    raise CheckpointError(
        f"{folder}: no tokenizer that encodes text: tokenizer.json, vocab.json with "
        "merges.txt, or sentencepiece.bpe.model must lie beside the weights"
    )


def _from_json(path: Path) -> _Encoding:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    unknown = tokenizer.token_to_id("<unk>")
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids, unknown


def _from_bpe(folder: Path) -> _Encoding:
    """RoBERTa's: bytes, so that nothing is unknown."""
    from tokenizers.implementations import ByteLevelBPETokenizer

    tokenizer = ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids, None


def _from_sentencepiece(path: Path) -> _Encoding:
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError:
        raise CheckpointError(
            f"{path}: training with this tokenizer needs sentencepiece: pip install sentencepiece"
        ) from None
    processor = SentencePieceProcessor(model_file=str(path))
    unknown = processor.unk_id()

    def encode(text: str) -> list[int]:
        return [
            _XLMR_UNKNOWN if i == unknown else i + _FAIRSEQ_OFFSET for i in processor.encode(text)
        ]

    return encode, _XLMR_UNKNOWN
