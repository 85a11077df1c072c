"""The command line as a user meets it: every mistake is one clear line with place, value, next
step and exit code, and leaves nothing behind. Runs without a model server."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.pocket import JUDGE_DIR
from harness.store import Store
from harness.store.aliases import whoami
from serve.keys import Caller, Keys
from tests.workbench import command, harness, write_recipe

Edit = Callable[[Path], object]


def in_recipe(old: str, new: str) -> Edit:
    def edit(folder: Path) -> None:
        path = folder / "recipe.yaml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return edit


def in_data(text: str) -> Edit:
    return lambda folder: (folder / "train.jsonl").write_text(text)


def without_references(folder: Path) -> None:
    path = folder / "evalset" / "items.jsonl"
    items = [json.loads(line) for line in path.read_text().splitlines()]
    del items[2]["reference"]
    path.write_text("\n".join(json.dumps(item) for item in items))


ROW = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
MISTAKES: dict[str, tuple[Edit, str]] = {
    "unknown key": (
        in_recipe("max_steps:", "max_step:"),
        "recipe.yaml:9: unknown key 'train.max_step': did you mean 'max_steps'?",
    ),
    "no such data file": (lambda folder: (folder / "train.jsonl").unlink(), "train.jsonl"),
    "empty data": (in_data(""), "train.jsonl"),
    "broken json": (in_data(ROW * 3 + '{"messages": [\n'), "train.jsonl:4"),
    "no assistant": (
        in_data('{"messages": [{"role": "user", "content": "a"}]}\n'),
        "train.jsonl:1",
    ),
    "base is no model": (
        in_recipe("model: pocket", "model: ./evalset"),
        "base.model = './evalset'",
    ),
    "base is not there": (in_recipe("model: pocket", "model: ./none"), "base.model = './none'"),
    "rows too long": (in_recipe("max_length: 256", "max_length: 20"), "longer than 20 tokens"),
    "no references": (without_references, "items.jsonl:3: no reference, but the judge prompt"),
    "no evalset": (in_recipe("evalset: evalset", "evalset: pockett"), "did you mean 'pocket'?"),
    "no such slice": (in_recipe("slices:\n", "slices:\n    by: tpye\n"), "gate.slices.by = 'tpye'"),
    "unservable lora": (in_recipe("train:\n", "lora: {use_dora: true}\ntrain:\n"), "DoRA"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_line(tmp_path: Path, mistake: str) -> None:
    recipe, home = write_recipe(tmp_path), tmp_path / "home"
    edit, message = MISTAKES[mistake]
    edit(tmp_path)
    done = harness("round", recipe, home=home)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert done.returncode == 2, done.stderr
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert len(lines) <= 2
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not home.exists()


def test_json_errors_are_json(tmp_path: Path) -> None:
    done = harness("round", tmp_path / "none.yaml", "--json", home=tmp_path / "home")
    value = json.loads(done.stdout)
    assert done.returncode == 2
    assert value["status"] == "error"
    assert "no such recipe file" in value["error"]


def test_usage_mistakes_exit_2(tmp_path: Path) -> None:
    nothing = ["chat", "prod", "--message", " "]
    for args in (["rond"], ["round"], ["round", "a", "--nope"], ["alias"], nothing):
        done = harness(*args, home=tmp_path)
        assert done.returncode == 2, args
        assert "Traceback" not in done.stderr


def test_a_usage_mistake_names_the_help_of_its_command(tmp_path: Path) -> None:
    done = harness("alias", "histroy", home=tmp_path)
    assert "Did you mean 'history'?" in done.stderr
    assert done.stderr.endswith("harness alias --help\n")
    done = harness("alias", home=tmp_path)
    assert done.stderr.startswith("Usage: ")
    assert "error" not in done.stderr


def test_a_recipe_that_is_not_there_gets_the_nearest(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    done = harness("check", recipe.with_name("recpie.yaml"), home=tmp_path / "home")
    assert done.returncode == 2
    assert done.stderr.endswith(f"no such recipe file\nnext:  did you mean {recipe}?\n")


def test_promoting_needs_an_alias(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, gate={"baseline": "base"})
    done = harness("round", recipe, "--promote", home=tmp_path / "home")
    assert done.returncode == 2
    assert "is not an alias, so there is nothing to move" in done.stderr


def test_a_judge_key_that_is_not_set_is_named_before_training(tmp_path: Path) -> None:
    judge = {"endpoint": "http://127.0.0.1:9", "model": "gpt-x", "api_key_env": "NO_SUCH_KEY"}
    recipe = write_recipe(tmp_path, judge=judge)
    done = harness("round", recipe, home=tmp_path / "home")
    assert done.returncode == 4
    assert "'NO_SUCH_KEY': not set" in done.stderr


def test_check_says_what_a_run_will_be(tmp_path: Path) -> None:
    recipe, home = write_recipe(tmp_path), tmp_path / "home"
    done = harness("check", recipe, "--json", home=home)
    value = json.loads(done.stdout)
    assert (value["n_rows"], value["n_steps"], value["n_items"]) == (224, 40, 56)
    assert value["n_trained_tokens"] < value["n_tokens"]
    assert not home.exists()


def test_rows_too_long_can_be_dropped_and_are_counted(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    in_recipe("max_length: 256", "max_length: 48\n  overflow: drop")(tmp_path)
    value = json.loads(harness("check", recipe, "--json", home=tmp_path / "home").stdout)
    assert value["n_dropped"] > 0
    assert value["n_dropped"] + value["n_rows"] == 224
    assert len(value["dropped"]) == value["n_dropped"]
    assert value["longest_tokens"] <= 48


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = harness("serve", "--port", port, home=tmp_path / "home")
    assert done.returncode == 4
    assert f"error: port {port} of 127.0.0.1 cannot be used" in done.stderr
    assert f"use the server there: --endpoint http://127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["./status"], "no such recipe file"),
        (["statsu"], "statsu: no such recipe file\nnext:  did you mean status?"),
        (["--keys", "/none/keys.toml"], "serve.keys = '/none/keys.toml': no such file"),
        (["--port", "8", "stats.yaml"], "stats.yaml: no such recipe file"),
        (["x.yaml", "--base", "pocket"], "the recipe names its base"),
        (["--nope"], "No such option: --nope"),
        (["--host", "0.0.0.0"], "others could reach the server, and it has no keys"),
        (["--base", "./none"], "base.model = './none'"),
    ],
)
def test_serve_takes_a_recipe_options_or_a_command(
    tmp_path: Path, args: list[str], message: str
) -> None:
    done = harness("serve", *args, home=tmp_path / "home")
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_without_servers_says_so(tmp_path: Path) -> None:
    status = harness("serve", "status", home=tmp_path / "home")
    assert (status.returncode, status.stderr) == (4, "")
    assert "no server is up on this store" in status.stdout
    assert not (tmp_path / "home").exists()


def test_serve_help_shows_its_options_and_the_other_commands(tmp_path: Path) -> None:
    done = harness("serve", "--help", home=tmp_path)
    assert done.returncode == 0
    for word in ("[RECIPE]", "--keys", "--host", "--url", "harness serve status", "serve key"):
        assert word in done.stdout


def test_a_key_is_shown_once_beside_the_entry_that_the_server_reads(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    secrets = []
    for args in (["web", "--model", "prod", "--model", "pocket"], ["root", "--admin"]):
        done = harness("serve", "key", *args, home=tmp_path)
        assert done.returncode == 0
        secrets.append(done.stderr.split()[-1])
        assert secrets[-1] not in done.stdout
        path.write_text((path.read_text() if path.exists() else "") + done.stdout)
    keys = Keys(path, {})
    callers = [keys.caller([(b"authorization", f"Bearer {each}".encode())]) for each in secrets]
    assert callers == [
        Caller("web", models=frozenset({"prod", "pocket"})),
        Caller("root", admin=True),
    ]
    assert secrets[0] != secrets[1]
    done = harness("serve", "key", "two words", home=tmp_path)
    assert done.returncode == 2
    assert "'two words' is no name for a key" in done.stderr


@pytest.mark.parametrize("text", ["prod", "prod=", "prod=a:1", "=a:1,b:1", "prod=a,b", "prod=a:x"])
def test_a_split_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    done = harness("alias", "split", text, home=tmp_path / "home")
    assert done.returncode == 2
    assert "not a split; accepted: ALIAS=VERSION:WEIGHT" in done.stderr or "no alias" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_alias_and_its_history_are_told(tmp_path: Path) -> None:
    home = tmp_path / "home"
    version = Store(home).import_version(JUDGE_DIR)
    name = ("promote", version, "--alias")
    done = harness(*name, "prod", home=home)
    assert done.returncode == 2
    assert "only a judged version is promoted" in done.stderr
    done = harness(*name, "prod", "--override", "shipped\nwith it", home=home)
    assert done.returncode == 0, done.stderr
    assert "no server is up, so none was asked" in done.stderr
    told = harness("alias", "history", "prod", home=home).stdout.splitlines()
    assert told[0].endswith(f"{whoami()}  - → {version}")
    assert told[1] == "  OVERRIDE: shipped with it"
    assert harness("alias", "list", home=home).stdout == f"prod  {version}\n"
    with Store(home).log_path.open("a") as log:
        log.write('{"alias": "pro')
    value = json.loads(harness("alias", "history", "prod", "--json", home=home).stdout)
    assert [move["by"] for move in value["moves"]] == [whoami()]
    assert value["damaged_lines"] == [2]
    done = harness("alias", "history", "prodd", home=home)
    assert done.returncode == 2
    assert "did you mean 'prod'" in done.stderr


def test_an_empty_store_answers_politely(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert json.loads(harness("versions", "--json", home=home).stdout) == {"versions": []}
    listed = json.loads(harness("alias", "list", "--json", home=home).stdout)
    assert listed == {"aliases": {}, "splits": {}}
    for args in (["rollback", "prod"], ["promote", "bot@" + "0" * 12, "--alias", "prod"]):
        done = harness(*args, home=home)
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith("error: no ")
    done = harness("gate", tmp_path, home=home)
    assert done.returncode == 2
    assert "not a finished run" in done.stderr


@pytest.mark.parametrize(
    ("override", "code", "message"),
    [
        ("judge.model=judgy", 2, "judge.model: no alias 'judgy'"),
        ("gate.baseline=bot@000000000000", 2, "no version 'bot@000000000000'"),
        ("compute.endpoint=http://127.0.0.1:9", 4, "http://127.0.0.1:9: no healthy model server"),
    ],
)
def test_what_a_round_will_need_is_asked_for_before_training(
    tmp_path: Path, override: str, code: int, message: str
) -> None:
    recipe, home = write_recipe(tmp_path), tmp_path / "home"
    done = harness("round", recipe, "--set", override, home=home)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert not (home / "training").exists()


def test_a_baseline_that_is_nearly_an_alias_is_refused_by_check(tmp_path: Path) -> None:
    recipe, home = write_recipe(tmp_path), tmp_path / "home"
    store = Store(home)
    version = store.import_version(JUDGE_DIR)
    store.move_alias("prod", version, at="2030-01-01T00:00:00+00:00", decision=None, run=None)
    done = harness("check", recipe, "--set", "gate.baseline=prodd", home=home)
    assert done.returncode == 2
    assert "no alias 'prodd'" in done.stderr
    assert "did you mean 'prod'" in done.stderr
    assert harness("check", recipe, "--set", "gate.baseline=staging", home=home).returncode == 0


def test_a_parent_that_was_trained_with_another_template_is_refused_by_check(
    tmp_path: Path,
) -> None:
    version = Store(tmp_path / "home").import_version(JUDGE_DIR)
    sets = ("--set", f"lora.init_from={version}", "--set", "chat.template=alpaca")
    done = harness("check", write_recipe(tmp_path, n_rows=28), *sets, home=tmp_path / "home")
    assert done.returncode == 2
    assert "lora.init_from: one server cannot serve" in done.stderr
    assert "chat template: expected" in done.stderr
    assert "next:  leave lora.init_from out" in done.stderr


def test_a_judge_and_a_baseline_of_another_template_are_accepted_by_check(tmp_path: Path) -> None:
    recipe, home = write_recipe(tmp_path, n_rows=28), tmp_path / "home"
    version = Store(home).import_version(JUDGE_DIR)
    sets = ("--set", "chat.template=alpaca", "--set", f"gate.baseline={version}")
    done = harness("check", recipe, *sets, home=home)
    assert done.returncode == 0, done.stderr


def test_a_home_that_is_a_file_is_named(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("x")
    done = harness("versions", home=home)
    assert done.returncode == 2
    assert "not a folder" in done.stderr


def test_a_damaged_cache_is_named_before_training(tmp_path: Path) -> None:
    recipe, home = write_recipe(tmp_path), tmp_path / "home"
    home.mkdir()
    (home / "cache.sqlite").write_text("garbage" * 100)
    done = harness("round", recipe, home=home)
    assert done.returncode == 4
    assert (
        "cache.sqlite: the cache of answers and verdicts cannot be used: file is not" in done.stderr
    )
    assert "Traceback" not in done.stderr
    assert not (home / "training").exists()


def test_an_alias_of_a_version_that_is_gone_is_named_by_status(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    version = store.import_version(JUDGE_DIR)
    store.move_alias("prod", version, at="2030-01-01T00:00:00+00:00", decision=None, run=None)
    shutil.rmtree(store.version_dir(version))
    done = harness("serve", "status", home=store.home)
    assert done.returncode == 4
    assert f"wrong    alias prod is {version}, which the store does not have" in done.stdout


@pytest.mark.parametrize("args", [("history",), ("history", "--json")])
def test_a_reader_that_goes_away_is_no_verdict(args: tuple[str, ...], tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    env = os.environ | {"HARNESS_HOME": str(tmp_path)}
    done = subprocess.run(
        command(*args), stdout=write, stderr=subprocess.PIPE, text=True, env=env, check=False
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


BUSY = """
import asyncio, os, signal, sys
import harness.cli.main
from harness.cli.app import app

