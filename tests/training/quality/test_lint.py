from __future__ import annotations

import pytest

from harness.training.quality.defects import LINTS
from harness.training.quality.kinds import kind_of
from harness.training.quality.lint import Lints, findings, is_clean
from harness.training.reading.example import Example
from harness.types import ToolCall
from tests.training.quality.examples import chat, example, said

ESSAY = (
    "Paper was made by hand for many centuries, and every sheet took a skilled worker some time. "
    "The mills stood by rivers, since the stampers needed both power and clean water all year.\n\n"
    "When the machine came, the price of a ream fell to a tenth within a few decades. Printers "
    "could sell books to people who had never owned one, and newspapers grew from weekly sheets to "
    "daily ones. Schools bought readers for every child, where before a class had shared a few.\n\n"
    "The change was not welcome everywhere. Towns that had lived from rags and sizing lost their "
    "trade, and some of the old mills turned to cardboard. The new factories"
)


def ids(each: Example) -> list[str]:
    return [lint.id for lint, _ in findings(each)]


FIRES = [
    ("blank", example("Name it", " \n")),
    ("placeholder", example("Name it", "<nooutput>")),
    ("placeholder", example("Name it", "No Output.")),
    ("placeholder", example("Name it", "[Your answer here]")),
    ("placeholder-input", example("Name it\n\n< no input >", "Paper")),
    ("merged", example("Why?", "Rain.\n\n11. Instruction: Count.\n11. Input:\n3\n11. Output:\n4")),
    ("merged", example("Why?", "Rain.\n### Instruction:\nCount to four.")),
    ("copied", example("Correct the text.\n\nHe go home late.", "He go home late.")),
    ("copied", example("Match them.\n\nA - one\n\nB - two", "A - one\n\nB - two")),
    ("copied", example("What is all of this?", "What is all of this?")),
    ("label", example("Add two and two", "Output: 4")),
    ("label", example("Add", "### Response:\n4")),
    ("label", example("二加二", "输出：4")),
    ("cut", example("Tell me about paper", ESSAY)),
    ("cut", example("Print it", "Like this:\n```python\nprint(1)\n")),
    ("cut", example("Why is it so?", "It is so since the water was clean and the")),
    (
        "open-end",
        example("List", "One is the first of all the numbers that a child in a school ever learns"),
    ),
    ("unresolved", example("Who are you?", "I am {{name}}, made by {{ author }}.")),
    ("unresolved", example("Who is {{name}}?", "A bot.")),
    ("unseen", example("Describe the following photo.\n\n![x](https://a.example/x.jpg)", "A cat.")),
    ("unseen", example("Sum up the article.\n\nhttps://a.example/news/1", "It rained.")),
    ("unseen", example("Classify the shape.\n\n<img src='https://a.example/s.png'>", "round")),
    ("unseen", example("What is in this image?", "A cat.")),
    ("refusal", example("Who won?", "I'm sorry, but as an AI language model, I don't know.")),
    ("refusal", example("Draw it", "As an AI, I am not able to draw.")),
    ("refusal", example("画一只猫", "很抱歉，作为语言模型，我无法画图。")),
    ("no-preference", example("1+1?", "2")._replace(rejected=said("assistant", "2 "))),
    ("empty-turn", chat(("user", ""), ("assistant", "Hello."))),
    (
        "late-system",
        chat(("system", "A."), ("user", "B?"), ("system", "C."), ("assistant", "D.")),
    ),
]


@pytest.mark.parametrize(("expected", "each"), FIRES)
def test_a_defect_is_found_by_its_lint_alone(expected: str, each: Example) -> None:
    found = [lint.id for lint in LINTS if lint.id in ids(each)]
    assert expected in found
    allowed = {"cut": {"open-end"}, "open-end": set()}
    assert set(found) <= {expected} | allowed.get(expected, set())


def test_every_lint_is_tested() -> None:
    assert {name for name, _ in FIRES} == {lint.id for lint in LINTS}
    assert len({lint.id for lint in LINTS}) == len(LINTS)


