"""Where a quoted thread begins, in the words of many languages' clients; and where it does not."""

import pytest

from mailrouter.letter.quotes import split

OWN = "Tack, nu lyser lampan igen.\n\nMen bänken är fortfarande trasig."
M = "Eva Lind <eva.lind@bo.example>"

ATTRIBUTIONS = {
    "swedish": f"Den mån 4 mars 2024 kl 10:11 skrev {M}:",
    "swedish-wrapped-in-brackets": "Den mån 4 mars 2024 10:11 skrev Eva Lind <\neva.lind@bo.example>:",
    "swedish-verb-alone": "Den mån 4 mars 2024 kl 10:11\nEva Lind <eva.lind@bo.example>\nskrev:",
    "swedish-apple": f"4 mars 2024 kl. 10:11 skrev {M}:",
    "english": f"On Mon, Mar 4, 2024 at 10:11 AM, {M} wrote:",
    "english-name-and-mailbox-on-two-lines": "On Mon, Mar 4, 2024 at 10:11 AM, Eva Lind of Bo\n<eva@bo.example> wrote:",
    "english-long-mailbox": "On Mar 4, 2024, at 10:11 AM, Eva <\n416ffd3258d4d2fa4c85cfa4c44e@svar.bo.example>\nwrote:",
    "english-sent": f"On 4-Mar-2024, at 10:11 AM, {M} sent:",
    "english-without-colon": f"On Mon, 4 Mar 2024 10:11:43 +0100 {M} wrote",
    "english-between-dashes": "---- On Mon, 04 Mar 2024 10:11:43 +0100 Eva Lind <eva.lind@bo.example> wrote ----",
    "english-phone": "-------- Eva Lind wrote --------",
    "german": f"Am Mo., 4. März 2024 um 10:11 Uhr schrieb {M}:",
    "german-wrapped": "Am Mo., 4. März 2024 um 10:11 Uhr schrieb Eva Lind\n<eva.lind@bo.example>:",
    "french": f"Le lun. 4 mars 2024 à 10:11, {M} a écrit :",
    "french-wrapped": f"Le lun. 4 mars 2024 à 10:11, {M}\na écrit :",
    "spanish-wrapped": f"El lun, 4 mar 2024 a las 10:11, {M}\nescribió:",
    "italian": 'In data 4 marzo 2024 10:11:31 "Eva Lind" <eva.lind@bo.example> ha scritto:',
    "italian-wrapped": f"Il giorno lun 4 mar 2024 alle ore 10:11 {M}\nha scritto:",
    "portuguese": f"Em seg., 4 de mar. de 2024 às 10:11, {M} escreveu:",
    "dutch": f"Op ma 4 mrt. 2024 10:11 {M}\nschreef:",
    "dutch-apple": f"Op 4-mrt.-2024, om 10:11 heeft {M} het volgende geschreven:",
    "danish": f"Den 4. marts 2024 kl. 10.11 skrev {M}:",
    "norwegian": f"man. 4. mars 2024 kl. 10:11 skrev {M}:",
    "finnish": "ma 4. maaliskuuta 2024 klo 10.11 Eva Lind\n<eva.lind@bo.example> kirjoitti:",
    "polish": f"pon., 4 mar 2024 o 10:11 {M} napisał(a):",
    "polish-old": f"Dnia 4 marca 2024 10:11 {M} napisał(a):",
    "czech-wrapped": f"Dne po 4. bře. 2024 10:11 {M}\nnapsal(a):",
    "slovak": f"po 4. 3. 2024 o 10:11 {M} napísal(a):",
    "hungarian": f"{M} ezt írta (időpont: 2024. márc. 4., H 10:11):",
    "russian": f"пн, 4 мар. 2024 г. в 10:11, {M}:",
    "russian-verb": f"4 марта 2024 г., в 10:11, {M} написал(а):",
    "ukrainian": f"пн, 4 бер. 2024 р. о 10:11 {M} пише:",
    "vietnamese": f"Vào 10:11 4 tháng 3, 2024, {M} đã viết:",
    "japanese": f"2024年3月4日(月) 10:11 {M}:",
    "chinese": f"{M} 于2024年3月4日周一 10:11写道：",
    "chinese-other": f"{M} 在 2024年3月4日 周一 10:11 写道：",
    "korean": f"2024년 3월 4일 (월) 오전 10:11, {M}님이 작성:",
    "turkish": f"{M}, 4 Mar 2024 Pzt, 10:11 tarihinde şunu yazdı:",
    "greek": f"Στις Δευ 4 Μαρ 2024 στις 10:11, {M} έγραψε:",
    "romanian": f"În lun., 4 mar. 2024 la 10:11, {M} a scris:",
    "croatian": f"pon, 4. ožu 2024. u 10:11 {M} napisao je:",
    "bosnian": f"U pon, 4. mar 2024. u 10:11 {M} je napisao/la:",
    "arabic": f"في الاثنين، 4 مارس 2024 في 10:11 ص تمت كتابة ما يلي بواسطة {M}:",
    "persian": f"در تاریخ دوشنبه ۴ مارس ۲۰۲۴ ساعت ۱۰:۱۱ {M} نوشت:",
    "hebrew": f"\u200fבתאריך יום ב׳, 4 במרץ 2024 ב-10:11 מאת {M} נכתב:",
}  # fmt: skip

