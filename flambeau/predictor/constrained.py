"""Texts that keep to a form: a JSON schema or a regular expression, by llguidance, which tells before each token which
may come (Geng et al. 2025, arXiv 2501.10868). Not measured yet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from flambeau.core.errors import UsageError, first_line, needed
from flambeau.fields import Corpus
from flambeau.predictor.sampling import Sampling


class Forms:
    """Makes constraints for texts of one vocabulary of V tokens.

    Raises:
        MissingExtra: llguidance is not installed.
    """

    def __init__(self, field: Corpus, size: int):
        library = needed("llguidance", "llm", "keeping to a form")
        self._matcher, self.size = library.LLMatcher, size
        each = [b"" if i == field.end or i in field.stops else field.bytes_of([i]) for i in range(size)]
        special = [i for i, token in enumerate(each) if not token]
        named = [token or b"<special %d>" % i for i, token in enumerate(each)]
        self._tokens = library.LLTokenizer(
            library.TokenizerWrapper(_Tokens(field.end, None, special, named, field.tokens_of))
        )

    def constraint(self, sampling: Sampling) -> Constraint:
        """The constraint of a text.

        Raises:
            UsageError: the form is none, or more than can be kept to.
        """
        try:
            if sampling.regex is not None:
                grammar = self._matcher.grammar_from_regex(sampling.regex)
            else:
                options = {"whitespace_flexible": False}
                grammar = self._matcher.grammar_from_json_schema(sampling.json_schema, overrides=options)
            wrong = self._matcher.validate_grammar(grammar, self._tokens)
        except ValueError as error:
            wrong = str(error)
        if wrong:
            what = "JSON schema" if sampling.regex is None else "regular expression"
            raise UsageError(f"the {what} cannot be kept to ({first_line(ValueError(wrong))})")
        return Constraint(self._matcher(self._tokens, grammar), self.size)


class Constraint:
    """A form that a text keeps to, as far as it has come."""

    def __init__(self, matcher: Any, size: int):
        self._matcher, self._size = matcher, size

    def allowed(self) -> Tensor:
        """Which tokens may come next, bool (V): always one at least."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), np.uint8)
        return torch.from_numpy(np.unpackbits(bits, bitorder="little")[: self._size].astype(bool))

    def take(self, token: int) -> None:
        """One that came."""
        self._matcher.consume_token(token)

    @property
    def complete(self) -> bool:
        """Whether nothing more may come."""
        return self._matcher.is_stopped()


@dataclass
class _Tokens:
    """A vocabulary as llguidance reads it."""

    eos_token_id: int
    bos_token_id: None
    special_token_ids: list[int]
    tokens: list[bytes]
    tokens_of: Callable[[str], list[int]]

    def __call__(self, text: str) -> list[int]:
        return self.tokens_of(text)
