"""The house rules of docs/architecture.md that a program can check."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "greenroom"

FLOOR = {"errors", "config", "ids", "httpclient", "operations", "reports"}
UPPER = {"eventlog", "grants", "plugins", "link"}
MAY_IMPORT: dict[str, set[str]] = {
    "grants": set(),
    "eventlog": set(),
    "plugins": set(),
    "_media": set(),
    "server": {"_media", "grants"},
    "link": {"grants", "eventlog"},
    "pool": {"grants", "plugins"},
    "offline": {"plugins"},
    "ingest": UPPER | {"sessions"},
    "sessions": UPPER,
    "fleet": UPPER,
    "interventions": UPPER,
    "simulation": UPPER | {"sessions"},
    "coordinator": UPPER,
    "control": UPPER | {"ingest", "sessions", "fleet", "interventions", "simulation", "coordinator"},
    "dev": {"server", "control", "pool", "grants", "_media"},
}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the Greenroom room of each import, wherever in the file it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            names = (
                [f"greenroom.{alias.name}" for alias in node.names]
                if node.module == "greenroom"
                else [node.module or ""]
            )
        for name in names:
            if name.startswith("greenroom."):
                yield node.lineno, name.split(".")[1]


def test_rooms_import_only_what_the_house_allows() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        room = room_of(path)
        # dev/agents holds an agent program, which runs in a process of its own like any user's.
        if room in {"cli", "__main__", "__init__"} or PACKAGE / "dev" / "agents" in path.parents:
            continue
        allowed = set() if room in FLOOR else MAY_IMPORT[room] | {room}
        for line, target in imports_of(path):
            if target not in allowed | FLOOR | {"__version__"}:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {room} may not import {target}")
    assert not wrong, "\n".join(wrong)


def test_private_modules_stay_inside_their_package() -> None:
    private = re.compile(r"^from (greenroom(?:\.\w+)*\._(?!media\b)\w+|greenroom\._media\._\w+)", re.MULTILINE)
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        package = ".".join(("greenroom", *path.relative_to(PACKAGE).parts[:-1]))
        for match in private.finditer(path.read_text()):
            owner = match[1].rpartition(".")[0]
            if package != owner and not package.startswith(owner + "."):
                wrong.append(f"{path.relative_to(ROOT)}: imports {match[1]}")
    assert not wrong, "\n".join(wrong)


def tracked(*patterns: str) -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode:
        return [path for pattern in patterns for path in ROOT.rglob(pattern) if "node_modules" not in path.parts]
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def test_no_source_file_outgrows_one_noun() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in tracked("*.py", "*.rs", "*.ts", "*.tsx", "*.css")
        if (lines := len(path.read_text().splitlines())) > 700
    }
    assert not long


def test_no_function_outgrows_one_screen() -> None:
    long = []
    for path in tracked("src/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > 60:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} has {length} lines")
    assert not long, "\n".join(long)


def test_every_test_module_has_one_marker() -> None:
    kinds = {"unit", "conformance", "e2e", "chaos"}
    wrong = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        used = set(re.findall(r"pytest\.mark\.(unit|conformance|e2e|chaos)\b", path.read_text()))
        if len(used & kinds) != 1:
            wrong.append(f"{path.relative_to(ROOT)}: {sorted(used) or 'none'}")
    assert not wrong, "\n".join(wrong)


def test_lock_files_hold_no_download_addresses() -> None:
    assert "://" not in (ROOT / "constraints.txt").read_text()
    assert '"resolved"' not in (ROOT / "console/package-lock.json").read_text()