BLOCKS = {
    "english": "From: {m}\nSent: Monday, March 4, 2024 10:11 AM\nTo: Anna\nSubject: Lampa",
    "line-above": "____________________\nFrom: {m}\nSent: Monday, March 4, 2024 10:11 AM\nTo: A\nSubject: B",
    "date-first": "Date: Mon, 4 Mar 2024 10:11:02 +0100\nTo: anna@bo.example",
    "hotmail": "> Subject: Lampa\n> From: eva.lind@bo.example\n> To: a@bo.example\n> Date: Mon, 4 Mar 2024 10:11:02",
    "swedish-bold": "*Från:* {m}\n*Skickat:* den 4 mars 2024 10:11\n*Till:* Anna\n*Ämne:* Lampa",
    "danish": "-----Oprindelig meddelelse-----\nFra: {m}\nSendt: 4. marts 2024 10:11\nTil: Anna\nEmne: Lampa",
    "french": "De : {m}\nEnvoyé : lundi 4 mars 2024 10:11\nÀ : Anna\nObjet : Lampa",
    "spanish": "De: {m}\nEnviado el: lunes, 4 de marzo de 2024 10:11\nPara: Anna\nAsunto: Lampa",
    "italian": "Da: {m}\nInviato: lunedì 4 marzo 2024 10:11\nA: Anna\nOggetto: Lampa",
    "portuguese": "De: {m}\nEnviada em: segunda-feira, 4 de março de 2024 10:11\nPara: Anna\nAssunto: Lampa",
    "dutch": "Van: {m}\nVerzonden: maandag 4 maart 2024 10:11\nAan: Anna\nOnderwerp: Lampa",
    "polish": "Od: {m}\nWysłano: poniedziałek, 4 marca 2024 10:11\nDo: Anna\nTemat: Lampa",
    "russian": "От: {m}\nОтправлено: 4 марта 2024 г. 10:11\nКому: Anna\nТема: Lampa",
    "chinese": "发件人: {m}\n发送时间: 2024年3月4日 10:11\n收件人: Anna\n主题: Lampa",
    "japanese": "差出人: {m}\n送信日時: 2024年3月4日 10:11\n宛先: Anna\n件名: Lampa",
    "korean": "보낸 사람: {m}\n보낸 날짜: 2024년 3월 4일 10:11\n받는 사람: Anna\n제목: Lampa",
    "turkish": "Kimden: {m}\nGönderme Tarihi: 4 Mart 2024 10:11\nKime: Anna\nKonu: Lampa",
    "arabic": "من: {m}\nتاريخ الإرسال: 4 مارس 2024 10:11\nإلى: Anna\nالموضوع: Lampa",
    "vietnamese": "Từ: {m}\nNgày: 4 tháng 3, 2024 10:11\nĐến: Anna\nChủ đề: Lampa",
    "finnish": "Lähettäjä: {m}\nLähetetty: maanantai 4. maaliskuuta 2024 10.11\nVastaanottaja: Anna\nAihe: Lampa",
}  # fmt: skip


