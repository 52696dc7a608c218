"""YAML as people write it: nodes with positions, and strict decoding that reports every problem at once."""
