"""vLLM's arguments and environment, and what the launcher refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.errors import EnvironmentFault, HarnessError
from harness.jsonio import digest, file_digest
from serve.__main__ import parse
from serve.config import Served, template_digest
from serve.launch import (
    Options,
    environment,
    kv_cache_bytes,
    lora_rank,
    on_cpu,
    served,
    vllm_argv,
)

TOKEN_BYTES = 2 * 6 * 3 * 32 * 4
CONFIG = {
    "hidden_size": 192,
    "num_attention_heads": 6,
    "num_key_value_heads": 3,
    "head_dim": 32,
    "num_hidden_layers": 6,
    "max_position_embeddings": 1024,
}


@pytest.fixture
def base_dir(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}\n")
    return tmp_path


def options(base_dir: Path, **different: Any) -> Options:
    return Options(base_dir / "home", base_dir, "pocket", **different)


def pairs(argv: list[str]) -> dict[str, str]:
    return {
        flag: value for flag, value in zip(argv, [*argv[1:], ""], strict=True) if flag[0] == "-"
    }


def test_arguments_on_the_cpu(base_dir: Path) -> None:
    argv = vllm_argv(options(base_dir, port=8123, max_lora_rank=5), cpu=True)
    seen = pairs(argv)
    assert seen["--model"] == str(base_dir)
    assert seen["--served-model-name"] == "pocket"
    assert seen["--host"] == "127.0.0.1"
    assert seen["--port"] == "8123"
    assert seen["--dtype"] == "float32"
    assert seen["--max-lora-rank"] == "8"
    assert seen["--middleware"] == "serve.middleware.VersionMiddleware"
    assert {"--enable-lora", "--disable-fastapi-docs", "--disable-uvicorn-access-log"} <= set(argv)
    assert int(seen["--kv-cache-memory-bytes"]) == 32 * 1024 * 2 * 6 * 3 * 32 * 4


def test_arguments_on_a_gpu_and_the_users_own_come_last(base_dir: Path) -> None:
    template = base_dir / "chat_template.jinja"
    given = options(base_dir, chat_template=template, extra=("--max-num-seqs", "8"))
    argv = vllm_argv(given, cpu=False)
    assert "--kv-cache-memory-bytes" not in argv
    assert pairs(argv)["--chat-template"] == str(template)
    assert argv[-2:] == ["--max-num-seqs", "8"]


@pytest.mark.parametrize(
    "flag",
    [
        "--max-loras",
        "--max_loras=1",
        "--middleware",
        "--middlew",
        "--lora-modules",
        "--chat-template",
        "--chat_templ=x",
        "--config",
        "--max-model-len",
    ],
)
def test_vllms_own_arguments_do_not_undo_ours(base_dir: Path, flag: str) -> None:
    with pytest.raises(HarnessError, match="set by the launcher"):
        vllm_argv(options(base_dir, extra=(flag, "1")), cpu=True)


def test_the_environment_opens_nothing_and_asks_nobody(base_dir: Path) -> None:
    inherited = {
        "PATH": "/bin",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        "VLLM_SERVER_DEV_MODE": "1",
        "VLLM_SKIP_MODEL_NAME_VALIDATION": "1",
        "VLLM_API_KEY": "secret",
        "VLLM_USE_RUST_FRONTEND": "1",
        "VLLM_RUST_FRONTEND_PATH": "/bin/other",
        "VLLM_MODEL_REDIRECT_PATH": "/other",
        "VLLM_TEST_FORCE_LOAD_FORMAT": "dummy",
        "VLLM_FLOAT32_MATMUL_PRECISION": "medium",
        "VLLM_USE_FASTOKENS": "1",
        "VLLM_USE_MODELSCOPE": "1",
        "VLLM_ALLOW_INSECURE_SERIALIZATION": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_PLUGINS": "lora_filesystem_resolver",
        "OMP_NUM_THREADS": "7",
    }
    seen = environment(options(base_dir), inherited, cpu=True)
    assert seen.pop("PATH") == "/bin"
    assert Served.from_environment(seen) == served(options(base_dir), cpu=True)
    del seen["HARNESS_SERVE"]
    assert seen == {
        "VLLM_PLUGINS": "harness",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_STREAM": "ext://sys.stderr",
        "VLLM_COMPUTE_NANS_IN_LOGITS": "1",
        "PROMETHEUS_DISABLE_CREATED_SERIES": "1",
        "VLLM_MAX_N_SEQUENCES": "128",
        "VLLM_REGEX_COMPILATION_TIMEOUT_S": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONSAFEPATH": "1",
        "OMP_NUM_THREADS": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    }


def test_without_its_plugin_nothing_is_served(
    base_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(*values: str) -> None:
        entries = [SimpleNamespace(value=value) for value in values]
        monkeypatch.setattr("importlib.metadata.entry_points", lambda **wanted: entries)

    found()
    with pytest.raises(EnvironmentFault, match="not installed") as caught:
        environment(options(base_dir), {}, cpu=True)
    assert "pip install -e ." in str(caught.value.hint)
    found("serve.plugin:protect", "other:plugin")
    with pytest.raises(EnvironmentFault, match="other:plugin"):
        environment(options(base_dir), {}, cpu=True)


def test_a_gpu_keeps_its_processes_and_threads(base_dir: Path) -> None:
    seen = environment(options(base_dir), {"OMP_NUM_THREADS": "7"}, cpu=False)
    assert seen["OMP_NUM_THREADS"] == "7"
    assert "VLLM_ENABLE_V1_MULTIPROCESSING" not in seen


def test_what_the_middleware_learns(base_dir: Path) -> None:
    seen = served(options(base_dir, max_lora_rank=17, max_cpu_loras=9), cpu=False)
    assert seen.max_lora_rank == 32
    assert seen.max_versions == 7
    assert seen.template == digest(b"{{ messages }}\n")
    assert seen.base_config == file_digest(base_dir / "config.json")
    assert seen.base_dir == base_dir


def test_on_the_cpu_one_slot_stays_empty(base_dir: Path) -> None:
    assert pairs(vllm_argv(options(base_dir), cpu=False))["--max-loras"] == "4"
    for given, loras in [({}, 16), ({"max_loras": 3}, 3), ({"max_cpu_loras": 5}, 5)]:
        small = options(base_dir, **given)
        assert pairs(vllm_argv(small, cpu=True))["--max-loras"] == str(loras)
        assert served(small, cpu=True).max_versions < loras


@pytest.mark.parametrize("cpu", [True, False])
@pytest.mark.parametrize("given", [{}, {"max_loras": 4, "max_cpu_loras": 4}, {"max_cpu_loras": 3}])
def test_whoever_has_its_turn_finds_room(base_dir: Path, cpu: bool, given: dict[str, int]) -> None:
    seen = served(options(base_dir, **{"max_loras": 3} | given), cpu=cpu)
    assert 1 <= seen.max_running <= seen.max_versions


@pytest.mark.parametrize(
    "flags",
    [
        ("--data-parallel-size", "2"),
        ("--tensor-parallel-size", "2", "--pipeline-parallel-size=2"),
        ("--nnodes", "2", "--node-rank", "0", "--master-addr", "10.0.0.1"),
        ("--data-parallel-address", "10.0.0.1", "--data-parallel-rpc-port", "13345"),
    ],
)
def test_vllms_own_ways_to_more_machines_pass(base_dir: Path, flags: tuple[str, ...]) -> None:
    argv = vllm_argv(options(base_dir, extra=flags), cpu=False)
    assert argv[-len(flags) :] == list(flags)


def test_the_template_is_the_one_vllm_will_use(tmp_path: Path) -> None:
    assert template_digest(tmp_path, None) is None
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "old"}))
    assert template_digest(tmp_path, None) == digest(b"old")
    named = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "plain"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": named}))
    assert template_digest(tmp_path, None) == digest(b"plain")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": named[:1]}))
    assert template_digest(tmp_path, None) is None
    (tmp_path / "chat_template.jinja").write_text("own")
    assert template_digest(tmp_path, None) == digest(b"own")
    given = tmp_path / "given.jinja"
    with pytest.raises(EnvironmentFault, match=r"given\.jinja"):
        template_digest(tmp_path, given)
    given.write_text("given")
    assert template_digest(tmp_path, given) == digest(b"given")


@pytest.mark.parametrize(("wanted", "rank"), [(1, 1), (2, 8), (16, 16), (512, 512)])
def test_ranks_are_rounded_up_to_what_vllm_accepts(wanted: int, rank: int) -> None:
    assert lora_rank(wanted) == rank


@pytest.mark.parametrize(
    "different",
    [
        {"max_lora_rank": 513},
        {"max_lora_rank": 0},
        {"max_loras": 20},
        {"max_cpu_loras": 2},
        {"max_loras": 1},
    ],
)
def test_options_that_cannot_work_are_refused(base_dir: Path, different: dict[str, int]) -> None:
    with pytest.raises(HarnessError, match="accepted"):
        served(options(base_dir, **different), cpu=True)


def test_the_cache_has_a_floor_a_ceiling_and_an_honest_unknown(base_dir: Path) -> None:
    path = base_dir / "config.json"
    path.write_text(json.dumps(CONFIG | {"max_position_embeddings": 8}))
    assert kv_cache_bytes(options(base_dir)) == 64 << 20
    path.write_text(json.dumps(CONFIG | {"max_position_embeddings": 1 << 18}))
    assert kv_cache_bytes(options(base_dir)) == 4 << 30
    assert kv_cache_bytes(options(base_dir, max_context=1024)) == 32 * 1024 * TOKEN_BYTES
    path.write_text(json.dumps({"text_config": CONFIG}))
    assert kv_cache_bytes(options(base_dir)) == 32 * 1024 * TOKEN_BYTES
    path.write_text(json.dumps({"n_embd": 8}))
    assert kv_cache_bytes(options(base_dir)) is None


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("auto", 4), ("bfloat16", 2)])
@pytest.mark.parametrize("context", [1 << 20, (1 << 22) + 1, None])
def test_the_cache_always_holds_one_whole_sequence(
    base_dir: Path, dtype: str, size: int, context: int | None
) -> None:
    longest = context or 1 << 21
    config = CONFIG | {"max_position_embeddings": 1 << 21}
    (base_dir / "config.json").write_text(json.dumps(config))
    given = options(base_dir, dtype=dtype, max_context=context)
    seen = pairs(vllm_argv(given, cpu=True))
    room = int(seen["--kv-cache-memory-bytes"])
    sequence = longest * TOKEN_BYTES * size // 4
    assert max(sequence, 4 << 30) <= room <= max(1.01 * sequence, 4 << 30)
    assert seen.get("--max-model-len") == (str(context) if context else None)


def test_the_command_line(tmp_path: Path) -> None:
    argv = ["--home", "h", "--base-dir", "b", "--base-name", "n"]
    assert parse(argv) == (Options(Path("h"), Path("b"), "n"), False)
    more = ["--fast-start", "--with-parent", "--threads", "2", "--max-context", "64"]
    more += ["--", "--max-num-seqs", "8"]
    seen, with_parent = parse([*argv, *more])
    assert with_parent
    assert seen.threads == 2
    assert seen.max_context == 64
    assert seen.fast_start
    assert seen.extra == ("--max-num-seqs", "8")


def test_a_folder_that_is_no_model_is_an_error_without_a_traceback(tmp_path: Path) -> None:
    argv = ["--home", str(tmp_path), "--base-dir", str(tmp_path), "--base-name", "n"]
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "serve", *argv], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 4
    assert "no config.json" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_wheel_decides_and_its_absence_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    installed: dict[str, str] = {}

    def version(name: str) -> str:
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(EnvironmentFault, match="not installed"):
        on_cpu()
    installed["vllm-cpu"] = "0.32.0"
    assert on_cpu()
    installed["vllm"] = "0.32.0"
    assert not on_cpu()
    installed["vllm"] = "0.32.0+cpu"
    assert on_cpu()
