"""What the documentation shows exists: code compiles, imports and links work, commands are understood."""

import ast
import importlib
import re
import shlex
from pathlib import Path

import pytest

from ase_bmdal.cli.program import make_parser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINKED = [*PAGES, ROOT / "docs" / "results" / "README.md", *sorted((ROOT / "docs" / "notes").glob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
TOP = {
    "ase_bmdal", "tests", "examples", "docs", "pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "Makefile",
    ".ci", ".gitignore",
}  # fmt: skip


def _blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


PYTHON = [(page.name, code) for page in PAGES for code in _blocks(page, "python")]
PYTHON += [(path.name, path.read_text()) for path in EXAMPLES]
COMMANDS = [
    (page.name, line)
    for page in PAGES
    for block in _blocks(page, "")
    for line in block.replace("\\\n", "").splitlines()
    if line.startswith("ase-bmdal ")
]


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("page", "code"), PYTHON, ids=[page for page, _ in PYTHON])
def test_code_compiles_and_its_imports_exist(page, code):
    compile(code, page, "exec")
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            assert all(hasattr(module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)


@pytest.mark.parametrize(("page", "line"), COMMANDS, ids=[f"{page}: {line}" for page, line in COMMANDS])
def test_commands_are_understood(page, line):
    command = shlex.split(line)[1:]
    if command != ["COMMAND", "--help"]:
        make_parser().parse_args(command)


def test_links_lead_somewhere():
    for page in LINKED:
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
            assert target.startswith("https://") or (page.parent / target.partition("#")[0]).is_file(), target


def test_manuals_tell_what_is_and_notes_are_dated():
    for page in PAGES:
        text = re.sub(r"\]\([^)]+\)", "", page.read_text())  # links to notes have dates
        assert not re.findall(r"\b20\d\d-\d\d-\d\d\b|\bcommit `?[0-9a-f]{7}", text), page.name
    for note in (ROOT / "docs" / "notes").iterdir():
        assert note.read_text().startswith(f"# {note.name[:10]}: "), note.name


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "docs" / "site" / "mkdocs.yml").read_text()
    for page in [*PAGES[1:], *(ROOT / "docs" / "notes").iterdir()]:
        assert f": {page.relative_to(ROOT / 'docs')}\n" in navigation, page.name


def test_the_script_is_the_same_everywhere():
    script = ast.dump(ast.parse(_blocks(ROOT / "README.md", "python")[0]))
    assert ast.dump(ast.parse(_blocks(ROOT / "docs" / "quickstart.md", "python")[0])) == script
    example = ast.parse((ROOT / "examples" / "molecule.py").read_text())
    assert sorted(map(ast.dump, example.body[1:])) == sorted(
        map(ast.dump, ast.parse(_blocks(ROOT / "README.md", "python")[0]).body)
    )


def test_every_file_that_is_named_exists():
    rooms = [path.name for path in (ROOT / "ase_bmdal").iterdir() if path.is_dir()]
    for page in PAGES:
        for name in re.findall(
            rf"`((?:{'|'.join(['examples', 'tests', *rooms])})/[\w/.]*)`", page.read_text()
        ):
            assert (ROOT / name).exists() or (ROOT / "ase_bmdal" / name).exists(), f"{page.name}: {name}"


def test_the_top_level_stays_short():
    import subprocess

    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert {name.partition("/")[0] for name in listed.splitlines()} <= TOP
