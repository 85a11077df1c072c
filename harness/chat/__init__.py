"""The chat contract: one rendering for training, serving and evaluation."""
