"""The training process: the only importers of torch, TRL and PEFT."""
