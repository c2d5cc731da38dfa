"""Hooks of the site: some of what pages link to lies outside of docs/."""

import pathlib
import re

from mkdocs.structure.files import File

ROOT = pathlib.Path(__file__).parent.parent
FOLDERS = ("train/pictures", "train/results")
SHOWN = (".png", ".csv", ".json", ".md", ".txt")


def on_files(files, config):
    """Add pictures and tables of the experiments, and CONTRIBUTING.md, under their own paths."""
    found = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*"))]
    for path in (ROOT / "CONTRIBUTING.md", *found):
        if path.suffix in SHOWN:
            name = path.relative_to(ROOT).as_posix()
            files.append(File(name, ROOT, config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown, page, **_):
    """Links from docs/ to these files, as a reader of the repository follows them.

    Of links to whole folders only the text: the site has no page of them.
    """
    if page.file.src_uri == "CONTRIBUTING.md":
        return markdown.replace("](docs/", "](")
    markdown = re.sub(r"\[([^]]*)\]\(\.\./train/[\w/-]*\)", r"\1", markdown)
    return re.sub(r"\]\(\.\./(train/|CONTRIBUTING\.md)", r"](\1", markdown)


def on_page_content(html, page, **_):
    """Links of a notebook to pages, which are files of the repository there."""
    if not page.file.src_uri.endswith(".ipynb"):
        return html
    return re.sub(r'href="(\.\./[\w/]+)\.md"', r'href="\1.html"', html)
