"""Credentials of a hundred formats, and harmless text that looks like them.

Every credential below is put together at run time from pieces of fixed pseudo-random text, so
that no scanner takes this file for a leak, and none of them ever existed.
"""

from __future__ import annotations

import base64
import hashlib
import json
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
    "bedrock": "AB" + "SK" + rnd(120),
    "cloudflare origin": "v1" + ".0-" + rnd(24, HEX) + "-" + rnd(146, HEX),
    "yandex": "AQ" + "VN" + rnd(36),
    "openshift": "sha" + "256~" + rnd(43),
    "supabase secret": "sb" + "_secret_" + rnd(31),
    "neon": "na" + "pi_" + rnd(64, LOWER),
    "render": "rn" + "d_" + rnd(28),
    "clojars": "CLO" + "JARS_" + rnd(60, LOWER),
    "circleci": "CCI" + "PAT_" + rnd(22) + "_" + rnd(40, HEX),
    "buildkite": "bk" + "ua_" + rnd(40, HEX),
    "sourcegraph": "sg" + "p_" + rnd(16, HEX) + "_" + rnd(40, HEX),
    "hugging face organisation": "api" + "_org_" + rnd(34),
    "pinecone": "pc" + "sk_" + rnd(6) + "_" + rnd(60),
    "langsmith": "ls" + "v2_pt_" + rnd(32, HEX) + "_" + rnd(10, HEX),
    "together": "tg" + "p_v1_" + rnd(43),
    "teams webhook": "https://example." + "webhook.office.com/webhookb2/" + rnd(36) + "@" + rnd(36) + "/x",
    "twitter bearer": "A" * 21 + rnd(80),
    "plaid": "access" + "-sandbox-" + "-".join(rnd(n, HEX) for n in (8, 4, 4, 4, 12)),
    "flutterwave": "FLW" + "SECK_TEST-" + rnd(32) + "-X",
    "shippo": "ship" + "po_live_" + rnd(40, HEX),
    "duffel": "duf" + "fel_test_" + rnd(43),
    "resend": "r" + "e_" + rnd(8) + "_" + rnd(24),
    "launchdarkly": "sd"
    + "k-"
    + "-".join((rnd(8, HEX), rnd(4, HEX), "4" + rnd(3, HEX), rnd(4, HEX), rnd(12, HEX))),
    "typeform": "tf" + "p_" + rnd(44),
    "readme": "rd" + "me_" + rnd(70, LOWER),
    "prefect": "pn" + "u_" + rnd(36, LOWER),
    "adafruit": "ai" + "o_" + rnd(28),
    "mapbox": "s" + "k.eyJ" + rnd(80) + "." + rnd(22),
    "age": "AGE-SECRET" + "-KEY-1" + rnd(58, UPPER),
    "jwt": "ey" + "J" + rnd(33) + "." + "ey" + "J" + rnd(60) + "." + rnd(43, URLSAFE),
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
    # Escaped JSON in JSON, and in a string of that.
    "json in json": (json.dumps({"body": json.dumps({"password": PASSWORD})}), PASSWORD),
    "json three deep": (json.dumps([json.dumps([json.dumps({"api_key": PASSWORD})])]), PASSWORD),
    "json number": ('{"password": 123456789012, "n": 1}', "123456789012"),
    "django": (f"SECRET_KEY = '{PASSWORD}'", PASSWORD),
    "rails": (f"  secret_key_base: {PASSWORD}{HEX32}", HEX32),
    "laravel": (f"APP_SECRET=base64:{b64(PASSWORD)}", b64(PASSWORD)),
    "ruby hash": (f":password => '{PASSWORD}'", PASSWORD),
    "php array": (f"$config['db_password'] = '{PASSWORD}';", PASSWORD),
    "pydantic": (f"Settings(db=SecretStr('{PASSWORD}'))", PASSWORD),
    "xml element": (f"<ns:password type='x'>{PASSWORD}</ns:password>", PASSWORD),
    "xml attribute": (f'<db user="ada" password="{PASSWORD}"/>', PASSWORD),
    "app.config": (f'<add key="DbPassword" value="{PASSWORD}"/>', PASSWORD),
    "name and value": (f'{{"name": "DB_PASSWORD", "value": "{PASSWORD}"}}', PASSWORD),
    "odbc": (f"DRIVER=x;UID=ada;PWD={PASSWORD};", PASSWORD),
    "pass:": (f"openssl -passin pass:{PASSWORD}", PASSWORD),
    "DB_PASS": (f"DB_PASS={PASSWORD}", PASSWORD),
    "dbpass": (f"dbpass: {PASSWORD}", PASSWORD),
    "netrc with account": (f"machine x.example login ada password {PASSWORD} account z", PASSWORD),
    "pgpass": (f"db.example:5432:nb:bench:{PASSWORD}", PASSWORD),
    "pgpass any": (f"*:*:*:bench:{PASSWORD}", PASSWORD),
    "mysql -p": (f"+ mysql -u ada -p{PASSWORD} nb", PASSWORD),
    "sshpass": (f"sshpass -p {PASSWORD} ssh ada@x.example", PASSWORD),
    "docker login": (f"docker login -u ada -p {PASSWORD} reg.example", PASSWORD),
    "redis-cli": (f"redis-cli -h x -a {PASSWORD} ping", PASSWORD),
    "sqlplus": (f"sqlplus ada/{PASSWORD}@db.example/nb", PASSWORD),
    "expdp": (f"expdp ada/{PASSWORD} schemas=x", PASSWORD),
    "url password with a slash": (f"postgresql://bench:a/{PASSWORD}@db.example/nb", PASSWORD),
    "url password with an at": (f"postgresql://bench:a@{PASSWORD}@db.example/nb", PASSWORD),
    "url password of digits": ("postgresql://bench:12345/678@db.example/nb", "678"),
    "url password with a question mark": (f"mysql+pymysql://b:?{PASSWORD}#@db/nb", PASSWORD),
    "url that does not parse": (f"postgresql://bench:{PASSWORD}@[::1/nb", PASSWORD),
    "url with one slash": (f"postgresql:/bench:{PASSWORD}@db/nb", PASSWORD),
    "url query": (f"postgresql://db/nb?user=bench&password={PASSWORD}", PASSWORD),
    "jdbc": (f"jdbc:postgresql://db/nb?user=x&password={PASSWORD}&ssl=true", PASSWORD),
    "login without a scheme": (f"connecting to bench:{PASSWORD}@db.example/nb", PASSWORD),
    "protocol-relative": (f"see //bench:{PASSWORD}@db.example/nb", PASSWORD),
    "clone url with a token alone": (f"https://{rnd(20)}@git.example/x.git", ""),
    "clone url of github": (f"https://x-access-token:{PASSWORD}@github.com/a/b", PASSWORD),
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

