"""Objectives of language: what text goes on with, and texts that are written for others."""

from flambeau.objectives.language.base import LanguageModel, OfTexts
from flambeau.objectives.language.masked import MaskedLanguageModel
from flambeau.objectives.language.preference import Preference

__all__ = ["LanguageModel", "MaskedLanguageModel", "OfTexts", "Preference"]
