"""From the options of `python -P -m serve` to vLLM's arguments and environment.

Pure functions of the options, the base's config and the kind of vLLM wheel; starts nothing.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import EnvironmentFault, HarnessError
from harness.jsonio import read_json
from serve.config import Served, base_config_digest, template_digest
from serve.keys import check, sealed
from serve.modules import base_modules
from serve.plugin import ENTRY_POINT, NAME

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values of vLLM's --max-lora-rank. CPU speed follows this number, not the adapter's rank."""
MIDDLEWARE = "serve.middleware.VersionMiddleware"
HEADROOM = 2
"""Places in vLLM's adapter cache that stay free: one being loaded, one being removed."""
GPU_SLOTS = 4
"""Versions in one batch on a GPU: candidate, baseline and judge, and one more."""

_FORBIDDEN = (
    "PROMETHEUS_MULTIPROC_DIR",  # no series could be removed any more
    "VLLM_ALLOW_INSECURE_SERIALIZATION",  # unpickles what it is sent
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING",  # opens routes by which any client loads any path
    "VLLM_API_KEY",  # refuses every request without that key, harness's own too
    "VLLM_DEBUG_LOG_API_SERVER_RESPONSE",  # logs answers
    "VLLM_ENABLE_RESPONSES_API_STORE",  # keeps every answer, for whoever names its id
    "VLLM_SERVER_DEV_MODE",  # opens routes that change weights
    "VLLM_SKIP_MODEL_NAME_VALIDATION",  # answers unknown names with the base
    "VLLM_CPU_KVCACHE_SPACE",  # would override --kv-cache-memory-bytes
    "VLLM_FLOAT32_MATMUL_PRECISION",  # other numbers than training's
    "VLLM_MODEL_REDIRECT_PATH",  # serves another model than the one named
    "VLLM_RUST_FRONTEND_PATH",
    "VLLM_TEST_FORCE_LOAD_FORMAT",  # can load random weights
    "VLLM_USE_FASTOKENS",  # another tokenizer
    "VLLM_USE_MODELSCOPE",  # another hub
    "VLLM_USE_RUST_FRONTEND",  # another API server, without our middleware
)
_LAUNCHERS = (
    "--api-key",  # vLLM sees no key: the middleware keeps them
    "--api-server-count",
    "--chat-template",
    "--config",
    "--default-chat-template-kwargs",  # a version's own come with its requests
    "--enable-log-outputs",  # content
    "--enable-log-requests",  # content
    "--lora-modules",
    "--max-model-len",  # the size of the CPU's cache follows --max-context
)
"""Set here or not at all."""
_HALF = ("bfloat16", "float16", "half")
_BLOCK_TOKENS = 256
"""No smaller than vLLM's cache block on any CPU."""
_MIB = 1 << 20


class Options(NamedTuple):
    """The command line of `python -P -m serve`."""

    home: Path
    base_dir: Path
    base_name: str
    host: str = "127.0.0.1"
    port: int = 8000
    dtype: str = "float32"
    max_context: int | None = None
    """Longest sequence in tokens; None: as the base's config says."""
    max_lora_rank: int = 16
    max_loras: int | None = None
    """Versions in one batch; None: GPU_SLOTS on a GPU, all of them on the CPU."""
    max_cpu_loras: int = 16
    chat_template: Path | None = None
    kwargs: Mapping[str, Any] = {}
    """Variables for the template when the base itself is asked; a version has its own."""
    keys: Path | None = None
    url: str | None = None
    """Where other machines reach this server; None: nobody is told of it."""
    drain_s: float = 30.0
    threads: int = 1
    fast_start: bool = False
    extra: tuple[str, ...] = ()
    """Further vLLM arguments; they come last and so win."""


def served(options: Options, *, cpu: bool) -> Served:
    """What the middleware must know. Raises HarnessError for options that cannot work."""
    loras = slots(options, cpu=cpu)
    versions = min(options.max_cpu_loras - HEADROOM, loras - 1 if cpu else options.max_cpu_loras)
    if options.max_cpu_loras < loras or versions < 1:
        raise HarnessError(
            f"serve.max_running = {loras}, serve.max_loaded = {options.max_cpu_loras}; accepted: "
            f"max_loaded from {HEADROOM + 1}, max_running from {2 if cpu else 1} up to that"
        )
    return Served(
        home=options.home.absolute(),
        base_dir=options.base_dir.absolute(),
        base_name=options.base_name,
        dtype=options.dtype,
        url=options.url,
        keys=options.keys.absolute() if options.keys else None,
        kwargs=dict(options.kwargs),
        drain_s=options.drain_s,
        max_running=min(versions, loras),
        template=template_digest(options.base_dir, options.chat_template),
        base_config=base_config_digest(options.base_dir),
        modules=base_modules(options.base_dir),
        max_lora_rank=lora_rank(options.max_lora_rank),
        max_versions=versions,
    )


def slots(options: Options, *, cpu: bool) -> int:
    """vLLM's --max-loras. On the CPU one slot must stay empty for ever: vLLM 0.32 computes the
    base's rows of a mixed batch with the last slot (index -1), so an adapter in it would answer
    in the base's name."""
    return options.max_loras or (options.max_cpu_loras if cpu else GPU_SLOTS)


def lora_rank(wanted: int) -> int:
    """The smallest rank vLLM accepts that holds `wanted`."""
    for rank in LORA_RANKS:
        if rank >= wanted >= 1:
            return rank
    raise HarnessError(f"--max-lora-rank {wanted}: accepted: 1 to {LORA_RANKS[-1]}")


