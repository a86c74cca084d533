"""Where credentials stand in a text: spans to take out, found line by line, in linear time.

A token of a published format, a value beside a label such as `password`, a login inside a URL, the
password of a command line; and private keys, which alone go over several lines.

Lengths of tokens are the shortest that the issuers use, so that words which merely begin alike (sk-learn,
npm_config, key-value) stay. A format without a mark of its own (bare hexadecimal, bare base64) is not
here: it could not be told from a checksum, and is found by the label beside it or by its value.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

REDACTED = "<redacted>"

# Beginnings, by what follows them.
_MARKS = {
    r"[A-Z0-9]{16,}": r"AKIA|ASIA|ABIA|ACCA|AGPA|AIDA|AROA|NRAK-",
    r"[a-f0-9]{32,}": r"do[opr]_v1_|rubygems_|bk(?:ua|at|pat)_|dapi|key-|SK|AC|shp(?:at|ca|pa|ss)_|sq[pua]_"
    r"|pul-|shippo_(?:live|test)_|xkeysib-|lsv2_(?:pt|sk)_|v1\.0-[a-f0-9]{24}-|pat[A-Za-z0-9]{14}\.",
    r"[a-f0-9]{8}(?:-[a-f0-9]{4}){3}-[a-f0-9]{12}": r"access-(?:sandbox|development|production)-"
    r"|(?:sdk|mob|api)-",
    r"[A-Za-z0-9]{10,}": r"(?:sk|rk|pk)_(?:live|test|prod)_",
    # Words of programs begin like these, so neither underscore nor hyphen may follow.
    r"[A-Za-z0-9]{20,}": r"gh[pousr]_|ATBB|npm_(?=\w{36})|AKCp|cio(?=\w{32})|oy2(?=\w{43})|CLOJARS_|LTAI"
    r"|r8_(?=[^\W_]{37})|(?:sbp|nfp|napi|rnd|hf|api_org|gsk|fw|ntn|secret|tfp|rdme|pnu|aio|ph[cx])_|lin_(?:api|oauth)_"
    r"|sgp_[a-f0-9]{16}_|re_[A-Za-z0-9]{8}_|pcsk_[A-Za-z0-9]{4,8}_|EAAC|EZ[AT]K|\d{8,10}:AA(?=[\w-]{30})",
    # Nothing else begins like these.
    r"[A-Za-z0-9_.+/=-]{20,}": r"AIza|GOCSPX-|ya29\.|1//0|HRKU-|FlyV1 |fo1_|fm[12]_|sb_secret_|github_pat_"
    r"|gl(?:pat|ptt|dt|rt|cbt|ft|soat|agent|imt|oas|ffct)-|GR1348941|ATATT3|pypi-|dckr_(?:pat|oat)_|ABSK"
    r"|CCI(?:PAT|PRJ)_|tgp_v1_|whsec_|hv[sbr]\.|gl(?:sa|c)_|sntry[su]_|PMAK-|ops_eyJ|figd_|CFPAT-"
    r"|dp\.(?:pt|st|ct|sa|scim|audit)\.|AGE-SECRET-KEY-1|SG\.|sq0(?:atp|csp|idp)-|xox[a-z]-|xapp-\d-|EAAA"
    r"|tskey-[a-z]+-|dt0[a-z]\d{2}\.|pscale_(?:tkn|pw|oauth)_|duffel_(?:live|test)_|FLWSECK(?:_TEST)?-"
    r"|[A-Za-z0-9]{14}\.atlasv1\.|[sp]k\.eyJ|(?:pplx|xai|nvapi|tvly)-|sk-(?=[\w-]{0,200}[0-9])"
    r"|hooks\.slack\.com/(?:services|workflows)/|discord(?:app)?\.com/api/webhooks/",
}
# Marks within.
_SHAPES = (
    r"[A-Za-z0-9_~.-]{3}[78]Q~[A-Za-z0-9_~.-]{30,}",
    r"(?:AQVN|t1\.)[A-Za-z0-9_-]{35,}",
    r"sha256~[A-Za-z0-9_-]{43}",
    r"[A-Za-z0-9.-]+\.webhook\.office\.com/webhookb2/[A-Za-z0-9@/-]{40,}",
    r"[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,}",
    r"A{21}[A-Za-z0-9%]{60,}",
    r"[a-f0-9]{32}-us\d{1,2}",
    r"ey[A-Za-z0-9_-]{15,}\.ey[A-Za-z0-9_-]{10,}\.?[A-Za-z0-9_-]*",
)
# A bound for each repetition, so that a megabyte of one letter costs no more than its length.
LONGEST = 4_000
_all = "|".join((*(f"(?:{marks}){rest}" for rest, marks in _MARKS.items()), *_SHAPES))
_bounded = re.sub(r"\{(\d+),\}", rf"{{\1,{LONGEST}}}", _all)
TOKEN_PATTERN = re.compile(rf"(?<![A-Za-z0-9_])(?:{_bounded})")


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Characters `start` to `end` are secret; `seen` is where what gives them away begins."""

    start: int
    end: int
    seen: int


