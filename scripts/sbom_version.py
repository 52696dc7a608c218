"""Write the version of kvsync into its bill of materials: python scripts/sbom_version.py FILE VERSION.

The version in pyproject.toml is dynamic, so the tool that writes the document leaves it out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def with_version(document: dict[str, Any], version: str) -> dict[str, Any]:
    """The document with the version and the package URL of its main component. Raises KeyError if it has none."""
    component = document["metadata"]["component"] | {"version": version, "purl": f"pkg:pypi/kvsync@{version}"}
    return document | {"metadata": document["metadata"] | {"component": component}}


if __name__ == "__main__":
    file, version = Path(sys.argv[1]), sys.argv[2]
    document = with_version(json.loads(file.read_text(encoding="utf-8")), version)
    file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
