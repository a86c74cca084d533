"""Credentials of a hundred formats, and harmless text that looks like them.

Every credential below is put together at run time from pieces of fixed pseudo-random text, so
that no scanner takes this file for a leak, and none of them ever existed.
"""

from __future__ import annotations

import base64
import hashlib
import random
import string

_RNG = random.Random(20251015)
ALNUM = string.ascii_letters + string.digits
HEX = "0123456789abcdef"


def rnd(length: int, alphabet: str = ALNUM) -> str:
    """Random text that holds a digit, a capital and a small letter when the alphabet has them."""
    while True:
        text = "".join(_RNG.choice(alphabet) for _ in range(length))
        wanted = [
            kind
            for kind in (string.ascii_lowercase, string.ascii_uppercase, string.digits)
            if set(kind) & set(alphabet)
        ]
        if all(set(text) & set(kind) for kind in wanted):
            return text


UPPER = string.ascii_uppercase + string.digits
LOWER = string.ascii_lowercase + string.digits
URLSAFE = ALNUM + "-_"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


# name, text as it appears, the part that must not survive
TOKENS: dict[str, str] = {
    "aws access key": "AK" + "IA" + rnd(16, UPPER),
    "aws temporary key": "AS" + "IA" + rnd(16, UPPER),
    "aws bare secret key": rnd(18) + "/" + rnd(21),
    "google api key": "AI" + "za" + rnd(35),
    "google oauth secret": "GOC" + "SPX-" + rnd(28),
    "google access token": "ya" + "29." + rnd(60),
    "google refresh token": "1/" + "/0" + rnd(40),
    "azure client secret": rnd(3) + "8" + "Q~" + rnd(34),
    "digitalocean": "dop" + "_v1_" + rnd(64, HEX),
    "heroku": "HR" + "KU-" + rnd(60),
    "fly": "fo" + "1_" + rnd(43),
    "alibaba": "LT" + "AI" + rnd(20),
    "tailscale": "ts" + "key-auth-" + rnd(12) + "-" + rnd(22),
    "supabase": "sb" + "p_" + rnd(40, HEX),
    "netlify": "nf" + "p_" + rnd(40),
    "planetscale": "pscale" + "_tkn_" + rnd(40),
    "github personal": "gh" + "p_" + rnd(36),
    "github oauth": "gh" + "o_" + rnd(36),
    "github user": "gh" + "u_" + rnd(36),
    "github server": "gh" + "s_" + rnd(36),
    "github refresh": "gh" + "r_" + rnd(60),
    "github fine-grained": "github" + "_pat_" + rnd(22) + "_" + rnd(59),
    "gitlab personal": "gl" + "pat-" + rnd(20),
    "gitlab trigger": "gl" + "ptt-" + rnd(40, HEX),
    "gitlab deploy": "gl" + "dt-" + rnd(20),
    "gitlab runner": "gl" + "rt-" + rnd(20),
    "gitlab job": "gl" + "cbt-" + rnd(20),
    "gitlab old runner": "GR" + "1348941" + rnd(20),
    "atlassian": "AT" + "ATT3" + rnd(60),
    "bitbucket": "AT" + "BB" + rnd(32),
    "npm": "np" + "m_" + rnd(36),
    "pypi": "py" + "pi-AgEI" + rnd(70),
    "rubygems": "ruby" + "gems_" + rnd(48, HEX),
    "docker": "dckr" + "_pat_" + rnd(27),
    "jfrog": "AK" + "Cp" + rnd(60),
    "crates.io": "ci" + "o" + rnd(32),
    "hugging face": "h" + "f_" + rnd(34),
    "openai": "s" + "k-" + rnd(48),
    "openai project": "s" + "k-proj-" + rnd(40) + "_" + rnd(40),
    "anthropic": "s" + "k-ant-api03-" + rnd(80) + "-" + rnd(8),
    "groq": "gs" + "k_" + rnd(52),
    "replicate": "r" + "8_" + rnd(37),
    "perplexity": "pp" + "lx-" + rnd(48),
    "nvidia": "nv" + "api-" + rnd(60),
    "databricks": "da" + "pi" + rnd(32, HEX),
    "airtable": "pa" + "t" + rnd(14) + "." + rnd(64, HEX),
    "slack bot": "xo" + "xb-" + rnd(12, string.digits) + "-" + rnd(24),
    "slack user": "xo" + "xp-" + rnd(12, string.digits) + "-" + rnd(32, HEX),
    "slack app": "xa" + "pp-1-" + rnd(11, UPPER) + "-" + rnd(64, HEX),
    "slack webhook": "https://hooks."
    + "slack.com/services/T"
    + rnd(8, UPPER)
    + "/B"
    + rnd(8, UPPER)
    + "/"
    + rnd(24),
    "discord bot": "M" + rnd(25) + "." + rnd(6) + "." + rnd(30),
    "discord webhook": "https://discord" + ".com/api/webhooks/" + rnd(18, string.digits) + "/" + rnd(60),
    "telegram": rnd(9, string.digits) + ":" + "AA" + rnd(33),
    "stripe live": "sk" + "_live_" + rnd(24),
    "stripe restricted": "rk" + "_live_" + rnd(24),
    "stripe webhook": "wh" + "sec_" + rnd(32),
    "sendgrid": "S" + "G." + rnd(22) + "." + rnd(43),
    "mailgun": "ke" + "y-" + rnd(32, HEX),
    "mailchimp": rnd(32, HEX) + "-" + "us14",
    "twilio": "S" + "K" + rnd(32, HEX),
    "shopify": "shp" + "at_" + rnd(32, HEX),
    "square": "sq0" + "atp-" + rnd(22),
    "facebook": "EA" + "AC" + rnd(60),
    "brevo": "xkey" + "sib-" + rnd(64, HEX) + "-" + rnd(16),
    "vault": "hv" + "s." + rnd(24),
    "terraform": rnd(14) + "." + "atlasv1." + rnd(67),
    "grafana service account": "gl" + "sa_" + rnd(32) + "_" + rnd(8, HEX),
    "grafana cloud": "gl" + "c_" + b64(rnd(30)),
    "new relic": "NR" + "AK-" + rnd(27, UPPER),
    "sentry": "sn" + "trys_" + rnd(60),
    "dynatrace": "dt0" + "c01." + rnd(24, UPPER) + "." + rnd(64, UPPER),
    "sonar": "sq" + "p_" + rnd(40, HEX),
    "postman": "PM" + "AK-" + rnd(24, HEX) + "-" + rnd(34, HEX),
    "doppler": "dp" + ".pt." + rnd(43),
    "pulumi": "pu" + "l-" + rnd(40, HEX),
    "1password": "op" + "s_eyJ" + rnd(80),
    "linear": "lin" + "_api_" + rnd(40),
    "notion": "nt" + "n_" + rnd(46),
    "figma": "fi" + "gd_" + rnd(40),
    "contentful": "CF" + "PAT-" + rnd(43),
    "age": "AGE-SECRET" + "-KEY-1" + rnd(58, UPPER),
    "jwt": "ey" + "J" + rnd(33) + "." + "ey" + "J" + rnd(60) + "." + rnd(43, URLSAFE),
    "random base64": b64(rnd(30)),
    "random url-safe": rnd(13) + "-" + rnd(14) + "_" + rnd(13),
    "random lower-case": rnd(40, LOWER),
}

