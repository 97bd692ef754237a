"""From the name of a data set to its files: on this machine, from the internet, or a clear no."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.data.download import Download, fetch
from orchestrator.data.files import DATA_VARIABLE, Layout, Located, find, search_roots
from orchestrator.errors import DataError


@dataclass(frozen=True)
class FileSource:
    """What is known about the files of a data set.

    Attributes:
        name: As in a study file; also the folder in the cache.
        layouts: The ways they lie on disk, preferred ones first.
        downloads: What to get, if they are nowhere.
        package: The Debian package that installs them, if there is one.
    """

    name: str
    layouts: tuple[Layout, ...]
    downloads: tuple[Download, ...]
    package: str | None = None


def obtain(source: FileSource, data_dir: str | None = None) -> Located:
    """Find the files where they lie, or download them into the cache.

    Args:
        source: Which files.
        data_dir: Folder to look in first.

    Raises:
        DataError: If there is no way to get them; says where they were looked for, what
            downloading them failed with, and how to get them by hand.
    """
    import pooch

    cache = Path(pooch.os_cache("orchestrator"))
    roots = search_roots(data_dir, cache)
    located = find(source.layouts, roots, data_dir)
    failures: list[str] = []
    if located is None:
        failures = fetch(source.downloads, cache / source.name)
        located = find(source.layouts, roots, data_dir)
    if located is None:
        raise _not_found(source, roots, failures)
    return located


def _not_found(source: FileSource, roots: list[Path], failures: list[str]) -> DataError:
    lines = [f"data set {source.name!r}: its files are not on this machine; looked in"]
    lines += [f"    {root}" for root in roots]
    lines.append("  for any of these, plain or .gz, with -idx or .idx")
    for layout in source.layouts:
        folders = ["itself" if folder == "." else folder for folder in layout.folders]
        wanted = layout.archive or ", ".join(layout.files)
        lines.append(f"    {wanted} (in {' or '.join(folders)})")
    lines.append("  and downloading failed:")
    lines += [f"    {failure}" for failure in failures]
    commands = "\n".join(
        f"    curl -fL --create-dirs --output-dir data/{source.name} -O {download.urls[0]}"
        for download in source.downloads
    )
    hint = (
        f"on a machine with internet access\n{commands}\n"
        f"  then copy data/{source.name} here, or name its folder with data.data_dir "
        f"(or the folder above it with ${DATA_VARIABLE})"
    )
    if source.package is not None:
        hint += f"; Debian and Ubuntu: apt install {source.package}"
    return DataError("\n".join(lines), hint)
