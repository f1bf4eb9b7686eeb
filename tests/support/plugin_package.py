"""Packages with plugins, as an installer leaves them: a module, and the metadata that names its entry point."""

from __future__ import annotations

from pathlib import Path


def install(directory: Path, package: str, source: str, *, version: str = "1.0", entry: str = "") -> None:
    """Lay a package out in a directory that is on ``sys.path``.

    :param source: of its only module, called like the package with underscores.
    :param entry: what the entry point names; the module by default.
    """
    module = package.replace("-", "_")
    (directory / f"{module}.py").write_text(source)
    info = directory / f"{module}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[greenroom.plugins]\n{package} = {entry or module}\n")


def install_livekit_plugin(directory: Path, provider: str, source: str, *, version: str = "1.8.9") -> None:
    """Lay ``livekit-plugins-PROVIDER`` out, whose module is part of LiveKit's namespace package."""
    module = provider.replace("-", "_")
    path = directory / "livekit" / "plugins" / module
    path.mkdir(parents=True)
    (path / "__init__.py").write_text(source)
    info = directory / f"livekit_plugins_{module}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: livekit-plugins-{provider}\nVersion: {version}\n")