PASSWORD = "c0rrect" + "-h0rse"
HEX32 = rnd(32, HEX)
# text, and the part of it that must be gone
IN_CONTEXT: dict[str, tuple[str, str]] = {
    "url login": (f"postgresql://bench:{PASSWORD}@db.example/nb", PASSWORD),
    "redis url without user": (f"redis://:{PASSWORD}@cache:6379/0", PASSWORD),
    "git https token": (f"https://{HEX32}@git.example/x.git", HEX32),
    "bearer": (f"Authorization: Bearer {PASSWORD}99", PASSWORD),
    "basic": (f"> Authorization: Basic {b64('user:' + PASSWORD)}", b64("user:" + PASSWORD)),
    "bare bearer": (f"sent Bearer {rnd(24)} to the host", ""),
    "x-api-key": (f"x-api-key: {HEX32}", HEX32),
    "cookie": (f"Set-Cookie: sessionid={HEX32}; Path=/", HEX32),
    "shell assignment": (f"export DATADOG_API_KEY={HEX32}", HEX32),
    "password assignment": (f"PGPASSWORD={PASSWORD} psql", PASSWORD),
    "yaml": (f"  client_secret: {PASSWORD}", PASSWORD),
    "json": (f'{{"password": "{PASSWORD} with blanks"}}', PASSWORD),
    "kaggle": (f'{{"username":"ada","key":"{HEX32}"}}', HEX32),
    "option": (f"deploy --password {PASSWORD} --fast", PASSWORD),
    "token option": (f"tool --token={HEX32}", HEX32),
    "curl": (f"curl -u ada:{PASSWORD} https://x.example", PASSWORD),
    "netrc": (f"machine x.example login ada password {PASSWORD}", PASSWORD),
    "ado.net": (f"Server=db;User Id=ada;Password={PASSWORD};", PASSWORD),
    "azure storage": (f"AccountName=nb;AccountKey={b64(rnd(60))}", "AccountKey=" + "x"),
    "sas": (f"https://nb.blob.example/c?sv=2022&sig={rnd(43)}%3D", ""),
    "wandb": (f"WANDB_API_KEY={rnd(40, HEX)}", ""),
    "private key": (
        "-----BEGIN " + "RSA PRIVATE KEY-----\n" + "MIIE" + rnd(60) + "\n-----END RSA PRIVATE KEY-----",
        "MIIE",
    ),
    "openssh key": (
        "-----BEGIN " + "OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----",
        "b3Bl",
    ),
    "cut off key": ("-----BEGIN " + "EC PRIVATE KEY-----\nMHcC" + rnd(20), "MHcC"),
    "pgp key": (
        "-----BEGIN " + "PGP PRIVATE KEY BLOCK-----\nlQdG\n-----END PGP PRIVATE KEY BLOCK-----",
        "lQdG",
    ),
}