# Labels, and the ways in which programs, shells and files print a label and its value.
LABELS = [
    "password",
    "passwd",
    "db_password",
    "DB_PASS",
    "api_key",
    "apiKey",
    "API-KEY",
    "secret",
    "client_secret",
    "SECRET_KEY",
    "access_token",
    "auth_token",
    "refresh_token",
    "private_key",
    "signing_key",
    "encryption_key",
    "passphrase",
    "credential",
    "bearer_token",
    "aws_secret_access_key",
    "session_id",
    "csrftoken",
    "account_key",
    "master_key",
    "smtp-password",
]
PRINTED = [
    "export {l}={s}",
    "{l}='{s}'",
    "env {l}={s} pytest -q",
    "docker run -e {l}={s} image",
    "ENV {l}={s}",
    "--build-arg {l}={s}",
    "  {l}: {s}",
    '  {l}: "{s}"',
    '{l} = "{s}"',
    "{l} = {s}",
    '{{"{l}": "{s}"}}',
    '{{"a":1,"{l}":"{s}","b":2}}',
    '"{{\\"{l}\\": \\"{s}\\"}}"',
    '"\\"{{\\\\\\"{l}\\\\\\": \\\\\\"{s}\\\\\\"}}\\""',
    "{l} = '{s}'",
    "{{'{l}': '{s}'}}",
    "connect(host='h', {l}='{s}')",
    "{l}='{s}', port=1",
    "Settings(host='h', {l}='{s}', port=5432)",
    "assert settings.{l} == '{s}'",
    "E       {l} = '{s}'",
    "E     -  {l}: '{s}'",
    ":{l} => '{s}'",
    "'{l}' => '{s}',",
    "$config['{l}'] = '{s}';",
    "define('{l}', '{s}');",
    "<{l}>{s}</{l}>",
    '<add key="{l}" value="{s}"/>',
    "app.{l}={s}",
    "app.{l}: {s}",
    'String {l} = "{s}";',
    '{l}: "{s}",',
    '{l} := "{s}"',
    'let {l} = "{s}";',
    '#define {l} "{s}"',
    '$env:{l} = "{s}"',
    "set {l}={s}",
    "set -x {l} {s}",
    "setenv {l} {s}",
    "--{l} {s}",
    "--{l}={s}",
    "https://h.example/p?a=1&{l}={s}&b=2",
    "a=1&{l}={s}",
    "level=info {l}={s} took=3ms",
    '2026-01-01 INFO {{"{l}":"{s}"}}',
    '<input name="{l}" value="{s}">',
    "curl -F {l}={s} https://h",
    'curl -d \'{{"{l}":"{s}"}}\' https://h',
    '{l} = "{s}" # terraform',
    "{{name: {l}, value: {s}}}",
    "ALTER USER x WITH {l} '{s}'",
    "('{l}', '{s}')",
    "X-{l}: {s}",
]
# What is not found: the value stands in another cell, in brackets, or on another line (docs/evidence.md).
MISSED = [
    "- name: {l}\n  value: {s}",
    "| {l} | {s} |",
    "{l}[{s}]",
    "{l},{s}",
]

