"""Fuzzing what reads the input of others. `targets` says what is read and which errors are expected; `mutation` makes inputs.

python -m tests.fuzz TARGET SECONDS      looks for inputs that raise anything else; with atheris, guided by coverage
tests/fuzz/test_search.py                does so for each target in `make test-system`, KVSYNC_FUZZ_SECONDS (8) each
tests/fuzz/found/TARGET/NAME             inputs that did once: ordinary tests read them all
"""
