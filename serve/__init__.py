"""The serving process: vLLM's OpenAI server with adapter versions loaded by name.

Runs as `python -P -m serve`. Meets the rest of harness over HTTP, the store and its alias file
only.
"""
