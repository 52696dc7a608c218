"""YAML parser that keeps source positions, and a strict decoder that reports all problems at once."""
