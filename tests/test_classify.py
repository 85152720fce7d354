"""Suggestions with the shipped model: what they say, what they leave open, and how they are read and written."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from mailrouter import classify, config, corpus, evaluate, letter
from mailrouter.classify import Classifier, Query, model
from mailrouter.classify.language import language_of
from mailrouter.classify.values import Verdict

TODAY = date(2026, 11, 21)
SETTINGS = config.Classify()


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return classify.load(SETTINGS)


def verdict_on(classifier: Classifier, body: str, subject: str = "", **more: Any) -> Verdict:
    return classifier.classify([Query("1", subject, body, **more)], TODAY)[0]


def test_importing_loads_no_numbers() -> None:
    """The doors and the desk import the suggestion's values without numpy or scikit-learn."""
    code = "import sys, mailrouter.classify, mailrouter.organisation; print('numpy' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"


def test_suggesting_loads_no_scikit_learn() -> None:
    """A suggestion needs arrays alone, so the process stays small."""
    code = (
        "import sys; from datetime import date; from mailrouter import classify, config;"
        "c = classify.load(config.Classify());"
        "c.classify([classify.Query('1', 'hej', 'snön ligger kvar på trottoaren')], date(2026, 1, 1));"
        "print('sklearn' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("body", "area", "unit"),
    [
        ("Gatlampan utanför vår port lyser inte sedan i tisdags.", "gatubelysning", "stadsmiljoforvaltningen"),
        ("När plogas gångbanan? Det är spegelblankt av is.", "vintervaghallning", "stadsmiljoforvaltningen"),
        ("Hur ansöker jag om bygglov för en altan?", "bygglov", "stadsbyggnadsforvaltningen"),
        ("Soptunnan blev inte tömd i måndags.", "sophamtning", "kretslopp-och-vatten"),
        ("Jag vill söka försörjningsstöd. Jag bor i Angered.", "forsorjningsstod", "social-nordost"),
        ("Jag vill söka försörjningsstöd.", "forsorjningsstod", None),
    ],
)
def test_plain_mails_find_their_unit(classifier: Classifier, body: str, area: str, unit: str | None) -> None:
    """A plain mail leads to its area and unit; without a place a place-split area has no unit."""
    found = verdict_on(classifier, body)
    assert (found.area, found.unit) == (area, unit)


def test_a_verdict_is_whole(classifier: Classifier) -> None:
    """A verdict has at least three candidates: the likeliest first, the first three for three units."""
    found = verdict_on(classifier, "Det ligger glas på lekplatsen i Majorna.", "Lekplats")
    likely = [candidate.probability for candidate in found.candidates]
    assert len(likely) >= 3
    assert likely[0] == max(likely)
    assert len({candidate.unit for candidate in found.candidates[:3]}) == 3
    assert 0 < sum(likely) <= 1.001
    assert (found.district, found.language) == ("centrum", "sv")
    assert classifier.model.card.version in found.by


def test_one_by_one_is_as_in_a_batch(classifier: Classifier) -> None:
    """A mail's verdict does not depend on the mails beside it."""
    queries = [row.query for row in corpus.validation(SETTINGS.models / "corpus")[:20]]
    together = classifier.classify(queries, TODAY)
    assert together == [classifier.classify([query], TODAY)[0] for query in queries]


def test_a_vague_mail_abstains(classifier: Classifier) -> None:
    """Where nothing is said, nothing is called sure."""
    for body in ("", "hej", "Ring mig.", "?", "Det fungerar inte, åtgärda.", "Var god svara snarast", "test"):
        assert verdict_on(classifier, body).abstain


def test_another_language_is_never_called_sure_by_habit(classifier: Classifier) -> None:
    """Mail not in Swedish is named as such and its probability is lowered."""
    found = verdict_on(classifier, "Hei, haluaisin tietää milloin kirjasto on auki sunnuntaisin. Kiitos avusta!")
    assert found.language == "fi"
    assert found.probability <= 0.5


@pytest.mark.parametrize(
    ("flag", "body"),
    [
        ("hot", "Nästa gång jag ser den vakten ska jag slå honom gul och blå."),
        ("hot", "Det här är sista varningen, jag vet var ni bor."),
        ("skyddad", "Vi lever med skyddade personuppgifter, får adressen synas?"),
        ("skyddad", "Mitt ex letar efter oss och får inte veta var vi bor."),
        ("overklagande-frist", "Härmed överklagar jag ert beslut den 3 maj om bygglov."),
        ("bradskande", "Akut! Det luktar gas i trapphuset, skicka någon nu!"),
        ("kanslig", "Min man slår mig och jag vågar inte gå hem till barnen."),
    ],
)
def test_warnings_are_raised(classifier: Classifier, flag: str, body: str) -> None:
    """What a person must see first is flagged."""
    assert flag in verdict_on(classifier, body).flags


