"""The site of this documentation, English and 简体中文: `python docs/build.py SITE`, or `make docs`.

The pages are those that lie here, which the tests execute; nothing is written twice. They are laid out for Zensical
below `build/site`, one tree a language, with the reference of the Python names that mkdocstrings makes of docstrings.
Each tutorial lies beside itself as a notebook too, made of its blocks and executed (`--plain`: not executed, which
takes minutes less). A link that leads nowhere, or a cell that fails, ends it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import yaml

sys.path.insert(0, str(Path(__file__).parent))
from notebooks import execute_all, notebook_of

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
STAGE = ROOT / "build" / "site"
LINK = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)]*)?\))")
CHINESE = "zh-CN"
LANGUAGES = {"en": HERE, CHINESE: HERE / CHINESE}
SECTIONS = {
    "en": {"tutorials": "Tutorials", "how-to": "How to", "reference": "Reference", "explanation": "Explanation"},
    CHINESE: {"tutorials": "教程", "how-to": "操作指南", "reference": "参考", "explanation": "说明"},
}
API = {"en": "Python names, from their docstrings", CHINESE: "Python 名称(来自文档字符串,英文)"}
FIRST = {"en": "Start", CHINESE: "开始"}
ANCHORS = "!!python/object/apply:pymdownx.slugs.slugify {kwds: {case: lower}}"
"""How a heading becomes an anchor, Chinese ones too."""
LEARNED, AS_NOTEBOOK = "tutorials", {"en": "As a notebook", CHINESE: "下载笔记本"}
"""The folder whose pages can be had as notebooks, and what leads to them."""
OUTSIDE = "beside"
"""Where files of the repository lie in the site that pages link to."""


def pages(language: str) -> list[Path]:
    """The pages of a language."""
    found = sorted(LANGUAGES[language].rglob("*.md"))
    return [page for page in found if language == CHINESE or CHINESE not in page.relative_to(HERE).parts]


def lay_out(language: str, stage: Path) -> Path:
    """Lays the pages of a language out as a tree of their own, `docs` in `stage`, where links still lead to what they
    led to; that tree."""
    top, tree = LANGUAGES[language], stage / "docs"
    for page in pages(language):
        text = page.read_text(encoding="utf-8")
        placed = tree / page.relative_to(top)

        def led(link: re.Match[str], page: Path = page, placed: Path = placed) -> str:
            target = (page.parent / link[2]).resolve()
            return f"{link[1]}{_led(target, placed, top, tree, language)}{link[3]}"

        placed = placed.with_name("index.md") if placed.name == "README.md" else placed
        placed.parent.mkdir(parents=True, exist_ok=True)
        text = LINK.sub(led, text)
        if page.parent.name == LEARNED:
            nbformat.write(notebook_of(text), placed.with_suffix(".ipynb"))
            title, _, rest = text.partition("\n")
            text = f"{title}\n\n[{AS_NOTEBOOK[language]}]({placed.with_suffix('.ipynb').name})\n\n{rest}"
        placed.write_text(text, encoding="utf-8")
    (tree / "reference" / "api.md").write_text(api(language), encoding="utf-8")
    told = yaml.safe_dump(settings(language, tree), allow_unicode=True, sort_keys=False)
    (stage / "mkdocs.yml").write_text(told.replace(f"'{ANCHORS}'", ANCHORS), encoding="utf-8")
    return tree


def _led(target: Path, placed: Path, top: Path, tree: Path, language: str) -> str:
    """A link in the tree of a language: to a page of it, of the other language, or a file of the repository."""
    up = "../" * (len(placed.relative_to(tree).parts) - 1)
    if target.name == "README.md" and target.parent in LANGUAGES.values() and target.parent != top:
        return f"{up or './'}{'../' if language == CHINESE else CHINESE + '/'}"
    if target.is_relative_to(top) and target.suffix == ".md":
        inside = target.relative_to(top)
        return up + str(inside.with_name("index.md") if inside.name == "README.md" else inside)
    if target.is_relative_to(HERE) and target.suffix == ".md":  # of a page that is there in English alone
        return f"{up}../{target.relative_to(HERE).with_suffix('').as_posix()}/"
    copy = tree / OUTSIDE / target.relative_to(ROOT)
    copy.parent.mkdir(parents=True, exist_ok=True)
    if target.suffix == ".md":  # its own links lead into the repository, which is not here
        text = LINK.sub(lambda link: link[0].partition("](")[2] and "](#)", target.read_text(encoding="utf-8"))
        copy.write_text(text, encoding="utf-8")
    else:
        shutil.copy(target, copy)
    return f"{up}{OUTSIDE}/{target.relative_to(ROOT)}"


def api(language: str) -> str:
    """The page of the public names, whose contents mkdocstrings takes from their docstrings."""
    import flambeau as fb

    names = [name for name in fb.__all__ if not name.startswith("__")]
    modules = {"fields", "sklearn", "testing"}
    said = [f"## `fb.{name}`\n\n::: {f'flambeau.{name}' if name in modules else _home(name)}\n" for name in names]
    return "\n".join([f"# {API[language]}\n", *said])


def _home(name: str) -> str:
    import flambeau as fb

    part = getattr(fb, name)
    return f"{part.__module__}.{part.__qualname__}"


def settings(language: str, tree: Path) -> dict[str, object]:
    """What Zensical is told, in the form of a `mkdocs.yml`."""
    nav: list[dict[str, object]] = [{FIRST[language]: "index.md"}]
    nav += [{_title(tree / page): page} for page in ("what-do-i-type.md", "tutorial.md", "coming-from.md")]
    for folder, title in SECTIONS[language].items():
        inside = sorted((tree / folder).glob("*.md"))
        if inside:
            nav.append({title: [{_title(page): page.relative_to(tree).as_posix()} for page in inside]})
    up = "./" if language == "en" else "../"
    return {
        "site_name": "Flambeau", "docs_dir": "docs", "site_dir": "site", "nav": nav,
        "theme": {
            "language": "zh" if language == CHINESE else "en",
            "features": ["navigation.indexes", "navigation.top", "content.code.copy", "search.highlight", "toc.follow"],
            "font": False,  # nothing is loaded from elsewhere
            "palette": [
                {"media": "(prefers-color-scheme: light)", "scheme": "default", "primary": "deep orange"},
                {"media": "(prefers-color-scheme: dark)", "scheme": "slate", "primary": "deep orange"},
            ],
        },
        "extra": {"alternate": [{"name": "English", "link": up, "lang": "en"},
                                {"name": "简体中文", "link": f"{up}{CHINESE}/", "lang": "zh"}]},
        "markdown_extensions": [
            "tables", "attr_list", {"toc": {"permalink": True, "slugify": ANCHORS}}, "pymdownx.superfences",
            {"pymdownx.highlight": {"anchor_linenums": False}},
        ],
        "plugins": [
            "search",
            {"mkdocstrings": {"handlers": {"python": {
                "paths": [str(ROOT)],
                "options": {"extensions": [f"{HERE / 'doctests.py'}"], "docstring_style": "google",
                            "docstring_options": {"warnings": False}, "show_source": False, "show_root_heading": False,
                            "show_root_toc_entry": False, "members_order": "source", "heading_level": 3,
                            "inherited_members": False, "filters": ["!^_"]},
            }}}},
        ],
    }  # fmt: skip


def _title(page: Path) -> str:
    return next(line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("# "))[2:].strip()


def main(out: Path, plain: bool = False) -> None:
    """Builds the site into a folder; the notebooks of a plain one have no outputs."""
    shutil.rmtree(STAGE, ignore_errors=True)
    shutil.rmtree(out, ignore_errors=True)
    for language in LANGUAGES:
        stage = STAGE / language
        tree = lay_out(language, stage)
        if not plain:
            execute_all(tree)
        done = subprocess.run([sys.executable, "-m", "zensical", "build", "--strict", "-f", "mkdocs.yml"], cwd=stage)
        if done.returncode:
            sys.exit(f"the pages of {language} are not whole; see above")
        shutil.copytree(stage / "site", out if language == "en" else out / language)
    print(f"{out}/index.html")  # noqa: T201


if __name__ == "__main__":
    given = [argument for argument in sys.argv[1:] if argument != "--plain"]
    main(Path(given[0] if given else "site").resolve(), plain="--plain" in sys.argv)
