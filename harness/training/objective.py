"""What an objective needs of recipe and rows before anything is trained.

Pure and light; the training itself is in `trainers`.
"""

from __future__ import annotations

from harness.errors import RecipeError
from harness.recipe import Recipe

_HIGHEST_RATIO = 4 / 3


def require_objective(recipe: Recipe, n_desirable: int, n_undesirable: int) -> None:
    """Raises RecipeError where `train.objective` cannot be trained as the recipe says; the counts
    are those of feedback rows, 0 for other objectives."""
    objective, dropout = recipe.train.objective, recipe.lora.dropout
    if objective == "sft":
        return
    if dropout:
        raise RecipeError(
            f"lora.dropout = {dropout:g}: {objective} compares the model with its reference and "
            "is trained without dropout; accepted: 0",
            hint="leave lora.dropout out",
        )
    if objective == "kto" and not (n_desirable and n_undesirable):
        raise RecipeError(
            f"train.objective: kto needs rows of both opinions; {n_desirable} are desirable and "
            f"{n_undesirable} undesirable",
            hint="train good answers alone with train.objective: sft",
        )


def feedback_weights(n_desirable: int, n_undesirable: int) -> tuple[float, float]:
    """Weights (desirable, undesirable) of the two losses of KTO.

    The weighted counts then stand in a ratio of 1 to 4/3 (Ethayarajh et al. 2024,
    arXiv:2402.01306, equation 8); the side that has too little weight is raised, no more than
    that needs.
    """
    ratio = n_desirable / n_undesirable
    return max(1.0, 1 / ratio), max(1.0, ratio / _HIGHEST_RATIO)
