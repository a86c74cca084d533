"""One list of hostile texts, for whatever comes from outside: titles, names, units, parameters, reasons."""

from __future__ import annotations

PAYLOADS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style></script><svg onload=alert(1)>",
    "javascript:alert(1) [x](javascript:alert(1)) ![x](data:text/html,y)",
    "a|b`c`d``e *f* _g_ ~h~ $i$ #j",
    "]]><!-- --> <?xml?> &lt;b&gt; &amp;amp; &#x41;",
    "\x1b]0;title\x07\x1b[2J\x1b[31mred\x9b2J",
    "\u202ertl\u2066\u200b\ufeff",
    "\n# INJECTED\n\n- INJECTED\n| INJECTED |\r\nINJECTED\x0bINJECTED\u2028INJECTED",
    "=cmd|' /C calc'!A0 ${jndi:ldap://x} {{7*7}} {0} %s%n",
    "{% raw %} $(touch INJECTED) `touch INJECTED` ; touch INJECTED",
    "w" * 3000,
    "漢字 e\u0301 👩‍🔬 \u0000 nul",
]
ALL = " ".join(PAYLOADS)
