"""Published formats of credentials, in one table.

Lengths are the shortest that the issuers use, so that words which merely begin alike (sk-learn,
npm_config, key-value) stay. A format without a mark of its own (bare hexadecimal, bare base64) is not
here: it could not be told from a checksum, and is found by the label beside it or by its value.
"""

from __future__ import annotations

import re

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
    r"|(?:sbp|nfp|napi|rnd|hf|api_org|gsk|r8|fw|ntn|secret|tfp|rdme|pnu|aio|ph[cx])_|lin_(?:api|oauth)_"
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