def test_thanks_are_no_threat(classifier: Classifier) -> None:
    """Praise that sends its regards is not taken for a threat, though the same words can be one."""
    thanks = "Jag och mormor var på sagostunden. Han som läste hjälpte oss att låna böcker om hajar. Hälsa honom det!"
    assert "hot" not in verdict_on(classifier, thanks, "Tack till biblioteket").flags
    assert "hot" in verdict_on(classifier, "Jag vet var handläggaren bor. Han ska få ångra sig, hälsa honom det.").flags


def test_an_everyday_mail_has_no_warning(classifier: Classifier) -> None:
    """A bench that is wished for is not urgent, threatening or secret."""
    found = verdict_on(classifier, "Det vore trevligt med fler bänkar i parken vid biblioteket.")
    assert set(found.flags) <= {"kanslig"}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("overklagande", "Jag överklagar beslutet om parkeringstillstånd."),
        ("skadestand", "Min fälg förstördes i gropen och jag begär ersättning med 4 000 kr."),
        ("begaran-handling", "Jag begär att få ut alla handlingar i ärendet enligt offentlighetsprincipen."),
        ("berom", "Stort tack till personalen, ni är helt underbara!"),
        ("forslag", "Jag föreslår att ni sätter upp fler cykelställ vid torget."),
        ("fraga", "Vilka öppettider har simhallen i jul?"),
        ("felanmalan", "Lampan i lyktstolpen är trasig."),
    ],
)
def test_kinds_are_told_apart(classifier: Classifier, kind: str, body: str) -> None:
    """What the writer wants is recognised."""
    assert verdict_on(classifier, body).kind == kind


def test_reasons_are_sentences(classifier: Classifier) -> None:
    """A suggestion says which words, rules and places it leans on."""
    found = verdict_on(classifier, "Jag överklagar ert beslut om försörjningsstöd. Jag bor i Bergsjön.")
    kinds = {reason.kind for reason in found.reasons}
    assert {"rule", "word", "place"} <= kinds
    assert all(reason.text.endswith(".") for reason in found.reasons)
    assert any("Bergsjön" in reason.text for reason in found.reasons)


def test_a_reason_names_its_words_as_they_are_written(classifier: Classifier) -> None:
    """A page can mark in the mail what weighed: every word a reason rests on stands there letter for letter."""
    body = "Jag söker FÖRSÖRJNINGSSTÖD och bor i Bergsjöns centrum. Försörjningsstöd är viktigt."
    found = verdict_on(classifier, body)
    by_kind = {reason.kind: reason.words for reason in found.reasons}
    assert by_kind["place"] == ("Bergsjöns centrum",)
    assert {"FÖRSÖRJNINGSSTÖD", "Försörjningsstöd"} <= set(by_kind["word"])
    assert all(word in body for word in by_kind["word"])


def test_a_missing_place_is_said(classifier: Classifier) -> None:
    """Where the place decides and none is named, the reason says so."""
    found = verdict_on(classifier, "Jag vill söka försörjningsstöd.")
    assert any("säger inte var" in reason.text for reason in found.reasons)


def test_an_automatic_reply_is_no_matter(classifier: Classifier) -> None:
    """An autosvar is set aside whatever its text is about."""
    found = verdict_on(classifier, "Jag är ledig. Vid frågor om bygglov, ring växeln.", "Autosvar: Bygglov")
    assert found.area == "ej-arende"
    assert found.unit is None


def test_another_municipality_has_no_district(classifier: Classifier) -> None:
    """A matter in another municipality is not placed in a district where the writer happens to live."""
    found = verdict_on(classifier, "Hålet är på Göteborgsvägen i Mölndal, i Mölndals stad. Jag bor i Majorna.")
    assert found.area == "grannkommun"
    assert found.district is None


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Hej! När kommer plogbilen till vår gata?", "sv"),
        ("Hello, I would like to know when the library opens on Sundays.", "en"),
        ("Hei, milloin kirjasto on auki sunnuntaisin ja mitä se maksaa?", "fi"),
        ("مرحبا، أريد أن أعرف متى تفتح المكتبة يوم الأحد", "ar"),
        ("Dobar dan, želim znati kada se otvara biblioteka nedjeljom.", "bs"),
        ("Dzień dobry, chciałbym wiedzieć, kiedy otwarta jest biblioteka.", "pl"),
        ("ok", "sv"),
        ("", "sv"),
    ],
)
def test_languages_are_named(text: str, language: str) -> None:
    """The city's large languages are told apart; what is too short counts as Swedish."""
    assert language_of(text) == language


def test_lines_have_the_promised_keys(classifier: Classifier) -> None:
    """Each line of the suggest command is one JSON object with the keys other programs build on."""
    lines = ['{"id": "a", "subject": "Snö", "body": "Det är halt i Tuve", "from": "a@b.example"}', "", '{"id": "b"}']
    written = list(classify.suggest_lines(classifier, classify.read_queries(lines), TODAY))
    first = json.loads(written[0])
    keys = {"id", "area", "unit", "probability", "abstain", "candidates"}
    assert keys | {"kind", "district", "flags", "language", "reasons"} <= first.keys()
    assert {"area", "unit", "probability"} == first["candidates"][0].keys()
    assert (first["id"], first["district"]) == ("a", "hisingen")
    assert json.loads(written[1])["abstain"] is True


