"""The words by which mail clients mark quoted threads, signatures and disclaimers, per language.

Data for ``quotes``: Swedish, English, Norwegian, Danish, Finnish and German in full, as those clients write
to the city; other languages as far as their common clients need it.
"""

import re

# Labels of a quoted header block, as Outlook, webmail and Apple Mail write them.
FROM = ("từ", "kimden", "de la", "από", "من", "від", "šalje", "saatja", "pošiljatelj",
        "från", "avsändare", "from", "fra", "von", "lähettäjä", "de", "da", "van", "od", "feladó", "от", "von/from",
        "nadawca",
        "expéditeur", "mittente", "remitente", "差出人", "发件人", "寄件者", "보낸 사람", "보낸사람")  # fmt: skip
SENT = ("ngày", "đã gửi", "gönderme", "gönderilen", "tarih", "trimis", "στάλθηκε", "تاريخ الإرسال", "تم الإرسال",
        "التاريخ", "надіслано", "poslano", "saadetud",
        "skickat", "datum", "sänt", "sent", "date", "sendt", "dato", "gesendet", "lähetetty", "päivämäärä", "päiväys",
        "envoyé", "envoyé le", "enviado", "enviado el", "enviada em", "fecha", "data", "inviato", "verzonden",
        "odesláno", "wysłano", "küldve", "dátum", "отправлено", "дата", "发送时间", "日期", "日時", "送信日時",
        "보낸 날짜", "보낸날짜", "sent on")  # fmt: skip
TO = ("đến", "pour", "tới", "kime", "către", "προς", "إلى", "za", "saaja",
      "till", "to", "til", "an", "vastaanottaja", "kenelle", "à", "para", "a", "aan", "komu", "do", "címzett", "кому",
      "destinatario", "destinataire", "宛先", "收件人", "받는 사람", "받는사람")  # fmt: skip
SUBJECT = ("chủ đề", "sujet", "konu", "subiect", "θέμα", "الموضوع", "predmet", "teema",
           "ämne", "ärende", "subject", "emne", "betreff", "aihe", "objet", "asunto", "assunto", "oggetto", "onderwerp",
           "předmět", "temat", "tárgy", "тема", "件名", "主题", "主題", "제목")  # fmt: skip
OTHER = ("kopia", "kopio", "cc", "kopi", "kopie", "bcc", "bilagor", "attachments", "prioritet", "importance",
         "svar till",
         "reply-to", "organisation", "organization", "vikt", "konversation", "bifogat", "dw", "másolat",
         "copie", "抄送", "참조", "vedhæftet", "vedlegg", "resent-from", "hemlig kopia", "vastaus")  # fmt: skip

LABELS = {label: kind for kind, labels in (("from", FROM), ("sent", SENT), ("to", TO), ("subject", SUBJECT),
                                           ("other", OTHER)) for label in labels}  # fmt: skip

# Attribution lines: "Den tors 2 maj 2024 kl 10:11 skrev Anna <anna@bo.example>:".
VERBS = re.compile(
    r"\b(?:skrev|wrote|writes|skreiv|schrieb|schrieb\s+am|kirjoitti|a\s+écrit|escribió|escribio|escreveu|ha\s+scritto|"
    r"schreef|napisał(?:\(a\)|a)?|nadesłał|napsal(?:\(a\)|a)?|írta|написала?|пишет|пише|a\s+scris|"
    r"har\s+skrevet|hat\s+geschrieben|pisze|skrifaði|"
    r"έγραψε|yazdı|kirjutas|sent|heeft\s+.{0,120}geschreven|đã\s+viết|escreveu|va\s+escriure|je\s+napisa[ol]\w*|napisa(?:o|la)\s+je|"
    r"napísal\w*|написа|rakstīja|rašė|menulis|escrigué|sende|escribe|shkroi|aydaa\s+qoray|qoray)\b|"
    r"napisał\(a\)|napsal\(a\)|napísal\(a\)|je napisao/la|写道|寫道|님이\s*작성|작성|が書きました|のメッセージ|"
    r"كتب|تمت\s+كتابة|נכתב|כתב|نوشت|เขียน",
    re.IGNORECASE,
)
OPENERS = re.compile(
    r"(?:den|på|on|am|le|el|il|op|dne|dnia|w\s+dniu|em|a\s+las|den\s+\w+|pe|kl|vid|vào|în|dana|dňa|у|в|στις|"
    r"tarihinde|em|na|fi|في|در|ב|kuupäeval|þann|"
    r"(?:m[åa]n|tis|tir|ons|tor|tors|fre|l[öø]r|s[öø]n|ma|ti|ke|to|pe|la|su|mo|di|mi|do|fr|sa|so|mon|tue|wed|thu|fri|sat|"
    r"sun)[a-zåäöø]*[.,]?|\d{1,4})\b",
    re.IGNORECASE,
)
OWN_VERB = re.compile(
    r"\b(?:skrev|wrote|schrieb|skreiv|kirjoitti)\s+(?:jag|vi|ni|du|han|hon|hen|de|man|min|mina|i|we|you|they|"
    r"she|he|my|ich|wir|jeg|minä)\b",
    re.IGNORECASE,
)
OWN_SUBJECT = re.compile(r"\b(?:jag|vi|ni|du|man|i|we|you|ich|wir|jeg)\s+(?:skrev|wrote|schrieb)\b", re.IGNORECASE)