@pytest.mark.parametrize(
    "each",
    [
        example("Comfort a friend", "I'm sorry to hear that. It must be very difficult for you."),
        example(
            "Describe an operating system", "It has:\n\n4. Input and Output: devices.\n5. Tasks"
        ),
        example(
            "How does it compute?", "Steps:\n1. Input: data comes in.\n2. Output: it goes out."
        ),
        example("Write in capitals.\n\nhello my world", "HELLO MY WORLD"),
        example("Remove spaces.\n\na  b   c", "a b c"),
        example("Repeat after me.\n\nI like my apples", "I like my apples"),
        example("Positive or negative?\n\nGood", "Good"),
        example("What is the opposite of input?", "output"),
        example("Which of them fits?", "None"),
        example("Is it true?", "No."),
        example("Write HTML for an image.\n\n<img src='a.png'>", "<img src='a.png' alt=''>"),
        example("Use a regex on www.a.example", r"www\.\w+"),
        example(f"Who wrote this? {'A long text it is. ' * 30}\nhttps://a.example", "Nobody."),
        example("Show a template", "```\nHello {{ name }}\n```"),
        example("Explain the workflow", "It logs in as ${{ github.actor }}."),
        example("1+1?", "2")._replace(rejected=said("assistant", "3")),
        chat(("system", "A."), ("user", "B?"), ("assistant", "C.")),
        chat(("user", "weather?"), ("assistant", "Sunny."), ("tool", ""), ("assistant", "Yes.")),
    ],
)
def test_what_only_looks_like_a_defect_is_not_flagged(each: Example) -> None:
    assert not ids(each)


@pytest.mark.parametrize("end", [" bought none", "… #paper #history #mill", "\n\n- rags\n- the"])
def test_an_end_without_a_full_stop_is_only_a_hint(end: str) -> None:
    assert ids(example("Write a post", ESSAY + end)) == ["open-end"]


def test_an_answer_that_is_a_call_or_a_thought_is_not_blank() -> None:
    call = said("assistant", "").model_copy(
        update={"tool_calls": (ToolCall(name="f", arguments={}),)}
    )
    thought = said("assistant", "").model_copy(update={"reasoning": "It is late."})
    for answer in (call, thought):
        assert not ids(Example((said("user", "Now?"), answer), "f:1"))


def test_a_model_with_tools_may_be_given_a_url() -> None:
    asked = example("Sum up https://a.example/news", "It rained.")
    assert ids(asked) == ["unseen"]
    assert not ids(asked._replace(tools=({"type": "function"},)))


def test_answers_that_are_not_trained_on_are_not_judged() -> None:
    turns = chat(("user", "A?"), ("assistant", "<nooutput>"), ("user", "B?"), ("assistant", "C."))
    assert ids(turns) == ["placeholder"]
    assert not ids(turns._replace(untrained=frozenset({1})))


def test_an_answer_that_is_not_to_be_given_may_be_bad() -> None:
    bad = example("Name it", "<nooutput>")
    assert ids(bad._replace(desirable=True)) == ["placeholder"]
    assert is_clean(bad._replace(desirable=False))


def test_lints_are_counted_with_examples_and_rates() -> None:
    lints = Lints()
    rows = ["Output: 1", "fine.", "", "Response: " + "long " * 40, "fine too.", *["Output: x"] * 6]
    for index, row in enumerate(rows):
        lints.add(index, example("Do", row, f"f:{index}"))
    reports = {each.id: each for each in lints.result()}
    assert list(reports) == [lint.id for lint in LINTS]
    label = reports["label"]
    assert (label.n, label.rate, label.severity, label.drops) == (8, 8 / 11, "defect", True)
    assert [each.source for each in label.shown] == ["f:0", "f:3", "f:5", "f:6", "f:7"]
    assert label.shown[0].snippet == "Output: 1"
    assert len(label.shown[1].snippet) == 80
    assert label.shown[1].snippet.endswith("…")
    assert (reports["blank"].n, reports["merged"].n, reports["merged"].rate) == (1, 0, 0)
    assert lints.n_clean == 2


def test_nothing_read_is_a_rate_of_nothing() -> None:
    assert all(each.n == each.rate == 0 for each in Lints().result())


@pytest.mark.parametrize(("name", "each"), FIRES)
def test_a_cleaned_file_keeps_what_is_only_hinted_at(name: str, each: Example) -> None:
    [lint] = [lint for lint in LINTS if lint.id == name]
    assert is_clean(each) is not lint.drops
    assert lint.drops is (lint.severity == "defect")


@pytest.mark.parametrize("run", ["\n", " ", " \n", "\n1 ", "\n### "])
def test_a_long_run_is_looked_at_once(run: str) -> None:
    """Each pattern's work grows with the text, not with its square: this would take minutes."""
    long = run * 60_000
    for each in (example("Greet me.", long), example(long, "Hello."), example("a", long + "b")):
        findings(each)
        kind_of(each)
