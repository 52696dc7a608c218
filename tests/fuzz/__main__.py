"""Look for inputs that a target does not expect: `python -m tests.fuzz TARGET SECONDS [FOLDER]`.

One that is found is written to the folder, and the exit code is not 0.
"""

from __future__ import annotations

import hashlib
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from random import Random


def main(name: str, seconds: float, folder: Path) -> int:
    """Fuzz one target for a time."""
    if find_spec("atheris") is not None:
        return _guided(name, seconds, folder)
    return _blind(name, seconds, folder)


def _guided(name: str, seconds: float, folder: Path) -> int:
    """By coverage: inputs that reach new code are mutated further."""
    import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]

    with atheris.instrument_imports(include=["kvsync"]):
        from tests.fuzz.mutation import varied
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        random = Random(seed)
        return varied(data, target, random)[:most] if random.random() < 0.5 else atheris.Mutate(data, most)

    corpus = folder / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds:
        (corpus / hashlib.sha256(seed).hexdigest()[:12]).write_bytes(seed)
    words = folder / f"{name}.dict"
    spelled = ("".join(map("\\x{:02x}".format, word)) for word in target.words)
    words.write_text("".join(f'"{word}"\n' for word in spelled))
    limits = [f"-max_total_time={seconds:.0f}", "-timeout=30", "-max_len=4096"]
    options = [*limits, f"-dict={words}", f"-artifact_prefix={folder}/{name}-"]
    atheris.Setup([sys.argv[0], *options, str(corpus)], target.read, custom_mutator=mutate)
    atheris.Fuzz()  # ends the process
    return 0


def _blind(name: str, seconds: float, folder: Path) -> int:
    from tests.fuzz.mutation import mutated
    from tests.fuzz.targets import TARGETS

    random, ends, count = Random(), time.monotonic() + seconds, 0
    while time.monotonic() < ends:
        data, count = mutated(TARGETS[name], random), count + 1
        try:
            TARGETS[name].read(data)
        except Exception as error:  # noqa: BLE001 - whatever it is, it was not expected
            file = folder / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
            file.write_bytes(data)
            print(f"{type(error).__name__}: {error}\nin {file}", file=sys.stderr)
            return 1
    print(f"{count:,} inputs")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], float(sys.argv[2]), Path(sys.argv[3] if len(sys.argv) > 3 else ".")))