@pytest.mark.parametrize(
    ("line", "fault"),
    [("{", "line 1: "), ("[1]", "line 1: not a JSON object"), ('{"subject": 3}', 'line 1: "subject" is not a text')],
)
def test_a_bad_line_is_named(line: str, fault: str) -> None:
    """A line that cannot be read stops with its number."""
    with pytest.raises(ValueError, match=fault):
        list(classify.read_queries([line]))


def test_a_letter_becomes_a_query() -> None:
    """Of a letter, the suggestion sees the citizen's own words, the sender and whether a program wrote it."""
    octets = b"From: Bo <bo@example.com>\r\nSubject: Hej\r\nAuto-Submitted: auto-replied\r\n\r\nJag \xe4r borta.\r\n"
    query = classify.query_of(letter.parse(octets), "7")
    assert (query.id, query.subject, query.sender, query.automatic) == ("7", "Hej", "bo@example.com", True)


@pytest.mark.parametrize("body", ["a" * 200_000, "å " * 50_000, "\x00\ud7ff", "!" * 1000, "1 " * 1000, "ﷺ İ ß"])
def test_odd_texts_are_judged_too(classifier: Classifier, body: str) -> None:
    """No text stops a suggestion."""
    assert len(verdict_on(classifier, body, body[:100]).candidates) >= 3


def test_the_shipped_model_keeps_its_promises(classifier: Classifier) -> None:
    """On mails it never saw, the shipped model reaches what the simple means reached, and warns of most dangers."""
    figures = evaluate.measure(classifier, corpus.validation(SETTINGS.models / "corpus"), TODAY)
    assert figures["unit top-1"] >= 0.83
    assert figures["unit top-3"] >= 0.96
    assert figures["district"] >= 0.95
    assert figures["kind"] >= 0.78
    assert figures["sure, unit right"] >= 0.97
    assert figures["sure, share of all"] >= 0.3
    assert figures["calibration error of the unit"] <= 0.07
    for flag in ("bradskande", "hot", "skyddad", "overklagande-frist"):
        assert figures[f"recall of {flag}"] >= 0.8


def _without_dots(text: str) -> str:
    return text.translate(str.maketrans("åäöÅÄÖé", "aaoAAOe"))


def _mistyped(text: str) -> str:
    """Two letters change places inside every seventh long word."""
    words = text.split(" ")
    for index in [place for place, word in enumerate(words) if len(word) > 6][::7]:
        words[index] = words[index][:2] + words[index][3] + words[index][2] + words[index][4:]
    return " ".join(words)


@pytest.mark.parametrize("typed", [_without_dots, _mistyped, str.upper, str.lower])
def test_places_are_met_however_they_are_typed(classifier: Classifier, typed: Callable[[str], str]) -> None:
    """The district is found without dots, with typing errors, in capitals and without any."""
    rows = [row for row in corpus.validation(SETTINGS.models / "corpus") if row.area != "grannkommun"]
    texts = [typed(f"{row.query.subject}\n{row.query.body}") for row in rows]
    found = [classifier.organisation.district_of(text).district for text in texts]
    assert sum(one == row.district for one, row in zip(found, rows, strict=True)) / len(rows) >= 0.94


def test_the_shipped_model_is_small() -> None:
    """The model in use stays under the fifteen megabytes that the repository can bear."""
    folder = SETTINGS.models / model.current_version(SETTINGS.models)
    assert sum(file.stat().st_size for file in folder.iterdir()) < 15_000_000


def test_a_changed_model_is_refused(tmp_path: Path) -> None:
    """Weights that are not what the card describes are not used."""
    version = model.current_version(SETTINGS.models)
    folder = tmp_path / version
    folder.mkdir()
    octets = (SETTINGS.models / version / model.WEIGHTS).read_bytes()
    (folder / model.WEIGHTS).write_bytes(octets[:-1] + b"x")
    model.save_card(folder, model.load_card(SETTINGS.models / version))
    with pytest.raises(model.ModelError, match="the hash differs"):
        model.load(tmp_path, version)


def test_missing_models_are_named(tmp_path: Path) -> None:
    """Without a model in use, or without its files, the message says what to do or what is missing."""
    with pytest.raises(model.ModelError, match="run mailrouter train"):
        model.load(tmp_path)
    with pytest.raises(model.ModelError, match="cannot read the model file"):
        model.load(tmp_path, "2020-01-01-abc")
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / model.CARD).write_text('{"version": "bad"}', encoding="utf-8")
    with pytest.raises(model.ModelError, match="is not a model card"):
        model.load(tmp_path, "bad")


def test_reorganisation_needs_no_new_model(classifier: Classifier) -> None:
    """The same model names another unit when the organisation says so."""
    areas = dict(classifier.organisation.areas)
    areas["gatubelysning"] = replace(areas["gatubelysning"], unit="goteborg-energi")
    moved = Classifier(replace(classifier.organisation, areas=areas), classifier.rules, classifier.model)
    assert verdict_on(moved, "Gatlampan lyser inte.").unit == "goteborg-energi"