# Lines that stand above a quoted or forwarded mail; the dashes around the first kind are stripped before.
SEPARATOR = re.compile(
    r"(?:begin\s+|start\s+)?(?:original\s*message|original\s+appointment|ursprungligt\s+meddelande|"
    r"originalmeddelande|ursprungligt\s+möte|original\s*-?\s*nachricht|ursprüngliche\s+nachricht|"
    r"oprindelig\s+meddelelse|"
    r"opprinnelig\s+melding|alkuperäinen\s+viesti|message\s+d'origine|message\s+original|mensaje\s+original|"
    r"mensagem\s+original|messaggio\s+originale|(?:oorspronkelijk|origineel)\s+bericht|wiadomość\s+oryginalna|"
    r"původní\s+zpráva|"
    r"eredeti\s+üzenet|исходное\s+сообщение|reply\s+message|原始邮件|"
    r"forwarded\s+(?:message|by.*)|vidarebefordrat\s+(?:meddelande|brev|mejl)|weitergeleitete\s+nachricht|"
    r"videresendt\s+(?:melding|meddelelse|besked)|välitetty\s+viesti|edelleenlähetetty\s+viesti|"
    r"message\s+transféré|"
    r"mensaje\s+reenviado|doorgestuurd\s+bericht|messaggio\s+inoltrato)[^\n]{0,60}",
    re.IGNORECASE,
)
FORWARD_LINE = re.compile(
    r"[>\s]*(?:(?:begin\s+)?forwarded\s+message|vidarebefordrat\s+(?:brev|meddelande|mejl)|"
    r"start\s+på\s+vidarebefordrat\s+brev|början\s+på\s+vidarebefordrat\s+brev|"
    r"anfang\s+der\s+weitergeleiteten\s+(?:e-?mail|nachricht)|"
    r"start\s+på\s+videresendt\s+(?:besked|melding)|videresendt\s+(?:besked|melding)|"
    r"edelleenlähetetty\s+viesti|"
    r"välitetty\s+viesti(?:\s+alkaa)?|début\s+du\s+message\s+(?:réexpédié|transféré))\s*:?\s*",
    re.IGNORECASE,
)
FORWARD_WORD = re.compile(
    r"forward|vidarebefordr|weitergeleitet|videresend|välitetty|edelleen|transféré|reenviad|doorgestuurd|inoltrat",
    re.IGNORECASE,
)

# A complimentary close, alone on its line or followed by a name.
CLOSING = re.compile(
    r"[*_ ]*(?:"
    r"(?:med\s+)?(?:de\s+)?(?:bästa|vänlig(?:a|ast|t)?|vänskapliga|hjärtliga|varma|soliga|många|goda|trevliga|kära)\s+h[äa]lsning(?:ar|en)?|"
    r"(?:med\s+)?(?:bästa\s+)?hälsning(?:ar|en)?|hälsar|h[äa]lsn\.?|vänligen|vänligast|högaktningsfullt|"
    r"mvh|m\.?v\.?h\.?|bh|b\.?h\.|vh|v\.?h\.|hlsn|tack\s+på\s+förhand|tack\s+för\s+hjälpen|kram(?:ar)?|"
    r"allt\s+gott|ha\s+det\s+(?:gott|bra|fint)|"
    r"(?:with\s+)?(?:best|kind|kindest|warm|warmest|many)\s+(?:regards|wishes|thanks)|regards|best|cheers|"
    r"sincerely|yours\s+\w+|"
    r"thanks(?:\s+in\s+advance|\s+and\s+regards)?|thank\s+you|many\s+thanks|br|rgds|"
    r"(?:med\s+)?(?:venlig|vennlig|bedste|beste|kærlig|hjertelig)e?\s*hilsen(?:er)?|hilsen|vh|kh|dbh|"
    r"med\s+hilsen|"
    r"(?:mit\s+)?(?:freundlichen|besten|herzlichen|lieben|freundliche|beste|viele|liebe|herzliche|schöne)\s+gr(?:ü|ue)(?:ß|ss)en?|"
    r"hochachtungsvoll|mfg|lg|vg|gru(?:ß|ss)|danke|vielen\s+dank|"
    r"(?:ystävällisin|parhain|lämpimin)\s+terveisin|terveisin|terv\.?|yst\.?\s*terv\.?|"
    r"cordialement|bien\s+cordialement|salutations|merci|saludos|un\s+saludo|atentamente|atenciosamente|"
    r"gracias|"
    r"cordiali\s+saluti|distinti\s+saluti|saluti|grazie|met\s+vriendelijke\s+groet(?:en)?|groeten|bedankt|"
    r"z\s+poważaniem|z\s+powazaniem|pozdrawiam|s\s+pozdravem|děkuji|üdvözlettel|tisztelettel|с\s+уважением|"
    r"knus|på\s+forhånd\s+tak|üdv|s\s+úctou|muchas\s+gracias|(?:hartelijke\s+)?groet(?:en)?|met\s+groet|dank\s+u(?:\s+wel)?|"
    r"abraços|obrigad[oa]|trân\s+trọng|saygılarımla|з\s+повагою|(?:lijep|srdačan)\s+pozdrav|cu\s+stimă|med\s+venlig\s+hilsen|"
    r"敬礼|此致|谢谢|祝好|감사합니다"
    r")(?P<rest>(?:[\s,.!*_/&–-]+[^\W\d_][\w']*(?:-\w+)?){0,6}[\s,.!*_/–-]*)",
    re.IGNORECASE,
)
SLASH_NAME = re.compile(
    r"\s*(?:/{1,2}\s?|//|-|–|—)(?:[A-ZÅÄÖÆØÉÜ][\w.'-]*)(?:[ &]+(?:och |and )?[A-ZÅÄÖÆØÉÜ][\w.'-]*){0,3}\s*$"
)

