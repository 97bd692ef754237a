"""Finding the files of a data set on this machine, or downloading them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from orchestrator.data.download import Download, fetch
from orchestrator.data.files import DATA_VARIABLE, Layout, Located, find, search_roots
from orchestrator.errors import DataError


@dataclass(frozen=True)
class FileSource:
    """The layouts and downloads of the files of a data set.

    Attributes:
        name: Name in a study file; also the folder in the cache.
        layouts: Possible layouts of the files on disk, preferred ones first.
        downloads: Files to download if none are found.
        package: Debian package that installs the files, or None.
    """

    name: str
    layouts: tuple[Layout, ...]
    downloads: tuple[Download, ...]
    package: str | None = None


def obtain(source: FileSource, data_dir: str | None = None) -> Located:
    """Find the files on this machine, or download them into the cache.

    Args:
        source: The files to find.
        data_dir: Folder to search first.

    Raises:
        DataError: If the files cannot be obtained. The message lists the searched folders, the
            download errors, and how to get the files manually.
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
    lines = [f"data set {source.name!r}: files not found on this machine; searched in"]
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
        f"  then copy data/{source.name} here, or set data.data_dir to its folder "
        f"(or ${DATA_VARIABLE} to the folder above it)"
    )
    if source.package is not None:
        hint += f"; Debian and Ubuntu: apt install {source.package}"
    return DataError("\n".join(lines), hint)
