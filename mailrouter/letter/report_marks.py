"""The words by which mail systems say that a mail was not delivered. Data for ``reports``."""

import re

STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
REPLY = re.compile(r"(?<![\d.@-])([45][0-5]\d)(?=[\s\-:#])(?!\s*(?:kB|KB|MB|byte|sec|min))")
_LETTER = "A-Za-z0-9\u00c0-\u024f"
_ADDRESS = rf"[{_LETTER}._%+=&'*/!#$^{{}}~-]{{1,64}}@[{_LETTER}](?:[{_LETTER}._-]{{0,250}}[{_LETTER}])?"
ANY_ADDRESS = re.compile(_ADDRESS)

# What only a mail system calls itself. A person who forwards a report does it under an own name.
SYSTEM_ADDRESS = re.compile(
    r"(?:mailer-?daemon|mail-?daemon|postmaster|mailadm|majordomo|mail-?er|mdaemon|mailsystem|mail\.system|system|"
    r"microsoftexchange[0-9a-f]+|post_master|bounces?|bounce[+-].*|mail-?delivery.*|delivery.*|nobody|root|"
    r"administrator|"
    r"daemon|amavis|smtp|mta|.*-daemon|mms\w*|postoffice)(?:@.*)?",
    re.IGNORECASE,
)
# Those whose words must make a report of it, for people may have such addresses too.
SYSTEM_KIN = re.compile(
    SYSTEM_ADDRESS.pattern + r"|(?:.*[-_.])?(?:smtp|anti-?virus|interscan|imss|ndr|"
    r"system-?administrator|mail[-_.]?service|mail[-_.]?filter|postmaster|mailer)(?:[-_.].*)?@.*",
    re.IGNORECASE,
)
SYSTEM_NAME = re.compile(
    r"mail(?:er)?[ -]?(?:delivery|daemon|system|administrator)|delivery (?:sub)?system|postmaster|"
    r"system ?administrat|"
    r"microsoft (?:outlook|exchange)|mail ?administrator|mail deliver system|courier mail server|"
    r"mail router|mail server|system administrator|mailer.?daemon|interscan|mail filter|e-?postsystem",
    re.IGNORECASE,
)
SUBJECT = re.compile(
    r"undeliver|not delivered|non-?delivery|"
    r"delivery (?:status|failure|has failed|notification|report|failed|problem|delayed|error)|"
    r"returned mail|mail (?:delivery|system error|returned)|failure noti|returned to sender|"
    r"could ?n[o']t? be delivered|"
    r"couldn't be delivered|bounced|rejected|undelivered|delayed mail|warning: (?:message|could not)|"
    r"message (?:delayed|status)|"
    r"olevererbart|oleverer|det gick inte att leverera|kunde inte levereras|ej levererat|"
    r"leverans(?:status|fel|rapport|problem)|"
    r"meddelandet (?:är )?(?:fördröj|försen)|fördröjd leverans|unzustellbar|zustellung|ikke leveret|"
    r"kan ikke leveres|toimitus|"
    r"nondeliverable|could not send|failed mail|non remis|no se puede entregar|non recapitabile|onbestelbaar|"
    r"impossible de remettre|niedostarcz|недоставлен|邮件传输失败|退信|无法投递|系统退信|配信に失敗|配信できません|"
    r"送信できません|エラー|ei voi(?:tu)? toimittaa|toimittamatta|\[bounce\]|error sending your mail|"
    r"automatically rejected|nicht zugestellt|delivery|failure|failed|error|denied|no such user|"
    r"unknown user",
    re.IGNORECASE,
)
FAILED = re.compile(
    r"could ?n[o']t be delivered|can ?not be (?:delivered|reached|sent)|was(?: not|n't) delivered|"
    r"not be delivered|"
    r"(?:delivery|deliver)\b.{0,80}\bfail|failed permanently|has failed|"
    r"permanent(?:ly)? (?:fatal )?(?:error|fail)|undeliver|"
    r"did not reach|unable to deliver|wasn't able to deliver|I'm afraid I|not able to deliver|"
    r"unable to relay|"
    r"address(?:\(es\)|es)? failed|addresses had|could not be found|user unknown|unknown user|no such user|"
    r"mailbox (?:full|unavailable)|"
    r"mailbox exceeds|over quota|quota exceeded|address not found|recipient(?:s)? (?:address )?rejected|"
    r"returned (?:to you|without)|"
    r"message (?:has been |was )?(?:blocked|rejected|refused)|does(?: not|n't) exist|returned message|"
    r"not listed in|could not deliver|"
    r"det gick inte att leverera|kunde inte levereras|har inte (?:levererats|kunnat levereras)|nådde inte|"
    r"gick inte att hitta|"
    r"hittades inte|olevererbar|misslyckades|levererades inte|inte levererats|kunde ej levereras|"
    r"送信できません|配信できません|送信に失敗|エラーのため|не может быть доставлено|не доставлено|无法投递|"
    r"退信|无法发送|无法送达|not a valid (?:user|recipient|mailbox)|rejected recipient|"
    r"did not receive (?:this|your) message|"
    r"no valid recipients|exceeded maximum delivery attempts|did not exactly match|permanent failure|"
    r"hop count|too many hops|permanent delivery errors|"
    r"mailbox (?:is )?full|over ?quota|exceeded the local limit|delivery (?:problems|errors)|"
    r"had trouble delivering|"
    r"did not like our|not accepting mail|recipient name is not recognized|was automatically rejected|"
    r"n'a pas pu [eê]tre (?:remis|délivré|delivre)|no se (?:pudo|puede) entregar|impossibile recapitare|"
    r"kon niet worden (?:bezorgd|afgeleverd)|nie mog(?:ła|ło) zosta|har mislyktes|mislykkedes|ei voitu toimittaa|"
    r"invalid (?:final delivery|recipient|"
    r"address|user)|delivery (?:errors|problems)|konnte nicht zugestellt|nicht zustellbar|ikke leveres|"
    r"ei voitu toimittaa|n'a pas pu être|"
    r"no se pudo entregar",
    re.IGNORECASE,
)
DELAYED = re.compile(
    r"will (?:keep trying|be retried|continue to try)|"
    r"has(?: not| n't|n't) (?:yet )?been delivered (?:yet)?|still being (?:retried|attempted)|"
    r"delivery (?:has been |is )?(?:delayed|temporarily)|warning message only|no action is required|"
    r"do not (?:need to )?resend|attempts will continue|will continue to try|has been postponed|"
    r"temporary (?:problem|failure|fatal|non-fatal)|transient|not yet been delivered|"
    r"försöker (?:igen|fortfarande)|"
    r"fördröj|försenad|har ännu inte levererats|du behöver inte skicka (?:om|meddelandet igen)",
    re.IGNORECASE,
)
FINAL = re.compile(
    r"failed permanently|permanent (?:fatal )?error|giving up|given up|gave up|could ?n[o']t be delivered|"
    r"returned to sender|too long|retry timeout|addresses had permanent",
    re.IGNORECASE,
)
# These words count more than a "could not be delivered" beside them.
GOES_ON = re.compile(
    r"attempts will continue|will (?:be retried|keep trying|continue (?:to try|trying))|still being retried|"
    r"has been postponed|försöker (?:igen|fortfarande)",
    re.IGNORECASE,
)
# Below these the original mail is quoted: addresses in it say nothing about the failure.
COPY = re.compile(
    r"^[ \t]*(?:-+ ?(?:below this line|this is a copy|the body of the message|original message|unsent message|"
    r"the following text|returned (?:message|mail)|undelivered message|failed message|enclosed is a copy|"
    r"message header|the header|ursprungligt meddelande|ursprungliga meddelandehuvuden|start of|the message)|"
    r"original message (?:headers|follows)|the original message (?:headers|follows)|"
    r"ursprungliga meddelandehuvuden|"
    r"received:\s?(?:from|by) |return-path: ?<|your original message|message headers? follow|"
    r"copy of (?:the )?message|original message (?:details|as received|metadata)|"
    r"-+ ?(?:the header of the original|returned mail|original message|message text follows)|"
    r"included is a copy of the message|below is a copy of the original)|(?<!-)-{3,} ?below this line is a copy",
    re.IGNORECASE | re.MULTILINE,
)
# Who failed, by layout; each has one group for the address. The first that finds anything is taken.
WHO = tuple(
    re.compile(pattern.replace("ADDRESS", _ADDRESS), re.IGNORECASE | re.MULTILINE)
    for pattern in (
        # Postfix, qmail, Courier, Sendmail
        r"^[ \t]*<(ADDRESS)>:?[ \t]*$|^[ \t]*<(ADDRESS)>(?:\s*\([^)\n]*\))?:[ \t]*\S",
        # Exim, Gmail, Domino, Exchange: alone on its line
        r"^[ \t]*[<'\"]?(ADDRESS)[>'\"]?[ \t]*$",
        # Gmail and Microsoft 365: within a sentence
        r"(?:delivered|leverera(?:s|de|t)?|message|meddelande)[ \t]+(?:to|till)[ \t]*:?\s*<?(ADDRESS)",
        # Exchange: Name (address)
        r"['\"]?[^\n<('\"]{0,60}['\"]? ?[<(](?:mailto:)?(ADDRESS)[)>]",
        r"\b(?:recipient|mottagare|user|userid|address|adress|to|mailbox)\b\s*:?\s*['\"<(]{0,2}(ADDRESS)",
        r"(ADDRESS)",
    )
)
# After these words those who failed are named.
ANNOUNCED = re.compile(
    r"did not reach|not (?:be )?delivered to|failed (?:to|for) (?:these|the following)|"
    r"following (?:recipient|address|users?)\b|recipients were affected|failed (?:recipient|addresses)|"
    r"addresses? (?:had|failed)|delivery to (?:these|the following)|följande (?:mottagare|adress)|"
    r"destinataires suivants|siguientes destinatarios|"
    r"unable to deliver (?:your )?message to|delivering your mail to|rejected recipient",
    re.IGNORECASE,
)
# A mailbox of the system that reports, without its domain.
LOCAL_NAME = re.compile(
    r"following recipients? could not be delivered[^\n]*:\s*\n[ \t]+([\w.+-]{1,64})[ \t]*$",
    re.MULTILINE | re.IGNORECASE,
)
# What only a mail system writes, in subject and text, whoever it says it is.
OWN_SUBJECT = re.compile(
    r"\s*(?:undeliver(?:able|ed)\b|delivery (?:status notification|status|failure|failed|report|notification)\b|"
    r"mail delivery (?:failed|failure|problem|warning|error)|(?:e-?mail|message) delivery (?:has )?fail|"
    r"returned mail\b|failure notice|mail could not be delivered|non-?delivery\b|message undeliverable|olevererbart:|"
    r"det gick inte att leverera|message (?:delivery )?(?:has )?failed|unzustellbar:|non remis\s*:)",
    re.IGNORECASE,
)
OWN_WORDS = re.compile(
    r"could not be delivered to (?:the following|one or more|these)|could not deliver message to|"
    r"the following (?:recipients?|address(?:es)?) (?:could|were|did|failed|had)|"
    r"^[ \t-]*failed recipients?\b|delivery to the following|rcpt to:\s*<|"
    r"unable to deliver message to|delivery of (?:this )?e?-?mail to this address|"
    r"message .{0,80}could not be delivered to the following|"
    r"kunde inte levereras till (?:följande|en eller flera)|det gick inte att leverera till (?:följande|dessa)",
    re.IGNORECASE | re.MULTILINE,
)
# Greetings and first persons: somebody tells of a report.
TOLD = re.compile(
    r"\A\W*(?:hej|hejsan|hallå|goddag|god\s+\w+|tjena|hi|hello|dear)\b|"
    r"\b(?:jag|mitt|mina|min|oss|my|i\s+(?:got|get|have|sent|tried|received|wonder))\b",
    re.IGNORECASE,
)
