"""What a notebook shows of a thing. The room that draws it, `flambeau.notebook`, is above all that is drawn: it is
imported when something is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flambeau.notebook.figures import Drawn


def as_html(thing: Any) -> str:
    """The thing as HTML, for a cell's output: the `_repr_html_` of a class."""
    from flambeau.notebook import html

    return html.of(thing)


class Pictured:
    """The pictures of a training: of a run, or of a Learner that has left one. Each is a matplotlib Figure, whose
    `frame()` has the same numbers as a polars DataFrame.

    All raise UsageError where the training measured no such thing, MissingExtra where matplotlib is not installed.
    """

    def plot_losses(self) -> Drawn:
        """The loss of the training's steps or epochs, and of the validation rows by epoch."""
        from flambeau.notebook import plots

        return plots.losses(self)

    def plot_lr(self) -> Drawn:
        """The learning rate of each step that was written down; beside it the search for it, where there was one."""
        from flambeau.notebook import plots

        return plots.rates(self)

    def plot_confusion(self) -> Drawn:
        """How often each class was taken for each: rows are the truth."""
        from flambeau.notebook import plots

        return plots.confusion(self)

    def plot_calibration(self) -> Drawn:
        """The share of right answers by confidence: Niculescu-Mizil & Caruana 2005."""
        from flambeau.notebook import plots

        return plots.calibration(self)

    def show_mistakes(self, count: int = 12) -> Drawn:
        """The worst mistakes on the rows that were measured, each with its input where that is a picture or a text."""
        from flambeau.notebook import plots

        return plots.mistakes(self, count)
