"""From text to the token ids a checkpoint is trained on: the tokenizers that wrote them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ocrmypdf_trocr_mlx.checkpoints.errors import CheckpointError

# sentencepiece's ids moved as fairseq does; its id for unknown text is XLM-R's <unk>.
_FAIRSEQ_OFFSET = 1
_XLMR_UNKNOWN = 3


class UnknownCharacters(ValueError):
    """A label with characters that the checkpoint has no token for."""

    def __init__(self, characters: str):
        super().__init__(f"characters outside the model's set: {' '.join(characters)}")
        self.characters = characters


class LabelEncoder:
    """Encodes text without special tokens."""

    def __init__(self, encode: Callable[[str], list[int]], unknown: int | None):
        self._encode = encode
        self._unknown = unknown

    def __call__(self, text: str) -> list[int]:
        """Token ids; raises UnknownCharacters."""
        ids = self._encode(text)
        if self._unknown in ids:
            found = {c for c in text if not c.isspace() and self._unknown in self._encode(c)}
            raise UnknownCharacters("".join(sorted(found)))
        return ids

    @classmethod
    def from_folder(cls, folder: Path) -> LabelEncoder:
        """From the checkpoint's tokenizer.json, vocab.json and merges.txt, or sentencepiece."""
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


def _from_json(path: Path) -> LabelEncoder:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    return LabelEncoder(
        lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
        tokenizer.token_to_id("<unk>"),
    )


def _from_bpe(folder: Path) -> LabelEncoder:
    """RoBERTa's: bytes, so that nothing is unknown."""
    from tokenizers.implementations import ByteLevelBPETokenizer

    tokenizer = ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    return LabelEncoder(lambda text: tokenizer.encode(text, add_special_tokens=False).ids, None)


def _from_sentencepiece(path: Path) -> LabelEncoder:
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

    return LabelEncoder(encode, _XLMR_UNKNOWN)