# Names that mean a secret whatever stands behind them …
_STRONG = (
    r"[A-Za-z0-9_.-]{0,80}?(?:passw(?:or)?d|passphrase|secret|credential|(?:api|access|account|private|signing"
    r"|encryption|master)[_-]?key|(?:auth|access|refresh|bearer)[_-]?token|_auth|session[_-]?id|connect\.sid"
    r"|csrftoken|db[_-]?pass)"
    r"(?:s|[_-]?(?:key|base|value|token|id|hash|text|string|data|default|b64|base64|\d{1,4})){0,4}"
)
# … and names that are common in programs: there the value must look random.
_WEAK = r"(?:[A-Za-z0-9_.-]{0,80}(?:_key|_token|-token|[_-]pass)|token|pwd|pass|key|sig|sid)"
_HARMLESS_KEY = re.compile(
    r"(?i)(?:cache|primary|foreign|sort|group|partition|public|object|row|index|dict|lookup|route|series)[_-]?key$"
)
# Inside of strings within strings (JSON in JSON) quotes have backslashes in front: they belong to the quote.
_CHAR = r"(?:\\(?!\\{0,63}[nrt\"'])\S|[^\s\"',;&<>\\])"
# Of a command line's password: more may stand in it, what ends a JSON text may not.
_ARGUMENT = r"(?:\\(?!\\{0,63}[nrt\"'])\S|[^\s\"'<>\\])"
_START = r"(?:\b|(?<=\\n))"
_VALUE = (
    r"(?:(?P<quote>\\{0,63}[\"'])(?P<quoted>(?:(?!(?P=quote))[^\n]){4,4000}?)(?P=quote)"
    rf"|(?P<plain>(?![\[{{(]){_CHAR}{{6,4000}}))"
)
# `name=value`, `name: value`, `"name": "value"`, `name => value`, `name := value`, `name == value`; the value
# goes, the name stays.
_SEPARATOR = r"(?:\\{0,63}[\"']?\]?[ \t]{0,3}(?:=>|:=|={1,3}|:)[ \t]{0,3})"
_LABELLED = re.compile(rf"(?i)(?<![A-Za-z0-9_.-]){_STRONG}{_SEPARATOR}{_VALUE}")
_LABELLED_WEAK = re.compile(rf"(?i)(?<![A-Za-z0-9_.-])(?P<name>{_WEAK}){_SEPARATOR}{_VALUE}")
# `<password>value</password>`; `name="DB_PASSWORD" value="…"`; SecretStr('…')
_ELEMENT = re.compile(rf"(?i)<(?:\w{{1,40}}:)?{_STRONG}(?:\s[^<>\n]{{0,200}})?>(?P<plain>[^<\n]{{4,4000}})")
_PAIR = re.compile(
    rf"(?i)\b(?:name|key)\\{{0,7}}[\"']?\s{{0,3}}[=:]\s{{0,3}}\\{{0,7}}[\"']?{_STRONG}\\{{0,7}}[\"']?,?\s{{1,3}}"
    rf"\\{{0,7}}[\"']?value{_SEPARATOR}{_VALUE}"
)
# `define('name', 'value')`, `('name', 'value')`, `#define NAME "value"`, SQL's `PASSWORD 'value'`
_BESIDE = re.compile(
    rf"(?i)(?<![A-Za-z0-9_.-]){_STRONG}\\{{0,63}}[\"']?,?[ \t]{{1,3}}"
    rf"(?=\\{{0,63}}[\"'][^\s\"'<>]{{4,4000}}[\"']){_VALUE}"
)
_WRAPPED = re.compile(rf"\bSecret(?:Str|Bytes)?\(b?{_VALUE}")
_OPTION = re.compile(
    rf"(?i)(?:(?<!\S)--?(?:[a-z-]{{0,40}}token|{_STRONG})[ =]"
    rf"|\b(?:setenv|set -\w{{1,3}})[ \t]{{1,3}}{_STRONG}[ \t]{{1,3}}){_VALUE}"
)
_HEADER = re.compile(
    r"(?i)\b(?:(?:proxy-)?authorization|(?:set-)?cookie|x-[a-z-]{0,40}(?:auth|key|token|secret)[a-z-]{0,40})"
    r"\\{0,63}[\"']?[ \t]{0,3}:[ \t]{0,3}\\{0,63}[\"']?"
    r"(?P<plain>(?:\\(?!\\{0,63}[nrt\"'])\S|[^\r\n\"'\\]){1,4000})"
)
_SCHEME = re.compile(
    r"\b(?:Bearer|Basic|SSWS|Digest|Negotiate)[ \t]{1,3}"
    r"(?=\S{0,200}[0-9=]|\S{0,200}[a-z][A-Z])(?P<plain>[A-Za-z0-9._~+/=-]{8,4000})"
)
# Passwords of command lines that know no better: mysql -pX, sqlplus user/p@db, curl -u user:p.
_CURL = re.compile(
    rf"(?<!\S)(?:-u|--user|--proxy-user)[ =]?(?P<plain>[^\s:\"']{{1,200}}:{_ARGUMENT}{{1,4000}})"
)
_BETWEEN = r"[^\n|;&]{0,400}?\s"  # other arguments of the same command
_PROGRAMS = (
    r"(?:mysql\w*|mariadb[\w-]*|sshpass|mongo\w*|docker\s+login|podman\s+login|7z\w?|unrar)\b"
    rf"{_BETWEEN}(?:-p|--password[ =])(?!no:)",
    rf"redis-cli\b{_BETWEEN}-a",
    rf"ldap\w{{1,20}}\b{_BETWEEN}-w",
)
_PROGRAM = re.compile(rf"{_START}(?:{'|'.join(_PROGRAMS)})\s?(?P<plain>(?!-){_ARGUMENT}{{3,4000}})")
_ORACLE = re.compile(
    rf"{_START}(?:sqlplus|sqlcl|sqlldr|impdp|expdp|exp|imp|rman|tnsping)\b{_BETWEEN}"
    rf"(?P<plain>[\w$#]{{1,60}}/(?!\w*/)(?:(?!@){_ARGUMENT}){{1,400}})"
)
_NETRC = re.compile(
    rf"{_START}(?:machine|login)[ \t]{{1,9}}\S{{1,400}}[^\n]{{0,400}}?[ \t]password[ \t]{{1,9}}"
    rf"(?P<plain>{_ARGUMENT}{{4,4000}})"
)
_PGPASS = re.compile(
    r"(?:(?<![\w.*/-])|(?<=\\n))(?:\*|localhost|[\w-]{1,60}(?:\.[\w-]{1,60}){1,9}):(?:\*|\d{1,5})"
    rf":(?:\*|[A-Za-z_][\w-]{{0,60}}):(?:\*|[A-Za-z_][\w-]{{0,60}}):(?P<plain>{_ARGUMENT}{{4,4000}})"
)
# What stands behind `scheme:/` is judged in `_url_logins`; a login without a scheme needs a host behind it.
_URL = re.compile(
    r"(?i)(?:\b(?P<scheme>[a-z][a-z0-9+.-]{1,30}):/{1,3}|(?<![:\w/])//)(?P<rest>[^\s\"'<>]{1,1500})"
)
_LOGIN = re.compile(
    r"(?<![\w/.@:-])(?P<plain>[A-Za-z_][\w.-]{0,60}:[^\s:@/\"'<>]{6,200})(?=@(?!sha256)[\w.-]{1,200}[:/])"
)
_PORT = re.compile(r"\d{1,5}(?:[/?#]|$)")
_WEB = ("http", "https", "ws", "wss", "git", "ssh", "file")
_PLAIN_USER = re.compile(r"[A-Za-z][A-Za-z._-]{0,20}")
# A search for plain words is ten times as fast as a pattern, and most lines of a log hold none: each pattern
# with words of which one stands in every line that it matches.
_LABEL_WORD = re.compile(r"pass|secret|credential|key|token|_auth|session|sid|csrf|pwd|sig")
_PATTERNS = [
    (words.split(), pattern)
    for words, pattern in (
        ("secret", _WRAPPED),
        ("pass secret token key credential auth session csrf", _OPTION),
        ("pass secret token key credential auth session csrf", _BESIDE),
        ("authorization cookie x-", _HEADER),
        ("bearer basic ssws digest negotiate", _SCHEME),
        ("-u", _CURL),
        ("mysql mariadb sshpass mongo docker podman 7z unrar redis-cli ldap", _PROGRAM),
        ("sqlplus sqlcl sqlldr impdp expdp exp imp rman tnsping", _ORACLE),
        ("password", _NETRC),
    )
]
_LABELS = (_LABELLED, _LABELLED_WEAK, _ELEMENT, _PAIR)
# Words that stand where a secret would and are none: flags, placeholders, masks, calls, types.
HARMLESS = re.compile(
    r"(?i)(true|false|none|null|yes|no|on|off|\*+|x{3,}|\.{3,}|\d{1,5}|<redacted>|<[a-z_ -]+>|\$\{?\w+\}?"
    r"|[a-z_][a-z_.]*[(\[].*|str|bytes|string|optional|required"
    r"|(?:self|cls|args|options|opts|config|settings|kwargs|params|request|os)(?:\.[a-z_]\w*)+)"
)
_NAME = re.compile(r"[A-Za-z_.]{1,40}[\"']?[,)}\]]*")  # what stands behind a header's name in a program
_PATH = re.compile(r"(?:/[\w.+@-]+)+/?")
_WORD = re.compile(r"[A-Za-z0-9+/=]+")
_CHECKSUM = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_TOLD_BY_MARKS = re.compile(r"\d|[^\w\s]")  # a word of a program has neither digits nor marks
_DIGEST = re.compile(r"[0-9a-f]{32}")  # beside a bare `key`, the index of a table; beside `api_key` a secret
_MIN_RANDOM = 16
# Every format of the table holds a run of this length.
_LONG_RUN = re.compile(r"[A-Za-z0-9+/=_-]{14}")

