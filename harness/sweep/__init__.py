"""Many recipes from one: a grid of choices trained, answered in one server session and ranked."""