@pytest.mark.parametrize("prefix", ["> ", ""], ids=["prefixed", "bare"])
@pytest.mark.parametrize("mark", ATTRIBUTIONS.values(), ids=ATTRIBUTIONS.keys())
def test_an_attribution_ends_the_own_words(mark: str, prefix: str) -> None:
    """Above the line in which the client says who wrote what follows, everything is kept; below it nothing."""
    quoted = f"\n{prefix}".join(["", "När kommer ni?", "", "Det är mörkt."])
    assert split(f"{OWN}\n\n{mark}\n{quoted}").own == OWN


@pytest.mark.parametrize(
    "mark",
    [
        "On Mon, Mar 4, 2024 at 10:11 AM, eva@bo.example wrote:",
        "--- Den mån 4 mars 2024 kl 10:11 skrev eva@bo.example:",
    ],
)
def test_words_on_the_line_of_an_attribution_stay(mark: str) -> None:
    """A client that lost the line end does not make the answer vanish."""
    assert split(f"Ja tack. {mark}\n> När kommer ni?").own == "Ja tack."


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS.keys())
def test_a_header_block_ends_the_own_words(block: str) -> None:
    """Outlook's labels in many languages stand above what was answered."""
    assert split(f"{OWN}\n\n{block.format(m=M)}\n\nNär kommer ni?").own == OWN


@pytest.mark.parametrize(
    "line",
    ["Skickat från min iPhone", "Sent from Outlook for iOS<https://aka.example/o>", "Télécharger Outlook pour Android",
     "Gesendet von Outlook für Android", "Hämta Outlook för Android", "Enviado desde mi iPhone", "Sendt fra min iPhone",
     "Lähetetty iPhonesta", "Descargar Outlook para iOS", "Scarica Outlook per Android"],
)  # fmt: skip
def test_a_device_does_not_speak_for_its_owner(line: str) -> None:
    """What telephones add stands in the signature."""
    found = split(f"{OWN}\n\n{line}")
    assert found.own == OWN
    assert line.split("<", maxsplit=1)[0] in found.signature


@pytest.mark.parametrize(
    "text",
    [
        "On Monday 4 March we met. It was raining:\n\nthe bench is broken.",
        "Den 4 mars skrev jag till er, så här:\n\nBänken är trasig.",
        "Från: Angered\nTill: Centrum\nDatum: 4 mars\n\nBussen kom inte.",
        "Läs https://tidning.example/hon-skrev-det: där står allt.\n\nBänken är trasig.",
        "Jag såg en skylt. Där stod, den 4 mars 2024:\n\nAvstängt.",
        "Grannen skrev:\n\nnu räcker det!\n\nVad gör jag?",
        "--- det här är viktigt ---\n\nBänken är trasig.",
        "Datum: 4 mars 2024\nTill: kommunen\n\nBänken är trasig.",
        "Ni har inte sent något svar.\nJag skrev den 3 mars 2024 kl 10:11 till nämnden och undrar:\n\nnär svarar ni?",
    ],
)
def test_words_that_only_look_like_a_quote_stay(text: str) -> None:
    """When in doubt the citizen's words are kept."""
    assert split(text).own == text


@pytest.mark.parametrize(
    "closing",
    ["Mvh\nEva Lind", "Med vänlig hälsning\nEva", "Kh\nPeter", "Mit freundlichen Grüßen\nEva Lind", "Cordialement\nEva",
     "Un saludo,\nEva", "Groet\nEva", "S pozdravem,\nEva", "Pozdrawiam,\nEva", "Üdv,\nEva", "С уважением,\nЕва",
     "Terveisin\nEva Lind", "Saygılarımla,\nEva", "谢谢\nEva"],
)  # fmt: skip
def test_a_close_and_a_name_are_the_signature(closing: str) -> None:
    """The complimentary close of many languages, with the name below it, is no matter for triage."""
    found = split(f"{OWN}\n\n{closing}")
    assert (found.own, found.signature) == (OWN, closing)
