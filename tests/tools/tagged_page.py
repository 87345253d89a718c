"""A page of sentences with links and emphasis, and whether its translation is that of the bare sentences.

    tagged_page.py make <SENTENCES >PAGE          always the same page
    tagged_page.py compare PAGE TRANSLATED PLAIN  PLAIN has the translations of the bare sentences, a line each

`compare` holds that the text without tags is the same, letter by letter; that every element of the page is there, and
what has no text once; that all is well nested. It prints how many elements came more than once.
"""

import html
import random
import sys
from html.parser import HTMLParser

VOID = {"img", "br", "meta", "wbr"}


def make(sentences):
    choose = random.Random(5)
    print("<!DOCTYPE html>\n<meta charset=utf-8>\n<title>Sentences</title>\n<!-- made by tests/tools/tagged_page.py -->")
    for number, sentence in enumerate(sentences):
        words = [html.escape(word, quote=False) for word in sentence.split(" ")]
        before, after = [""] * len(words), [""] * len(words)
        for kind in choose.sample(["a", "em", "b", "img", "span", "i"], choose.randrange(1, 4)):
            first = choose.randrange(len(words))
            last = min(first + choose.randrange(3), len(words) - 1)
            if any(before[first : last + 1]) or any(after[first : last + 1]):
                continue
            tag = f'<{kind} id="{kind}{number}">'
            before[first] = tag
            if kind not in VOID:
                inner = choose.random() < 0.3
                before[first] += f'<u id="u{kind}{number}">' if inner else ""
                after[last] = ("</u>" if inner else "") + f"</{kind}>"
        text = " ".join(map("".join, zip(before, words, after)))
        # As pages are written: a line break somewhere, which is white space.
        at = text.rfind(" ", 0, 100)
        if 0 < at and "<" not in text[at - 30 : at + 30]:
            text = text[:at] + "\n" + text[at + 1 :]
        print(f'<p id="p{number}">{text}</p>')


class Reader(HTMLParser):
    """The text of each paragraph, and how often each element comes."""

    def __init__(self, page):
        super().__init__()
        self.paragraphs, self.count, self.open = [], {}, []
        self.feed(page)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        key = dict(attributes).get("id", tag)
        self.count[key] = self.count.get(key, 0) + 1
        if tag not in VOID:
            self.open.append(tag)
        if tag == "p":
            self.paragraphs.append("")

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data):
        if "p" in self.open:
            self.paragraphs[-1] += data


def compare(page, translated, plain):
    source, found = Reader(page), Reader(translated)
    plain = plain.splitlines()
    different = [pair for pair in zip(found.paragraphs, plain, strict=True) if pair[0] != pair[1]]
    for one, other in different[:5]:
        print(f"< {one}\n> {other}")
    missing = source.count.keys() ^ found.count.keys()
    again = [key for key, count in found.count.items() if count > 1 and not key.startswith("img")]
    twice = [key for key, count in found.count.items() if count > 1 and key.startswith(("img", "p"))]
    print(f"{len(plain) - len(different)} of {len(plain)} sentences are those of the bare text; {len(source.count)} elements, "
          f"{len(again)} of them in parts, {len(missing)} missing, {len(twice)} doubled")
    return not (different or missing or twice)


if sys.argv[1] == "make":
    make(sys.stdin.read().splitlines())
else:
    pages = [open(name, encoding="utf-8").read() for name in sys.argv[2:5]]
    sys.exit(not compare(*pages))
