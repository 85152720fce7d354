"""``make evaluate``: what the model in use reaches, on mails it never saw and out of fold, with a picture."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import click

from mailrouter import classify, config, corpus, evaluate, fitting, organisation
from mailrouter.classify import rules
from mailrouter.classify.model import ModelCard

_OUT_OF_FOLD = "out of fold, "
_CELL, _NAMES, _EDGE = 18, 270, 8
_STYLE = (
    "text{font:11px sans-serif;fill:#222}.hit{fill:#1f6f8b}.miss{fill:#c0392b}.rail{fill:#f3f3f3}.over{fill:#fff}"
    "text.count{font-size:10px;text-anchor:middle}text.true{text-anchor:end}"
)


@click.command()
@click.option("--version", help="Model version to measure instead of the one in use.")
@click.option("--confusions", default=15, show_default=True, help="How many of the commonest confusions are listed.")
@click.option("--cross-validate", is_flag=True, help="Make the figures out of fold anew (minutes), not from the card.")
@click.option(
    "--picture",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    default=Path("build/confusions.svg"),
    show_default=True,
    help="Where the picture of the confused units is written.",
)
def main(version: str | None, confusions: int, cross_validate: bool, picture: Path) -> None:
    """Measure a model on the validation mails, and show what it reached out of fold.

    Example: python -m mailrouter.measuring --confusions 30
    """
    settings = config.load().classify
    classifier = classify.load(settings, version)
    rows = corpus.validation(settings.models / "corpus")
    now = datetime.now(UTC)
    click.echo(f"{classifier.by}\n\n{len(rows)} validation mails, never trained on:\n")
    click.echo(evaluate.table(evaluate.measure(classifier, rows, now.date())))
    card = _fitted_anew(settings, now) if cross_validate else classifier.model.card
    reached = {
        name.removeprefix(_OUT_OF_FOLD): value for name, value in card.measures.items() if name.startswith(_OUT_OF_FOLD)
    }
    click.echo("\nCross-validated on the seed corpus, near-duplicates kept together:\n")
    click.echo(evaluate.table(reached))
    click.echo("\nConfused most often on the validation mails (true -> suggested):")
    for (true, found), count in evaluate.confused(classifier, rows, now.date())[:confusions]:
        click.echo(f"{count:3}  {true} -> {found}")
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_text(drawn(*evaluate.unit_confusions(classifier, rows, now.date())), encoding="utf-8")
    click.echo(f"\nPicture of the confused units: {picture}")


def _fitted_anew(settings: config.Classify, now: datetime) -> ModelCard:
    """Learn from the seed corpus again, for its figures alone; nothing is written."""
    city = organisation.load(settings.organisation)
    folder = settings.models / "corpus"
    rows = corpus.seed(folder, city) + corpus.words(folder, city)
    return fitting.fit(rows, city, rules.load(settings.rules, city), click.echo, now=now).card


def drawn(names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """A square as SVG: a row a true unit, a column a suggested one, the darker the larger the share of its row."""
    side = _CELL * len(names)
    parts = []
    for row, (name, line) in enumerate(zip(names, counts, strict=True)):
        top = _NAMES + row * _CELL
        parts.append(f'<text class="true" x="{_NAMES - _EDGE}" y="{top + 13}">{escape(name)}</text>')
        turned = f'transform="translate({top + 13} {_NAMES - _EDGE}) rotate(-90)"'
        parts.append(f"<text {turned}>{escape(name)}</text>")
        for column, count in enumerate(line):
            parts += _cell(_NAMES + column * _CELL, top, count, sum(line), hit=row == column)
    whole = _NAMES + side + _EDGE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {whole}" width="{whole}" height="{whole}">'
        f"<title>True units (rows) and suggested units (columns)</title><style>{_STYLE}</style>{''.join(parts)}</svg>\n"
    )


def _cell(left: int, top: int, count: int, whole: int, *, hit: bool) -> list[str]:
    box = f'x="{left}" y="{top}" width="{_CELL - 1}" height="{_CELL - 1}"'
    if not count:
        return [f'<rect class="rail" {box}/>']
    share = count / whole
    kind, inked = "hit" if hit else "miss", "count over" if share > 0.4 else "count"
    return [
        f'<rect class="rail" {box}/><rect class="{kind}" {box} opacity="{0.15 + 0.85 * share:.2f}"/>',
        f'<text class="{inked}" x="{left + _CELL / 2 - 0.5}" y="{top + 13}">{count}</text>',
    ]


if __name__ == "__main__":
    main()