def on_cpu() -> bool:
    """Whether the installed vLLM is a CPU build, told by its name or version as vLLM itself does.

    Raises EnvironmentFault when no vLLM is installed.
    """
    for name in ("vllm", "vllm-cpu"):
        try:
            return "cpu" in f"{name} {importlib.metadata.version(name)}"
        except importlib.metadata.PackageNotFoundError:
            continue
    raise EnvironmentFault("vLLM is not installed", hint="make setup")


def vllm_argv(options: Options, *, cpu: bool) -> list[str]:
    """Arguments of vLLM's OpenAI server."""
    argv = ["--model", str(options.base_dir.absolute()), "--served-model-name", options.base_name]
    argv += ["--host", options.host, "--port", str(options.port), "--dtype", options.dtype]
    argv += ["--enable-lora", "--max-lora-rank", str(lora_rank(options.max_lora_rank))]
    argv += ["--max-loras", str(slots(options, cpu=cpu))]
    argv += ["--max-cpu-loras", str(options.max_cpu_loras)]
    argv += ["--trust-request-chat-template"]  # the middleware sends it; clients may not
    argv += ["--middleware", MIDDLEWARE, "--disable-fastapi-docs", "--disable-uvicorn-access-log"]
    modules = base_modules(options.base_dir)
    if modules:
        argv += ["--lora-target-modules", *modules]
    if options.chat_template:
        argv += ["--chat-template", str(options.chat_template.absolute())]
    if options.max_context is not None:
        argv += ["--max-model-len", str(options.max_context)]
    cache = kv_cache_bytes(options) if cpu else None
    if cache:
        argv += ["--kv-cache-memory-bytes", str(cache)]
    return argv + _foreign(options.extra, argv)


def _foreign(extra: tuple[str, ...], own: list[str]) -> list[str]:
    """`extra`, unless it sets again what is set here, some of which keeps answers right."""
    flags = {part for part in own if part.startswith("--")}.union(_LAUNCHERS)
    flags.discard("--kv-cache-memory-bytes")
    for part in extra:
        flag = part.partition("=")[0].replace("_", "-")
        abbreviates = flag.startswith("--") and any(each.startswith(flag) for each in flags)
        if abbreviates:
            raise HarnessError(
                f"{flag} among vLLM's own arguments: it is set by the launcher or not at all",
                hint="the recipe's base, chat and serve sections say the rest: docs/serving.md",
            )
    return list(extra)


def environment(options: Options, inherited: Mapping[str, str], *, cpu: bool) -> dict[str, str]:
    """The whole environment of the server process."""
    check(options.keys, inherited, host=options.host)
    values = {key: value for key, value in sealed(inherited).items() if key not in _FORBIDDEN}
    values |= served(options, cpu=cpu).to_environment()
    values["VLLM_PLUGINS"] = plugin()  # otherwise every installed plugin is loaded
    values["VLLM_NO_USAGE_STATS"] = "1"
    values["VLLM_LOGGING_STREAM"] = "ext://sys.stderr"  # standard output is the access log's
    values["VLLM_COMPUTE_NANS_IN_LOGITS"] = "1"
    values["VLLM_MAX_N_SEQUENCES"] = "128"  # `n` of one request, OpenAI's limit; else 16384
    values["VLLM_REGEX_COMPILATION_TIMEOUT_S"] = "1"  # in which nobody is answered; else 5
    values["PROMETHEUS_DISABLE_CREATED_SERIES"] = "1"  # a second series for each of ours
    values["HF_HUB_OFFLINE"] = "1"
    values["PYTHONSAFEPATH"] = "1"  # -P for the interpreters that vLLM starts
    if cpu:
        values["OMP_NUM_THREADS"] = str(options.threads)
        values["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # the worker lives in the engine process
    return values


def plugin() -> str:
    """The name of our plugin. Raises EnvironmentFault when vLLM would not find it: without it one
    version could spoil the answers of another (serve.plugin)."""
    found = [
        each.value
        for each in importlib.metadata.entry_points(group="vllm.general_plugins", name=NAME)
    ]
    if found != [ENTRY_POINT]:
        raise EnvironmentFault(
            f"vLLM's plugin {NAME!r} is {', '.join(found) or 'not installed'}; accepted: "
            f"{ENTRY_POINT} alone",
            hint="install this package with its entry points: pip install -e . (make setup does)",
        )
    return NAME


def kv_cache_bytes(options: Options) -> int | None:
    """Room for 32 full-length sequences, 64 MiB to 4 GiB, but always for one: vLLM does not start
    with less. None for a config without the usual fields, where vLLM decides."""
    config: dict[str, Any] = dict(read_json(options.base_dir / "config.json"))
    config = config.get("text_config", config)
    try:
        per_token = _token_bytes(config, options.dtype)
        context = options.max_context or config["max_position_embeddings"]
    except KeyError:
        return None
    blocks = -(-context // _BLOCK_TOKENS) + 1  # vLLM keeps one for itself
    wanted = min(max(32 * context * per_token, 64 * _MIB), 4096 * _MIB)
    return int(max(wanted, blocks * _BLOCK_TOKENS * per_token))


def _token_bytes(config: Mapping[str, Any], dtype: str) -> int:
    """Keys and values of one token in all layers; four bytes a number unless `dtype` says two."""
    heads = config.get("num_key_value_heads") or config["num_attention_heads"]
    width = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    return int(2 * config["num_hidden_layers"] * heads * width * (2 if dtype in _HALF else 4))