_KEY_BEGINS = re.compile(r"-{4,5} ?BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}")
_KEY_ENDS = re.compile(r"-{4,5} ?END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)? ?-{4,5}")
# What follows BEGIN: lines of base64 (`\\n` in strings), whatever stands in front of them, headers, blanks.
_KEY_BODY = re.compile(
    r"(?:E[ \t]+)?(?:\\+[nr]|[^A-Za-z0-9+/=\"'\\])*"
    r"(?:(?:[A-Za-z0-9+/]{40,}|(?:[A-Za-z0-9+/]{4}){1,9})?={0,2}(?:\\+[nr]|\s)+)*"
    r"(?:[A-Za-z0-9+/]{40,}|(?:[A-Za-z0-9+/]{4}){1,9}(?![A-Za-z0-9+/]))?={0,2}"
    r"(?:(?:Proc-Type|DEK-Info|Version|Comment|Hash)\b[^\n\"']*)?[^\S\n]*"
)
# An RSA key of 16,384 bits is 13 kB; what goes on for longer is no key, and the log is wanted.
LONGEST_KEY = 32_768


class Finder:
    """Finds spans in texts that follow each other: a private key may go on from one into the next."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # One alternation, the longest first: a single pass whatever their number.
        ranked = sorted(set(secrets), key=lambda value: (-len(value), value))
        self._exact = re.compile("|".join(map(re.escape, ranked))) if ranked else None
        self._key_left = 0  # characters that the key of an earlier line may still have

    def spans(self, text: str) -> list[Span]:
        """The secret spans of `text`, in order and apart from each other."""
        found: list[Span] = []
        if self._exact is not None:
            found += [Span(m.start(), m.end(), m.start()) for m in self._exact.finditer(text)]
        keys = self._key_left > 0 or "PRIVATE KEY" in text
        start = 0
        for line in text.split("\n"):
            spans = [*_line(line), *(self._key(line) if keys else ())]
            found += [Span(start + s.start, start + s.end, start + s.seen) for s in spans]
            start += len(line) + 1
        return _merged(found)

    def _key(self, line: str) -> Iterator[Span]:
        """What of this line belongs to private keys; of a key over many lines each line is a span."""
        start = position = 0
        endless = False  # where one search found no end, none that starts later does
        while True:
            if not self._key_left:
                if (begins := _KEY_BEGINS.search(line, position)) is None:
                    return
                start, position, self._key_left = begins.start(), begins.end(), LONGEST_KEY
            if not endless and (ends := _KEY_ENDS.search(line, position)):
                position, self._key_left = ends.end(), 0
            else:
                endless = True
                body = _KEY_BODY.match(line, position)
                position = body.end() if body else position
                goes_on = position == len(line.rstrip("\r"))
                self._key_left = max(0, self._key_left - len(line)) if goes_on else 0
            yield Span(start, position, start)
            if self._key_left:
                return
            start = position


def find_spans(text: str, secrets: Iterable[str] = ()) -> list[Span]:
    """The spans of `text` that hold credentials, or one of the exact values `secrets`; apart, in order."""
    return Finder(secrets).spans(text)


def _line(line: str) -> Iterator[Span]:
    if _LONG_RUN.search(line):
        yield from (Span(m.start(), m.end(), m.start()) for m in TOKEN_PATTERN.finditer(line))
    if "@" in line:
        yield from _url_logins(line)
        yield from (Span(*m.span("plain"), m.start()) for m in _LOGIN.finditer(line))
    lower = line.lower()
    patterns = [pattern for words, pattern in _PATTERNS if any(word in lower for word in words)]
    # A label has a separator behind it: `PASSED [ 50%]` is none, nor are the colons of a test's id.
    separated = "=" in line or ">" in line or ":" in line.replace("::", "")
    if separated and _LABEL_WORD.search(lower):
        patterns += _LABELS
    for pattern in patterns:
        for match in pattern.finditer(line):
            group = "plain" if match["plain"] is not None else "quoted"
            if not _is_harmless(match, match[group]):
                yield Span(*match.span(group), match.start())
    if line.count(":") >= 4:
        yield from (Span(*m.span("plain"), m.start()) for m in _PGPASS.finditer(line))


def _url_logins(line: str) -> Iterator[Span]:
    """`scheme://user:password@host`: a password may hold `/`, `@` and `?`, so it goes on to the last `@`."""
    for match in _URL.finditer(line):
        login, at, _ = match["rest"].rpartition("@")
        user = re.split(r"[/:@?#]", login, maxsplit=1)[0]
        behind = login[len(user) : len(user) + 1]
        web = (match["scheme"] or "http").lower() in _WEB
        if (
            not at
            or login.endswith(("[", "("))  # an XPath: //svg:*[@id]
            or behind in ("/", "?", "#")
            or (behind == ":" and web and _PORT.match(login, len(user) + 1))
        ):
            continue
        if behind == "@" and ":" not in login:
            login = user
        if login != user or not _PLAIN_USER.fullmatch(user):
            yield Span(match.start("rest"), match.start("rest") + len(login), match.start())


def _is_harmless(match: re.Match[str], value: str) -> bool:
    value = value.strip()
    if HARMLESS.fullmatch(value):
        return True
    if match.re is _HEADER:
        return _NAME.fullmatch(value) is not None
    if match.re is _BESIDE:
        return not _TOLD_BY_MARKS.search(value)
    if match.re is not _LABELLED_WEAK:
        return False
    name = match["name"].lower()
    if name.endswith(("pwd", "pass")) and not _PATH.fullmatch(value):
        return not (_TOLD_BY_MARKS.search(value) and re.search("[A-Za-z]", value))
    if name == "key" and _DIGEST.fullmatch(value):
        return "user" not in match.string  # kaggle.json has both
    return _HARMLESS_KEY.fullmatch(name) is not None or not looks_random(value)


def looks_random(value: str) -> bool:
    """Whether a part of the value is long and mixes letters with digits: no name, no version, no checksum."""
    parts = [
        part for part in _WORD.findall(value) if len(part) >= _MIN_RANDOM and not _CHECKSUM.fullmatch(part)
    ]
    return any(re.search("[A-Za-z]", part) and re.search("[0-9]", part) for part in parts)


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for span in sorted(s for s in spans if s.start < s.end):
        if merged and span.start < merged[-1].end:
            last = merged[-1]
            merged[-1] = Span(last.start, max(last.end, span.end), min(last.seen, span.seen))
        else:
            merged.append(span)
    return merged


_BARE_VALUE = re.compile(r"(\\*\")[ \t]*:[ \t]*$")


def replace_spans(text: str, spans: Iterable[Span]) -> str:
    """`text` with `<redacted>` in place of each span; spans are in order and do not overlap.

    A JSON value without quotes gets quotes, and no escape is cut in two: JSON stays JSON.
    """
    pieces = []
    position = 0
    for span in spans:
        before = text[position : span.start]
        if (len(before) - len(before.rstrip("\\"))) % 2:
            before = before[:-1]
        bare = _BARE_VALUE.search(before[-40:])
        quote = bare[1] if bare else ""
        pieces += [before, quote + REDACTED + quote]
        position = span.end
    return "".join([*pieces, text[position:]])


def without_credentials(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` with the exact `secrets`, and all that looks like a credential, replaced by `<redacted>`."""
    return replace_spans(text, find_spans(text, secrets))
