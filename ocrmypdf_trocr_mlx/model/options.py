"""How to decode: transformers' generation parameters, as far as TrOCR checkpoints use them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

log = logging.getLogger(__name__)

# Parameters that would change the reading and are not implemented; value: what switches them off.
_UNSUPPORTED = {
    "do_sample": False,
    "repetition_penalty": 1.0,
    "bad_words_ids": None,
    "sequence_bias": None,
    "diversity_penalty": 0.0,
    "exponential_decay_length_penalty": None,
}
# transformers' default, written into old config.json files unasked: it cuts lines off.
_MEANINGLESS_MAX_LENGTH = 20


def _ids(value: int | Iterable[int] | None) -> tuple[int, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, int) else tuple(value)


@dataclass(frozen=True)
class GenerateOptions:
    """Lengths count the start token, as in transformers.

    `early_stopping` is False, True or "never".  `loop_limit` stops a row that says the same
    short thing so many times in a row; 0, which parity with transformers needs, never does.
    `attention_layer` is the decoder layer whose cross-attention is kept: of the bundled model
    the last points best, within a third of a patch of a letter's middle (median).
    """

    start: int
    eos: tuple[int, ...]
    pad: int
    max_length: int
    min_length: int = 0
    num_beams: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | str = False
    no_repeat_ngram_size: int = 0
    forced_bos_token_id: int | None = None
    forced_eos_token_id: tuple[int, ...] = ()
    suppress_tokens: tuple[int, ...] = ()
    begin_suppress_tokens: tuple[int, ...] = ()
    keep_attention: bool = False
    attention_layer: int = -1
    loop_limit: int = 0

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any],
        generation_config: Mapping[str, Any] | None,
        **overrides: Any,
    ) -> GenerateOptions:
        """The checkpoint's own way: generation_config.json, else what config.json says of it.

        Without a maximal length of its own a checkpoint may fill its position table.
        """
        decoder = config["decoder"]
        sources = [generation_config] if generation_config is not None else [config, decoder]
        if generation_config is None and config.get("max_length") in (
            None,
            _MEANINGLESS_MAX_LENGTH,
        ):
            sources = [{k: v for k, v in s.items() if k != "max_length"} for s in sources]
        for source in sources:
            for name, value in ignored(source).items():
                log.warning("generation parameter %s=%r is ignored", name, value)

        def find(name: str, *more: Mapping[str, Any]) -> Any:
            return next((s[name] for s in [*sources, *more] if s.get(name) is not None), None)

        # Only the tokens may come from config.json where there is a generation_config.json.
        bos = find("bos_token_id", config, decoder)
        start = find("decoder_start_token_id", config, decoder)
        eos = _ids(find("eos_token_id", config, decoder))
        pad = find("pad_token_id", config, decoder)
        positions = decoder.get("max_position_embeddings", 512)
        max_length = find("max_length") or positions
        if (new := find("max_new_tokens")) is not None:
            max_length = new + 1
        min_length = find("min_length") or 0
        if (new := find("min_new_tokens")) is not None:
            min_length = new + 1
        values: dict[str, Any] = {
            "start": bos if start is None else start,
            "eos": eos,
            "pad": pad if pad is not None else (eos[0] if eos else 0),
            "max_length": max_length,
            "min_length": min_length,
        }
        for name in ("forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens"):
            values[name] = _ids(find(name))
        for field in fields(cls):
            if field.name not in values and (value := find(field.name)) is not None:
                values[field.name] = value
        values.update(overrides)
        # There is no position after the last row of the table.
        values["max_length"] = min(values["max_length"], positions)
        return cls(**values)

    def kept_layer(self, layers: int) -> int | None:
        """Which of so many layers' attention is kept, if any."""
        return self.attention_layer % layers if self.keep_attention else None

    def is_loop(self, tokens: list[int]) -> bool:
        """Whether the tokens end in a pattern of 1 to 8 said `loop_limit` times over."""
        if not self.loop_limit:
            return False
        for period in range(1, 9):
            length = period * self.loop_limit
            if len(tokens) < length:
                return False
            tail = tokens[-length:]
            if tail[period:] == tail[:-period]:
                return True
        return False


def ignored(source: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters in a configuration that would change the reading, and do not here."""
    return {
        name: source[name]
        for name, off in _UNSUPPORTED.items()
        if source.get(name, off) not in (off, None)
    }