@app.command()
def busy() -> None:
    async def stopped() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(600)

    async def many() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(600))
            group.create_task(stopped())

    asyncio.run(many())

sys.argv = ["harness", "busy"]
sys.modules["harness.cli.main"].main()
"""


def test_sigterm_amid_many_calls_is_one_clear_line(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", BUSY]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 75, done.stderr
    assert done.stderr.split() == (
        "error: stopped by SIGTERM next: run the same command to go on".split()
    )


def test_a_folder_that_is_no_run_is_named(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = harness("gate", elsewhere, home=home)
    assert done.returncode == 2
    assert f"{str(elsewhere)!r}: not a finished run (a folder without" in done.stderr
    assert "harness round RECIPE makes one" in done.stderr


def test_a_run_that_is_not_there_gets_the_nearest(tmp_path: Path) -> None:
    run_dir = tmp_path / "runs" / "bot-0123456789ab"
    run_dir.mkdir(parents=True)
    (run_dir / "recipe.yaml").write_text("name: bot\n")
    done = harness("report", "bot-0123456789ac", home=tmp_path)
    assert done.returncode == 2
    assert "no such run in" in done.stderr
    assert "did you mean 'bot-0123456789ab'?" in done.stderr


def test_quiet_check_is_one_line(tmp_path: Path) -> None:
    done = harness("check", write_recipe(tmp_path), "-q", home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    [line] = done.stdout.splitlines()
    assert line.startswith("✓ 224 rows, ")
    assert line.endswith("; no defects found")
    assert done.stderr == ""


def test_what_cannot_be_encoded_is_no_defect(tmp_path: Path) -> None:
    env = os.environ | {"PYTHONIOENCODING": "ascii", "HARNESS_HOME": str(tmp_path / "home")}
    argv = command("check", write_recipe(tmp_path), "-q")
    done = subprocess.run(argv, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
