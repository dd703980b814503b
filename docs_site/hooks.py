"""hooks: what MkDocs calls while it builds the site.

Adds the pages that are made from the code, takes the classes of commands out of what is shown, and
prints how many blocks there are of each class.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from mkdocs.structure.files import File, Files

from fences import fences_of, plain_fences
from reference import pages

__all__ = ["on_files", "on_page_markdown", "on_post_build", "on_post_page", "on_post_template"]

_WORKER = "assets/javascripts/iframe-worker.js"
_ELSEWHERE = "https://unpkg.com/iframe-worker/shim"
"""What lets the search work from a disk; the theme would fetch it when a page is read."""

_OUTSIDE = re.compile(r"\[([^\[\]]+)\]\((?:\.\./)+[^)]+\)")
"""A link to a file of the repository, which is no page of the site."""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made from the code."""
    for name, markdown in pages().items():
        files.append(File.generated(config, f"reference/{name}", content=markdown))
    worker = (Path(__file__).parent / "assets" / "iframe-worker.js").read_text("utf-8")
    files.append(File.generated(config, _WORKER, content=worker))
    return files


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Return a page that fetches nothing from elsewhere."""
    del config
    return _here(output, page.file.src_uri)


def on_post_template(output: str, template_name: str, config: Any) -> str:
    """Return a page that is no document, such as that for a wrong address."""
    del config
    return _here(output, template_name) if template_name.endswith(".html") else output


def _here(output: str, name: str) -> str:
    """Return a page that fetches nothing from elsewhere.

    Raises:
        ValueError: The theme names a script, a style or a picture of another host.
    """
    output = output.replace(_ELSEWHERE, "../" * name.count("/") + _WORKER)
    for tag in re.findall(r"<(?:script|link|img|iframe)[^>]*>", output):
        if re.search(r"(?:src|href)=\"?(?:https?:)?//", tag) and 'rel="canonical"' not in tag:
            raise ValueError(f"{name} would fetch from elsewhere: {tag}")
    return output


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Return what is shown of a page's text."""
    del config, files
    if page.file.src_uri.count("/") == 0:
        markdown = _OUTSIDE.sub(r"\1", markdown)
    return plain_fences(markdown)


def on_post_build(config: Any) -> None:
    """Print how many blocks of commands there are of each class."""
    found = sorted(Path(config["docs_dir"]).rglob("*.md"))
    kinds = Counter(fence.kind for page in found for fence in fences_of(page) if fence.kind)
    told = ", ".join(f"{kinds[kind]} {kind}" for kind in ("run", "fake", "parsed", "file"))
    print(f"blocks of commands and files in {len(found)} pages: {told}")