# Lines that devices and apps add.
DEVICE = re.compile(
    r"[*_\s]*(?:(?:skickat|skickade|sänt)\s+(?:från|via|med)|(?:sent|send)\s+(?:from|via|with|using)|hämta\s+outlook|get\s+outlook|skaffa\s+outlook|(?:télécharger|descargar|obtener|scarica|baixar|pobierz|obtenez)\s+outlook|"
    r"hent\s+outlook|(?:gesendet|gesendet\s+)(?:von|mit|über)|"
    r"von\s+(?:meinem|unterwegs|mein).{0,40}gesendet|outlook\s+für|holen\s+sie\s+sich\s+outlook|"
    r"(?:sendt|sent)\s+(?:fra|via)|lähetetty|hanki\s+outlook|envoyé\s+(?:de|depuis)|"
    r"enviado\s+(?:desde|do|de)|inviato\s+da|"
    r"verzonden\s+(?:vanaf|met|via)|odesláno\s+z|wysłan[eo]\s+z|отправлено\s+с|skickat\s+med|从我的|내\s.*보냄|"
    r"virusfritt|virus-free|denna\s+e-post\s+har\s+kontrollerats)\b.{0,90}",
    re.IGNORECASE,
)

# Paragraphs that organisations add below every mail, and above mail from outside.
DISCLAIMER = re.compile(
    r"[*_\s]*(?:detta\s+(?:e-?post)?(?:meddelande|mejl|mail|brev)\w*.{0,80}(?:konfidentiell|sekretess|enbart\s+avse|endast\s+avse|bilag|mottagare)|"
    r"(?:denna|den\s+här)\s+e-?post.{0,80}(?:konfidentiell|sekretess|avsedd)|"
    r"informationen\s+i\s+detta\s+(?:e-?post|mejl|mail|meddelande)|"
    r"när\s+du\s+(?:kommunicerar|mejlar|mailar|skickar\s+e-?post).{0,80}personuppgift|"
    r"vi\s+behandlar\s+(?:dina\s+)?personuppgifter|"
    r"så\s+(?:här\s+)?behandlar\s+vi\s+(?:dina\s+)?personuppgifter|tänk\s+på\s+miljön|"
    r"this\s+(?:e-?mail|message|communication|transmission).{0,120}(?:confidential|intended|privileged)|"
    r"the\s+information\s+(?:contained\s+)?in\s+this\s+(?:e-?mail|message)|confidentiality\s+notice|"
    r"disclaimer\s*:|"
    r"(?:please\s+)?consider\s+the\s+environment|"
    r"diese\s+e-?mail.{0,100}(?:vertraulich|bestimmt)|"
    r"denne\s+(?:e-?mail|e-?post|mail|meddelelse).{0,100}(?:fortrolig|konfidensiell)|"
    r"tämä\s+(?:sähköposti)?viesti.{0,100}luottamuksel|tämä\s+sähköposti.{0,100}luottamuksel)",
    re.IGNORECASE,
)
BANNER = re.compile(
    r"[*_\[\s]*(?:caution|warning|varning|obs|observera|advarsel|achtung|extern(?:t|al)?)\b\W{0,4}.{0,80}"
    r"(?:utanför|outside|extern|avsändare|sender|organisation|klicka\s+inte|do\s+not\s+click)",
    re.IGNORECASE,
)
POSTSCRIPT = re.compile(r"[*_\s]*p\.?\s?s\.?[\s:,.]", re.IGNORECASE)
