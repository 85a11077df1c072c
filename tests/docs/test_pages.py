"""What the pages show is what the tool reads: commands, recipes, items, links.

The commands themselves are run by `tests/test_demo.py`, on what the demo left.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path

import pytest
import yaml

from harness.evaluation.evalset import Card
from harness.recipe import Recipe, load
from tests.docs.commands import find, options, parse
from tests.docs.pages import COMMANDS, Block, Page, harness_words, pages
from tests.workbench import ROOT

PAGES = pages()
BLOCKS = [block for page in PAGES for block in page.blocks]
RECIPE = """\
name: bot
base: {model: pocket}
data: {sources: [{path: train.jsonl}]}
eval: {evalset: pocket}
"""
PROGRAMS = ("cd", "cp", "curl", "export", "mkdir")
"""What else the sandbox has."""
STAYS = ("run", "serve-reports", "label", "chat")
"""Commands that end when a person says so; `run` is `harness serve`."""
by_name = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def of(*languages: str) -> pytest.MarkDecorator:
    found = [block for block in BLOCKS if block.language in languages]
    return pytest.mark.parametrize("block", found, ids=lambda block: block.place)


@of(*COMMANDS)
def test_a_command_is_one_that_the_tool_reads(block: Block) -> None:
    for line in block.commands:
        words = harness_words(line)
        if words is not None:
            parse(words)


@of(*COMMANDS)
def test_a_block_is_run_or_says_why_not(block: Block) -> None:
    """What stands in a block without a mark is run, so it has to be a command of a program that
    the sandbox has; and a mark speaks of lines that are there."""
    for line in block.runnable:
        words = harness_words(line)
        assert words is not None or line.split()[0] in PROGRAMS, line
        if words:
            command, rest = find(words)
            assert command.name not in STAYS or "--message" in rest, f"{line}: it does not end"
    if block.mark:
        assert len(block.mark.reason.split()) >= 3, block.mark
        for path in re.findall(r"tests/[\w/]+(?:\.py)?", block.mark.reason):
            assert (ROOT / path).exists(), block.mark
        assert all(1 <= n <= len(block.commands) for n in block.mark.lines), block.mark


@of("text")
def test_a_text_is_no_command(block: Block) -> None:
    assert not re.search(r"^\$ ", block.text, re.MULTILINE), "say console"
    if block.path.name != "cli.md":
        assert not re.match(r"harness [a-z]", block.text) or block.mark, "say sh, or indent it"


def test_how_much_is_run(capsys: pytest.CaptureFixture[str]) -> None:
    shown = [block for block in BLOCKS if block.is_commands]
    n_run = sum(len(block.runnable) for block in shown)
    n = sum(len(block.commands) for block in shown)
    with capsys.disabled():
        sys.stdout.write(
            f"\n{n_run} of {n} commands of the pages are run; the others say why not\n"
        )
    assert n_run >= 60


@by_name
def test_a_piece_of_a_command_names_what_there_is(page: Page) -> None:
    for line, text in page.inline:
        words = text.split()
        if words[:1] == ["harness"] and len(words) > 1 and re.match(r"[a-z]", words[1]):
            assert options(words[1:]) == set(), f"{page.name}:{line}: {text}"


@by_name
def test_a_program_of_the_repository_is_there(page: Page) -> None:
    """Benchmarks and makers that pages name as where their figures come from."""
    texts = [*(text for _, text in page.inline), *(block.text for block in page.blocks)]
    for text in texts:
        for found in re.findall(r"python (?:-m )?((?:benchmarks|docs|recipes)[./][\w/.]+)", text):
            path = found if found.endswith(".py") else found.replace(".", "/")
            places = [ROOT / path, ROOT / f"{path}.py", ROOT / path / "__main__.py"]
            assert any(place.exists() for place in places), f"{page.name}: {found}"


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").rglob("*.yaml")), ids=lambda p: p.name)
def test_the_head_of_a_recipe_shows_commands_that_the_tool_reads(path: Path) -> None:
    for line in re.findall(r"^#\s+(\S*harness [a-z].*)$", path.read_text(), re.MULTILINE):
        words = harness_words(re.split(r"\s{2,}", line)[0])
        assert words is not None
        parse(words)


@of("yaml")
def test_a_recipe_or_a_part_of_one_loads(block: Block, tmp_path: Path) -> None:
    if block.mark:
        return
    shown = yaml.safe_load(block.text)
    if "purpose" in shown:
        Card.model_validate(shown)
        return
    assert set(shown) <= set(Recipe.model_fields), "no recipe: mark it"
    sections = yaml.safe_load(RECIPE)
    for name, keys in shown.items():
        whole = isinstance(keys, dict) and isinstance(sections.get(name), dict)
        sections[name] = {**sections[name], **keys} if whole else keys
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(sections))
    load(path)


@of("json")
def test_json_is_json(block: Block) -> None:
    decoder, text = json.JSONDecoder(), block.text.strip()
    while text and not block.mark:
        _, end = decoder.raw_decode(text)
        text = text[end:].strip()


@of("python")
def test_python_compiles(block: Block) -> None:
    ast.parse(block.text)


@by_name
def test_a_link_leads_somewhere(page: Page) -> None:
    anchors = {each.path: each.anchors for each in PAGES}
    for line, target in page.links:
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.path.parent / name).resolve() if name else page.path
        assert path.exists(), f"{page.name}:{line}: {target}"
        if anchor:
            assert anchor in anchors[path], f"{page.name}:{line}: {target}"


@by_name
def test_no_placeholder_is_left(page: Page) -> None:
    assert not re.search(r"@@|\b(TODO|FIXME|TBD|XXX)\b", page.path.read_text())


def test_the_table_of_contents_names_every_page() -> None:
    docs = ROOT / "docs"
    [contents] = [page for page in PAGES if page.path == docs / "README.md"]
    linked = {(docs / link.target.partition("#")[0]).resolve() for link in contents.links}
    assert {path for path in docs.glob("*.md") if path.name != "README.md"} <= linked
