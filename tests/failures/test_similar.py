"""TF-IDF as scikit-learn defines it, the nearest, and groups by average linkage."""

from __future__ import annotations

import random
from math import log, sqrt

import numpy as np
import pytest

from harness.failures import similar
from harness.failures.similar import Texts, linked, terms

TEXTS = ["the cat sat", "the cat ran ran", "a dog", "das Wetter ist gut"]


def test_words_and_pairs_of_characters_where_words_have_no_spaces() -> None:
    assert list(terms("The CAT, sat!")) == ["the", "cat", "sat"]
    assert list(terms("用户 login 页面打不开")) == ["login", "用户", "页面", "面打", "打不", "不开"]
    assert list(terms("…?!")) == []


def test_cosines_are_those_of_the_formula() -> None:
    def idf(n: int) -> float:
        return log(5 / (1 + n)) + 1

    one = {"the": idf(2), "cat": idf(2), "sat": idf(1)}
    other = {"the": idf(2), "cat": idf(2), "ran": (1 + log(2)) * idf(1)}
    product = sum(one[term] * other.get(term, 0) for term in one)
    norms = [sqrt(sum(weight**2 for weight in each.values())) for each in (one, other)]
    found = Texts(TEXTS).similarity(["the cat sat"])
    assert found == pytest.approx([1, product / norms[0] / norms[1], 0, 0], abs=1e-6)


def test_the_nearest_come_first_and_strangers_not_at_all() -> None:
    texts = Texts(TEXTS)
    assert [place for place, _ in texts.nearest("a cat ran", 3)] == [1, 2, 0]
    assert texts.nearest("unheard", 3) == []
    assert texts.nearest("", 3) == []
    both = texts.nearest_to(["a dog", "das Wetter"], 2)
    assert {place for place, _ in both} == {2, 3}
    assert Texts([]).nearest("the", 3) == []


def test_linkage_is_that_of_the_naive_algorithm() -> None:
    for seed in range(20):
        draw = np.random.default_rng(seed).random((12, 12)).astype(np.float32)
        matrix = (draw + draw.T) / 2
        assert linked(matrix.copy(), 0.55) == naive(matrix, 0.55)


def naive(matrix: np.ndarray, threshold: float) -> list[list[int]]:
    groups = [[i] for i in range(len(matrix))]
    while len(groups) > 1:
        near, one, other = max(
            (float(matrix[np.ix_(groups[i], groups[j])].mean()), -i, -j)
            for i in range(len(groups))
            for j in range(i)
        )
        if near < threshold:
            break
        groups[-other] += groups.pop(-one)
    return sorted(map(sorted, groups))


def test_groups_are_the_same_in_any_block(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(0)
    topics = ["parcel late delivery street", "refund money card bank", "login password mail link"]
    texts = [" ".join(draw.choices(topics[n % 3].split(), k=4)) for n in range(60)]
    whole = Texts(texts).groups(range(60))
    assert [{place % 3 for place in each} for each in whole] == [{0}, {1}, {2}]
    monkeypatch.setattr(similar, "BLOCK", 12)
    assert Texts(texts).groups(range(60)) == whole


def test_what_is_like_nothing_is_alone() -> None:
    texts = Texts(["one two", "three four", "one two", "", ""])
    assert texts.groups([4, 3, 2, 1, 0]) == [[4], [3], [2, 0], [1]]
    assert texts.groups([]) == []
