"""The recipe: one YAML file with everything chosen before a run, strict in every key."""

from harness.recipe.judging import Eval, Gate, Judge, Slices, Threshold, parse_threshold
from harness.recipe.load import LoadedRecipe, Recipe, load, locate
from harness.recipe.serving import Serve
from harness.recipe.training import (
    MAX_LORA_RANKS,
    Base,
    Chat,
    Compute,
    Data,
    Lora,
    Source,
    Train,
)

__all__ = [
    "MAX_LORA_RANKS",
    "Base",
    "Chat",
    "Compute",
    "Data",
    "Eval",
    "Gate",
    "Judge",
    "LoadedRecipe",
    "Lora",
    "Recipe",
    "Serve",
    "Slices",
    "Source",
    "Threshold",
    "Train",
    "load",
    "locate",
    "parse_threshold",
]
