"""What the plugin puts into vLLM; tests/serve/test_contract.py has it in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from serve.plugin import WholeFile


def test_an_adapter_is_read_whole_and_no_longer_follows_its_file(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    path, tensor = tmp_path / "adapter_model.safetensors", torch.arange(6.0).reshape(2, 3)
    save_file({"a": tensor, "b": 2 * tensor}, path)
    with WholeFile(str(path), framework="pt") as file:
        path.write_bytes(b"")
        assert set(file.keys()) == {"a", "b"}
        assert torch.equal(file.get_tensor("b"), 2 * tensor)


def test_a_file_cut_short_is_an_error(tmp_path: Path) -> None:
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path = tmp_path / "adapter_model.safetensors"
    save_file({"a": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(SafetensorError):
        WholeFile(str(path), framework="pt")