# what a log is full of and must keep
SURVIVORS = [
    "torch/_C.so,sha256="
    + base64.urlsafe_b64encode(hashlib.sha256(b"w").digest()).decode().rstrip("=")
    + ",1234",
    "package/_words.py,sha256=" + "r8_" + "q7" * 11 + "-" + "Ia" * 8 + "x,14949",
    "data:image/png;base64," + b64("not a picture, but as long as a small one" * 8),
    "golang.org/x/crypto v0.9.0 h1:" + b64("x" * 33),
    "/nix/store/" + "7l1d0g2q9xvpbkzr4c8wnmaj5syf3i6h" + "-python3-3.11.7",
    "cache_key=benchmark_2048_float64_v12 key=Linux-pip-" + hashlib.sha256(b"l").hexdigest(),
    "cluster_CLUSTER-PERF-001/20251015T113531Z-2/sha256.txt",
    '{"key": "bandwidth-2048-float64", "sort_key": "a1b2c3d4e5f6a7b8c9d0", "token_count": 128000}',
    "https://github.com/actions/checkout@v4 https://medium.example/@ada/post",
    "http://127.0.0.1:8080/x@y image:3.11@sha256:" + hashlib.sha256(b"i").hexdigest(),
    "git clone ssh://git@github.com/hoidn/nanoBragg.git",
    "def login(password: str, token: Optional[str] = None) -> SecretStr:",
    "password=os.environ['DB_PASSWORD'] secret_key=settings.read(x)",
    "5 passed, 1 failed in 3.21s; pass: 12, pwd=/home/ada/project",
    "aa:bb:cc:dd:ee:ff 00:11:22:33:44:55 src/x.py:12:5:E501:long",
    "pytest -p no:cacheprovider -p nbbench_evidence tests/test_docker.py",
    "export GLIBC_TUNABLES; exp -1.5 imp 3",
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
    '{"id": 7, "key": "' + HEX32 + '", "value": 0.5}',
    "        password = self.password",
    "            'Authorization': auth,",
]