# what a log is full of and must keep
SURVIVORS = [
    hashlib.sha1(b"commit").hexdigest(),
    hashlib.sha256(b"file").hexdigest() + "  pytest.log",
    "0f8fad5b-d9cb-469f-a165-70867728950e",
    "sha256:" + hashlib.sha256(b"wheel").hexdigest(),
    "integrity sha512-" + b64("x" * 60),
    "/usr/lib/python3.11/site-packages/torch/utils/_pytree.py:1234: UserWarning: something",
    "/home/ada/Projects/nanoBragg/reports/2026-01-test-suite-refresh/phase_d/20251015T113531Z/summary.md",
    "tests/test_at_perf_003.py::TestATPERF003MemoryBandwidth::test_memory_bandwidth_utilization PASSED",
    "GLIBC_TUNABLES=glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=8589934592",
    "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl",
    "Linux-6.1.0-13-amd64-x86_64-with-glibc2.36 GNU/Linux 12 (bookworm)",
    "NANOBRAGG_DISABLE_COMPILE=1 KMP_DUPLICATE_LIB_OK=TRUE CUDA_VISIBLE_DEVICES=-1",
    'PYTEST_ADDOPTS="--maxfail=1 --timeout=900 --durations=0"',
    "AssertionError: bandwidth 0.176 GB/s < 0.5 * 0.363 GB/s at 2048x2048",
    "Maximum resident set size (kbytes): 1234567890123456789012",
    "entries.sort(key=lambda x: x.updated, reverse=True)",
    "stats_key = key[6:]; key: SeriesKey",
    "git@github.com:hoidn/nanoBragg.git https://github.com/hoidn/nanoBragg/commit/" + "8b8c48d0" * 5,
    "Basic information about the authentication of tokens",
    "tokenizers parallelism is off; passwordless login; secret: none",
    "avx512_vp2intersect avx512_bitalg avx512_vpopcntdq tsc_deadline_timer",
    "DetectorConfigurationVectorizedTricubicInterpolationTest",
    "2025-10-15T11:35:31.123456+00:00 elapsed 0:01:23.456789",
    "bandwidth.Warm.time_run(size=2048, dtype='float64') at d45a0f38..f7968617",
    "http://127.0.0.1:8080/index.html#/regressions?sort=3&dir=desc",
]
