"""`kvsync schema --install`: editors know the files, and nothing of their settings is lost."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.cli.conftest import CONFIGURATION, Repo

OTHER = '{"other.json": "x/*.yaml"}'
SETTINGS = f"""{{
    "editor.rulers": [80, 120],
    "yaml.schemas": {OTHER}, "b":   {{"c": 1}}
}}
"""
MORE = "environments: [dev, prod]\n"


@pytest.fixture
def files(repo: Repo) -> Repo:
    repo.write("kvsync.yaml", CONFIGURATION + MORE)
    return repo


def written(root: Path) -> dict[str, str]:
    """The files of editors."""
    folders = (".vscode", ".idea", ".kvsync-schemas")
    return {
        str(path.relative_to(root)): path.read_text() for name in folders for path in sorted(root.glob(f"{name}/*"))
    }


def test_both_editors_find_the_schema_of_every_file(files: Repo) -> None:
    """Each kind of file is mapped to its schema, which is the one that `kvsync schema` prints; a second run changes nothing."""
    preview = files.json("schema", "--install", "--dry-run")
    assert (preview["written"], written(files.root)) == (False, {})
    assert "(sensitive)" not in files.run("schema", "--install", "--dry-run").stdout
    assert "wrote .vscode/settings.json" in files.run("schema", "--install").stdout
    found = written(files.root)
    assert set(preview["files"]) == set(found)
    schemas = json.loads(found[".vscode/settings.json"])["yaml.schemas"]
    assert schemas[".kvsync-schemas/config.json"] == ["kvsync.yaml"]
    assert {"kvsync.dev.yaml", "kvsync.prod.yml"} < set(schemas[".kvsync-schemas/overlay.json"])
    infos = list(ET.fromstring(found[".idea/jsonSchemas.xml"]).iter("SchemaInfo"))
    mapped = {
        str(info.find("option[@name='relativePathToSchema']").get("value")): [  # type: ignore[union-attr]
            path.get("value") for path in info.iterfind(".//Item/option[@name='path']")
        ]
        for info in infos
    }
    assert mapped == schemas
    assert {name: found[name] for name in schemas} == {
        name: files.run("schema", Path(name).stem).stdout for name in schemas
    }
    assert files.run("schema", "--install").stdout == "nothing to change\n"
    assert written(files.root) == found


def test_settings_of_others_stay(files: Repo) -> None:
    """Other members and mappings are kept, and our own are replaced when the configuration has changed."""
    files.write(".vscode/settings.json", SETTINGS)
    other = '<entry key="other"><value><SchemaInfo /></value></entry>'
    component = (
        f'<component name="JsonSchemaMappingsProjectConfiguration"><state><map>{other}</map></state></component>'
    )
    files.write(".idea/jsonSchemas.xml", f'<project version="4"><component name="b" />{component}</project>')
    files.run("schema", "--install")
    files.write("kvsync.yaml", CONFIGURATION)
    files.run("schema", "--install")
    text = written(files.root)[".vscode/settings.json"]
    start, end = SETTINGS.split(OTHER)
    assert (text[: len(start)], text[-len(end) :]) == (start, end)
    assert json.loads(text)["yaml.schemas"]["other.json"] == "x/*.yaml"
    project = ET.fromstring(written(files.root)[".idea/jsonSchemas.xml"])
    assert [one.get("name") for one in project] == ["b", "JsonSchemaMappingsProjectConfiguration"]
    keys = [str(one.get("key")) for one in project.iter("entry")]
    assert "other" in keys
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".vscode/settings.json", '{\n  // ours\n  "a": 1,\n}\n'),
        (".vscode/settings.json", "[1]"),
        (".vscode/settings.json", '{"yaml.schemas": 7}'),
        (".idea/jsonSchemas.xml", "<project><!-- ours --></project>"),
        (".idea/jsonSchemas.xml", "<project>"),
    ],
)
def test_a_file_that_would_lose_something_is_left_unchanged(files: Repo, name: str, text: str) -> None:
    """Comments and what kvsync cannot read are kept, with words on what to do, and the other files are written."""
    files.write(name, text)
    done = files.run("schema", "--install", code=3)
    assert f"left unchanged: {name}: " in done.stderr
    assert written(files.root)[name] == text
    assert ".kvsync-schemas/state.json" in written(files.root)


@pytest.mark.parametrize("words", [(), ("config", "--install"), ("config", "--dry-run")])
def test_either_a_schema_or_the_settings(files: Repo, words: tuple[str, ...]) -> None:
    """What is asked must be clear."""
    assert "name one schema to print, or use --install" in files.run("schema", *words, code=64).stderr
